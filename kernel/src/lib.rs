//! Black-Scholes prices over arrays: the subject that is bundled with perfkit.
//!
//! The core works on slices and does not depend on Python. The Python layer is `python`, behind the
//! feature of that name.

pub mod constants;
pub mod error;
pub mod fast;
pub mod inputs;
pub mod plain;
pub mod pool;
#[cfg(feature = "python")]
mod python;

/// Describes this build: version, profile, optimisation level and compiled-in target features.
#[must_use]
pub fn build_info() -> [(&'static str, String); 4] {
    let features: Vec<&str> = [
        ("avx", cfg!(target_feature = "avx")),
        ("avx2", cfg!(target_feature = "avx2")),
        ("avx512f", cfg!(target_feature = "avx512f")),
        ("fma", cfg!(target_feature = "fma")),
        ("neon", cfg!(target_feature = "neon")),
        ("sse2", cfg!(target_feature = "sse2")),
        ("sse4.2", cfg!(target_feature = "sse4.2")),
    ]
    .into_iter()
    .filter_map(|(name, on)| on.then_some(name))
    .collect();
    [
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        (
            "profile",
            if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            }
            .to_owned(),
        ),
        ("opt_level", env!("PERFKIT_KERNEL_OPT_LEVEL").to_owned()),
        ("target_features", features.join(",")),
    ]
}

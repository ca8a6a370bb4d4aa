//! Hands the optimisation level on to the crate, which reports it in `build_info()`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let level = std::env::var("OPT_LEVEL").unwrap_or_else(|_| "unknown".to_owned());
    println!("cargo::rustc-env=PERFKIT_KERNEL_OPT_LEVEL={level}");
}

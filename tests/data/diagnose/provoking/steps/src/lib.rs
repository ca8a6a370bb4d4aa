//! One step of a loop in another crate.

/// Adds a value to a bounded total. It is too large to be inlined across crates unless the linker
/// sees both, and then its two tests vanish: the caller keeps what they ask for.
pub fn step(total: f64, value: f64) -> f64 {
    if !total.is_finite() || !value.is_finite() {
        return refused(total, value);
    }
    let mixed = total * 0.5 + value;
    if mixed > 1e300 {
        refused(mixed, value)
    } else {
        mixed
    }
}

#[cold]
fn refused(total: f64, value: f64) -> f64 {
    let mut left = total;
    for _ in 0..64 {
        left = (left * 0.5).max(-1e300).min(1e300) + value.clamp(-1.0, 1.0);
    }
    left
}

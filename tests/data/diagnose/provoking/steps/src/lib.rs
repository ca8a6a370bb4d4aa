//! One step of a loop in another crate, and a loop over it on threads.

use rayon::prelude::*;

/// Flips bits. A function that calls another one is inlined into another crate only where the
/// linker sees both; until then the call takes longer than what it does.
pub fn flip(bits: u32) -> u32 {
    if bits == u32::MAX {
        return refused(bits);
    }
    bits ^ 0x5555_5555
}

#[cold]
#[inline(never)]
fn refused(bits: u32) -> u32 {
    (0..bits.count_ones()).fold(bits, |left, bit| left.rotate_left(bit) ^ bit)
}

/// The sum of all flipped bits, on all threads.
pub fn flipped_sum(values: &[f64]) -> f64 {
    let flipped = values.par_iter().map(|value| flip(value.to_bits() as u32));
    flipped.map(f64::from).sum()
}

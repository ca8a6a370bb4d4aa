//! One step of a loop in another crate.

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

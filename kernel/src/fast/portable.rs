//! The formula's operations without a particular instruction set: a few lanes as an array, which the
//! compiler turns into the vectors that every processor of the target has.

use super::blocks::{Columns, Run, price_run};
use super::lanes::Lanes;

const WIDTH: usize = 2;

#[derive(Clone, Copy)]
struct Portable([f64; WIDTH]);

impl Portable {
    #[inline(always)]
    fn each(self, operation: impl Fn(f64) -> f64) -> Self {
        Self(self.0.map(operation))
    }

    #[inline(always)]
    fn both(self, other: Self, operation: impl Fn(f64, f64) -> f64) -> Self {
        Self(std::array::from_fn(|lane| {
            operation(self.0[lane], other.0[lane])
        }))
    }

    #[inline(always)]
    fn bits(self, other: Self, operation: impl Fn(u64, u64) -> u64) -> Self {
        self.both(other, |a, b| {
            f64::from_bits(operation(a.to_bits(), b.to_bits()))
        })
    }
}

/// `factor * other + term`, fused if the target does that in hardware. Elsewhere a fused product is a
/// call into the C library and tens of times as slow.
#[inline(always)]
fn mul_add(factor: f64, other: f64, term: f64) -> f64 {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
        factor.mul_add(other, term)
    } else {
        factor * other + term
    }
}

// SAFETY: nothing here depends on an instruction set, and the caller vouches for the pointers.
impl Lanes for Portable {
    const LANES: usize = WIDTH;
    const EXP2_PARTS: u32 = 1;
    /// A lane is flagged if one of its upper three bits is set.
    type Flags = u64;

    #[inline(always)]
    unsafe fn splat(value: f64) -> Self {
        Self([value; WIDTH])
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> Self {
        Self(unsafe { from.cast::<[f64; WIDTH]>().read() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f64) {
        unsafe { to.cast::<[f64; WIDTH]>().write(self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.both(other, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.both(other, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.both(other, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        self.both(other, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        self.each(f64::sqrt)
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
        Self(std::array::from_fn(|lane| {
            mul_add(self.0[lane], factor.0[lane], term.0[lane])
        }))
    }
    #[inline(always)]
    unsafe fn neg_mul_add(self, factor: Self, term: Self) -> Self {
        Self(std::array::from_fn(|lane| {
            mul_add(-self.0[lane], factor.0[lane], term.0[lane])
        }))
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        self.both(other, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        self.both(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn and_bits(self, other: Self) -> Self {
        self.bits(other, |a, b| a & b)
    }
    #[inline(always)]
    unsafe fn or_bits(self, other: Self) -> Self {
        self.bits(other, |a, b| a | b)
    }
    #[inline(always)]
    unsafe fn xor_bits(self, other: Self) -> Self {
        self.bits(other, |a, b| a ^ b)
    }
    #[inline(always)]
    unsafe fn add_bits(self, other: Self) -> Self {
        self.bits(other, u64::wrapping_add)
    }
    #[inline(always)]
    unsafe fn sub_bits(self, other: Self) -> Self {
        self.bits(other, u64::wrapping_sub)
    }
    #[inline(always)]
    unsafe fn upper_twelve(self) -> Self {
        // As in AVX2: SSE2 cannot convert 64-bit integers either.
        const MAGIC: f64 = 4_503_599_627_370_496.0; // 2^52
        self.each(|value| {
            let positive = value.to_bits().wrapping_add(1024 << 52) >> 52;
            f64::from_bits(positive | MAGIC.to_bits()) - (MAGIC + 1024.0)
        })
    }
    #[inline(always)]
    unsafe fn exp2_part(self) -> Self {
        self.each(|value| f64::from_bits(1.0_f64.to_bits().wrapping_add(value.to_bits() << 52)))
    }
    #[inline(always)]
    unsafe fn where_positive(self, sign: Self) -> Self {
        self.bits(sign, |value, sign| value & !((sign as i64 >> 63) as u64))
    }
    #[inline(always)]
    unsafe fn where_negative(self, sign: Self) -> Self {
        self.bits(sign, |value, sign| value & ((sign as i64 >> 63) as u64))
    }
    #[inline(always)]
    unsafe fn flags(windows: Self, magnitude: Self, limit: f64) -> u64 {
        (0..WIDTH).fold(0, |flags, lane| {
            // Negated, because NaN is not below the limit.
            #[allow(clippy::neg_cmp_op_on_partial_ord)]
            let too_large = if !(magnitude.0[lane] < limit) {
                u64::MAX
            } else {
                0
            };
            flags | windows.0[lane].to_bits() | too_large
        })
    }
    #[inline(always)]
    unsafe fn merge(one: u64, other: u64) -> u64 {
        one | other
    }
    #[inline(always)]
    unsafe fn any(flags: u64) -> bool {
        flags & (0b111 << 61) != 0
    }
}

unsafe fn run<const PUT: bool, const RATES: bool>(columns: &Columns, out: *mut f64, count: usize) {
    // SAFETY: this needs no instruction set beyond the target's.
    unsafe { price_run::<Portable, PUT, RATES>(columns, out, count) }
}

/// The loop for calls or puts, with one rate or many.
pub(super) fn runner(put: bool, rates: bool) -> Run {
    match (put, rates) {
        (false, false) => run::<false, false>,
        (false, true) => run::<false, true>,
        (true, false) => run::<true, false>,
        (true, true) => run::<true, true>,
    }
}

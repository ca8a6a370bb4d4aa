//! The formula's operations in AVX-512 (F and DQ): eight lanes, and a table of eight powers of two
//! that fits one register.

use std::arch::x86_64::{
    __m512d, __m512i, _CMP_NLT_UQ, _mm512_add_epi64, _mm512_add_pd, _mm512_and_si512,
    _mm512_castpd_si512, _mm512_castsi512_pd, _mm512_cmp_pd_mask, _mm512_cvtepi64_pd,
    _mm512_div_pd, _mm512_fmadd_pd, _mm512_fnmadd_pd, _mm512_loadu_pd, _mm512_loadu_si512,
    _mm512_maskz_mov_pd, _mm512_max_pd, _mm512_min_pd, _mm512_movepi64_mask, _mm512_mul_pd,
    _mm512_or_si512, _mm512_permutexvar_epi64, _mm512_set1_epi64, _mm512_set1_pd,
    _mm512_slli_epi64, _mm512_sqrt_pd, _mm512_srai_epi64, _mm512_storeu_pd, _mm512_sub_epi64,
    _mm512_sub_pd, _mm512_test_epi64_mask, _mm512_xor_si512,
};

use super::blocks::{Columns, Run, price_run};
use super::coefficients::EXP2_EIGHTHS;
use super::lanes::Lanes;

#[derive(Clone, Copy)]
struct Avx512(__m512d);

impl Avx512 {
    #[inline(always)]
    fn bits(self) -> __m512i {
        // SAFETY: only a cast; the contract of `Lanes` holds wherever a value of this type exists.
        unsafe { _mm512_castpd_si512(self.0) }
    }

    #[inline(always)]
    fn from_bits(bits: __m512i) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_castsi512_pd(bits) })
    }
}

// SAFETY of every block: the caller upholds the contract of the trait.
impl Lanes for Avx512 {
    const LANES: usize = 8;
    const EXP2_PARTS: u32 = 8;
    type Flags = u8;

    #[inline(always)]
    unsafe fn splat(value: f64) -> Self {
        Self(unsafe { _mm512_set1_pd(value) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> Self {
        Self(unsafe { _mm512_loadu_pd(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f64) {
        unsafe { _mm512_storeu_pd(to, self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(unsafe { _mm512_add_pd(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(unsafe { _mm512_sub_pd(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(unsafe { _mm512_mul_pd(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(unsafe { _mm512_div_pd(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        Self(unsafe { _mm512_sqrt_pd(self.0) })
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
        Self(unsafe { _mm512_fmadd_pd(self.0, factor.0, term.0) })
    }
    #[inline(always)]
    unsafe fn neg_mul_add(self, factor: Self, term: Self) -> Self {
        Self(unsafe { _mm512_fnmadd_pd(self.0, factor.0, term.0) })
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        Self(unsafe { _mm512_min_pd(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(unsafe { _mm512_max_pd(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn and_bits(self, other: Self) -> Self {
        Self::from_bits(unsafe { _mm512_and_si512(self.bits(), other.bits()) })
    }
    #[inline(always)]
    unsafe fn or_bits(self, other: Self) -> Self {
        Self::from_bits(unsafe { _mm512_or_si512(self.bits(), other.bits()) })
    }
    #[inline(always)]
    unsafe fn xor_bits(self, other: Self) -> Self {
        Self::from_bits(unsafe { _mm512_xor_si512(self.bits(), other.bits()) })
    }
    #[inline(always)]
    unsafe fn add_bits(self, other: Self) -> Self {
        Self::from_bits(unsafe { _mm512_add_epi64(self.bits(), other.bits()) })
    }
    #[inline(always)]
    unsafe fn sub_bits(self, other: Self) -> Self {
        Self::from_bits(unsafe { _mm512_sub_epi64(self.bits(), other.bits()) })
    }
    #[inline(always)]
    unsafe fn upper_twelve(self) -> Self {
        Self(unsafe { _mm512_cvtepi64_pd(_mm512_srai_epi64::<52>(self.bits())) })
    }
    #[inline(always)]
    unsafe fn exp2_part(self) -> Self {
        unsafe {
            let table = _mm512_loadu_si512(EXP2_EIGHTHS.as_ptr().cast());
            // The permutation uses only the lower three bits of each index.
            let part = _mm512_permutexvar_epi64(self.bits(), table);
            Self::from_bits(_mm512_add_epi64(part, _mm512_slli_epi64::<49>(self.bits())))
        }
    }
    #[inline(always)]
    unsafe fn where_positive(self, sign: Self) -> Self {
        Self(unsafe { _mm512_maskz_mov_pd(!_mm512_movepi64_mask(sign.bits()), self.0) })
    }
    #[inline(always)]
    unsafe fn where_negative(self, sign: Self) -> Self {
        Self(unsafe { _mm512_maskz_mov_pd(_mm512_movepi64_mask(sign.bits()), self.0) })
    }
    #[inline(always)]
    unsafe fn flags(windows: Self, magnitude: Self, limit: f64) -> u8 {
        unsafe {
            let outside = _mm512_set1_epi64(0b111 << 61);
            _mm512_test_epi64_mask(windows.bits(), outside)
                | _mm512_cmp_pd_mask::<_CMP_NLT_UQ>(magnitude.0, _mm512_set1_pd(limit))
        }
    }
    #[inline(always)]
    unsafe fn merge(one: u8, other: u8) -> u8 {
        one | other
    }
    #[inline(always)]
    unsafe fn any(flags: u8) -> bool {
        flags != 0
    }
}

#[target_feature(enable = "avx512f,avx512dq")]
unsafe fn run<const PUT: bool, const RATES: bool>(columns: &Columns, out: *mut f64, count: usize) {
    // SAFETY: this function is compiled for the instruction set; the caller checked for it.
    unsafe { price_run::<Avx512, PUT, RATES>(columns, out, count) }
}

/// The loop for calls or puts, with one rate or many. Use it only if `is_available`.
pub(super) fn runner(put: bool, rates: bool) -> Run {
    match (put, rates) {
        (false, false) => run::<false, false>,
        (false, true) => run::<false, true>,
        (true, false) => run::<true, false>,
        (true, true) => run::<true, true>,
    }
}

/// Whether this processor and its operating system can run this module.
pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq")
}

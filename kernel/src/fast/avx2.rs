//! The formula's operations in AVX2 with FMA: four lanes.

use std::arch::x86_64::{
    __m256d, __m256i, _CMP_NLT_UQ, _mm256_add_epi64, _mm256_add_pd, _mm256_and_si256,
    _mm256_blendv_pd, _mm256_castpd_si256, _mm256_castsi256_pd, _mm256_cmp_pd, _mm256_div_pd,
    _mm256_fmadd_pd, _mm256_fnmadd_pd, _mm256_loadu_pd, _mm256_max_pd, _mm256_min_pd,
    _mm256_mul_pd, _mm256_or_pd, _mm256_or_si256, _mm256_set1_epi64x, _mm256_set1_pd,
    _mm256_setzero_pd, _mm256_slli_epi64, _mm256_sqrt_pd, _mm256_srli_epi64, _mm256_storeu_pd,
    _mm256_sub_epi64, _mm256_sub_pd, _mm256_testz_si256, _mm256_xor_si256,
};

use super::blocks::{Columns, Run, price_run};
use super::lanes::Lanes;

#[derive(Clone, Copy)]
struct Avx2(__m256d);

impl Avx2 {
    #[inline(always)]
    fn bits(self) -> __m256i {
        // SAFETY: only a cast; the contract of `Lanes` holds wherever a value of this type exists.
        unsafe { _mm256_castpd_si256(self.0) }
    }

    #[inline(always)]
    fn from_bits(bits: __m256i) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_castsi256_pd(bits) })
    }
}

// SAFETY of every block: the caller upholds the contract of the trait.
impl Lanes for Avx2 {
    const LANES: usize = 4;
    const EXP2_PARTS: u32 = 1;
    /// Lanes with one of the upper three bits set are the flagged ones.
    type Flags = __m256d;

    #[inline(always)]
    unsafe fn splat(value: f64) -> Self {
        Self(unsafe { _mm256_set1_pd(value) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> Self {
        Self(unsafe { _mm256_loadu_pd(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f64) {
        unsafe { _mm256_storeu_pd(to, self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(unsafe { _mm256_add_pd(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(unsafe { _mm256_sub_pd(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(unsafe { _mm256_mul_pd(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(unsafe { _mm256_div_pd(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        Self(unsafe { _mm256_sqrt_pd(self.0) })
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
        Self(unsafe { _mm256_fmadd_pd(self.0, factor.0, term.0) })
    }
    #[inline(always)]
    unsafe fn neg_mul_add(self, factor: Self, term: Self) -> Self {
        Self(unsafe { _mm256_fnmadd_pd(self.0, factor.0, term.0) })
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        Self(unsafe { _mm256_min_pd(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(unsafe { _mm256_max_pd(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn and_bits(self, other: Self) -> Self {
        Self::from_bits(unsafe { _mm256_and_si256(self.bits(), other.bits()) })
    }
    #[inline(always)]
    unsafe fn or_bits(self, other: Self) -> Self {
        Self::from_bits(unsafe { _mm256_or_si256(self.bits(), other.bits()) })
    }
    #[inline(always)]
    unsafe fn xor_bits(self, other: Self) -> Self {
        Self::from_bits(unsafe { _mm256_xor_si256(self.bits(), other.bits()) })
    }
    #[inline(always)]
    unsafe fn add_bits(self, other: Self) -> Self {
        Self::from_bits(unsafe { _mm256_add_epi64(self.bits(), other.bits()) })
    }
    #[inline(always)]
    unsafe fn sub_bits(self, other: Self) -> Self {
        Self::from_bits(unsafe { _mm256_sub_epi64(self.bits(), other.bits()) })
    }
    #[inline(always)]
    unsafe fn upper_twelve(self) -> Self {
        unsafe {
            // AVX2 cannot convert 64-bit integers. Adding 1024 makes the number positive, and in the
            // mantissa of 2^52 it is a float.
            let positive = _mm256_add_epi64(self.bits(), _mm256_set1_epi64x(1024 << 52));
            let magic = _mm256_castpd_si256(_mm256_set1_pd(4_503_599_627_370_496.0));
            let float = _mm256_or_si256(_mm256_srli_epi64::<52>(positive), magic);
            let offset = _mm256_set1_pd(4_503_599_627_370_496.0 + 1024.0);
            Self(_mm256_sub_pd(_mm256_castsi256_pd(float), offset))
        }
    }
    #[inline(always)]
    unsafe fn exp2_part(self) -> Self {
        unsafe {
            let one = _mm256_castpd_si256(_mm256_set1_pd(1.0));
            Self::from_bits(_mm256_add_epi64(one, _mm256_slli_epi64::<52>(self.bits())))
        }
    }
    #[inline(always)]
    unsafe fn where_positive(self, sign: Self) -> Self {
        Self(unsafe { _mm256_blendv_pd(self.0, _mm256_setzero_pd(), sign.0) })
    }
    #[inline(always)]
    unsafe fn where_negative(self, sign: Self) -> Self {
        Self(unsafe { _mm256_blendv_pd(_mm256_setzero_pd(), self.0, sign.0) })
    }
    #[inline(always)]
    unsafe fn flags(windows: Self, magnitude: Self, limit: f64) -> __m256d {
        unsafe {
            let too_large = _mm256_cmp_pd::<_CMP_NLT_UQ>(magnitude.0, _mm256_set1_pd(limit));
            _mm256_or_pd(windows.0, too_large)
        }
    }
    #[inline(always)]
    unsafe fn merge(one: __m256d, other: __m256d) -> __m256d {
        unsafe { _mm256_or_pd(one, other) }
    }
    #[inline(always)]
    unsafe fn any(flags: __m256d) -> bool {
        unsafe {
            let outside = _mm256_set1_epi64x(0b111 << 61);
            _mm256_testz_si256(_mm256_castpd_si256(flags), outside) == 0
        }
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn run<const PUT: bool, const RATES: bool>(columns: &Columns, out: *mut f64, count: usize) {
    // SAFETY: this function is compiled for the instruction set; the caller checked for it.
    unsafe { price_run::<Avx2, PUT, RATES>(columns, out, count) }
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
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

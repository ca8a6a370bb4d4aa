//! The branch-free formula in vectors, in the phases that `blocks` combines.
//!
//! With `m = ln(S/K) + rT`, `v = sigma sqrt(T)`, `d1,2 = m/v ± v/2`, `K' = K exp(-rT)`, the normal
//! density obeys `S phi(d1) = K' phi(d2)`. So one exponential `g = S exp(-d1^2/2)` serves both
//! distribution functions through `R(x) = cdf(-x) exp(x^2/2)`, Mills' ratio, a rational function:
//!
//! ```text
//! call = [d1 >= 0] S - [d2 >= 0] K' + g (sgn(d2) R(|d2|) - sgn(d1) R(|d1|))
//! put  = [d2 <  0] K' - [d1 <  0] S + g (sgn(d2) R(|d2|) - sgn(d1) R(|d1|))
//! ```
//!
//! The logarithm is that of the ratio: `S/K = 2^e (1+q)/(1-q)` with `|q| <= 1/5`. Out of the money,
//! the price is a difference of two Mills ratios rather than of two products, which keeps small
//! prices accurate. All of this holds for options `in_domain`; `scalar` prices the others again.

use std::f64::consts::{LN_2, LOG2_E};

use super::coefficients::{EXP2, EXP2_EIGHTH, LOG, MILLS_LIMIT, MILLS_P, MILLS_Q};
use super::lanes::Lanes;

const SIGN: u64 = 1 << 63;
const UPPER_TWELVE: u64 = 0xfff << 52;
const HALF_BINADE: u64 = 1 << 51;
const ONE_BINADE: u64 = 1 << 52;
/// Adding this to a number below 2^51 leaves its nearest integer in the lower bits.
const TO_INTEGER: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52
/// Spot, strike, time and volatility must be in [2^-256, 2^256). If this is subtracted from the bits
/// of such a number, the upper three bits are clear; for any other number, they are not.
const WINDOW_START: u64 = (1023 - 256) << 52;
const WINDOW_OUTSIDE: u64 = 0b111 << 61;
/// |rT| must be below this: `exp(-rT)` is computed from one rounded product, whose error grows with
/// |rT|.
const RATE_TIME_LIMIT: f64 = 16.0;

/// Whether the vectors' formula holds for an option. `arguments` flags exactly the others.
pub(super) fn in_domain(spot: f64, strike: f64, time: f64, rate: f64, volatility: f64) -> bool {
    let windows = [spot, strike, time, volatility]
        .map(|value| value.to_bits().wrapping_sub(WINDOW_START))
        .into_iter()
        .fold(0, |all, one| all | one);
    windows & WINDOW_OUTSIDE == 0 && (time * (rate * -LOG2_E)).abs() < RATE_TIME_LIMIT * LOG2_E
}

/// Two to the power of `exponent / T::EXP2_PARTS`, as a scale and a factor near one.
#[inline(always)]
unsafe fn exp2<T: Lanes>(exponent: T) -> (T, T) {
    // SAFETY: the caller upholds the contract of `Lanes`.
    unsafe {
        let shifted = exponent.add(T::splat(TO_INTEGER));
        let fraction = exponent.sub(shifted.sub(T::splat(TO_INTEGER)));
        let quotient = if T::EXP2_PARTS == 8 {
            short_polynomial(&EXP2_EIGHTH, fraction)
        } else {
            short_polynomial(&EXP2, fraction)
        };
        (
            shifted.exp2_part(),
            quotient.mul_add(fraction, T::splat(1.0)),
        )
    }
}

/// Horner's rule, lowest order first: for the long polynomials, several of which run in parallel.
#[inline(always)]
unsafe fn polynomial<T: Lanes, const COUNT: usize>(coefficients: &[f64; COUNT], x: T) -> T {
    // SAFETY: the caller upholds the contract of `Lanes`.
    unsafe {
        let mut value = T::splat(coefficients[COUNT - 1]);
        for &coefficient in coefficients[..COUNT - 1].iter().rev() {
            value = value.mul_add(x, T::splat(coefficient));
        }
        value
    }
}

/// Horner's rule in `x^2` over pairs of coefficients: one more product, but half the wait. For
/// polynomials with no other work to overlap with.
#[inline(always)]
unsafe fn short_polynomial<T: Lanes, const COUNT: usize>(coefficients: &[f64; COUNT], x: T) -> T {
    // SAFETY: the caller upholds the contract of `Lanes`.
    unsafe {
        let square = x.mul(x);
        let pair = |low: usize| match coefficients.get(low + 1) {
            Some(&high) => T::splat(high).mul_add(x, T::splat(coefficients[low])),
            None => T::splat(coefficients[low]),
        };
        let mut low = (COUNT - 1) / 2 * 2;
        let mut value = pair(low);
        while low > 0 {
            low -= 2;
            value = value.mul_add(square, pair(low));
        }
        value
    }
}

/// The same for a leading coefficient of 1, which needs an addition instead of a product.
#[inline(always)]
unsafe fn monic<T: Lanes, const COUNT: usize>(coefficients: &[f64; COUNT], x: T) -> T {
    // SAFETY: the caller upholds the contract of `Lanes`.
    unsafe {
        let mut value = x.add(T::splat(coefficients[COUNT - 2]));
        for &coefficient in coefficients[..COUNT - 2].iter().rev() {
            value = value.mul_add(x, T::splat(coefficient));
        }
        value
    }
}

/// The work for the divider that comes before everything else: `q = (s - K)/(s + K)`, with `s` the
/// spot scaled to within a binade around the strike, and the square root of the time.
#[inline(always)]
pub(super) unsafe fn divisions<T: Lanes>(spot: T, strike: T, time: T) -> [T; 2] {
    // SAFETY: the caller upholds the contract of `Lanes`.
    unsafe {
        let bits = |value: u64| T::splat(f64::from_bits(value));
        let near = spot.sub_bits(binades(spot, strike).and_bits(bits(UPPER_TWELVE)));
        [near.sub(strike).div(near.add(strike)), time.sqrt()]
    }
}

/// By how many powers of two the spot exceeds the strike, in the upper twelve bits.
#[inline(always)]
unsafe fn binades<T: Lanes>(spot: T, strike: T) -> T {
    // SAFETY: the caller upholds the contract of `Lanes`.
    unsafe {
        let half = T::splat(f64::from_bits(HALF_BINADE));
        spot.sub_bits(strike).add_bits(half)
    }
}

/// First phase: `d1`, `d2`, the exponent of the discount in parts of a power of two, and the lanes
/// whose price must not be used.
#[inline(always)]
pub(super) unsafe fn arguments<T: Lanes>(
    [spot, strike, time, rate, volatility]: [T; 5],
    [q, root]: [T; 2],
) -> ([T; 3], T::Flags) {
    // SAFETY: the caller upholds the contract of `Lanes`.
    unsafe {
        let bits = |value: u64| T::splat(f64::from_bits(value));
        let parts = f64::from(T::EXP2_PARTS);

        let start = bits(WINDOW_START);
        let windows = spot
            .sub_bits(start)
            .or_bits(strike.sub_bits(start))
            .or_bits(time.sub_bits(start))
            .or_bits(volatility.sub_bits(start));
        let exponent = time.mul(rate.mul(T::splat(-LOG2_E * parts)));
        let magnitude = exponent.and_bits(bits(!SIGN));
        let flags = T::flags(windows, magnitude, RATE_TIME_LIMIT * LOG2_E * parts);

        let u = q.mul(q);
        let log_near = u.mul(q).mul_add(short_polynomial(&LOG, u), q.add(q));
        let log_ratio = binades(spot, strike)
            .upper_twelve()
            .mul_add(T::splat(LN_2), log_near);
        let moneyness = time.mul_add(rate, log_ratio);

        let deviation = volatility.mul(root);
        let half = deviation.sub_bits(bits(ONE_BINADE));
        let middle = moneyness.div(deviation);
        ([middle.add(half), middle.sub(half), exponent], flags)
    }
}

/// Second phase, first half: `g = S exp(-d1^2/2)`, and the part of the price that needs no Mills ratio.
#[inline(always)]
pub(super) unsafe fn exponentials<T: Lanes, const PUT: bool>(
    spot: T,
    strike: T,
    [d1, d2, exponent]: [T; 3],
) -> [T; 2] {
    // SAFETY: the caller upholds the contract of `Lanes`.
    unsafe {
        let (scale, factor) = exp2(exponent);
        let discounted = strike.mul(scale).mul(factor);
        let x1 = magnitude(d1);
        let half = T::splat(-0.5 * LOG2_E * f64::from(T::EXP2_PARTS));
        let (scale, factor) = exp2(x1.mul(half).mul(x1));
        let density = spot.mul(scale).mul(factor);
        let certain = if PUT {
            discounted.where_negative(d2).sub(spot.where_negative(d1))
        } else {
            spot.where_positive(d1).sub(discounted.where_positive(d2))
        };
        [density, certain]
    }
}

/// Second phase, second half: the difference of the Mills ratios, and the price.
#[inline(always)]
pub(super) unsafe fn ratios<T: Lanes>(
    (numerator, denominator): (&[f64; MILLS_P.len()], &[f64; MILLS_Q.len()]),
    [d1, d2]: [T; 2],
    [density, certain]: [T; 2],
) -> T {
    // SAFETY: the caller upholds the contract of `Lanes`.
    unsafe {
        let (x1, x2) = (magnitude(d1), magnitude(d2));
        let sign = T::splat(f64::from_bits(SIGN));
        let p1 = polynomial(numerator, x1).xor_bits(d1.and_bits(sign));
        let p2 = polynomial(numerator, x2).xor_bits(d2.and_bits(sign));
        let (q1, q2) = (monic(denominator, x1), monic(denominator, x2));
        let ratios = p1.neg_mul_add(q2, p2.mul(q1)).div(q1.mul(q2));
        // Rounding may turn a price of zero into -1e-17 of the spot.
        density.mul_add(ratios, certain).max(T::splat(0.0))
    }
}

/// `|d|`, or the end of the Mills ratio's range if that is smaller.
#[inline(always)]
unsafe fn magnitude<T: Lanes>(d: T) -> T {
    // SAFETY: the caller upholds the contract of `Lanes`.
    unsafe {
        d.and_bits(T::splat(f64::from_bits(!SIGN)))
            .min(T::splat(MILLS_LIMIT))
    }
}

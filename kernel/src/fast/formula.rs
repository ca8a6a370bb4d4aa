//! The formula in vectors, branch-free, and the loop over a run of options.
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
//! The logarithm is taken of the ratio: `S/K = 2^e (1+q)/(1-q)` with `|q| <= 1/5`. Out of the money
//! the price is a difference of two Mills ratios rather than of two products, which keeps the small
//! prices right. It all holds for options `in_domain`; the others are priced again by `scalar`.

use std::f64::consts::{LN_2, LOG2_E};

use super::coefficients::{EXP2, EXP2_EIGHTH, LOG, MILLS_LIMIT, MILLS_P, MILLS_Q};
use super::lanes::{Lanes, Pair};
use super::scalar;

/// Where a run of options lies: pointers to as many values as the run has options.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    pub spot: *const f64,
    pub strike: *const f64,
    pub time: *const f64,
    pub volatility: *const f64,
    /// One value for all options, or as many as there are options, by `RATES` of the loop.
    pub rate: *const f64,
}

/// Prices a run of options: the columns, where the prices go, and how many there are.
pub(super) type Run = unsafe fn(&Columns, *mut f64, usize);

const SIGN: u64 = 1 << 63;
const UPPER_TWELVE: u64 = 0xfff << 52;
const HALF_BINADE: u64 = 1 << 51;
const ONE_BINADE: u64 = 1 << 52;
/// Adding this to a number below 2^51 leaves its nearest integer in the lower bits.
const TO_INTEGER: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52
/// Spot, strike, time and volatility must lie in [2^-256, 2^256): less this, the bits of such a
/// number have their upper three clear, and the bits of no other have.
const WINDOW_START: u64 = (1023 - 256) << 52;
const WINDOW_OUTSIDE: u64 = 0b111 << 61;
/// |rT| must be below this: `exp(-rT)` is computed from one rounded product, whose error grows
/// with it.
const RATE_TIME_LIMIT: f64 = 16.0;

/// Whether the vectors' formula holds for an option. `price_lanes` flags exactly the others.
pub(super) fn in_domain(spot: f64, strike: f64, time: f64, rate: f64, volatility: f64) -> bool {
    let windows = [spot, strike, time, volatility]
        .map(|value| value.to_bits().wrapping_sub(WINDOW_START))
        .into_iter()
        .fold(0, |all, one| all | one);
    windows & WINDOW_OUTSIDE == 0 && (time * (rate * -LOG2_E)).abs() < RATE_TIME_LIMIT * LOG2_E
}

/// Two to the power of `exponent / T::EXP2_PARTS`, as a scale and the factor near one beside it.
#[inline(always)]
unsafe fn exp2<T: Lanes>(exponent: T) -> (T, T) {
    // SAFETY: the caller keeps the contract of `Lanes`.
    unsafe {
        let shifted = exponent.add(T::splat(TO_INTEGER));
        let fraction = exponent.sub(shifted.sub(T::splat(TO_INTEGER)));
        let quotient = if T::EXP2_PARTS == 8 {
            polynomial(&EXP2_EIGHTH, fraction)
        } else {
            polynomial(&EXP2, fraction)
        };
        (shifted.exp2_part(), quotient.mul_add(fraction, T::splat(1.0)))
    }
}

/// Horner's rule, lowest order first.
#[inline(always)]
unsafe fn polynomial<T: Lanes, const COUNT: usize>(coefficients: &[f64; COUNT], x: T) -> T {
    // SAFETY: the caller keeps the contract of `Lanes`.
    unsafe {
        let mut value = T::splat(coefficients[COUNT - 1]);
        for &coefficient in coefficients[..COUNT - 1].iter().rev() {
            value = value.mul_add(x, T::splat(coefficient));
        }
        value
    }
}

/// The same for a leading coefficient of 1, which costs an addition in place of a product.
#[inline(always)]
unsafe fn monic<T: Lanes, const COUNT: usize>(coefficients: &[f64; COUNT], x: T) -> T {
    // SAFETY: the caller keeps the contract of `Lanes`.
    unsafe {
        let mut value = x.add(T::splat(coefficients[COUNT - 2]));
        for &coefficient in coefficients[..COUNT - 2].iter().rev() {
            value = value.mul_add(x, T::splat(coefficient));
        }
        value
    }
}

/// The prices of one vector of options, and the lanes for which they are not to be used.
#[inline(always)]
unsafe fn price_lanes<T: Lanes, const PUT: bool>(
    spot: T,
    strike: T,
    time: T,
    rate: T,
    volatility: T,
) -> (T, T::Flags) {
    // SAFETY: the caller keeps the contract of `Lanes`.
    unsafe {
        let bits = |value: u64| T::splat(f64::from_bits(value));
        let parts = f64::from(T::EXP2_PARTS);

        let start = bits(WINDOW_START);
        let windows = spot
            .sub_bits(start)
            .or_bits(strike.sub_bits(start))
            .or_bits(time.sub_bits(start))
            .or_bits(volatility.sub_bits(start));
        let discount_exponent = time.mul(rate.mul(T::splat(-LOG2_E * parts)));
        let magnitude = discount_exponent.and_bits(bits(!SIGN));
        let flags = T::flags(windows, magnitude, RATE_TIME_LIMIT * LOG2_E * parts);

        let binades = spot.sub_bits(strike).add_bits(bits(HALF_BINADE));
        let near = spot.sub_bits(binades.and_bits(bits(UPPER_TWELVE)));
        let q = near.sub(strike).div(near.add(strike));
        let u = q.mul(q);
        let log_near = u.mul(q).mul_add(polynomial(&LOG, u), q.add(q));
        let log_ratio = binades.upper_twelve().mul_add(T::splat(LN_2), log_near);
        let moneyness = time.mul_add(rate, log_ratio);

        let deviation = volatility.mul(time.sqrt());
        let half = deviation.sub_bits(bits(ONE_BINADE));
        let middle = moneyness.div(deviation);
        let d1 = middle.add(half);
        let d2 = middle.sub(half);
        let x1 = d1.and_bits(bits(!SIGN)).min(T::splat(MILLS_LIMIT));
        let x2 = d2.and_bits(bits(!SIGN)).min(T::splat(MILLS_LIMIT));

        let (scale, factor) = exp2(discount_exponent);
        let discounted = strike.mul(scale).mul(factor);
        let (scale, factor) = exp2(x1.mul(T::splat(-0.5 * LOG2_E * parts)).mul(x1));
        let density = spot.mul(scale).mul(factor);

        let sign = bits(SIGN);
        let p1 = polynomial(&MILLS_P, x1).xor_bits(d1.and_bits(sign));
        let p2 = polynomial(&MILLS_P, x2).xor_bits(d2.and_bits(sign));
        let q1 = monic(&MILLS_Q, x1);
        let q2 = monic(&MILLS_Q, x2);
        let ratios = p1.neg_mul_add(q2, p2.mul(q1)).div(q1.mul(q2));

        let certain = if PUT {
            discounted.where_negative(d2).sub(spot.where_negative(d1))
        } else {
            spot.where_positive(d1).sub(discounted.where_positive(d2))
        };
        // Rounding may leave a price of nothing at -1e-17 of the spot.
        (density.mul_add(ratios, certain).max(T::splat(0.0)), flags)
    }
}

/// Prices `T::LANES` options at `start`; those that the formula does not hold for, one by one.
#[inline(always)]
unsafe fn price_block<T: Lanes, const PUT: bool, const RATES: bool>(
    columns: &Columns,
    rate: T,
    start: usize,
    out: *mut f64,
) {
    // SAFETY: the caller keeps the contract of `Lanes`, and `T::LANES` values from `start` on are
    // readable in each column and writable in `out`.
    unsafe {
        let rate = if RATES { T::load(columns.rate.add(start)) } else { rate };
        let (prices, flags) = price_lanes::<T, PUT>(
            T::load(columns.spot.add(start)),
            T::load(columns.strike.add(start)),
            T::load(columns.time.add(start)),
            rate,
            T::load(columns.volatility.add(start)),
        );
        prices.store(out.add(start));
        if T::any(flags) {
            price_again(columns, PUT, RATES, start, T::LANES, out);
        }
    }
}

/// Prices those of `count` options at `start` that are not in the domain of the formula.
#[cold]
#[inline(never)]
unsafe fn price_again(
    columns: &Columns,
    put: bool,
    rates: bool,
    start: usize,
    count: usize,
    out: *mut f64,
) {
    for index in start..start + count {
        // SAFETY: the caller's options are there to read, and their prices to write.
        unsafe {
            let spot = *columns.spot.add(index);
            let strike = *columns.strike.add(index);
            let time = *columns.time.add(index);
            let rate = *columns.rate.add(if rates { index } else { 0 });
            let volatility = *columns.volatility.add(index);
            if !in_domain(spot, strike, time, rate, volatility) {
                *out.add(index) = scalar::price(put, spot, strike, time, rate, volatility);
            }
        }
    }
}

/// Room for the ragged tail of any instruction set's pair of vectors.
const TAIL: usize = 16;

/// The loop: two vectors per turn, and the tail in a padded copy through the same code.
///
/// # Safety
/// As `Lanes`; and `columns` and `out` are as `Run` says, not overlapping.
#[inline(always)]
pub(super) unsafe fn price_run<V: Lanes, const PUT: bool, const RATES: bool>(
    columns: &Columns,
    out: *mut f64,
    count: usize,
) {
    let lanes = Pair::<V>::LANES;
    const { assert!(Pair::<V>::LANES <= TAIL) };
    let whole = count - count % lanes;
    // SAFETY: every index below `count` is inside the columns; the padded copies have TAIL values.
    unsafe {
        let rate = Pair::<V>::splat(if RATES { 0.0 } else { *columns.rate });
        let mut start = 0;
        while start < whole {
            price_block::<Pair<V>, PUT, RATES>(columns, rate, start, out);
            start += lanes;
        }
        if whole == count {
            return;
        }
        let rest = count - whole;
        let copy = |from: *const f64| {
            let mut padded = [1.0; TAIL];
            padded[..rest].copy_from_slice(std::slice::from_raw_parts(from.add(whole), rest));
            padded
        };
        let (spot, strike) = (copy(columns.spot), copy(columns.strike));
        let (time, volatility) = (copy(columns.time), copy(columns.volatility));
        let rates = if RATES { copy(columns.rate) } else { [*columns.rate; TAIL] };
        let mut prices = [0.0; TAIL];
        let padded = Columns {
            spot: spot.as_ptr(),
            strike: strike.as_ptr(),
            time: time.as_ptr(),
            volatility: volatility.as_ptr(),
            rate: rates.as_ptr(),
        };
        price_block::<Pair<V>, PUT, RATES>(&padded, rate, 0, prices.as_mut_ptr());
        std::slice::from_raw_parts_mut(out.add(whole), rest).copy_from_slice(&prices[..rest]);
    }
}

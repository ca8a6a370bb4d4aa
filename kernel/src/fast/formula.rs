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
use std::hint::black_box;
use std::mem::MaybeUninit;

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

/// Whether the vectors' formula holds for an option. `arguments` flags exactly the others.
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

/// Horner's rule, lowest order first: for the long polynomials, several of which run side by side.
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

/// Horner's rule in `x^2` over pairs of coefficients: one product more, and half the wait, for the
/// polynomials that have no other work beside them.
#[inline(always)]
unsafe fn short_polynomial<T: Lanes, const COUNT: usize>(coefficients: &[f64; COUNT], x: T) -> T {
    // SAFETY: the caller keeps the contract of `Lanes`.
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

/// What the divider is needed for before anything else is known: `q = (s - K)/(s + K)` with `s` the
/// spot brought within a binade around the strike, and the root of the time.
#[inline(always)]
unsafe fn divisions<T: Lanes>(spot: T, strike: T, time: T) -> [T; 2] {
    // SAFETY: the caller keeps the contract of `Lanes`.
    unsafe {
        let bits = |value: u64| T::splat(f64::from_bits(value));
        let near = spot.sub_bits(binades(spot, strike).and_bits(bits(UPPER_TWELVE)));
        [near.sub(strike).div(near.add(strike)), time.sqrt()]
    }
}

/// By how many powers of two the spot exceeds the strike, in the upper twelve bits.
#[inline(always)]
unsafe fn binades<T: Lanes>(spot: T, strike: T) -> T {
    // SAFETY: the caller keeps the contract of `Lanes`.
    unsafe {
        let half = T::splat(f64::from_bits(HALF_BINADE));
        spot.sub_bits(strike).add_bits(half)
    }
}

/// First phase: `d1`, `d2`, the exponent of the discount in parts of a power of two, and the lanes
/// for which the price is not to be used.
#[inline(always)]
unsafe fn arguments<T: Lanes>(
    [spot, strike, time, rate, volatility]: [T; 5],
    [q, root]: [T; 2],
) -> ([T; 3], T::Flags) {
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
unsafe fn exponentials<T: Lanes, const PUT: bool>(
    spot: T,
    strike: T,
    [d1, d2, exponent]: [T; 3],
) -> [T; 2] {
    // SAFETY: the caller keeps the contract of `Lanes`.
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
unsafe fn ratios<T: Lanes>(
    (numerator, denominator): (&[f64; MILLS_P.len()], &[f64; MILLS_Q.len()]),
    [d1, d2]: [T; 2],
    [density, certain]: [T; 2],
) -> T {
    // SAFETY: the caller keeps the contract of `Lanes`.
    unsafe {
        let (x1, x2) = (magnitude(d1), magnitude(d2));
        let sign = T::splat(f64::from_bits(SIGN));
        let p1 = polynomial(numerator, x1).xor_bits(d1.and_bits(sign));
        let p2 = polynomial(numerator, x2).xor_bits(d2.and_bits(sign));
        let (q1, q2) = (monic(denominator, x1), monic(denominator, x2));
        let ratios = p1.neg_mul_add(q2, p2.mul(q1)).div(q1.mul(q2));
        // Rounding may leave a price of nothing at -1e-17 of the spot.
        density.mul_add(ratios, certain).max(T::splat(0.0))
    }
}

/// `|d|`, or the end of the Mills ratio's range when that is less.
#[inline(always)]
unsafe fn magnitude<T: Lanes>(d: T) -> T {
    // SAFETY: the caller keeps the contract of `Lanes`.
    unsafe {
        d.and_bits(T::splat(f64::from_bits(!SIGN)))
            .min(T::splat(MILLS_LIMIT))
    }
}

/// Options that go through the phases together; what one phase leaves for the next stays in the
/// first-level cache.
const BLOCK: usize = 128;

/// Room for what the phases leave each other, one column each. The alignment is a cache line's: a
/// vector that lies in two of them is stored and loaded in two steps.
#[repr(align(64))]
struct Between {
    q: [f64; BLOCK],
    root: [f64; BLOCK],
    d1: [f64; BLOCK],
    d2: [f64; BLOCK],
    exponent: [f64; BLOCK],
}

/// How many blocks ahead the columns are fetched: for data that other work has displaced from the
/// caches, where the processor's own prefetcher begins anew at each page. One block ahead comes too
/// late, because the divisions already read there.
const FETCHED_AHEAD: usize = 2;
const VALUES_PER_CACHE_LINE: usize = 8;

/// Asks for `count` values to be brought near. They need not exist: this reads nothing.
#[inline(always)]
fn fetch(from: *const f64, count: usize) {
    for value in (0..count).step_by(VALUES_PER_CACHE_LINE) {
        let address = from.wrapping_add(value);
        // SAFETY: every x86-64 processor has the instruction, and it faults on no address.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = address;
    }
}

impl Between {
    /// Does the divisions of `count` options from `start` on, as many as a block has at most.
    #[inline(always)]
    unsafe fn divide<T: Lanes>(between: *mut Self, columns: &Columns, start: usize, count: usize) {
        for i in (0..count).step_by(T::LANES) {
            // SAFETY: the caller keeps the contract of `Lanes`, and the options are readable.
            unsafe { Self::divide_one::<T>(between, columns, start, i) }
        }
    }

    /// The same for one vector of them.
    #[inline(always)]
    unsafe fn divide_one<T: Lanes>(between: *mut Self, columns: &Columns, start: usize, i: usize) {
        // SAFETY: as above.
        unsafe {
            let at = start + i;
            let [q, root] = divisions(
                T::load(columns.spot.add(at)),
                T::load(columns.strike.add(at)),
                T::load(columns.time.add(at)),
            );
            q.store((&raw mut (*between).q).cast::<f64>().add(i));
            root.store((&raw mut (*between).root).cast::<f64>().add(i));
        }
    }
}

/// Prices `count` options from `start` on, a multiple of `T::LANES` and at most `BLOCK`, whose
/// divisions are done; those that the formula does not hold for, one by one. Does the divisions of
/// as many options from `ahead` on.
///
/// Two short loops, not one long one: the processor looks some two hundred instructions ahead,
/// which is several turns of a short loop, whose chains of products then overlap, but less than one
/// turn of a long one. The divisions are done a block ahead because the second loop has little else
/// for the divider, and the first would wait for them.
#[inline(always)]
unsafe fn price_block<T: Lanes, const PUT: bool, const RATES: bool>(
    columns: &Columns,
    between: *mut Between,
    [start, ahead]: [usize; 2],
    count: usize,
    out: *mut f64,
) {
    // SAFETY: the caller keeps the contract of `Lanes`, and `count` values from `start` and from
    // `ahead` on are readable in each column, and from `start` on writable in `out`; each phase
    // reads of `between` what the one before wrote, and the second loop writes what the first read.
    unsafe {
        let qs = (&raw mut (*between).q).cast::<f64>();
        let roots = (&raw mut (*between).root).cast::<f64>();
        let d1s = (&raw mut (*between).d1).cast::<f64>();
        let d2s = (&raw mut (*between).d2).cast::<f64>();
        let exponents = (&raw mut (*between).exponent).cast::<f64>();
        let uniform = T::splat(*columns.rate);
        // Read from memory in each turn: a compiler that knows them keeps them in registers, and
        // puts the turn's own values on the stack for want of room. That costs more: on Zen 5 a
        // store of 512 bits keeps fused products waiting.
        let mills = (black_box(&MILLS_P), black_box(&MILLS_Q));

        let mut flagged = false;
        for i in (0..count).step_by(T::LANES) {
            let at = start + i;
            let option = [
                T::load(columns.spot.add(at)),
                T::load(columns.strike.add(at)),
                T::load(columns.time.add(at)),
                if RATES {
                    T::load(columns.rate.add(at))
                } else {
                    uniform
                },
                T::load(columns.volatility.add(at)),
            ];
            let ([d1, d2, exponent], flags) =
                arguments(option, [T::load(qs.add(i)), T::load(roots.add(i))]);
            d1.store(d1s.add(i));
            d2.store(d2s.add(i));
            exponent.store(exponents.add(i));
            flagged |= T::any(flags);
        }
        for i in (0..count).step_by(T::LANES) {
            let d = [T::load(d1s.add(i)), T::load(d2s.add(i))];
            let terms = exponentials::<T, PUT>(
                T::load(columns.spot.add(start + i)),
                T::load(columns.strike.add(start + i)),
                [d[0], d[1], T::load(exponents.add(i))],
            );
            ratios(mills, d, terms).store(out.add(start + i));
            Between::divide_one::<T>(between, columns, ahead, i);
            let later = start + FETCHED_AHEAD * BLOCK + i;
            fetch(columns.spot.wrapping_add(later), T::LANES);
            fetch(columns.strike.wrapping_add(later), T::LANES);
            fetch(columns.time.wrapping_add(later), T::LANES);
            fetch(columns.volatility.wrapping_add(later), T::LANES);
            if RATES {
                fetch(columns.rate.wrapping_add(later), T::LANES);
            }
        }
        if flagged {
            price_again(columns, PUT, RATES, start, count, out);
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

/// The loop over a run of any length: blocks of pairs of vectors, and the ragged tail in a padded
/// copy through the same code, so that a price does not depend on its place.
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
    const { assert!(Pair::<V>::LANES <= TAIL && BLOCK.is_multiple_of(Pair::<V>::LANES)) };
    let mut between = MaybeUninit::<Between>::uninit();
    let between = between.as_mut_ptr();
    let whole = count - count % lanes;
    // SAFETY: every index below `count` is inside the columns; the padded copies have TAIL values.
    unsafe {
        let mut start = 0;
        let mut divided = false;
        while start < whole {
            let count = (whole - start).min(BLOCK);
            if !divided {
                Between::divide::<Pair<V>>(between, columns, start, count);
            }
            // Where no whole block follows, this one's divisions are done once more, to no end.
            divided = start + 2 * BLOCK <= whole;
            let ahead = if divided { start + BLOCK } else { start };
            price_block::<Pair<V>, PUT, RATES>(columns, between, [start, ahead], count, out);
            start += count;
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
        let rates = if RATES {
            copy(columns.rate)
        } else {
            [*columns.rate; TAIL]
        };
        let mut prices = [0.0; TAIL];
        let padded = Columns {
            spot: spot.as_ptr(),
            strike: strike.as_ptr(),
            time: time.as_ptr(),
            volatility: volatility.as_ptr(),
            rate: rates.as_ptr(),
        };
        let first = prices.as_mut_ptr();
        Between::divide::<Pair<V>>(between, &padded, 0, lanes);
        price_block::<Pair<V>, PUT, RATES>(&padded, between, [0, 0], lanes, first);
        std::slice::from_raw_parts_mut(out.add(whole), rest).copy_from_slice(&prices[..rest]);
    }
}

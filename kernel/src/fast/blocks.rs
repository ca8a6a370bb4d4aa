//! The loop over a run of options. It runs the formula's phases block by block, does the divisions of
//! the next block alongside the products of this one, and fetches the columns before they are needed.

use std::hint::black_box;
use std::mem::MaybeUninit;

use super::coefficients::{MILLS_P, MILLS_Q};
use super::formula::{arguments, divisions, exponentials, in_domain, ratios};
use super::lanes::{Lanes, Pair};
use super::scalar;

/// Where a run of options is stored: pointers to as many values as the run has options.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    pub spot: *const f64,
    pub strike: *const f64,
    pub time: *const f64,
    pub volatility: *const f64,
    /// One value for all options or one per option, depending on `RATES` of the loop.
    pub rate: *const f64,
}

/// Prices a run of options: the columns, where the prices go, and how many there are.
pub(super) type Run = unsafe fn(&Columns, *mut f64, usize);

/// Options that go through the phases together. What one phase passes to the next stays in the
/// first-level cache.
const BLOCK: usize = 128;

/// Room for what the phases pass to each other, one column each. It is aligned to a cache line,
/// because a vector that spans two lines is stored and loaded in two steps.
#[repr(align(64))]
struct Between {
    q: [f64; BLOCK],
    root: [f64; BLOCK],
    d1: [f64; BLOCK],
    d2: [f64; BLOCK],
    exponent: [f64; BLOCK],
}

/// How many blocks ahead the columns are fetched. This helps when other work has evicted the data from
/// the caches, where the processor's prefetcher starts over at each page. One block ahead is too late,
/// because the divisions already read there.
const FETCHED_AHEAD: usize = 2;
const VALUES_PER_CACHE_LINE: usize = 8;

/// Prefetches `count` values. They need not exist, because this reads nothing.
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
    /// Does the divisions of `count` options from `start` on, at most a block.
    #[inline(always)]
    unsafe fn divide<T: Lanes>(between: *mut Self, columns: &Columns, start: usize, count: usize) {
        for i in (0..count).step_by(T::LANES) {
            // SAFETY: the caller upholds the contract of `Lanes`, and the options are readable.
            unsafe { Self::divide_one::<T>(between, columns, start, i) }
        }
    }

    /// The same for one vector.
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

/// Prices `count` options from `start` on, whose divisions are done. `count` is a multiple of
/// `T::LANES` and at most `BLOCK`. Options that the formula does not hold for are priced one by one.
/// Also does the divisions of as many options from `ahead` on.
///
/// This is two short loops, not one long one. The processor looks some two hundred instructions
/// ahead. That covers several turns of a short loop, so their chains of products overlap, but less
/// than one turn of a long loop. The divisions are done a block ahead because the second loop leaves
/// the divider almost idle, while the first would have to wait for them.
#[inline(always)]
unsafe fn price_block<T: Lanes, const PUT: bool, const RATES: bool>(
    columns: &Columns,
    between: *mut Between,
    [start, ahead]: [usize; 2],
    count: usize,
    out: *mut f64,
) {
    // SAFETY: the caller upholds the contract of `Lanes`. In each column, `count` values from `start`
    // and from `ahead` on are readable; in `out`, `count` values from `start` on are writable. Each
    // phase reads from `between` what the previous one wrote; the second loop writes what the first
    // read.
    unsafe {
        let qs = (&raw mut (*between).q).cast::<f64>();
        let roots = (&raw mut (*between).root).cast::<f64>();
        let d1s = (&raw mut (*between).d1).cast::<f64>();
        let d2s = (&raw mut (*between).d2).cast::<f64>();
        let exponents = (&raw mut (*between).exponent).cast::<f64>();
        let uniform = T::splat(*columns.rate);
        // Read from memory in each turn. If the compiler knew these values, it would keep them in
        // registers and spill the turn's own values to the stack. That costs more: on Zen 5 a 512-bit
        // store delays fused products.
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

/// Prices those of the `count` options at `start` that are outside the formula's domain.
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
        // SAFETY: the caller's options are readable, and their prices are writable.
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

/// Room for the incomplete last pair of vectors of any instruction set.
const TAIL: usize = 16;

/// The loop over a run of any length: blocks of pairs of vectors, and then the incomplete tail, which
/// goes through the same code in a padded copy, so that a price does not depend on its position.
///
/// # Safety
/// See `Lanes`. `columns` and `out` must be as `Run` says, and must not overlap.
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
            // If no whole block follows, this block's divisions are done again, and not used.
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

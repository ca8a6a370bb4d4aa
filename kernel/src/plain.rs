//! The plain port: the textbook formula with `ln`, `exp` and `erfc` per option, run by Rayon above
//! two thresholds. This is what a first port to Rust looks like, and what perfkit's demo tunes. The
//! fast kernel is in `fast`.

use std::f64::consts::FRAC_1_SQRT_2;

use rayon::prelude::*;

use crate::constants::{
    CHUNK_SIZE_L1, PARALLEL_THRESHOLD_MEDIUM, PARALLEL_THRESHOLD_SMALL, UNROLL_FACTOR,
};
use crate::error::KernelError;
use crate::inputs::Inputs;
use crate::pool;

/// Which of the three branches a call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// On the calling thread.
    Sequential,
    /// In parallel, in chunks that fit the first-level cache.
    Chunked,
    /// In parallel, one chunk per thread.
    PerThread,
}

impl Branch {
    /// The name that Python sees.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sequential => "sequential",
            Self::Chunked => "chunked",
            Self::PerThread => "per_thread",
        }
    }
}

/// How a call of `n` options is executed. This is not a description: `call_price` follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The branch taken.
    pub branch: Branch,
    /// Options per chunk; the last chunk may be shorter.
    pub chunk_len: usize,
    /// Number of chunks; zero for an empty call.
    pub chunks: usize,
}

/// The plan for `n` options. Calls `threads` only when each thread gets one chunk.
#[must_use]
pub fn plan(n: usize, threads: impl FnOnce() -> usize) -> Plan {
    let (branch, chunk_len) = if n < PARALLEL_THRESHOLD_SMALL {
        (Branch::Sequential, n.max(1))
    } else if n < PARALLEL_THRESHOLD_MEDIUM {
        (Branch::Chunked, CHUNK_SIZE_L1)
    } else {
        (Branch::PerThread, n.div_ceil(threads().max(1)).max(1))
    };
    Plan {
        branch,
        chunk_len,
        chunks: n.div_ceil(chunk_len),
    }
}

/// Prices European calls into `out` and returns the plan that was followed.
///
/// # Errors
/// `KernelError::Lengths` if the slices differ in length; nothing is written in that case.
pub fn call_price(inputs: &Inputs<'_>, out: &mut [f64]) -> Result<Plan, KernelError> {
    inputs.check_lengths(out.len())?;
    let plan = plan(out.len(), pool::threads);
    let price = |(index, chunk): (usize, &mut [f64])| {
        let start = index * plan.chunk_len;
        price_chunk::<UNROLL_FACTOR>(&inputs.range(start..start + chunk.len()), chunk);
    };
    match plan.branch {
        Branch::Sequential => price_chunk::<UNROLL_FACTOR>(inputs, out),
        Branch::Chunked | Branch::PerThread => {
            let len = plan.chunk_len;
            let shared = || out.par_chunks_mut(len).enumerate().for_each(price);
            if pool::install(shared).is_none() {
                out.chunks_mut(len).enumerate().for_each(price);
            }
        }
    }
    Ok(plan)
}

/// The inner loop: `UNROLL` options per turn, then the rest one by one.
#[inline(never)]
fn price_chunk<const UNROLL: usize>(inputs: &Inputs<'_>, out: &mut [f64]) {
    let price = |index: usize| {
        price_one(
            inputs.spot[index],
            inputs.strike[index],
            inputs.time[index],
            inputs.rate,
            inputs.volatility[index],
        )
    };
    let whole = out.len() - out.len() % UNROLL;
    for start in (0..whole).step_by(UNROLL) {
        let block: [f64; UNROLL] = std::array::from_fn(|lane| price(start + lane));
        out[start..start + UNROLL].copy_from_slice(&block);
    }
    for (index, slot) in out.iter_mut().enumerate().skip(whole) {
        *slot = price(index);
    }
}

/// One European call, by the textbook formula.
#[inline(always)]
fn price_one(spot: f64, strike: f64, time: f64, rate: f64, volatility: f64) -> f64 {
    let deviation = volatility * time.sqrt();
    let d1 = ((spot / strike).ln() + (rate + 0.5 * volatility * volatility) * time) / deviation;
    let d2 = d1 - deviation;
    spot * normal_cdf(d1) - strike * (-rate * time).exp() * normal_cdf(d2)
}

#[inline(always)]
fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrays(n: usize) -> [Vec<f64>; 4] {
        let column = |low: f64, high: f64, step: usize| {
            (0..n)
                .map(|i| low + (high - low) * ((i * step % 997) as f64 / 997.0))
                .collect()
        };
        [
            column(50.0, 150.0, 1),
            column(50.0, 150.0, 7),
            column(0.05, 3.0, 13),
            column(0.1, 0.6, 31),
        ]
    }

    fn price(n: usize) -> (Vec<f64>, Plan) {
        let [spot, strike, time, volatility] = arrays(n);
        let inputs = Inputs {
            spot: &spot,
            strike: &strike,
            time: &time,
            rate: 0.03,
            volatility: &volatility,
        };
        let mut out = vec![f64::NAN; n];
        let plan = call_price(&inputs, &mut out).unwrap();
        (out, plan)
    }

    #[test]
    fn prices_a_known_option() {
        // Hull, Options, Futures and Other Derivatives: S 42, K 40, r 0.1, sigma 0.2, T 0.5.
        let price = price_one(42.0, 40.0, 0.5, 0.1, 0.2);
        assert!((price - 4.759_422_392_871_532).abs() < 1e-13, "{price}");
    }

    #[test]
    fn every_branch_prices_every_option_alike() {
        let sizes = [
            0,
            1,
            UNROLL_FACTOR + 1,
            PARALLEL_THRESHOLD_SMALL - 1,
            PARALLEL_THRESHOLD_SMALL,
            PARALLEL_THRESHOLD_SMALL + CHUNK_SIZE_L1 + 1,
            PARALLEL_THRESHOLD_MEDIUM + 1,
        ];
        for n in sizes {
            let [spot, strike, time, volatility] = arrays(n);
            let (out, done) = price(n);
            assert_eq!(done, plan(n, pool::threads));
            for (index, &value) in out.iter().enumerate() {
                let alone = price_one(
                    spot[index],
                    strike[index],
                    time[index],
                    0.03,
                    volatility[index],
                );
                assert_eq!(value.to_bits(), alone.to_bits(), "n {n}, index {index}");
            }
        }
    }

    #[test]
    fn thresholds_choose_the_branch_and_the_chunks() {
        let small = PARALLEL_THRESHOLD_SMALL;
        let medium = PARALLEL_THRESHOLD_MEDIUM;
        assert_eq!(plan(0, || 2).chunks, 0);
        assert_eq!(
            plan(small - 1, || 2),
            Plan {
                branch: Branch::Sequential,
                chunk_len: small - 1,
                chunks: 1
            }
        );
        assert_eq!(plan(small, || 2).branch, Branch::Chunked);
        assert_eq!(plan(small, || 2).chunks, small.div_ceil(CHUNK_SIZE_L1));
        assert_eq!(plan(medium - 1, || 2).branch, Branch::Chunked);
        assert_eq!(plan(medium, || 3).branch, Branch::PerThread);
        assert_eq!(plan(medium, || 3).chunks, 3);
    }

    #[test]
    fn unequal_lengths_are_refused_before_anything_is_written() {
        let four = [1.0; 4];
        let inputs = Inputs {
            spot: &four,
            strike: &four[..3],
            time: &four,
            rate: 0.0,
            volatility: &four,
        };
        let mut out = [7.0; 4];
        assert_eq!(
            call_price(&inputs, &mut out),
            Err(KernelError::Lengths([4, 3, 4, 4, 4]))
        );
        assert_eq!(out, [7.0; 4]);
    }
}

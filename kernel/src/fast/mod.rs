//! The fast kernel: the formula in vectors of the processor's best instruction set, and a parallel
//! path in which the calling thread prices too.

mod blocks;
mod coefficients;
mod crew;
mod formula;
mod job;
mod lanes;
mod path;
mod portable;
pub mod scalar;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

pub use job::{Job, Operand, Output, element_count};
pub use path::{Path, chosen_path, set_path};

use crate::constants::{FAST_CHUNK_SIZE, FAST_PARALLEL_THRESHOLD};
use crate::error::KernelError;
use crate::inputs::Inputs;
use crate::pool;

/// What is priced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The right to buy.
    Call,
    /// The right to sell.
    Put,
}

/// Which of the two branches a call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// On the calling thread.
    Sequential,
    /// On the calling thread and the pool threads that wake in time, chunk by chunk.
    Shared,
}

impl Branch {
    /// The name that Python sees.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sequential => "sequential",
            Self::Shared => "shared",
        }
    }
}

/// How a call is executed. This is not a description: the pricing functions follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The branch taken.
    pub branch: Branch,
    /// Options per chunk; the last chunk may be shorter.
    pub chunk_len: usize,
    /// Number of chunks; zero for an empty call.
    pub chunks: usize,
    /// Threads of the pool that are asked to help.
    pub helpers: usize,
}

/// Minimum number of pieces that a shared call is cut into, as long as they are worth fetching. When the
/// pool wakes late, the caller waits for a helper's last piece, so that piece must be a small part.
const LEAST_CHUNKS: usize = 32;
const WORTH_FETCHING: usize = 256;
/// Maximum number of options priced before checking whether the call was interrupted.
const LONGEST_CHUNK: usize = 1 << 18;

/// The plan for `n` options. Calls `threads` only when more than one thread may help.
#[must_use]
pub fn plan(n: usize, threads: impl FnOnce() -> usize) -> Plan {
    if n < FAST_PARALLEL_THRESHOLD {
        let chunk_len = n.clamp(1, LONGEST_CHUNK);
        let chunks = n.div_ceil(chunk_len);
        return Plan {
            branch: Branch::Sequential,
            chunk_len,
            chunks,
            helpers: 0,
        };
    }
    let chunk_len = FAST_CHUNK_SIZE.min((n / LEAST_CHUNKS).max(WORTH_FETCHING));
    let chunks = n.div_ceil(chunk_len);
    let helpers = (threads().saturating_sub(1)).min(chunks.saturating_sub(1));
    Plan {
        branch: Branch::Shared,
        chunk_len,
        chunks,
        helpers,
    }
}

/// Runs a job by its plan and returns the plan. Calls `keep_on` after each chunk of the calling
/// thread. If it returns `false`, the output is filled with NaN, so that nothing half-written looks
/// complete.
///
/// # Errors
/// `KernelError::Interrupted` if `keep_on` returned `false`.
///
/// # Safety
/// While this runs, every operand and the output must point to as many values as the job's shape has.
/// The output must not overlap an operand, and nothing else may read or write it.
pub unsafe fn run(job: &Job<'_>, keep_on: &mut dyn FnMut() -> bool) -> Result<Plan, KernelError> {
    let plan = plan(job.len(), pool::threads);
    let work = |chunk: usize| {
        let start = chunk * plan.chunk_len;
        // SAFETY: chunks do not overlap, and the caller vouches for the pointers.
        unsafe { job.price_range(start, (start + plan.chunk_len).min(job.len())) }
    };
    let whole = if plan.chunks <= 1 {
        (0..plan.chunks).for_each(work);
        true
    } else {
        crew::share(plan.chunks, plan.helpers, &work, keep_on)
    };
    if whole {
        return Ok(plan);
    }
    // SAFETY: all threads are done with the output, and the caller vouches for the pointer.
    unsafe { job.fill_out(f64::NAN) };
    Err(KernelError::Interrupted)
}

/// Prices European options into `out` and returns the plan that was followed.
///
/// # Errors
/// `KernelError::Lengths` if the slices differ in length; nothing is written in that case.
pub fn price(kind: Kind, inputs: &Inputs<'_>, out: &mut [f64]) -> Result<Plan, KernelError> {
    inputs.check_lengths(out.len())?;
    let shape = [out.len()];
    let operands = [
        Operand::Contiguous(inputs.spot.as_ptr()),
        Operand::Contiguous(inputs.strike.as_ptr()),
        Operand::Contiguous(inputs.time.as_ptr()),
        Operand::Scalar(inputs.rate),
        Operand::Contiguous(inputs.volatility.as_ptr()),
    ];
    let job = Job::new(kind, &shape, operands, Output::Contiguous(out.as_mut_ptr()))?;
    // SAFETY: the slices have the length of the shape, and a mutable slice overlaps no other.
    unsafe { run(&job, &mut || true) }
}

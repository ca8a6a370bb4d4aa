//! The tuning constants, and nothing else. perfkit edits them in its copy of the sources and reads
//! them back through `parameters()`.
//!
//! Each one is live: another value gives other machine code. `plain::plan` shows the branch and the
//! number of chunks that result.

/// The plain kernel prices fewer options than this on the calling thread.
///
/// Range: 1 to a few million. Re-measure with `perfkit tune --workload call_price_plain`.
pub const PARALLEL_THRESHOLD_SMALL: usize = 30_000;

/// From `PARALLEL_THRESHOLD_SMALL` up to just below this, the plain kernel runs in parallel in chunks
/// of `CHUNK_SIZE_L1`. From here on, it uses one chunk per thread.
///
/// Range: 1 to a few million; at or below `PARALLEL_THRESHOLD_SMALL` the chunked branch is never
/// taken. Re-measure with `perfkit tune --workload call_price_plain`.
pub const PARALLEL_THRESHOLD_MEDIUM: usize = 200_000;

/// Bytes of the first-level data cache that `CHUNK_SIZE_L1` is derived from.
///
/// Range: 16 to 128 KiB; 32 KiB is what most x86-64 cores have (`getconf LEVEL1_DCACHE_SIZE`).
pub const L1_CACHE_SIZE: usize = 32 * 1024;

/// Options per chunk of the plain kernel's chunked branch: four inputs of eight bytes fill the
/// first-level cache.
///
/// Range: 64 to 65 536. Re-measure with `perfkit tune --workload call_price_plain`.
pub const CHUNK_SIZE_L1: usize = L1_CACHE_SIZE / 8 / 4;

/// Options priced per turn of the plain kernel's inner loop; a const generic of that loop.
///
/// Range: 1, 2, 4, 8, 16. Re-measure with `perfkit tune --workload call_price_plain`.
pub const UNROLL_FACTOR: usize = 4;

/// The fast kernel prices fewer options than this on the calling thread.
///
/// Range: 1 to a few million. A loop of calls would favour a smaller value, and `perfkit tune
/// --workload call_price` measures only loops. This value comes from another limit: when the pool
/// sleeps, a call may be at most a tenth slower than on one thread. `python benches/idle_pool.py`
/// measured the time of two threads divided by that of one (95 % interval), on a virtual machine of
/// two cores with AVX-512:
///
/// | options | back to back | after 2 ms asleep | other programs' share of the machine |
/// |---|---|---|---|
/// | 65 536 | 0.61 (0.58 to 0.66) | 1.02 (0.99 to 1.04) | 0.2 % |
/// | 65 537 | 0.60 (0.54 to 0.63) | 1.03 (0.99 to 1.04) | 0.2 % |
/// | 100 000 | 0.58 (0.53 to 0.60) | 1.02 (1.00 to 1.04) | 0.2 % |
/// | 1 000 000 | 0.56 (0.55 to 0.58) | 0.60 (0.59 to 0.61) | 0.2 % |
///
/// At a threshold of 16 384, while other programs used 29 % of the machine, a sleeping pool cost 1.32
/// (1.05 to 1.67).
pub const FAST_PARALLEL_THRESHOLD: usize = 65_536;

/// Options per chunk that the fast kernel's threads take from their shared counter. Chunks are smaller
/// if a call would otherwise have fewer than `LEAST_CHUNKS` of them.
///
/// Range: 256 to 65 536. In `perfkit tune --workload call_price`, with targets out of reach, 512 was
/// slower at 100 000 options than 2 048, the value then; 1 024 was not surely slower; and the intervals
/// of 4 096, 8 192 and 16 384 were above 1x at both sizes. It still kept 2 048, because its noise floor
/// was the widest size's. `perfkit measure --workload call_price --sizes 100k,1M --against REVISION`
/// decided, with the verdict `faster` in all four (times faster than 2 048, 95 % interval):
///
/// | chunk | at 100 000 options | at 1 000 000 |
/// |---|---|---|
/// | 4 096 | 1.02 (1.00 to 1.04) | 1.07 (1.04 to 1.11) |
/// | 8 192 | 1.04 (1.03 to 1.05) | 1.12 (1.06 to 1.18) |
///
/// The smaller one is used: when the pool wakes late, the caller waits for the last chunk that the pool
/// took.
pub const FAST_CHUNK_SIZE: usize = 4_096;

/// Every constant above by name, as compiled.
#[must_use]
pub fn parameters() -> [(&'static str, usize); 7] {
    [
        ("PARALLEL_THRESHOLD_SMALL", PARALLEL_THRESHOLD_SMALL),
        ("PARALLEL_THRESHOLD_MEDIUM", PARALLEL_THRESHOLD_MEDIUM),
        ("L1_CACHE_SIZE", L1_CACHE_SIZE),
        ("CHUNK_SIZE_L1", CHUNK_SIZE_L1),
        ("UNROLL_FACTOR", UNROLL_FACTOR),
        ("FAST_PARALLEL_THRESHOLD", FAST_PARALLEL_THRESHOLD),
        ("FAST_CHUNK_SIZE", FAST_CHUNK_SIZE),
    ]
}

// A chunk or an unroll factor of zero could not price anything. Refuse it at compile time, with a
// message that names the constant.
const _: () = assert!(CHUNK_SIZE_L1 > 0, "CHUNK_SIZE_L1 must be at least 1");
const _: () = assert!(UNROLL_FACTOR > 0, "UNROLL_FACTOR must be at least 1");
const _: () = assert!(FAST_CHUNK_SIZE > 0, "FAST_CHUNK_SIZE must be at least 1");

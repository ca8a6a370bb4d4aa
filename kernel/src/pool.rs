//! The threads that help the calling one: one pool per process, started by the first call that has
//! use for it.
//!
//! It is the crate's own and not Rayon's global one, which panics where no thread can be started. A
//! process that cannot have threads, or that has lost them because it is the child of a fork, prices
//! on the calling thread.

use std::process;
use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};

struct Pool {
    threads: ThreadPool,
    /// The process that they run in; a forked child inherits the memory and not the threads.
    owner: u32,
}

fn pool() -> Option<&'static ThreadPool> {
    static POOL: OnceLock<Option<Pool>> = OnceLock::new();
    let pool = POOL.get_or_init(|| {
        let threads = ThreadPoolBuilder::new().build().ok()?;
        let owner = process::id();
        Some(Pool { threads, owner })
    });
    let alive = pool.as_ref().filter(|pool| pool.owner == process::id());
    alive.map(|pool| &pool.threads)
}

/// Threads that a call can be spread over: as many as cores, or as `RAYON_NUM_THREADS` says; one
/// where there is no pool.
#[must_use]
pub fn threads() -> usize {
    pool().map_or(1, ThreadPool::current_num_threads)
}

/// Hands a job to the pool; without one it is dropped.
pub(crate) fn spawn(job: impl FnOnce() + Send + 'static) {
    if let Some(pool) = pool() {
        pool.spawn(job);
    }
}

/// Runs `work` on a thread of the pool, where Rayon's parallel iterators stay in it, and waits for
/// it; the calling thread sleeps meanwhile. `None` without a pool.
pub(crate) fn install<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    pool().map(|pool| pool.install(work))
}

//! The threads that help the calling one: one pool per process, started by the first call that can
//! use it.
//!
//! This is not Rayon's global pool, which panics if no thread can be started. A process that cannot
//! start threads, or that lost them because it is the child of a fork, prices on the calling thread.

use std::process;
use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};

struct Pool {
    threads: ThreadPool,
    /// The process they run in: a forked child inherits the memory but not the threads.
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

/// Threads that a call can be spread over: one per core, or `RAYON_NUM_THREADS`; one if there is no
/// pool.
#[must_use]
pub fn threads() -> usize {
    pool().map_or(1, ThreadPool::current_num_threads)
}

/// Hands a job to the pool. Without a pool, the job is dropped.
pub(crate) fn spawn(job: impl FnOnce() + Send + 'static) {
    if let Some(pool) = pool() {
        pool.spawn(job);
    }
}

/// Runs `work` on a thread of the pool, so that Rayon's parallel iterators stay inside the pool, and
/// waits for it while the calling thread sleeps. Returns `None` without a pool.
pub(crate) fn install<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    pool().map(|pool| pool.install(work))
}

//! Sharing a call's chunks between the calling thread and the pool.
//!
//! The calling thread never waits for a sleeping thread. It starts at once, takes chunks from a
//! counter, and shuts the door when they are used up. It waits for helpers that came through the door
//! before that, at most for the chunk each is working on. A helper that comes later finds the door
//! shut and leaves. So a sleeping pool costs a call only what it takes to wake it.

use std::hint;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Thread};

use crate::pool;

/// The bit of `Door` that means shut. The other bits count the helpers inside, in steps of `INSIDE`.
const SHUT: usize = 1;
const INSIDE: usize = 2;
/// Turns that the calling thread spins before it yields its core: about 20 µs, longer than a chunk
/// takes.
const SPINS: u32 = 2_000;

/// The work, with the lifetime of the call erased. Only threads inside the door dereference it.
struct Work(*const (dyn Fn(usize) + Sync));

// SAFETY: the closure is Sync, and `Shared` keeps it alive while any thread may call it.
unsafe impl Send for Work {}
// SAFETY: as above.
unsafe impl Sync for Work {}

struct Shared {
    next: AtomicUsize,
    chunks: usize,
    door: AtomicUsize,
    work: Work,
    caller: Thread,
}

impl Shared {
    fn take(&self) -> Option<usize> {
        let chunk = self.next.fetch_add(1, Ordering::Relaxed);
        (chunk < self.chunks).then_some(chunk)
    }

    fn help(&self) {
        let Some(_inside) = Inside::enter(self) else {
            return;
        };
        // SAFETY: the door was open when this thread went in. The caller does not return, which would
        // end the closure's life, before every thread inside has left.
        let work = unsafe { &*self.work.0 };
        while let Some(chunk) = self.take() {
            work(chunk);
        }
    }

    fn shut_and_wait(&self) {
        let mut inside = self.door.fetch_or(SHUT, Ordering::AcqRel) | SHUT;
        let mut spins = 0;
        while inside != SHUT {
            if spins < SPINS {
                spins += 1;
                hint::spin_loop();
            } else {
                thread::park();
            }
            inside = self.door.load(Ordering::Acquire);
        }
    }
}

/// A helper's presence inside the door. It leaves in `drop`, so it also leaves on a panic.
struct Inside<'a>(&'a Shared);

impl<'a> Inside<'a> {
    fn enter(shared: &'a Shared) -> Option<Self> {
        shared
            .door
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |door| {
                (door & SHUT == 0).then_some(door + INSIDE)
            })
            .ok()
            .map(|_| Self(shared))
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if self.0.door.fetch_sub(INSIDE, Ordering::AcqRel) == INSIDE | SHUT {
            self.0.caller.unpark();
        }
    }
}

/// Shuts the door even if the calling thread's own work panics.
struct Doorkeeper<'a>(&'a Shared);

impl Drop for Doorkeeper<'_> {
    fn drop(&mut self) {
        self.0.next.store(self.0.chunks, Ordering::Relaxed);
        self.0.shut_and_wait();
    }
}

/// Calls `work` once for each number below `chunks`, on this thread and up to `helpers` more. Calls
/// `keep_on` after each chunk of this thread; if it returns `false`, this skips the chunks that have
/// not started and returns `false`. All calls have ended when this returns.
pub(super) fn share(
    chunks: usize,
    helpers: usize,
    work: &(dyn Fn(usize) + Sync),
    keep_on: &mut dyn FnMut() -> bool,
) -> bool {
    // SAFETY: only the lifetime changes; `Shared::help` says why no thread outlives it.
    let work_for_all = unsafe {
        std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync)>(
            work,
        )
    };
    let shared = Arc::new(Shared {
        next: AtomicUsize::new(0),
        chunks,
        door: AtomicUsize::new(0),
        work: Work(work_for_all),
        caller: thread::current(),
    });
    let _doorkeeper = Doorkeeper(&shared);
    for _ in 0..helpers {
        let shared = Arc::clone(&shared);
        pool::spawn(move || shared.help());
    }
    while let Some(chunk) = shared.take() {
        work(chunk);
        if !keep_on() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, Mutex};
    use std::time::{Duration, Instant};

    use super::*;

    /// Two tests that need every thread of the pool at once would block each other.
    static WHOLE_POOL: Mutex<()> = Mutex::new(());

    #[test]
    fn every_chunk_is_worked_once_and_done_on_return() {
        for chunks in [0, 1, 2, 3, 64, 1000] {
            for helpers in [0, 1, 5] {
                let done: Vec<AtomicUsize> = (0..chunks).map(|_| AtomicUsize::new(0)).collect();
                let work = |chunk: usize| {
                    done[chunk].fetch_add(1, Ordering::Relaxed);
                };
                assert!(share(chunks, helpers, &work, &mut || true));
                assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn a_no_leaves_chunks_out_and_nothing_runs_after() {
        let begun = AtomicUsize::new(0);
        let ended = AtomicUsize::new(0);
        let work = |_: usize| {
            begun.fetch_add(1, Ordering::SeqCst);
            thread::yield_now();
            ended.fetch_add(1, Ordering::SeqCst);
        };
        let mut answers = 0;
        let whole = share(1_000_000, 1, &work, &mut || {
            answers += 1;
            answers < 3
        });
        assert!(!whole);
        let count = begun.load(Ordering::SeqCst);
        assert_eq!(count, ended.load(Ordering::SeqCst));
        assert!(count < 1_000_000, "{count}");
    }

    #[test]
    fn a_busy_pool_is_not_waited_for() {
        let _guard = WHOLE_POOL.lock().unwrap();
        let release = Arc::new(AtomicUsize::new(0));
        let threads = pool::threads();
        let started = Arc::new(AtomicUsize::new(0));
        for _ in 0..threads {
            let (release, started) = (Arc::clone(&release), Arc::clone(&started));
            pool::spawn(move || {
                started.fetch_add(1, Ordering::SeqCst);
                while release.load(Ordering::SeqCst) == 0 {
                    thread::yield_now();
                }
            });
        }
        // The deadline only keeps a broken pool from hanging the test.
        let deadline = Instant::now() + Duration::from_secs(60);
        while started.load(Ordering::SeqCst) < threads && Instant::now() < deadline {
            thread::yield_now();
        }
        // Not freed, so that a helper that calls it too late fails the test instead of crashing.
        let by: &'static Mutex<Vec<_>> = Box::leak(Box::default());
        let work = |chunk: usize| by.lock().unwrap().push((chunk, thread::current().id()));
        assert!(share(8, threads, &work, &mut || true));
        release.store(1, Ordering::SeqCst);
        drain();
        let me = thread::current().id();
        let by = by.lock().unwrap();
        assert_eq!(*by, (0..8).map(|chunk| (chunk, me)).collect::<Vec<_>>());
    }

    /// Returns when every thread of the pool has reached a job of this call, and has therefore
    /// finished the jobs queued before.
    fn drain() {
        let threads = pool::threads();
        let together = Arc::new(Barrier::new(threads + 1));
        for _ in 0..threads {
            let together = Arc::clone(&together);
            pool::spawn(move || {
                together.wait();
            });
        }
        together.wait();
    }

    #[test]
    fn no_helper_works_after_the_call_has_returned() {
        let _guard = WHOLE_POOL.lock().unwrap();
        let (late, worked) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (late, worked): (&'static _, &'static _) =
            (Box::leak(Box::new(late)), Box::leak(Box::new(worked)));
        // These calls end at about the time a helper wakes up, which differs from call to call. The
        // flag of each call outlives it, which a caller's slice would not.
        for call in 0..3_000_usize {
            let over: &'static AtomicUsize = Box::leak(Box::default());
            let work = |_: usize| {
                late.fetch_add(over.load(Ordering::SeqCst), Ordering::SeqCst);
                (0..call % 50 * 20).for_each(|_| hint::spin_loop());
                worked.fetch_add(1, Ordering::SeqCst);
                late.fetch_add(over.load(Ordering::SeqCst), Ordering::SeqCst);
            };
            assert!(share(3, pool::threads(), &work, &mut || true));
            over.store(1, Ordering::SeqCst);
            assert_eq!(worked.swap(0, Ordering::SeqCst), 3);
        }
        drain();
        assert_eq!(late.load(Ordering::SeqCst), 0);
        assert_eq!(worked.load(Ordering::SeqCst), 0);
    }
}

//! Work of a known size, for checking what perfkit says about it: a number of equal turns, each
//! complete, including the hand-over to the other thread. Two percent more turns are two percent more
//! work.
//!
//! The other thread is woken once per call and then waits by spinning. If it were woken in each turn,
//! the call would consist almost entirely of the system's scheduling.
use std::hint::{black_box, spin_loop};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, OnceLock};
use std::thread::Thread;

/// How often to look before yielding the core.
const LOOKS: u32 = 1_000;

fn mix(units: u64, seed: u64) -> u64 {
    let mut state = seed | 1;
    for _ in 0..units {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    black_box(state)
}

/// Where the two threads meet: `TURN` counts requests, `DONE` counts answers.
static UNITS: AtomicU64 = AtomicU64::new(0);
static SEED: AtomicU64 = AtomicU64::new(0);
static ANSWER: AtomicU64 = AtomicU64::new(0);
static TURN: AtomicU64 = AtomicU64::new(0);
static DONE: AtomicU64 = AtomicU64::new(0);
static OPEN: AtomicBool = AtomicBool::new(false);
static HELPER: OnceLock<Mutex<Thread>> = OnceLock::new();

fn wait_until(met: impl Fn() -> bool) {
    let mut looks = 0;
    while !met() {
        looks += 1;
        if looks < LOOKS {
            spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}

fn help() {
    let mut seen = 0;
    loop {
        wait_until(|| TURN.load(Acquire) != seen || !OPEN.load(Acquire));
        if TURN.load(Acquire) == seen {
            std::thread::park(); // until the next call
            continue;
        }
        seen += 1;
        ANSWER.store(mix(UNITS.load(Relaxed), SEED.load(Relaxed)), Relaxed);
        DONE.store(seen, Release);
    }
}

fn helper() -> &'static Mutex<Thread> {
    HELPER.get_or_init(|| Mutex::new(std::thread::spawn(help).thread().clone()))
}

/// That many turns on the calling thread, each of `units` of work.
#[unsafe(no_mangle)]
pub extern "C" fn sequential(turns: u64, units: u64, seed: u64) -> u64 {
    (0..turns).fold(seed, |state, _| mix(units, state))
}

/// The same on two threads at once: each turn hands over `units` of work per thread and waits for it.
#[unsafe(no_mangle)]
pub extern "C" fn two_threads(turns: u64, units: u64, seed: u64) -> u64 {
    let Ok(helper) = helper().lock() else {
        return 0;
    };
    UNITS.store(units, Relaxed);
    OPEN.store(true, Release);
    helper.unpark();
    let mut state = seed;
    for _ in 0..turns {
        SEED.store(state.wrapping_add(1), Relaxed);
        let turn = TURN.fetch_add(1, Release) + 1;
        let own = mix(units, state);
        wait_until(|| DONE.load(Acquire) == turn);
        state = own ^ ANSWER.load(Relaxed);
    }
    OPEN.store(false, Release);
    state
}

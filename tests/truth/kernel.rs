//! Work of a known size, for checking what perfkit says about it: `units` turns of an integer mixing
//! loop on each thread of a pool that stays alive. Twice the units are twice the work.
use std::hint::black_box;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock};

fn mix(units: u64, seed: u64) -> u64 {
    let mut state = seed | 1;
    for _ in 0..units {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    black_box(state)
}

struct Helper {
    work: Sender<(u64, u64)>,
    done: Receiver<u64>,
}

static HELPER: OnceLock<Mutex<Helper>> = OnceLock::new();

fn helper() -> &'static Mutex<Helper> {
    HELPER.get_or_init(|| {
        let (work, jobs) = channel::<(u64, u64)>();
        let (answer, done) = channel();
        std::thread::spawn(move || {
            for (units, seed) in jobs {
                if answer.send(mix(units, seed)).is_err() {
                    return;
                }
            }
        });
        Mutex::new(Helper { work, done })
    })
}

/// The work on the calling thread.
#[unsafe(no_mangle)]
pub extern "C" fn sequential(units: u64, seed: u64) -> u64 {
    mix(units, seed)
}

/// The same work on two threads at once: `units` on each.
#[unsafe(no_mangle)]
pub extern "C" fn two_threads(units: u64, seed: u64) -> u64 {
    let Ok(helper) = helper().lock() else {
        return 0;
    };
    if helper.work.send((units, seed + 1)).is_err() {
        return 0;
    }
    let own = mix(units, seed);
    own ^ helper.done.recv().unwrap_or(0)
}

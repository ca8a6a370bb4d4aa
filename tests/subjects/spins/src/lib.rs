//! Work of a known amount in a known layer: what the split of a call is checked against.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};

use pyo3::prelude::*;

/// One turn takes the same time wherever it runs: a chain of dependent multiplications.
#[inline(always)]
fn turns(count: u64) -> u64 {
    let mut state = std::hint::black_box(count | 1);
    for _ in 0..count {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
    }
    std::hint::black_box(state)
}

/// An argument whose conversion takes as many turns as it says.
struct Slow(u64);

impl<'a, 'py> FromPyObject<'a, 'py> for Slow {
    type Error = PyErr;

    #[inline(never)]
    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let count: u64 = object.extract()?;
        turns(count);
        Ok(Self(count))
    }
}

/// The work itself.
#[inline(never)]
fn compute(count: u64) -> u64 {
    turns(count)
}

/// Converts `boundary` for that many turns, then computes for `work` turns.
#[pyfunction]
fn call(py: Python<'_>, boundary: Slow, work: u64) -> u64 {
    py.detach(|| compute(work)) ^ boundary.0
}

/// A job for a thread of the pool: turns, and where the answer goes.
type Job = (u64, Sender<u64>);

/// Two threads that live as long as the process, as those of a thread pool do.
static POOL: OnceLock<[Mutex<Sender<Job>>; 2]> = OnceLock::new();

fn start() -> [Mutex<Sender<Job>>; 2] {
    [(); 2].map(|()| {
        let (sender, jobs) = channel::<Job>();
        std::thread::spawn(move || {
            for (count, answer) in jobs {
                let _ = answer.send(compute(count));
            }
        });
        Mutex::new(sender)
    })
}

/// Computes on each of two threads of a pool, and meanwhile on the calling one: so many turns each.
#[pyfunction]
fn shared(py: Python<'_>, boundary: Slow, own: u64, first: u64, second: u64) -> u64 {
    py.detach(|| {
        let (answer, answers) = channel();
        for (sender, work) in POOL.get_or_init(start).iter().zip([first, second]) {
            if let Ok(sender) = sender.lock() {
                let _ = sender.send((work, answer.clone()));
            }
        }
        drop(answer);
        let mine = compute(own);
        answers.iter().fold(boundary.0 ^ mine, |sum, part| sum ^ part)
    })
}

/// Computes on two threads that are started for each call: a sampler's clock starts with each.
#[pyfunction]
fn spawned(py: Python<'_>, boundary: Slow, work: u64) -> u64 {
    py.detach(|| {
        std::thread::scope(|scope| {
            let both = [(); 2].map(|()| scope.spawn(move || compute(work)));
            both.into_iter()
                .fold(boundary.0, |sum, thread| sum ^ thread.join().unwrap_or(0))
        })
    })
}

/// Ends the process, as a subject with a fault of its own does.
#[pyfunction]
fn crash() {
    std::process::abort();
}

/// The Python module.
#[pymodule]
fn spins(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(call, module)?)?;
    module.add_function(wrap_pyfunction!(shared, module)?)?;
    module.add_function(wrap_pyfunction!(spawned, module)?)?;
    module.add_function(wrap_pyfunction!(crash, module)?)
}

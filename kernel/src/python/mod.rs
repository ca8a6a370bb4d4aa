//! The Python layer: conversions, exceptions and the release of the interpreter; no arithmetic. This
//! file has the functions of the plain kernel, of lists, and those that describe the build.

mod arguments;
mod fast;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadwriteArray1};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::KernelError;
use crate::inputs::Inputs;
use crate::plain;
use crate::pool;

/// Nanoseconds that every call spends at the boundary in addition to its work; zero in real use.
/// perfkit sets it to check that it measures the boundary's cost correctly.
static BOUNDARY_DELAY_NS: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds spent that way, by the clock that ends the delay: it ends up to one reading late.
static BOUNDARY_DELAY_SPENT_NS: AtomicU64 = AtomicU64::new(0);

impl From<KernelError> for PyErr {
    fn from(error: KernelError) -> Self {
        match error {
            KernelError::Type(..) => PyTypeError::new_err(error.to_string()),
            _ => PyValueError::new_err(error.to_string()),
        }
    }
}

#[inline(always)]
fn boundary() {
    let delay = BOUNDARY_DELAY_NS.load(Ordering::Relaxed);
    if delay > 0 {
        boundary_delay(Duration::from_nanos(delay));
    }
}

#[cold]
#[inline(never)]
fn boundary_delay(delay: Duration) {
    let start = Instant::now();
    // No pause between readings: on some processors a pause is as long as a short delay.
    let spent = loop {
        let spent = start.elapsed();
        if spent >= delay {
            break spent.as_nanos() as u64;
        }
    };
    BOUNDARY_DELAY_SPENT_NS.fetch_add(spent, Ordering::Relaxed);
}

/// The four arrays of a call, borrowed from NumPy without copying.
struct Arrays<'py> {
    spot: PyReadonlyArray1<'py, f64>,
    strike: PyReadonlyArray1<'py, f64>,
    time: PyReadonlyArray1<'py, f64>,
    volatility: PyReadonlyArray1<'py, f64>,
}

impl Arrays<'_> {
    fn inputs(&self, rate: f64) -> PyResult<Inputs<'_>> {
        Ok(Inputs {
            spot: self.spot.as_slice()?,
            strike: self.strike.as_slice()?,
            time: self.time.as_slice()?,
            rate,
            volatility: self.volatility.as_slice()?,
        })
    }

    fn check_lengths(&self, out: usize) -> Result<(), KernelError> {
        use numpy::PyUntypedArrayMethods;
        let lengths = [&self.spot, &self.strike, &self.time, &self.volatility].map(|a| a.len());
        if lengths.iter().all(|&length| length == out) {
            return Ok(());
        }
        let [spot, strike, time, volatility] = lengths;
        Err(KernelError::Lengths([spot, strike, time, volatility, out]))
    }
}

/// Converts, allocates, releases the interpreter and runs `compute`. This is the whole boundary; the
/// pricing call and its twin share it, so they can differ only in the work.
#[inline(always)]
fn run_arrays<'py, T: Send>(
    py: Python<'py>,
    arrays: &Arrays<'py>,
    rate: f64,
    out: Option<Bound<'py, PyArray1<f64>>>,
    compute: impl FnOnce(&Inputs<'_>, &mut [f64]) -> Result<T, KernelError> + Send,
) -> PyResult<(Bound<'py, PyArray1<f64>>, T)> {
    use numpy::PyUntypedArrayMethods;
    boundary();
    let out = match out {
        Some(out) => {
            arrays.check_lengths(out.len())?;
            out
        }
        None => {
            let n = arrays.spot.len();
            arrays.check_lengths(n)?;
            // SAFETY: as with numpy.empty, any bytes are a valid f64, and the pricing call writes all.
            unsafe { PyArray1::<f64>::new(py, n, false) }
        }
    };
    let mut writable: PyReadwriteArray1<'py, f64> = out
        .try_readwrite()
        .map_err(|error| PyValueError::new_err(format!("out: {error}")))?;
    let inputs = arrays.inputs(rate)?;
    let slice = writable.as_slice_mut()?;
    let value = py.detach(|| compute(&inputs, slice))?;
    drop(writable);
    Ok((out, value))
}

/// Prices European calls; one float64 array each for spot, strike, time and volatility.
///
/// A call cannot be interrupted: Ctrl-C takes effect when it returns.
///
/// Args:
///     spot, strike, time, volatility: contiguous float64 arrays of one length, read in place.
///     rate: continuously compounded rate per year.
///     out: float64 array of that length to write to; without it, a new array is created.
///
/// Returns:
///     The prices: `out`, or the new array.
///
/// Raises:
///     ValueError: lengths differ, or `out` is read-only or overlaps an input.
///     TypeError: an argument is not a contiguous float64 array.
#[pyfunction]
#[pyo3(signature = (spot, strike, time, rate, volatility, *, out=None))]
fn call_price_plain<'py>(
    py: Python<'py>,
    spot: PyReadonlyArray1<'py, f64>,
    strike: PyReadonlyArray1<'py, f64>,
    time: PyReadonlyArray1<'py, f64>,
    rate: f64,
    volatility: PyReadonlyArray1<'py, f64>,
    out: Option<Bound<'py, PyArray1<f64>>>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let arrays = Arrays {
        spot,
        strike,
        time,
        volatility,
    };
    Ok(run_arrays(py, &arrays, rate, out, plain::call_price)?.0)
}

/// The twin of `call_price_plain`: same signature, conversions and output, but no pricing. A new output
/// is uninitialised, as with `numpy.empty`.
#[pyfunction]
#[pyo3(signature = (spot, strike, time, rate, volatility, *, out=None))]
fn call_price_plain_twin<'py>(
    py: Python<'py>,
    spot: PyReadonlyArray1<'py, f64>,
    strike: PyReadonlyArray1<'py, f64>,
    time: PyReadonlyArray1<'py, f64>,
    rate: f64,
    volatility: PyReadonlyArray1<'py, f64>,
    out: Option<Bound<'py, PyArray1<f64>>>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let arrays = Arrays {
        spot,
        strike,
        time,
        volatility,
    };
    Ok(run_arrays(py, &arrays, rate, out, |_, _| Ok(()))?.0)
}

/// `call_price_plain`, plus the seconds that the pricing alone took, measured by a timer inside.
#[pyfunction]
#[pyo3(signature = (spot, strike, time, rate, volatility, *, out=None))]
fn call_price_plain_timed<'py>(
    py: Python<'py>,
    spot: PyReadonlyArray1<'py, f64>,
    strike: PyReadonlyArray1<'py, f64>,
    time: PyReadonlyArray1<'py, f64>,
    rate: f64,
    volatility: PyReadonlyArray1<'py, f64>,
    out: Option<Bound<'py, PyArray1<f64>>>,
) -> PyResult<(Bound<'py, PyArray1<f64>>, f64)> {
    let arrays = Arrays {
        spot,
        strike,
        time,
        volatility,
    };
    run_arrays(py, &arrays, rate, out, |inputs, out| {
        let start = Instant::now();
        plain::call_price(inputs, out)?;
        Ok(start.elapsed().as_secs_f64())
    })
}

#[inline(always)]
fn run_lists(
    py: Python<'_>,
    inputs: &Inputs<'_>,
    compute: impl FnOnce(&Inputs<'_>, &mut [f64]) -> Result<(), KernelError> + Send,
) -> PyResult<Vec<f64>> {
    boundary();
    let mut out = vec![0.0; inputs.spot.len()];
    py.detach(|| compute(inputs, &mut out))?;
    Ok(out)
}

/// Prices European calls given as Python lists of floats, and returns a list.
///
/// Raises:
///     ValueError: the lists differ in length.
///     TypeError: an element is not a number.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)] // Converting the list gives an owned Vec.
fn call_price_list(
    py: Python<'_>,
    spot: Vec<f64>,
    strike: Vec<f64>,
    time: Vec<f64>,
    rate: f64,
    volatility: Vec<f64>,
) -> PyResult<Vec<f64>> {
    let inputs = Inputs {
        spot: &spot,
        strike: &strike,
        time: &time,
        rate,
        volatility: &volatility,
    };
    run_lists(py, &inputs, |inputs, out| {
        plain::call_price(inputs, out).map(|_| ())
    })
}

/// The twin of `call_price_list`: same conversions and output, but no pricing; the list holds zeros.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
fn call_price_list_twin(
    py: Python<'_>,
    spot: Vec<f64>,
    strike: Vec<f64>,
    time: Vec<f64>,
    rate: f64,
    volatility: Vec<f64>,
) -> PyResult<Vec<f64>> {
    let inputs = Inputs {
        spot: &spot,
        strike: &strike,
        time: &time,
        rate,
        volatility: &volatility,
    };
    run_lists(py, &inputs, |_, _| Ok(()))
}

/// The tuning constants by name, as compiled into this module.
#[pyfunction]
fn parameters(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let values = PyDict::new(py);
    for (name, value) in crate::constants::parameters() {
        values.set_item(name, value)?;
    }
    Ok(values)
}

/// Describes this build: `version`, `profile`, `opt_level`, `target_features`.
#[pyfunction]
fn build_info(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let values = PyDict::new(py);
    for (name, value) in crate::build_info() {
        values.set_item(name, value)?;
    }
    Ok(values)
}

/// How the plain kernel executes a call of `n` options: `(branch, chunk_len, chunks)`.
#[pyfunction]
fn plan_plain(n: usize) -> (&'static str, usize, usize) {
    let plan = plain::plan(n, pool::threads);
    (plan.branch.name(), plan.chunk_len, plan.chunks)
}

/// Makes every later call spin for `n` nanoseconds at the boundary; 0 turns the delay off.
#[pyfunction]
fn set_boundary_delay_ns(n: u64) {
    BOUNDARY_DELAY_NS.store(n, Ordering::Relaxed);
}

/// Nanoseconds that calls have spent in such delays so far.
#[pyfunction]
fn boundary_delay_spent_ns() -> u64 {
    BOUNDARY_DELAY_SPENT_NS.load(Ordering::Relaxed)
}

/// Black-Scholes prices over arrays and lists, plus what perfkit reads to prove what it measured.
#[pymodule]
fn perfkit_kernel(module: &Bound<'_, PyModule>) -> PyResult<()> {
    fast::register(module)?;
    module.add_function(wrap_pyfunction!(call_price_plain, module)?)?;
    module.add_function(wrap_pyfunction!(call_price_plain_twin, module)?)?;
    module.add_function(wrap_pyfunction!(call_price_plain_timed, module)?)?;
    module.add_function(wrap_pyfunction!(call_price_list, module)?)?;
    module.add_function(wrap_pyfunction!(call_price_list_twin, module)?)?;
    module.add_function(wrap_pyfunction!(parameters, module)?)?;
    module.add_function(wrap_pyfunction!(build_info, module)?)?;
    module.add_function(wrap_pyfunction!(plan_plain, module)?)?;
    module.add_function(wrap_pyfunction!(set_boundary_delay_ns, module)?)?;
    module.add_function(wrap_pyfunction!(boundary_delay_spent_ns, module)?)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    Ok(())
}

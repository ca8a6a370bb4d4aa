//! The fast kernel's functions: `call_price`, `put_price`, the twin and the timed call.

use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyString};

use super::arguments::{Arguments, OutputLayout, check_output, new_output};
use super::boundary;
use crate::error::KernelError;
use crate::fast::{self, Job, Kind, Output, Path};
use crate::pool;

/// Longest time that a call runs before it checks whether it was interrupted.
const PATIENCE: Duration = Duration::from_millis(50);

/// Converts, allocates, releases the interpreter and hands the job to `compute`. This is the whole
/// boundary; the pricing calls and their twin share it, so they can differ only in the work.
#[inline(always)]
fn at_boundary<'py, T: Send>(
    py: Python<'py>,
    kind: Kind,
    values: [&Bound<'py, PyAny>; 5],
    out: Option<&Bound<'py, PyAny>>,
    compute: impl FnOnce(&Job<'_>) -> PyResult<T> + Send,
) -> PyResult<(Bound<'py, PyAny>, T)> {
    boundary();
    let arguments = Arguments::parse(values)?;
    if out.is_none() && arguments.are_all_scalar() {
        let mut price = 0.0;
        let value = {
            let out = Output::Contiguous(&raw mut price);
            let job = Job::new(kind, &[], arguments.operands(), out)?;
            py.detach(|| compute(&job))?
        };
        return Ok((PyFloat::new(py, price).into_any(), value));
    }
    let out = match out {
        Some(out) => check_output(&arguments, out)?,
        None => new_output(py, arguments.shape())?,
    };
    let layout = OutputLayout::of(&out);
    let job = Job::new(
        kind,
        arguments.shape(),
        arguments.operands(),
        layout.output(),
    )?;
    let value = py.detach(|| compute(&job))?;
    Ok((out.into_any(), value))
}

/// Runs a job with the interpreter released, and checks now and then whether it was interrupted.
fn price(job: &Job<'_>) -> PyResult<()> {
    let mut looked: Option<Instant> = None;
    let mut interrupt = None;
    let mut keep_on = || {
        let now = Instant::now();
        if now.duration_since(*looked.get_or_insert(now)) < PATIENCE {
            return true;
        }
        looked = Some(now);
        interrupt = Python::attach(|py| py.check_signals()).err();
        interrupt.is_none()
    };
    // SAFETY: `at_boundary` made this job from the arguments and the output. It checked that they do
    // not overlap, and it holds references to them until this returns.
    let done = unsafe { fast::run(job, &mut keep_on) };
    match (done, interrupt) {
        (Err(KernelError::Interrupted), Some(interrupt)) => Err(interrupt),
        (done, _) => done.map(|_| ()).map_err(PyErr::from),
    }
}

/// Prices European calls.
///
/// The arguments broadcast against each other as in NumPy. Arrays of float64 are read in place,
/// whatever their layout; other real dtypes and sequences of numbers are converted first.
///
/// Args:
///     spot: price of the underlying.
///     strike: strike price.
///     time: years to expiry.
///     rate: continuously compounded rate per year.
///     volatility: standard deviation of the log return per square root of a year.
///     out: float64 array of the broadcast shape to write to; it must share no memory with an argument.
///
/// Returns:
///     `out`, or a new float64 array of the broadcast shape, or a float if all arguments are numbers.
///     Arguments that make no sense give NaN; limiting cases give the limit of the price.
///
/// Calls are accurate to 1e-14 of the spot, and puts to 1e-14 of the spot or of the discounted strike,
/// whichever is larger. Prices above 1e-12 of the spot are also accurate to 1e-12 of their value.
///
/// Raises:
///     ValueError: the shapes do not broadcast; or `out` has a different shape, is read-only or shares
///         memory with an argument.
///     TypeError: an argument or `out` has a type that cannot be priced.
///     KeyboardInterrupt: in the middle of a long call; `out` is then filled with NaN.
#[pyfunction]
#[pyo3(signature = (spot, strike, time, rate, volatility, out=None))]
fn call_price<'py>(
    py: Python<'py>,
    spot: &Bound<'py, PyAny>,
    strike: &Bound<'py, PyAny>,
    time: &Bound<'py, PyAny>,
    rate: &Bound<'py, PyAny>,
    volatility: &Bound<'py, PyAny>,
    out: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let values = [spot, strike, time, rate, volatility];
    Ok(at_boundary(py, Kind::Call, values, out, price)?.0)
}

/// Prices European puts. Arguments, result and exceptions are those of `call_price`.
#[pyfunction]
#[pyo3(signature = (spot, strike, time, rate, volatility, out=None))]
fn put_price<'py>(
    py: Python<'py>,
    spot: &Bound<'py, PyAny>,
    strike: &Bound<'py, PyAny>,
    time: &Bound<'py, PyAny>,
    rate: &Bound<'py, PyAny>,
    volatility: &Bound<'py, PyAny>,
    out: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let values = [spot, strike, time, rate, volatility];
    Ok(at_boundary(py, Kind::Put, values, out, price)?.0)
}

/// The twin of `call_price`: same signature, conversions and output, but no pricing. A new output is
/// uninitialised, as with `numpy.empty`.
#[pyfunction]
#[pyo3(signature = (spot, strike, time, rate, volatility, out=None))]
fn call_price_twin<'py>(
    py: Python<'py>,
    spot: &Bound<'py, PyAny>,
    strike: &Bound<'py, PyAny>,
    time: &Bound<'py, PyAny>,
    rate: &Bound<'py, PyAny>,
    volatility: &Bound<'py, PyAny>,
    out: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let values = [spot, strike, time, rate, volatility];
    Ok(at_boundary(py, Kind::Call, values, out, |_| Ok(()))?.0)
}

/// `call_price`, plus the seconds that the pricing alone took, measured by a timer inside.
#[pyfunction]
#[pyo3(signature = (spot, strike, time, rate, volatility, out=None))]
fn call_price_timed<'py>(
    py: Python<'py>,
    spot: &Bound<'py, PyAny>,
    strike: &Bound<'py, PyAny>,
    time: &Bound<'py, PyAny>,
    rate: &Bound<'py, PyAny>,
    volatility: &Bound<'py, PyAny>,
    out: Option<&Bound<'py, PyAny>>,
) -> PyResult<(Bound<'py, PyAny>, f64)> {
    let values = [spot, strike, time, rate, volatility];
    at_boundary(py, Kind::Call, values, out, |job| {
        let start = Instant::now();
        price(job)?;
        Ok(start.elapsed().as_secs_f64())
    })
}

/// How the fast kernel executes a call of `n` options: `(branch, chunk_len, chunks, helpers)`.
#[pyfunction]
fn plan(n: usize) -> (&'static str, usize, usize, usize) {
    let plan = fast::plan(n, pool::threads);
    (
        plan.branch.name(),
        plan.chunk_len,
        plan.chunks,
        plan.helpers,
    )
}

/// The instruction sets that this processor can price in, best first.
#[pyfunction]
fn paths() -> Vec<&'static str> {
    Path::available().map(Path::name).collect()
}

/// The instruction set that calls use.
#[pyfunction]
fn path() -> &'static str {
    fast::chosen_path().name()
}

/// Makes all later calls of this process use the named instruction set; None means the best.
///
/// Raises:
///     ValueError: this processor does not have it; the message lists those it has.
#[pyfunction]
#[pyo3(signature = (name))]
fn set_path(name: Option<&Bound<'_, PyString>>) -> PyResult<()> {
    let Some(name) = name else {
        fast::set_path(None);
        return Ok(());
    };
    let name = name.to_str()?;
    match Path::available().find(|path| path.name() == name) {
        Some(path) => {
            fast::set_path(Some(path));
            Ok(())
        }
        None => Err(pyo3::exceptions::PyValueError::new_err(format!(
            "no path {name:?} here; there are {}",
            paths().join(", ")
        ))),
    }
}

/// Adds the functions of this file to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(call_price, module)?)?;
    module.add_function(wrap_pyfunction!(put_price, module)?)?;
    module.add_function(wrap_pyfunction!(call_price_twin, module)?)?;
    module.add_function(wrap_pyfunction!(call_price_timed, module)?)?;
    module.add_function(wrap_pyfunction!(plan, module)?)?;
    module.add_function(wrap_pyfunction!(paths, module)?)?;
    module.add_function(wrap_pyfunction!(path, module)?)?;
    module.add_function(wrap_pyfunction!(set_path, module)?)?;
    Ok(())
}

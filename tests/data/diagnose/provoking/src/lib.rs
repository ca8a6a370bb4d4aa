//! Calls that are slow for one known reason each.

use std::hint::black_box;

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use rayon::prelude::*;

/// Nothing is wrong here: a view in, a sum out, the interpreter released.
#[pyfunction]
fn sound(py: Python<'_>, values: PyReadonlyArray1<'_, f64>) -> PyResult<f64> {
    let slice = values.as_slice()?;
    Ok(py.detach(|| sum_of_squares(slice)))
}

#[inline(never)]
fn sum_of_squares(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}

/// A list, converted element by element.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
fn from_list(py: Python<'_>, values: Vec<f64>) -> f64 {
    py.detach(|| sum_of_squares(&values))
}

/// A heap allocation for each element.
#[pyfunction]
fn allocates_each(py: Python<'_>, values: PyReadonlyArray1<'_, f64>) -> PyResult<f64> {
    let slice = values.as_slice()?;
    Ok(py.detach(|| boxed_sum(slice)))
}

#[inline(never)]
fn boxed_sum(values: &[f64]) -> f64 {
    values.iter().map(|&value| black_box(vec![value; 3])[1]).sum()
}

/// Computes for long and keeps the interpreter's lock.
#[pyfunction]
fn holds_gil(values: PyReadonlyArray1<'_, f64>) -> PyResult<f64> {
    Ok(slow_sum(values.as_slice()?))
}

#[inline(never)]
fn slow_sum(values: &[f64]) -> f64 {
    let mut total = 0.0;
    for &value in values {
        // A chain of dependent divisions: slow, without any library.
        total = black_box(1.0 / (1.0 + total * value));
    }
    total
}

/// The same computation with the lock released.
#[pyfunction]
fn releases_gil(py: Python<'_>, values: PyReadonlyArray1<'_, f64>) -> PyResult<f64> {
    let slice = values.as_slice()?;
    Ok(py.detach(|| slow_sum(slice)))
}

/// One call of the math library for each element.
#[pyfunction]
fn scalar_math(py: Python<'_>, values: PyReadonlyArray1<'_, f64>) -> PyResult<f64> {
    let slice = values.as_slice()?;
    Ok(py.detach(|| exponential_sum(slice)))
}

#[inline(never)]
fn exponential_sum(values: &[f64]) -> f64 {
    values.iter().map(|value| value.exp().powf(*value)).sum()
}

/// The thread pool for a handful of elements.
#[pyfunction]
fn wakes_pool(py: Python<'_>, values: PyReadonlyArray1<'_, f64>) -> PyResult<f64> {
    let slice = values.as_slice()?;
    Ok(py.detach(|| parallel_sum(slice)))
}

#[inline(never)]
fn parallel_sum(values: &[f64]) -> f64 {
    values.par_iter().map(|value| value * value).sum()
}

/// A large output, allocated and faulted in by each call.
#[pyfunction]
fn fresh_output<'py>(
    py: Python<'py>,
    values: PyReadonlyArray1<'py, f64>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let slice = values.as_slice()?;
    Ok(py.detach(|| doubled(slice)).into_pyarray(py))
}

#[inline(never)]
fn doubled(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| value * 2.0).collect()
}

/// The calls above.
#[pymodule]
fn provoking(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(sound, module)?)?;
    module.add_function(wrap_pyfunction!(from_list, module)?)?;
    module.add_function(wrap_pyfunction!(allocates_each, module)?)?;
    module.add_function(wrap_pyfunction!(holds_gil, module)?)?;
    module.add_function(wrap_pyfunction!(releases_gil, module)?)?;
    module.add_function(wrap_pyfunction!(scalar_math, module)?)?;
    module.add_function(wrap_pyfunction!(wakes_pool, module)?)?;
    module.add_function(wrap_pyfunction!(fresh_output, module)?)?;
    Ok(())
}

//! Calls that are slow for one known reason each.

use std::hint::black_box;

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use rayon::prelude::*;

mod closures;

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
    values
        .iter()
        .map(|&value| black_box(vec![value; 3])[1])
        .sum()
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

/// As `sound`, without the work: its twin.
#[pyfunction]
fn sound_twin(py: Python<'_>, values: PyReadonlyArray1<'_, f64>) -> PyResult<f64> {
    let slice = values.as_slice()?;
    Ok(py.detach(|| black_box(slice).first().copied().unwrap_or(0.0)))
}

/// One job of the pool for each element.
#[pyfunction]
fn tiny_pieces(py: Python<'_>, values: PyReadonlyArray1<'_, f64>) -> PyResult<f64> {
    let slice = values.as_slice()?;
    Ok(py.detach(|| sum_by_elements(slice)))
}

#[inline(never)]
fn sum_by_elements(values: &[f64]) -> f64 {
    values
        .par_chunks(1)
        .with_max_len(1)
        .map(sum_of_squares)
        .sum()
}

/// Nine tenths of the work in one piece, the rest in another.
#[pyfunction]
fn unequal_pieces(py: Python<'_>, values: PyReadonlyArray1<'_, f64>) -> PyResult<f64> {
    let slice = values.as_slice()?;
    Ok(py.detach(|| in_pieces(slice, slice.len() * 9 / 10)))
}

/// The same work in pieces of a good length.
#[pyfunction]
fn good_pieces(py: Python<'_>, values: PyReadonlyArray1<'_, f64>) -> PyResult<f64> {
    let slice = values.as_slice()?;
    Ok(py.detach(|| in_pieces(slice, 10_000)))
}

/// Spread over the pool from a size on that the caller names.
#[pyfunction]
#[pyo3(signature = (values, threshold = 10_000))]
fn spread_from(
    py: Python<'_>,
    values: PyReadonlyArray1<'_, f64>,
    threshold: usize,
) -> PyResult<f64> {
    let slice = values.as_slice()?;
    Ok(py.detach(|| {
        if slice.len() < threshold {
            slow_sum(slice)
        } else {
            in_pieces(slice, 10_000)
        }
    }))
}

#[inline(never)]
fn in_pieces(values: &[f64], length: usize) -> f64 {
    values.par_chunks(length).map(slow_sum).sum()
}

/// A large buffer inside the computation that never leaves it.
#[pyfunction]
fn temporary(py: Python<'_>, values: PyReadonlyArray1<'_, f64>) -> PyResult<f64> {
    let slice = values.as_slice()?;
    Ok(py.detach(|| black_box(doubled(slice)).iter().sum()))
}

/// A loop over a function of another crate.
#[pyfunction]
fn across_crates(py: Python<'_>, values: PyReadonlyArray1<'_, f64>) -> PyResult<f64> {
    let slice = values.as_slice()?;
    Ok(py.detach(|| stepped(slice)))
}

#[inline(never)]
fn stepped(values: &[f64]) -> f64 {
    let total = values.iter().fold(0, |total: u32, value| {
        total.wrapping_add(steps::flip(value.to_bits() as u32))
    });
    f64::from(total)
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
    module.add_function(wrap_pyfunction!(sound_twin, module)?)?;
    module.add_function(wrap_pyfunction!(tiny_pieces, module)?)?;
    module.add_function(wrap_pyfunction!(unequal_pieces, module)?)?;
    module.add_function(wrap_pyfunction!(good_pieces, module)?)?;
    module.add_function(wrap_pyfunction!(spread_from, module)?)?;
    module.add_function(wrap_pyfunction!(temporary, module)?)?;
    module.add_function(wrap_pyfunction!(across_crates, module)?)?;
    module.add_function(wrap_pyfunction!(closures::closure, module)?)?;
    Ok(())
}

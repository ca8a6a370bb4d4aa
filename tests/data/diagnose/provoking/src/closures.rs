//! Closures that the compiler inlines into generic functions of other crates: their work is this
//! crate's, in whichever function its code ends up.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use numpy::ndarray::{ArrayView1, Zip};
use numpy::{PyArray1, PyReadonlyArray1, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use rayon::prelude::*;

/// Runs one of the closures; what they return says that none was left out.
#[pyfunction]
pub(crate) fn closure(
    py: Python<'_>,
    name: &str,
    values: PyReadonlyArray1<'_, f64>,
) -> PyResult<f64> {
    let (slice, view) = (values.as_slice()?, values.as_array());
    let run: fn(&[f64]) -> f64 = match name {
        "rayon_for_each" => contended,
        "rayon_sum" => |values| values.par_iter().map(|value| value * value).sum(),
        "rayon_fold" => folded,
        "rayon_chunks" => |values| values.par_chunks(10_000).map(|part| chain(part)).sum(),
        "rayon_other_crate" => steps::flipped_sum,
        "std_sort" => sorted,
        "std_iterator" => |values| values.iter().skip(1).step_by(3).fold(0.0, divided),
        "std_thread" => on_two_threads,
        "ndarray_fold" => return Ok(py.detach(|| view.fold(0.0, divided))),
        "ndarray_zip" => return Ok(py.detach(|| zipped(view))),
        "numpy_from_iter" => return Ok(collected(py, slice)),
        other => return Err(PyValueError::new_err(other.to_owned())),
    };
    Ok(py.detach(|| run(slice)))
}

/// A chain of dependent divisions: slow, without any library.
#[inline(always)]
fn divided(total: f64, value: &f64) -> f64 {
    1.0 / (1.0 + total * value)
}

#[inline(always)]
fn chain(values: &[f64]) -> f64 {
    values.iter().fold(0.0, divided)
}

/// One addition for each element, on cache lines that all threads write.
fn contended(values: &[f64]) -> f64 {
    let counts: Vec<AtomicU64> = (0..16).map(|_| AtomicU64::new(0)).collect();
    values.par_iter().for_each(|value| {
        counts[(value.to_bits() >> 40) as usize & 15].fetch_add(1, Ordering::Relaxed);
    });
    counts
        .iter()
        .map(|count| count.load(Ordering::Relaxed) as f64)
        .sum()
}

fn folded(values: &[f64]) -> f64 {
    values
        .par_iter()
        .with_min_len(10_000)
        .fold(|| 0.0, divided)
        .sum()
}

fn sorted(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(|one, other| (other % 0.01).total_cmp(&(one % 0.01)));
    values[0]
}

/// Long enough for a sampler, whose clock starts with each thread.
fn on_two_threads(values: &[f64]) -> f64 {
    std::thread::scope(|scope| {
        let both = [(); 2]
            .map(|()| scope.spawn(move || (0..20).map(|_| chain(black_box(values))).sum::<f64>()));
        both.into_iter()
            .map(|thread| thread.join().unwrap_or(0.0))
            .sum()
    })
}

fn zipped(values: ArrayView1<'_, f64>) -> f64 {
    let mut total = 0.0;
    Zip::from(values)
        .and(values.slice(numpy::ndarray::s![..;1]))
        .for_each(|one, other| {
            total = divided(total, &(one * other));
        });
    total
}

fn collected(py: Python<'_>, values: &[f64]) -> f64 {
    let mut total = 0.0;
    let divided = values.iter().map(|value| {
        total = (0..16).fold(total, |sum, _| divided(sum, value));
        total
    });
    let array = PyArray1::from_iter(py, divided);
    array.shape()[0] as f64
}

//! Calls that people asked about: each is slow for one reason.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use numpy::ndarray::ArrayView2;
use numpy::{PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyList;
use rayon::prelude::*;
use regex::Regex;

/// Search hits as a list of dicts.
#[pyfunction]
fn row_dicts(
    py: Python<'_>,
    scores: PyReadonlyArray1<'_, f64>,
) -> PyResult<Vec<HashMap<String, Py<PyAny>>>> {
    let scores = scores.as_slice()?;
    let mut rows = Vec::with_capacity(scores.len());
    for (position, score) in scores.iter().enumerate() {
        let mut row = HashMap::new();
        let identifier = position.into_pyobject(py)?.into_any().unbind();
        row.insert("identifier".to_string(), identifier);
        let score = (*score).into_pyobject(py)?.into_any().unbind();
        row.insert("score".to_string(), score);
        let source = "index".into_pyobject(py)?.into_any().unbind();
        row.insert("source".to_string(), source);
        rows.push(row);
    }
    Ok(rows)
}

/// Sum over values of several types; most are of the type that is tried last.
#[pyfunction]
fn sum_mixed(items: &Bound<'_, PyList>) -> PyResult<f64> {
    let mut total = 0.0_f64;
    for item in items.iter() {
        let value: f64 = if let Ok(text) = item.extract::<String>() {
            text.len() as f64
        } else if let Ok(pair) = item.extract::<(f64, f64)>() {
            pair.0 * pair.1
        } else if let Ok(weights) = item.extract::<HashMap<String, f64>>() {
            weights.values().sum::<f64>()
        } else {
            item.extract::<f64>()?
        };
        total += value;
    }
    Ok(total)
}

/// How many bits are set in a buffer.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
fn count_bits(data: Vec<u8>) -> u64 {
    data.iter().map(|byte| u64::from(byte.count_ones())).sum()
}

/// A recursive filter; returns the last state and the sum of all of them.
#[pyfunction]
fn decay_filter(
    py: Python<'_>,
    input: PyReadonlyArray1<'_, f64>,
    pole: f64,
) -> PyResult<(f64, f64)> {
    let input = input.as_slice()?;
    Ok(py.detach(|| decayed(input, pole)))
}

#[inline(never)]
fn decayed(input: &[f64], pole: f64) -> (f64, f64) {
    let (mut state, mut sum) = (0.0_f64, 0.0_f64);
    for sample in input {
        state = pole * state + sample;
        sum += state.abs();
    }
    (state, sum)
}

/// Counts the lower four bits of each level on all threads.
#[pyfunction]
fn histogram(py: Python<'_>, levels: PyReadonlyArray1<'_, u8>) -> PyResult<Vec<u64>> {
    let levels = levels.as_slice()?;
    Ok(py.detach(|| count_levels(levels)))
}

#[inline(never)]
fn count_levels(levels: &[u8]) -> Vec<u64> {
    let counts: Vec<AtomicU64> = (0..16).map(|_| AtomicU64::new(0)).collect();
    levels.par_iter().for_each(|level| {
        counts[usize::from(*level & 15)].fetch_add(1, Ordering::Relaxed);
    });
    counts.into_iter().map(AtomicU64::into_inner).collect()
}

/// The mean of each column of a matrix in C order.
#[pyfunction]
fn column_means(py: Python<'_>, matrix: PyReadonlyArray2<'_, f64>) -> Vec<f64> {
    let matrix = matrix.as_array();
    py.detach(|| means_by_column(matrix))
}

#[inline(never)]
fn means_by_column(matrix: ArrayView2<'_, f64>) -> Vec<f64> {
    let (rows, columns) = matrix.dim();
    let mut means = vec![0.0; columns];
    for column in 0..columns {
        for row in 0..rows {
            means[column] += matrix[[row, column]];
        }
        means[column] /= rows as f64;
    }
    means
}

/// Counts the lines that match a pattern.
#[pyfunction]
fn count_matching(py: Python<'_>, text: &str, pattern: &str) -> PyResult<usize> {
    py.detach(|| matching_lines(text, pattern))
        .map_err(|error| PyValueError::new_err(error.to_string()))
}

#[inline(never)]
fn matching_lines(text: &str, pattern: &str) -> Result<usize, regex::Error> {
    let mut count = 0;
    for line in text.lines() {
        let regex = Regex::new(pattern)?;
        count += usize::from(regex.is_match(line));
    }
    Ok(count)
}

/// Sum over the elements that `order` names, in that order.
#[pyfunction]
fn gather_sum(
    py: Python<'_>,
    values: PyReadonlyArray1<'_, f64>,
    order: PyReadonlyArray1<'_, i64>,
) -> PyResult<f64> {
    let (values, order) = (values.as_slice()?, order.as_slice()?);
    Ok(py.detach(|| gathered(values, order)))
}

#[inline(never)]
fn gathered(values: &[f64], order: &[i64]) -> f64 {
    let mut total = 0.0;
    for index in order {
        total += values[*index as usize];
    }
    black_box(total)
}

/// The calls above.
#[pymodule]
fn questions(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(row_dicts, module)?)?;
    module.add_function(wrap_pyfunction!(sum_mixed, module)?)?;
    module.add_function(wrap_pyfunction!(count_bits, module)?)?;
    module.add_function(wrap_pyfunction!(decay_filter, module)?)?;
    module.add_function(wrap_pyfunction!(histogram, module)?)?;
    module.add_function(wrap_pyfunction!(column_means, module)?)?;
    module.add_function(wrap_pyfunction!(count_matching, module)?)?;
    module.add_function(wrap_pyfunction!(gather_sum, module)?)?;
    Ok(())
}

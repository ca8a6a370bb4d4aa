//! The Python module `textstats._native`.

use std::hint::black_box;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// Counts the byte values of a text, as a list of 256 numbers.
#[pyfunction]
fn byte_histogram<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyList>> {
    let histogram = py.detach(|| textstats_core::byte_histogram(text));
    PyList::new(py, histogram)
}

/// The same call without the counting.
#[pyfunction]
fn byte_histogram_twin<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyList>> {
    let histogram = py.detach(|| black_box([text.len() as u64; 256]));
    PyList::new(py, histogram)
}

/// How many parts a text of a length is counted in.
#[pyfunction]
fn parts(length: usize) -> usize {
    textstats_core::parts(length)
}

/// What reached this build and this process from outside.
#[pyfunction]
fn build_info(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let (tuned, sse42) = textstats_core::is_tuned();
    let info = PyDict::new(py);
    info.set_item("tuned", tuned)?;
    info.set_item("sse4.2", sse42)?;
    info.set_item("tables", textstats_core::tables())?;
    Ok(info)
}

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::{build_info, byte_histogram, byte_histogram_twin, parts};
}

//! The module `perfkit._engine`: the engine as Python sees it. Translates arguments and errors,
//! releases the interpreter round the work, and does nothing else. Documented for readers of
//! Python in `toolkit/perfkit/_engine.pyi`.

use std::collections::HashMap;
use std::path::PathBuf;

use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};

use crate::cfg;
use crate::collapse;
use crate::constants::{self, ConstantSite, Value};
use crate::copies;
use crate::elf::{self, ElfInfo};
use crate::error::Kind;
use crate::flame::{self, Style};
use crate::folded::Folded;
use crate::guard::guard;
use crate::inlined::{self, SourceFrame};
use crate::samples::Stats;
use crate::select::{Chains, Roots, Selection};
use crate::{Error, Result, symbols, toml_lines, walk};

create_exception!(
    perfkit._engine,
    EngineError,
    PyException,
    "The engine could not do its work."
);
create_exception!(
    perfkit._engine,
    EngineInputError,
    EngineError,
    "The input is not what it must be."
);
create_exception!(
    perfkit._engine,
    EnginePanic,
    EngineError,
    "A library inside the engine panicked."
);

impl Error {
    fn raised(self, py: Python<'_>) -> PyErr {
        let text = self.to_string();
        match self.kind {
            Kind::Panic => return EnginePanic::new_err(text),
            Kind::Write => return EngineError::new_err(text),
            Kind::Input => {}
        }
        let error = EngineInputError::new_err(text);
        let value = error.value(py);
        let path = value.setattr("path", self.path);
        let both = path.and_then(|()| value.setattr("line", self.line));
        both.err().unwrap_or(error)
    }
}

/// Runs `work` without the interpreter; panics and errors become Python's.
fn run<T: Send>(
    py: Python<'_>,
    doing: &'static str,
    work: impl FnOnce() -> Result<T> + Send,
) -> PyResult<T> {
    py.detach(|| guard(doing, work))
        .map_err(|error| error.raised(py))
}

#[pyfunction]
#[pyo3(signature = (
    script, output, *, event = None,
    pid = None, windows = None, by_window = false, chains = None, roots = None, main_tid = None
))]
#[allow(clippy::too_many_arguments)] // keywords of a Python function
fn collapse_perf(
    py: Python<'_>,
    script: PathBuf,
    output: PathBuf,
    event: Option<String>,
    pid: Option<i64>,
    windows: Option<Vec<(f64, f64)>>,
    by_window: bool,
    chains: Option<(String, HashMap<u64, Vec<String>>)>,
    roots: Option<(String, String)>,
    main_tid: Option<i64>,
) -> PyResult<Stats> {
    let selection = Selection {
        event,
        pid,
        windows,
        by_window,
        chains: chains.map(|(module, by_place)| Chains { module, by_place }),
        roots: roots.map(|(calling, others)| Roots {
            calling,
            others,
            main: main_tid,
        }),
    };
    run(py, "collapsing perf's text", || {
        collapse::collapse_perf(&script, &output, &selection)
    })
}

#[pyfunction]
fn perf_places(py: Python<'_>, script: PathBuf, module: &str) -> PyResult<Vec<u64>> {
    run(py, "reading perf's text", || {
        collapse::perf_places(&script, module)
    })
}

#[pyfunction]
fn unwind_copies(py: Python<'_>, raw: PathBuf, output: PathBuf) -> PyResult<(u64, u64)> {
    let written = run(py, "unwinding copies of stacks", || {
        copies::unwind_copies(&raw, &output)
    })?;
    Ok((written.samples, written.lost))
}

#[pyfunction]
fn sampler_library(py: Python<'_>) -> Bound<'_, PyBytes> {
    PyBytes::new(py, crate::SAMPLER)
}

#[pyfunction]
fn source_frames(
    py: Python<'_>,
    module: PathBuf,
    places: Vec<u64>,
) -> PyResult<Option<Vec<Vec<SourceFrame>>>> {
    run(py, "reading debug information", || {
        inlined::source_frames(&module, &places)
    })
}

#[pyfunction]
#[pyo3(signature = (
    folded, output, *, title, subtitle = None, count_name = "samples".to_owned(), min_width = 0.01
))]
fn flamegraph(
    py: Python<'_>,
    folded: PathBuf,
    output: PathBuf,
    title: String,
    subtitle: Option<String>,
    count_name: String,
    min_width: f64,
) -> PyResult<()> {
    let style = Style {
        title,
        subtitle,
        count_name,
        min_width,
    };
    run(py, "drawing a flame graph", || {
        flame::flamegraph(&folded, &output, &style)
    })
}

#[pyfunction]
#[pyo3(signature = (
    before, after, output, *, title, subtitle = None, normalize, count_name = "samples".to_owned()
))]
#[allow(clippy::too_many_arguments)] // keywords of a Python function
fn diff_flamegraph(
    py: Python<'_>,
    before: PathBuf,
    after: PathBuf,
    output: PathBuf,
    title: String,
    subtitle: Option<String>,
    normalize: bool,
    count_name: String,
) -> PyResult<()> {
    let style = Style {
        title,
        subtitle,
        count_name,
        min_width: inferno::flamegraph::defaults::MIN_WIDTH,
    };
    run(py, "drawing a differential flame graph", || {
        flame::diff_flamegraph(&before, &after, &output, &style, normalize)
    })
}

/// Folded stacks.
#[pyclass(frozen, module = "perfkit._engine", name = "Folded")]
struct PyFolded(Folded);

#[pymethods]
impl PyFolded {
    #[staticmethod]
    fn from_stacks(py: Python<'_>, stacks: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut folded = Folded::default();
        for item in stacks.try_iter()? {
            let (stack, count): (Vec<String>, u64) = item?.extract()?;
            folded
                .add(&stack, count)
                .map_err(|error| error.raised(py))?;
        }
        Ok(Self(folded))
    }

    #[getter]
    fn total(&self) -> u64 {
        self.0.total()
    }

    fn __len__(&self) -> usize {
        self.0.stacks().len()
    }

    fn __repr__(&self) -> String {
        format!(
            "Folded(stacks={}, total={})",
            self.0.stacks().len(),
            self.0.total()
        )
    }

    fn stacks<'py>(&self, py: Python<'py>) -> PyResult<Vec<(Bound<'py, PyTuple>, u64)>> {
        let name = |id| PyString::new(py, self.0.name(id));
        let names: Vec<_> = (0..self.0.name_count() as u32).map(name).collect();
        let mut all = Vec::with_capacity(self.0.stacks().len());
        for (stack, count) in self.0.stacks().iter() {
            let frames = stack.iter().map(|id| &names[*id as usize]);
            all.push((PyTuple::new(py, frames)?, count));
        }
        Ok(all)
    }

    fn frames(&self) -> Vec<(&str, u64, u64)> {
        self.0.frames()
    }

    fn write(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        run(py, "writing folded stacks", || self.0.write(&path))
    }
}

#[pyfunction]
fn read_folded(py: Python<'_>, path: PathBuf) -> PyResult<PyFolded> {
    run(py, "reading folded stacks", || Folded::read(&path)).map(PyFolded)
}

#[pyfunction]
fn demangle(symbol: &str) -> String {
    symbols::demangle(symbol).unwrap_or_else(|| symbol.to_owned())
}

#[pyfunction]
fn list_constants(py: Python<'_>, source: &str) -> PyResult<Vec<ConstantSite>> {
    run(py, "parsing Rust source", || {
        constants::list_constants(source)
    })
}

#[pyfunction]
fn replace_constant(py: Python<'_>, source: &str, name: &str, value: &str) -> PyResult<String> {
    run(py, "editing Rust source", || {
        constants::replace_constant(source, name, value)
    })
}

#[pyfunction]
fn literal(py: Python<'_>, text: &str) -> PyResult<Option<Value>> {
    run(py, "reading a Rust literal", || constants::literal(text))
}

#[pyfunction]
fn evaluate(py: Python<'_>, expression: &str, source: &str) -> PyResult<Option<u64>> {
    run(py, "working out a Rust constant", || {
        constants::evaluate(expression, source)
    })
}

#[pyfunction]
fn cfg_holds(py: Python<'_>, expression: &str, facts: Vec<String>) -> PyResult<bool> {
    run(py, "reading a cfg expression", || {
        cfg::cfg_holds(expression, &facts)
    })
}

#[pyfunction]
fn rust_sources(py: Python<'_>, root: PathBuf) -> PyResult<Vec<PathBuf>> {
    run(py, "looking for Rust sources", || walk::rust_sources(&root))
}

#[pyfunction]
fn toml_key_lines(py: Python<'_>, text: &str) -> PyResult<Vec<(String, u64)>> {
    run(py, "reading TOML", || toml_lines::toml_key_lines(text))
}

#[pyfunction]
fn loaded_hashes(py: Python<'_>, path: PathBuf) -> PyResult<(String, String)> {
    run(py, "hashing what is loaded", || elf::loaded_hashes(&path))
}

#[pyfunction]
fn elf_info(py: Python<'_>, path: PathBuf) -> PyResult<ElfInfo> {
    run(py, "reading an ELF file", || elf::elf_info(&path))
}

/// The compiled core of perfkit.
#[pymodule]
mod _engine {
    #[pymodule_export]
    use super::{
        ConstantSite, ElfInfo, EngineError, EngineInputError, EnginePanic, PyFolded, SourceFrame,
        Stats, cfg_holds, collapse_perf, demangle, diff_flamegraph, elf_info, evaluate, flamegraph,
        list_constants, literal, loaded_hashes, perf_places, read_folded, replace_constant,
        rust_sources, sampler_library, source_frames, toml_key_lines, unwind_copies,
    };
    use pyo3::prelude::*;

    /// Errors made by hand have the attributes too.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let error = module.py().get_type::<EngineInputError>();
        error.setattr("path", module.py().None())?;
        error.setattr("line", module.py().None())
    }
}

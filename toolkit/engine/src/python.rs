//! The module `perfkit._engine`: the engine as Python sees it. Translates arguments and errors,
//! releases the interpreter round the work, and does nothing else. Documented for readers of
//! Python in `toolkit/perfkit/_engine.pyi`.

use std::collections::HashMap;
use std::path::PathBuf;

use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};

use crate::collapse::{self, Settings, Stats};
use crate::constants::{self, ConstantSite};
use crate::elf::{self, ElfInfo};
use crate::flame::{self, Difference, Style};
use crate::folded::Folded;
use crate::guard::guard;
use crate::select::{Chains, Roots, Selection};
use crate::{Error, Result, samples, symbols, toml_lines, walk};

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
        let (path, line) = match self {
            Self::Panic { .. } => return EnginePanic::new_err(text),
            Self::Write { .. } => return EngineError::new_err(text),
            Self::Input { path, line, .. } => (path, line),
            Self::Read { path, .. } => (Some(path), None),
        };
        let error = EngineInputError::new_err(text);
        let value = error.value(py);
        match value
            .setattr("path", path)
            .and_then(|()| value.setattr("line", line))
        {
            Ok(()) => error,
            Err(failed) => failed,
        }
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

/// What `collapse_perf` found in a capture.
#[pyclass(frozen, get_all, module = "perfkit._engine", name = "CollapseStats")]
struct PyCollapseStats {
    event: Option<String>,
    events: std::collections::BTreeMap<String, u64>,
    samples: u64,
    stacks: u64,
    frames: u64,
    unresolved_frames: u64,
    unresolved_leaf: u64,
    no_stack: u64,
    truncated: u64,
    foreign: u64,
    outside: u64,
    unrooted: u64,
    first_pid: Option<i64>,
    bytes: u64,
}

impl From<Stats> for PyCollapseStats {
    fn from(stats: Stats) -> Self {
        Self {
            event: stats.event,
            events: stats.events,
            samples: stats.samples,
            stacks: stats.stacks,
            frames: stats.frames,
            unresolved_frames: stats.unresolved_frames,
            unresolved_leaf: stats.unresolved_leaf,
            no_stack: stats.no_stack,
            truncated: stats.truncated,
            foreign: stats.foreign,
            outside: stats.outside,
            unrooted: stats.unrooted,
            first_pid: stats.first_pid,
            bytes: stats.bytes,
        }
    }
}

#[pymethods]
impl PyCollapseStats {
    fn __repr__(&self) -> String {
        format!(
            "CollapseStats(event={:?}, samples={}, stacks={}, unresolved_leaf={}, no_stack={}, \
             truncated={})",
            self.event.as_deref().unwrap_or("?"),
            self.samples,
            self.stacks,
            self.unresolved_leaf,
            self.no_stack,
            self.truncated
        )
    }
}

#[pyfunction]
#[pyo3(signature = (
    script, output, *, include_tid = true, event = None, strict = true,
    pid = None, windows = None, by_window = false, chains = None, roots = None, main_tid = None
))]
#[allow(clippy::too_many_arguments)] // keywords of a Python function
fn collapse_perf(
    py: Python<'_>,
    script: PathBuf,
    output: PathBuf,
    include_tid: bool,
    event: Option<String>,
    strict: bool,
    pid: Option<i64>,
    windows: Option<Vec<(f64, f64)>>,
    by_window: bool,
    chains: Option<(String, HashMap<u64, Vec<String>>)>,
    roots: Option<(String, String)>,
    main_tid: Option<i64>,
) -> PyResult<PyCollapseStats> {
    let settings = Settings {
        include_tid,
        event,
        strict,
        selection: Selection {
            pid,
            windows,
            by_window,
            chains: chains.map(|(module, by_place)| Chains { module, by_place }),
            roots: roots.map(|(calling, others)| Roots {
                calling,
                others,
                main: main_tid,
            }),
        },
    };
    run(py, "collapsing perf's text", || {
        collapse::collapse_perf(&script, &output, &settings)
    })
    .map(PyCollapseStats::from)
}

#[pyfunction]
fn perf_places(py: Python<'_>, script: PathBuf, module: &str) -> PyResult<Vec<u64>> {
    run(py, "reading perf's text", || {
        samples::perf_places(&script, module)
    })
}

/// One file or several.
#[derive(FromPyObject)]
enum Files {
    One(PathBuf),
    Many(Vec<PathBuf>),
}

#[pyfunction]
#[pyo3(signature = (
    folded, output, *, title, subtitle = None, count_name = "samples".to_owned(),
    reverse = false, inverted = false, min_width = 0.01, palette = "hot".to_owned()
))]
#[allow(clippy::too_many_arguments)] // keywords of a Python function
fn flamegraph(
    py: Python<'_>,
    folded: Files,
    output: PathBuf,
    title: String,
    subtitle: Option<String>,
    count_name: String,
    reverse: bool,
    inverted: bool,
    min_width: f64,
    palette: String,
) -> PyResult<()> {
    let files = match folded {
        Files::One(path) => vec![path],
        Files::Many(paths) => paths,
    };
    let style = Style {
        title,
        subtitle,
        count_name,
        reverse,
        inverted,
        min_width,
        palette,
    };
    run(py, "drawing a flame graph", || {
        let files: Vec<_> = files.iter().map(PathBuf::as_path).collect();
        flame::flamegraph(&files, &output, &style)
    })
}

#[pyfunction]
#[pyo3(signature = (
    before, after, output, *, title, subtitle = None, normalize, negate = false,
    count_name = "samples".to_owned(), inverted = false, min_width = 0.01
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
    negate: bool,
    count_name: String,
    inverted: bool,
    min_width: f64,
) -> PyResult<()> {
    let style = Style {
        title,
        subtitle,
        count_name,
        inverted,
        min_width,
        ..Style::default()
    };
    let how = Difference { normalize, negate };
    run(py, "drawing a differential flame graph", || {
        flame::diff_flamegraph(&before, &after, &output, &style, how)
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
        self.0.len()
    }

    fn __repr__(&self) -> String {
        format!("Folded(stacks={}, total={})", self.0.len(), self.0.total())
    }

    fn stacks<'py>(&self, py: Python<'py>) -> PyResult<Vec<(Bound<'py, PyTuple>, u64)>> {
        let names = self.name_objects(py);
        let mut all = Vec::with_capacity(self.0.len());
        for (stack, count) in self.0.sequences().iter() {
            let frames = stack.iter().map(|id| &names[*id as usize]);
            all.push((PyTuple::new(py, frames)?, count));
        }
        Ok(all)
    }

    fn frames(&self, py: Python<'_>) -> Vec<(String, u64, u64)> {
        py.detach(|| {
            let rows = self.0.frames();
            let row =
                |row: &crate::folded::FrameTotals<'_>| (row.name.to_owned(), row.own, row.total);
            rows.iter().map(row).collect()
        })
    }

    #[allow(clippy::type_complexity)] // a tuple of columns is what Python unpacks
    fn columns<'py>(
        &self,
        py: Python<'py>,
    ) -> (
        Vec<Bound<'py, PyString>>,
        Bound<'py, PyBytes>,
        Bound<'py, PyBytes>,
        Bound<'py, PyBytes>,
    ) {
        let stacks = self.0.sequences();
        let ids: Vec<u8> = stacks
            .items()
            .iter()
            .flat_map(|id| id.to_le_bytes())
            .collect();
        let end = |end: &usize| (*end as u64).to_le_bytes();
        let ends: Vec<u8> = stacks.ends().iter().flat_map(end).collect();
        let counts: Vec<u8> = stacks
            .counts()
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect();
        (
            self.name_objects(py),
            PyBytes::new(py, &ids),
            PyBytes::new(py, &ends),
            PyBytes::new(py, &counts),
        )
    }

    fn with_root(&self, py: Python<'_>, name: String) -> PyResult<Self> {
        run(py, "adding a root frame", || {
            let mut all = Folded::default();
            all.merge(&self.0, Some(&name))?;
            Ok(Self(all))
        })
    }

    fn merged(&self, py: Python<'_>, other: &Bound<'_, Self>) -> PyResult<Self> {
        let other = other.get();
        run(py, "merging stacks", || {
            let mut all = self.0.clone();
            all.merge(&other.0, None)?;
            Ok(Self(all))
        })
    }

    fn write(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        run(py, "writing folded stacks", || self.0.write(&path))
    }
}

impl PyFolded {
    fn name_objects<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyString>> {
        let name = |id| PyString::new(py, self.0.name(id));
        (0..self.0.name_count() as u32).map(name).collect()
    }
}

#[pyfunction]
fn read_folded(py: Python<'_>, path: PathBuf) -> PyResult<PyFolded> {
    run(py, "reading folded stacks", || Folded::read(&path)).map(PyFolded)
}

#[pyfunction]
fn demangle(symbol: &str) -> String {
    symbols::demangle(symbol)
}

/// One place where a Rust constant gets its value.
#[pyclass(frozen, get_all, eq, module = "perfkit._engine", name = "ConstantSite")]
#[derive(PartialEq)]
struct PyConstantSite {
    name: String,
    module: String,
    r#type: String,
    value: String,
    line: u64,
    span: (usize, usize),
    kind: &'static str,
}

impl From<ConstantSite> for PyConstantSite {
    fn from(site: ConstantSite) -> Self {
        Self {
            name: site.name,
            module: site.module,
            r#type: site.ty,
            value: site.value,
            line: site.line,
            span: (site.span.start, site.span.end),
            kind: site.kind.word(),
        }
    }
}

#[pymethods]
impl PyConstantSite {
    #[getter]
    fn path(&self) -> String {
        if self.module.is_empty() {
            return self.name.clone();
        }
        format!("{}::{}", self.module, self.name)
    }

    fn __repr__(&self) -> String {
        format!(
            "ConstantSite({} {}: {} = {}, line {})",
            self.kind,
            self.path(),
            self.r#type,
            self.value,
            self.line
        )
    }
}

#[pyfunction]
fn list_constants(py: Python<'_>, source: &str) -> PyResult<Vec<PyConstantSite>> {
    let sites = run(py, "parsing Rust source", || {
        constants::list_constants(source)
    })?;
    Ok(sites.into_iter().map(PyConstantSite::from).collect())
}

#[pyfunction]
#[pyo3(signature = (source, name, value, *, line = None))]
fn replace_constant(
    py: Python<'_>,
    source: &str,
    name: &str,
    value: &str,
    line: Option<u64>,
) -> PyResult<String> {
    run(py, "editing Rust source", || {
        constants::replace_constant(source, name, value, line)
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
fn text_hash(py: Python<'_>, path: PathBuf) -> PyResult<String> {
    run(py, "hashing machine code", || elf::text_hash(&path))
}

#[pyfunction]
fn section_hash(py: Python<'_>, path: PathBuf, section: &str) -> PyResult<String> {
    run(py, "hashing a section", || {
        elf::section_hash(&path, section)
    })
}

/// Facts about a compiled extension.
#[pyclass(frozen, get_all, module = "perfkit._engine", name = "ElfInfo")]
struct PyElfInfo {
    has_symtab: bool,
    has_debug_info: bool,
    has_debug_line: bool,
    has_eh_frame: bool,
    stripped: bool,
    linked_by_lld: bool,
    build_id: Option<String>,
    needed: Vec<String>,
    comments: Vec<String>,
}

impl From<ElfInfo> for PyElfInfo {
    fn from(info: ElfInfo) -> Self {
        Self {
            stripped: info.stripped(),
            linked_by_lld: info.linked_by_lld(),
            has_symtab: info.has_symtab,
            has_debug_info: info.has_debug_info,
            has_debug_line: info.has_debug_line,
            has_eh_frame: info.has_eh_frame,
            build_id: info.build_id,
            needed: info.needed,
            comments: info.comments,
        }
    }
}

#[pyfunction]
fn elf_info(py: Python<'_>, path: PathBuf) -> PyResult<PyElfInfo> {
    run(py, "reading an ELF file", || elf::elf_info(&path)).map(PyElfInfo::from)
}

/// The compiled core of perfkit.
#[pymodule]
mod _engine {
    #[pymodule_export]
    use super::{
        EngineError, EngineInputError, EnginePanic, PyCollapseStats, PyConstantSite, PyElfInfo,
        PyFolded, collapse_perf, demangle, diff_flamegraph, elf_info, flamegraph, list_constants,
        loaded_hashes, perf_places, read_folded, replace_constant, rust_sources, section_hash,
        text_hash, toml_key_lines,
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

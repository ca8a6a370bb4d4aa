"""What a maturin project says about itself: crates, module, benches, constants, Python functions.

Only reads: files, and what `cargo metadata` says of the crates. What was not found stays empty, and
`init` says so.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfkit import _engine, environment
from perfkit.config import read_toml
from perfkit.errors import ConfigError
from perfkit.subject import cargo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from perfkit.subject.cargo import Package

_INTEGERS = re.compile(r"[iu](8|16|32|64|128|size)")
_TUNING = (
    ("threshold", re.compile(r"THRESHOLD|CUTOFF|CROSSOVER|MIN_PAR|PARALLEL_MIN|SWITCH")),
    ("grain", re.compile(r"CHUNK|BLOCK|TILE|GRAIN|BATCH|STRIPE")),
    ("categorical", re.compile(r"UNROLL|LANES|WIDTH|RADIX")),
)
"""Names that tuning constants go by in the field, and what each kind does."""
_SKIPPED = {"target", ".git", ".venv", "venv", "node_modules", "__pycache__"}
_NOT_SHIPPED = {"tests", "benches", "examples", "build", "test"}
"""Folders and files whose constants are in no extension."""
_BENCH_ID = re.compile(r'\b(?:benchmark_group|bench_function|bench_with_input)\(\s*"([^"]+)"')
_BENCH_PARAMETER = re.compile(r'\bBenchmarkId::new\(\s*"([^"]+)"')
_PYFUNCTION = re.compile(
    r"#\[pyfunction\b[^\]]*\](?:(?:\s*(?:#\[(?:[^\[\]]|\[[^\]]*\])*\]|//[^\n]*))*)"
    r"\s*(?:pub(?:\([^)]*\))?\s+)?fn\s+(?P<name>\w+)[^(]*\((?P<arguments>[^{]*?)\)\s*(?:->|\{|where)"
)
_RENAMED = re.compile(r'\bname\s*=\s*"(\w+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundBench:
    """One criterion bench target, with the ids that its source has as literals."""

    crate: Package
    target: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundConstant:
    """One `const` of an integer type; `repeated` when another one has its name."""

    name: str
    type: str
    value: str
    file: Path
    line: int
    repeated: bool

    @property
    def kind(self) -> str | None:
        """What it tunes, by its name; None for a name that tells nothing."""
        return next((kind for kind, pattern in _TUNING if pattern.search(self.name)), None)

    @property
    def is_tuning(self) -> bool:
        """Whether it can be a parameter: by its name, which must be the only one."""
        return self.kind is not None and not self.repeated


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFunction:
    """One `#[pyfunction]`, by its Python name, with the Rust arguments as written."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """All that was found; `strips` says whether the project strips its wheels."""

    folder: Path
    subject: Package
    module: str
    features: tuple[str, ...]
    benches: tuple[FoundBench, ...]
    constants: tuple[FoundConstant, ...]
    functions: tuple[FoundFunction, ...]
    strips: bool


def discover(folder: Path, environ: Mapping[str, str]) -> Discovery:
    """Look at a project.

    Args:
        folder: the maturin project.
        environ: perfkit's own environment, for cargo.

    Raises:
        ConfigError: there is no crate that makes a Python extension, or a file is broken.
    """
    file = folder / "pyproject.toml"
    pyproject = read_toml(file) if file.is_file() else {}
    maturin: Mapping[str, Any] = pyproject.get("tool", {}).get("maturin", {})
    crates = _crates(folder, maturin, environment.base_environment(environ, extra={}))
    subject = _subject(folder, maturin, crates)
    own = cargo.closure(crates, subject)
    folders = {crate.folder for crate in own}
    sources = sorted({file for crate in own for file in _rust_files(crate.folder)})
    texts = {file: file.read_text(encoding="utf-8", errors="replace") for file in sources}
    return Discovery(
        folder=folder,
        subject=subject,
        module=_module(folder, maturin, subject),
        features=tuple(maturin.get("features", ())),
        benches=tuple(
            bench
            for crate in crates
            if crate in own or folders & set(crate.path_dependencies)
            for bench in _benches(crate)
        ),
        constants=tuple(_constants(texts)),
        functions=tuple(
            function
            for file, text in texts.items()
            if file.is_relative_to(subject.folder)
            for function in _functions(text)
        ),
        strips=bool(maturin.get("strip", False)),
    )


def _crates(
    folder: Path, maturin: Mapping[str, Any], variables: Mapping[str, str]
) -> list[Package]:
    """The crates of the project's workspaces, that of the named manifest first.

    Path dependencies outside a workspace are followed into theirs.

    Raises:
        ConfigError: cargo cannot read one of the project's own manifests.
    """
    above = (parent / "Cargo.toml" for parent in (folder, *folder.parents))
    nearest = next((file for file in above if file.is_file()), folder / "Cargo.toml")
    own = (folder / str(maturin.get("manifest-path", "Cargo.toml")), nearest)
    queue = list(own)
    found: dict[Path, Package] = {}
    roots: set[Path] = set()
    for listed in queue:  # grows while it is walked
        manifest = listed.resolve()
        if manifest in found or manifest in roots or not manifest.is_file():
            continue
        try:
            workspace = cargo.workspace(manifest, variables)
        except ConfigError:
            if listed in own:
                raise
            continue  # a dependency can be built that cannot be asked alone
        roots.add(workspace.workspace_root / "Cargo.toml")
        for package in workspace.packages:
            found[package.manifest_path] = package
            queue += [path / "Cargo.toml" for path in package.path_dependencies]
    return list(found.values())


def _subject(folder: Path, maturin: Mapping[str, Any], crates: Sequence[Package]) -> Package:
    """The crate that maturin builds.

    Raises:
        ConfigError: there is none, or more than one and nothing says which.
    """
    if "manifest-path" in maturin:
        wanted = (folder / str(maturin["manifest-path"])).resolve()
        for crate in crates:
            if crate.manifest_path == wanted:
                return crate
        message = f"tool.maturin.manifest-path names {wanted}, which is not a crate of this project"
        raise ConfigError(message, where=str(folder / "pyproject.toml"), remedy="correct it")
    extensions = [crate for crate in crates if crate.library and "cdylib" in crate.library.kind]
    candidates = [crate for crate in extensions if "pyo3" in crate.uses] or extensions
    own = [crate for crate in candidates if crate.folder == folder.resolve()]
    if len(candidates) == 1 or own:
        return (own or candidates)[0]
    if not candidates:
        message = "no crate here makes a Python extension (crate-type cdylib)"
        remedy = "run this in the folder of a maturin project"
        raise ConfigError(message, where=str(folder), remedy=remedy)
    names = ", ".join(crate.name for crate in candidates)
    message = f"several crates make an extension: {names}"
    remedy = "run this in the folder of one of them, or set tool.maturin.manifest-path"
    raise ConfigError(message, where=str(folder), remedy=remedy)


def _module(folder: Path, maturin: Mapping[str, Any], subject: Package) -> str:
    """The module to import, by maturin's own rules.

    Without `module-name` it is the library's name; inside a Python package of that name, the
    extension is in the package.
    """
    if "module-name" in maturin:
        return str(maturin["module-name"])
    source = folder / str(maturin.get("python-source", "."))
    name = subject.library.name if subject.library else subject.name
    return f"{name}.{name}" if (source / name / "__init__.py").is_file() else name


def _rust_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name not in _SKIPPED and not path.is_symlink():
            yield from _rust_files(path)
        elif path.suffix == ".rs":
            yield path


def _benches(crate: Package) -> Iterator[FoundBench]:
    """Named `[[bench]]` targets without libtest's harness, which `cargo metadata` does not tell."""
    if "criterion" not in crate.uses:
        return
    named: dict[str, Path] = {
        str(entry["name"]): crate.folder / str(entry.get("path", f"benches/{entry['name']}.rs"))
        for entry in read_toml(crate.manifest_path).get("bench", ())
        if "name" in entry and not entry.get("harness", True)
    }
    for target, file in named.items():
        text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
        ids = dict.fromkeys([*_BENCH_ID.findall(text), *_BENCH_PARAMETER.findall(text)])
        yield FoundBench(crate=crate, target=target, ids=tuple(ids))


def _constants(texts: Mapping[Path, str]) -> Iterator[FoundConstant]:
    sites: list[tuple[Path, _engine.ConstantSite]] = []
    for file, text in texts.items():
        if _NOT_SHIPPED & {part.removesuffix(".rs") for part in file.parts[-3:]}:
            continue
        # A file that is not Rust by itself (a template, an include) holds no parameter.
        with contextlib.suppress(_engine.EngineInputError):
            sites += [
                (file, site)
                for site in _engine.list_constants(text)
                if site.kind == "const" and _INTEGERS.fullmatch(site.type)
            ]
    counts = Counter(site.name for _, site in sites)
    for file, site in sites:
        yield FoundConstant(
            name=site.name,
            type=site.type,
            value=site.value,
            file=file,
            line=site.line,
            repeated=counts[site.name] > 1,
        )


def _functions(text: str) -> Iterator[FoundFunction]:
    for match in _PYFUNCTION.finditer(text):
        renamed = _RENAMED.search(match[0][: match.start("name") - match.start()])
        yield FoundFunction(
            name=renamed[1] if renamed else match["name"],
            arguments=" ".join(match["arguments"].split()),
        )

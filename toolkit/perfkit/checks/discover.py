"""What a maturin project says about itself: crates, module, benches, constants, Python functions.

Only reads files; no program is run. What was not found stays empty, and `init` says so.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfkit import _engine
from perfkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_INTEGERS = re.compile(r"[iu](8|16|32|64|128|size)")
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
class Crate:
    """One crate of the project."""

    name: str
    library: str
    manifest: Path
    cdylib: bool
    uses: frozenset[str]
    paths: frozenset[Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundBench:
    """One criterion bench target, with the ids that stand in its source as literals."""

    crate: Crate
    target: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundConstant:
    """One `const` of an integer type."""

    name: str
    type: str
    value: str
    file: Path
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFunction:
    """One `#[pyfunction]`, by its Python name, with the Rust arguments as written."""

    name: str
    arguments: str
    file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """All that was found.

    Attributes:
        module: None where neither pyproject.toml nor the crate tells it.
        strips: whether the project strips its wheels.
    """

    folder: Path
    subject: Crate
    crates: tuple[Crate, ...]
    module: str | None
    features: tuple[str, ...]
    benches: tuple[FoundBench, ...]
    constants: tuple[FoundConstant, ...]
    functions: tuple[FoundFunction, ...]
    strips: bool


def discover(folder: Path) -> Discovery:
    """Look at a project.

    Raises:
        ConfigError: there is no crate that makes a Python extension, or a file is broken.
    """
    pyproject = _toml(folder / "pyproject.toml")
    maturin: Mapping[str, Any] = pyproject.get("tool", {}).get("maturin", {})
    crates = tuple(_crates(folder, maturin))
    subject = _subject(folder, maturin, crates)
    own = _made_of(subject, crates)
    sources = sorted({file for crate in own for file in _rust_files(crate.manifest.parent)})
    tested = {crate.manifest for crate in own}
    texts = {file: file.read_text(encoding="utf-8", errors="replace") for file in sources}
    return Discovery(
        folder=folder,
        subject=subject,
        crates=crates,
        module=_module(folder, maturin, subject),
        features=tuple(maturin.get("features", ())),
        benches=tuple(
            bench
            for crate in crates
            if crate in own or crate.paths & tested
            for bench in _benches(crate)
        ),
        constants=tuple(_constants(texts)),
        functions=tuple(
            function
            for file, text in texts.items()
            if file.is_relative_to(subject.manifest.parent)
            for function in _functions(file, text)
        ),
        strips=bool(maturin.get("strip", False)),
    )


def _toml(path: Path) -> Mapping[str, Any]:
    """A TOML file; empty where there is none.

    Raises:
        ConfigError: it is broken.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"is no TOML: {error}"
        raise ConfigError(message, where=str(path), remedy="correct it first") from error


def _crates(folder: Path, maturin: Mapping[str, Any]) -> Iterator[Crate]:
    """The crates of the project's workspace, the named manifest first."""
    seen: set[Path] = set()
    named = folder / str(maturin.get("manifest-path", "Cargo.toml"))
    queue = [named, folder / "Cargo.toml", *_workspace_above(folder)]
    while queue:
        manifest = queue.pop(0).resolve()
        if manifest in seen or not manifest.is_file():
            continue
        seen.add(manifest)
        table = _toml(manifest)
        for pattern in table.get("workspace", {}).get("members", ()):
            queue += sorted(manifest.parent.glob(f"{pattern}/Cargo.toml"))
        queue += _path_dependencies(manifest, table)
        if "package" in table:
            yield _crate(manifest, table)


def _workspace_above(folder: Path) -> list[Path]:
    """The workspace that the folder is a member of; its benches may be of another member."""
    for parent in folder.resolve().parents:
        manifest = parent / "Cargo.toml"
        if manifest.is_file() and "workspace" in _toml(manifest):
            return [manifest]
        if (parent / ".git").exists():
            break
    return []


def _path_dependencies(manifest: Path, table: Mapping[str, Any]) -> list[Path]:
    """Manifests of the crates that a crate names by path, itself or through its workspace."""
    above = [manifest] if "workspace" in table else _workspace_above(manifest.parent)
    shared = _toml(above[0])["workspace"].get("dependencies", {}) if above else {}
    found = []
    for name, named in _dependencies(table).items():
        inherited = isinstance(named, dict) and named.get("workspace")
        place, dependency = (
            (above[0], shared.get(name)) if inherited and above else (manifest, named)
        )
        if isinstance(dependency, dict) and "path" in dependency:
            found.append((place.parent / str(dependency["path"]) / "Cargo.toml").resolve())
    return found


def _made_of(subject: Crate, crates: Sequence[Crate]) -> list[Crate]:
    """The subject and the crates of the project that it is made of."""
    by_manifest = {crate.manifest: crate for crate in crates}
    found = [subject]
    for crate in found:  # grows while it is walked
        found += [
            by_manifest[path]
            for path in sorted(crate.paths)
            if path in by_manifest and by_manifest[path] not in found
        ]
    return found


def _dependencies(table: Mapping[str, Any]) -> dict[str, Any]:
    """What a crate uses, on any target."""
    found: dict[str, Any] = {}
    for part in (table, *table.get("target", {}).values()):
        for kind in ("dependencies", "dev-dependencies"):
            found.update(part.get(kind, {}))
    return found


def _crate(manifest: Path, table: Mapping[str, Any]) -> Crate:
    name = str(table["package"].get("name", manifest.parent.name))
    library: Mapping[str, Any] = table.get("lib", {})
    return Crate(
        name=name,
        library=str(library.get("name", name.replace("-", "_"))),
        manifest=manifest,
        cdylib="cdylib" in library.get("crate-type", library.get("crate_type", ())),
        uses=frozenset(_dependencies(table)),
        paths=frozenset(_path_dependencies(manifest, table)),
    )


def _subject(folder: Path, maturin: Mapping[str, Any], crates: Sequence[Crate]) -> Crate:
    """The crate that maturin builds.

    Raises:
        ConfigError: there is none, or more than one and nothing says which.
    """
    if "manifest-path" in maturin:
        wanted = (folder / str(maturin["manifest-path"])).resolve()
        for crate in crates:
            if crate.manifest == wanted:
                return crate
        message = f"tool.maturin.manifest-path names {wanted}, which is no crate"
        raise ConfigError(message, where=str(folder / "pyproject.toml"), remedy="correct it")
    candidates = [crate for crate in crates if crate.cdylib and "pyo3" in crate.uses]
    candidates = candidates or [crate for crate in crates if crate.cdylib]
    own = [crate for crate in candidates if crate.manifest.parent == folder.resolve()]
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


def _module(folder: Path, maturin: Mapping[str, Any], subject: Crate) -> str | None:
    """The module to import, by maturin's own rules.

    Without `module-name` it is the library's name; inside a Python package of that name, the
    extension lies in the package.
    """
    if "module-name" in maturin:
        return str(maturin["module-name"])
    source = folder / str(maturin.get("python-source", "."))
    name = subject.library
    return f"{name}.{name}" if (source / name / "__init__.py").is_file() else name


def _rust_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name not in _SKIPPED and not path.is_symlink():
            yield from _rust_files(path)
        elif path.suffix == ".rs":
            yield path


def _benches(crate: Crate) -> Iterator[FoundBench]:
    """Named `[[bench]]` targets, and the files of `benches/` that need no entry of their own."""
    if "criterion" not in crate.uses:
        return
    table = _toml(crate.manifest)
    folder = crate.manifest.parent
    named: dict[str, Path] = {
        str(entry["name"]): folder / str(entry.get("path", f"benches/{entry['name']}.rs"))
        for entry in table.get("bench", ())
        if "name" in entry and not entry.get("harness", True)
    }
    for target, file in named.items():
        text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
        ids = dict.fromkeys([*_BENCH_ID.findall(text), *_BENCH_PARAMETER.findall(text)])
        yield FoundBench(crate=crate, target=target, ids=tuple(ids))


def _constants(texts: Mapping[Path, str]) -> Iterator[FoundConstant]:
    for file, text in texts.items():
        if _NOT_SHIPPED & {part.removesuffix(".rs") for part in file.parts[-3:]}:
            continue
        try:
            sites = _engine.list_constants(text)
        except _engine.EngineInputError:
            continue  # a file that is no Rust by itself (a template, an include) holds no parameter
        for site in sites:
            if site.kind == "const" and _INTEGERS.fullmatch(site.type):
                yield FoundConstant(
                    name=site.name, type=site.type, value=site.value, file=file, line=site.line
                )


def _functions(file: Path, text: str) -> Iterator[FoundFunction]:
    for match in _PYFUNCTION.finditer(text):
        renamed = _RENAMED.search(match[0][: match.start("name") - match.start()])
        yield FoundFunction(
            name=renamed[1] if renamed else match["name"],
            arguments=" ".join(match["arguments"].split()),
            file=file,
        )

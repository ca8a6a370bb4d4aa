"""What cargo is asked and what it answers: workspace, toolchain, configuration, flags, messages.

Nothing here edits or copies sources, and nothing decides whether a build is good: that is
`perfkit.subject.proof`. What rustc was told is in `perfkit.subject.rustc`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic

from perfkit import process, store
from perfkit.errors import ConfigError, UnreadableOutputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PROFILING_FLAGS = ("-Cforce-frame-pointers=yes", "-Cllvm-args=-enable-shrink-wrap=false")
"""What the profiling build adds to rustc: frame pointers, and prologues that stay at the entry.

With shrink-wrapping a hot leaf function sets up its frame late, and a sample that falls before
that loses the caller.
"""

_LIBRARIES = {"lib", "cdylib", "rlib", "dylib", "staticlib"}
"""The kinds of targets that are libraries; a proc macro is none of the extension's."""

QUERY_TIMEOUT_S = 120.0
"""Enough for cargo to read a manifest; a query that compiles nothing never takes this long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """The compiler that builds of a folder get.

    Attributes:
        version: the whole answer of `rustc -vV`.
        host: target triple of the machine.
        environment: what pins the toolchain where a rustup override holds for the user's folder.
    """

    version: str
    host: str
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CargoTarget:
    """One thing that cargo builds from a crate: a library, a program, a bench, a build script."""

    name: str
    kind: tuple[str, ...]
    crate_types: tuple[str, ...]
    src_path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """What a crate asks for; `path` is of one that is on this machine."""

    name: str
    path: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One crate of the workspace, as `cargo metadata` names its parts."""

    id: str
    name: str
    manifest_path: Path
    targets: tuple[CargoTarget, ...]
    dependencies: tuple[Dependency, ...]

    @property
    def folder(self) -> Path:
        """Where its Cargo.toml is."""
        return self.manifest_path.parent

    @property
    def library(self) -> CargoTarget | None:
        """What other crates, or Python, load of it."""
        libraries = (target for target in self.targets if _LIBRARIES & set(target.kind))
        return next(libraries, None)

    @property
    def has_build_script(self) -> bool:
        """Whether a program of the crate runs before it is compiled."""
        return any("custom-build" in target.kind for target in self.targets)

    @property
    def uses(self) -> frozenset[str]:
        """The names of the crates that it asks for, on any target, to build and to test."""
        return frozenset(item.name for item in self.dependencies)

    @property
    def path_dependencies(self) -> tuple[Path, ...]:
        """The folders of the crates that it names by path."""
        return tuple(item.path for item in self.dependencies if item.path is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A cargo workspace: its root and its crates, as `cargo metadata` names them."""

    workspace_root: Path
    packages: tuple[Package, ...]

    def package(self, manifest: Path) -> Package:
        """The crate of a manifest.

        Raises:
            ConfigError: the manifest is of no crate (such as a virtual workspace's).
        """
        for package in self.packages:
            if package.manifest_path == manifest:
                return package
        names = ", ".join(str(package.manifest_path) for package in self.packages)
        message = "is not the Cargo.toml of a crate"
        remedy = f"set subject.manifest to one of: {names}"
        raise ConfigError(message, where=str(manifest), remedy=remedy)

    def owner(self, file: Path) -> Package | None:
        """The crate whose folder holds a file; the innermost where folders are nested."""
        holding = [package for package in self.packages if file.is_relative_to(package.folder)]
        return max(holding, key=lambda package: len(package.folder.parts), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One `compiler-artifact` message."""

    package_id: str
    target: CargoTarget
    fresh: bool
    executable: Path | None
    filenames: tuple[Path, ...]


def toolchain(folder: Path, shadow: Path, environment: Mapping[str, str]) -> Toolchain:
    """Ask for the compiler of a folder, and pin it where the copy would get another one.

    rustup keeps overrides by path, so that the shadow copy can have a different compiler than the
    user's own folder.
    """
    rustc = process.require_program("rustc", environment)

    def ask(place: Path, *words: str) -> str:
        done = process.run([rustc, *words], env=environment, cwd=place, timeout_s=QUERY_TIMEOUT_S)
        return done.stdout.strip()

    version = ask(folder, "-vV")
    pinned: dict[str, str] = {}
    if ask(shadow, "-vV") != version:
        pinned["RUSTUP_TOOLCHAIN"] = Path(ask(folder, "--print", "sysroot")).name
    match = re.search(r"^host: (\S+)$", version, re.MULTILINE)
    if match is None:
        message = "`rustc -vV` does not name its host"
        raise UnreadableOutputError(message, details=version)
    return Toolchain(version=version, host=match[1], environment=pinned)


def workspace(manifest: Path, environment: Mapping[str, str]) -> Workspace:
    """Read the workspace of a manifest with `cargo metadata --no-deps`, which resolves nothing.

    Raises:
        ConfigError: cargo cannot read the manifest.
    """
    if not manifest.is_file():
        message = "there is no Cargo.toml here"
        remedy = "set subject.manifest to the Cargo.toml of the crate that maturin builds"
        raise ConfigError(message, where=str(manifest), remedy=remedy)
    cargo = process.require_program("cargo", environment)
    words = ("metadata", "--no-deps", "--offline", "--format-version=1", "--manifest-path")
    done = process.run(
        [cargo, *words, manifest],
        env=environment,
        cwd=manifest.parent,
        timeout_s=QUERY_TIMEOUT_S,
        ok_codes=None,
    )
    if done.returncode != 0:
        message = "cargo cannot read this manifest"
        details = process.tail(done.stderr)
        raise ConfigError(message, where=str(manifest), details=details, remedy="correct it")
    return pydantic.TypeAdapter(Workspace).validate_json(done.stdout)


def closure(packages: Iterable[Package], package: Package) -> list[Package]:
    """A crate and every one of some crates that it depends on by path."""
    by_folder = {item.folder: item for item in packages}
    found = [package]
    for item in found:  # grows while it is walked
        for folder in item.path_dependencies:
            dependency = by_folder.get(folder)
            if dependency is not None and dependency not in found:
                found.append(dependency)
    return found


def config_files(folder: Path, environment: Mapping[str, str]) -> list[Path]:
    """The `.cargo/config.toml` files that cargo reads in a folder, nearest first, home last."""
    places = [parent / ".cargo" for parent in (folder, *folder.parents)]
    home = cargo_home(environment)
    if home is not None and home not in places:
        places.append(home)
    names = ("config", "config.toml")  # cargo prefers the old name where both exist
    files = ([place / name for name in names if (place / name).is_file()] for place in places)
    return [found[0] for found in files if found]


def cargo_home(environment: Mapping[str, str]) -> Path | None:
    """Where cargo keeps its own files, if the environment says it."""
    if environment.get("CARGO_HOME"):
        return Path(environment["CARGO_HOME"])
    return Path(environment["HOME"]) / ".cargo" if environment.get("HOME") else None


def flag_arguments(
    flags: Sequence[str],
    *,
    configs: Sequence[Mapping[str, Any]],
    host: str,
    environment: Mapping[str, str],
) -> tuple[list[str], dict[str, str]]:
    """How to add rustc flags so that they join the user's own instead of replacing them.

    Cargo takes flags from the first of these that has any: `CARGO_ENCODED_RUSTFLAGS`, `RUSTFLAGS`,
    `target.<triple>.rustflags` together with every `target.<cfg>.rustflags` that holds, and
    `build.rustflags`. An array given by `--config` joins the same key of the files; so the key
    must be the one that is in force.

    Returns:
        Arguments for cargo or maturin, and environment variables to set.
    """
    if not flags:
        return [], {}
    if environment.get("CARGO_ENCODED_RUSTFLAGS"):
        joined = "\x1f".join([environment["CARGO_ENCODED_RUSTFLAGS"], *flags])
        return [], {"CARGO_ENCODED_RUSTFLAGS": joined}
    if environment.get("RUSTFLAGS"):
        return [], {"RUSTFLAGS": " ".join([environment["RUSTFLAGS"], *flags])}
    triple = build_setting("target", "CARGO_BUILD_TARGET", configs, environment) or host
    key = f"target.{triple}" if _target_has_flags(configs, triple, environment) else "build"
    return ["--config", f"{key}.rustflags={json.dumps(list(flags))}"], {}


def build_setting(
    name: str, variable: str, configs: Sequence[Mapping[str, Any]], environment: Mapping[str, str]
) -> str | None:
    """A setting of `[build]`, which a variable overrides; None without one."""
    if environment.get(variable):
        return environment[variable]
    for config in configs:
        value = config.get("build", {}).get(name)
        if isinstance(value, list) and len(value) == 1:  # `target` may be several
            return str(value[0])
        if isinstance(value, str):
            return value
    return None


def _target_has_flags(
    configs: Sequence[Mapping[str, Any]], triple: str, environment: Mapping[str, str]
) -> bool:
    variable = f"CARGO_TARGET_{triple.upper().replace('-', '_').replace('.', '_')}_RUSTFLAGS"
    if environment.get(variable):
        return True
    named = [
        name
        for config in configs
        for name, table in config.get("target", {}).items()
        if isinstance(table, dict) and table.get("rustflags")
    ]
    if triple in named:
        return True
    expressions = [name for name in named if name.startswith("cfg(")]
    facts = cfg_facts(triple, environment) if expressions else []
    return any(cfg_holds(expression, facts) for expression in expressions)


def cfg_facts(triple: str, environment: Mapping[str, str]) -> Sequence[str]:
    """Ask rustc what holds for a target: lines such as `unix` and `target_os="linux"`."""
    rustc = process.require_program("rustc", environment)
    done = process.run([rustc, "--print", "cfg", "--target", triple], env=environment, timeout_s=60)
    return done.stdout.splitlines()


def cfg_holds(expression: str, facts: Sequence[str]) -> bool:
    """Whether `cfg(...)` holds.

    Raises:
        ConfigError: it is not such an expression.
    """
    from perfkit import _engine  # here, because most builds need no engine

    try:
        return _engine.cfg_holds(expression, facts)
    except _engine.EngineInputError as error:
        message = f"`{expression}` in a .cargo/config.toml is not a cfg expression"
        remedy = "correct it as the cargo reference describes it"
        raise ConfigError(message, details=str(error), remedy=remedy) from error


def write_tools(folder: Path) -> tuple[Path, Path]:
    """Put the cargo shim and the rustc wrapper into a folder; returns their paths.

    Written only when they differ: cargo looks at the wrapper's modification time.
    """
    shim, wrapper = folder / "cargo", folder / "rustc-wrapper"
    for place in (shim, wrapper):
        text = resources.files("perfkit.subject").joinpath(f"{place.name}.sh").read_bytes()
        if not place.is_file() or place.read_bytes() != text:
            store.write_whole(place, text)
        place.chmod(0o755)
    return shim, wrapper


def read_artifacts(text: str) -> list[Artifact]:
    """The `compiler-artifact` messages of a build.

    Raises:
        UnreadableOutputError: a line is not a JSON message.
    """
    reader = pydantic.TypeAdapter(Artifact)
    artifacts = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.startswith("{"):
            continue  # a build script or a proc macro that prints
        try:
            message = json.loads(line)
            if message["reason"] == "compiler-artifact":
                artifacts.append(reader.validate_python(message))
        except (ValueError, KeyError) as error:
            reason = f"cannot understand cargo's message in line {number}: {error}"
            raise UnreadableOutputError(reason, details=line[:500]) from error
    return artifacts

"""What cargo is asked and what it answers: workspace, toolchain, flags, messages, rustc lines.

Nothing here edits or copies sources, and nothing decides whether a build is good: that is
`perfkit.subject.evidence`. The known error texts are in `perfkit.subject.remedies`.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfkit import process
from perfkit.errors import BuildError, ConfigError, UnreadableOutputError
from perfkit.subject import cfg

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PROFILING_FLAGS = ("-Cforce-frame-pointers=yes", "-Cllvm-args=-enable-shrink-wrap=false")
"""What the profiling build adds to rustc: frame pointers, and prologues that stay at the entry.

With shrink-wrapping a hot leaf function sets up its frame late, and a sample that falls before
that loses the caller.
"""

QUERY_TIMEOUT_S = 120.0
"""Enough for cargo to read a manifest; a query that compiles nothing never takes this long."""

# Cargo's messages reach maturin on a pipe; this puts a copy of them into a file. `CARGO` itself is
# taken away again, because cargo would hand it on to build scripts.
_CARGO_SHIM = """#!/bin/sh
unset CARGO
if [ "$1" != rustc ]; then exec "$PERFKIT_CARGO" "$@"; fi
exec 4>&1
status=$( { { "$PERFKIT_CARGO" "$@" 4>&- ; echo $? >&3; } | tee "$PERFKIT_MESSAGES" >&4; } 3>&1 )
exit "$status"
"""

# One file per rustc process, arguments separated by NUL: the lines as they were, not as printed.
_RUSTC_WRAPPER = """#!/bin/sh
printf '%s\\0' "$@" > "$PERFKIT_RUSTC_LINES/$$"
if [ -n "$PERFKIT_INNER_WRAPPER" ]; then exec "$PERFKIT_INNER_WRAPPER" "$@"; fi
exec "$@"
"""


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
class Package:
    """One crate of the workspace."""

    id: str
    name: str
    manifest: Path
    lib_source: Path | None
    lib_name: str
    path_dependencies: tuple[Path, ...]
    has_build_script: bool

    @property
    def folder(self) -> Path:
        """Where its Cargo.toml is."""
        return self.manifest.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A cargo workspace: its root and its crates."""

    root: Path
    packages: tuple[Package, ...]

    def package(self, manifest: Path) -> Package:
        """The crate of a manifest.

        Raises:
            ConfigError: the manifest is of no crate (such as a virtual workspace's).
        """
        for package in self.packages:
            if package.manifest == manifest:
                return package
        names = ", ".join(str(package.manifest) for package in self.packages)
        message = "is no crate's Cargo.toml"
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
    target: str
    kinds: tuple[str, ...]
    crate_types: tuple[str, ...]
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
        name = Path(ask(folder, "--print", "sysroot")).name
        pinned = {"RUSTUP_TOOLCHAIN": name}
    match = re.search(r"^host: (\S+)$", version, re.MULTILINE)
    if match is None:
        message = "`rustc -vV` does not name its host"
        raise UnreadableOutputError(message, details=version)
    return Toolchain(version=version, host=match[1], environment=pinned)


def workspace_root(manifest: Path, environment: Mapping[str, str]) -> Path:
    """The folder of the workspace that a manifest belongs to; reads only.

    Raises:
        ConfigError: cargo cannot read the manifest.
    """
    answer = _query(
        ["locate-project", "--workspace", "--message-format=plain", "--manifest-path", manifest],
        manifest,
        environment,
    )
    return Path(answer.strip()).parent


def workspace(manifest: Path, environment: Mapping[str, str]) -> Workspace:
    """Read the workspace of a manifest with `cargo metadata --no-deps`, which resolves nothing.

    Raises:
        ConfigError: cargo cannot read the manifest.
    """
    answer = _query(
        ["metadata", "--no-deps", "--offline", "--format-version=1", "--manifest-path", manifest],
        manifest,
        environment,
    )
    document = json.loads(answer)
    return Workspace(
        root=Path(document["workspace_root"]),
        packages=tuple(_package(item) for item in document["packages"]),
    )


def _query(words: Sequence[str | Path], manifest: Path, environment: Mapping[str, str]) -> str:
    if not manifest.is_file():
        message = "there is no such Cargo.toml"
        remedy = "set subject.manifest to the Cargo.toml of the crate that maturin builds"
        raise ConfigError(message, where=str(manifest), remedy=remedy)
    cargo = process.require_program("cargo", environment)
    done = process.run(
        [cargo, *words],
        env=environment,
        cwd=manifest.parent,
        timeout_s=QUERY_TIMEOUT_S,
        ok_codes=None,
    )
    if done.returncode != 0:
        message = "cargo cannot read this manifest"
        details = process.tail(done.stderr)
        raise ConfigError(message, where=str(manifest), details=details, remedy="correct it")
    return done.stdout


def _package(item: Mapping[str, Any]) -> Package:
    kinds = {"lib", "cdylib", "rlib", "dylib", "staticlib"}
    libs = [target for target in item["targets"] if kinds & set(target["kind"])]
    return Package(
        id=item["id"],
        name=item["name"],
        manifest=Path(item["manifest_path"]),
        lib_source=Path(libs[0]["src_path"]) if libs else None,
        lib_name=libs[0]["name"] if libs else item["name"].replace("-", "_"),
        has_build_script=any("custom-build" in target["kind"] for target in item["targets"]),
        path_dependencies=tuple(
            Path(dependency["path"])
            for dependency in item["dependencies"]
            if dependency.get("path")
        ),
    )


def config_files(folder: Path, environment: Mapping[str, str]) -> list[Path]:
    """The `.cargo/config.toml` files that cargo reads in a folder, nearest first, home last."""
    places = [parent / ".cargo" for parent in (folder, *folder.parents)]
    home = cargo_home(environment)
    if home is not None and home not in places:
        places.append(home)
    found = []
    for place in places:
        for name in ("config", "config.toml"):  # cargo prefers the old name where both exist
            if (place / name).is_file():
                found.append(place / name)
                break
    return found


def cargo_home(environment: Mapping[str, str]) -> Path | None:
    """Where cargo keeps its own files, if the environment says it."""
    if environment.get("CARGO_HOME"):
        return Path(environment["CARGO_HOME"])
    return Path(environment["HOME"]) / ".cargo" if environment.get("HOME") else None


def read_config(file: Path) -> dict[str, Any]:
    """A `.cargo/config.toml` as tables.

    Raises:
        ConfigError: it is no TOML.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"is no TOML: {error}"
        raise ConfigError(message, where=str(file), remedy="correct it; cargo reads it") from error


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
    triple = build_target(configs, environment) or host
    key = f"target.{triple}" if _target_has_flags(configs, triple, environment) else "build"
    return ["--config", f"{key}.rustflags={json.dumps(list(flags))}"], {}


def build_target(
    configs: Sequence[Mapping[str, Any]], environment: Mapping[str, str]
) -> str | None:
    """The triple that the configuration or the environment builds for, if one is set."""
    if environment.get("CARGO_BUILD_TARGET"):
        return environment["CARGO_BUILD_TARGET"]
    for config in configs:
        value = config.get("build", {}).get("target")
        if isinstance(value, str):
            return value
        if isinstance(value, list) and len(value) == 1:
            return str(value[0])
    return None


def inner_wrapper(
    configs: Sequence[Mapping[str, Any]], environment: Mapping[str, str]
) -> str | None:
    """The user's own workspace wrapper of rustc, which perfkit's has to start in turn."""
    if environment.get("RUSTC_WORKSPACE_WRAPPER"):
        return environment["RUSTC_WORKSPACE_WRAPPER"]
    for config in configs:
        value = config.get("build", {}).get("rustc-workspace-wrapper")
        if isinstance(value, str):
            return value
    return None


def _target_has_flags(
    configs: Sequence[Mapping[str, Any]], triple: str, environment: Mapping[str, str]
) -> bool:
    variable = f"CARGO_TARGET_{triple.upper().replace('-', '_').replace('.', '_')}_RUSTFLAGS"
    if environment.get(variable):
        return True
    facts: Sequence[str] | None = None
    for config in configs:
        for name, table in config.get("target", {}).items():
            if not isinstance(table, dict) or not table.get("rustflags"):
                continue
            if name == triple:
                return True
            if name.startswith("cfg("):
                if facts is None:
                    facts = cfg.facts(triple, environment)
                if cfg.holds(name, facts):
                    return True
    return False


def write_tools(folder: Path) -> tuple[Path, Path]:
    """Put the cargo shim and the rustc wrapper into a folder; returns their paths.

    Written only when they differ: cargo looks at the wrapper's modification time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    places = []
    for name, text in (("cargo", _CARGO_SHIM), ("rustc-wrapper", _RUSTC_WRAPPER)):
        place = folder / name
        if not place.is_file() or place.read_text(encoding="utf-8") != text:
            place.write_text(text, encoding="utf-8")
        place.chmod(0o755)
        places.append(place)
    return places[0], places[1]


def read_artifacts(text: str) -> list[Artifact]:
    """The `compiler-artifact` messages of a build.

    Raises:
        UnreadableOutputError: a line is no JSON message.
    """
    artifacts = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.startswith("{"):
            continue  # a build script or a proc macro that prints
        try:
            message = json.loads(line)
            if message["reason"] != "compiler-artifact":
                continue
            target = message["target"]
            executable = message.get("executable")
            artifacts.append(
                Artifact(
                    package_id=message["package_id"],
                    target=target["name"],
                    kinds=tuple(target["kind"]),
                    crate_types=tuple(sorted(target["crate_types"])),
                    fresh=message["fresh"],
                    executable=Path(executable) if executable else None,
                    filenames=tuple(Path(name) for name in message["filenames"]),
                )
            )
        except (ValueError, KeyError, TypeError) as error:
            reason = f"cargo's message in line {number} is not understood: {error}"
            raise UnreadableOutputError(reason, details=line[:500]) from error
    return artifacts


@dataclass(frozen=True, slots=True, kw_only=True)
class RustcLine:
    """One actual rustc command line, read back from the wrapper."""

    words: tuple[str, ...]

    @property
    def crate(self) -> str:
        """`--crate-name`."""
        return self.option("--crate-name") or ""

    @property
    def crate_types(self) -> tuple[str, ...]:
        """Every `--crate-type`, sorted."""
        found = [b for a, b in zip(self.words, self.words[1:], strict=False) if a == "--crate-type"]
        return tuple(sorted(found))

    @property
    def is_test(self) -> bool:
        """Compiled as a test or bench harness."""
        return "--test" in self.words

    @property
    def opt_level(self) -> str:
        """The optimisation level in force: the last one named, or rustc's default `0`."""
        level = "0"
        for word in _joined(self.words):
            if word == "-O":
                level = "3"
            elif word.startswith("-Copt-level="):
                level = word.partition("=")[2]
        return level

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes two lines the same unit of a build, compiled once more."""
        kinds = ("test",) if self.is_test else ()
        return (self.crate, *self.crate_types, self.codegen("metadata") or "", *kinds)

    def codegen(self, name: str) -> str | None:
        """The last value of a `-C name=value`, None without it."""
        found = None
        for word in _joined(self.words):
            if word.startswith(f"-C{name}="):
                found = word.partition("=")[2]
        return found

    def option(self, name: str) -> str | None:
        """The value behind an option, None without it."""
        for first, second in zip(self.words, self.words[1:], strict=False):
            if first == name:
                return second
        return None

    def show(self) -> str:
        """As a person would type it."""
        return shlex.join(self.words)


def collect_lines(folder: Path) -> list[RustcLine]:
    """The lines that the wrapper left behind, oldest first, without cargo's own questions."""
    lines = []
    for file in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        words = tuple(file.read_bytes().decode("utf-8", "surrogateescape").split("\0")[:-1])
        line = RustcLine(words=words)
        if line.crate not in ("", "___"):
            lines.append(line)
    return lines


def parse_line(text: str) -> RustcLine:
    """A line as `RustcLine.show` printed it."""
    return RustcLine(words=tuple(shlex.split(text)))


def normalised(line: RustcLine) -> tuple[str, ...]:
    """A line without what differs between two target directories: their paths and cargo's hashes.

    Source: cargo puts a hash over profile and flags into `-C metadata`, `-C extra-filename` and
    the names of the files it passes on.
    """
    words: list[str] = []
    results = line.option("--out-dir") or ""
    target = re.sub(r"/target/[0-9a-f]{12}(?=/|$).*", "", results)
    for word in _joined(line.words):
        if word.startswith(("-Cmetadata=", "-Cextra-filename=")):
            continue
        bare = re.sub(re.escape(target) + r"/target/[0-9a-f]{12}(?=/|$)", "<target>", word)
        words.append(re.sub(r"-[0-9a-f]{16}(?=[./]|$)", "", bare))
    return tuple(words)


def _joined(words: Iterable[str]) -> list[str]:
    """`-C`, `x` as `-Cx`, so that a flag is one word."""
    result: list[str] = []
    pending = False
    for word in words:
        if pending:
            result.append("-C" + word)
            pending = False
        elif word in ("-C", "--codegen"):
            pending = True
        else:
            result.append(word)
    return result


def only_added(
    release: Sequence[str], profiling: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What differs between two normalised lines besides what a profiling build is meant to add.

    Returns:
        Words of the release line that are missing, and words of the profiling line that nobody
        asked for; both empty when the two builds are of one kind.
    """

    def is_meant(word: str) -> bool:
        return word in PROFILING_FLAGS or word.startswith(("-Cdebuginfo=", "-Cstrip="))

    left, right = list(release), list(profiling)
    for word in list(left):
        if word in right:
            left.remove(word)
            right.remove(word)
    return (
        tuple(word for word in left if not is_meant(word)),
        tuple(word for word in right if not is_meant(word)),
    )


def profiling_lacks(line: RustcLine) -> list[str]:
    """What a profiling build's line should say and does not, or takes back further on."""
    wanted = {
        "force-frame-pointers": ("yes", "y", "on", "true", "always"),
        "debuginfo": ("line-tables-only",),
        "strip": (None, "none"),
    }
    lacks = [
        f"-C {name} is {line.codegen(name)!r}"
        for name, good in wanted.items()
        if line.codegen(name) not in good
    ]
    if PROFILING_FLAGS[1] not in _joined(line.words):
        lacks.append(f"{PROFILING_FLAGS[1]} is missing")
    return lacks


def crate_line(lines: Sequence[RustcLine], artifact: Artifact) -> RustcLine | None:
    """The newest line that compiled an artifact."""
    name = artifact.target.replace("-", "_")
    folders = {str(file.parent) for file in artifact.filenames}
    folders |= {str(file.parent / "deps") for file in artifact.filenames}
    for line in reversed(lines):
        if line.crate != name or line.option("--out-dir") not in folders:
            continue
        if artifact.executable is not None:
            if artifact.executable.name == name + (line.codegen("extra-filename") or ""):
                return line
        elif line.crate_types == artifact.crate_types:
            return line
    return None


def refuse_debug(line: RustcLine, profile: str) -> None:
    """Refuse a build without optimisation that nobody asked for.

    Raises:
        BuildError: the crate was compiled with `opt-level=0` under a release profile.
    """
    if line.opt_level != "0" or profile not in ("release", "bench"):
        return
    message = f"the crate `{line.crate}` was compiled without optimisation (opt-level 0)"
    remedy = (
        f"set opt-level in [profile.{profile}] of the workspace's Cargo.toml, "
        "or name another profile in subject.profile"
    )
    raise BuildError(message, details=line.show(), remedy=remedy)

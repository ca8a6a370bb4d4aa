"""What a build's command line and environment are made of: words, flags, folders, names.

Pure but for reading the project's own files; nothing here starts a build or keeps its result.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tomllib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from perfkit import store
from perfkit.errors import BuildError, ConfigError
from perfkit.records import Profile
from perfkit.subject import cargo, inputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.config import Project
    from perfkit.subject.shadow import SourceTree


def digest(value: object) -> str:
    """A hash over anything that has a place in a record."""
    text = json.dumps(store.to_json(value), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def entry_name(base: str, decisive: inputs.Inputs) -> str:
    """The name of a cache entry: everything but the sources, then the sources that count."""
    return f"{base}-{digest(dict(decisive.hashes))[:12]}"


def read_inputs(document: Mapping[str, Any]) -> inputs.Inputs:
    """What decided a cached build; something that matches nothing where the record is broken."""
    try:
        value = document["inputs"]
        return inputs.Inputs(
            folders=tuple(value["folders"]), files=tuple(value["files"]), hashes=value["hashes"]
        )
    except (KeyError, TypeError):
        return inputs.Inputs(folders=(), files=(), hashes={"": "unreadable"})


def interpreter(project: Project) -> Path:
    """The project's own interpreter; a venv's `python` is a link that must stay one."""
    named = project.config.subject.python
    return Path(sys.executable) if named is None else project.root / named


def maturin() -> list[str]:
    """The maturin of perfkit's own environment."""
    beside = Path(sys.executable).with_name("maturin")
    return [str(beside)] if beside.is_file() else [sys.executable, "-m", "maturin"]


def project_folder(tree: SourceTree, manifest: PurePosixPath) -> PurePosixPath:
    """Where `maturin build` is run: beside the pyproject.toml that it takes, relative to the tree.

    Cargo looks for `.cargo/config.toml` from there upward.
    """
    for folder in (manifest.parent, *manifest.parent.parents):
        if (folder / "pyproject.toml").as_posix() in tree.files:
            return folder
    return manifest.parent


def distribution(folder: Path, package: cargo.Package) -> str:
    """The name that the wheel must have: the pyproject's, else the crate's."""
    file = folder / "pyproject.toml"
    if not file.is_file():
        return package.name
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"is no TOML: {error}"
        raise ConfigError(message, where=str(file), remedy="correct it") from error
    return str(document.get("project", {}).get("name", package.name))


def extra_flags(
    profile: Profile,
    cargo_profile: str,
    configs: Sequence[Mapping[str, Any]],
    host: str,
    environment: Mapping[str, str],
    codegen: Mapping[str, str] | None = None,
) -> tuple[list[str], dict[str, str]]:
    """What a build adds, as arguments and variables; nothing for a release build as it is shipped.

    Args:
        codegen: settings of the cargo profile to replace, as TOML: `{"lto": '"thin"'}`.
    """
    replaced: list[str] = []
    for name, value in (codegen or {}).items():
        replaced += ["--config", f"profile.{cargo_profile}.{name}={value}"]
    if profile is Profile.RELEASE:
        return replaced, {}
    words, variables = cargo.flag_arguments(
        cargo.PROFILING_FLAGS, configs=configs, host=host, environment=environment
    )
    words += ["--config", f'profile.{cargo_profile}.debug="line-tables-only"']
    words += ["--config", f'profile.{cargo_profile}.strip="none"']
    return [*words, *replaced], variables


def shadow_folder(base: Path, root: Path, environment: Mapping[str, str]) -> Path:
    """Where the copy of a tree lies, below the cargo configurations that hold above the tree.

    Cargo reads `.cargo/config.toml` in every folder above. Those above the user's tree are put
    above the copy, in the same order; those that hold above both already do.

    Raises:
        BuildError: one would hold for the copy and does not hold for the user's tree.
    """
    above_tree = cargo.config_files(root.parent, environment)
    above_copy = cargo.config_files(base, environment)
    own = [file for file in above_copy if not file.is_relative_to(base)]
    foreign = [file for file in own if file not in above_tree]
    if foreign:
        message = "a cargo configuration above perfkit's cache would change every build"
        remedy = "set PERFKIT_CACHE_DIR to a folder that it does not hold for"
        raise BuildError(message, where=str(foreign[0]), remedy=remedy)
    folder = base
    missing = [file for file in above_tree if file not in own]
    for level, file in enumerate(reversed(missing)):
        folder = folder / f"above-{level}"
        content = file.read_bytes()
        target = folder / ".cargo" / "config.toml"
        if not target.is_file() or target.read_bytes() != content:
            store.write_whole(target, content)
    return folder / "tree"


def maturin_words(
    *,
    manifest: Path,
    out: Path,
    target: Path,
    cargo_profile: str,
    features: Sequence[str],
    python: Path,
    flags: Sequence[str],
    profile: Profile,
) -> list[str | Path]:
    """The arguments of `maturin build`."""
    words: list[str | Path] = ["build", "--manifest-path", manifest, "--out", out]
    words += ["--profile", cargo_profile, "--target-dir", target, "--interpreter", python]
    if features:
        words += ["--features", ",".join(features)]
    # The tag of this machine alone: libraries are neither searched nor copied into the wheel.
    words += ["--compatibility", "linux", "--compression-method", "stored"]
    if profile is Profile.PROFILING:
        words += ["--strip", "false"]  # wins over `strip = true` in [tool.maturin]
    return [*words, *flags]


def bench_words(
    *,
    manifest: Path,
    bench: str,
    target: Path,
    cargo_profile: str,
    features: Sequence[str],
    flags: Sequence[str],
) -> list[str]:
    """The arguments of `cargo bench`; the subject's profile, so that like is compared with like."""
    words = ["--bench", bench, "--manifest-path", str(manifest), "--target-dir", str(target)]
    words += ["--profile", cargo_profile]
    if features:
        words += ["--features", ",".join(features)]
    return [*words, *flags]

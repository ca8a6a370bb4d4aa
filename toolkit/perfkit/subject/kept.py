"""Builds as they lie in the cache: written as JSON, read back, and the facts taken from their
files. Whether a cached build is used is decided in `build.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfkit import store
from perfkit.errors import StoreError
from perfkit.records import Build, Note, ParameterProof, Profile, Proof
from perfkit.subject import wheel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.records import Value

BUILD_FILE = "build.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchBuild:
    """A compiled criterion bench.

    Attributes:
        executable: the bench, copied away from cargo's folder, which the next build overwrites.
        file_sha256: of the executable.
        rustc: the actual rustc command lines of the workspace's own crates, the bench's last.
        directory: the bench's crate in the copied tree: where cargo would start it.
        manifest: its Cargo.toml there.
        environment: whole environment for starting it, libpython's folder included if it needs it.
        arguments: what follows `cargo bench` to build it once more, for tools that call cargo.
        cargo_environment: whole environment for such a tool.
        build_s: wall clock of the build, seconds; of the original one where it came from the cache.
    """

    key: str
    executable: Path
    file_sha256: str
    profile: Profile
    params: Mapping[str, Value]
    opt_level: str
    rustc: tuple[str, ...]
    directory: Path
    manifest: Path
    environment: Mapping[str, str]
    arguments: tuple[str, ...]
    cargo_environment: Mapping[str, str]
    build_s: float
    cached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """An extension in an unpacked wheel, and the hashes that say which one it is."""

    root: Path
    module_file: Path
    file_sha256: str
    text_sha256: str
    data_sha256: str


def describe_root(temporary: Path, final: Path, module: str) -> Unpacked:
    """Find and hash the extension of a wheel that is unpacked in one folder and will be in another.

    Raises:
        BuildError: there is no such module in it.
    """
    file = wheel.find_module(temporary, module)
    text, data = wheel.loaded_hashes(file)
    return Unpacked(
        root=final,
        module_file=final / file.relative_to(temporary),
        file_sha256=wheel.file_hash(file),
        text_sha256=text,
        data_sha256=data,
    )


def fields_of(found: Unpacked) -> dict[str, Any]:
    """The fields of a build that its files say."""
    return {name: getattr(found, name) for name in Unpacked.__slots__}


def save(folder: Path, build: Build | BenchBuild, circumstances: Mapping[str, object]) -> None:
    """Write a build's record with what led to it."""
    document = {"build": store.to_json(build), **circumstances}
    store.write_whole(folder / BUILD_FILE, store.dump_json(document))


def read_build(value: Mapping[str, Any]) -> Build:
    """A build from its record.

    Raises:
        KeyError, TypeError, ValueError: the record is not one of a build.
    """
    fields = dict(value)
    fields.update(
        root=Path(value["root"]),
        module_file=Path(value["module_file"]),
        profile=Profile(value["profile"]),
        proofs=tuple(
            ParameterProof(name=item["name"], value=item["value"], proof=Proof(item["proof"]))
            for item in value["proofs"]
        ),
        rustc=tuple(value["rustc"]),
        notes=tuple(Note(**item) for item in value["notes"]),
        cached=True,
    )
    return Build(**fields)


def newest(builds: Path) -> tuple[Build, float] | None:
    """The release build of the user's own sources that was made last, and when that was.

    Copies, wheels of others, and records that are damaged do not count.
    """
    files = {
        file: file.stat().st_mtime
        for file in builds.glob(f"*/{BUILD_FILE}")
        if not file.parent.name.startswith((".", "wheel-"))
        and not file.parent.name.endswith("-copy")
    }
    for file in sorted(files, key=lambda file: files[file], reverse=True):
        try:
            build = read_build(store.read_json(file)["build"])
        except (KeyError, TypeError, ValueError, StoreError):
            continue
        if build.profile is Profile.RELEASE and build.module_file.is_file():
            return build, files[file]
    return None


def read_bench(value: Mapping[str, Any]) -> BenchBuild:
    """A bench build from its record.

    Raises:
        KeyError, TypeError, ValueError: the record is not one of a bench build.
    """
    fields = dict(value)
    fields.update(
        executable=Path(value["executable"]),
        profile=Profile(value["profile"]),
        rustc=tuple(value["rustc"]),
        directory=Path(value["directory"]),
        manifest=Path(value["manifest"]),
        arguments=tuple(value["arguments"]),
        cached=True,
    )
    return BenchBuild(**fields)

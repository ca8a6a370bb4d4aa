"""Where a project's copy and its builds are in the cache: the folders, the lock on them, and the
builds as they are written and read back. What is built is decided in `builder.py`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Mapping  # noqa: TC003  # `from_json` reads the annotations
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  # likewise
from typing import IO, TYPE_CHECKING, TypeVar

import psutil

from perfkit import environment, store
from perfkit.errors import BuildError, ConfigError, StoreError
from perfkit.records import Build, Profile
from perfkit.subject import cargo, shadow, wheel
from perfkit.subject.inputs import Inputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from perfkit.config import Project

LOCK_TIMEOUT_S = 3600.0
"""As long as a build may take: whatever holds the lock for longer hangs."""

BUILD_FILE = "build.json"

_POLL_S = 0.1
"""How often the lock is tried again; a build takes seconds."""


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
    """

    key: str
    executable: Path
    file_sha256: str
    rustc: tuple[str, ...]
    directory: Path
    manifest: Path
    environment: Mapping[str, str]
    cached: bool = False


Made = TypeVar("Made", Build, BenchBuild)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlace:
    """Where a project's copy and builds are, and what holds for all its builds.

    Attributes:
        tree_root: the root of the user's tree, which is only read.
        is_git: whether that is a git repository.
        folder: the project's folder in the cache.
        shadow: the copy of the tree that builds run in.
        base: the environment of everything that is started there.
    """

    tree_root: Path
    is_git: bool
    folder: Path
    shadow: Path
    base: Mapping[str, str]

    @property
    def builds(self) -> Path:
        return self.folder / "builds"

    @property
    def state(self) -> Path:
        return self.folder / "shadow.json"


def project_folder(project: Project, cache: Path) -> Path:
    """Where everything of one project is in the cache."""
    return cache / "projects" / store.project_key(project.root)


def find_place(project: Project, cache: Path) -> BuildPlace:
    """Find out what to copy, and where to.

    Raises:
        ConfigError: the crate, its workspace or the config is outside the tree.
        BuildError: a cargo configuration would hold for the copy alone.
    """
    folder = project_folder(project, cache)
    subject = project.config.subject
    base = environment.base_environment(
        project.environ, extra=subject.environment, passed=subject.pass_environment
    )
    root, is_git, copy = project.root.resolve(), False, folder / "shadow"
    if subject.wheel is None:  # a wheel is neither copied nor built
        members = cargo.workspace(project.manifest, base).workspace_root
        found, is_git = shadow.tree_root(members, base)
        if is_git:
            root = found
        elif root.is_relative_to(members):
            root = members
        for needed in (members, project.manifest.parent, project.root.resolve()):
            if not needed.is_relative_to(root):
                message = f"{needed} is outside the tree to copy, {root}"
                remedy = "put perfkit.toml at the root of the repository that holds the crate"
                raise ConfigError(message, where=str(project.file), remedy=remedy)
        copy = _copy_folder(copy, root, base)
    return BuildPlace(tree_root=root, is_git=is_git, folder=folder, shadow=copy, base=base)


def _copy_folder(base: Path, root: Path, variables: Mapping[str, str]) -> Path:
    """Where the copy of a tree is, below the cargo configurations that hold above the tree.

    Cargo reads `.cargo/config.toml` in every folder above. Those above the user's tree are put
    above the copy, in the same order; those that hold above both already do.

    Raises:
        BuildError: one would hold for the copy and does not hold for the user's tree.
    """
    above_tree = cargo.config_files(root.parent, variables)
    above_copy = cargo.config_files(base, variables)
    own = [file for file in above_copy if not file.is_relative_to(base)]
    foreign = [file for file in own if file not in above_tree]
    if foreign:
        message = "a cargo configuration above perfkit's cache would change every build"
        remedy = "set PERFKIT_CACHE_DIR to a folder outside its reach"
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


@contextlib.contextmanager
def locked(place: BuildPlace, progress: Callable[[str], None]) -> Iterator[int]:
    """One build at a time in one shadow copy, also after a perfkit that was killed.

    The lock belongs to an open file. What is started in the copy inherits that file, so that the
    lock is held until the last of these processes has ended: a cargo that outlives a `kill -9` of
    its perfkit still reads the copy, which must not be rewritten under it.

    Yields:
        The descriptor to hand to every program that is started in the copy.

    Raises:
        BuildError: another build of the project does not end.
        StoreError: the cache is on a file system without locks.
    """
    place.folder.mkdir(parents=True, exist_ok=True)
    with (place.folder / "build.lock").open("ab") as stream:
        _acquire(stream, progress)
        try:
            yield stream.fileno()
        finally:
            # Closing is not enough: a server that the build started, such as that of a compiler
            # cache, keeps the file open.
            fcntl.flock(stream, fcntl.LOCK_UN)


def _acquire(stream: IO[bytes], progress: Callable[[str], None]) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    told = False
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        except OSError as error:
            message = f"the cache's file system does not support locks: {error.strerror}"
            remedy = "set PERFKIT_CACHE_DIR to a folder on another file system"
            raise StoreError(message, where=stream.name, remedy=remedy) from error
        else:
            return
        if not told:
            progress(f"waiting for another build of this project to end: {_users(stream.name)}")
            told = True
        if time.monotonic() > deadline:
            message = f"another build of this project has not ended for {LOCK_TIMEOUT_S:g} s"
            remedy = f"end what still runs: {_users(stream.name)}"
            raise BuildError(message, where=stream.name, remedy=remedy)
        time.sleep(_POLL_S)


def _users(name: str) -> str:
    """The other processes that have a file open, as `process 123 (cargo)`."""
    path = os.path.realpath(name)
    found = [
        f"process {process.pid} ({process.info['name']})"
        for process in psutil.process_iter(["name", "open_files"])
        if process.pid != os.getpid()
        and any(file.path == path for file in process.info["open_files"] or ())
    ]
    return ", ".join(found) or "a process of another user"


@contextlib.contextmanager
def scratch(place: BuildPlace) -> Iterator[Path]:
    """A folder in which a build is put together; it vanishes unless `keep` has taken it."""
    place.builds.mkdir(parents=True, exist_ok=True)
    for left in place.builds.glob(".*.tmp"):  # of builds that were killed
        shutil.rmtree(left, ignore_errors=True)
    folder = place.builds / f".{secrets.token_hex(8)}.tmp"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def keep(entry: Path, folder: Path, build: Made, facts: Mapping[str, object]) -> Made:
    """Make a folder the cache entry of the build in it, in place of an earlier one.

    Returns:
        The build in its entry.
    """
    build = moved(build, folder, entry)
    store.write_whole(folder / BUILD_FILE, store.dump_json({"build": build, **facts}))
    store.remove_tree(entry)
    folder.rename(entry)
    return build


def load(kind: type[Made], folder: Path) -> Made:
    """Read a build back, proved by the hash of its file.

    Raises:
        StoreError: it is not there, or damaged.
    """
    file = folder / BUILD_FILE
    build = store.from_json(kind, store.read_json(file).get("build"), where=str(file))
    binary = build.module_file if isinstance(build, Build) else build.executable
    if not binary.is_file() or wheel.file_hash(binary) != build.file_sha256:
        message = "does not have the hash of the build that was kept"
        raise StoreError(message, where=str(binary))
    return dataclasses.replace(build, cached=True)


def inputs_of(folder: Path) -> Inputs:
    """What decided a cached build.

    Raises:
        StoreError: its record is not there, or damaged.
    """
    file = folder / BUILD_FILE
    return store.from_json(Inputs, store.read_json(file).get("inputs"), where=str(file))


def moved(build: Made, folder: Path, entry: Path) -> Made:
    """A build whose folder is another one."""
    if isinstance(build, Build):
        root, module_file = (
            entry / path.relative_to(folder) for path in (build.root, build.module_file)
        )
        return dataclasses.replace(build, root=root, module_file=module_file)
    return dataclasses.replace(build, executable=entry / build.executable.relative_to(folder))


def copied(build: Build, folder: Path) -> Build:
    """A byte copy of a build's files, in `root` of a folder."""
    shutil.copytree(build.root, folder / "root")
    return moved(build, build.root, folder / "root")


def newest(builds: Path) -> tuple[Build, float] | None:
    """The release build of the user's own sources that was made last, and when that was.

    Copies, wheels of others, and builds that are damaged do not count.
    """
    made = {
        file.parent: file.stat().st_mtime
        for file in builds.glob(f"[!.]*/{BUILD_FILE}")
        if not file.parent.name.startswith(("copy-", "wheel-"))
    }
    for folder in sorted(made, key=made.__getitem__, reverse=True):
        with contextlib.suppress(StoreError):
            build = load(Build, folder)
            if build.profile is Profile.RELEASE:
                return build, made[folder]
    return None

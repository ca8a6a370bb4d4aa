"""Where a project's copy and its builds lie in the cache: the folders, the lock on them, and how an
entry appears whole. What is put there is the business of the modules that build.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit import environment, store
from perfkit.errors import BuildError, ConfigError, StoreError
from perfkit.subject import cargo, shadow
from perfkit.subject import recipe as recipes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from perfkit.config import Project

LOCK_TIMEOUT_S = 3600.0
"""As long as a build may take: a lock that is held longer is held by something that hangs."""

_POLL_S = 0.1
"""How often the lock is tried again; a build takes seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
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


def find_place(project: Project, cache: Path) -> Place:
    """Find out what is to be copied, and where to.

    Raises:
        ConfigError: the crate, its workspace or the config lies outside of the tree.
    """
    folder = project_folder(project, cache)
    subject = project.config.subject
    base = environment.base_environment(
        project.environ, extra=subject.environment, passed=subject.pass_environment
    )
    if subject.wheel is not None:  # nothing is copied and nothing built
        root = project.root.resolve()
        return Place(
            tree_root=root, is_git=False, folder=folder, shadow=folder / "shadow", base=base
        )
    manifest = project.manifest
    members = cargo.workspace_root(manifest, base)
    root, is_git = shadow.tree_root(members, base)
    if not is_git:
        root = project.root.resolve()
        if root.is_relative_to(members):
            root = members
    for needed in (members, manifest.parent, project.root.resolve()):
        if not needed.is_relative_to(root):
            message = f"{needed} lies outside of the tree to copy, {root}"
            remedy = "put perfkit.toml at the root of the repository that holds the crate"
            raise ConfigError(message, where=str(project.file), remedy=remedy)
    return Place(
        tree_root=root,
        is_git=is_git,
        folder=folder,
        shadow=recipes.shadow_folder(folder / "shadow", root, base),
        base=base,
    )


@contextlib.contextmanager
def locked(place: Place, progress: Callable[[str], None]) -> Iterator[int]:
    """One build at a time in one shadow copy, also after a perfkit that was killed.

    The lock belongs to an open file. What is started in the copy inherits that file, so that the
    lock is held until the last of these processes has ended: a cargo that outlives a `kill -9` of
    its perfkit reads the copy on, and nobody may rewrite the copy under it.

    Yields:
        The descriptor to hand to every program that is started in the copy.

    Raises:
        BuildError: another build of the project does not end.
        StoreError: the cache lies on a file system without locks.
    """
    place.folder.mkdir(parents=True, exist_ok=True)
    with (place.folder / "build.lock").open("ab") as stream:
        _acquire(stream.fileno(), place.folder, progress)
        try:
            yield stream.fileno()
        finally:
            # Closing is not enough: a server that the build started, such as that of a compiler
            # cache, keeps the file open.
            fcntl.flock(stream, fcntl.LOCK_UN)


def _acquire(lock: int, folder: Path, progress: Callable[[str], None]) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    told = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        except OSError as error:
            message = f"the cache's file system has no locks: {error.strerror}"
            remedy = "set PERFKIT_CACHE_DIR to a folder on another one"
            raise StoreError(message, where=str(folder), remedy=remedy) from error
        else:
            return
        if not told:
            progress(f"waiting for another build of this project to end: {_other_users(lock)}")
            told = True
        if time.monotonic() > deadline:
            message = f"another build of this project has not ended for {LOCK_TIMEOUT_S:g} s"
            remedy = f"see what still runs, and end it: {_other_users(lock)}"
            raise BuildError(message, where=str(folder), remedy=remedy)
        time.sleep(_POLL_S)


def _other_users(lock: int) -> str:
    """The other processes that have a lock's file open, as `process 123 (cargo)`."""
    wanted = os.fstat(lock)
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        if folder.name == str(os.getpid()):
            continue
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            if any(_is_file(link, wanted) for link in (folder / "fd").iterdir()):
                name = (folder / "comm").read_text(encoding="utf-8", errors="replace").strip()
                found.append(f"process {folder.name} ({name})")
    return ", ".join(found) or "a process that /proc does not show"


def _is_file(link: Path, wanted: os.stat_result) -> bool:
    try:
        return os.path.samestat(link.stat(), wanted)
    except OSError:  # closed meanwhile
        return False


@contextlib.contextmanager
def new_entry(place: Place) -> Iterator[tuple[Path, Callable[[str], Path]]]:
    """A folder that becomes a cache entry when the block ends well, and vanishes when not.

    The block names the entry by calling the second value, which returns the entry's place.
    """
    builds = place.builds
    builds.mkdir(parents=True, exist_ok=True)
    for left in builds.glob(".*.tmp"):  # of builds that were killed
        shutil.rmtree(left, ignore_errors=True)
    temporary = builds / f".{secrets.token_hex(8)}.tmp"
    temporary.mkdir()
    named: list[Path] = []

    def name(text: str) -> Path:
        named.append(builds / text)
        return named[-1]

    try:
        yield temporary, name
        store.remove_tree(named[-1])
        temporary.rename(named[-1])
    finally:
        shutil.rmtree(temporary, ignore_errors=True)

"""Where a project's copy and its builds lie in the cache: the folders, the lock on them, and how an
entry appears whole. What is put there is the business of the modules that build.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import filelock

from perfkit import environment, store
from perfkit.errors import ConfigError
from perfkit.subject import cargo, shadow
from perfkit.subject import recipe as recipes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from perfkit.config import Project


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


def find_place(project: Project, cache: Path) -> Place:
    """Find out what is to be copied, and where to.

    Raises:
        ConfigError: the crate, its workspace or the config lies outside of the tree.
    """
    subject = project.config.subject
    base = environment.base_environment(
        project.environ, extra=subject.environment, passed=subject.pass_environment
    )
    manifest = project.resolve(subject.manifest)
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
    folder = cache / "projects" / store.project_key(project.root)
    return Place(
        tree_root=root,
        is_git=is_git,
        folder=folder,
        shadow=recipes.shadow_folder(folder / "shadow", root, base),
        base=base,
    )


@contextlib.contextmanager
def locked(place: Place, progress: Callable[[str], None]) -> Iterator[None]:
    """One build at a time in one shadow copy."""
    place.folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(place.folder / "build.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        progress("waiting for another perfkit that builds the same project")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


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

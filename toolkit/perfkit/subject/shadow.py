"""The copy of a project's tree that builds run in: which files, from where, and bringing it up to
date. Nothing here writes into the user's own tree, and nothing here compiles.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from perfkit import process, store
from perfkit.errors import BuildError, SourceError, ToolFailedError, TreeChangedError, UsageError
from perfkit.records import Note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

GIT_TIMEOUT_S = 300.0
"""Enough for git to list or check out a large tree."""

LOCK_FILE = "Cargo.lock"

_USED_BY_CARGO = (LOCK_FILE, ".cargo/config", ".cargo/config.toml")
"""What cargo reads in a folder, whether or not git ignores it."""

_LEFT_OUT = frozenset({".git", "__pycache__", "target", ".venv", "node_modules"})
"""Folders that hold no sources, for a tree that is not a git repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file to copy: its content's hash, and whether it is executable or a link."""

    sha256: str
    executable: bool = False
    link: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTree:
    """A tree of sources as it is now, on which builds are made.

    Attributes:
        root: the folder that the files are relative to.
        files: by path relative to the root, with `/`.
        label: `working tree`, or the revision it was taken from.
        ignored: those of the files that git ignores, but cargo reads.
        notes: what was left out, and why.
    """

    root: Path
    files: Mapping[str, SourceFile]
    label: str = "working tree"
    ignored: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()

    def read(self, name: str) -> bytes:
        """A file's content.

        Raises:
            SourceError: it cannot be read.
            TreeChangedError: it has changed since it was listed.
        """
        try:
            content = (self.root / name).read_bytes()
        except OSError as error:
            message = f"cannot be read: {error.strerror}"
            raise SourceError(message, where=str(self.root / name)) from error
        if _hash(content) != self.files[name].sha256:
            message = "was changed while perfkit copied it"
            remedy = "run the command again when nothing writes there"
            raise TreeChangedError(message, where=str(self.root / name), remedy=remedy)
        return content


def tree_root(folder: Path, environment: Mapping[str, str]) -> tuple[Path, bool]:
    """The root of the git repository that holds a folder, or the folder itself.

    Returns:
        The root, and whether it is a git repository.

    Raises:
        ToolFailedError: it is a repository, but git refuses to read it.
    """
    marked = any((parent / ".git").exists() for parent in (folder, *folder.parents))
    if not marked or process.find_program("git", environment) is None:
        return folder, False
    done = _git(folder, environment, "rev-parse", "--show-toplevel", ok_codes=None)
    if done.returncode != 0:
        message = "git refuses to read this repository"
        raise ToolFailedError(
            message,
            where=str(folder),
            details=process.tail(done.stderr),
            remedy="make `git status` work here",
        )
    return Path(done.stdout.rstrip("\n")), True


def _git(
    folder: Path,
    environment: Mapping[str, str],
    *words: str,
    ok_codes: tuple[int, ...] | None = (0,),
) -> process.Completed:
    git = process.require_program("git", environment)
    return process.run(
        [git, *words], env=environment, cwd=folder, timeout_s=GIT_TIMEOUT_S, ok_codes=ok_codes
    )


def working_tree(
    root: Path, *, is_git: bool, environment: Mapping[str, str], skip: tuple[Path, ...] = ()
) -> SourceTree:
    """List the user's tree: tracked files, those that git does not ignore, and what cargo reads
    although git ignores it; with their hashes.

    Args:
        root: from `tree_root`.
        is_git: from `tree_root`.
        environment: for git.
        skip: folders that are never sources, such as the runs'.
    """
    names = list(
        _git_files(root, environment)
        if is_git
        else _walk(root, lambda folder: folder in skip or _is_left_out(folder))
    )
    known = set(names)
    folders = {parent for name in names for parent in PurePosixPath(name).parents}
    beside = ((folder / name).as_posix() for folder in sorted(folders) for name in _USED_BY_CARGO)
    ignored = [name for name in beside if name not in known and (root / name).is_file()]
    tree = replace(_described(root, [*names, *ignored]), ignored=tuple(ignored))
    if is_git:
        return tree
    text = "not a git repository: perfkit copied every file except target/, .venv, .git and "
    text += "__pycache__"
    note = Note(id="no-git", text=text, where=str(root), remedy="git init")
    return replace(tree, notes=(note, *tree.notes))


def with_ignored(tree: SourceTree, user: SourceTree) -> SourceTree:
    """A revision's tree with those of the user's own files that cargo reads and git ignores.

    They keep dependencies and flags equal on both sides of a comparison. A Cargo.lock that the
    revision has is that revision's own.
    """
    files = dict(tree.files)
    for name in user.ignored:
        if name in files and PurePosixPath(name).name == LOCK_FILE:
            continue
        (tree.root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(user.root / name, tree.root / name)
        files |= _described(tree.root, [name]).files
    return replace(tree, files=files)


def revision_tree(
    root: Path, revision: str, *, place: Path, environment: Mapping[str, str]
) -> SourceTree:
    """Take a git revision out into perfkit's cache, without touching the repository.

    An index file of our own receives the revision, and its files are written from there. (`git
    archive` would leave out what `.gitattributes` marks as `export-ignore`.)

    Args:
        root: the repository's root.
        revision: whatever git understands.
        place: folder of the cache for such trees; each commit gets one.
        environment: for git.

    Raises:
        UsageError: there is no such revision.
    """
    words = ("--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    named = _git(root, environment, "rev-parse", *words, ok_codes=None)
    if named.returncode != 0:
        message = f"git knows no revision {revision!r}"
        remedy = "name a commit, a branch or a tag of this repository"
        raise UsageError(message, where=str(root), details=named.stderr.strip(), remedy=remedy)
    commit = named.stdout.strip()
    target = place / commit
    listed = place / f"{commit}.json"  # there when all files are, and without what is added later
    if not listed.is_file():
        store.remove_tree(target)
        target.mkdir(parents=True)
        index = place / f"{commit}.index"
        own = {**environment, "GIT_INDEX_FILE": str(index)}
        _git(root, own, "read-tree", commit)
        _git(root, own, "checkout-index", "--all", "--force", f"--prefix={target}/")
        index.unlink(missing_ok=True)
        _submodules_of(root, commit, target, environment)
        store.write_whole(listed, store.dump_json({"files": list(_walk(target))}))
    return replace(_described(target, store.read_json(listed)["files"]), label=revision)


def _submodules_of(root: Path, commit: str, target: Path, environment: Mapping[str, str]) -> None:
    """Fill in the submodules of a revision from their own repositories."""
    listed = _git(root, environment, "ls-tree", "-r", "-z", commit)
    for entry in filter(None, listed.stdout.split("\0")):
        facts, _, name = entry.partition("\t")
        mode, _, sha = facts.split()
        if mode != "160000":
            continue
        if not (root / name / ".git").exists():
            message = f"the submodule {name} is not checked out"
            remedy = "git submodule update --init --recursive"
            raise BuildError(message, where=str(root / name), remedy=remedy)
        inner = revision_tree(
            root / name, sha, place=target.parent / "submodules", environment=environment
        )
        shutil.copytree(inner.root, target / name, symlinks=True, dirs_exist_ok=True)


def _git_files(root: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Tracked files and those that git does not ignore; repositories inside are entered."""
    words = ("-c", "-o", "--exclude-standard", "-z", "--deduplicate")
    done = _git(root, environment, "ls-files", *words)
    for name in filter(None, done.stdout.split("\0")):
        place = root / name
        if place.is_symlink() or not place.is_dir():
            yield name
            continue
        prefix = name.rstrip("/")
        if (place / ".git").exists():
            for inner in _git_files(place, environment):
                yield f"{prefix}/{inner}"


def _walk(root: Path, leave_out: Callable[[Path], bool] = lambda _: False) -> Iterator[str]:
    """Every file below a folder; a link is a file."""
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = sorted(
            name for name in folders if name not in links and not leave_out(here / name)
        )
        for name in sorted([*names, *links]):
            yield (here / name).relative_to(root).as_posix()


def _is_left_out(folder: Path) -> bool:
    marked = any((folder / mark).is_file() for mark in ("pyvenv.cfg", "CACHEDIR.TAG"))
    return marked or folder.name in _LEFT_OUT


def _described(root: Path, names: Iterable[str]) -> SourceTree:
    """The tree of some files of a folder, without those that are not there or cannot be copied."""
    found = {name: _describe(root, name) for name in names}
    return SourceTree(
        root=root,
        files={name: one for name, one in found.items() if isinstance(one, SourceFile)},
        notes=tuple(one for one in found.values() if isinstance(one, Note)),
    )


def _describe(root: Path, name: str) -> SourceFile | Note | None:
    """Hash one file; a note if it cannot be copied, None if it was deleted but is still tracked."""
    place = root / name
    try:
        mode = place.lstat().st_mode
        if stat.S_ISLNK(mode):
            return _describe_link(root, place)
        if stat.S_ISREG(mode):
            return SourceFile(
                sha256=_hash(place.read_bytes()), executable=bool(mode & stat.S_IXUSR)
            )
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        remedy = "make it readable, or let git ignore it"
        raise SourceError(message, where=str(place), remedy=remedy) from error
    text = "is not a regular file and was not copied"
    return Note(id="not-copied", text=text, where=str(place))


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _describe_link(root: Path, place: Path) -> SourceFile | Note:
    """A link that stays inside the tree is made again; a file outside is copied by its content.

    A link of the copy must never lead back into the user's tree: cargo or a build script could
    write through it.
    """
    text = os.readlink(place)  # noqa: PTH115  # the text itself, unresolved
    aim = Path(os.path.normpath(place.parent / text))
    if aim.is_relative_to(root):
        inside = os.path.relpath(aim, place.parent) if Path(text).is_absolute() else text
        return SourceFile(sha256=_hash(inside.encode()), link=inside)
    if place.is_file():
        return SourceFile(sha256=_hash(place.read_bytes()))
    note = f"is a link to {text}, outside the tree, and was not copied"
    return Note(id="link-outside", text=note, where=str(place))


def sync(tree: SourceTree, shadow: Path, edits: Mapping[str, bytes], state: Path) -> list[str]:
    """Make the shadow equal to a tree with some files edited.

    A file is written only when its content differs, and then with a fresh modification time;
    cargo compiles again what is newer than its last build. What an earlier call wrote and the
    tree no longer has is removed.

    Args:
        tree: what to copy.
        shadow: the copy's folder.
        edits: contents that replace those of the tree, by relative path.
        state: perfkit's own list of what it wrote there, outside of the shadow.

    Returns:
        The files written, by relative path.
    """
    shadow.mkdir(parents=True, exist_ok=True)
    known = set(store.read_json(state)["files"] if state.is_file() else _walk(shadow))
    store.write_whole(state, store.dump_json({"files": sorted(known | set(tree.files))}))
    for name in sorted(known - set(tree.files)):
        if PurePosixPath(name).name != LOCK_FILE:  # perhaps one that cargo made here
            _remove(shadow, name)
    written = []
    for name, file in sorted(tree.files.items()):
        place = shadow / name
        _clear_way(shadow, name)
        if file.link is not None:
            if not place.is_symlink() or os.readlink(place) != file.link:  # noqa: PTH115
                place.unlink(missing_ok=True)
                place.symlink_to(file.link)
                written.append(name)
            continue
        content = edits[name] if name in edits else tree.read(name)
        if place.is_symlink() or not place.is_file() or place.read_bytes() != content:
            place.unlink(missing_ok=True)
            place.write_bytes(content)
            written.append(name)
        mode = 0o755 if file.executable else 0o644
        if stat.S_IMODE(place.stat().st_mode) != mode:
            place.chmod(mode)
    store.write_whole(state, store.dump_json({"files": sorted(tree.files)}))
    return written


def _remove(shadow: Path, name: str) -> None:
    """Remove a file and the folders that are empty without it; never through a link."""
    place = shadow / name
    if any(parent.is_symlink() for parent in place.parents if parent != shadow):
        return
    if place.is_symlink() or place.is_file():
        place.unlink()
    for parent in place.parents:
        if parent == shadow or not parent.is_dir() or any(parent.iterdir()):
            break
        parent.rmdir()


def _clear_way(shadow: Path, name: str) -> None:
    """Make the folders of a file, replacing whatever else is in their place."""
    folder = shadow
    for part in PurePosixPath(name).parts[:-1]:
        folder = folder / part
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            folder.unlink()
        folder.mkdir(exist_ok=True)
    place = shadow / name
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)

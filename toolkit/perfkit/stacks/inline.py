"""Inlined functions of the subject's own module: one address to the chain of functions whose code
is there, from the module's debug information, with the crate each of them comes from.

With line tables alone an inlined function has a bare name (`extract<f64>`, `{closure#0}`), so its
crate is read from its source file. If a binding's code is inlined into the user's function, or the
user's into a pool's, only this gives the leaf the right layer.
"""

from __future__ import annotations

import functools
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perfkit import _engine
from perfkit.stacks import engine_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from perfkit.stacks.folded import Stack

_OF_CRATE = r"(?P<name>[A-Za-z_][\w-]*?)"
_FOREIGN = tuple(
    re.compile(rf"/{place}/(?P<path>.*)\.rs$")
    for place in (
        r"(?:library|lib/rustlib/src/rust/library)/(?:.*/)?(?P<name>\w+)/src",
        rf"(?:registry/src/[^/]+|rust/deps)/{_OF_CRATE}-\d+\.\d+[^/]*/src",
        rf"git/checkouts/{_OF_CRATE}-[0-9a-f]{{16}}/[^/]+/src",
        rf"git/checkouts/.*/{_OF_CRATE}/src",
        rf"vendor/{_OF_CRATE}(?:-\d+\.\d+[^/]*)?/src",
        rf"build/{_OF_CRATE}-[0-9a-f]{{16}}/out",
    )
)
"""Where the sources of other crates are: the standard library and what it is made of, registries,
git, `cargo vendor`, and what a build script wrote.
"""
_NOBODYS = re.compile(r"/(?:registry/src|git/checkouts)/")
_SOURCE = re.compile(r"\0--crate-name[=\0](\w+)\0(?:.*\0)?([^\0-][^\0]*)/[^\0/]+\.rs(?=\0|$)")
_MANGLED = re.compile(r"^_(ZN|R)\w")
INLINED = "{inlined}"
AT = "@ "
"""Begins a frame that is no function, but where in the subject's own sources the next frame to the
root is: `@ /home/me/fast/src/lib.rs:74`. See `hot_lines.py`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inlined:
    """The chains of one module by file offset, innermost function first, without the frame's own
    name, which perf tells. Functions of the subject's own sources have their place before them.
    """

    module: str
    chains: Mapping[int, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Which crate a source file of the subject's own tree is part of.

    Attributes:
        crate: the one of files that no folder claims.
        folders: of each crate's sources, as the build's rustc lines have them.
    """

    crate: str
    folders: Mapping[str, str] = field(default_factory=dict)

    def crate_of(self, file: str) -> str:
        """The crate whose folder holds a file; the innermost where folders are nested."""
        holding = [folder for folder in self.folders if f"/{folder.strip('/')}/" in file]
        return self.folders[max(holding, key=len)] if holding else self.crate


def sources(rustc: Iterable[str], module: str) -> Sources:
    """The sources of the crates on the rustc lines of a build."""
    lines = ("\0".join(shlex.split(line)) for line in rustc)
    found = [match for line in lines if (match := _SOURCE.search(line)) is not None]
    folders = {folder: name for name, folder in (match.groups() for match in found)}
    return Sources(crate=module.rpartition(".")[2], folders=folders)


@engine_errors.named("build the extension again; another version of the linker may help")
def resolve(module: Path, offsets: Sequence[int], of: Sources) -> Inlined | None:
    """The chain at each address.

    The outermost function of a chain is the frame's own symbol, which perf names in full; it is
    left out here.

    Args:
        module: the extension as it was loaded.
        offsets: places in the file, from `perf_script.places`.
        of: the crates of its own sources.

    Returns:
        None if the module has no debug information: stacks are then read as perf gave them.

    Raises:
        UnreadableOutputError: the module or its debug information is damaged.
    """
    found = _engine.source_frames(module, offsets)
    if found is None:
        return None
    chains = {
        offset: chain
        for offset, frames in zip(offsets, found, strict=True)
        if (chain := tuple(_chain(frames, of)))
    }
    return Inlined(module=str(module), chains=chains)


def _chain(frames: Sequence[_engine.SourceFrame], of: Sources) -> Iterator[str]:
    for depth, frame in enumerate(frames, start=1):
        file = frame.file or ""
        if frame.line and _is_own(file):
            yield f"{AT}{file}:{frame.line}"
        if depth < len(frames):
            yield qualified(frame.function, file, of)


def _is_own(file: str) -> bool:
    """Whether a file is part of the subject's own tree."""
    return file.endswith(".rs") and _foreign(file) is None and _NOBODYS.search(file) is None


@functools.cache
def _foreign(file: str) -> re.Match[str] | None:
    """The crate that a file is part of, and its path in it, if that is not the subject's. A module
    has thousands of frames from a few files.
    """
    return next((found for one in _FOREIGN if (found := one.search(file)) is not None), None)


def without_places(stack: Sequence[str]) -> Stack:
    """A stack's functions alone."""
    return tuple(frame for frame in stack if not frame.startswith(AT))


def qualified(function: str | None, file: str, of: Sources) -> str:
    """A function's name with its crate and module, from its file, without generic arguments."""
    name = function or INLINED
    if _MANGLED.match(name) is not None:  # with its own path
        name = without_generics(_engine.demangle(name)).rpartition("::")[2]
    else:
        name = without_generics(name)
    if (found := _foreign(file)) is not None:
        return _joined(found["name"], found["path"], name)
    return f"{of.crate_of(file)}::{name}" if _is_own(file) else name


def without_generics(name: str) -> str:
    """A name without what is in angle brackets; the `>` of an arrow closes none."""
    kept, depth, before = [], 0, ""
    for letter in name:
        if letter == "<":
            depth += 1
        elif letter == ">" and before != "-":
            depth = max(depth - 1, 0)
        elif not depth:
            kept.append(letter)
        before = letter
    return "".join(kept)


def _joined(crate: str, path: str, name: str) -> str:
    modules = [part for part in path.split("/") if part not in {"lib", "mod", "main"}]
    return "::".join([crate.replace("-", "_"), *modules, name])

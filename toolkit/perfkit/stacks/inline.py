"""Inlined functions of the subject's own module: one address to the chain of functions whose code
is there, from the module's debug information, with the crate each of them comes from.

With line tables alone an inlined function has a bare name (`extract<f64>`), so its crate is read
from its source file. If a binding's code is inlined into the user's function, or the user's into a
pool's, only this gives the leaf the right layer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit import _engine
from perfkit.stacks import engine_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_REGISTRY = re.compile(r"/(?:registry/src/[^/]+|git/checkouts/[^/]+/[^/]+)/(?P<rest>.+)$")
_CRATE = re.compile(r"^(?P<name>[A-Za-z_][\w-]*?)-\d+\.\d+[^/]*/src/(?P<path>.*)\.rs$")
_STANDARD = re.compile(
    r"/(?:library|lib/rustlib/src/rust/library)/(?P<name>\w+)/src/(?P<path>.*)\.rs$"
)
_GENERICS = re.compile(r"<[^<>]*>")
_MANGLED = re.compile(r"^_(ZN|R)\w")
INLINED = "{inlined}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inlined:
    """The chains of one module by file offset, innermost function first, without the frame's own
    name, which perf tells.
    """

    module: str
    chains: Mapping[int, tuple[str, ...]]


@engine_errors.named("build the extension again; another version of the linker may help")
def resolve(module: Path, offsets: Sequence[int], *, crate: str) -> Inlined | None:
    """The chain at each address.

    The outermost function of a chain is the frame's own symbol, which perf names in full; it is
    left out here.

    Args:
        module: the extension as it was loaded.
        offsets: places in the file, as perf prints them.
        crate: the subject's crate, for source files of its own tree.

    Returns:
        None if the module has no debug information: stacks are then read as perf gave them.

    Raises:
        UnreadableOutputError: the module or its debug information is damaged.
    """
    found = _engine.source_frames(module, offsets)
    if found is None:
        return None
    chains = {
        offset: tuple(qualified(frame.function, frame.file or "", crate) for frame in frames[:-1])
        for offset, frames in zip(offsets, found, strict=True)
        if len(frames) > 1
    }
    return Inlined(module=str(module), chains=chains)


def qualified(function: str | None, file: str, crate: str) -> str:
    """A function's name with its crate and module, from its file, without generic arguments."""
    name = function or INLINED
    is_path = _MANGLED.match(name) is not None  # a mangled name has its own path in it
    if is_path:
        name = _engine.demangle(name)
    while _GENERICS.search(name):
        name = _GENERICS.sub("", name)
    if is_path:
        name = name.rpartition("::")[2]
    standard = _STANDARD.search(file)
    if standard is not None:
        return _joined(standard["name"], standard["path"], name)
    registry = _REGISTRY.search(file)
    if registry is not None:
        of_crate = _CRATE.match(registry["rest"])
        if of_crate is None:
            return name
        return _joined(of_crate["name"], of_crate["path"], name)
    if file.endswith(".rs"):
        return f"{crate}::{name}"
    return name


def _joined(crate: str, path: str, name: str) -> str:
    modules = [part for part in path.split("/") if part not in {"lib", "mod", "main"}]
    return "::".join([crate.replace("-", "_"), *modules, name])

"""Rust constants in a tree of sources: finding one by name, reading its value, writing another.

Works on whatever tree it is given; that this is perfkit's own copy and never the user's is the
business of `perfkit.subject`. What a value should be is decided elsewhere.
"""

from __future__ import annotations

import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit import _engine
from perfkit.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

_BELOW_THIS_NO_UNDERSCORE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantPlace:
    """A constant and the file that it stands in.

    Attributes:
        file: the source file.
        name: of the constant, without its modules.
        path: with its modules, `small::CHUNK`.
        type: as written, such as `usize`.
        value: its initialiser as written, such as `L1_CACHE_SIZE / 8 / 4`.
        line: of the name, from 1.
    """

    file: Path
    name: str
    path: str
    type: str
    value: str
    line: int

    @property
    def where(self) -> str:
        """The place as `file:line`."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What an edit did.

    Attributes:
        before: the initialiser as it was.
        after: the initialiser as it is.
        line: of the constant's name, from 1.
    """

    before: str
    after: str
    line: int

    @property
    def changed(self) -> bool:
        """Whether the file is another one now."""
        return self.before != self.after


def format_value(value: bool | float | str) -> str:
    """Write a value as Rust does: `30_000`, `true`, `0.5`; text is taken as an expression.

    Raises:
        SourceError: a float that Rust has no literal for, or empty text.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return f"{value:_}" if abs(value) >= _BELOW_THIS_NO_UNDERSCORE else str(value)
        case float():
            if not math.isfinite(value):
                message = f"{value} has no literal in Rust"
                raise SourceError(message, where="", remedy="give a finite number")
            return repr(value)
        case str():
            if not value.strip():
                message = "a constant cannot have an empty value"
                raise SourceError(message, where="", remedy="give a Rust expression")
            return value.strip()


def find_constant(root: Path, name: str, file: Path | None = None) -> ConstantPlace:
    """Find the one definition of a constant.

    Args:
        root: the folder to search; files that git would ignore are left out.
        name: of the constant; `module::NAME` chooses between several.
        file: look only into this one, relative to `root`.

    Raises:
        SourceError: there is none, or more than one, or it is inside a macro call, or a file that
            mentions it cannot be read as Rust.
    """
    places: list[ConstantPlace] = []
    hidden: list[ConstantPlace] = []
    unreadable: list[SourceError] = []
    for path in _candidates(root, file):
        try:
            found = _constants(path, name)
        except SourceError as error:
            unreadable.append(error)
            continue
        places += [place for place in found if place.value]
        hidden += [place for place in found if not place.value]
    return _the_only(name, root if file is None else root / file, places, hidden, unreadable)


def set_constant(
    file: Path, name: str, value: bool | float | str, *, line: int | None = None
) -> Edit:
    """Give a constant another value, by editing its initialiser and nothing else.

    The file appears whole, with a modification time of now, which Cargo needs to see the change.
    It is left alone when the initialiser is written so already.

    Args:
        file: the source file.
        name: of the constant; `module::NAME` chooses between several.
        value: see `format_value`.
        line: chooses between several of one name.

    Raises:
        SourceError: no such constant or more than one, a value that is not a Rust expression, or
            a file that cannot be read or written.
    """
    source = _read(file)
    wanted = format_value(value)
    try:
        edited = _engine.replace_constant(source, name, wanted, line=line)
        sites = _engine.list_constants(source)
    except _engine.EngineInputError as error:
        raise _refused(file, error, remedy=_EDIT_REMEDY) from error
    chosen = [site for site in sites if _is_named(site, name) and line in (None, site.line)]
    if edited != source:
        _write(file, edited)
    return Edit(before=chosen[0].value, after=wanted, line=chosen[0].line)


_EDIT_REMEDY = "name one existing constant and a value that is a Rust expression of its type"


def _candidates(root: Path, file: Path | None) -> list[Path]:
    if file is not None:
        return [root / file]
    try:
        return _engine.rust_sources(root)
    except _engine.EngineInputError as error:
        message = f"cannot search for constants: {error}"
        remedy = "name the folder of the crate"
        raise SourceError(message, where=str(root), remedy=remedy) from error


def _constants(file: Path, name: str) -> list[ConstantPlace]:
    """The definitions of `name` in a file, those inside macro calls with an empty value."""
    source = _read(file)
    bare = name.rpartition("::")[2]
    if bare not in source:  # parsing every file of a large workspace would take seconds
        return []
    try:
        sites = _engine.list_constants(source)
    except _engine.EngineInputError as error:
        raise _refused(file, error, remedy="name the file that holds the constant") from error
    return [
        ConstantPlace(
            file=file,
            name=site.name,
            path=site.path,
            type=site.type,
            value=site.value,
            line=site.line,
        )
        for site in sites
        if _is_named(site, name)
    ]


def _is_named(site: _engine.ConstantSite, name: str) -> bool:
    return site.path == name or site.path.endswith(f"::{name}")


def _the_only(
    name: str,
    searched: Path,
    places: Sequence[ConstantPlace],
    hidden: Sequence[ConstantPlace],
    unreadable: Sequence[SourceError],
) -> ConstantPlace:
    """The one place, or the error that says why there is not exactly one."""
    if len(places) == 1 and not hidden and not unreadable:
        return places[0]
    if len(places) + len(hidden) > 1:
        listed = [place.where for place in places]
        listed += [f"{place.where} (inside a macro call)" for place in hidden]
        message = f"`{name}` has {len(listed)} definitions: {', '.join(listed)}"
        remedy = f"name the file, or the module as in `module::{name}`"
        raise SourceError(message, where=str(searched), remedy=remedy)
    if unreadable:
        # A file that mentions the name may hold another definition of it.
        raise unreadable[0]
    if hidden:
        message = f"`{name}` is written inside a macro call, where its value cannot be edited"
        remedy = "move the constant out of the macro, or tune it with another backend"
        raise SourceError(message, where=hidden[0].where, remedy=remedy)
    message = f"there is no constant or static `{name}` with a value"
    raise SourceError(message, where=str(searched), remedy="check the name and the file")


def _read(file: Path) -> str:
    """The text with its line ends and byte order mark as they are."""
    try:
        return file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"is no UTF-8 text (byte {error.start})"
        raise SourceError(message, where=str(file), remedy="Rust sources are UTF-8") from error
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise SourceError(message, where=str(file), remedy="check the path") from error


def _write(file: Path, text: str) -> None:
    try:
        mode = file.stat().st_mode
        handle, partial = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(text.encode("utf-8"))
            Path(partial).chmod(mode)
            Path(partial).replace(file)
        except OSError:
            Path(partial).unlink(missing_ok=True)
            raise
    except OSError as error:
        message = f"cannot be written: {error.strerror}"
        remedy = "check its permissions and the space on the disk"
        raise SourceError(message, where=str(file), remedy=remedy) from error


def _refused(file: Path, error: _engine.EngineInputError, *, remedy: str) -> SourceError:
    line = error.line
    where = f"{file}:{line}" if line is not None else str(file)
    return SourceError(str(error).removeprefix(f"line {line}: "), where=where, remedy=remedy)

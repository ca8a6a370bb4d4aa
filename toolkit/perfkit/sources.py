"""Rust constants in sources: finding one by name, reading its initialiser and its value, replacing
it in the text.

Writes nothing: `perfkit.subject` writes edited text into perfkit's own copy, never into the user's
tree. What a value should be is decided elsewhere.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit import _engine
from perfkit.errors import NotRustError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from perfkit.records import Value

_INTEGER_TYPES = re.compile(r"[ui](?:8|16|32|64|128|size)")
_EDIT_REMEDY = "choose a value that is a Rust expression of the constant's type"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A constant as the engine found it, with its file and that file's whole text."""

    file: Path
    text: str
    site: _engine.ConstantSite

    @property
    def where(self) -> str:
        """The place as `file:line`."""
        return f"{self.file}:{self.site.line}"

    @property
    def label(self) -> str:
        """The line, and why it cannot be edited if it cannot."""
        return f"{self.site.line}{'' if self.site.value else ' (inside a macro call)'}"


def is_integer(type_: str) -> bool:
    """Whether a constant's type, as written, is one of Rust's integers."""
    return _INTEGER_TYPES.fullmatch(type_.strip()) is not None


def format_value(value: bool | float | str, type_: str = "") -> str:
    """Write a value as Rust does: `30_000`, `true`, `0.5`; text is taken as an expression.

    Args:
        value: the value.
        type_: of the constant as written, if known: `2` is `2.0` for an `f64`.

    Raises:
        SourceError: a float without a literal in Rust, or empty text.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return f"{value:_}.0" if type_.strip() in ("f32", "f64") else f"{value:_}"
        case float():
            if not math.isfinite(value):
                message = f"{value} has no literal in Rust"
                raise SourceError(message, where="", remedy="give a finite number")
            return f"{int(value):_}" if value.is_integer() and is_integer(type_) else repr(value)
        case str():
            if not value.strip():
                message = "a constant cannot have an empty value"
                raise SourceError(message, where="", remedy="give a Rust expression")
            return value.strip()


def read(file: Path) -> bytes:
    """A source file's content.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise SourceError(message, where=str(file), remedy="check the path") from error


def rust_files(root: Path) -> Iterator[tuple[Path, bytes]]:
    """Every Rust source below a folder with its content; what git would ignore is left out.

    Raises:
        SourceError: it is not a folder, or a file in it cannot be read.
    """
    try:
        files = _engine.rust_sources(root)
    except _engine.EngineInputError as error:
        message = f"cannot search for constants: {error}"
        remedy = "name the folder of the crate"
        raise SourceError(message, where=str(root), remedy=remedy) from error
    for file in files:
        yield file, read(file)


def find_in_tree(sources: Iterable[tuple[Path, bytes]], name: str, *, searched: Path) -> Found:
    """Find the one definition of a constant in many files that have been read.

    Args:
        sources: files and their contents.
        name: of the constant; `module::NAME` chooses between several.
        searched: what errors name where no single file is to blame.

    Raises:
        NotRustError: a file that mentions the constant cannot be parsed, so that it may hold
            another definition.
        SourceError: there is none, or more than one, or it is inside a macro call.
    """
    found: list[Found] = []
    broken: list[NotRustError] = []
    for file, content in sources:
        try:
            found += _definitions(file, content, name)
        except NotRustError as error:
            broken.append(error)
    if broken and len(found) < 2:
        raise broken[0]
    if not found:
        message = f"there is no constant or static `{name}` with a value here"
        raise SourceError(message, where=str(searched), remedy="correct its `name` or its `file`")
    return _only(name, searched, found)


def find_in_file(file: Path, content: bytes, name: str) -> Found:
    """Find the one definition of a constant in a file that has been read.

    Raises:
        NotRustError: the file mentions the constant and cannot be parsed.
        SourceError: there is none, or more than one, or it is inside a macro call.
    """
    return find_in_tree([(file, content)], name, searched=file)


def literal(text: str) -> Value | None:
    """The value of an initialiser that is one literal of a number or a truth value, else None."""
    return _engine.literal(text)


def read_value(found: Found) -> Value:
    """A constant's value if it is known without a compiler, else its text."""
    text = found.site.value
    value = literal(text)
    if value is None and is_integer(found.site.type):
        value = _engine.evaluate(text, found.text)
    return text if value is None else value


def replace(file: Path, text: str, name: str, value: str) -> str:
    """A source with another initialiser of one constant; nothing else changes.

    Args:
        file: the source's file, for errors; it is neither read nor written.
        text: the source.
        name: of the constant; `module::NAME` chooses between several.
        value: Rust source text, from `format_value`.

    Raises:
        SourceError: no such constant or more than one, or a value that is not a Rust expression.
    """
    try:
        return _engine.replace_constant(text, name, value)
    except _engine.EngineError as error:
        where, message = _placed(file, error)
        raise SourceError(message, where=where, remedy=_EDIT_REMEDY) from error


def _definitions(file: Path, content: bytes, name: str) -> list[Found]:
    """The definitions of `name` in a file, those inside macro calls with an empty value."""
    bare = name.rpartition("::")[2]
    if bare.encode() not in content:  # parsing every file of a large workspace would take seconds
        return []
    text = _decode(file, content)
    try:
        sites = _engine.list_constants(text)
    except _engine.EngineError as error:
        where, message = _placed(file, error)
        remedy = "correct the source; `cargo check` shows the compiler's own words"
        if isinstance(error, _engine.EngineInputError):
            raise NotRustError(message, where=where, remedy=remedy) from error
        raise SourceError(message, where=where, remedy=remedy) from error
    return [
        Found(file=file, text=text, site=site)
        for site in sites
        if site.path == name or site.path.endswith(f"::{name}")
    ]


def _only(name: str, searched: Path, found: Sequence[Found]) -> Found:
    """The one definition that can be edited, or the error that says why there is none."""
    first = found[0]
    if len(found) == 1:
        if first.site.value:
            return first
        message = f"`{name}` is written inside a macro call, where its value cannot be edited"
        remedy = "move the constant out of the macro, or tune it with another backend"
        raise SourceError(message, where=first.where, remedy=remedy)
    if len({one.file for one in found}) == 1:
        lines = ", ".join(one.label for one in found)
        message = f"the constant `{name}` is defined more than once: lines {lines}"
        remedy = f"give its path as `name`, such as `module::{name}`"
        raise SourceError(message, where=first.where, remedy=remedy)
    listed = ", ".join(f"{one.file}:{one.label}" for one in found)
    message = f"`{name}` is defined {len(found)} times in more than one file: {listed}"
    remedy = f"name one with `file`, or give its path as `name`, such as `module::{name}`"
    raise SourceError(message, where=str(searched), remedy=remedy)


def _decode(file: Path, content: bytes) -> str:
    """The text with its line ends and byte order mark as they are."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text (byte {error.start})"
        line = content.count(b"\n", 0, error.start) + 1
        remedy = "save the file as UTF-8: Rust sources always are"
        raise NotRustError(message, where=f"{file}:{line}", remedy=remedy) from error


def _placed(file: Path, error: _engine.EngineError) -> tuple[str, str]:
    """The place and the message of the engine's error about a file's text."""
    line = error.line if isinstance(error, _engine.EngineInputError) else None
    where = f"{file}:{line}" if line is not None else str(file)
    return where, str(error).removeprefix(f"line {line}: ")

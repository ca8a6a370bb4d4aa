"""A report as a list of blocks, before it has a form, and the few ways in which pages are built.

Each command's page is made once; console and Markdown render the same blocks. Nothing here knows
what a block is about.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class Tone(StrEnum):
    """How a verdict is to be taken."""

    GOOD = "good"
    CAUTION = "caution"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The first thing that is read: one word, and the sentence that says what it rests on."""

    word: str
    tone: Tone
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """The title of what follows."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bullets:
    """Short points, each on its own lines."""

    items: tuple[str, ...]
    ordered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table; figures are aligned to the right."""

    title: str
    right: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of cells. A newline in a cell is where a narrow form breaks it; others show a space.

    `caption` names the base of every figure in it.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


Block = Verdict | Heading | Paragraph | Bullets | Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A whole report."""

    title: str
    blocks: tuple[Block, ...]


Document = dict[str, Any]
"""JSON types all the way down: what `json.dumps` takes without help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report in both its kinds: blocks for people, a document for programs."""

    page: Page
    document: Document


def columns(*titles: str) -> tuple[Column, ...]:
    """Columns from their titles; a leading `<` aligns one to the left."""
    return tuple(
        Column(title=title.removeprefix("<"), right=not title.startswith("<")) for title in titles
    )


Item = TypeVar("Item")


def table(
    items: Iterable[Item], cells: Mapping[str, Callable[[Item], str]], *, caption: str = ""
) -> Table:
    """One row per item; `cells` has each column's title (see `columns`) and what it shows."""
    rows = tuple(tuple(cell(item) for cell in cells.values()) for item in items)
    return Table(columns=columns(*cells), rows=rows, caption=caption)


def points(title: str, items: Iterable[str], *, ordered: bool = False) -> list[Block]:
    """Short points under a heading, each one once; nothing where there are none."""
    found = tuple(dict.fromkeys(items))
    return [Heading(text=title), Bullets(items=found, ordered=ordered)] if found else []


class _OfWorkload(Protocol):
    @property
    def workload(self) -> str: ...


Figures = TypeVar("Figures", bound=_OfWorkload)


def by_workload(items: Iterable[Figures]) -> dict[str, list[Figures]]:
    """What belongs to each workload, in the order of the first of each."""
    found: dict[str, list[Figures]] = {}
    for item in items:
        found.setdefault(item.workload, []).append(item)
    return found

"""A report on a terminal, by rich. Widths and colours are the console's; the words are not here."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, assert_never

from rich import box
from rich.console import Console, Group
from rich.table import Table as RichTable
from rich.text import Text

from perfkit.report.page import Bullets, Heading, Page, Paragraph, Table, Tone, Verdict

if TYPE_CHECKING:
    from rich.console import RenderableType

    from perfkit.report.page import Block

_STYLES = {Tone.GOOD: "bold green", Tone.CAUTION: "bold yellow", Tone.BAD: "bold red"}


def render(page: Page, *, width: int, colour: bool) -> str:
    """A page as text for a terminal of a given width.

    Text of the user is never read as markup. Blanks at the end of lines are dropped.
    """
    console = Console(
        width=width,
        file=io.StringIO(),
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        legacy_windows=False,
    )
    with console.capture() as captured:
        show(page, console)
    lines = captured.get().split("\n")
    return "\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n"


def show(page: Page, console: Console) -> None:
    """Print a page on a console of the caller's."""
    for block in page.blocks:
        console.print(_block(block))


def _block(block: Block) -> RenderableType:
    match block:
        case Verdict():
            return Text.assemble((f"{block.word}. ", _STYLES[block.tone]), block.sentence)
        case Heading():
            return Text.assemble("\n", (block.text, "bold"))
        case Paragraph():
            return Text(block.text)
        case Bullets():
            return _bullets(block)
        case Table():
            return _table(block)
        case _:
            assert_never(block)


def _bullets(block: Bullets) -> RenderableType:
    grid = RichTable.grid(padding=(0, 1))
    grid.add_column(width=2, justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    for number, item in enumerate(block.items, start=1):
        grid.add_row(Text(f"{number}." if block.ordered else "-"), Text(item))
    return grid


def _table(block: Table) -> RenderableType:
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for column in block.columns:
        table.add_column(
            Text(column.title), justify="right" if column.right else "left", overflow="fold"
        )
    for row in block.rows:
        table.add_row(*(Text(cell) for cell in row))
    if not block.caption:
        return table
    return Group(table, Text(block.caption, style="dim"))

"""A report on a terminal, by rich. Widths and colours are the console's; the words are not here."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from perfkit.report.diagnosis import diagnose_page
from perfkit.report.page import Bullets, Heading, Page, Paragraph, Table, Tone, Verdict
from perfkit.report.pages import doctor_page, measure_page, profile_page
from perfkit.report.tuning import tune_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

    from perfkit.records import Capture, Check, Diagnosis, MeasureReport, TuneReport
    from perfkit.report.page import Block

_STYLES = {Tone.GOOD: "bold green", Tone.CAUTION: "bold yellow", Tone.BAD: "bold red"}


def measure_console(report: MeasureReport, console: Console) -> None:
    """Print the report of `perfkit measure`."""
    console.print(render(measure_page(report)))


def profile_console(captures: Sequence[Capture], console: Console) -> None:
    """Print the report of `perfkit profile`."""
    console.print(render(profile_page(captures)))


def diagnose_console(diagnosis: Diagnosis, console: Console) -> None:
    """Print the report of `perfkit diagnose`."""
    console.print(render(diagnose_page(diagnosis)))


def tune_console(report: TuneReport, console: Console) -> None:
    """Print the report of `perfkit tune`."""
    console.print(render(tune_page(report)))


def doctor_console(checks: Sequence[Check], console: Console) -> None:
    """Print the report of `perfkit doctor`."""
    console.print(render(doctor_page(checks)))


def render(page: Page) -> RenderableType:
    """A page as something that rich prints. Text of the user is never read as markup."""
    return Group(*(_block(block) for block in page.blocks))


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
    return Group(table, Padding(Text(block.caption, style="dim"), (0, 0)))

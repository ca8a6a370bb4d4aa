"""A report as Markdown (GitHub's dialect). The words are in the pages, not here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, assert_never

from perfkit.report.page import Bullets, Heading, Page, Paragraph, Table, Verdict

if TYPE_CHECKING:
    from perfkit.report.page import Block

_SPECIAL = re.compile(r"([\\`*_|<>\[\]])")


def render(page: Page) -> str:
    """A page as Markdown text with a final newline."""
    parts = [f"# {escape(page.title)}", *(_block(block) for block in page.blocks)]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Text whose frames and paths (`Vec<f64>`, `a_b`, `x|y`) show as they are."""
    return _SPECIAL.sub(r"\\\1", text)


def _block(block: Block) -> str:
    match block:
        case Verdict():
            return f"**{escape(block.word)}.** {escape(block.sentence)}"
        case Heading():
            return f"## {escape(block.text)}"
        case Paragraph():
            return escape(block.text)
        case Bullets():
            return "\n".join(
                _bullet(f"{number}." if block.ordered else "-", item)
                for number, item in enumerate(block.items, start=1)
            )
        case Table():
            return _table(block)
        case _:
            assert_never(block)


def _bullet(mark: str, item: str) -> str:
    """Further lines of an item stay lines, by a hard break, and stay inside the item."""
    lines = [escape(line) for line in item.split("\n")]
    return f"{mark} " + ("  \n" + " " * (len(mark) + 1)).join(lines)


def _table(block: Table) -> str:
    head = " | ".join(escape(column.title) or " " for column in block.columns)
    rule = " | ".join("---:" if column.right else ":---" for column in block.columns)
    lines = [f"| {head} |", f"| {rule} |"]
    lines += [
        "| " + " | ".join(escape(cell.replace("\n", " ")) for cell in row) + " |"
        for row in block.rows
    ]
    return "\n".join(lines) + (f"\n\n{escape(block.caption)}" if block.caption else "")

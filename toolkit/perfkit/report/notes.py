"""The notes that every report ends with, as blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.report.page import Block, Bullets, Heading
from perfkit.report.words import note_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.records import Note


def notes_blocks(notes: Sequence[Note]) -> list[Block]:
    """Warnings and remarks, each one once."""
    items = tuple(dict.fromkeys(note_text(note) for note in notes))
    return [Heading(text="Notes"), Bullets(items=items)] if items else []

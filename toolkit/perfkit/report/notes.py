"""Blocks that every report ends with: notes, and where the files lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.report.page import Block, Bullets, Heading, Paragraph
from perfkit.report.words import note_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from perfkit.records import Note


def notes_blocks(notes: Sequence[Note]) -> list[Block]:
    """Warnings and remarks, each one once."""
    items = tuple(dict.fromkeys(note_text(note) for note in notes))
    return [Heading(text="Notes"), Bullets(items=items)] if items else []


def place_blocks(directory: Path | None) -> list[Block]:
    """Where the run's files are; nothing without a directory."""
    return [Paragraph(text=f"All files are in {directory}")] if directory is not None else []

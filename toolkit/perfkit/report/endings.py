"""What reports end with: the notes, and what the build really is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.report.page import Block, Bullets, Heading, Paragraph, points
from perfkit.report.words import note_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.records import Check, Note


def ending(notes: Sequence[Note], build: Sequence[Check] = ()) -> list[Block]:
    """Warnings and remarks, each one once, then the audit of the build if there was one."""
    blocks = points("Notes", map(note_text, notes))
    if build:
        facts = "; ".join(check.found for check in build)
        blocks += [
            Heading(text="The build, by its rustc lines and its file"),
            Paragraph(text=f"{facts}."),
        ]
    remedies = tuple(f"{one.found}: {one.remedy}" for one in build if not one.ok and one.remedy)
    return [*blocks, Bullets(items=remedies)] if remedies else blocks

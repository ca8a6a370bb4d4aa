"""What a build really is, as a short block of every report: one line, and what is to be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.report.page import Block, Bullets, Heading, Paragraph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.records import Check


def build_blocks(checks: Sequence[Check]) -> list[Block]:
    """The audit of the build; nothing where none was made."""
    if not checks:
        return []
    facts = "; ".join(check.found for check in checks)
    blocks: list[Block] = [
        Heading(text="The build, by its rustc lines and its file"),
        Paragraph(text=f"{facts}."),
    ]
    remedies = tuple(
        f"{check.found}: {check.remedy}" for check in checks if not check.ok and check.remedy
    )
    return [*blocks, Bullets(items=remedies)] if remedies else blocks

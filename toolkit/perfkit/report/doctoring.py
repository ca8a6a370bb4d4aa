"""What `perfkit doctor` reports, as blocks: what is there, what is not, and the line that helps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.report.page import Block, Bullets, Heading, Page, Table, Tone, Verdict, columns
from perfkit.report.words import joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.records import Check


def doctor_page(checks: Sequence[Check]) -> Page:
    """The report of `perfkit doctor`."""
    missing = [check for check in checks if not check.ok and check.required]
    limited = [check for check in checks if not check.ok and not check.required]
    if missing:
        which = joined(check.id for check in missing)
        sentence = f"Required, but missing: {which}."
        verdict = Verdict(word="not ready", tone=Tone.BAD, sentence=sentence)
    elif limited:
        which = joined(check.id for check in limited)
        sentence = f"Everything required was found. Missing or limited: {which}."
        verdict = Verdict(word="ready", tone=Tone.CAUTION, sentence=sentence)
    else:
        verdict = Verdict(word="ready", tone=Tone.GOOD, sentence="Everything was found.")
    rows = tuple(
        (
            "ok" if check.ok else ("MISSING" if check.required else "limited"),
            check.id,
            check.found,
        )
        for check in checks
    )
    blocks: list[Block] = [verdict, Table(columns=columns("<", "<check", "<found"), rows=rows)]
    remedies = tuple(
        f"{check.id}: {check.remedy}" for check in (*missing, *limited) if check.remedy
    )
    if remedies:
        blocks += [Heading(text="To do"), Bullets(items=remedies)]
    return Page(title="perfkit doctor", blocks=tuple(blocks))

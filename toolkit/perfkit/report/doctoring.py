"""What `perfkit doctor` reports, as blocks: what is there, what is not, and the line that helps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.report.page import Page, Tone, Verdict, points, table
from perfkit.report.words import joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.records import Check


def doctor_page(checks: Sequence[Check]) -> Page:
    """The report of `perfkit doctor`."""
    missing = [check for check in checks if not check.ok and check.required]
    limited = [check for check in checks if not check.ok and not check.required]
    named = joined(check.id for check in missing or limited)
    if missing:
        verdict = Verdict(
            word="not ready", tone=Tone.BAD, sentence=f"Required, but missing: {named}."
        )
    elif limited:
        sentence = f"Everything required was found. Missing or limited: {named}."
        verdict = Verdict(word="ready", tone=Tone.CAUTION, sentence=sentence)
    else:
        verdict = Verdict(word="ready", tone=Tone.GOOD, sentence="Everything was found.")
    found = table(
        checks,
        {"<": _state, "<check": lambda check: check.id, "<found": lambda check: check.found},
    )
    to_do = (f"{check.id}: {check.remedy}" for check in (*missing, *limited) if check.remedy)
    return Page(title="perfkit doctor", blocks=(verdict, found, *points("To do", to_do)))


def _state(check: Check) -> str:
    if check.ok:
        return "ok"
    return "MISSING" if check.required else "limited"

"""What `perfkit compare` shows: the speed-ups of two runs, and how they changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.report.notes import notes_blocks
from perfkit.report.page import Page, Table, Tone, Verdict, columns
from perfkit.report.words import ratio_interval
from perfkit.units import format_count

if TYPE_CHECKING:
    from perfkit.records import ComparedSize, RunComparison


def compare_page(comparison: RunComparison) -> Page:
    """One row per size that both runs measured."""
    table = Table(
        columns=columns("<workload", "size", "pattern", "before", "after", "after / before", "<"),
        rows=tuple(_row(size) for size in comparison.sizes),
        caption=(
            "Speed-ups against the reference, each measured interleaved within its own run, with "
            "95 % intervals. The change is their ratio, widened by the larger noise floor."
        ),
    )
    title = f"{comparison.before} and {comparison.after}"
    return Page(title=title, blocks=(_verdict(comparison), table, *notes_blocks(comparison.notes)))


def _verdict(comparison: RunComparison) -> Verdict:
    differing = [size for size in comparison.sizes if size.differ]
    if not differing:
        return Verdict(
            word="no difference",
            tone=Tone.GOOD,
            sentence="At no size is the change beyond the intervals and the noise floor.",
        )
    slower = [size for size in differing if size.change.high < 1]
    return Verdict(
        word="changed",
        tone=Tone.BAD if slower else Tone.GOOD,
        sentence=(
            f"{len(differing)} of {len(comparison.sizes)} sizes changed against the reference, "
            f"{len(slower)} of them for the worse."
        ),
    )


def _row(size: ComparedSize) -> tuple[str, ...]:
    says = ("faster" if size.change.low > 1 else "slower") if size.differ else "no difference"
    return (
        size.workload,
        format_count(size.size),
        size.pattern.value,
        ratio_interval(size.before),
        ratio_interval(size.after),
        ratio_interval(size.change),
        says,
    )

"""What `perfkit compare` shows: how speed-ups changed between two runs, or frames of profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.report.notes import notes_blocks
from perfkit.report.page import Block, Heading, Page, Table, Tone, Verdict, columns
from perfkit.report.words import ratio_interval, seconds, time_interval
from perfkit.units import format_count

if TYPE_CHECKING:
    from perfkit.profile.compare_captures import ComparedCaptures, ProfileComparison
    from perfkit.records import ComparedSize, RunComparison
    from perfkit.stacks.diff import FrameDifference

MOST_FRAMES = 15


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


def compare_profiles_page(comparison: ProfileComparison) -> Page:
    """One table for each pair of captures: the frames that changed most."""
    blocks: list[Block] = [_profiles_verdict(comparison)]
    for pair in comparison.captures:
        text = f"{pair.workload}, {pair.after} against {pair.before}"
        blocks += [Heading(text=text), _frames(pair)]
    title = f"{comparison.before} and {comparison.after}"
    if comparison.before == comparison.after:
        title = comparison.before
    return Page(title=title, blocks=(*blocks, *notes_blocks(comparison.notes)))


def _profiles_verdict(comparison: ProfileComparison) -> Verdict:
    marked = [row for pair in comparison.captures for row in pair.frames if row.significant]
    if not marked:
        return Verdict(
            word="no difference",
            tone=Tone.GOOD,
            sentence="No frame changed beyond its interval.",
        )
    first = max(marked, key=lambda row: abs(row.change.estimate))
    slower = first.change.estimate > 0
    return Verdict(
        word="changed",
        tone=Tone.BAD if slower else Tone.GOOD,
        sentence=(
            f"{len(marked)} frames changed, most of all `{first.frame}`: "
            f"{'more' if slower else 'less'} by {seconds(abs(first.change.estimate))}."
        ),
    )


def _frames(pair: ComparedCaptures) -> Table:
    return Table(
        columns=columns("<frame", "before", "after", "change", "<"),
        rows=tuple(_frame(row) for row in (pair.whole, *pair.frames[:MOST_FRAMES])),
        caption=(
            f"CPU time of all threads per {pair.per}, each frame's own. During the later capture "
            f"perfkit's fixed work (interpreter, arithmetic, memory) took "
            f"{ratio_interval(pair.pace)} of the time that it took during the earlier one. The "
            "change is at the earlier pace; its 95 % interval holds every pace between, with room "
            "for what two processes of one build differ. At most one in twenty marked frames is "
            "marked by chance."
        ),
    )


def _frame(row: FrameDifference) -> tuple[str, ...]:
    says = ("more" if row.change.estimate > 0 else "less") if row.significant else "no difference"
    return row.frame, seconds(row.before_s), seconds(row.after_s), time_interval(row.change), says


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

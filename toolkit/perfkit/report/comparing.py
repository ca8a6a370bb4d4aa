"""What `perfkit compare` shows: how speed-ups changed between two runs, or frames of profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.report.endings import ending
from perfkit.report.page import Block, Heading, Page, Table, Tone, Verdict, table
from perfkit.report.words import ratio_interval, seconds, time_interval
from perfkit.units import format_count

if TYPE_CHECKING:
    from perfkit.profile.compare_captures import ComparedCaptures, ProfileComparison
    from perfkit.records import ComparedSize, RunComparison
    from perfkit.stacks.diff import FrameDifference

MOST_FRAMES = 15


def compare_page(comparison: RunComparison) -> Page:
    """One row per size that both runs measured."""
    sizes = table(
        comparison.sizes,
        {
            "<workload": lambda size: size.workload,
            "size": lambda size: format_count(size.size),
            "pattern": lambda size: size.pattern.value,
            "before": lambda size: ratio_interval(size.before),
            "after": lambda size: ratio_interval(size.after),
            "after / before": lambda size: ratio_interval(size.change),
            "<": _reading,
        },
        caption="Speed-ups against the reference, each measured interleaved within its own run, "
        "with 95 % intervals. The change is their ratio, widened by the larger noise floor.",
    )
    title = f"{comparison.before} and {comparison.after}"
    return Page(title=title, blocks=(_verdict(comparison), sizes, *ending(comparison.notes)))


def compare_profiles_page(comparison: ProfileComparison) -> Page:
    """One table for each pair of captures: the frames that changed most."""
    blocks: list[Block] = [_profiles_verdict(comparison)]
    for pair in comparison.captures:
        text = f"{pair.workload}, {pair.after} against {pair.before}"
        blocks += [Heading(text=text), _frames(pair)]
    title = f"{comparison.before} and {comparison.after}"
    if comparison.before == comparison.after:
        title = comparison.before
    return Page(title=title, blocks=(*blocks, *ending(comparison.notes)))


def _profiles_verdict(comparison: ProfileComparison) -> Verdict:
    marked = [row for pair in comparison.captures for row in pair.frames if row.significant]
    if not marked:
        return _unchanged("No frame changed beyond its interval.")
    first = max(marked, key=lambda row: abs(row.change.estimate))
    slower = first.change.estimate > 0
    return _changed(
        f"{len(marked)} frames changed, most of all `{first.frame}`: "
        f"{'more' if slower else 'less'} by {seconds(abs(first.change.estimate))}.",
        worse=slower,
    )


def _frames(pair: ComparedCaptures) -> Table:
    return table(
        (pair.whole, *pair.frames[:MOST_FRAMES]),
        {
            "<frame": lambda row: row.frame,
            "before": lambda row: seconds(row.before_s),
            "after": lambda row: seconds(row.after_s),
            "change": lambda row: time_interval(row.change),
            "<": _frame_reading,
        },
        caption=f"CPU time of all threads per {pair.per}, each frame's self time. During the "
        "later capture, perfkit's fixed work (interpreter, arithmetic, memory) took "
        f"{ratio_interval(pair.pace)} of the time that it took during the earlier one. The "
        "change is corrected to the earlier speed; its 95 % interval covers every speed in between "
        "and what two processes of one build differ by. At most one in twenty marked frames is "
        "marked by chance.",
    )


def _frame_reading(row: FrameDifference) -> str:
    if not row.significant:
        return "no difference"
    return "more" if row.change.estimate > 0 else "less"


def _verdict(comparison: RunComparison) -> Verdict:
    differing = [size for size in comparison.sizes if size.differ]
    if not differing:
        return _unchanged("No size changed beyond the intervals and the noise floor.")
    slower = [size for size in differing if size.change.high < 1]
    return _changed(
        f"{len(differing)} of {len(comparison.sizes)} sizes changed against the reference, "
        f"{len(slower)} of them for the worse.",
        worse=bool(slower),
    )


def _unchanged(sentence: str) -> Verdict:
    return Verdict(word="no difference", tone=Tone.GOOD, sentence=sentence)


def _changed(sentence: str, *, worse: bool) -> Verdict:
    return Verdict(word="changed", tone=Tone.BAD if worse else Tone.GOOD, sentence=sentence)


def _reading(size: ComparedSize) -> str:
    if not size.differ:
        return "no difference"
    return "faster" if size.change.low > 1 else "slower"

"""What `perfkit measure` reports, as blocks; other reports show its table too.

A figure stands beside its interval and its base; a verdict that is withheld says why.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, assert_never

from perfkit.measure.ratios import is_faster, is_slower
from perfkit.records import MeasureVerdict, Pattern
from perfkit.report.endings import ending
from perfkit.report.page import Heading, Page, Tone, Verdict, by_workload, points, table
from perfkit.report.words import UNKNOWN, joined, percent, ratio_interval, seconds, time_interval
from perfkit.units import format_count, format_ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perfkit.diagnose.promises import Gain
    from perfkit.records import Interval, MeasureReport, SizeResult
    from perfkit.report.page import Block, Table

_SPEEDUP_BASE = (
    "Each: the time per element. Speed-up is reference time over subject time, from the ratios of "
    "the blocks. Brackets: 95 % interval. A target is met when the lower bound reaches it. Blocks: "
    "undisturbed out of all."
)
_CHANGE_BASE = (
    " Change is {other}'s time over {this}'s: above 1x {this} is faster; nothing inside the noise "
    "floor counts as a change."
)


def measure_page(report: MeasureReport) -> Page:
    """The report of `perfkit measure`."""
    blocks: list[Block] = [measure_verdict(report)]
    busy = report.verdict is MeasureVerdict.BUSY
    if busy and report.foreign_cores:
        title = "Cores that other programs used, by the system's count"
        blocks += _cores_blocks(title, "cores used", report.foreign_cores)
    elif busy and report.effective_cores:
        title = "Room on the machine, by perfkit's own fixed work"
        blocks += _cores_blocks(title, "cores free", report.effective_cores)
    for name, results in by_workload(report.results).items():
        shown = _blocks_table(results) if busy else measure_table(results, report)
        blocks += [Heading(text=name), shown]
    blocks += ending(report.notes, report.build)
    blocks += points(  # each file once, however many processes loaded it
        "What ran",
        (
            f"{one.module} from {one.path.as_posix()} (sha256 {one.sha256[:12]}, "
            f"Python {one.python})"
            for one in report.loaded
        ),
    )
    return Page(title="perfkit measure", blocks=tuple(blocks))


def measure_verdict(report: MeasureReport) -> Verdict:
    """Whether the figures can be trusted, and which targets were met."""
    tone = Tone.BAD
    match report.verdict:
        case MeasureVerdict.OK:
            missed = [r for r in report.results if r.met is False]
            tone = Tone.CAUTION if missed else Tone.GOOD
            sentence = _floor_sentence(report.noise_floor)
            if missed:
                which = joined(f"{r.workload} at {format_count(r.size)}" for r in missed)
                names = dict.fromkeys(f"`perfkit diagnose -w {r.workload}`" for r in missed)
                sentence += f" Target missed: {which}. To see why: {joined(names)}."
        case MeasureVerdict.UNCHECKED:
            tone = Tone.CAUTION
            sentence = (
                "These figures have neither a sentinel nor a comparison of identical code: a busy "
                "machine would not have been noticed."
            )
        case MeasureVerdict.BUSY:
            valid = sum(result.valid_blocks for result in report.results)
            total = sum(result.blocks for result in report.results)
            counted = f" ({valid} of {total} blocks were undisturbed)" if total else ""
            sentence = f"No verdict: the machine was too busy to measure{counted}."
        case MeasureVerdict.UNTRUSTED:
            sentence = "No verdict: identical copies of the build measured as different."
        case _:
            assert_never(report.verdict)
    return Verdict(word=report.verdict.value, tone=tone, sentence=sentence)


def measure_table(results: Sequence[SizeResult], report: MeasureReport) -> Table:
    """Time, reference, speed-up and target by size; columns that nothing fills are left out.

    Args:
        results: those of one workload.
        report: that they are from: what its verdict does not carry is withheld.
    """
    with_change = any(result.change is not None for result in results)
    cells: dict[str, Callable[[SizeResult], str]] = {
        "size": size_cell(results),
        "time per call": lambda one: (
            f"{time_interval(one.time_s)}\n{seconds(one.time_s.estimate / one.size)} each"
        ),
        "reference": lambda one: time_interval(one.reference_s),
        "speed-up": lambda one: ratio_interval(one.speedup),
        "target": target_text,
        "met": lambda one: met_text(one.target, one.met),
    }
    if any(result.contended_speedup is not None for result in results):
        cells["contended speed-up"] = lambda one: ratio_interval(one.contended_speedup)
    if with_change:
        cells["change"] = lambda one: ratio_interval(one.change)
        cells["<reading"] = lambda one: _reading(one, report)
    cells["blocks"] = lambda one: f"{one.valid_blocks}/{one.blocks}"
    caption = _SPEEDUP_BASE + (_change_base(results[0]) if with_change else "")
    return table(results, cells, caption=caption)


def size_cell(results: Sequence[SizeResult | Gain]) -> Callable[[SizeResult | Gain], str]:
    """What shows a result's size; with how calls follow each other if any are not back to back."""
    if all(result.pattern is Pattern.HOT for result in results):
        return lambda one: format_count(one.size)
    return lambda one: f"{format_count(one.size)}\n{one.pattern}"


def target_text(result: SizeResult) -> str:
    """The target of a size, `–` where there is none."""
    return UNKNOWN if result.target is None else format_ratio(result.target)


def _change_base(result: SizeResult) -> str:
    """What the change is between: two builds, or two workloads of one build."""
    if result.against_workload is None:
        return _CHANGE_BASE.format(other="the other build", this="this build")
    return _CHANGE_BASE.format(other=result.against_workload, this=result.workload)


def met_text(target: float | None, met: bool | None) -> str:
    """`yes`, `no`, `withheld` where a target has no verdict, `–` where there is no target."""
    if target is None:
        return UNKNOWN
    if met is None:
        return "withheld"
    return "yes" if met else "no"


def change_text(change: Interval | None, noise_floor: float | None) -> str:
    """`faster`, `slower` or `no change seen`: the interval must clear one *and* the noise floor."""
    if change is None:
        return UNKNOWN
    if is_faster(change, noise_floor):
        return "faster"
    if is_slower(change, noise_floor):
        return "slower"
    return "no change seen"


def _reading(result: SizeResult, report: MeasureReport) -> str:
    """A change in a word, or `withheld` where nothing supports the figures."""
    if result.change is not None and report.verdict is not MeasureVerdict.OK:
        return "withheld"
    floor = result.noise_floor if result.noise_floor is not None else report.noise_floor
    return change_text(result.change, floor)


def _blocks_table(results: Sequence[SizeResult]) -> Table:
    """All that a busy machine lets perfkit say: how many blocks were undisturbed, and no figure."""
    return table(
        results,
        {
            "size": lambda one: format_count(one.size),
            "undisturbed blocks": lambda one: str(one.valid_blocks),
            "blocks": lambda one: str(one.blocks),
        },
    )


def _cores_blocks(title: str, what: str, found: Sequence[float]) -> list[Block]:
    """A histogram of cores by block, in steps of a quarter core."""
    counts = Counter(math.floor(4 * cores) for cores in found)
    widest = max(counts.values())
    histogram = table(
        sorted(counts.items()),
        {
            what: lambda bar: f"{bar[0] / 4:.2f} to {(bar[0] + 1) / 4:.2f}",
            "blocks": lambda bar: str(bar[1]),
            "<": lambda bar: "#" * math.ceil(30 * bar[1] / widest),
        },
    )
    return [Heading(text=title), histogram]


def _floor_sentence(noise_floor: float | None) -> str:
    if noise_floor is None:
        return "The machine was quiet enough."
    return (
        f"The machine was quiet enough, and identical copies of the build differ by at most "
        f"{percent(noise_floor)} of the time of a call (the noise floor)."
    )

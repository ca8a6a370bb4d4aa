"""What `perfkit measure` reports, as blocks; other reports show its table too.

A figure stands beside its interval and its base; a verdict that is withheld says why.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, assert_never

from perfkit.measure.ratios import is_faster, is_slower
from perfkit.records import MeasureVerdict, Pattern
from perfkit.report.building import build_blocks
from perfkit.report.notes import notes_blocks
from perfkit.report.page import (
    Block,
    Bullets,
    Heading,
    Page,
    Table,
    Tone,
    Verdict,
    columns,
)
from perfkit.report.words import (
    UNKNOWN,
    joined,
    percent,
    ratio_interval,
    seconds,
    time_interval,
)
from perfkit.units import format_count, format_ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.records import (
        Interval,
        LoadedModule,
        MeasureReport,
        SizeResult,
    )

_SPEEDUP_BASE = (
    "Each: per element, the time of a call over its size. Speed-up is reference time over subject "
    "time, from the ratios block by block. Brackets: 95 % interval. A target is met by the lower "
    "bound. Blocks: undisturbed of all."
)
_CHANGE_BASE = (
    " Change is {other}'s time over {this}'s: above 1x {this} is faster; nothing inside the noise "
    "floor counts as a change."
)


def measure_page(report: MeasureReport) -> Page:
    """The report of `perfkit measure`."""
    blocks: list[Block] = [measure_verdict(report)]
    if report.verdict is MeasureVerdict.BUSY and report.foreign_cores:
        title = "Cores that other programs used, by the system's count"
        blocks += _cores_blocks(title, "cores used", report.foreign_cores)
    elif report.verdict is MeasureVerdict.BUSY and report.effective_cores:
        title = "Room on the machine, by perfkit's own fixed work"
        blocks += _cores_blocks(title, "cores free", report.effective_cores)
    for name in dict.fromkeys(result.workload for result in report.results):
        results = [result for result in report.results if result.workload == name]
        if report.verdict is MeasureVerdict.BUSY:
            blocks += [Heading(text=name), _blocks_table(results)]
            continue
        blocks += [Heading(text=name), measure_table(results, report)]
    blocks += notes_blocks(report.notes)
    blocks += build_blocks(report.build)
    blocks += _loaded_blocks(report.loaded)
    return Page(title="perfkit measure", blocks=tuple(blocks))


def measure_verdict(report: MeasureReport) -> Verdict:
    """Whether the figures may be believed, and which targets were met."""
    tone = Tone.BAD
    match report.verdict:
        case MeasureVerdict.OK:
            missed = [r for r in report.results if r.met is False]
            tone = Tone.CAUTION if missed else Tone.GOOD
            sentence = _floor_sentence(report.noise_floor)
            if missed:
                which = joined(f"{r.workload} at {format_count(r.size)}" for r in missed)
                sentence += f" Target missed: {which}."
        case MeasureVerdict.UNCHECKED:
            tone = Tone.CAUTION
            sentence = (
                "No sentinel and no comparison of identical code stands behind these figures: a "
                "busy machine would not have been noticed."
            )
        case MeasureVerdict.BUSY:
            valid = sum(result.valid_blocks for result in report.results)
            total = sum(result.blocks for result in report.results)
            counted = f" ({valid} of {total} blocks were undisturbed)" if total else ""
            sentence = f"No verdict: the machine had no room for the measurement{counted}."
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
    with_contended = any(result.contended_speedup is not None for result in results)
    with_pattern = any(result.pattern is not Pattern.HOT for result in results)
    titles = ["size", "time per call", "reference", "speed-up", "target", "met"]
    titles += ["contended speed-up"] if with_contended else []
    titles += ["change", "<reading"] if with_change else []
    rows = []
    for result in results:
        size = format_count(result.size)
        row = [
            f"{size}\n{result.pattern}" if with_pattern else size,
            f"{time_interval(result.time_s)}\n{seconds(result.time_s.estimate / result.size)} each",
            time_interval(result.reference_s),
            ratio_interval(result.speedup),
            format_ratio(result.target) if result.target is not None else UNKNOWN,
            met_text(result.target, result.met),
        ]
        row += [ratio_interval(result.contended_speedup)] if with_contended else []
        if with_change:
            reading = _reading(result, report)
            row += [ratio_interval(result.change), reading]
        row.append(f"{result.valid_blocks}/{result.blocks}")
        rows.append(tuple(row))
    caption = _SPEEDUP_BASE + (_change_base(results[0]) if with_change else "")
    return Table(columns=columns(*titles, "blocks"), rows=tuple(rows), caption=caption)


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
    """A change in a word, or `withheld` where nothing stands behind the figures."""
    if result.change is not None and report.verdict is not MeasureVerdict.OK:
        return "withheld"
    floor = result.noise_floor if result.noise_floor is not None else report.noise_floor
    return change_text(result.change, floor)


def _blocks_table(results: Sequence[SizeResult]) -> Table:
    """What a busy machine leaves to say: how many blocks were undisturbed, and no figure."""
    rows = tuple(
        (format_count(result.size), str(result.valid_blocks), str(result.blocks))
        for result in results
    )
    return Table(columns=columns("size", "undisturbed blocks", "blocks"), rows=rows)


def _cores_blocks(title: str, what: str, found: Sequence[float]) -> list[Block]:
    """A histogram of cores by block, in steps of a quarter core."""
    counts = Counter(math.floor(4 * cores) for cores in found)
    widest = max(counts.values())
    rows = tuple(
        (
            f"{step / 4:.2f} to {(step + 1) / 4:.2f}",
            str(count),
            "#" * math.ceil(30 * count / widest),
        )
        for step, count in sorted(counts.items())
    )
    table = Table(columns=columns(what, "blocks", "<"), rows=rows)
    return [Heading(text=title), table]


def _floor_sentence(noise_floor: float | None) -> str:
    if noise_floor is None:
        return "The machine had room."
    return (
        f"The machine had room, and identical copies of the build differ by no more than "
        f"{percent(noise_floor)} of the time of a call (the noise floor)."
    )


def _loaded_blocks(loaded: Sequence[LoadedModule]) -> list[Block]:
    """Which binaries ran: each file once, however many processes loaded it."""
    items = tuple(
        dict.fromkeys(
            f"{module.module} from {module.path.as_posix()} (sha256 {module.sha256[:12]}, "
            f"Python {module.python})"
            for module in loaded
        )
    )
    if not items:
        return []
    return [Heading(text="What ran"), Bullets(items=items)]

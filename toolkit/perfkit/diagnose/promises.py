"""What findings promised, against what was gained where one workload took the place of another.

Pure functions of finished runs. Two workloads do the same work when the configs of their runs give
them the same `setup` and `reference`; what one gained over the other comes from blocks that timed
both, or is withheld. How it is shown is in `perfkit.report.story`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, assert_never

from perfkit.measure.ratios import saved_share
from perfkit.measure.variants import SAME_WORK
from perfkit.records import (
    DiagnoseVerdict,
    Diagnosis,
    Finding,
    Interval,
    MeasureReport,
    MeasureVerdict,
    Pattern,
    ProfileReport,
    TuneReport,
)
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.records import Result, SizeResult

_NO_FIGURES = (DiagnoseVerdict.BUSY, DiagnoseVerdict.UNTRUSTED)
"""Verdicts under which nothing of a diagnosis stands; under the others its split sizes do."""


class Fulfilment(StrEnum):
    """Where the gain that was reached lies, beside the one that a finding promised."""

    INSIDE = "inside"
    ABOVE = "above"
    BELOW = "below"
    ACROSS = "across a bound"  # the interval of the gain holds a bound of the promise
    WITHHELD = "withheld"


class Afterwards(StrEnum):
    """What the later workload's diagnosis says of a finding of the earlier one."""

    NOT_FOUND = "not found"
    FOUND = "still found"
    UNKNOWN = "not diagnosed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """One finished run.

    Attributes:
        run: its name.
        values: its config, by dotted key.
    """

    run: str
    command: str
    values: Mapping[str, object]
    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """One size at which both workloads were timed in the same blocks.

    `change` is the earlier workload's time over the later one's; `saved` the share of the earlier
    one's call that the later one does without.
    """

    size: int
    pattern: Pattern
    before_s: Interval
    after_s: Interval
    change: Interval
    saved: Interval
    noise_floor: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A finding of the earlier workload, and what became of it.

    Attributes:
        saved: the share of the call that was saved at the finding's size; None when withheld.
        reason: why the reading is withheld.
        later: the same finding of the later workload, at whatever size it was reported.
    """

    finding: Finding
    saved: Interval | None
    reading: Fulfilment
    reason: str
    afterwards: Afterwards
    later: Finding | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """One workload in the place of another that does the same work.

    Attributes:
        run: the measurement that timed both; None when the gain is withheld.
        reason: why the gain is withheld.
        command: what measures it.
    """

    before: str
    after: str
    run: str | None
    steps: tuple[Gain, ...]
    promises: tuple[Promise, ...]
    reason: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Several runs as one report."""

    chapters: tuple[Chapter, ...]
    replacements: tuple[Replacement, ...]


def workloads_of(result: Result) -> set[str]:
    """The workloads that a run is about."""
    match result:
        case Diagnosis():
            return {split.workload for split in result.sizes}
        case MeasureReport():
            others = {row.against_workload for row in result.results} - {None}
            return {row.workload for row in result.results} | {str(name) for name in others}
        case TuneReport():
            return {result.workload}
        case ProfileReport():
            return {capture.workload for capture in result.captures}
        case _:
            assert_never(result)


def tell(chapters: Sequence[Chapter]) -> Story:
    """Find which workload replaced which, and hold what was gained against what was promised."""
    measured = _measured_pairs(chapters)
    pairs = dict.fromkeys(measured)
    known = {frozenset(pair) for pair in measured}
    for pair in _diagnosed_pairs(chapters):
        if frozenset(pair) not in known:
            pairs[pair] = None
    return Story(
        chapters=tuple(chapters),
        replacements=tuple(_replacement(chapters, pair, measured.get(pair)) for pair in pairs),
    )


def reading(saved: Interval, promised: Interval) -> Fulfilment:
    """Where a gain lies beside a promise; the interval of the gain decides, not its estimate."""
    if saved.low > promised.high:
        return Fulfilment.ABOVE
    if saved.high < promised.low:
        return Fulfilment.BELOW
    if saved.low >= promised.low and saved.high <= promised.high:
        return Fulfilment.INSIDE
    return Fulfilment.ACROSS


def _measured_pairs(chapters: Sequence[Chapter]) -> dict[tuple[str, str], Chapter]:
    """(earlier, later) by the measurement that timed both; the last one with a verdict counts."""
    found = {}
    for chapter in chapters:
        result = chapter.result
        if not isinstance(result, MeasureReport) or result.verdict is not MeasureVerdict.OK:
            continue
        for row in result.results:
            if row.against_workload is not None:
                found[(row.against_workload, row.workload)] = chapter
    return found


def _diagnosed_pairs(chapters: Sequence[Chapter]) -> list[tuple[str, str]]:
    """Diagnosed workloads of the same work with a size in common, each with the next one."""
    groups: dict[tuple[object, ...], dict[str, set[int]]] = {}
    for chapter in chapters:
        if not isinstance(chapter.result, Diagnosis):
            continue
        for name, sizes in _sizes(chapter.result).items():
            work = tuple(chapter.values.get(f"workloads.{name}.{key}") for key in SAME_WORK)
            if None not in work:
                groups.setdefault(work, {}).setdefault(name, set()).update(sizes)
    return [
        (before, after)
        for group in groups.values()
        for before, after in pairwise(group)
        if group[before] & group[after]
    ]


def _sizes(diagnosis: Diagnosis) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for split in diagnosis.sizes:
        found.setdefault(split.workload, set()).add(split.size)
    return found


def _replacement(
    chapters: Sequence[Chapter], pair: tuple[str, str], measured: Chapter | None
) -> Replacement:
    before, after = pair
    rows: list[SizeResult] = []
    if measured is not None and isinstance(measured.result, MeasureReport):
        rows = [
            row for row in measured.result.results if (row.against_workload, row.workload) == pair
        ]
    steps = tuple(step for row in rows if (step := _step(row)) is not None)
    reason = "" if measured is not None else _why_not_measured(chapters)
    promises = [
        _promise(chapters, chapter, finding, after, measured, steps, reason)
        for chapter, finding in _findings(chapters, before)
    ]
    sizes = {size for name in pair for size in _diagnosed_sizes(chapters, name)}
    sizes |= {step.size for step in steps}
    return Replacement(
        before=before,
        after=after,
        run=measured.run if measured is not None else None,
        steps=steps,
        promises=tuple(promises),
        reason=reason,
        command=(
            f"perfkit measure --workload {after} --against-workload {before} "
            f"--sizes {','.join(map(format_count, sorted(sizes)))}"
        ),
    )


def _step(row: SizeResult) -> Gain | None:
    if row.change is None or row.baseline_s is None:
        return None
    return Gain(
        size=row.size,
        pattern=row.pattern,
        before_s=row.baseline_s,
        after_s=row.time_s,
        change=row.change,
        saved=saved_share(row.change),
        noise_floor=row.noise_floor,
    )


def _why_not_measured(chapters: Sequence[Chapter]) -> str:
    """Why there is no gain to show: times of two runs on a shared machine do not compare."""
    reason = "none of these runs timed both in the same blocks"
    without = [
        f"{chapter.run}: {chapter.result.verdict}"
        for chapter in chapters
        if isinstance(chapter.result, MeasureReport)
        and chapter.result.verdict is not MeasureVerdict.OK
    ]
    return f"{reason} (without a verdict: {', '.join(without)})" if without else reason


def _diagnoses(chapters: Sequence[Chapter], workload: str) -> list[tuple[Chapter, Diagnosis]]:
    """The diagnoses of a workload whose figures stand."""
    return [
        (chapter, chapter.result)
        for chapter in chapters
        if isinstance(chapter.result, Diagnosis)
        and chapter.result.verdict not in _NO_FIGURES
        and workload in _sizes(chapter.result)
    ]


def _diagnosed_sizes(chapters: Sequence[Chapter], workload: str) -> set[int]:
    return {
        size
        for _, diagnosis in _diagnoses(chapters, workload)
        for size in _sizes(diagnosis)[workload]
    }


def _findings(chapters: Sequence[Chapter], workload: str) -> list[tuple[Chapter, Finding]]:
    """The findings of a workload with their runs; of one that is told twice, the last."""
    found = {
        (finding.id, finding.size): (chapter, finding)
        for chapter, diagnosis in _diagnoses(chapters, workload)
        for finding in diagnosis.findings
        if finding.workload == workload
    }
    return list(found.values())


def _promise(
    chapters: Sequence[Chapter],
    chapter: Chapter,
    finding: Finding,
    after: str,
    measured: Chapter | None,
    steps: Sequence[Gain],
    reason: str,
) -> Promise:
    step = next(
        (step for step in steps if step.size == finding.size and step.pattern is Pattern.HOT), None
    )
    if not reason and measured is not None and not _builds(chapter) & _builds(measured):
        reason = "the diagnosis is of another build than the measurement"
    if not reason and step is None:
        reason = f"not timed together at {format_count(finding.size)}"
    saved = step.saved if step is not None and not reason else None
    afterwards, later = _afterwards(chapters, finding, after)
    return Promise(
        finding=finding,
        saved=saved,
        reading=Fulfilment.WITHHELD if saved is None else reading(saved, finding.predicted_gain),
        reason=reason,
        afterwards=afterwards,
        later=later,
    )


def _builds(chapter: Chapter) -> set[str]:
    """Hashes of the extension files that were timed."""
    result = chapter.result
    report = result.measured if isinstance(result, Diagnosis) else result
    return {one.sha256 for one in report.loaded} if isinstance(report, MeasureReport) else set()


def _afterwards(
    chapters: Sequence[Chapter], finding: Finding, after: str
) -> tuple[Afterwards, Finding | None]:
    """What became of a finding.

    A diagnosis reports a finding at the one size where it matters most, so the same finding counts
    at any size; that it is not there needs a split at this one.
    """
    diagnoses = [diagnosis for _, diagnosis in _diagnoses(chapters, after)]
    for diagnosis in reversed(diagnoses):
        for later in diagnosis.findings:
            if (later.id, later.workload) == (finding.id, after):
                return Afterwards.FOUND, later
    looked = any(
        split.size == finding.size and split.workload == after and split.layers
        for diagnosis in diagnoses
        for split in diagnosis.sizes
    )
    return (Afterwards.NOT_FOUND if looked else Afterwards.UNKNOWN), None

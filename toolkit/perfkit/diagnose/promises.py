"""What findings promised, and what was gained where one workload replaced another.

Pure functions of finished runs. Two workloads do the same work when the configs of their runs give
them the same `setup` and `reference`; what one gained over the other comes from blocks that timed
both, or is withheld. How it is shown is in `perfkit.report.story`.
"""

from __future__ import annotations

import math
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
    Saving,
    TuneReport,
)
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.records import Result

_NO_FIGURES = (DiagnoseVerdict.BUSY, DiagnoseVerdict.UNTRUSTED)
"""Verdicts under which nothing of a diagnosis stands; under the others its split sizes do."""


class Fulfilment(StrEnum):
    """How the gain that was reached compares with the one that a finding promised.

    A bound is kept by every gain below it; only a gain that was tried can be missed from below.
    """

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
        saved: the share of the call that was saved at the finding's size; None when withheld, and
            where the finding promised nothing of the call's time.
        reading: None where it promised nothing.
        reason: why the reading is withheld.
        later: the same finding of the later workload, at whatever size it was reported.
    """

    finding: Finding
    saved: Interval | None
    reading: Fulfilment | None
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
    """Find which workload replaced which, and compare what was gained with what was promised."""
    measured = _measured_pairs(chapters)
    known = {frozenset(pair) for pair in measured}
    diagnosed = [pair for pair in _diagnosed_pairs(chapters) if frozenset(pair) not in known]
    return Story(
        chapters=tuple(chapters),
        replacements=tuple(
            _replacement(chapters, pair, measured.get(pair))
            for pair in dict.fromkeys((*measured, *diagnosed))
        ),
    )


def reading(saved: Interval, promised: Saving) -> Fulfilment:
    """Where a gain is relative to a promise; its interval decides, not its estimate."""
    low = promised.tried.low if promised.tried is not None else -math.inf
    if saved.low > promised.at_most:
        return Fulfilment.ABOVE
    if saved.high < low:
        return Fulfilment.BELOW
    if saved.low >= low and saved.high <= promised.at_most:
        return Fulfilment.INSIDE
    return Fulfilment.ACROSS


_Timed = tuple[str, MeasureReport]
"""A measurement with a verdict, and the name of its run."""


def _measured_pairs(chapters: Sequence[Chapter]) -> dict[tuple[str, str], _Timed]:
    """(earlier, later) by the measurement that timed both; the last one with a verdict counts."""
    return {
        (row.against_workload, row.workload): (chapter.run, result)
        for chapter in chapters
        if isinstance(result := chapter.result, MeasureReport)
        and result.verdict is MeasureVerdict.OK
        for row in result.results
        if row.against_workload is not None
    }


def _diagnosed_pairs(chapters: Sequence[Chapter]) -> list[tuple[str, str]]:
    """Diagnosed workloads of the same work with a size in common, each with the next one."""
    groups: dict[tuple[object, ...], dict[str, set[int]]] = {}
    for chapter in chapters:
        if not isinstance(chapter.result, Diagnosis):
            continue
        for split in chapter.result.sizes:
            name = split.workload
            work = tuple(chapter.values.get(f"workloads.{name}.{key}") for key in SAME_WORK)
            if None not in work:
                groups.setdefault(work, {}).setdefault(name, set()).add(split.size)
    return [
        (before, after)
        for group in groups.values()
        for before, after in pairwise(group)
        if group[before] & group[after]
    ]


def _replacement(
    chapters: Sequence[Chapter], pair: tuple[str, str], timed: _Timed | None
) -> Replacement:
    before, after = pair
    steps = tuple(
        Gain(
            size=row.size,
            pattern=row.pattern,
            before_s=row.baseline_s,
            after_s=row.time_s,
            change=row.change,
            saved=saved_share(row.change),
            noise_floor=row.noise_floor,
        )
        for row in (timed[1].results if timed is not None else ())
        if (row.against_workload, row.workload) == pair
        and row.change is not None
        and row.baseline_s is not None
    )
    reason = "" if timed is not None else _why_not_measured(chapters)
    # If a finding is reported twice, the last one counts.
    findings = {
        (finding.id, finding.size): (diagnosis, finding)
        for diagnosis in _diagnoses(chapters, before)
        for finding in diagnosis.findings
        if finding.workload == before
    }
    later = _diagnoses(chapters, after)
    promises = tuple(
        _promise(
            finding,
            _gain_at(finding, diagnosis, timed, steps) if timed is not None else reason,
            _afterwards(later, finding, after),
        )
        for diagnosis, finding in findings.values()
    )
    sizes = {step.size for step in steps}
    for name in pair:
        diagnosed = _diagnoses(chapters, name)
        sizes |= {split.size for one in diagnosed for split in one.sizes if split.workload == name}
    return Replacement(
        before=before,
        after=after,
        run=timed[0] if timed is not None else None,
        steps=steps,
        promises=promises,
        reason=reason,
        command=(
            f"perfkit measure --workload {after} --against-workload {before} "
            f"--sizes {','.join(map(format_count, sorted(sizes)))}"
        ),
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


def _diagnoses(chapters: Sequence[Chapter], workload: str) -> list[Diagnosis]:
    """The diagnoses of a workload whose figures stand."""
    return [
        result
        for chapter in chapters
        if isinstance(result := chapter.result, Diagnosis)
        and result.verdict not in _NO_FIGURES
        and workload in workloads_of(result)
    ]


def _gain_at(
    finding: Finding, diagnosis: Diagnosis, timed: _Timed, steps: Sequence[Gain]
) -> Interval | str:
    """The share of the call that was saved at a finding's size, or why that is withheld."""
    if not _builds(diagnosis.measured) & _builds(timed[1]):
        return "the diagnosis is of another build than the measurement"
    for step in steps:
        if step.size == finding.size and step.pattern is Pattern.HOT:
            return step.saved
    return f"not timed together at {format_count(finding.size)}"


def _builds(report: MeasureReport | None) -> set[str]:
    """Hashes of the extension files that were timed."""
    return {one.sha256 for one in report.loaded} if report is not None else set()


def _promise(
    finding: Finding, saved: Interval | str, afterwards: tuple[Afterwards, Finding | None]
) -> Promise:
    """A finding with the gain at its size, or why that is withheld, and what became of it."""
    known: Interval | None = None
    judged: Fulfilment | None = None
    reason = ""
    if finding.predicted_gain is None:
        pass  # nothing of this call's time was promised
    elif isinstance(saved, str):
        judged, reason = Fulfilment.WITHHELD, saved
    else:
        known, judged = saved, reading(saved, finding.predicted_gain)
    return Promise(
        finding=finding,
        saved=known,
        reading=judged,
        reason=reason,
        afterwards=afterwards[0],
        later=afterwards[1],
    )


def _afterwards(
    diagnoses: Sequence[Diagnosis], finding: Finding, after: str
) -> tuple[Afterwards, Finding | None]:
    """What became of a finding, by the diagnoses of the later workload.

    A diagnosis reports a finding at the one size where it matters most, so the same finding counts
    at any size; that it is not there needs a split at this one.
    """
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

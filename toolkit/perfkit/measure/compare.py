"""`perfkit compare RUN RUN`: two finished runs, where they may be compared at all.

Times of two days do not compare on a shared machine; ratios to a reference that was measured in the
same blocks do, on the same machine with the same toolchain. perfkit refuses anything else and names
what differs. "Did my edit help?" is answered by `perfkit measure --against`, not here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from perfkit.errors import StoreError, UsageError
from perfkit.measure.ratios import mapped
from perfkit.records import (
    ComparedSize,
    Interval,
    MeasureReport,
    MeasureVerdict,
    Note,
    Place,
    RunComparison,
)
from perfkit.run_files import HEADER, MEASUREMENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from perfkit.records import SizeResult
    from perfkit.store import Run

_SAME_WORK = ("call", "setup", "reference")
"""Keys of a workload that decide what is compared with what."""

_IGNORED_FIELDS = {"key"}


def compare_runs(before: Run, after: Run) -> RunComparison:
    """Compare the speed-ups of two runs of `perfkit measure`.

    Raises:
        UsageError: machine, toolchain or workloads differ, or a run has no verdict.
        StoreError: a run holds no measurement.
    """
    refuse_other_machines(before, after)
    first, second = _report(before), _report(after)
    _refuse_other_libraries(before, after, first, second)
    refuse_other_work(before, after, {result.workload for result in second.results})
    sizes, notes = [], []
    earlier = {(r.workload, r.size, r.pattern): r for r in first.results}
    for result in second.results:
        known = earlier.pop((result.workload, result.size, result.pattern), None)
        if known is None:
            notes.append(_note("only_after", "only the later run measured it", result))
        elif known.speedup is None or result.speedup is None:
            text = "has no reference, so its times cannot be compared between runs"
            notes.append(_note("no_reference", text, result))
        else:
            sizes.append(_compared(known, result, known.speedup, result.speedup))
    only_before = "only the earlier run measured it"
    notes += [_note("only_before", only_before, result) for result in earlier.values()]
    if not sizes:
        message = "the runs have no size with a speed-up in common"
        remedy = "measure the same sizes of a workload that has a reference"
        raise UsageError(message, where=f"{before.id} and {after.id}", remedy=remedy)
    return RunComparison(before=before.id, after=after.id, sizes=tuple(sizes), notes=tuple(notes))


def _note(id_: str, text: str, result: SizeResult) -> Note:
    place = Place(workload=result.workload, sizes=(result.size,), pattern=result.pattern)
    return Note(id=id_, text=text, place=place)


def _compared(
    known: SizeResult, result: SizeResult, before: Interval, after: Interval
) -> ComparedSize:
    """Ratio of two independent ratios, in logarithms."""
    first, second = mapped(before, math.log), mapped(after, math.log)
    centre = second.estimate - first.estimate
    floor = math.log1p(max(known.noise_floor or 0.0, result.noise_floor or 0.0))
    below = math.hypot(second.estimate - second.low, first.high - first.estimate)
    above = math.hypot(second.high - second.estimate, first.estimate - first.low)
    logs = Interval(estimate=centre, low=centre - below - floor, high=centre + above + floor)
    change = mapped(logs, math.exp)
    return ComparedSize(
        workload=result.workload,
        size=result.size,
        pattern=result.pattern,
        before=before,
        after=after,
        change=change,
        differ=change.low > 1 or change.high < 1,
    )


def _report(run: Run) -> MeasureReport:
    report = MEASUREMENT.load(run)
    if report.verdict is not MeasureVerdict.OK:
        message = f"its verdict is `{report.verdict}`, so it has no figures to compare"
        raise UsageError(message, where=run.id, remedy="measure again on a quieter machine")
    return report


def _differing(
    first: Mapping[str, object], second: Mapping[str, object], names: Iterable[str], missing: object
) -> list[str]:
    """A line for each name whose values differ; `missing` stands for one that is not there."""
    return [
        f"{name}: {first.get(name, missing)} | {second.get(name, missing)}"
        for name in names
        if first.get(name) != second.get(name)
    ]


def _refuse(before: Run, after: Run, differing: list[str], message: str, remedy: str) -> None:
    """Refuse when anything differs, with all of it."""
    if differing:
        where, details = f"{before.id} and {after.id}", "\n".join(differing)
        raise UsageError(message, where=where, details=details, remedy=remedy)


def refuse_other_machines(before: Run, after: Run) -> None:
    """Check that two runs come from one machine and toolchain.

    Raises:
        UsageError: they do not.
    """
    first, second = _fingerprint(before), _fingerprint(after)
    names = sorted({*first, *second} - _IGNORED_FIELDS)
    message = "the runs come from different machines or toolchains"
    remedy = "measure both states here: perfkit measure --against REVISION"
    _refuse(before, after, _differing(first, second, names, None), message, remedy)


def refuse_other_work(before: Run, after: Run, workloads: set[str]) -> None:
    """Only runs that do the same work compare.

    Raises:
        UsageError: with the keys of the config and the files of workloads that differ.
    """
    first, second = config_values(before), config_values(after)
    keys = [f"workloads.{name}.{key}" for name in sorted(workloads) for key in _SAME_WORK]
    keys += ["subject.threads", "measure.reference_threads"]
    named = {str(value).rpartition(":")[0] for key in keys for value in (first.get(key),) if value}
    files, others = (
        {name: digest[:12] for name, digest in HEADER.load(run).workload_files.items()}
        for run in (before, after)
    )
    differing = _differing(first, second, keys, None)
    differing += _differing(files, others, sorted(named & {*files, *others}), "not known")
    message = "the runs do different work"
    remedy = "measure both with the same config and the same workload files"
    _refuse(before, after, differing, message, remedy)


def _refuse_other_libraries(
    before: Run, after: Run, first: MeasureReport, second: MeasureReport
) -> None:
    """The reference's speed is that of its libraries, and of the interpreter that runs it."""
    one, two = ({**_pythons(report), **report.libraries} for report in (first, second))
    differing = _differing(one, two, sorted({*one, *two}), "not loaded")
    message = "the runs come from different interpreters or libraries"
    _refuse(before, after, differing, message, "measure both in one environment")


def _pythons(report: MeasureReport) -> dict[str, str]:
    versions = dict.fromkeys(module.python for module in report.loaded)
    return {"Python": ", ".join(versions)} if versions else {}


def _fingerprint(run: Run) -> Mapping[str, object]:
    fingerprint = HEADER.load(run).fingerprint
    if fingerprint is None:
        message = "does not say which machine it was measured on"
        raise StoreError(message, where=str(run.directory / HEADER.name))
    return fingerprint


def config_values(run: Run) -> dict[str, object]:
    """The config of a run by dotted key, as its `run.json` has it."""
    return {item.key: item.value for item in HEADER.load(run).config}

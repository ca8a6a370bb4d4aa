"""Runs for the tests of the report over several: one workload replaces another; nothing here was
measured. The figures are those of `report_records`.
"""

from __future__ import annotations

import dataclasses

import report_records as records

from perfkit.diagnose.promises import Chapter
from perfkit.records import (
    DiagnoseVerdict,
    Diagnosis,
    Finding,
    Interval,
    MeasureReport,
    Pattern,
    Saving,
    SizeResult,
)

WORK = {"setup": "work.py:arrays", "reference": "work.py:numpy"}
SIZES = (10_000, 100_000)


def values(*names: str, setup: str = WORK["setup"]) -> dict[str, object]:
    work = {**WORK, "setup": setup}
    return {f"workloads.{name}.{key}": value for name in names for key, value in work.items()}


def chapter(
    run: str,
    command: str,
    result: Diagnosis | MeasureReport,
    config: dict[str, object] | None = None,
) -> Chapter:
    known = config if config is not None else values("price", "fast")
    return Chapter(run=run, command=command, values=known, result=result)


def finding(
    identifier: str, title: str, size: int, gain: Saving | None, workload: str = "price"
) -> Finding:
    return dataclasses.replace(
        records.finding(0),
        id=identifier,
        title=title,
        workload=workload,
        size=size,
        share=gain.at_most if gain is not None else 0.8,
        predicted_gain=gain,
        gains="" if gain is not None else "fixing it lets other threads run",
    )


def tried(low: float, high: float) -> Saving:
    return Saving(at_most=high, tried=saved(low, high))


def diagnosis(workload: str, *findings: Finding) -> Diagnosis:
    splits = tuple(
        dataclasses.replace(split, workload=workload)
        for split in records.DIAGNOSIS.sizes
        if split.size in SIZES
    )
    return dataclasses.replace(
        records.DIAGNOSIS,
        verdict=DiagnoseVerdict.OK,
        sizes=splits,
        findings=findings,
        recommendation=None,
    )


def together(size: int, saved: Interval, pattern: Pattern = Pattern.HOT) -> SizeResult:
    """A size of `fast` beside `price`, with the share of the call that it saves."""
    change = Interval(
        estimate=1 / (1 - saved.estimate), low=1 / (1 - saved.low), high=1 / (1 - saved.high)
    )
    return dataclasses.replace(
        records.size_result(size),
        workload="fast",
        time_s=records.around(records.TIMES[size] / change.estimate),
        change=change,
        baseline_s=records.around(records.TIMES[size]),
        against_workload="price",
        noise_floor=0.005,
        pattern=pattern,
    )


def measured(*rows: SizeResult) -> MeasureReport:
    return dataclasses.replace(records.MEASURED, results=rows, notes=())


def saved(low: float, high: float) -> Interval:
    return Interval(estimate=(low + high) / 2, low=low, high=high)


BEFORE = chapter(
    "one-diagnose",
    "diagnose",
    diagnosis(
        "price",
        finding("sequence", "A list is converted element by element", 10_000, tried(0.35, 0.41)),
        finding("pool", "Threads are woken for little work", 100_000, Saving(at_most=0.25)),
        finding("output", "The output is allocated in each call", 100_000, tried(0.12, 0.16)),
        finding("gil", "The GIL is held", 100_000, None),
    ),
)
AFTER = chapter(
    "two-diagnose",
    "diagnose",
    diagnosis(
        "fast",
        finding(
            "output", "The output is allocated in each call", 100_000, tried(0.3, 0.36), "fast"
        ),
    ),
)
INSIDE = chapter(
    "three-measure",
    "measure",
    measured(
        together(10_000, saved(0.36, 0.39)),
        together(10_000, saved(0.3, 0.42), Pattern.IDLE),
        together(100_000, saved(0.15, 0.19)),
    ),
)
OUTSIDE = chapter(
    "three-measure",
    "measure",
    measured(together(10_000, saved(0.62, 0.64)), together(100_000, saved(0.02, 0.06))),
)
TUNED = Chapter(
    run="four-tune", command="tune", values=values("price", "fast"), result=records.TUNED
)

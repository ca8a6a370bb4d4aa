"""From reports to exit codes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from perfkit.cli import verdicts
from perfkit.errors import ExitCode
from perfkit.records import (
    Capture,
    DiagnoseVerdict,
    Diagnosis,
    Doubts,
    Interval,
    MeasureReport,
    MeasureVerdict,
    ProfileReport,
    SizeResult,
    TuneReport,
    TuneStatus,
)
from perfkit.report import console
from perfkit.report.profiling import profile_page

ONE = Interval(estimate=1.0, low=0.99, high=1.01)
RESULT = SizeResult(
    workload="sum",
    size=10,
    time_s=ONE,
    reference_s=ONE,
    speedup=ONE,
    target=None,
    met=None,
    valid_blocks=20,
    blocks=20,
)


def measured(verdict: MeasureVerdict, **changes: object) -> MeasureReport:
    result = dataclasses.replace(RESULT, **changes)  # type: ignore[arg-type]
    return MeasureReport(verdict=verdict, noise_floor=0.01, results=(result,))


@pytest.mark.parametrize(
    ("verdict", "changes", "code"),
    [
        (MeasureVerdict.OK, {}, ExitCode.GOOD),
        (MeasureVerdict.OK, {"met": True}, ExitCode.GOOD),
        (MeasureVerdict.OK, {"met": False}, ExitCode.GATE),
        (MeasureVerdict.UNCHECKED, {"met": False}, ExitCode.GATE),
        (MeasureVerdict.BUSY, {"met": False}, ExitCode.NO_VERDICT),
        (MeasureVerdict.UNTRUSTED, {}, ExitCode.NO_VERDICT),
        (
            MeasureVerdict.OK,
            {"change": Interval(estimate=0.9, low=0.88, high=0.92), "noise_floor": 0.02},
            ExitCode.GATE,
        ),
        (
            MeasureVerdict.OK,
            {"change": Interval(estimate=0.99, low=0.985, high=0.995), "noise_floor": 0.02},
            ExitCode.GOOD,
        ),
        (
            MeasureVerdict.OK,
            {"change": Interval(estimate=1.2, low=1.1, high=1.3), "noise_floor": 0.02},
            ExitCode.GOOD,
        ),
    ],
)
def test_measure(verdict: MeasureVerdict, changes: dict[str, object], code: ExitCode) -> None:
    assert verdicts.measure_code(measured(verdict, **changes)) is code


def capture(size: int, *, slower: float | None = 0.01) -> Capture:
    return Capture(
        profiler="perf",
        workload="sum",
        size=size,
        clock="cpu",
        rate_hz=997,
        samples=10,
        calls=1,
        region_s=1.0,
        unresolved_share=0.0,
        slowdown=None,
        doubts=Doubts(slowdown=slower),
        files={"folded": Path("stacks/a.folded")},
    )


def test_profile_wants_one_capture_of_every_size_that_tells_something() -> None:
    good, bad = capture(1), capture(1, slower=9.0)
    # Nothing was named: perf was tried, and what came instead tells something.
    assert verdicts.profile_code([bad, good], named=False) is ExitCode.GOOD
    other = capture(2, slower=9.0)
    assert verdicts.profile_code([good, other], named=False) is ExitCode.NO_VERDICT
    # Each was asked for: a count that tells something is no answer for a time that does not.
    assert verdicts.profile_code([bad, good], named=True) is ExitCode.NO_VERDICT
    assert verdicts.profile_code([good, good], named=True) is ExitCode.GOOD
    for named in (False, True):
        assert verdicts.profile_code([bad], named=named) is ExitCode.NO_VERDICT
        assert verdicts.profile_code([], named=named) is ExitCode.NO_VERDICT


def test_ten_samples_and_a_cost_that_is_not_known_are_no_refusal() -> None:
    assert verdicts.profile_code([capture(1, slower=None)], named=True) is ExitCode.GOOD
    nothing = dataclasses.replace(capture(1), samples=0)
    assert verdicts.profile_code([nothing], named=True) is ExitCode.NO_VERDICT


@pytest.mark.parametrize("verdict", DiagnoseVerdict)
def test_diagnose(verdict: DiagnoseVerdict) -> None:
    none = (DiagnoseVerdict.DISAGREE, DiagnoseVerdict.UNTRUSTED, DiagnoseVerdict.BUSY)
    diagnosis = Diagnosis(verdict=verdict, sizes=(), profilers=(), findings=())
    code = ExitCode.NO_VERDICT if verdict in none else ExitCode.GOOD
    assert verdicts.diagnose_code(diagnosis) is code


@pytest.mark.parametrize(
    ("status", "met", "code"),
    [
        (TuneStatus.SUCCESS, True, ExitCode.GOOD),
        (TuneStatus.KEPT, False, ExitCode.GOOD),
        (TuneStatus.MAX_ITERATIONS, False, ExitCode.GATE),
        (TuneStatus.MAX_ITERATIONS, None, ExitCode.GOOD),
        (TuneStatus.STAGNATION, True, ExitCode.GOOD),
        (TuneStatus.DEGRADATION, "nothing confirmed", ExitCode.GATE),
        (TuneStatus.BUSY, "nothing confirmed", ExitCode.NO_VERDICT),
        (TuneStatus.UNTRUSTED, "nothing confirmed", ExitCode.NO_VERDICT),
        (TuneStatus.FAILED, "nothing confirmed", ExitCode.ERROR),
    ],
)
def test_tune(status: TuneStatus, met: bool | str | None, code: ExitCode) -> None:
    confirmed = ()
    if not isinstance(met, str):
        confirmed = (dataclasses.replace(RESULT, change=ONE, target=1.0, met=met),)
    report = TuneReport(
        status=status,
        reason="",
        builds=1,
        evaluations=1,
        wall_s=1.0,
        trials=(),
        best_params=None,
        confirmed=confirmed,
        dead_parameters=(),
    )
    assert verdicts.tune_code(report) is code


def test_a_cost_that_is_not_known_is_the_verdict() -> None:
    """What ran once was compared with nothing; a count needs no comparison."""
    once = capture(1, slower=None)
    count = dataclasses.replace(once, profiler="callgrind", clock="instructions")
    cost = Interval(estimate=0.01, low=0.0, high=0.015)
    cheap = dataclasses.replace(once, slowdown=cost)

    def shown(*captures: Capture) -> str:
        page = profile_page(ProfileReport(captures=captures))
        return " ".join(console.render(page, width=80, colour=False).split())

    assert "cost unknown" in shown(once)
    for others in ((count,), (cheap,), (count, cheap)):
        assert "cost unknown" not in shown(*others)
    assert "What profiling cost is not known for all" in shown(once, cheap)

"""From a report to the exit code of its command: the table of docs/reference.md as code."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from perfkit.errors import ExitCode
from perfkit.measure.ratios import is_slower
from perfkit.records import DiagnoseVerdict, MeasureVerdict, TuneStatus
from perfkit.stacks import bounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.records import Capture, Diagnosis, MeasureReport, TuneReport


def measure_code(report: MeasureReport) -> ExitCode:
    """4 without a verdict; 3 when a target is missed or a change is for the worse."""
    match report.verdict:
        case MeasureVerdict.BUSY | MeasureVerdict.UNTRUSTED:
            return ExitCode.NO_VERDICT
        case MeasureVerdict.OK | MeasureVerdict.UNCHECKED:
            pass
        case _:
            assert_never(report.verdict)
    missed = any(result.met is False for result in report.results)
    worse = any(
        result.change is not None and is_slower(result.change, result.noise_floor)
        for result in report.results
    )
    return ExitCode.GATE if missed or worse else ExitCode.GOOD


def profile_code(captures: Sequence[Capture], *, named: bool) -> ExitCode:
    """4 where a capture that was asked for tells nothing.

    Args:
        named: the profilers were named: each of their captures was asked for. Else one that tells
            something is enough for each workload and size.
    """
    telling = {(one.workload, one.size) for one in captures if bounds.tells(one)}
    asked = {(capture.workload, capture.size) for capture in captures}
    good = all(map(bounds.tells, captures)) if named else asked == telling
    return ExitCode.GOOD if captures and good else ExitCode.NO_VERDICT


def diagnose_code(diagnosis: Diagnosis) -> ExitCode:
    """0 for a report that is true as written, 4 where its parts contradict each other or nothing
    could be told.
    """
    match diagnosis.verdict:
        case (
            DiagnoseVerdict.OK
            | DiagnoseVerdict.UNCHECKED
            | DiagnoseVerdict.BOUNDED
            | DiagnoseVerdict.CONTENDED
        ):
            return ExitCode.GOOD
        case DiagnoseVerdict.DISAGREE | DiagnoseVerdict.UNTRUSTED | DiagnoseVerdict.BUSY:
            return ExitCode.NO_VERDICT
        case _:
            assert_never(diagnosis.verdict)


def tune_code(report: TuneReport) -> ExitCode:
    """0 for success and kept, 3 for a stop with a target missed, 4 for no verdict.

    A stop after which nothing was confirmed has met nothing.
    """
    match report.status:
        case TuneStatus.SUCCESS | TuneStatus.KEPT:
            return ExitCode.GOOD
        case TuneStatus.MAX_ITERATIONS | TuneStatus.STAGNATION | TuneStatus.DEGRADATION:
            missed = any(size.met is False for size in report.confirmed)
            return ExitCode.GATE if missed or not report.confirmed else ExitCode.GOOD
        case TuneStatus.BUSY | TuneStatus.UNTRUSTED:
            return ExitCode.NO_VERDICT
        case TuneStatus.FAILED:
            return ExitCode.ERROR
        case _:
            assert_never(report.status)

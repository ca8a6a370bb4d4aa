"""From a report to the exit code of its command: the table of docs/reference.md as code."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from perfkit.errors import ExitCode
from perfkit.measure.ratios import is_slower
from perfkit.records import DiagnoseVerdict, MeasureVerdict, TuneStatus

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
    """Whether every capture that was asked for can be trusted.

    Args:
        named: the profilers were named: each of their captures was asked for. Else one that can be
            trusted is enough for each workload and size.
    """
    trusted = {(capture.workload, capture.size) for capture in captures if capture.accepted}
    asked = {(capture.workload, capture.size) for capture in captures}
    good = all(capture.accepted for capture in captures) if named else asked == trusted
    return ExitCode.GOOD if captures and good else ExitCode.NO_VERDICT


def diagnose_code(diagnosis: Diagnosis) -> ExitCode:
    """4 when the split cannot be trusted, its estimators disagree, or the FFI cost is known
    nowhere.
    """
    match diagnosis.verdict:
        case DiagnoseVerdict.OK | DiagnoseVerdict.UNCHECKED:
            known = any(split.ffi.agree for split in diagnosis.sizes)
            return ExitCode.GOOD if known else ExitCode.NO_VERDICT
        case (
            DiagnoseVerdict.DISAGREE
            | DiagnoseVerdict.DISTORTED
            | DiagnoseVerdict.UNTRUSTED
            | DiagnoseVerdict.BUSY
        ):
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

"""A finished run shown again from its directory alone: which file holds its result, and as what.

Nothing is measured or judged again here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit import store
from perfkit.errors import StoreError
from perfkit.records import Capture, Diagnosis, MeasureReport, TuneReport
from perfkit.report import machine, pages

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from perfkit.report.machine import Document
    from perfkit.report.page import Page

REPORT_FILE = "final_report.md"
MEASUREMENT_FILE = "measurement.json"
PROFILE_FILE = "profile.json"
DIAGNOSIS_FILE = "diagnosis.json"
TUNING_FILE = "tuning.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A run's report, ready for any form."""

    page: Page
    document: Document


def load(run: store.Run) -> Shown:
    """Read a run's result back.

    Raises:
        StoreError: the run ended before it had one, or another perfkit wrote it.
    """
    for name, read in _READERS.items():
        path = run.directory / name
        if path.is_file():
            return read(store.read_json(path), str(path))
    header = store.read_json(run.directory / store.RUN_FILE)
    message = f"`perfkit {header.get('command')}` ended before it had a result"
    remedy = "run it again" if header.get("command") != "tune" else "go on with --resume " + run.id
    raise StoreError(
        message, where=str(run.directory), remedy=remedy, details=header.get("error") or ""
    )


def report_file(run: store.Run) -> Path:
    """Where a run's report lies.

    Raises:
        StoreError: it has none.
    """
    path = run.directory / REPORT_FILE
    if not path.is_file():
        message = "this run has no report"
        raise StoreError(message, where=str(run.directory), remedy="name another run")
    return path


def _measurement(value: object, where: str) -> Shown:
    report = store.from_json(MeasureReport, value, where=where)
    return Shown(page=pages.measure(report), document=machine.measure_json(report))


def _profile(value: object, where: str) -> Shown:
    captures = store.from_json(_Captures, value, where=where).captures
    return Shown(page=pages.profile(captures), document=machine.profile_json(captures))


def _diagnosis(value: object, where: str) -> Shown:
    diagnosis = store.from_json(Diagnosis, value, where=where)
    return Shown(page=pages.diagnose(diagnosis), document=machine.diagnose_json(diagnosis))


def _tuning(value: object, where: str) -> Shown:
    report = store.from_json(TuneReport, value, where=where)
    return Shown(page=pages.tune(report), document=machine.tune_json(report))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Captures:
    captures: tuple[Capture, ...]


_READERS: dict[str, Callable[[object, str], Shown]] = {
    TUNING_FILE: _tuning,
    DIAGNOSIS_FILE: _diagnosis,
    PROFILE_FILE: _profile,
    MEASUREMENT_FILE: _measurement,
}
"""A tuning run holds profiles and measurements too: the result that a run is about comes first."""

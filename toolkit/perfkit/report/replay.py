"""Finished runs shown again from their directories alone: which file holds a result, and as what.

Nothing is measured or judged again here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from perfkit import store
from perfkit.diagnose.promises import Chapter, tell, workloads_of
from perfkit.errors import StoreError
from perfkit.measure.compare import config_values, refuse_other_machines, refuse_other_work
from perfkit.records import Capture, Check, Diagnosis, MeasureReport, TuneReport
from perfkit.report import machine, pages

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from perfkit.diagnose.promises import Result
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
    result = _result(run)
    match result:
        case TuneReport():
            return Shown(page=pages.tune(result), document=machine.tune_json(result))
        case Diagnosis():
            return Shown(page=pages.diagnose(result), document=machine.diagnose_json(result))
        case MeasureReport():
            return Shown(page=pages.measure(result), document=machine.measure_json(result))
        case tuple():
            path = run.directory / PROFILE_FILE
            build = _profiled(store.read_json(path), str(path)).build
            return Shown(
                page=pages.profile(result, build=build),
                document=machine.profile_json(result, build=build),
            )
        case _:
            assert_never(result)


def load_several(runs: Sequence[store.Run]) -> Shown:
    """Read several runs back as one report, in the order given.

    Raises:
        StoreError: as in `load`, for any of them.
        UsageError: they come from different machines or toolchains, or a workload that two of them
            name is not the same work in both.
    """
    results = [_result(run) for run in runs]
    names = set().union(*(workloads_of(result) for result in results))
    for other in runs[1:]:
        refuse_other_machines(runs[0], other)
        refuse_other_work(runs[0], other, names)
    chapters = [
        Chapter(
            run=run.id,
            command=str(store.read_json(run.directory / store.RUN_FILE).get("command")),
            values=config_values(run),
            result=result,
        )
        for run, result in zip(runs, results, strict=True)
    ]
    story = tell(chapters)
    return Shown(page=pages.story(story), document=machine.story_json(story))


def _result(run: store.Run) -> Result:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Profiled:
    captures: tuple[Capture, ...]
    build: tuple[Check, ...] = ()


def _profiled(value: object, where: str) -> _Profiled:
    return store.from_json(_Profiled, value, where=where)


_READERS: dict[str, Callable[[object, str], Result]] = {
    TUNING_FILE: lambda value, where: store.from_json(TuneReport, value, where=where),
    DIAGNOSIS_FILE: lambda value, where: store.from_json(Diagnosis, value, where=where),
    PROFILE_FILE: lambda value, where: _profiled(value, where).captures,
    MEASUREMENT_FILE: lambda value, where: store.from_json(MeasureReport, value, where=where),
}
"""A tuning run holds profiles and measurements too: the result that a run is about comes first."""

"""Results of finished runs: kept in their directories as record, report and pictures, and shown
again from there alone. The one list of the kinds of results is `KINDS`.

Nothing is measured or judged here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfkit import run_files
from perfkit.diagnose.promises import Chapter, tell, workloads_of
from perfkit.errors import StoreError
from perfkit.measure.compare import config_values, refuse_other_machines, refuse_other_work
from perfkit.report import diagnosis, final, machine, markdown, measuring, tuning
from perfkit.report.page import Report
from perfkit.report.profiling import profile_page
from perfkit.report.story import story_page

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from perfkit.records import Diagnosis, MeasureReport, Result, TuneReport
    from perfkit.report.page import Document, Page
    from perfkit.run_files import RecordFile
    from perfkit.store import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultKind:
    """One kind of result: where it is kept, and what it looks like.

    Attributes:
        page: takes the record, and the run's `directory` where the report says where it is.
        document: for programs.
        draw: pictures by their names in the run directory.
        text: what `final_report.md` holds, where that is more than the page.
    """

    file: RecordFile[Any]
    page: Callable[..., Page]
    document: Callable[[Any], Document]
    draw: Callable[[Any], Mapping[str, bytes]] = lambda _: {}
    text: Callable[[Any], str] | None = None


def _measure_pictures(report: MeasureReport) -> dict[str, bytes]:
    from perfkit.report import pictures  # here and below: matplotlib is slow to import

    return {"times.svg": pictures.times(report)}


def _diagnose_pictures(found: Diagnosis) -> dict[str, bytes]:
    from perfkit.report import pictures

    drawn = {diagnosis.LAYERS_PICTURE: pictures.layers(found)} if found.sizes else {}
    if found.measured is not None and found.measured.results:
        drawn[diagnosis.TIMES_PICTURE] = pictures.times(found.measured)
    return drawn


def _tune_pictures(report: TuneReport) -> dict[str, bytes]:
    from perfkit.report import pictures

    return {final.PICTURE_FILE: pictures.iterations(report)}


KINDS = (
    ResultKind(
        file=run_files.MEASUREMENT,
        page=measuring.measure_page,
        document=machine.measure_json,
        draw=_measure_pictures,
    ),
    ResultKind(file=run_files.PROFILE, page=profile_page, document=machine.profile_json),
    ResultKind(
        file=run_files.DIAGNOSIS,
        page=diagnosis.diagnose_page,
        document=machine.diagnose_json,
        draw=_diagnose_pictures,
    ),
    ResultKind(
        file=run_files.TUNING,
        page=tuning.tune_page,
        document=machine.tune_json,
        draw=_tune_pictures,
        text=final.final_report,
    ),
)


def keep(run: Run, result: Result) -> Report:
    """Write a run's result, its report and its pictures, and show it."""
    kind = _kind(result)
    kind.file.save(run, result)
    text = markdown.render(kind.page(result)) if kind.text is None else kind.text(result)
    run.write(run_files.REPORT_FILE, text)
    for name, picture in kind.draw(result).items():
        run.write(name, picture)
    return Report(page=kind.page(result, directory=run.directory), document=kind.document(result))


def load(run: Run) -> Report:
    """Read a run's result back.

    Raises:
        StoreError: the run ended before it had one, or another perfkit wrote it.
    """
    result = _result(run)
    kind = _kind(result)
    return Report(page=kind.page(result), document=kind.document(result))


def load_several(runs: Sequence[Run]) -> Report:
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
            command=run_files.HEADER.load(run).command,
            values=config_values(run),
            result=result,
        )
        for run, result in zip(runs, results, strict=True)
    ]
    story = tell(chapters)
    return Report(page=story_page(story), document=machine.story_json(story))


def report_file(run: Run) -> Path:
    """Where a run's report is.

    Raises:
        StoreError: it has none.
    """
    path = run.directory / run_files.REPORT_FILE
    if not path.is_file():
        message = "this run has no report"
        raise StoreError(message, where=str(run.directory), remedy="name another run")
    return path


def _kind(result: Result) -> ResultKind:
    return next(kind for kind in KINDS if isinstance(result, kind.file.record))


def _result(run: Run) -> Result:
    file = run_files.result_file(run)
    if file is not None:
        result: Result = file.load(run)
        return result
    header = run_files.HEADER.load(run)
    message = f"`perfkit {header.command}` ended before it had a result"
    remedy = "run it again" if header.command != "tune" else f"resume it: --resume {run.id}"
    raise StoreError(message, where=str(run.directory), remedy=remedy, details=header.error or "")

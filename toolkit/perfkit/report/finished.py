"""Results of finished runs: kept in their directories as record, report and pictures, and shown
again from there alone. The one list of the kinds of results is `KINDS`.

Nothing is measured or judged here.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_never

from perfkit import run_files
from perfkit.diagnose.promises import Chapter, tell, workloads_of
from perfkit.errors import StoreError
from perfkit.measure.compare import config_values, refuse_other_machines, refuse_other_work
from perfkit.records import Diagnosis, MeasureReport, ProfileReport, TuneReport
from perfkit.report import diagnosis, final, machine, markdown, measuring, tuning
from perfkit.report.page import Paragraph
from perfkit.report.profiling import profile_page
from perfkit.report.story import story_page

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from perfkit.records import Result
    from perfkit.report.page import Page, Report
    from perfkit.run_files import RecordFile
    from perfkit.store import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultKind:
    """One kind of result: where it is kept, and what it looks like.

    Attributes:
        page: for people; programs get `machine.document`.
        text: what `final_report.md` holds, where that is more than the page.
    """

    file: RecordFile[Any]
    page: Callable[[Any], Page]
    text: Callable[[Any], str] | None = None


KINDS = (
    ResultKind(file=run_files.MEASUREMENT, page=measuring.measure_page),
    ResultKind(file=run_files.PROFILE, page=profile_page),
    ResultKind(file=run_files.DIAGNOSIS, page=diagnosis.diagnose_page),
    ResultKind(file=run_files.TUNING, page=tuning.tune_page, text=final.final_report),
)


def _drawn(result: Result) -> dict[str, bytes]:
    """Pictures of a result, by their names in the run directory; a profile has its own already."""
    if isinstance(result, ProfileReport):
        return {}
    from perfkit.report import pictures  # here: matplotlib is slow to import

    match result:
        case MeasureReport():
            return {"times.svg": pictures.times(result)}
        case TuneReport():
            return {final.PICTURE_FILE: pictures.iterations(result)}
        case Diagnosis():
            drawn = {diagnosis.LAYERS_PICTURE: pictures.layers(result)} if result.sizes else {}
            if result.measured is not None and result.measured.results:
                drawn[diagnosis.TIMES_PICTURE] = pictures.times(result.measured)
            return drawn
        case _:
            assert_never(result)


def keep(run: Run, result: Result) -> Report:
    """Write a run's result, its report and its pictures; what is shown also says where they are."""
    kind = _kind(result)
    kind.file.save(run, result)
    page = kind.page(result)
    text = markdown.render(page) if kind.text is None else kind.text(result)
    run.write(run_files.REPORT_FILE, text)
    for name, picture in _drawn(result).items():
        run.write(name, picture)
    where = Paragraph(text=f"All files are in {run.directory}")
    page = dataclasses.replace(page, blocks=(*page.blocks, where))
    return machine.report_of(page, result)


def load(run: Run) -> Report:
    """Read a run's result back.

    Raises:
        StoreError: the run ended before it had one, or another perfkit wrote it.
    """
    result = _result(run)
    return machine.report_of(_kind(result).page(result), result)


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
    return machine.story_report(story_page(story), story)


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

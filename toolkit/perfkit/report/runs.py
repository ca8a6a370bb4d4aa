"""What `perfkit history` shows: the runs of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.errors import StoreError
from perfkit.report.machine import report_of
from perfkit.report.page import Page, Paragraph, table
from perfkit.report.words import UNKNOWN
from perfkit.run_files import HEADER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.report.page import Document, Report
    from perfkit.store import Run


def history_report(runs: Sequence[Run]) -> Report:
    """One line per run, in the order given; one that cannot be read says why."""
    lines = [_line(run) for run in runs]
    shown = table(
        lines,
        {
            "<run": lambda line: str(line["id"]),
            "<command": lambda line: str(line["command"] or UNKNOWN),
            "<begun": lambda line: str(line["started"] or UNKNOWN)[:19].replace("T", " "),
            "<end": _end,
        },
    )
    block = shown if lines else Paragraph(text="There is no run yet.")
    return report_of(Page(title="Runs", blocks=(block,)), {"runs": lines})


def _line(run: Run) -> Document:
    keys = ("command", "started", "ended", "exit_code", "error")
    try:
        header = HEADER.load(run)
    except StoreError as error:
        return {"id": run.id, **dict.fromkeys(keys), "error": str(error)}
    return {"id": run.id, **{key: getattr(header, key) for key in keys}}


def _end(line: Document) -> str:
    """How a run ended; one without an end was killed, or still runs."""
    first = (line["error"] or "").split("\n")[0]
    if line["exit_code"] is None:
        return first or "no end recorded: killed, or still running"
    code = f"exit code {line['exit_code']}"
    return f"{code}: {first}" if first else code

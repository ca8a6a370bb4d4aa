"""What `perfkit history` shows: the runs of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.errors import StoreError
from perfkit.records import SCHEMA_VERSION
from perfkit.report.page import Page, Paragraph, Report, Table, columns
from perfkit.report.words import UNKNOWN
from perfkit.run_files import HEADER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.report.page import Document
    from perfkit.store import Run


def history_report(runs: Sequence[Run]) -> Report:
    """One line per run, in the order given; one that cannot be read says why."""
    lines = [_line(run) for run in runs]
    rows = tuple(
        (
            str(line["id"]),
            str(line["command"] or UNKNOWN),
            str(line["started"] or UNKNOWN)[:19].replace("T", " "),
            _end(line),
        )
        for line in lines
    )
    table = Table(columns=columns("<run", "<command", "<begun", "<end"), rows=rows)
    block = table if rows else Paragraph(text="There is no run yet.")
    return Report(
        page=Page(title="Runs", blocks=(block,)),
        document={"schema_version": SCHEMA_VERSION, "runs": lines},
    )


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

"""What `perfkit history` shows: the runs of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perfkit.records import SCHEMA_VERSION
from perfkit.report.page import Page, Paragraph, Table, columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.report.machine import Document


def history_page(headers: Sequence[Mapping[str, Any]]) -> Page:
    """One line per `run.json`, in the order given."""
    if not headers:
        return Page(title="Runs", blocks=(Paragraph(text="There is no run yet."),))
    rows = tuple(
        (
            str(header["id"]),
            str(header["command"]),
            str(header["started"])[:19].replace("T", " "),
            _end(header),
        )
        for header in headers
    )
    return Page(
        title="Runs",
        blocks=(Table(columns=columns("<run", "<command", "<begun", "<end"), rows=rows),),
    )


def history_json(headers: Sequence[Mapping[str, Any]]) -> Document:
    """The same for programs."""
    keys = ("id", "command", "started", "ended", "exit_code", "error")
    return {
        "schema_version": SCHEMA_VERSION,
        "runs": [{key: header.get(key) for key in keys} for header in headers],
    }


def _end(header: Mapping[str, Any]) -> str:
    """How a run ended; one without an end was killed, or still runs."""
    if header.get("exit_code") is None:
        return "no end recorded: killed, or still running"
    code = f"exit code {header['exit_code']}"
    first = (header.get("error") or "").split("\n")[0]
    return f"{code}: {first}" if first else code

"""The JSON documents that programs read, in the shape that docs/reference.md promises.

Base units only: seconds, counts, fractions of one. A key that is promised is always there; a
figure that is not known is null. Keys are added, never renamed, while `schema_version` stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.records import (
    SCHEMA_VERSION,
    Capture,
    Diagnosis,
    Estimate,
    FfiEstimate,
    Finding,
    LayerTime,
    MeasureReport,
    Note,
    Trial,
    TuneReport,
)
from perfkit.report.page import Report
from perfkit.report.words import note_place
from perfkit.store import to_json

if TYPE_CHECKING:
    from perfkit.diagnose.promises import Story
    from perfkit.report.page import Document, Page


def document(value: object) -> Document:
    """A result, or a mapping of several, as the document of its command."""
    return {"schema_version": SCHEMA_VERSION, **to_json(value, shape=_promised)}


def report_of(page: Page, value: object) -> Report:
    """A page, and the document of what it shows."""
    return Report(page=page, document=document(value))


def story_report(page: Page, story: Story) -> Report:
    """The report of `perfkit report RUN RUN…`: its document says which workload replaced which, and
    has the diagnoses that this rests on; the other runs by name.
    """
    diagnoses = [
        {"run": one.run, **document(one.result)}
        for one in story.chapters
        if isinstance(one.result, Diagnosis)
    ]
    runs = [{"run": one.run, "command": one.command} for one in story.chapters]
    replacements = to_json(story.replacements)
    return report_of(page, {"runs": runs, "replacements": replacements, "diagnoses": diagnoses})


def _promised(record: object, fields: Document) -> Document:
    """A record's fields as the promised keys, where those differ."""
    match record:
        case LayerTime():
            bounds = _bounds(fields["share"], "share")
            return {"name": fields["layer"], "seconds": fields["seconds"], **bounds}
        case FfiEstimate():
            return {**fields, **_bounds(fields["share"], "share")}
        case Estimate():
            return {**fields, **_bounds(fields["seconds"], "seconds")}
        case Finding():
            gain = record.predicted_gain
            low = gain.tried.low if gain is not None and gain.tried is not None else None
            promised = {"low": low, "high": gain.at_most} if gain is not None else None
            return {**fields, "predicted_gain": promised}
        case Capture():
            kinds = fields["files"]
            return {**fields, "files": sorted(kinds.values()), "file_kinds": kinds}
        case Note():
            fields["where"] = note_place(record)
        case MeasureReport():
            for result in fields["results"]:
                times = result["time_s"].items()
                result["per_element_s"] = {name: value / result["size"] for name, value in times}
        case Trial():  # the sizes carry the intervals
            fields["performance"] = {
                str(size.size): size.speedup and size.speedup.estimate for size in record.sizes
            }
        case TuneReport():
            best = {"params": fields.pop("best_params"), "iteration": fields.pop("best_iteration")}
            for size in fields["confirmed"]:
                size["change_vs_start"] = size.pop("change")
            return {**fields, "best": best}
        case _:
            pass
    return fields


def _bounds(interval: Document | None, name: str) -> Document:
    """An interval as the promised keys: its estimate by `name`, `low` and `high`."""
    found = interval or {}
    return {name: found.get("estimate"), "low": found.get("low"), "high": found.get("high")}

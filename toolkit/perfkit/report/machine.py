"""The JSON documents that programs read, in the shape that docs/reference.md promises.

Base units only: seconds, counts, fractions of one. A key that is promised is always there; a
figure that is not known is null. Keys are added, never renamed, while `schema_version` stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.records import SCHEMA_VERSION, Diagnosis
from perfkit.store import to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.diagnose.promises import Story
    from perfkit.profile.compare_captures import ProfileComparison
    from perfkit.records import (
        Capture,
        Check,
        MeasureReport,
        ProfileReport,
        RunComparison,
        Trial,
        TuneReport,
    )
    from perfkit.report.page import Document
    from perfkit.tune.setup import TunePlan


def measure_json(report: MeasureReport) -> Document:
    """The document of `perfkit measure`, with the time of one element beside that of a call."""
    document: Document = to_json(report)
    for result in document["results"]:
        times = result["time_s"].items()
        result["per_element_s"] = {name: value / result["size"] for name, value in times}
    return {"schema_version": SCHEMA_VERSION, **document}


def profile_json(report: ProfileReport) -> Document:
    """The document of `perfkit profile`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "captures": [_capture(capture) for capture in report.captures],
        "build": to_json(report.build),
    }


def diagnose_json(diagnosis: Diagnosis) -> Document:
    """The document of `perfkit diagnose`."""
    document: Document = to_json(diagnosis)
    document["profilers"] = [_capture(capture) for capture in diagnosis.profilers]
    for split in document["sizes"]:
        split["layers"] = [
            {"name": time["layer"], "seconds": time["seconds"], **_bounds(time["share"], "share")}
            for time in split["layers"]
        ]
        ffi = split["ffi"]
        ffi |= _bounds(ffi["share"], "share")
        for estimate in ffi["estimators"]:
            estimate |= _bounds(estimate["seconds"], "seconds")
    for finding in document["findings"]:
        del finding["predicted_gain"]["estimate"]
    return {"schema_version": SCHEMA_VERSION, **document}


def tune_json(report: TuneReport) -> Document:
    """The document of `perfkit tune`."""
    document: Document = to_json(report)
    best = document.pop("best_params")
    document["best"] = {"params": best, "iteration": document.pop("best_iteration")}
    document["trials"] = [trial_json(trial) for trial in report.trials]
    for size in document["confirmed"]:
        size["change_vs_start"] = size.pop("change")  # the promised key
    return {"schema_version": SCHEMA_VERSION, **document}


def plan_json(plan: TunePlan) -> Document:
    """The document of `perfkit tune --dry-run`."""
    return {"schema_version": SCHEMA_VERSION, **to_json(plan)}


def compare_json(comparison: RunComparison | ProfileComparison) -> Document:
    """The document of `perfkit compare`."""
    return {"schema_version": SCHEMA_VERSION, **to_json(comparison)}


def story_json(story: Story) -> Document:
    """The document of `perfkit report RUN RUN…`: which workload replaced which, and the diagnoses
    that it rests on; the other runs by name.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "runs": [{"run": one.run, "command": one.command} for one in story.chapters],
        "replacements": to_json(story.replacements),
        "diagnoses": [
            {"run": one.run, **diagnose_json(one.result)}
            for one in story.chapters
            if isinstance(one.result, Diagnosis)
        ],
    }


def trial_json(trial: Trial) -> Document:
    """One trial: the record, with `performance` (speed-up against the reference by size, null
    where there is none) in front of the sizes that carry the intervals.
    """
    document: Document = to_json(trial)
    performance = {
        str(size.size): size.speedup.estimate if size.speedup is not None else None
        for size in trial.sizes
    }
    return {
        "iteration": document.pop("iteration"),
        "params": document.pop("params"),
        "outcome": document.pop("outcome"),
        "performance": performance,
        **document,
    }


def doctor_json(checks: Sequence[Check]) -> Document:
    """The document of `perfkit doctor`."""
    return {"schema_version": SCHEMA_VERSION, "checks": to_json(checks)}


def _bounds(interval: Document | None, name: str) -> Document:
    """An interval as the promised keys: its estimate by `name`, `low` and `high`."""
    found = interval or {}
    return {name: found.get("estimate"), "low": found.get("low"), "high": found.get("high")}


def _capture(capture: Capture) -> Document:
    document: Document = to_json(capture)
    kinds = document.pop("files")
    return {**document, "files": sorted(kinds.values()), "file_kinds": kinds}

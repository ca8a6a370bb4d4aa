"""The documents for programs: promised keys are there, and nothing in them is not JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
import report_records as records

from perfkit.records import SCHEMA_VERSION, Interval, Note, Place, Saving
from perfkit.report import machine

if TYPE_CHECKING:
    from perfkit.report.page import Document

INTERVAL = {"estimate", "low", "high"}
PROMISED: dict[str, tuple[Document, dict[str, set[str]]]] = {
    "measure": (
        machine.document(records.MEASURED),
        {
            "": {"schema_version", "verdict", "noise_floor", "results"},
            "results": {
                "workload",
                "size",
                "time_s",
                "reference_s",
                "speedup",
                "target",
                "met",
                "valid_blocks",
                "blocks",
            },
            "results.time_s": INTERVAL,
            "results.speedup": INTERVAL,
        },
    ),
    "profile": (
        machine.document(records.PROFILED),
        {
            "": {"schema_version", "captures"},
            "captures": {
                "profiler",
                "workload",
                "size",
                "rate_hz",
                "samples",
                "unresolved_share",
                "slowdown",
                "doubts",
                "files",
            },
            "captures.doubts": {"unnamed", "missing", "surplus", "slowdown", "shift", "contended"},
            "captures.slowdown": INTERVAL,
        },
    ),
    "diagnose": (
        machine.document(records.DIAGNOSIS),
        {
            "": {"schema_version", "verdict", "sizes", "profilers", "findings"},
            "sizes": {"workload", "size", "call_s", "layers", "ffi"},
            "sizes.layers": {"name", "seconds", "share", "low", "high"},
            "sizes.ffi": {"share", "low", "high", "agree", "estimators"},
            "sizes.ffi.estimators": {"name", "seconds", "low", "high", "reason"},
            "sizes.quantities": {"name", "seconds", "basis"},
            "model": {"workload", "sizes", "costs", "crossings", "reason"},
            "model.costs": {"layer", "cost"},
            "model.costs.cost": {"fixed_s", "per_element_s", "holds"},
            "model.crossings": {"first", "second", "pattern", "parameter", "crossover", "reason"},
            "model.crossings.crossover": {"outcome", "size", "low", "high", "rising"},
            "profilers": {"profiler", "slowdown", "doubts", "files"},
            "findings": {
                "id",
                "title",
                "workload",
                "size",
                "share",
                "predicted_gain",
                "evidence",
                "remedy",
                "verify",
            },
            "findings.predicted_gain": {"low", "high"},
            "findings.evidence": {"frame", "layer", "share", "location"},
        },
    ),
    "tune": (
        machine.document(records.TUNED),
        {
            "": {
                "schema_version",
                "status",
                "builds",
                "evaluations",
                "wall_s",
                "trials",
                "best",
                "confirmed",
                "dead_parameters",
            },
            "trials": {
                "iteration",
                "params",
                "outcome",
                "performance",
                "build_s",
                "bench_s",
                "text_hash",
                "timestamp",
            },
            "best": {"params"},
            "confirmed": {"workload", "size", "speedup", "change_vs_start"},
            "confirmed.change_vs_start": INTERVAL,
        },
    ),
    "doctor": (
        machine.document({"checks": records.CHECKS}),
        {"": {"schema_version", "checks"}, "checks": {"id", "ok", "required", "found", "remedy"}},
    ),
}


def at(document: Document, path: str) -> list[Any]:
    """Every object at a dotted path; lists are entered, nulls passed over."""
    found: list[Any] = [document]
    for key in path.split(".") if path else []:
        children = [item[key] for item in found]
        found = [
            entry
            for child in children
            for entry in (child if isinstance(child, list) else [child])
            if entry is not None
        ]
    return found


@pytest.mark.parametrize("command", PROMISED)
def test_promised_keys_are_in_every_object(command: str) -> None:
    document, promised = PROMISED[command]
    for path, keys in promised.items():
        objects = at(document, path)
        assert objects, path
        for entry in objects:
            assert keys <= entry.keys(), path


@pytest.mark.parametrize("command", PROMISED)
def test_a_document_survives_json_unchanged(command: str) -> None:
    document, _ = PROMISED[command]
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["schema_version"] == SCHEMA_VERSION


def test_files_are_paths_and_their_kinds_stand_beside() -> None:
    capture = machine.document(records.PROFILED)["captures"][0]
    assert capture["files"] == [
        "flame/price-10000.svg",
        "raw/perf.data",
        "stacks/price-10000.folded",
    ]
    assert capture["file_kinds"]["raw"] == "raw/perf.data"
    assert machine.document(records.DIAGNOSIS)["profilers"][0] == capture


def test_a_note_says_where_it_is_about_in_words_and_in_figures() -> None:
    place = Place(workload="price", sizes=(1_000, 10_000))
    note = Note(id="a", text="slow", place=place)
    (shown,) = machine.document(dataclasses.replace(records.MEASURED, notes=(note,)))["notes"]
    assert shown["where"] == "price at 1k, 10k"
    assert shown["place"] == {"workload": "price", "sizes": [1_000, 10_000], "pattern": None}


def test_performance_is_the_speedup_by_size() -> None:
    trials = machine.document(records.TUNED)["trials"]
    assert trials[1]["performance"].keys() == {"10000", "100000", "1000000"}
    assert trials[1]["performance"]["10000"] == pytest.approx(558 / 914 * 1.52)
    assert trials[2]["performance"] == {}


def test_the_time_of_an_element_is_that_of_a_call_over_its_size() -> None:
    for result in machine.document(records.MEASURED)["results"]:
        for name in ("estimate", "low", "high"):
            value = result["per_element_s"][name]
            assert value * result["size"] == pytest.approx(result["time_s"][name])


def test_a_gain_that_was_not_tried_has_no_least() -> None:
    tried = Saving(at_most=0.14, tried=Interval(estimate=0.12, low=0.1, high=0.14))
    gains = (Saving(at_most=0.41), tried, None)
    findings = tuple(dataclasses.replace(records.finding(0), predicted_gain=gain) for gain in gains)
    told = machine.document(dataclasses.replace(records.DIAGNOSIS, findings=findings))
    assert [one["predicted_gain"] for one in told["findings"]] == [
        {"low": None, "high": 0.41},
        {"low": 0.1, "high": 0.14},
        None,
    ]


def test_what_is_not_known_is_null() -> None:
    result = machine.document(records.MEASURED)["results"][0]
    assert (result["target"], result["met"], result["change"]) == (None, None, None)

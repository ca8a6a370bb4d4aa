"""A record read back from its JSON is the same record, or refused; never almost the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
import report_records as records

from perfkit.errors import StoreError
from perfkit.records import Diagnosis, MeasureReport, SizeResult, TuneReport
from perfkit.store import from_json, to_json

WHOLE = {
    "measure": (MeasureReport, records.MEASURED),
    "diagnose": (Diagnosis, records.DIAGNOSIS),
    "tune": (TuneReport, records.TUNED),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_record_survives_json(name: str) -> None:
    kind, record = WHOLE[name]
    assert from_json(kind, json.loads(json.dumps(to_json(record)))) == record


def test_kinds_of_values_stay_apart() -> None:
    trial = to_json(records.TUNED)["trials"][0]
    trial["params"] = {"a": 1, "b": 1.0, "c": True, "d": "1"}
    document = {**to_json(records.TUNED), "trials": [trial]}
    params = from_json(TuneReport, document).trials[0].params
    assert [type(value) for value in params.values()] == [int, float, bool, str]


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("size", "10k", "SizeResult.size"),
        ("size", True, "SizeResult.size"),
        ("met", 1, "SizeResult.met"),
        ("time_s", None, "SizeResult.time_s"),
        ("time_s", {"estimate": 1.0}, "SizeResult.time_s.low"),
        ("pattern", "cold", "SizeResult.pattern"),
        ("speed", 3.0, "SizeResult.speed"),
    ],
)
def test_what_is_not_the_record_is_refused_with_its_place(
    key: str, value: object, place: str
) -> None:
    document: dict[str, Any] = {**to_json(records.MEASURED.results[0]), key: value}
    with pytest.raises(StoreError) as caught:
        from_json(SizeResult, document)
    assert caught.value.where == place

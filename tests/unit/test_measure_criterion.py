"""Criterion's files: real ones are read exactly, anything else is refused with its place."""

from __future__ import annotations

import json
import math
import shutil
import statistics
from typing import TYPE_CHECKING, Any

import pytest

from perfkit.errors import UnreadableOutputError
from perfkit.measure import criterion

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def golden(repository: Path) -> Path:
    return repository / "tests" / "data" / "criterion"


@pytest.fixture
def copied(golden: Path, tmp_path: Path) -> Path:
    place = tmp_path / "call_price_plain" / "1000" / "new"
    shutil.copytree(golden / "0.8-linear", place)
    return place


def change(path: Path, edit: Callable[[Any], Any]) -> None:
    value = json.loads(path.read_text())
    path.write_text(json.dumps(edit(value)))


@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("0.8-linear", "call_price_plain/1000"),
        ("0.8-flat", "call_price_plain/1000000"),
        ("0.7-linear", "sum/1000"),
        ("0.7-flat", "sum/20000000"),
        ("0.5-linear", "sum/1000"),
        ("0.5-flat", "sum/20000000"),
    ],
)
def test_real_files(golden: Path, case: str, name: str) -> None:
    found = criterion.read_result(golden / case)
    sample = json.loads((golden / case / "sample.json").read_text())
    each = [time / count for time, count in zip(sample["times"], sample["iters"], strict=True)]
    assert found.id == name
    assert found.median.estimate == pytest.approx(statistics.median(each) * 1e-9, rel=1e-9)
    assert found.mean.low < found.mean.estimate < found.mean.high
    assert found.mean.estimate == pytest.approx(statistics.mean(each) * 1e-9, rel=1e-9)


def test_all_results_below_a_home_are_found(copied: Path) -> None:
    found = criterion.read_results(copied.parents[2])
    assert [result.id for result in found] == ["call_price_plain/1000"]


def without(key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda value: {name: item for name, item in value.items() if name != key}


def put(*keys: str, value: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def edit(document: dict[str, Any]) -> dict[str, Any]:
        place = document
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        return document

    return edit


@pytest.mark.parametrize(
    ("file", "edit", "message"),
    [
        ("estimates.json", without("median"), "`median`: Field required"),
        (
            "estimates.json",
            put("trimmed_mean", value=1),
            "`trimmed_mean`: Extra inputs are not permitted",
        ),
        ("estimates.json", put("mean", value=5.0), "`mean`: Input should be an object"),
        (
            "estimates.json",
            put("mean", "point_estimate", value="5"),
            "`mean.point_estimate`: Input should be a valid number",
        ),
        ("estimates.json", put("mean", "point_estimate", value=1.0), "changed meaning"),
        ("estimates.json", put("median", "point_estimate", value=1.0), "changed meaning"),
        (
            "estimates.json",
            put("mean", "confidence_interval", "confidence_level", value=0.99),
            "99% interval",
        ),
        (
            "estimates.json",
            put("mean", "confidence_interval", value={}),
            "confidence_level`: Field required",
        ),
        ("benchmark.json", without("full_id"), "`full_id`: Field required"),
        ("benchmark.json", put("full_id", value=7), "`full_id`: Input should be a valid string"),
        (
            "sample.json",
            put("sampling_mode", value="Adaptive"),
            "`sampling_mode`: Input should be 'Linear' or 'Flat'",
        ),
        ("sample.json", put("times", value=[1.0]), "100 counts for 1 times"),
        (
            "sample.json",
            put("iters", value=[0.0] * 100),
            "`iters.0`: Input should be greater than 0",
        ),
        (
            "sample.json",
            put("times", value=[-1.0] * 100),
            "`times.0`: Input should be greater than 0",
        ),
        ("sample.json", put("times", value="many"), "`times`: Input should be a valid array"),
        ("sample.json", lambda _value: [1, 2], "Input should be an object"),
    ],
)
def test_another_layout_is_refused_with_its_file(
    copied: Path, file: str, edit: Callable[[Any], Any], message: str
) -> None:
    change(copied / file, edit)
    with pytest.raises(UnreadableOutputError, match=message) as caught:
        criterion.read_result(copied)
    assert caught.value.where.endswith(file)


def test_a_unit_other_than_nanoseconds_is_noticed(copied: Path) -> None:
    def to_microseconds(value: dict[str, Any]) -> dict[str, Any]:
        value["mean"]["point_estimate"] /= 1000
        return value

    change(copied / "estimates.json", to_microseconds)
    with pytest.raises(UnreadableOutputError, match="its mean is not the mean of its own sample"):
        criterion.read_result(copied)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"NaN"])
def test_broken_files_are_refused(copied: Path, content: bytes) -> None:
    (copied / "sample.json").write_bytes(content)
    with pytest.raises(UnreadableOutputError):
        criterion.read_result(copied)


def test_a_missing_file_is_refused(copied: Path) -> None:
    (copied / "sample.json").unlink()
    with pytest.raises(UnreadableOutputError, match="cannot be read"):
        criterion.read_result(copied)


def test_no_number_is_silently_infinite(copied: Path) -> None:
    change(copied / "estimates.json", put("mean", "standard_error", value=1.0))
    text = (copied / "estimates.json").read_text()
    bound = json.loads(text)["mean"]["confidence_interval"]["upper_bound"]
    assert math.isfinite(bound)
    (copied / "estimates.json").write_text(text.replace(repr(bound), "Infinity"))
    with pytest.raises(UnreadableOutputError, match="Input should be a finite number"):
        criterion.read_result(copied)

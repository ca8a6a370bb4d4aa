"""What was gained beside what was promised: which pairs are found, what is withheld and why."""

from __future__ import annotations

import dataclasses

import pytest
import report_records as records
import story_records as told

from perfkit.diagnose.promises import (
    Afterwards,
    Chapter,
    Fulfilment,
    reading,
    saved_share,
    tell,
)
from perfkit.records import (
    DiagnoseVerdict,
    Diagnosis,
    Interval,
    MeasureReport,
    MeasureVerdict,
    Saving,
)


def test_the_saved_share_follows_the_ratio() -> None:
    found = saved_share(Interval(estimate=4.0, low=2.0, high=5.0))
    assert (found.estimate, found.low, found.high) == pytest.approx((0.75, 0.5, 0.8))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.36, 0.40, Fulfilment.INSIDE),
        (0.35, 0.41, Fulfilment.INSIDE),
        (0.42, 0.50, Fulfilment.ABOVE),
        (-0.10, 0.34, Fulfilment.BELOW),
        (0.34, 0.40, Fulfilment.ACROSS),
        (0.40, 0.42, Fulfilment.ACROSS),
    ],
)
def test_the_interval_of_the_gain_decides(low: float, high: float, expected: Fulfilment) -> None:
    assert reading(told.saved(low, high), told.tried(0.35, 0.41)) is expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.36, 0.40, Fulfilment.INSIDE),
        (0.01, 0.02, Fulfilment.INSIDE),
        (-0.10, -0.05, Fulfilment.INSIDE),
        (0.42, 0.50, Fulfilment.ABOVE),
        (0.40, 0.42, Fulfilment.ACROSS),
    ],
)
def test_a_bound_is_broken_only_above_it(low: float, high: float, expected: Fulfilment) -> None:
    assert reading(told.saved(low, high), Saving(at_most=0.41)) is expected


def test_what_saves_none_of_the_calls_time_has_no_reading() -> None:
    for measured in (told.INSIDE, told.OUTSIDE):
        (found,) = tell((told.BEFORE, told.AFTER, measured)).replacements
        promise = found.promises[-1]
        assert (promise.finding.id, promise.reading, promise.saved) == ("gil", None, None)
        assert promise.afterwards is Afterwards.NOT_FOUND


def test_each_finding_is_held_against_the_gain_at_its_own_size() -> None:
    (found,) = tell((told.BEFORE, told.AFTER, told.INSIDE)).replacements
    assert (found.before, found.after, found.run) == ("price", "fast", "three-measure")
    assert [(promise.finding.id, promise.reading) for promise in found.promises] == [
        ("sequence", Fulfilment.INSIDE),
        ("pool", Fulfilment.INSIDE),
        ("output", Fulfilment.ACROSS),
        ("gil", None),
    ]
    assert [promise.afterwards for promise in found.promises] == [
        Afterwards.NOT_FOUND,
        Afterwards.NOT_FOUND,
        Afterwards.FOUND,
        Afterwards.NOT_FOUND,
    ]


def test_a_gain_outside_the_promise_is_said() -> None:
    (found,) = tell((told.BEFORE, told.AFTER, told.OUTSIDE)).replacements
    assert [promise.reading for promise in found.promises] == [
        Fulfilment.ABOVE,
        Fulfilment.INSIDE,
        Fulfilment.BELOW,
        None,
    ]


def test_times_of_two_runs_are_never_compared() -> None:
    (found,) = tell((told.BEFORE, told.AFTER)).replacements
    assert (found.run, found.steps) == (None, ())
    assert "none of these runs timed both" in found.reason
    assert found.command == (
        "perfkit measure --workload fast --against-workload price --sizes 10k,100k"
    )
    assert {promise.reading for promise in found.promises} == {Fulfilment.WITHHELD, None}


@pytest.mark.parametrize(
    "verdict", [MeasureVerdict.BUSY, MeasureVerdict.UNTRUSTED, MeasureVerdict.UNCHECKED]
)
def test_a_measurement_without_a_verdict_gives_no_gain(verdict: MeasureVerdict) -> None:
    report = told.INSIDE.result
    assert isinstance(report, MeasureReport)
    without = dataclasses.replace(told.INSIDE, result=dataclasses.replace(report, verdict=verdict))
    (found,) = tell((told.BEFORE, told.AFTER, without)).replacements
    assert found.run is None
    assert f"three-measure: {verdict}" in found.reason


def test_a_size_that_was_not_timed_is_withheld_alone() -> None:
    only = told.chapter(
        "m", "measure", told.measured(told.together(10_000, told.saved(0.36, 0.39)))
    )
    (found,) = tell((told.BEFORE, told.AFTER, only)).replacements
    assert [promise.reading for promise in found.promises] == [
        Fulfilment.INSIDE,
        Fulfilment.WITHHELD,
        Fulfilment.WITHHELD,
        None,
    ]
    assert found.promises[1].reason == "not timed together at 100k"


def test_a_diagnosis_of_another_build_promises_nothing_for_this_one() -> None:
    report = told.INSIDE.result
    assert isinstance(report, MeasureReport)
    other = dataclasses.replace(records.LOADED, sha256="f" * 64)
    rebuilt = dataclasses.replace(told.INSIDE, result=dataclasses.replace(report, loaded=(other,)))
    (found,) = tell((told.BEFORE, told.AFTER, rebuilt)).replacements
    assert found.steps
    assert {promise.reason for promise in found.promises if promise.reading} == {
        "the diagnosis is of another build than the measurement"
    }


def test_only_workloads_of_the_same_work_make_a_pair() -> None:
    other = dataclasses.replace(told.AFTER, values=told.values("fast", setup="work.py:lists"))
    assert tell((told.BEFORE, other)).replacements == ()
    unnamed = dataclasses.replace(told.AFTER, values={})
    assert tell((unnamed, unnamed)).replacements == ()


def test_a_diagnosis_that_saw_nothing_does_not_say_that_a_finding_is_gone() -> None:
    result = told.AFTER.result
    assert isinstance(result, Diagnosis)
    unsplit = tuple(dataclasses.replace(split, layers=()) for split in result.sizes)
    blind = dataclasses.replace(
        told.AFTER,
        result=dataclasses.replace(
            result, verdict=DiagnoseVerdict.BOUNDED, sizes=unsplit, findings=()
        ),
    )
    (found,) = tell((told.BEFORE, blind, told.INSIDE)).replacements
    assert {promise.afterwards for promise in found.promises} == {Afterwards.UNKNOWN}


def test_a_diagnosis_whose_times_are_not_believed_neither_promises_nor_clears() -> None:
    def untrusted(chapter: Chapter) -> Chapter:
        assert isinstance(chapter.result, Diagnosis)
        result = dataclasses.replace(chapter.result, verdict=DiagnoseVerdict.UNTRUSTED)
        return dataclasses.replace(chapter, result=result)

    (found,) = tell((untrusted(told.BEFORE), told.AFTER, told.INSIDE)).replacements
    assert found.promises == ()
    (found,) = tell((told.BEFORE, untrusted(told.AFTER), told.INSIDE)).replacements
    assert {promise.afterwards for promise in found.promises} == {Afterwards.UNKNOWN}


def test_a_measured_pair_needs_no_diagnosis() -> None:
    (found,) = tell((told.INSIDE,)).replacements
    assert (found.before, found.after, found.promises) == ("price", "fast", ())
    assert len(found.steps) == 3

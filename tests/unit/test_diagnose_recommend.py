"""The worst size and the next value, as the loop of a tuning campaign needs them."""

from __future__ import annotations

import math

import pytest

from perfkit.config import Parameter
from perfkit.diagnose.recommend import gap, recommend, worst
from perfkit.records import Interval, Pattern, SizeResult, Value

START: dict[str, Value] = {"small": 30_000, "medium": 200_000, "chunk": 1024, "unroll": 4}

PARAMETERS = {
    "unroll": Parameter(kind="integer", priority=4, first_step=8),
    "chunk": Parameter(kind="grain", priority=3, first_step=512),
    "small": Parameter(kind="threshold", priority=1, first_step=8_000, sizes=(10_000,)),
    "medium": Parameter(kind="threshold", priority=2, first_step=150_000, sizes=(100_000,)),
}


def result(
    size: int,
    speedup: float | None,
    target: float | None,
    *,
    width: float = 0.0,
    pattern: Pattern = Pattern.HOT,
) -> SizeResult:
    time = Interval(estimate=1e-3, low=1e-3, high=1e-3)
    ratio = (
        Interval(estimate=speedup, low=speedup - width, high=speedup + width)
        if speedup is not None
        else None
    )
    return SizeResult(
        workload="price",
        size=size,
        time_s=time,
        reference_s=time if ratio else None,
        speedup=ratio,
        target=target,
        met=None,
        valid_blocks=20,
        blocks=20,
        pattern=pattern,
    )


def test_the_small_size_leads_to_the_small_threshold() -> None:
    results = [result(10_000, 0.61, 0.9), result(100_000, 0.995, 1.0), result(10**6, 1.38, 1.2)]
    found = recommend(results, PARAMETERS, current=START)
    assert found is not None
    assert (found.size, found.parameter, found.value) == (10_000, "small", 8_000)
    assert found.gap == pytest.approx(math.log(0.9 / 0.61))
    assert "0.61x" in found.reason


def test_the_middle_size_leads_to_the_medium_threshold() -> None:
    results = [result(10_000, 0.93, 0.9), result(100_000, 0.79, 1.0)]
    found = recommend(results, PARAMETERS, current=START)
    assert found is not None
    assert (found.size, found.parameter, found.value) == (100_000, "medium", 150_000)


def test_the_lower_bound_decides_which_size_is_worst() -> None:
    results = [result(10_000, 1.0, 0.9, width=0.3), result(100_000, 0.95, 1.0, width=0.01)]
    found = worst(results)
    assert found is not None
    assert found[0].size == 10_000
    assert found[1] > 0


def test_a_tried_first_step_gives_way_to_the_next_priority_and_then_to_the_grid() -> None:
    results = [result(10_000, 0.61, 0.9)]
    tried = []
    order = []
    grid: dict[str, tuple[Value, ...]] = {"small": (5_000, 8_000, 10_000)}
    for _ in range(8):
        found = recommend(results, PARAMETERS, current=START, tried=tried, grid=grid)
        assert found is not None
        if found.parameter is None:
            assert "every value" in found.reason
            break
        assert found.value is not None
        order.append((found.parameter, found.value))
        tried.append({**START, found.parameter: found.value})
    assert order == [
        ("small", 8_000),
        ("chunk", 512),
        ("unroll", 8),
        ("small", 5_000),
        ("small", 10_000),
    ]


def test_a_value_counts_as_tried_only_with_the_other_parameters_as_they_are_now() -> None:
    results = [result(10_000, 0.61, 0.9)]
    tried = [{**START, "small": 8_000, "chunk": 4096}]
    found = recommend(results, PARAMETERS, current=START, tried=tried)
    assert found is not None
    assert (found.parameter, found.value) == ("small", 8_000)


def test_met_targets_recommend_nothing_and_say_which_is_nearest() -> None:
    results = [result(10_000, 2.0, 0.9), result(100_000, 1.1, 1.0)]
    found = recommend(results, PARAMETERS, current=START)
    assert found is not None
    assert found.parameter is None
    assert found.size == 100_000
    assert found.gap < 0


@pytest.mark.parametrize(
    "results",
    [
        [],
        [result(10_000, 0.6, None)],
        [result(10_000, None, 0.9)],
        [result(10_000, 0.5, 0.9, pattern=Pattern.IDLE)],
    ],
)
def test_without_a_gap_there_is_no_recommendation(results: list[SizeResult]) -> None:
    assert recommend(results, PARAMETERS, current=START) is None


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("threshold", 30_000, 8_000),
        ("threshold", 5_000, 12_500),
        ("grain", 1024, 512),
        ("integer", 4, 8),
        ("grain", "L1 / 8", None),
        ("grain", 1, None),
        ("categorical", 4, None),
        ("integer", True, None),
    ],
)
def test_without_first_step_and_grid_the_kind_gives_the_step(
    kind: str, value: Value, expected: int | None
) -> None:
    parameters = {"p": Parameter.model_validate({"kind": kind})}
    found = recommend([result(10_000, 0.5, 1.0)], parameters, current={"p": value})
    assert found is not None
    assert found.value == expected
    assert (found.parameter is None) == (expected is None)


def test_no_parameter_that_concerns_the_size_is_said() -> None:
    parameters = {"p": Parameter(kind="grain", sizes=(5,), first_step=2)}
    found = recommend([result(10_000, 0.5, 1.0)], parameters, current={"p": 1})
    assert found is not None
    assert found.parameter is None
    assert "no parameter" in found.reason


def test_a_gap_by_the_lower_bound_is_zero_exactly_at_the_target() -> None:
    assert gap(result(10, 1.5, 1.5)) == 0.0

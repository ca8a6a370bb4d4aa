"""The size model on lines and crossings that are known."""

from __future__ import annotations

import math

import pytest

from perfkit.diagnose.model import (
    against_reference,
    crossover,
    described,
    linear_cost,
    size_model,
)
from perfkit.records import (
    Crossover,
    FfiEstimate,
    Interval,
    Layer,
    LayerTime,
    Outcome,
    Pattern,
    SizeResult,
    SizeSplit,
)


def around(value: float, relative: float = 0.01) -> Interval:
    return Interval(estimate=value, low=value * (1 - relative), high=value * (1 + relative))


SIZES = (1_000, 10_000, 100_000, 1_000_000)
NOTHING = FfiEstimate(share=None, agree=False, estimators=())


def size_split(size: int, layers: dict[Layer, float]) -> SizeSplit:
    call = sum(layers.values())
    return SizeSplit(
        workload="w",
        size=size,
        call_s=around(call),
        layers=tuple(
            LayerTime(
                layer=layer,
                seconds=seconds,
                share=Interval(
                    estimate=seconds / call, low=0.98 * seconds / call, high=1.02 * seconds / call
                ),
            )
            for layer, seconds in layers.items()
        ),
        ffi=NOTHING,
    )


def known_layers(n: int) -> dict[Layer, float]:
    return {Layer.GLUE: 4e-7, Layer.CONVERT_IN: 2e-8 * n, Layer.COMPUTE: 1e-6 + 1e-8 * n}


def sentence(found: Crossover) -> str:
    return described(found, "the old way", "the new way")


def test_a_line_gives_its_fixed_and_its_per_element_cost() -> None:
    found = linear_cost({n: around(2e-6 + 3e-9 * n) for n in SIZES})
    assert found is not None
    assert found.holds
    assert found.per_element_s.estimate == pytest.approx(3e-9, rel=1e-3)
    assert found.fixed_s.low <= 2e-6 <= found.fixed_s.high


def test_a_bend_is_no_line() -> None:
    times = {n: around(2e-6 + 3e-9 * n) for n in SIZES}
    times[1_000_000] = around(9e-3)
    found = linear_cost(times)
    assert found is not None
    assert not found.holds


def test_points_that_scatter_widen_the_line_they_are_still_near_to() -> None:
    sharp = {n: around(2e-6 + 3e-9 * n, 0.001) for n in SIZES}
    bent = {n: around(t.estimate * (1.06 if n == 10_000 else 1), 0.001) for n, t in sharp.items()}
    straight, scattered = linear_cost(sharp), linear_cost(bent)
    assert straight is not None
    assert scattered is not None
    assert scattered.holds
    assert _width(scattered.per_element_s) > 2 * _width(straight.per_element_s)
    assert scattered.per_element_s.low <= 3e-9 <= scattered.per_element_s.high


def _width(interval: Interval) -> float:
    return interval.high - interval.low


def test_two_sizes_are_no_model() -> None:
    assert linear_cost({1: around(1.0), 2: around(2.0)}) is None
    two = size_model("w", [size_split(n, known_layers(n)) for n in SIZES[:2]], [])
    assert (two.sizes, two.costs) == ((), ())
    assert "at least 3" in two.reason


def test_the_model_has_a_line_for_the_call_and_for_each_layer_that_was_seen() -> None:
    found = size_model("w", [size_split(n, known_layers(n)) for n in SIZES], [])
    assert found.sizes == SIZES
    by_layer = {cost.layer: cost.cost for cost in found.costs}
    assert set(by_layer) == {None, Layer.GLUE, Layer.CONVERT_IN, Layer.COMPUTE}
    assert all(cost.holds for cost in by_layer.values())
    assert by_layer[None].per_element_s.estimate == pytest.approx(3e-8, rel=1e-6)
    assert by_layer[Layer.GLUE].fixed_s.estimate == pytest.approx(4e-7, rel=1e-6)
    assert by_layer[Layer.GLUE].per_element_s.estimate == pytest.approx(0, abs=1e-15)
    assert by_layer[Layer.CONVERT_IN].fixed_s.estimate == pytest.approx(0, abs=1e-12)
    assert by_layer[Layer.COMPUTE].fixed_s.estimate == pytest.approx(1e-6, rel=1e-6)


def test_layers_without_a_profile_leave_the_calls_line() -> None:
    splits = [size_split(n, known_layers(n)) for n in SIZES[:2]]
    splits += [
        SizeSplit(workload="w", size=n, call_s=around(1e-6 + 3e-8 * n), layers=(), ffi=NOTHING)
        for n in SIZES[2:]
    ]
    found = size_model("w", splits, [])
    assert [cost.layer for cost in found.costs] == [None]
    assert "only the call" in found.reason


def result(size: int, speedup: float, pattern: Pattern = Pattern.HOT) -> SizeResult:
    return SizeResult(
        workload="w",
        size=size,
        time_s=around(1.0),
        reference_s=around(speedup),
        speedup=around(speedup),
        target=None,
        met=None,
        valid_blocks=20,
        blocks=20,
        pattern=pattern,
    )


def test_the_reference_is_compared_by_the_speed_ups_that_were_measured() -> None:
    results = [result(n, (n / 30_000) ** 0.3) for n in SIZES]
    results += [result(n, 0.5, Pattern.IDLE) for n in SIZES]
    hot, idle = against_reference(results, 0.02)
    assert (hot.pattern, hot.crossover.outcome) == (Pattern.HOT, Outcome.FOUND)
    assert (idle.pattern, idle.crossover.outcome) == (Pattern.IDLE, Outcome.NEVER)
    assert hot.noise_floor == 0.02
    assert against_reference([], 0.02) == []


def test_a_crossing_is_interpolated_and_bracketed() -> None:
    found = crossover({n: around((n / 30_000) ** 0.3) for n in SIZES})
    assert found.outcome is Outcome.FOUND
    assert found.size == pytest.approx(30_000, rel=0.01)
    assert (found.low, found.high) == (10_000, 100_000)
    assert (found.slower, found.faster) == (SIZES[:2], SIZES[2:])
    assert sentence(found) == (
        "the new way is faster than the old way from about 30k on (between 10k and 100k)"
    )


def test_a_crossing_the_other_way_round_is_one_too() -> None:
    found = crossover({n: around((n / 30_000) ** -0.3) for n in SIZES})
    assert found.outcome is Outcome.FOUND
    assert not found.rising
    assert found.size == pytest.approx(30_000, rel=0.01)
    assert (found.low, found.high) == (10_000, 100_000)
    assert sentence(found) == (
        "the new way is faster than the old way below about 30k and slower above "
        "(between 10k and 100k)"
    )


def test_faster_everywhere_and_slower_everywhere_are_answers() -> None:
    always = crossover({n: around(1.5) for n in SIZES})
    never = crossover({n: around(0.5) for n in SIZES})
    assert (always.outcome, never.outcome) == (Outcome.ALWAYS, Outcome.NEVER)
    assert sentence(always) == (
        "no crossover: the new way is faster than the old way at every size measured"
    )
    assert sentence(never) == (
        "no crossover: the new way is slower than the old way at every size measured"
    )


def test_intervals_that_hold_one_resolve_nothing() -> None:
    found = crossover({n: around(1.001, 0.05) for n in SIZES})
    assert found.outcome is Outcome.UNRESOLVED
    assert found.undecided == SIZES
    assert sentence(found) == (
        "the old way and the new way cannot be told apart on this machine at any size measured"
    )


def test_what_equal_code_differs_by_is_no_difference() -> None:
    gains = {1_000: around(0.97, 0.001), 10_000: around(1.03, 0.001), 100_000: around(1.5)}
    assert crossover(gains, 0.01).outcome is Outcome.FOUND
    within = crossover(gains, 0.05)
    assert within.outcome is Outcome.UNRESOLVED
    assert (within.faster, within.undecided) == ((100_000,), (1_000, 10_000))
    assert sentence(within) == (
        "the new way is faster than the old way at 100k; at 1k and 10k the two cannot be told "
        "apart on this machine, so whether they cross there is not known"
    )
    # Half a percent is the least floor, whatever the copies say.
    assert crossover({n: around(1.004, 0.001) for n in SIZES}, 0.0).outcome is Outcome.UNRESOLVED


def test_a_size_that_cannot_be_told_widens_the_bracket() -> None:
    gains = {1_000: around(0.5), 10_000: around(0.99, 0.1), 100_000: around(2.0)}
    found = crossover(gains)
    assert (found.low, found.high) == (1_000, 100_000)
    assert found.undecided == (10_000,)
    assert found.size is not None
    assert 10_000 < found.size < 100_000


def test_a_ratio_that_passes_one_twice_has_no_single_size() -> None:
    found = crossover({1_000: around(1.5), 10_000: around(0.5), 100_000: around(2.0)})
    assert found.outcome is Outcome.SEVERAL
    assert found.size is None
    assert sentence(found) == (
        "there is no single size: the new way is faster than the old way at 1k and 100k, and "
        "slower at 10k"
    )


def test_a_crossing_between_a_hairs_breadth_and_a_factor_is_finite() -> None:
    found = crossover({1_000: around(1.0 - 6e-3, 1e-10), 10_000: around(1.5)})
    assert found.size is not None
    assert math.isfinite(found.size)
    assert 1_000 < found.size < 1_100


def test_what_was_not_measured_is_said() -> None:
    missing = Crossover(outcome=Outcome.NOT_MEASURED)
    assert "were not measured against each other" in sentence(missing)

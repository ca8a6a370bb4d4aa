"""Each estimator against figures whose answer is known by construction."""

from __future__ import annotations

import pytest

from perfkit.diagnose.estimators import (
    SMALL_SIZES,
    Answer,
    Method,
    SampledCall,
    call_minus_bench,
    difference,
    inner_timer,
    intercept,
    response,
    sampled_stacks,
    scales,
    twin,
)
from perfkit.records import Covers, Interval, Layer

LOOP = 40e-9


def around(value: float, half: float = 1e-9) -> Interval:
    return Interval(estimate=value, low=value - half, high=value + half)


def line(fixed: float, slope: float) -> dict[int, Interval]:
    return {size: around(fixed + slope * size) for size in SMALL_SIZES}


def test_the_twin_less_the_loop_is_the_boundary() -> None:
    reading = twin(around(250e-9), LOOP, call_s=around(2e-6))
    assert reading.seconds is not None
    assert reading.seconds.estimate == pytest.approx(210e-9)
    assert reading.covers is Covers.BOUNDARY


def test_a_twin_slower_than_the_call_is_no_twin() -> None:
    reading = twin(around(3e-6), LOOP, call_s=around(2e-6))
    assert reading.seconds is None
    assert "longer than the call" in reading.reason


@pytest.mark.parametrize("fixed", [200e-9, 1e-6, 5e-6])
def test_the_intercept_finds_the_fixed_cost(fixed: float) -> None:
    reading = intercept(line(fixed + LOOP, 2e-9), LOOP, main={10_000: around(20e-6)})
    assert reading.seconds is not None
    assert reading.seconds.estimate == pytest.approx(fixed, abs=1e-9)
    assert reading.seconds.low <= fixed <= reading.seconds.high


def test_one_disturbed_size_does_not_move_the_intercept() -> None:
    times = line(200e-9 + LOOP, 2e-9)
    times[16] = around(times[16].estimate + 25e-9)
    reading = intercept(times, LOOP, main={10_000: around(20e-6)})
    assert reading.seconds is not None
    assert reading.seconds.estimate == pytest.approx(200e-9, abs=10e-9)


def test_times_off_the_line_have_no_intercept() -> None:
    times = line(200e-9, 2e-9)
    times[512] = around(20e-6)
    reading = intercept(times, LOOP, main={10_000: around(20e-6)})
    assert reading.seconds is None
    assert "not on a line: 512" in reading.reason


def test_a_size_of_one_off_the_line_widens_the_interval() -> None:
    times = line(400e-9, 100e-9)
    times[1] = around(390e-9)
    reading = intercept(times, LOOP, main={10_000: around(1e-3)})
    assert reading.seconds is not None
    assert reading.seconds.high - reading.seconds.estimate > 100e-9
    times[1] = around(150e-9)
    assert intercept(times, LOOP, main={10_000: around(1e-3)}).seconds is None


def test_too_few_small_sizes_have_no_intercept() -> None:
    reading = intercept({1: around(1e-6), 16: around(1e-6)}, LOOP, main={})
    assert reading.seconds is None
    assert "only 2" in reading.reason


def test_sizes_that_scale_nothing_have_no_intercept() -> None:
    times = dict.fromkeys(SMALL_SIZES, around(1e-6))
    reading = intercept(times, LOOP, main={1_000: around(1e-6), 10**6: around(1.05e-6)})
    assert reading.seconds is None
    assert "does not grow" in reading.reason


def test_scaling_is_told_only_over_a_wide_range() -> None:
    assert scales({1_000: around(1e-6), 2_000: around(1e-6)})
    assert not scales({1_000: around(1e-6), 20_000: around(1e-6)})
    assert scales({1_000: around(1e-6), 20_000: around(20e-6)})
    assert not scales({1_000: around(1e-6)})


def test_the_inner_timer_keeps_a_negative_answer() -> None:
    reading = inner_timer(around(10e-9), LOOP)
    assert reading.seconds is not None
    assert reading.seconds.estimate == pytest.approx(-30e-9)


def test_a_bench_that_allocates_leaves_the_ffi_and_one_that_does_not_the_boundary() -> None:
    same = call_minus_bench(around(20e-6), around(19e-6), LOOP, allocates_output=True)
    other = call_minus_bench(around(20e-6), around(19e-6), LOOP, allocates_output=False)
    assert same.seconds is not None
    assert same.seconds.estimate == pytest.approx(1e-6 - LOOP)
    assert (same.covers, other.covers) == (Covers.FFI, Covers.BOUNDARY)


def test_a_bench_compiled_otherwise_says_nothing() -> None:
    reading = call_minus_bench(
        around(20e-6),
        around(19e-6),
        LOOP,
        allocates_output=True,
        other_flags=("-C target-cpu=native",),
    )
    assert reading.seconds is None
    assert "target-cpu=native" in reading.reason


def test_a_difference_is_as_uncertain_as_both_together() -> None:
    found = difference(around(5.0, 0.3), around(2.0, 0.4))
    assert found.estimate == pytest.approx(3.0)
    assert found.high - found.estimate == pytest.approx(0.5)


def sampled(**seconds: float) -> SampledCall:
    layers = {Layer(name): value for name, value in seconds.items()}
    return SampledCall(
        layers=layers,
        samples=1000,
        sample_s=sum(seconds.values()) / 1000,
        boundary_allocation_s=2e-6,
        loop_s=LOOP,
    )


def test_samples_give_the_ffi_and_what_others_should_see() -> None:
    split = sampled(glue=1e-6, convert_in=3e-6, interpreter=1e-6, allocation=3e-6, compute=12e-6)
    reading = sampled_stacks(split)
    assert reading.seconds is not None
    assert reading.seconds.estimate == pytest.approx(4e-6)
    assert reading.seconds.low < 4e-6 < reading.seconds.high
    boundary = split.covering(Covers.BOUNDARY)
    assert boundary.estimate == pytest.approx(4e-6 + 2e-6 + 1e-6 - LOOP)


DELAYS = (1e-7, 3e-7, 6e-7)


def answers(slope: float, scatter: float = 0.0) -> list[list[tuple[float, float]]]:
    """Twenty blocks on a machine that gets slower, so that only pairs within a block tell."""
    return [
        [(k, 3e-7 * (1 + block / 10) + (slope + scatter * (block % 5 - 2)) * k) for k in DELAYS]
        for block in range(20)
    ]


@pytest.mark.parametrize(
    ("slope", "scatter", "expected"),
    [
        (1.0, 0.0, Answer.HOLDS),
        (0.97, 0.005, Answer.HOLDS),
        (0.5, 0.0, Answer.BROKEN),
        (1.3, 0.05, Answer.BROKEN),
        (1.0, 0.1, Answer.UNDECIDED),
        (0.7, 0.3, Answer.UNDECIDED),
    ],
)
def test_the_response_to_a_delay_holds_or_does_not_or_is_not_decided(
    slope: float, scatter: float, expected: Answer
) -> None:
    found = response(Method.TWIN.value, answers(slope, scatter))
    assert found is not None
    assert found.slope.estimate == pytest.approx(slope)
    assert found.answer is expected


def test_a_slope_takes_several_blocks_of_two_delays() -> None:
    assert response("twin", answers(1.0)[:5]) is None
    with pytest.raises(ValueError, match="constant"):
        response("twin", [[(1e-7, 1e-6), (1e-7, 1e-6)]] * 20)

"""What is doubtful about a capture, as the bounds of a share."""

from __future__ import annotations

import dataclasses
import random

import pytest

from perfkit.records import Doubts, Interval, Layer, LayerTime
from perfkit.stacks import bounds
from perfkit.stacks.bounds import Telling
from perfkit.stacks.intervals import wilson
from perfkit.stacks.layers import Layers
from perfkit.stacks.split import CALLING_THREAD, Split, split


def share(low: float, high: float) -> Interval:
    return Interval(estimate=(low + high) / 2, low=low, high=high)


def ends(interval: Interval) -> tuple[float, float]:
    return pytest.approx(interval.low), pytest.approx(interval.high)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("doubts", "on_cpu", "waiting"),
    [
        (Doubts(), (0.3, 0.4), (0.3, 0.4)),
        (Doubts(unnamed=0.1), (0.3, 0.5), (0.3, 0.4)),
        (Doubts(missing=0.1), (0.3, 0.5), (0.2, 0.4)),
        (Doubts(surplus=0.1), (0.2, 0.4), (0.3, 0.5)),
        # 0.3 - 0.1 * 0.7 and 0.4 * 1.1.
        (Doubts(slowdown=0.1), (0.23, 0.44), (0.23, 0.44)),
        # 0.3 - 0.1 * 0.3 and 0.4 + 0.1 * 0.6.
        (Doubts(slowdown=-0.1), (0.27, 0.46), (0.27, 0.46)),
        (Doubts(shift=0.1), (0.2, 0.5), (0.2, 0.5)),
        (Doubts(slowdown=9.0), (0.0, 1.0), (0.0, 1.0)),
        (Doubts(slowdown=None), (0.0, 1.0), (0.0, 1.0)),
        (Doubts(missing=0.9), (0.3, 1.0), (0.0, 0.4)),
    ],
)
def test_each_doubt_widens_by_its_worst_case(
    doubts: Doubts, on_cpu: tuple[float, float], waiting: tuple[float, float]
) -> None:
    counted = share(0.3, 0.4)
    assert ends(bounds.doubtful(counted, doubts)) == on_cpu
    assert ends(bounds.waiting(counted, doubts)) == waiting


@pytest.mark.parametrize("sign", [1, -1])
def test_no_profiler_that_only_adds_or_saves_time_moves_a_share_out_of_its_bounds(
    sign: int,
) -> None:
    """Random splits, each part slowed down, or shortened, by any amount of its own."""
    lots = random.Random(3)
    for _ in range(2_000):
        parts = [lots.expovariate(1.0) for _ in range(4)]
        added = [
            sign * min(lots.expovariate(1.0), part) * lots.choice((0.0, 0.01, 0.3))
            for part in parts
        ]
        cost = sum(added) / sum(parts)
        for own, more in zip(parts, added, strict=True):
            observed = (own + more) / (sum(parts) + sum(added))
            found = bounds.doubtful(share(observed, observed), Doubts(slowdown=cost))
            assert found.low - 1e-12 <= own / sum(parts) <= found.high + 1e-12


def test_an_excess_stays_visible_and_its_bounds_hold_zero() -> None:
    excess = Interval(estimate=-0.003, low=-0.004, high=-0.002)
    found = bounds.waiting(excess, Doubts(surplus=0.004))
    assert found.estimate == found.low == -0.003
    assert found.high > 0.0


def counted(stacks: dict[tuple[str, ...], int], total_s: float = 1.0) -> Split:
    rows = [((CALLING_THREAD, "_start", *stack), count) for stack, count in stacks.items()]
    return split(
        rows, layers=Layers(("mine",)), rate_hz=1000.0, region_s=total_s, calls=10, windows=4
    )


def test_a_split_takes_its_undecided_samples_for_any_layer() -> None:
    plain = counted({("mine::work",): 600, ("[unknown]",): 200})
    assert plain.undecided == pytest.approx(0.2)
    found = bounds.of_split(plain, Doubts(unnamed=0.7, slowdown=0.0))
    assert found.doubts == Doubts(unnamed=plain.undecided, slowdown=0.0)
    rows = {row.layer: row.share for row in found.layers}
    before = {row.layer: row.share for row in plain.layers}
    assert rows[Layer.COMPUTE].high == pytest.approx(before[Layer.COMPUTE].high + 0.2)
    assert rows[Layer.COMPUTE].low == before[Layer.COMPUTE].low
    assert rows[Layer.WAITING] == before[Layer.WAITING]
    assert found.ffi.high == pytest.approx(plain.ffi.high + 0.2)


def test_a_stack_that_is_cut_is_decided_by_the_frames_that_are_there() -> None:
    """A fast kernel keeps more on its stack than a copy holds: only its root is missing."""
    cut = [((CALLING_THREAD, "mine::work"), 900), ((CALLING_THREAD, "malloc"), 100)]
    found = split(cut, layers=Layers(("mine",)), rate_hz=1000.0, region_s=1.0, calls=10)
    assert found.share(Layer.COMPUTE) == pytest.approx(0.9)
    assert found.undecided == pytest.approx(0.1)
    whole = [((CALLING_THREAD, "_start", "malloc"), 100)]
    assert split(whole, layers=Layers(()), rate_hz=1e3, region_s=1.0, calls=1).undecided == 0.0


@pytest.mark.parametrize(
    ("interval", "telling"),
    [
        (share(0.2, 0.3), Telling.TOLD),
        (share(0.2, 0.31), Telling.BOUNDED),
        # Above one half: a fifth of the estimate.
        (share(0.72, 0.88), Telling.TOLD),
        (share(0.7, 0.9), Telling.BOUNDED),
        (share(0.1, 0.6), Telling.BOUNDED),
        (share(0.1, 0.61), Telling.UNKNOWN),
    ],
)
def test_a_share_is_told_bounded_or_unknown_by_its_width(
    interval: Interval, telling: Telling
) -> None:
    assert bounds.telling(interval) is telling


def row(layer: Layer, interval: Interval) -> LayerTime:
    return LayerTime(layer=layer, seconds=1.0, share=interval)


def test_only_layers_that_matter_count() -> None:
    small = row(Layer.GLUE, Interval(estimate=0.05, low=0.0, high=0.9))
    told, wide = row(Layer.COMPUTE, share(0.85, 0.95)), row(Layer.COMPUTE, share(0.6, 0.95))
    nothing = row(Layer.COMPUTE, share(0.2, 0.95))
    assert bounds.is_told([small, told])
    assert not bounds.is_told([small, told, wide])
    assert not bounds.is_told([])
    assert bounds.says_something([wide, nothing])
    assert not bounds.says_something([nothing, small])
    assert bounds.widest([small, told, wide]) == pytest.approx(0.35)
    assert bounds.widest([]) == 1.0


def test_ten_samples_have_bounds() -> None:
    found = bounds.of_split(counted({("mine::work",): 9}, 0.01), Doubts(slowdown=0.01))
    compute = next(one.share for one in found.layers if one.layer is Layer.COMPUTE)
    assert bounds.telling(compute) is Telling.BOUNDED
    assert compute.low > 0.5


def test_without_room_waiting_may_be_for_a_core() -> None:
    plain = counted({("mine::work",): 600})
    found = {one.layer: one.share for one in bounds.contended(plain).layers}
    before = {one.layer: one.share for one in plain.layers}
    assert found[Layer.WAITING].low == 0.0
    assert found[Layer.WAITING].high == before[Layer.WAITING].high
    # On a free machine it may have been all of a call that is shorter by the waiting.
    free = before[Layer.COMPUTE].high / (1 - before[Layer.WAITING].high)
    assert found[Layer.COMPUTE].high == pytest.approx(min(free, 1.0))
    assert found[Layer.COMPUTE].low == before[Layer.COMPUTE].low
    # A finding's share is widened in the same way.
    doubts = bounds.contended(plain).doubts
    assert bounds.doubtful(before[Layer.COMPUTE], doubts) == found[Layer.COMPUTE]


def test_doubts_are_named_by_their_amount() -> None:
    doubts = Doubts(unnamed=0.001, missing=0.02, slowdown=0.03)
    assert [amount for _, amount in bounds.named(doubts)] == [0.03, 0.02]
    assert bounds.named(Doubts(slowdown=None)) == []


@pytest.mark.parametrize("true", [0.02, 0.3, 0.7, 0.97])
def test_bounds_of_small_costs_are_little_wider_than_counting(true: float) -> None:
    counting = wilson(true * 3_000, 3_000)
    cost = 0.019
    found = bounds.doubtful(counting, Doubts(slowdown=cost))
    more = (found.high - found.low) - (counting.high - counting.low)
    assert more <= cost + 0.01


def test_work_of_several_threads_may_be_more_than_the_wall_clock() -> None:
    worked = dataclasses.replace(share(1.7, 1.8), estimate=1.75)
    found = bounds.doubtful(worked, Doubts(missing=0.1), most=float("inf"))
    assert ends(found) == (1.7, 1.9)

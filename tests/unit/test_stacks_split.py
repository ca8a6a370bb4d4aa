"""Samples to seconds per call: nothing rescaled, shares of the wall clock that add up to one."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.errors import CaptureError
from perfkit.records import Layer
from perfkit.stacks.intervals import design_effect, wilson
from perfkit.stacks.layers import Layers
from perfkit.stacks.split import (
    CALLING_THREAD,
    OTHER_THREADS,
    split,
)

LAYERS = Layers(["my_crate"])
COMPUTE = (CALLING_THREAD, "_PyEval_EvalFrameDefault", "my_crate::price")
PYTHON = (CALLING_THREAD, "_PyEval_EvalFrameDefault")
OTHER = (OTHER_THREADS, "start_thread", "my_crate::price")


def test_sampled_time_is_samples_over_rate() -> None:
    found = split(
        [(COMPUTE, 600), (PYTHON, 200), (OTHER, 900)],
        layers=LAYERS,
        rate_hz=1000.0,
        region_s=1.0,
        calls=500,
    )
    assert found.call_s == 0.002
    assert found.seconds(Layer.COMPUTE) == pytest.approx(0.6 / 500)
    assert found.share(Layer.INTERPRETER) == pytest.approx(0.2)
    assert found.share(Layer.WAITING) == pytest.approx(0.2)
    assert found.workers_s == pytest.approx(0.9 / 500)
    assert found.workers[0].share.estimate == pytest.approx(0.9)
    assert (found.samples, found.worker_samples) == (800, 900)
    assert found.ffi.estimate == 0.0


@given(
    counts=st.lists(st.integers(1, 10_000), min_size=1, max_size=3),
    rate=st.floats(1, 1e4),
    region=st.floats(1e-3, 1e3),
    calls=st.integers(1, 10**6),
)
def test_shares_add_up_to_one_whatever_was_sampled(
    counts: list[int], rate: float, region: float, calls: int
) -> None:
    stacks = list(zip((COMPUTE, PYTHON, OTHER), counts, strict=False))
    found = split(stacks, layers=LAYERS, rate_hz=rate, region_s=region, calls=calls)
    total = sum(row.share.estimate for row in found.layers)
    assert total == pytest.approx(
        1.0, rel=1e-9, abs=1e-9 * max(abs(r.share.estimate) for r in found.layers)
    )
    for row in (*found.layers, *found.workers):
        assert row.share.low <= row.share.estimate <= row.share.high


def test_more_samples_than_wall_clock_show_as_they_are() -> None:
    found = split([(COMPUTE, 1010)], layers=LAYERS, rate_hz=1000.0, region_s=1.0, calls=1)
    assert found.share(Layer.WAITING) == pytest.approx(-0.01)


@pytest.mark.parametrize(("region", "calls", "rate"), [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_an_empty_region_is_refused(region: float, calls: int, rate: float) -> None:
    with pytest.raises(CaptureError):
        split([(COMPUTE, 1)], layers=LAYERS, rate_hz=rate, region_s=region, calls=calls)


def test_wilson_is_the_textbook_interval() -> None:
    # Newcombe 1998, table I: 81 of 263.
    found = wilson(81, 263)
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 10).low == 0
    assert wilson(10, 10).high == 1


# -- samples that resemble their neighbours --------------------------------------------------------

CALL = (("interpreter", 0.29), ("convert", 0.53), ("compute", 0.18))


def kind_at(phase: float) -> str:
    """What runs at a point of a call, from 0 to 1."""
    for kind, share in CALL:
        phase -= share
        if phase < 0:
            return kind
    return CALL[-1][0]


def sampled(lots: random.Random, calls_per_sample: float, jitter: float) -> list[Counter[str]]:
    """Windows of a sampler with a fixed period, each begun anywhere in a call; `jitter` is how far
    off the calls' point is from one sample to the next.
    """
    windows = []
    for _ in range(60):
        phase = lots.random()
        window = Counter[str]()
        for _ in range(20):
            window[kind_at(phase % 1)] += 1
            phase += calls_per_sample + lots.gauss(0, jitter)
        windows.append(window)
    return windows


def test_samples_out_of_step_are_independent_ones() -> None:
    lots = random.Random(3)
    found = [design_effect(sampled(lots, 9.0, jitter=1.0)) for _ in range(40)]
    assert sum(found) / 40 < 1.15
    assert min(found) == 1.0  # never narrower than independent samples


def test_intervals_of_samples_in_step_hold_the_truth_as_often_as_they_say() -> None:
    """And those that take them as independent do not: that is why the effect is measured."""
    lots = random.Random(4)
    held = Counter[bool]()
    for _ in range(300):
        windows = sampled(lots, 9.0, jitter=0.05)
        effect = design_effect(windows)
        hits, total = sum(window["convert"] for window in windows), 60 * 20
        for known in (True, False):
            interval = wilson(hits, total, effect if known else 1.0)
            held[known] += interval.low <= 0.53 <= interval.high
    assert held[True] / 300 > 0.91
    assert held[False] / 300 < 0.6


def test_one_window_or_one_kind_tells_nothing_of_the_effect() -> None:
    assert design_effect([]) == 1.0
    assert design_effect([{"a": 3, "b": 4}, {}]) == 1.0
    assert design_effect([{"a": 3}, {"a": 9}]) == 1.0
    assert design_effect([{"a": 5}, {"b": 5}]) == pytest.approx(10.0)


def test_the_design_effect_widens_every_interval_of_a_split_and_moves_no_share() -> None:
    stacks = [(COMPUTE, 600), (PYTHON, 200), (OTHER, 900)]
    plain, wide = (
        split(
            stacks, layers=LAYERS, rate_hz=1e3, region_s=1.0, calls=500, windows=9, design_effect=by
        )
        for by in (1.0, 4.0)
    )
    for before, after in zip(
        (*plain.layers, *plain.workers), (*wide.layers, *wide.workers), strict=True
    ):
        assert after.share.estimate == before.share.estimate
        wider, narrow = (row.share.high - row.share.low for row in (after, before))
        assert wider > 1.4 * narrow
    assert wide.ffi.high > plain.ffi.high

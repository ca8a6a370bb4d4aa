"""The size model on lines and crossings that are known."""

from __future__ import annotations

import math

import pytest

from perfkit.diagnose.model import Outcome, crossover, linear_cost
from perfkit.records import Interval


def around(value: float, relative: float = 0.01) -> Interval:
    return Interval(estimate=value, low=value * (1 - relative), high=value * (1 + relative))


SIZES = (1_000, 10_000, 100_000, 1_000_000)


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


def test_two_sizes_are_no_model() -> None:
    assert linear_cost({1: around(1.0), 2: around(2.0)}) is None


def test_a_crossing_is_interpolated_and_bracketed() -> None:
    gains = {n: around((n / 30_000) ** 0.3) for n in SIZES}
    found = crossover(gains)
    assert found.outcome is Outcome.FOUND
    assert found.size == pytest.approx(30_000, rel=0.01)
    assert (found.low, found.high) == (10_000, 100_000)
    assert "30" in found.described()


def test_faster_everywhere_and_slower_everywhere_are_answers() -> None:
    assert crossover({n: around(1.5) for n in SIZES}).outcome is Outcome.ALWAYS
    assert crossover({n: around(0.5) for n in SIZES}).outcome is Outcome.NEVER


def test_intervals_that_hold_one_resolve_nothing() -> None:
    found = crossover({n: around(1.001, 0.05) for n in SIZES})
    assert found.outcome is Outcome.UNRESOLVED
    assert "cannot be resolved" in found.described()


def test_a_size_that_cannot_be_told_widens_the_bracket() -> None:
    gains = {1_000: around(0.5), 10_000: around(0.99, 0.1), 100_000: around(2.0)}
    found = crossover(gains)
    assert (found.low, found.high) == (1_000, 100_000)
    assert found.size is not None
    assert 10_000 < found.size < 100_000


def test_a_ratio_that_passes_one_twice_has_no_single_size() -> None:
    gains = {1_000: around(1.5), 10_000: around(0.5), 100_000: around(2.0)}
    assert crossover(gains).outcome is Outcome.UNRESOLVED


def test_a_crossing_at_the_edge_of_what_is_known_is_finite() -> None:
    gains = {1_000: around(1.0 - 1e-9, 1e-10), 10_000: around(1.5)}
    found = crossover(gains)
    assert found.size is not None
    assert math.isfinite(found.size)

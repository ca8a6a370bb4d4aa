"""How fast the machine ran during a capture, and between two of them."""

from __future__ import annotations

import numpy as np
import pytest

from perfkit.profile import pace
from perfkit.records import Interval

KINDS = ("interpreter", "arithmetic", "memory")


def looks(factor: float, count: int = 40, seed: int = 0) -> list[dict[str, float]]:
    chance = np.random.default_rng(seed)
    return [
        {kind: factor * 1e-3 * chance.lognormal(0, 0.02) for kind in KINDS} for _ in range(count)
    ]


def test_a_slow_half_counts_by_the_calls_that_fit_into_it() -> None:
    """Windows last as long; at a third of the speed one holds a third of the calls."""
    found = pace.over([{"interpreter": 1e-3}] * 20 + [{"interpreter": 3e-3}] * 20)
    assert found["interpreter"].estimate == pytest.approx(1.5e-3, rel=0.2)
    assert found["interpreter"].low < 1.5e-3 < found["interpreter"].high


def test_a_capture_without_looks_has_no_pace() -> None:
    assert pace.over([]) == {}
    assert pace.between({}, pace.over(looks(1.0))) is None


def test_few_looks_give_their_whole_range() -> None:
    found = pace.over([{"memory": 1e-3}, {"memory": 2e-3}])["memory"]
    assert (found.low, found.high) == (pytest.approx(1e-3), pytest.approx(2e-3))


def test_the_factor_holds_every_kind() -> None:
    before = {kind: Interval(estimate=1.0, low=0.99, high=1.01) for kind in KINDS}
    after = {
        "interpreter": Interval(estimate=1.2, low=1.19, high=1.21),
        "arithmetic": Interval(estimate=1.0, low=0.99, high=1.01),
        "memory": Interval(estimate=1.5, low=1.4, high=1.6),
    }
    found = pace.between(before, after)
    assert found is not None
    assert found.low < 1.0 < 1.5 < found.high
    assert found.estimate == pytest.approx(1.5**0.5)


def test_the_interval_covers_the_factor_of_noisy_looks() -> None:
    inside = 0
    for seed in range(100):
        found = pace.between(
            pace.over(looks(1.0, seed=2 * seed)), pace.over(looks(1.3, seed=2 * seed + 1))
        )
        assert found is not None
        inside += found.low < 1.3 < found.high
    assert inside >= 95

"""The statistics of measuring, against known answers and exact coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from perfkit.measure import statistics

finite = st.floats(min_value=-1e6, max_value=1e6, allow_nan=False)


def test_six_values_are_the_fewest_with_an_interval() -> None:
    found = statistics.rank_interval([6.0, 1.0, 5.0, 2.0, 4.0, 3.0])
    assert (found.low, found.estimate, found.high) == (1.0, 3.5, 6.0)
    with pytest.raises(ValueError, match="5 values carry no interval"):
        statistics.rank_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    with pytest.raises(ValueError, match="0 values"):
        statistics.rank_interval([])


@pytest.mark.parametrize("count", [6, 7, 12, 20, 21, 50, 101, 400])
def test_the_ranks_are_the_narrowest_that_cover_95_percent(count: int) -> None:
    found = statistics.rank_interval([float(i) for i in range(1, count + 1)])
    rank = int(found.low)
    assert found.high == count + 1 - rank
    missed = 2 * stats.binom.cdf(rank - 1, count, 0.5)
    assert missed <= 0.05 < 2 * stats.binom.cdf(rank, count, 0.5)


@given(st.lists(finite, min_size=6, max_size=60))
def test_an_interval_holds_its_estimate_and_does_not_depend_on_order(values: list[float]) -> None:
    found = statistics.rank_interval(values)
    assert found.low <= found.estimate <= found.high
    assert statistics.rank_interval(sorted(values, reverse=True)) == found


@given(st.lists(finite, min_size=6, max_size=40))
def test_turning_the_comparison_turns_the_sign(values: list[float]) -> None:
    found = statistics.log_interval(values)
    turned = statistics.log_interval([-value for value in values])
    assert turned.estimate == -found.estimate
    assert (turned.low, turned.high) == (-found.high, -found.low)


def test_coverage_of_the_rank_interval_on_a_skewed_distribution() -> None:
    chance = np.random.default_rng(7)
    truth = math.log(2)  # median of the exponential distribution
    hits = sum(
        (found := statistics.rank_interval(list(chance.exponential(size=40)))).low
        <= truth
        <= found.high
        for _ in range(2_000)
    )
    assert 0.94 <= hits / 2_000 <= 0.98


def test_neighbours_that_follow_each_other_are_merged() -> None:
    chance = np.random.default_rng(1)
    independent = list(chance.normal(size=200))
    assert statistics.merged(independent) == independent
    slow = np.repeat(chance.normal(size=40), 8)  # eight blocks at a time see the same machine
    assert statistics.lag_one(list(slow)) > 0.5
    joined = statistics.merged(list(slow))
    assert len(joined) <= 80
    assert float(np.mean(joined)) == pytest.approx(float(np.mean(slow)), abs=1e-12)
    assert statistics.half_width(statistics.log_interval(list(slow))) > statistics.half_width(
        statistics.rank_interval(list(slow))
    )


def test_merging_keeps_enough_values_and_loses_none() -> None:
    rising = [float(i) for i in range(13)]
    joined = statistics.merged(rising, least=6)
    assert len(joined) == 6
    assert joined[-1] == pytest.approx((10 + 11 + 12) / 3)


def test_one_interrupt_does_not_make_a_series_look_correlated() -> None:
    chance = np.random.default_rng(3)
    values = list(chance.normal(size=100))
    values[50] = values[51] = 1e6
    assert abs(statistics.lag_one(values)) < 0.25


def test_a_constant_series_has_no_correlation() -> None:
    assert statistics.lag_one([2.0] * 10) == 0.0


def test_sessions_that_disagree_widen_the_interval() -> None:
    chance = np.random.default_rng(5)
    same = [list(chance.normal(0.0, 0.01, 50)) for _ in range(3)]
    apart = [list(chance.normal(centre, 0.01, 50)) for centre in (-0.1, 0.0, 0.1)]
    narrow = statistics.over_sessions(same)
    wide = statistics.over_sessions(apart)
    assert statistics.half_width(narrow) < 0.03
    # Student's factor for three medians is 4.30, over sqrt(3): 0.1 * 4.30 / 1.732 = 0.248
    assert statistics.half_width(wide) == pytest.approx(0.248, rel=0.1)
    assert statistics.over_sessions([same[0], []]) == statistics.log_interval(same[0])


@pytest.mark.parametrize("process", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("count", [4, 5])
def test_sessions_cover_as_often_as_they_say(process: float, count: int) -> None:
    """However much processes differ, beside the scatter of blocks that have a heavy tail."""
    chance = np.random.default_rng(17)
    trials = 2_000
    hits = 0
    for _ in range(trials):
        centres = chance.normal(0.0, process, count)
        sessions = [list(centre + chance.standard_t(4, 9)) for centre in centres]
        found = statistics.over_sessions(sessions)
        hits += found.low <= 0.0 <= found.high
    assert 0.93 <= hits / trials <= 0.97


def test_four_sessions_are_centred_on_the_mean_of_their_medians() -> None:
    found = statistics.over_sessions([[0.0] * 3, [1.0] * 3, [1.0] * 30, [2.0] * 3])
    assert found.estimate == 1.0
    assert found.high - 1.0 == pytest.approx(1.0 - found.low)


def test_two_sessions_give_at_least_the_range_of_their_medians() -> None:
    found = statistics.over_sessions([[0.0] * 20, [0.1] * 20])
    assert found.low <= 0.0
    assert found.high >= 0.1


def test_drift_is_seen_over_noise_and_is_not_where_there_is_none() -> None:
    chance = np.random.default_rng(11)
    noise = np.exp(chance.normal(0, 0.02, 100))
    moved, p_value = statistics.drift([list(noise * np.exp(np.linspace(0, 0.3, 100)))])
    assert moved == pytest.approx(0.3, abs=0.05)
    assert p_value < 1e-6
    flat, p_flat = statistics.drift([list(noise)])
    assert abs(flat) < 0.02
    assert p_flat > 0.001
    assert p_flat == pytest.approx(stats.kendalltau(range(100), noise).pvalue, rel=0.05)
    assert statistics.drift([[1.0], []]) == (0.0, 1.0)


def test_short_series_that_all_rise_are_a_drift_and_those_that_rise_and_fall_are_not() -> None:
    rising, falling = [1.0, 1.02, 1.05, 1.1], [1.1, 1.05, 1.02, 1.0]
    moved, p_value = statistics.drift([rising] * 5)
    assert moved == pytest.approx(math.log(1.1), rel=0.1)
    assert p_value < 1e-4
    assert statistics.drift([rising, falling] * 3)[1] == 1.0


def test_a_drift_is_claimed_as_seldom_as_its_p_value_says() -> None:
    chance = np.random.default_rng(23)
    claimed = sum(
        statistics.drift(np.exp(chance.normal(0, 0.05, (5, 6))).tolist())[1] < 0.01
        for _ in range(300)
    )
    assert claimed <= 10  # binomial(300, 0.01): more come less than once in 2,000 times

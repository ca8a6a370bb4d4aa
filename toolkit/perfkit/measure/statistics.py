"""The statistics of measuring, as pure functions; scipy where scipy has it. Nothing here decides
which blocks count or when to stop.

All ratios are handled as natural logarithms, so that `a` against `b` and `b` against `a` give the
same answer with the sign turned; `exponentiated` makes a ratio of one.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from perfkit.measure.ratios import mapped
from perfkit.records import Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.95
LEAST_VALUES = 6
"""Below six values no rank interval reaches 95 %: the extremes of five cover 93.75 %."""

LEAST_MEDIANS = 4
"""From this many sessions on, their medians alone carry the interval: Student's factor is 3.2 for
four, 4.3 for three and 12.7 for two."""

AUTOCORRELATION_LIMIT = 0.2
"""Above this lag-1 correlation, neighbouring blocks do not count as independent and are merged."""


def rank_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The median with the interval between two order statistics: true for any distribution.

    Raises:
        ValueError: there are too few values for the confidence.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    count = len(ordered)
    # The largest k with P(Binomial(n, 1/2) < k) <= (1 - confidence) / 2.
    rank = int(stats.binom.ppf((1 - confidence) / 2, count, 0.5)) if count else 0
    if stats.binom.cdf(rank, count, 0.5) <= (1 - confidence) / 2:
        rank += 1
    if rank < 1:
        message = f"{count} values carry no interval at {confidence:.0%}"
        raise ValueError(message)
    return Interval(
        estimate=float(np.median(ordered)),
        low=float(ordered[rank - 1]),
        high=float(ordered[count - rank]),
    )


def lag_one(values: Sequence[float]) -> float:
    """Correlation of neighbours; zero for a constant series."""
    series = np.asarray(values, dtype=np.float64)
    series = series - np.median(series)
    # A single interrupt must not make two neighbours look alike: clip to the bulk.
    spread = float(np.median(np.abs(series)))
    if spread == 0.0 or len(series) < 3:
        return 0.0
    series = np.clip(series, -5 * spread, 5 * spread)
    total = float(np.dot(series, series))
    return float(np.dot(series[1:], series[:-1])) / total if total else 0.0


def merged(values: Sequence[float], least: int = LEAST_VALUES) -> list[float]:
    """Means of neighbours until they no longer follow each other, or too few would be left."""
    series = [float(value) for value in values]
    while len(series) // 2 >= least and lag_one(series) > AUTOCORRELATION_LIMIT:
        pairs = len(series) // 2
        joined = [(series[2 * i] + series[2 * i + 1]) / 2 for i in range(pairs)]
        if len(series) % 2:  # an odd one out joins the last pair: nothing is thrown away
            joined[-1] = (2 * joined[-1] + series[-1]) / 3
        series = joined
    return series


def _student(medians: Sequence[float], confidence: float) -> tuple[float, float]:
    """Student's interval for the mean of session medians."""
    values = np.array(medians)
    factor = stats.t.ppf((1 + confidence) / 2, len(values) - 1)
    mean, half = float(values.mean()), float(factor) * float(stats.sem(values))
    return mean - half, mean + half


def log_interval(differences: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Median of per-block log-ratios with its rank interval, neighbours merged where they must
    be.
    """
    series = merged(differences)
    found = rank_interval(series, confidence)
    centre = float(np.clip(np.median(np.asarray(differences)), found.low, found.high))
    return dataclasses.replace(found, estimate=centre)


def over_sessions(sessions: Sequence[Sequence[float]], confidence: float = CONFIDENCE) -> Interval:
    """One interval from several sets of fresh processes: Student's over the session medians.

    A process keeps for life what chance gave it at its start (where its code and data lie), so the
    blocks of one session cannot show how much that is; medians of sessions hold both, that and
    the scatter of blocks. Below four sessions it is the wider of Student's and the blocks' own,
    and of two sessions (factor 12.7) the medians only widen the blocks' interval: such intervals
    hold the truth more often than they say.

    Raises:
        ValueError: there are too few values for the confidence.
    """
    kept = [list(session) for session in sessions if session]
    medians = [float(np.median(session)) for session in kept]
    if len(kept) >= LEAST_MEDIANS:
        low, high = _student(medians, confidence)
        return Interval(estimate=float(np.mean(medians)), low=low, high=high)
    whole = log_interval([value for session in kept for value in session], confidence)
    if len(kept) < 2:
        return whole
    if len(kept) == 2:
        low, high = min(medians), max(medians)
    else:
        low, high = _student(medians, confidence)
    return Interval(estimate=whole.estimate, low=min(low, whole.low), high=max(high, whole.high))


def half_width(interval: Interval) -> float:
    """Half the width of an interval."""
    return (interval.high - interval.low) / 2


def consecutive(values: Sequence[float], count: int) -> list[Sequence[float]]:
    """The values in so many groups of neighbours, as equal in size as can be."""
    edges = [round(index * len(values) / count) for index in range(count + 1)]
    return [values[begin:end] for begin, end in itertools.pairwise(edges)]


def exponentiated(interval: Interval) -> Interval:
    """An interval of log-ratios as ratios."""
    return mapped(interval, math.exp)


def drift(sessions: Sequence[Sequence[float]]) -> tuple[float, float]:
    """How a series of times moves from its first to its last, in the mean of several that began
    anew: (log change, p value).

    The change is Theil-Sen's slope over a whole series. The p value is Kendall's, over all series
    together by the seasonal Mann-Kendall test: short ones that all rise say it too.
    """
    moved, score, variance = [], 0.0, 0.0
    for session in sessions:
        count = len(session)
        if count < 2:
            continue
        logs = np.log(np.asarray(session, dtype=np.float64))
        moved.append(float(stats.theilslopes(logs, np.arange(count))[0]) * (count - 1))
        score += float(np.triu(np.sign(logs[None, :] - logs[:, None]), 1).sum())
        variance += count * (count - 1) * (2 * count + 5) / 18
    if not moved:
        return 0.0, 1.0
    distance = max(abs(score) - 1, 0.0) / math.sqrt(variance)
    return float(np.mean(moved)), float(2 * stats.norm.sf(distance))

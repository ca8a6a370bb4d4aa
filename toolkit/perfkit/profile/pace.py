"""How fast the machine ran while a capture was taken: perfkit's fixed work of several kinds, timed
between the capture's windows. Captures of different moments are compared at the same pace.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from perfkit.measure.ratios import difference, mapped
from perfkit.measure.statistics import consecutive, exponentiated, over_sessions
from perfkit.records import Interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GROUPS = 8
"""Consecutive groups of looks whose means show how certain the mean is. A disturbance of the
machine lasts longer than one look, so single looks are not independent."""


def over(looks: Sequence[Mapping[str, float]]) -> dict[str, Interval]:
    """CPU seconds that each kind of fixed work took over a capture.

    A window lasts as long however slow the machine is, so slow moments hold fewer calls: time per
    call over a capture follows the harmonic mean of the moments, and so does this.

    Args:
        looks: seconds by kind, in the order they were taken; may be empty.
    """
    if not looks:
        return {}
    count = min(GROUPS, len(looks))
    found = {}
    for kind in looks[0]:
        values = [look[kind] for look in looks]
        logs = [math.log(statistics.harmonic_mean(group)) for group in consecutive(values, count)]
        over_groups = over_sessions([[log] for log in logs]) if count == GROUPS else _hull(logs)
        found[kind] = exponentiated(over_groups)
    return found


def between(before: Mapping[str, Interval], after: Mapping[str, Interval]) -> Interval | None:
    """How much longer the same work took in the later capture: a factor that holds every kind.

    What else a machine does slows kinds of work differently, and it is not known which kind a
    function is made of: the interval runs from the least to the most that any kind changed.

    Returns:
        None if the captures have no kind in common.
    """
    kinds = before.keys() & after.keys()
    if not kinds:
        return None
    ratios = [_ratio(before[kind], after[kind]) for kind in kinds]
    estimates = [ratio.estimate for ratio in ratios]
    return Interval(
        estimate=math.sqrt(min(estimates) * max(estimates)),
        low=min(ratio.low for ratio in ratios),
        high=max(ratio.high for ratio in ratios),
    )


def _ratio(before: Interval, after: Interval) -> Interval:
    """The later over the earlier, as the difference of two independent logarithms."""
    return exponentiated(difference(mapped(after, math.log), mapped(before, math.log)))


def _hull(values: Sequence[float]) -> Interval:
    return Interval(estimate=statistics.fmean(values), low=min(values), high=max(values))

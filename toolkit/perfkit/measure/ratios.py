"""What may be said of a ratio of two times: one rule for reports, tuning and exit codes; and the
arithmetic of intervals.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from perfkit.records import Interval

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def exactly(value: float) -> Interval:
    """A value that is known by definition, not by measurement."""
    return Interval(estimate=value, low=value, high=value)


def around(estimate: float, below: float, above: float | None = None) -> Interval:
    """An estimate with what it may be off by to either side; alike where only one is given."""
    return Interval(
        estimate=estimate, low=estimate - below, high=estimate + (below if above is None else above)
    )


def reach(interval: Interval) -> float:
    """The longer of the interval's two sides."""
    return max(interval.high - interval.estimate, interval.estimate - interval.low)


def widened(interval: Interval, more: float) -> Interval:
    """The interval with a further, independent uncertainty, in the unit of the estimate."""
    below, above = interval.estimate - interval.low, interval.high - interval.estimate
    return around(interval.estimate, math.hypot(below, more), math.hypot(above, more))


def difference(first: Interval, second: Interval) -> Interval:
    """`first - second` of two independent estimates; a negative result stays negative.

    By MOVER: Zou and Donner 2008, Statistics in Medicine 27, 1693.
    """
    return around(
        first.estimate - second.estimate,
        math.hypot(first.estimate - first.low, second.high - second.estimate),
        math.hypot(first.high - first.estimate, second.estimate - second.low),
    )


def mapped(interval: Interval, function: Callable[[float], float]) -> Interval:
    """The interval of a function that grows with its argument."""
    return Interval(
        estimate=function(interval.estimate),
        low=function(interval.low),
        high=function(interval.high),
    )


def combined(
    intervals: Sequence[Interval], function: Callable[[Sequence[float]], float]
) -> Interval:
    """The interval of a function that grows with each of its arguments, all at one end at once: the
    widest it can be, which is right where their errors are not independent.
    """
    return Interval(
        estimate=function([one.estimate for one in intervals]),
        low=function([one.low for one in intervals]),
        high=function([one.high for one in intervals]),
    )


def inverse(ratio: Interval) -> Interval:
    """`b` over `a`, from `a` over `b`."""
    return Interval(estimate=1 / ratio.estimate, low=1 / ratio.high, high=1 / ratio.low)


def saved_share(ratio: Interval) -> Interval:
    """The share of the slower call that is saved, from its time over the faster one's."""
    return mapped(ratio, lambda value: 1 - 1 / value)


def is_faster(ratio: Interval, noise_floor: float | None) -> bool:
    """Whether a ratio is surely above one, and by more than identical code differs."""
    return ratio.low > 1.0 and ratio.estimate > 1.0 + (noise_floor or 0.0)


def is_slower(ratio: Interval, noise_floor: float | None) -> bool:
    """Whether a ratio is surely below one, and by more than identical code differs."""
    return ratio.high < 1.0 and ratio.estimate < 1.0 / (1.0 + (noise_floor or 0.0))

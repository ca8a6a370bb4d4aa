"""What may be said of a ratio of two times: one rule for reports, tuning and exit codes; and what
follows from an interval for a function of its value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.records import Interval

if TYPE_CHECKING:
    from collections.abc import Callable


def mapped(interval: Interval, function: Callable[[float], float]) -> Interval:
    """The interval of a function that grows with its argument."""
    return Interval(
        estimate=function(interval.estimate),
        low=function(interval.low),
        high=function(interval.high),
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

"""One figure per trial, and when one trial is better than another.

Trials never meet in one measurement; each was measured interleaved with the starting build. So
only ratios to that build are compared here, and only on their intervals.
"""

from __future__ import annotations

import math
from statistics import geometric_mean
from typing import TYPE_CHECKING

from perfkit.measure.ratios import combined, difference, exactly, mapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.records import Interval, SizeResult

UNCHANGED = exactly(1.0)
"""The starting build against itself: exactly one, by definition and not by measurement."""


def score(sizes: Sequence[SizeResult]) -> Interval:
    """The geometric mean of the changes over all sizes, each of them counting alike.

    Raises:
        ValueError: there is no size.
    """
    return mean([change_of(size) for size in sizes])


def change_of(size: SizeResult) -> Interval:
    """The starting build's time over the trial's at one size.

    Raises:
        ValueError: it was not measured against the start.
    """
    if size.change is None:
        message = f"{size.workload} at {size.size} was not measured against the start"
        raise ValueError(message)
    return size.change


def mean(ratios: Sequence[Interval]) -> Interval:
    """The geometric mean of ratios of several sizes.

    The bounds are the geometric means of the bounds. That is the widest the interval can be (all
    sizes off in the same direction), because the sizes shared one machine and one session.

    Raises:
        ValueError: there is no ratio.
    """
    if not ratios:
        message = "a mean of no ratios is not defined"
        raise ValueError(message)
    return combined(ratios, geometric_mean)


def score_floor(sizes: Sequence[SizeResult]) -> float | None:
    """How far a score must be from one to count, as a fraction; None if a size has no A/A.

    The geometric mean of the sizes' floors, just as a score is the mean of their changes: it is how
    far the mean moves when each size is off by its floor, all in one direction. So one noisy size
    does not drown out many quiet ones.
    """
    floors = [size.noise_floor for size in sizes if size.noise_floor is not None]
    if not floors or len(floors) < len(sizes):
        return None
    return math.expm1(sum(math.log1p(floor) for floor in floors) / len(floors))


def gain(challenger: Interval, incumbent: Interval) -> Interval:
    """How many times faster the challenger is than the incumbent, from their scores."""
    logs = difference(mapped(challenger, math.log), mapped(incumbent, math.log))
    return mapped(logs, math.exp)


def meets(size: SizeResult) -> bool | None:
    """Whether the lower bound of a size's speed-up reaches its target; None without a target."""
    if size.target is None:
        return None
    return size.speedup is not None and size.speedup.low >= size.target

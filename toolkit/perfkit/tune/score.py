"""One figure per trial, and when one trial is better than another.

Trials never meet in one measurement; each was measured interleaved with the starting build. So
only ratios to that build are compared here, and only on their intervals.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from perfkit.records import Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.records import SizeResult

UNCHANGED = Interval(estimate=1.0, low=1.0, high=1.0)
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
        message = "a mean of no ratios is no figure"
        raise ValueError(message)
    return Interval(
        estimate=math.exp(sum(math.log(ratio.estimate) for ratio in ratios) / len(ratios)),
        low=math.exp(sum(math.log(ratio.low) for ratio in ratios) / len(ratios)),
        high=math.exp(sum(math.log(ratio.high) for ratio in ratios) / len(ratios)),
    )


def score_floor(sizes: Sequence[SizeResult]) -> float | None:
    """What a score must leave one by to count, as a fraction; None while no A/A stands behind it.

    The geometric mean of the sizes' floors, as a score is of their changes: as far as the mean
    moves when each of them is off by its own floor, all in one direction. One size that is noisy
    does not drown what many quiet ones say.
    """
    floors = [size.noise_floor for size in sizes if size.noise_floor is not None]
    if not floors or len(floors) < len(sizes):
        return None
    return math.expm1(sum(math.log1p(floor) for floor in floors) / len(floors))


def gain(challenger: Interval, incumbent: Interval) -> Interval:
    """How many times faster the challenger is than the incumbent, from their scores.

    The interval of a difference (of logarithms) of two independent estimates by MOVER: Zou and
    Donner 2008, Statistics in Medicine 27, 1693.
    """
    c = [math.log(value) for value in (challenger.low, challenger.estimate, challenger.high)]
    i = [math.log(value) for value in (incumbent.low, incumbent.estimate, incumbent.high)]
    estimate = c[1] - i[1]
    return Interval(
        estimate=math.exp(estimate),
        low=math.exp(estimate - math.hypot(c[1] - c[0], i[2] - i[1])),
        high=math.exp(estimate + math.hypot(c[2] - c[1], i[1] - i[0])),
    )


def meets(size: SizeResult) -> bool | None:
    """Whether the lower bound of a size's speed-up reaches its target; None without a target."""
    if size.target is None:
        return None
    return size.speedup is not None and size.speedup.low >= size.target

"""The size model: what each layer costs per call and per element, and the sizes where one way of
doing the work overtakes another.

Pure functions of measured figures. "No crossover" and "cannot be resolved" are answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from perfkit.records import Interval
from perfkit.stacks.intervals import Z
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping

_OFF_THE_LINE = 0.3
"""A line that misses a point by this share of it, beyond the point's own interval, is no model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearCost:
    """`fixed_s + per_element_s * n` seconds per call.

    Attributes:
        holds: whether the line goes through all points; caches and thread pools bend it.
    """

    fixed_s: Interval
    per_element_s: Interval
    holds: bool


def linear_cost(times: Mapping[int, Interval]) -> LinearCost | None:
    """Fit a line by least squares, weighted by the points' own intervals.

    Weights are relative to the value too: a point of a microsecond and one of a second both count.

    Returns:
        None with fewer than three sizes: two points fit any line.
    """
    if len(times) < 3:
        return None
    sizes = np.array(sorted(times), dtype=np.float64)
    values = np.array([times[int(size)].estimate for size in sizes])
    sigma = np.array(
        [
            max((times[int(s)].high - times[int(s)].low) / (2 * Z), 0.01 * abs(v), 1e-12)
            for s, v in zip(sizes, values, strict=True)
        ]
    )
    design = np.column_stack([np.ones_like(sizes), sizes]) / sigma[:, None]
    solution, *_ = np.linalg.lstsq(design, values / sigma, rcond=None)
    covariance = np.linalg.inv(design.T @ design)
    fitted = solution[0] + solution[1] * sizes
    misses = np.abs(values - fitted) > np.maximum(_OFF_THE_LINE * np.abs(values), Z * sigma)

    def interval(index: int) -> Interval:
        half = Z * math.sqrt(float(covariance[index, index]))
        value = float(solution[index])
        return Interval(estimate=value, low=value - half, high=value + half)

    return LinearCost(fixed_s=interval(0), per_element_s=interval(1), holds=not bool(misses.any()))


class Outcome(StrEnum):
    """What can be said about a crossover."""

    FOUND = "found"
    ALWAYS = "always"  # the second is faster at every size that was measured
    NEVER = "never"
    UNRESOLVED = "unresolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossover:
    """The size from which a second way is faster than a first one.

    Attributes:
        size: by interpolation of the log-ratio over the logarithm of the size; None unless found.
        low: the crossover is above this size with confidence; None where no size is below it.
        high: and below this one.
    """

    outcome: Outcome
    size: float | None = None
    low: float | None = None
    high: float | None = None

    def described(self) -> str:
        """In words."""
        match self.outcome:
            case Outcome.FOUND if self.size is not None:
                between = f"[{_shown(self.low)}, {_shown(self.high)}]"
                return f"at about {_shown(self.size)} {between}"
            case Outcome.ALWAYS:
                return "no crossover: it is faster at every size measured"
            case Outcome.NEVER:
                return "no crossover: it is slower at every size measured"
            case _:
                return "cannot be resolved on this machine: the intervals hold one"


def _shown(size: float | None) -> str:
    return "?" if size is None else format_count(round(size))


def crossover(gains: Mapping[int, Interval]) -> Crossover:
    """Find where a ratio passes one.

    Args:
        gains: by size, time of the first way over time of the second: above one means that the
            second is faster.

    Returns:
        `UNRESOLVED` too where the ratio passes one more than once with confidence: there is then
        no single size.
    """
    sizes = sorted(gains)
    faster = [size for size in sizes if gains[size].low > 1]
    slower = [size for size in sizes if gains[size].high < 1]
    if not faster and not slower:
        return Crossover(outcome=Outcome.UNRESOLVED)
    if not slower:
        only = len(faster) == len(sizes)
        return Crossover(outcome=Outcome.ALWAYS if only else Outcome.UNRESOLVED, high=min(faster))
    if not faster:
        only = len(slower) == len(sizes)
        return Crossover(outcome=Outcome.NEVER if only else Outcome.UNRESOLVED, low=max(slower))
    low, high = max(slower), min(faster)
    if low > high:
        return Crossover(outcome=Outcome.UNRESOLVED, low=low, high=high)
    return Crossover(
        outcome=Outcome.FOUND,
        size=_between(gains, [size for size in sizes if low <= size <= high]),
        low=low,
        high=high,
    )


def _between(gains: Mapping[int, Interval], sizes: list[int]) -> float:
    """Where the line through the last below and the first above one passes it (log over log)."""
    below = max(size for size in sizes[:-1] if gains[size].estimate <= 1)
    above = min(size for size in sizes if size > below and gains[size].estimate > 1)
    first, second = math.log(gains[below].estimate), math.log(gains[above].estimate)
    part = -first / (second - first)
    return math.exp(math.log(below) + part * (math.log(above) - math.log(below)))

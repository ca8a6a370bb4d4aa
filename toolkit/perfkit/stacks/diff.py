"""Differences of two captures, frame by frame, in seconds per call with an interval; never of
shares, where one frame that shrinks makes all others grow.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.errors import UsageError
from perfkit.records import Interval
from perfkit.stacks.intervals import Z

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SCALE = 1e9
"""Folded counts of a difference are nanoseconds per call: whole numbers that compare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """One capture, as far as a difference needs it."""

    stacks: tuple[tuple[tuple[str, ...], int], ...]
    rate_hz: float
    calls: int

    def seconds(self, samples: float) -> float:
        """Sampled seconds per call."""
        return samples / self.rate_hz / self.calls


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameDifference:
    """A frame's self time per call in both captures, seconds; `change` is after minus before."""

    frame: str
    before_s: float
    after_s: float
    change: Interval
    significant: bool


def compare(before: Sampled, after: Sampled) -> tuple[FrameDifference, ...]:
    """Every frame's change of self time, largest first.

    `significant` holds the share of false discoveries among the marked frames at 10 % (Benjamini
    and Hochberg), because hundreds of frames are looked at at once.

    Raises:
        UsageError: one of the captures has no calls or no rate.
    """
    for capture in (before, after):
        if capture.calls <= 0 or capture.rate_hz <= 0:
            message = "a difference per call needs the calls and the rate of both captures"
            raise UsageError(message, remedy="compare two captures of a workload")
    old, new = _self_samples(before.stacks), _self_samples(after.stacks)
    found = []
    for frame in old.keys() | new.keys():
        old_s, new_s = before.seconds(old[frame]), after.seconds(new[frame])
        error = math.hypot(_error(before, old[frame]), _error(after, new[frame]))
        change = new_s - old_s
        interval = Interval(estimate=change, low=change - Z * error, high=change + Z * error)
        found.append((frame, old_s, new_s, interval, math.erfc(abs(change) / error / math.sqrt(2))))
    marked = discoveries([row[4] for row in found], rate=0.1)
    rows = [
        FrameDifference(
            frame=frame, before_s=old_s, after_s=new_s, change=interval, significant=chosen
        )
        for (frame, old_s, new_s, interval, _), chosen in zip(found, marked, strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: (-abs(row.change.estimate), row.frame)))


def discoveries(p_values: Sequence[float], *, rate: float) -> list[bool]:
    """Which of many tests count, with a bound on the share of false ones.

    Source: Benjamini and Hochberg 1995.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    last = 0
    for rank, index in enumerate(order, start=1):
        if p_values[index] <= rate * rank / len(p_values):
            last = rank
    chosen = set(order[:last])
    return [index in chosen for index in range(len(p_values))]


def per_call_nanoseconds(capture: Sampled) -> list[tuple[tuple[str, ...], int]]:
    """The stacks with nanoseconds per call as counts: what two differential graphs can share."""
    found = []
    for stack, count in capture.stacks:
        value = round(capture.seconds(count) * SCALE)
        if value:
            found.append((stack, value))
    return found


def _self_samples(stacks: Iterable[tuple[Sequence[str], int]]) -> Counter[str]:
    own: Counter[str] = Counter()
    for stack, count in stacks:
        own[stack[-1]] += count
    return own


def _error(capture: Sampled, samples: int) -> float:
    """Standard error of a frame's seconds per call; counts as Poisson, one sample at the least."""
    return capture.seconds(math.sqrt(max(samples, 1)))

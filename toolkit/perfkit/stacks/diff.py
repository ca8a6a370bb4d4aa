"""Differences of two captures, frame by frame, in seconds per call or per element with an interval;
never of shares, where one frame that shrinks makes all others grow.

The later capture's seconds are scaled to the pace of the earlier one: a machine that ran everything
more slowly did not change the code. How much slower is only known within an interval, and a change
counts if no pace inside it explains the difference.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from scipy import stats

from perfkit.errors import UsageError
from perfkit.records import Doubts, Interval
from perfkit.stacks.intervals import Z
from perfkit.stacks.split import NO_DOUBTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BETWEEN_RUNS = 0.05
"""How much one frame's time differs between two processes of one build, as a standard deviation
relative to it, beyond what counting explains: address layout, hash seeds, the machine's mood
(2026-11, 2 vCPU, a call of 20 µs in 14 processes by the CPU clock: 1 % for compute, 3 % for the
interpreter and for a conversion)."""
LEAST_SAMPLES = 10
"""Fewer could hardly be marked if all of them were in one of the captures."""
FALSE_MARKS = 0.05
_STANDARD = re.compile(r"<?(core|alloc|std)::")
SAME_PACE = Interval(estimate=1.0, low=1.0, high=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """One capture, as far as a difference needs it.

    Attributes:
        stacks: of all threads, with the thread's root frame.
        call_s: wall clock of a call under the profiler, seconds.
        elements: that a call has, if times are per element; one otherwise.
        design_effect: of the samples, see `intervals.design_effect`.
        doubts: what else may be wrong with any frame's time.
    """

    stacks: tuple[tuple[tuple[str, ...], int], ...]
    rate_hz: float
    calls: int
    call_s: float
    elements: int = 1
    design_effect: float = 1.0
    doubts: Doubts = NO_DOUBTS

    def bounds(self, samples: float) -> tuple[float, float]:
        """Least and most seconds per call, or per element, that a frame with so many samples takes
        in an undisturbed call, without counting error; what the profiler added may be anywhere.
        """
        doubts, whole_s = self.doubts, self.call_s / self.elements
        cost = doubts.slowdown or 0.0
        added = cost / (1 + cost)  # below zero where the profiler saved time
        above = doubts.surplus + doubts.shift + max(added, 0.0)
        below = doubts.unnamed + doubts.missing + doubts.shift + max(-added, 0.0)
        shown_s = self.seconds(samples)
        return max(shown_s - above * whole_s, 0.0), shown_s + below * whole_s

    def seconds(self, samples: float) -> float:
        """Sampled CPU seconds per call, or per element."""
        return samples / self.rate_hz / self.calls / self.elements


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameDifference:
    """A frame's own CPU time in both captures, seconds as sampled; `change` is after minus before,
    with the later one at the pace of the earlier.
    """

    frame: str
    before_s: float
    after_s: float
    change: Interval
    significant: bool


def compare(
    before: Sampled, after: Sampled, pace: Interval = SAME_PACE
) -> tuple[FrameDifference, ...]:
    """Every frame's change of self time, largest first.

    `significant` holds the share of false discoveries among the marked frames at 5 % (Benjamini
    and Hochberg), because hundreds of frames are looked at at once. Frames with fewer than
    `LEAST_SAMPLES` in both captures together are not among them: how many there are says nothing
    about the difference, and each would cost the others power (Bourgon, Gentleman and Huber 2010).

    Args:
        pace: how much longer the same work took during the later capture.

    Raises:
        UsageError: one of the captures has no calls or no rate.
    """
    _check(before, after)
    old, new = _self_samples(before.stacks), _self_samples(after.stacks)
    frames = sorted(old.keys() | new.keys())
    rows = [_difference(name, (before, old[name]), (after, new[name]), pace) for name in frames]
    tested = {row.frame: p for row, p in rows if old[row.frame] + new[row.frame] >= LEAST_SAMPLES}
    marks = discoveries(list(tested.values()), rate=FALSE_MARKS)
    marked = dict(zip(tested, marks, strict=True))
    found = [replace(row, significant=marked.get(row.frame, False)) for row, _ in rows]
    return tuple(sorted(found, key=lambda row: (-abs(row.change.estimate), row.frame)))


def whole(
    before: Sampled, after: Sampled, name: str, pace: Interval = SAME_PACE
) -> FrameDifference:
    """All CPU time of a call as one row, marked at 5 %; the arguments are those of `compare`.

    Raises:
        UsageError: as `compare`.
    """
    _check(before, after)
    counts = [sum(count for _, count in side.stacks) for side in (before, after)]
    row, p_value = _difference(name, (before, counts[0]), (after, counts[1]), pace)
    return replace(row, significant=p_value < 0.05)


def _check(*captures: Sampled) -> None:
    for capture in captures:
        if capture.calls <= 0 or capture.rate_hz <= 0 or capture.elements <= 0:
            message = "a difference per call needs the calls and the rate of both captures"
            raise UsageError(message, remedy="compare two captures of a workload")


def _difference(
    frame: str, before: tuple[Sampled, int], after: tuple[Sampled, int], pace: Interval
) -> tuple[FrameDifference, float]:
    """One row, not marked yet, and the probability of such a change if there is none: the largest
    over the paces, and over what else is doubtful about the two captures.
    """
    old_s, new_s = (capture.seconds(samples) for capture, samples in (before, after))
    (old_low, old_high), (new_low, new_high) = (
        side.bounds(count) for side, count in (before, after)
    )
    least, most = new_low / pace.high - old_high, new_high / pace.low - old_low
    at_pace_s = new_s / pace.estimate
    drift = BETWEEN_RUNS * math.hypot(old_s, at_pace_s)
    error = math.hypot(_error(*before), _error(*after) / pace.estimate, drift)
    interval = Interval(estimate=at_pace_s - old_s, low=least - Z * error, high=most + Z * error)
    row = FrameDifference(
        frame=frame, before_s=old_s, after_s=new_s, change=interval, significant=False
    )
    unexplained = max(least, -most, 0.0)
    return row, math.erfc(unexplained / error / math.sqrt(2))


def discoveries(p_values: Sequence[float], *, rate: float) -> list[bool]:
    """Which of many tests count, with a bound on the share of false ones.

    Source: Benjamini and Hochberg 1995.
    """
    adjusted = stats.false_discovery_control(p_values) if p_values else ()
    return [bool(value <= rate) for value in adjusted]


def scaled(capture: Sampled, unit_s: float) -> list[tuple[tuple[str, ...], int]]:
    """The stacks with times as whole counts of a unit: what two differential graphs can share.

    A stack of less than half a unit is left out; none is made larger than it is.
    """
    rows = [(stack, round(capture.seconds(count) / unit_s)) for stack, count in capture.stacks]
    return [(stack, value) for stack, value in rows if value]


def _self_samples(stacks: Iterable[tuple[Sequence[str], int]]) -> Counter[str]:
    """Samples by their innermost frame outside the standard library.

    A sampled address is late by some instructions, and how many differs between processes: two
    methods of an integer, inlined side by side, trade their samples.
    """
    own: Counter[str] = Counter()
    for stack, count in stacks:
        outside = (frame for frame in reversed(stack[1:]) if not _STANDARD.match(frame))
        own[next(outside, stack[-1])] += count
    return own


def _error(capture: Sampled, samples: int) -> float:
    """Standard error of a frame's seconds per call; counts as Poisson, at least one sample."""
    return capture.seconds(math.sqrt(max(samples, 1) * capture.design_effect))

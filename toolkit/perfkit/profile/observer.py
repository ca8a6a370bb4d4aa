"""What a profiler costs: the slowdown with its interval, from windows with and without it in random
order. Only arithmetic on timings; who runs the windows is the profiler's own file.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from perfkit.records import Interval
from perfkit.stacks.intervals import median_interval

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MIN_PAIRS = 12
"""Pairs below which a slowdown is no statement."""
PILOT_PAIRS = 6
"""Blocks that only choose the rate. They are no part of the stated slowdown: an interval from data
that were looked at before going on covers less than it says (at a true 2 %: 0.89, not 0.95)."""
PRECISION = 0.25
"""Half width, as part of the limit, at which an interval is narrow enough."""
EXTENSION = 2.0
"""How many times the duration may be spent until the interval is narrow enough."""
LADDER = (1.0, 0.5, 0.25, 0.125)
"""Rates to try, as parts of the one asked for; each becomes the prime next to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BareAndProfiled:
    """Two windows without and two with the profiler, within one block; seconds per call."""

    bare_s: float
    profiled_s: float

    @property
    def log_ratio(self) -> float:
        """ln(profiled / bare)."""
        return math.log(self.profiled_s / self.bare_s)


def slowdown(pairs: Sequence[BareAndProfiled]) -> Interval | None:
    """Profiled over bare time, minus one; None below `MIN_PAIRS` pairs."""
    if len(pairs) < MIN_PAIRS:
        return None
    return of_logs(median_interval([pair.log_ratio for pair in pairs]))


def of_logs(found: Interval) -> Interval:
    """A slowdown from ln(profiled / bare)."""
    return Interval(
        estimate=math.expm1(found.estimate),
        low=math.expm1(found.low),
        high=math.expm1(found.high),
    )


class Step(StrEnum):
    """What follows after a block."""

    GO_ON = "go_on"
    LOWER = "lower"  # the pilot says that this rate is too dear
    DONE = "done"


def next_step(
    pairs: Sequence[BareAndProfiled],
    region_s: float,
    *,
    duration_s: float,
    limit: float,
    lowest: bool,
) -> Step:
    """The rate is decided by the pilot alone, and the end by width alone.

    Whether the interval lies below the limit is never asked before the end: to stop when it does
    is to choose the intervals that happen to.

    Args:
        pairs: with the pilot's, in the order of measuring.
        region_s: seconds under the profiler so far.
        lowest: whether there is no cheaper rate to go to.
    """
    if len(pairs) == PILOT_PAIRS and not lowest and is_too_dear(pairs, limit):
        return Step.LOWER
    found = slowdown(stated(pairs)) if region_s >= duration_s else None
    if found is None:
        return Step.GO_ON
    narrow = found.high - found.low <= 2 * PRECISION * limit
    return Step.DONE if narrow or region_s >= EXTENSION * duration_s else Step.GO_ON


def stated(pairs: Sequence[BareAndProfiled]) -> Sequence[BareAndProfiled]:
    """The pairs that the slowdown is stated from."""
    return pairs[PILOT_PAIRS:]


def is_too_dear(pilot: Sequence[BareAndProfiled], limit: float) -> bool:
    """Whether to go on at this rate is useless: the middle of the slowdown is near the limit, and
    it is no noise (six of six blocks are slower by chance once in 64 times). Where it may be
    noise, a lower rate would bring fewer samples and no proof.
    """
    found = median_interval([pair.log_ratio for pair in pilot])
    return found.estimate > 0.75 * limit and found.low > 0


def to_be_lowered(cost: Interval, limit: float) -> bool:
    """Whether a finished rate is not shown to be cheap, and probably is not: the next one below is
    then measured afresh.
    """
    return cost.high >= limit and cost.estimate > 0.5 * limit


def together(first: Interval, second: Interval) -> Interval:
    """Two slowdowns that come one upon the other and were measured apart; the half widths of their
    logarithms add as independent errors do.
    """
    logs = [
        [math.log1p(value) for value in (each.estimate, each.low, each.high)]
        for each in (first, second)
    ]
    middle = sum(log[0] for log in logs)
    down = math.hypot(*(log[0] - log[1] for log in logs))
    up = math.hypot(*(log[2] - log[0] for log in logs))
    return of_logs(Interval(estimate=middle, low=middle - down, high=middle + up))


def orders(seed: int) -> Iterator[tuple[bool, ...]]:
    """For each block, which of its four windows run under the profiler: ABBA or BAAB by lot.

    A drift of the machine that is linear within a block cancels in both.
    """
    lots = random.Random(seed)
    while True:
        yield (False, True, True, False) if lots.random() < 0.5 else (True, False, False, True)


def rates(asked_hz: float) -> tuple[int, ...]:
    """The rates to try, highest first: primes, which keep out of step with periodic work."""
    found: list[int] = []
    for part in LADDER:
        rate = nearest_prime(max(asked_hz * part, 2.0))
        if rate not in found:
            found.append(rate)
    return tuple(found)


def nearest_prime(value: float) -> int:
    """The prime nearest to a value; the smaller one of two equally near."""
    start = max(2, round(value))
    for distance in range(start):
        for candidate in (start - distance, start + distance):
            if candidate >= 2 and _is_prime(candidate):
                return candidate
    return 2


def _is_prime(value: int) -> bool:
    return all(value % divisor for divisor in range(2, math.isqrt(value) + 1))

"""What a profiler costs: the slowdown with its interval, from windows with and without it in random
order. Only arithmetic on timings; each profiler's own file runs the windows.

A slowdown is profiled over bare time, minus one. Blocks are handled as ln(profiled / bare).
"""

from __future__ import annotations

import math
import random
from enum import StrEnum
from typing import TYPE_CHECKING

from perfkit.measure.ratios import mapped
from perfkit.measure.statistics import rank_interval
from perfkit.records import Interval
from perfkit.stacks.bounds import TOLD_WIDTH
from perfkit.stacks.intervals import Z

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perfkit.subject.child import LoopResult

MIN_BLOCKS = 12
"""Fewer blocks do not state a slowdown."""
PILOT_BLOCKS = 6
"""Blocks that only choose the rate. They do not count towards the stated slowdown: an interval from
data that decided whether to continue covers less than it says (at a true 2 %: 0.89, not 0.95)."""
NARROW = TOLD_WIDTH / 4
"""Width at which the interval of a slowdown leaves room for the others in that of a told share."""
EXTENSION = 2.0
"""How many times the duration may be spent until the interval is narrow enough."""
LADDER = (1.0, 0.5, 0.25, 0.125)
"""Rates to try, as parts of the one asked for; each becomes the prime next to it."""


def log_ratio(block: Sequence[tuple[bool, LoopResult]]) -> float:
    """ln(profiled / bare) of a block's windows, each with whether it ran under the profiler."""
    per_call = []
    for wanted in (False, True):
        chosen = [result for profiled, result in block if profiled is wanted]
        seconds = sum(result.seconds for result in chosen)
        per_call.append(seconds / sum(result.calls for result in chosen))
    return math.log(per_call[1] / per_call[0])


def slowdown(blocks: Sequence[float]) -> Interval | None:
    """The median slowdown over the blocks; None for fewer than `MIN_BLOCKS`."""
    return of_logs(rank_interval(blocks)) if len(blocks) >= MIN_BLOCKS else None


def of_logs(found: Interval) -> Interval:
    """A slowdown from ln(profiled / bare)."""
    return mapped(found, math.expm1)


class Step(StrEnum):
    """What follows after a block."""

    CONTINUE = "continue"
    LOWER = "lower"  # the pilot says that this rate is too expensive
    DONE = "done"


def next_step(
    blocks: Sequence[float], region_s: float, rates: Sequence[int], *, duration_s: float
) -> Step:
    """The pilot alone decides the rate, and the interval's width alone decides when to end: looking
    at the slowdown itself would choose the intervals that happen to be small.

    Args:
        blocks: ln(profiled / bare), the pilot's first.
        region_s: seconds under the profiler so far.
        rates: the rate in use, and the lower ones that are left.
    """
    if len(blocks) == PILOT_BLOCKS and region_s < duration_s:
        pilot = rank_interval(blocks)
        # Six of six blocks are slower by chance once in 64 times. A cost that may be noise is no
        # reason for fewer samples.
        if pilot.low > 0 and best_rate(rates, rates[0], of_logs(pilot), duration_s) < rates[0]:
            return Step.LOWER
    found = slowdown(stated(blocks)) if region_s >= duration_s else None
    if found is None:
        return Step.CONTINUE
    narrow = found.high - found.low <= NARROW
    return Step.DONE if narrow or region_s >= EXTENSION * duration_s else Step.CONTINUE


def stated(blocks: Sequence[float]) -> Sequence[float]:
    """The blocks that state the slowdown."""
    return blocks[PILOT_BLOCKS:]


def best_rate(rates: Sequence[int], rate: int, cost: Interval, duration_s: float) -> int:
    """The rate in use if it tells a share of one half, else the one at which that would have the
    narrowest bounds: fewer samples make counting worse, and the cost of sampling is in proportion
    to its rate.

    Args:
        rates: to choose from.
        rate: at which `cost` was seen.
        duration_s: seconds under the profiler.
    """

    def width(other: int) -> float:
        counting = Z / math.sqrt(other * duration_s)
        return counting + max(cost.estimate, 0.0) * other / rate

    return rate if width(rate) <= TOLD_WIDTH else min(rates, key=width)


def together(first: Interval, second: Interval) -> Interval:
    """Two slowdowns that add up and were measured separately; the half widths of their logarithms
    add as independent errors do.
    """
    logs = [mapped(each, math.log1p) for each in (first, second)]
    middle = sum(log.estimate for log in logs)
    down = math.hypot(*(log.estimate - log.low for log in logs))
    up = math.hypot(*(log.high - log.estimate for log in logs))
    return of_logs(Interval(estimate=middle, low=middle - down, high=middle + up))


def orders(seed: int) -> Iterator[tuple[bool, ...]]:
    """For each block, which of its four windows run under the profiler: ABBA or BAAB at random.

    A drift of the machine that is linear within a block cancels in both.
    """
    lots = random.Random(seed)
    while True:
        yield (False, True, True, False) if lots.random() < 0.5 else (True, False, False, True)


def rates(asked_hz: float) -> tuple[int, ...]:
    """The rates to try, highest first: primes, which keep out of step with periodic work."""
    return tuple(dict.fromkeys(nearest_prime(max(asked_hz * part, 2.0)) for part in LADDER))


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

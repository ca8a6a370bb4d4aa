"""What a profiler costs: the slowdown with its interval, from windows with and without it in random
order. Only arithmetic on timings; who runs the windows is the profiler's own file.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.records import Interval
from perfkit.stacks.intervals import median_interval

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MIN_PAIRS = 12
"""Pairs below which a slowdown is no statement."""
LADDER = (1.0, 0.5, 0.25, 0.125)
"""Rates to try, as parts of the one asked for; each becomes the prime next to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two windows without and two with the profiler, within one block; seconds per call."""

    bare_s: float
    profiled_s: float

    @property
    def log_ratio(self) -> float:
        """ln(profiled / bare)."""
        return math.log(self.profiled_s / self.bare_s)


def slowdown(pairs: Sequence[Pair]) -> Interval | None:
    """Profiled over bare time, minus one; None below `MIN_PAIRS` pairs."""
    if len(pairs) < MIN_PAIRS:
        return None
    found = median_interval([pair.log_ratio for pair in pairs])
    return Interval(
        estimate=math.expm1(found.estimate),
        low=math.expm1(found.low),
        high=math.expm1(found.high),
    )


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

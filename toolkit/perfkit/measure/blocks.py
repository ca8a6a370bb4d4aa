"""Randomised blocks: every variant of one size, in rounds of random order, between two looks at the
machine. Which blocks count is the gate's rule (`sentinels.py`); when to stop is in `stop.py`.

The token is the answer to a command: exactly one worker runs at any time.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from perfkit.measure.plan import BLOCK_LIMIT_S, BLOCK_S
from perfkit.records import Pattern

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

    from perfkit.measure.plan import Arm
    from perfkit.measure.sentinels import Look
    from perfkit.subject.child import Calibration, Timing

LONG_CALL_S = 2e-2
"""A call this long is not preceded by an untimed one: waking a pool is 0.3 % of it."""

SHORT_CALL_S = 3e-4
"""Calls shorter than this get untimed ones over all data sets before their batch, others one."""

LEAST_UNTIMED = 3

ALIKE = 4.0
"""Variants up to this many times slower than the fastest get batches of equal calls."""

LONG_BATCH_S = 1e-2
"""Batches of slower variants have fewer calls when they would be longer than this."""

IDLE_CALLS = 2
"""Calls per batch of an idle arm: each waits until the pool sleeps."""

MAX_ROUNDS = 64

PARALLEL_SHARE = 0.1
"""Share of its CPU time on other threads above which a call counts as parallel. It does not depend
on whether the machine had a core for them, as CPU time over wall clock does."""


class Lab(Protocol):
    """Everything that touches the world while blocks run; unit tests have one without a world."""

    def time(self, arm: Arm, calls: int, *, untimed: int, cpu: int | None, first: int) -> Timing:
        """Time one batch of an arm, beginning with the data set `first`."""

    def look(self) -> Look:
        """Run the sentinels."""

    def now(self) -> float:
        """Seconds on a clock that never goes back."""

    def rest(self, seconds: float) -> None:
        """Leave the machine alone for a while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How one size in one pattern is measured: calls per batch of each arm, rounds per block.

    Attributes:
        untimed: calls right before each batch, off the clock; the same for all arms.
        helpers: share of an arm's CPU time that other threads than the calling one used before the
            measurement began; the most of any arm.
    """

    size: int
    pattern: Pattern
    calls: Mapping[str, int]
    per_call_s: Mapping[str, float]
    rounds: int
    untimed: int
    helpers: float

    @property
    def parallel(self) -> bool:
        """Whether any arm uses more than one core."""
        return self.helpers > PARALLEL_SHARE

    @property
    def round_s(self) -> float:
        """What one round of all arms takes, untimed calls and all; seconds."""
        return sum(
            per_call * (self.calls[name] + self.untimed)
            for name, per_call in self.per_call_s.items()
        )

    @property
    def too_long(self) -> bool:
        """Whether one round is longer than pairing reaches."""
        return self.round_s > BLOCK_LIMIT_S


def pace(
    size: int, pattern: Pattern, calibrated: Mapping[str, Calibration], *, data_sets: int
) -> Pace:
    """Choose calls, untimed calls and rounds for all arms together.

    While the other arms ran the caches went cold, and the first calls of a batch pay for that:
    eight calls are slower each than sixteen, by 14 % where it was seen. So all arms get the same
    number, whatever the calibration of each one found.

    Args:
        calibrated: each arm by itself.
        data_sets: that calls rotate through.
    """
    calls = {name: found.calls for name, found in calibrated.items()}
    per_call_s = {name: found.per_call_s for name, found in calibrated.items()}
    fastest = min(per_call_s.values())
    untimed = 0
    if pattern is Pattern.IDLE:
        chosen = dict.fromkeys(calls, IDLE_CALLS)
    else:
        chosen = _together(calls, per_call_s, fastest)
        if fastest < SHORT_CALL_S:
            untimed = max(LEAST_UNTIMED, data_sets)
        elif fastest < LONG_CALL_S:
            untimed = 1
    once = Pace(
        size=size,
        pattern=pattern,
        calls=chosen,
        per_call_s=per_call_s,
        rounds=1,
        untimed=untimed,
        helpers=max(found.helpers for found in calibrated.values()),
    )
    idle_s = len(calls) * IDLE_CALLS * 2e-3 if pattern is Pattern.IDLE else 0.0
    fit = int(BLOCK_S / max(once.round_s + idle_s, 1e-9))
    rounds = min(max(fit, 1), MAX_ROUNDS)
    rounds -= rounds > 1 and rounds % 2 == 0  # odd: the median is one of them
    return replace(once, rounds=rounds)


def _together(
    calls: Mapping[str, int], per_call_s: Mapping[str, float], fastest: float
) -> dict[str, int]:
    """Equal calls for all that are about equally fast; fewer for those that are far slower."""
    common = max(calls.values())
    chosen = {}
    for name, per_call in per_call_s.items():
        fit = max(1, int(LONG_BATCH_S / per_call))
        alike = per_call <= ALIKE * fastest
        chosen[name] = common if alike else min(common, max(calls[name], 1 << fit.bit_length() - 1))
    return chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block as it is written to the journal.

    Attributes:
        session: number of the set of processes.
        number: of the block in its session.
        order: the variants of each round, in the order they ran.
        cores: the core each round began on; empty when nothing was moved.
        per_call_s: seconds per call, by variant, one for each round in turn.
        cpu_share: CPU time over wall clock, by variant, over the whole block.
        helpers: share of the CPU time that other threads than the calling one used, likewise.
        begin: look at the machine before it.
        end: look at the machine after it.
        reason: why it does not count; empty when it does.
        seconds: how long it took.
        inner_s: seconds per call by the subject's own clock, where a variant has one.
    """

    session: int = 0
    number: int
    size: int
    pattern: Pattern
    order: tuple[tuple[str, ...], ...]
    cores: tuple[int, ...]
    per_call_s: Mapping[str, tuple[float, ...]]
    cpu_share: Mapping[str, float]
    helpers: Mapping[str, float]
    begin: Look
    end: Look
    reason: str = ""
    seconds: float
    inner_s: Mapping[str, tuple[float, ...]]

    @property
    def valid(self) -> bool:
        """Whether it counts."""
        return not self.reason

    @property
    def effective_cores(self) -> float:
        """The lower of the two looks."""
        return min(self.begin.effective_cores, self.end.effective_cores)

    def typical_s(self, variant: str) -> float:
        """Seconds per call of a variant: the median over the rounds."""
        return statistics.median(self.per_call_s[variant])

    def log_ratio(self, slow: str, fast: str) -> float:
        """Median over the rounds of ln(time of `slow` / time of `fast`)."""
        pairs = zip(self.per_call_s[slow], self.per_call_s[fast], strict=True)
        return statistics.median(math.log(a / b) for a, b in pairs)


def run_block(
    lab: Lab,
    arms: Sequence[Arm],
    pace: Pace,
    chance: random.Random,
    cores: Sequence[int],
    begin: Look,
    number: int = 0,
) -> Block:
    """Run all rounds of one block, and look at the machine after them.

    Each round has all arms once, in a fresh random order, and begins on one random core: the
    scheduler keeps a process where it was, and two cores need not be equally fast. All arms of a
    round begin with the same data set, and the next round with the next one.

    Args:
        cores: to choose from; nothing is moved when it is empty.
        begin: the look at the machine before it.
        number: of the block in its session.

    Returns:
        The block of session 0 that counts, before anything has been decided about it.
    """
    order, began = [], []
    timings: dict[str, list[Timing]] = {arm.variant: [] for arm in arms}
    begin_s = lab.now()
    for index in range(pace.rounds):
        first = number * pace.rounds + index
        turn = list(arms)
        chance.shuffle(turn)
        cpu = chance.choice(cores) if cores else None
        if cpu is not None:
            began.append(cpu)
        order.append(tuple(arm.variant for arm in turn))
        for arm in turn:
            calls = pace.calls[arm.variant]
            timings[arm.variant].append(
                lab.time(arm, calls, untimed=pace.untimed, cpu=cpu, first=first)
            )
    seconds = lab.now() - begin_s
    return Block(
        number=number,
        size=pace.size,
        pattern=pace.pattern,
        order=tuple(order),
        cores=tuple(began),
        per_call_s={name: tuple(t.per_call_s for t in found) for name, found in timings.items()},
        cpu_share={
            name: sum(t.cpu_s for t in found) / sum(t.seconds for t in found)
            for name, found in timings.items()
        },
        helpers={
            name: 1 - sum(t.own_s for t in found) / max(sum(t.cpu_s for t in found), 1e-12)
            for name, found in timings.items()
        },
        inner_s={
            name: tuple(t.inner_s / t.calls for t in found if t.inner_s is not None)
            for name, found in timings.items()
            if all(t.inner_s is not None for t in found)
        },
        begin=begin,
        end=lab.look(),
        seconds=seconds,
    )

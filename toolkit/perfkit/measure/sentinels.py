"""Was the machine free? perfkit's own fixed work and the system's counters answer, and only they
decide which blocks count: a rule that looked at the code under test would bias the comparison.

What a block is, and what follows from a block that does not count, is known elsewhere.
"""

from __future__ import annotations

import contextlib
import resource
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CORES_SHARE = 0.8
"""Share of the wanted cores that the sentinel must really get, at both ends of a block whose arms
use more than one: between the two modes that were seen, near 1.0 and near 1.9 of two cores."""

SLOW_FACTOR = 2.0
"""How much slower than its fastest tenth the one-thread sentinel may be."""

FOREIGN_CORES = 0.25
"""Cores that other programs may use of those the measurement needs."""

FOREIGN_WINDOW_S = 0.5
"""The system counts CPU time in ticks of 10 ms: over half a second one core is 50 of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at the machine.

    Attributes:
        one_s: perfkit's fixed work on one thread, seconds.
        all_s: the same work on each of `threads` threads at once, seconds.
        threads: how many.
        foreign_cores: cores that other programs used around it; None if not known.
    """

    one_s: float
    all_s: float
    threads: int
    foreign_cores: float | None = None

    @property
    def effective_cores(self) -> float:
        """How many cores the work on all threads got, by time: `threads` on a free machine."""
        return self.threads * self.one_s / self.all_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The rule for a valid block, fixed before anything is measured.

    Attributes:
        threads: threads that the subject may use.
        cores: cores of the machine that this process may use.
    """

    threads: int
    cores: int

    @property
    def room(self) -> float:
        """Cores that others may use: one besides the subject's is kept spare for the system."""
        return max(FOREIGN_CORES, float(self.cores - self.threads - 1))

    def reason_against(self, ends: Sequence[Look], usual_s: float, *, parallel: bool) -> str:
        """Why a block between these looks does not count, or nothing.

        Args:
            ends: the looks at both ends of the block.
            usual_s: the one-thread work's time when nothing disturbs it.
            parallel: whether any arm of the block uses more than one core, as it was seen before
                the measurement began.
        """
        effective = min(end.effective_cores for end in ends)
        if parallel and self.threads > 1 and effective < CORES_SHARE * self.threads:
            return f"{effective:.2f} of {self.threads} cores"
        slowest = max(end.one_s for end in ends)
        if slowest > SLOW_FACTOR * usual_s:
            return f"{slowest / usual_s:.2f} times slower than usual"
        for end in ends:
            if end.foreign_cores is not None and end.foreign_cores > self.room:
                return f"others use {end.foreign_cores:.2f} cores"
        return ""


class Usual:
    """The one-thread work's usual time: the tenth percentile of what was seen so far."""

    def __init__(self) -> None:
        self._seen: list[float] = []

    def see(self, look: Look) -> float:
        """Take a look in, and return the usual time with it, in seconds."""
        self._seen.append(look.one_s)
        return float(np.quantile(self._seen, 0.1))


def processor_seconds() -> float | None:
    """CPU time of all programs since the machine started; None if the system does not count it."""
    try:
        spent = psutil.cpu_times()
        return spent.user + spent.nice + spent.system + spent.irq + spent.softirq
    except (AttributeError, OSError, ValueError):
        return None


def process_seconds(pid: int) -> float | None:
    """CPU time of another process with all its threads, by its own clock (Linux)."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED)
    except OSError:
        return None


def ended_seconds() -> float:
    """CPU time of the processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class ForeignLoad:
    """Cores that other programs than ours used over the last half second.

    Processes of ours come and go while it counts: what one used before it was named, and after it
    ended, is ours as well.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = tuple(pids)
        self._marks: deque[tuple[float, float]] = deque()

    @contextlib.contextmanager
    def ours(self, pids: Sequence[int]) -> Iterator[None]:
        """Count these processes as ours as well."""
        before = self._pids
        self._pids = (*before, *pids)
        try:
            yield
        finally:
            self._pids = before

    def cores(self) -> float | None:
        """None before the window is full, and where the system does not count."""
        spent = processor_seconds()
        own = [process_seconds(pid) for pid in self._pids]
        known = [seconds for seconds in own if seconds is not None]
        if spent is None or len(known) != len(own):
            return None
        now = time.perf_counter()
        self._marks.append((now, spent - sum(known) - ended_seconds()))
        while len(self._marks) > 2 and now - self._marks[1][0] >= FOREIGN_WINDOW_S:
            self._marks.popleft()
        begin, foreign = self._marks[0]
        if now - begin < FOREIGN_WINDOW_S:
            return None
        return (self._marks[-1][1] - foreign) / (now - begin)


def histogram(values: Sequence[float], most: float) -> str:
    """The effective cores as lines of text: what a refusal shows instead of a figure."""
    if not values:
        return "no block was measured"
    edges = np.linspace(0.0, most, 11)
    counts, _ = np.histogram(np.clip(values, 0.0, most), bins=edges)
    widest = max(int(counts.max()), 1)
    return "\n".join(
        f"{low:4.1f} to {high:4.1f} cores {'#' * round(30 * count / widest):30} {count}"
        for low, high, count in zip(edges[:-1], edges[1:], counts.tolist(), strict=True)
    )

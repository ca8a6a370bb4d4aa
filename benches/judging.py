"""Shared by the kernel's benches: whether the machine was idle, and which limits were met."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

BUSY_LIMIT = 0.05  # share of the machine that other programs may use
OK, MISSED, NO_VERDICT = 0, 3, 4


class Idleness:
    """How much of the machine other programs used since this object was created."""

    def __init__(self) -> None:
        self._begin = (time.perf_counter(), self._all_busy(), self._own())

    @staticmethod
    def _all_busy() -> float:
        ticks = [int(word) for word in Path("/proc/stat").read_text().split()[1:9]]
        user, nice, system, _idle, _wait, irq, softirq, steal = ticks
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def _own() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(each.ru_utime + each.ru_stime for each in used)

    def others_share(self) -> float:
        """Share of all cores' time."""
        begin, busy, own = self._begin
        capacity = (time.perf_counter() - begin) * (os.cpu_count() or 1)
        return (self._all_busy() - busy - (self._own() - own)) / capacity


class Judge:
    """Prints lines, remembers which limits were met, and gives the exit code."""

    def __init__(self) -> None:
        self.missed: list[str] = []
        self.open: list[str] = []
        self.idleness = Idleness()

    def say(self, text: str) -> None:
        """Print one line."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def hold(self, what: str, value: float, limit: float, *, most: bool = False) -> str:
        """Compare with a limit, remember a miss, and return the mark to print."""
        if (value <= limit) if most else (value >= limit):
            return ""
        self.missed.append(f"{what}: {value:.3g}, limit {limit:.3g}")
        return "!"

    def leave_open(self, what: str) -> str:
        """Remember a limit that this run cannot judge, and return the mark to print."""
        self.open.append(what)
        return "?"

    def verdict(self) -> int:
        """Say how idle the machine was and what was missed; return the exit code.

        If the machine was not idle, no limit counts, whether met or missed.
        """
        others = self.idleness.others_share()
        # If this is clearly below zero, the two clocks disagree and nothing is known.
        idle = -BUSY_LIMIT <= others <= BUSY_LIMIT
        state = "idle" if idle else "NOT known to be idle"
        self.say(f"\nThe machine was {state}: other programs used {others:.1%} of its cores' time.")
        for miss in self.missed:
            self.say(f"missed: {miss}")
        for one in self.open:
            self.say(f"not judged: {one}")
        if not idle:
            return NO_VERDICT
        if self.missed:
            return MISSED
        return NO_VERDICT if self.open else OK

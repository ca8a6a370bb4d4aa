"""The gate before any table: is this capture large, whole and named enough to be believed? Pure
functions of counts; the flame graph is drawn either way, and marked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.records import Note
from perfkit.stacks.intervals import Z
from perfkit.stacks.layers import is_unresolved
from perfkit.units import format_share

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perfkit.config import Profiling
    from perfkit.records import Interval
    from perfkit.stacks.folded import Stack

COST_UNKNOWN = "cost unknown"
"""The reason of a good capture of something that ran once: there is nothing to compare it with."""
UNROOTED_LIMIT = 0.2
"""Share of stacks without a thread's entry above which callers are guesses. A leaf function's
prologue and epilogue alone make 1 to 2 %."""
LOST_LIMIT = 0.01
OUTSIDE_LIMIT = 0.25
"""Samples outside the region are left out of every table; many of them mean that much of what was
sampled is something else. The calls that wake the caches before a window are not counted."""
COVERAGE_LIMIT = 0.1
"""Part of the process's CPU time that samples may miss. A thread that lives for less than a
sampling period is never sampled: each thread's timer starts with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What a capture is made of; shares are of `samples`, None if the profiler cannot tell.

    `sampled_s` is samples over rate, `cpu_s` what the process's own clock says of the same windows.
    """

    samples: int
    unresolved: int | None = None
    unrooted: int | None = None
    lost: int = 0
    outside: int = 0
    slowdown: Interval | None = None
    sampled_s: float | None = None
    cpu_s: float | None = None

    @property
    def unresolved_share(self) -> float | None:
        """Samples whose leaf has no name."""
        if self.unresolved is None or not self.samples:
            return None
        return self.unresolved / self.samples


def of_stacks(stacks: Sequence[tuple[Stack, int]], *, slowdown: Interval | None = None) -> Quality:
    """What the stacks alone tell."""
    return Quality(
        samples=sum(count for _, count in stacks),
        unresolved=sum(count for stack, count in stacks if is_unresolved(stack[-1])),
        slowdown=slowdown,
    )


def judge(quality: Quality, limits: Profiling, *, needs_slowdown: bool = True) -> tuple[Note, ...]:
    """Why a capture cannot be believed, by the limits of the config; nothing for one that can.

    Args:
        needs_slowdown: False for something that ran once, so that its slowdown cannot be known.
    """
    faults = []
    if quality.samples < limits.min_samples:
        text = f"{quality.samples} samples; a table needs {limits.min_samples}"
        remedy = "profile for longer with --duration, or at a higher rate"
        faults.append(Note(id="few_samples", text=text, remedy=remedy))
    if quality.samples:
        faults += [*_stack_faults(quality, limits), *_coverage_faults(quality)]
    if needs_slowdown:
        faults += _cost_faults(quality, limits)
    return tuple(faults)


def _stack_faults(quality: Quality, limits: Profiling) -> Iterator[Note]:
    unresolved = quality.unresolved_share
    if unresolved is not None and unresolved > limits.unresolved_limit:
        text = f"{format_share(unresolved)} of the samples end in a frame without a name"
        remedy = "profile a build with symbols (perfkit builds one), not a stripped module"
        yield Note(id="unresolved", text=text, remedy=remedy)
    if quality.unrooted is not None and quality.unrooted / quality.samples > UNROOTED_LIMIT:
        text = f"{format_share(quality.unrooted / quality.samples)} of the stacks are cut short"
        remedy = "use deeper stack copies, or frame pointers throughout"
        yield Note(id="unrooted", text=text, remedy=remedy)
    lost = quality.lost / (quality.samples + quality.lost)
    if lost > LOST_LIMIT:
        text = f"{format_share(lost)} of the samples were lost"
        yield Note(id="lost", text=text, remedy="choose a lower rate")
    outside = quality.outside / (quality.samples + quality.outside)
    if outside > OUTSIDE_LIMIT:
        text = f"{format_share(outside)} of the process's samples are outside the measured region"
        yield Note(id="outside", text=text, remedy="profile for longer")


def _coverage_faults(quality: Quality) -> Iterator[Note]:
    """Samples and the process's own clock must show the same CPU time, within counting error."""
    if quality.sampled_s is None or not quality.cpu_s:
        return
    missing = 1 - quality.sampled_s / quality.cpu_s
    if abs(missing) <= COVERAGE_LIMIT + Z / math.sqrt(quality.samples):
        return
    if missing > 0:
        text = f"the samples miss {format_share(missing)} of the process's CPU time"
        remedy = "keep threads alive: one that lives for less than a sampling period is never seen"
    else:
        text = f"the samples show {format_share(-missing)} more CPU time than the process used"
        remedy = "profile again on a quieter machine"
    yield Note(id="coverage", text=text, remedy=remedy)


def _cost_faults(quality: Quality, limits: Profiling) -> Iterator[Note]:
    remedy = "choose a lower rate with --rate, or a quieter machine and a longer --duration"
    if quality.slowdown is None:
        text = "the profiler's slowdown was not measured"
        yield Note(id="slowdown_unknown", text=text, remedy=remedy)
    elif quality.slowdown.high >= limits.slowdown_limit:
        shown = f"{format_share(quality.slowdown.low)} to {format_share(quality.slowdown.high)}"
        limit = format_share(limits.slowdown_limit)
        text = f"the profiler's slowdown of {shown} is not shown to be below {limit}"
        yield Note(id="slowdown", text=text, remedy=remedy)

"""The gate before any table: is this capture large, whole and named enough to be believed? Pure
functions of counts; the flame graph is drawn either way, and marked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.records import Note
from perfkit.stacks.intervals import Z
from perfkit.units import format_share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.config import Profiling
    from perfkit.records import Interval

COST_UNKNOWN = "cost unknown"
"""The reason of a capture that is whole, of something that ran once: nothing to compare with."""
UNROOTED_LIMIT = 0.2
"""Share of stacks without a thread's entry above which callers are guesses. A leaf function's
prologue and epilogue alone make 1 to 2 %."""
LOST_LIMIT = 0.01
OUTSIDE_LIMIT = 0.25
"""Samples outside the region are left out of every table; many of them mean that much of what was
sampled is something else. The calls that wake the caches before a window are not counted."""
COVERAGE_LIMIT = 0.1
"""Part of the process's CPU time that samples may miss. A thread that lives shorter than a sampling
period is never sampled at all: each thread's timer starts with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What a capture is made of; shares are of `samples`, None where the profiler cannot tell.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """Whether a table may be made, why not, and remarks that do not forbid it."""

    accepted: bool
    reason: str
    remedy: str
    notes: tuple[Note, ...]

    def but(self, faults: Sequence[Note]) -> Belief:
        """The same with what the profiler itself says is wrong."""
        if not faults:
            return self
        reasons = [self.reason] if self.reason else []
        return Belief(
            accepted=False,
            reason="; ".join([*reasons, *(note.text for note in faults)]),
            remedy=self.remedy or faults[0].remedy,
            notes=(*self.notes, *faults),
        )


BELIEVED = Belief(accepted=True, reason="", remedy="", notes=())


def judge(quality: Quality, limits: Profiling, *, needs_slowdown: bool = True) -> Belief:
    """Apply the limits of the config.

    Args:
        needs_slowdown: False for a profiler whose own cost does not change what it counts.
    """
    faults = [*_size_faults(quality, limits)]
    if quality.samples:
        faults += _stack_faults(quality, limits)
    if needs_slowdown:
        faults += _cost_faults(quality, limits)
    notes = [Note(id=id_, text=text, remedy=remedy) for id_, text, remedy in faults]
    if not faults:
        return BELIEVED
    return Belief(
        accepted=False,
        reason="; ".join(text for _, text, _ in faults),
        remedy=faults[0][2],
        notes=tuple(notes),
    )


Fault = tuple[str, str, str]


def _size_faults(quality: Quality, limits: Profiling) -> list[Fault]:
    if quality.samples >= limits.min_samples:
        return []
    text = f"{quality.samples} samples; a table needs {limits.min_samples}"
    return [("few_samples", text, "profile for longer with --duration, or at a higher rate")]


def _stack_faults(quality: Quality, limits: Profiling) -> list[Fault]:
    faults = []
    unresolved = quality.unresolved_share
    if unresolved is not None and unresolved > limits.unresolved_limit:
        text = f"{format_share(unresolved)} of the samples end in a frame without a name"
        remedy = "profile a build with symbols (perfkit builds one), not a stripped module"
        faults.append(("unresolved", text, remedy))
    if quality.unrooted is not None and quality.unrooted / quality.samples > UNROOTED_LIMIT:
        text = f"{format_share(quality.unrooted / quality.samples)} of the stacks are cut short"
        faults.append(("unrooted", text, "use deeper stack copies, or frame pointers throughout"))
    lost = quality.lost / (quality.samples + quality.lost)
    if lost > LOST_LIMIT:
        text = f"{format_share(lost)} of the samples were lost"
        faults.append(("lost", text, "choose a lower rate"))
    outside = quality.outside / (quality.samples + quality.outside)
    if outside > OUTSIDE_LIMIT:
        text = f"{format_share(outside)} of the process's samples lie outside the measured region"
        faults.append(("outside", text, "profile for longer"))
    return faults + _coverage_faults(quality)


def _coverage_faults(quality: Quality) -> list[Fault]:
    """Samples and the process's own clock must tell of the same CPU time, within counting error."""
    if quality.sampled_s is None or not quality.cpu_s or not quality.samples:
        return []
    missing = 1 - quality.sampled_s / quality.cpu_s
    if abs(missing) <= COVERAGE_LIMIT + Z / math.sqrt(quality.samples):
        return []
    if missing > 0:
        text = f"the samples miss {format_share(missing)} of the process's CPU time"
        remedy = "threads that live shorter than a sampling period are never seen: keep them alive"
    else:
        text = f"the samples hold {format_share(-missing)} more CPU time than the process used"
        remedy = "profile again on a quieter machine"
    return [("coverage", text, remedy)]


def _cost_faults(quality: Quality, limits: Profiling) -> list[Fault]:
    limit = format_share(limits.slowdown_limit)
    remedy = "choose a lower rate with --rate, or a quieter machine and a longer --duration"
    if quality.slowdown is None:
        return [("slowdown_unknown", "what the profiler cost was not measured", remedy)]
    if quality.slowdown.high >= limits.slowdown_limit:
        shown = f"{format_share(quality.slowdown.low)} to {format_share(quality.slowdown.high)}"
        text = f"the profiler's slowdown of {shown} is not shown to be below {limit}"
        return [("slowdown", text, remedy)]
    return []

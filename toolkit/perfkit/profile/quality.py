"""What a capture is made of, and what is doubtful about it: pure functions of counts. Nothing is
refused: `stacks/bounds.py` widens every share by the doubts; a note says what would narrow them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.records import Doubts, Note
from perfkit.stacks.layers import is_unresolved
from perfkit.units import format_share

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perfkit.records import Interval
    from perfkit.stacks.folded import Stack

WORTH_A_NOTE = 0.02
"""Doubts of less than this share are in the intervals, and need no remedy."""
OUTSIDE_LIMIT = 0.25
"""Samples outside the region are left out of every table; many of them mean that much of what was
sampled is something else. The calls that wake the caches before a window are not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What a capture is made of; counts are None if the profiler cannot tell.

    Attributes:
        region_s: wall clock of what was sampled; None where it is not known.
        sampled_s: samples over rate; `cpu_s` is what the process's own clock says of the same
            windows.
        shift: see `Doubts`.
    """

    samples: int
    unresolved: int | None = None
    lost: int = 0
    outside: int = 0
    slowdown: Interval | None = None
    region_s: float | None = None
    sampled_s: float | None = None
    cpu_s: float | None = None
    shift: float = 0.0

    @property
    def unresolved_share(self) -> float | None:
        """Samples whose leaf has no name, of all."""
        if self.unresolved is None or not self.samples:
            return None
        return self.unresolved / self.samples

    @property
    def lost_share(self) -> float:
        """Samples that were lost or failed, of all that were due."""
        due = self.samples + self.lost
        return self.lost / due if due else 0.0

    @property
    def doubts(self) -> Doubts:
        """Each doubt as a share of the wall clock."""
        missing = 0.0
        if self.region_s and self.sampled_s is not None and self.cpu_s is not None:
            missing = (self.cpu_s - self.sampled_s) / self.region_s
        return Doubts(
            unnamed=self.unresolved_share or 0.0,
            # Lost samples are in the time that is missing, where that is known.
            missing=max(missing, 0.0) if self.cpu_s is not None else self.lost_share,
            surplus=max(-missing, 0.0),
            slowdown=None if self.slowdown is None else _worst(self.slowdown),
            shift=self.shift,
        )


def _worst(slowdown: Interval) -> float:
    """The end that matters, see `Doubts`."""
    return slowdown.high if slowdown.high >= 0 else slowdown.low


def of_stacks(stacks: Sequence[tuple[Stack, int]], *, slowdown: Interval | None = None) -> Quality:
    """What the stacks alone tell."""
    return Quality(
        samples=sum(count for _, count in stacks),
        unresolved=sum(count for stack, count in stacks if is_unresolved(stack[-1])),
        slowdown=slowdown,
    )


def notes(quality: Quality) -> Iterator[Note]:
    """What makes the intervals wide, each with what would narrow them."""
    doubts = quality.doubts
    unresolved = quality.unresolved_share or 0.0
    if unresolved >= WORTH_A_NOTE:
        text = f"{format_share(unresolved)} of the samples end in a frame without a name"
        remedy = "profile a build with symbols (perfkit builds one), not a stripped module"
        yield Note(id="unresolved", text=text, remedy=remedy)
    if quality.lost_share >= WORTH_A_NOTE:
        text = f"{format_share(quality.lost_share)} of the samples were lost"
        yield Note(id="lost", text=text, remedy="choose a lower rate")
    if quality.cpu_s and doubts.missing >= WORTH_A_NOTE:
        part = doubts.missing * (quality.region_s or 0.0) / quality.cpu_s
        text = f"the samples miss {format_share(part)} of the process's CPU time"
        remedy = "keep threads alive: one that lives for less than a sampling period is never seen"
        yield Note(id="coverage", text=text, remedy=remedy)
    if quality.cpu_s and doubts.surplus >= WORTH_A_NOTE:
        part = doubts.surplus * (quality.region_s or 0.0) / quality.cpu_s
        text = f"the samples show {format_share(part)} more CPU time than the process used"
        yield Note(id="coverage", text=text, remedy="profile again on a quieter machine")
    taken = quality.samples + quality.outside
    if taken and quality.outside / taken > OUTSIDE_LIMIT:
        share = format_share(quality.outside / taken)
        text = f"{share} of the process's samples are outside the measured region"
        yield Note(id="outside", text=text, remedy="profile for longer")
    if doubts.slowdown is not None and abs(doubts.slowdown) >= WORTH_A_NOTE:
        how = "slower" if doubts.slowdown > 0 else "faster"
        amount = format_share(abs(doubts.slowdown))
        text = f"the profiler may have made the call up to {amount} {how}"
        remedy = "a lower --rate, a longer --duration or a quieter machine narrows the shares"
        yield Note(id="slowdown", text=text, remedy=remedy)
    if quality.shift >= WORTH_A_NOTE:
        text = f"at another rate shares differ by {format_share(quality.shift)} beyond counting"
        yield Note(id="shift", text=text, remedy="another --rate may be out of step with the calls")

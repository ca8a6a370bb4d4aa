"""What is known of a share beside its counting error: each doubt of a capture widens the interval
by the worst case that it allows, and nothing is refused. A profiler that makes a call at most 3 %
slower moves no share by more than three points.

Source: partial identification (Manski 2003): bounds assume only what is named, see `doubtful`.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from perfkit.records import Interval, Layer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perfkit.records import Capture, Doubts, LayerTime
    from perfkit.stacks.split import Split

TOLD_WIDTH = 0.10
TOLD_PART = 0.20
"""A share is told if its interval is at most as wide as the first, or as the second of its
estimate where that is above one half."""
BOUNDED_WIDTH = 0.50
MATTERS = 0.10
"""Share of the call from which a layer counts for whether a split is told."""
WORTH_A_WORD = 0.005
"""Doubts of less than half a point are not named."""


class Telling(StrEnum):
    """How much an interval of a share says."""

    TOLD = "told"
    BOUNDED = "bounded"
    UNKNOWN = "unknown"


def doubtful(share: Interval, doubts: Doubts, *, most: float = 1.0) -> Interval:
    """A share of time on a CPU with everything that is doubtful about it.

    It is assumed that samples without a layer, missing time and surplus time can be of any layer,
    and that a profiler either only adds time or only saves it: with `t` the share of the
    undisturbed call, `p` the observed one and `d` what the profiler added to it, as a part of the
    undisturbed call, `t = (1 + s) p - d`, with `d` between 0 and `s`.

    Args:
        share: of the wall clock of the profiled calls, with its counting error.
        most: the largest value that is possible; infinite for the time of several threads.
    """
    low = share.low - doubts.surplus
    high = share.high + doubts.unnamed + doubts.missing
    found = _cut(share, *_disturbed(low, high, doubts), most)
    return _free(found, doubts.contended) if doubts.contended else found


def of_work(share: Interval, doubts: Doubts, by: float) -> Interval:
    """A share of the CPU time of all threads. Doubts are known as parts of the wall clock, of which
    that time may be a multiple.

    Args:
        share: with its counting error; samples without a layer are in no line and no function.
        by: the wall clock of the calling thread over the CPU time of all threads.
    """
    scaled = replace(
        doubts,
        unnamed=doubts.unnamed * by,
        missing=doubts.missing * by,
        surplus=doubts.surplus * by,
        slowdown=None if doubts.slowdown is None else doubts.slowdown * max(by, 1.0),
        contended=0.0,  # waiting is no CPU time
    )
    return doubtful(share, scaled)


def waiting(share: Interval, doubts: Doubts) -> Interval:
    """The share of `waiting`, which is what the samples leave: time that they miss is not waited,
    and time that they show above what was used is.
    """
    return _cut(share, *_disturbed(share.low - doubts.missing, share.high + doubts.surplus, doubts))


def _disturbed(low: float, high: float, doubts: Doubts) -> tuple[float, float]:
    if doubts.slowdown is None:
        return 0.0, 1.0
    cost, saved = max(doubts.slowdown, 0.0), max(-doubts.slowdown, 0.0)
    low -= cost * (1 - low) + saved * low
    high += cost * high + saved * (1 - high)
    return low - doubts.shift, high + doubts.shift


def _cut(share: Interval, low: float, high: float, most: float = 1.0) -> Interval:
    """Cut to what is possible, but never past the estimate: an excess stays visible."""
    return Interval(
        estimate=share.estimate,
        low=min(max(low, 0.0), share.estimate),
        high=max(min(high, most), share.estimate),
    )


def of_split(split: Split, doubts: Doubts) -> Split:
    """A split that was counted, with the capture's doubts in every interval.

    Its samples without a layer take the place of the capture's count of unnamed ones.
    """
    doubts = replace(doubts, unnamed=split.undecided)

    def widened(row: LayerTime, most: float) -> LayerTime:
        if row.layer is Layer.WAITING:
            return replace(row, share=waiting(row.share, doubts))
        return replace(row, share=doubtful(row.share, doubts, most=most))

    return replace(
        split,
        layers=tuple(widened(row, 1.0) for row in split.layers),
        workers=tuple(widened(row, float("inf")) for row in split.workers),
        ffi=doubtful(split.ffi, doubts),
        doubts=doubts,
    )


def contended(split: Split) -> Split:
    """The split of a machine without room: what a thread waited for a core cannot be told from its
    other waiting, and all other shares are of a call that would have been shorter by it.
    """
    waited = max((r.share.high for r in split.layers if r.layer is Layer.WAITING), default=0.0)

    def widened(row: LayerTime) -> LayerTime:
        if row.layer is Layer.WAITING:
            return replace(row, share=replace(row.share, low=min(0.0, row.share.estimate)))
        return replace(row, share=_free(row.share, waited))

    return replace(
        split,
        layers=tuple(map(widened, split.layers)),
        ffi=_free(split.ffi, waited),
        doubts=replace(split.doubts, contended=waited),
    )


def _free(share: Interval, waited: float) -> Interval:
    """A share of the call if it had not waited for a core, for at most a part of its time."""
    high = share.high / (1 - waited) if waited < 1 else 1.0
    return replace(share, high=max(min(high, 1.0), share.estimate))


def telling(share: Interval) -> Telling:
    """Whether a share is told, only bounded, or unknown."""
    width = share.high - share.low
    allowed = TOLD_PART * share.estimate if share.estimate > 0.5 else TOLD_WIDTH
    if width <= allowed:
        return Telling.TOLD
    return Telling.BOUNDED if width <= BOUNDED_WIDTH else Telling.UNKNOWN


def tells(capture: Capture) -> bool:
    """Whether the doubts of a capture leave any bound on a share of one half. Something that ran
    once, whose cost is not known, tells where its own time went.
    """
    if not capture.samples or "folded" not in capture.files:
        return False
    doubts = replace(capture.doubts, slowdown=capture.doubts.slowdown or 0.0)
    half = Interval(estimate=0.5, low=0.5, high=0.5)
    return telling(doubtful(half, doubts)) is not Telling.UNKNOWN


def that_matter(rows: Iterable[LayerTime]) -> list[LayerTime]:
    """The layers of 10 % and more."""
    return [row for row in rows if row.share.estimate >= MATTERS]


def is_told(rows: Iterable[LayerTime]) -> bool:
    """Whether every layer of 10 % and more is told; False without layers."""
    found = [telling(row.share) is Telling.TOLD for row in that_matter(rows)]
    return bool(found) and all(found)


def says_something(rows: Iterable[LayerTime]) -> bool:
    """Whether a layer of 10 % and more is at least bounded."""
    return any(telling(row.share) is not Telling.UNKNOWN for row in that_matter(rows))


def widest(rows: Iterable[LayerTime]) -> float:
    """The width of the widest interval of a layer of 10 % and more; one without layers."""
    shares = [row.share for row in that_matter(rows)]
    return max((share.high - share.low for share in shares), default=1.0)


def named(doubts: Doubts) -> list[tuple[str, float]]:
    """What the doubts are, the largest first, each with its amount. A cost that was not measured
    has no amount.
    """
    found = [
        ("the profiler's own cost", abs(doubts.slowdown or 0.0)),
        ("CPU time that no sample shows", doubts.missing),
        ("more CPU time in samples than was used", doubts.surplus),
        ("samples without a name or a caller", doubts.unnamed),
        ("what changed at another rate", doubts.shift),
    ]
    worth = [(what, amount) for what, amount in found if amount >= WORTH_A_WORD]
    return sorted(worth, key=lambda one: -one[1])

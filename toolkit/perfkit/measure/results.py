"""What a measurement found: points (one size in one pattern), ratios, the noise floor, the verdict.

Everything here is computed from blocks, so it can be computed again from the journal. How blocks
come about is in `session.py`.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from perfkit.errors import MachineBusyError, UsageError
from perfkit.measure import sentinels, statistics
from perfkit.measure.reading import is_faster, is_slower
from perfkit.records import Interval, MeasureVerdict, Note, Pattern, Role
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.measure.blocks import Block
    from perfkit.measure.plan import Plan
    from perfkit.measure.stop import Stop
    from perfkit.records import LoadedModule

LEAST_SESSIONS = 3
"""Sessions that must have had room, where so many were asked for."""

LEAST_FLOOR = 0.005
"""No effect below half a percent is called a change, whatever the copies say."""


class Change(StrEnum):
    """What may be said about one variant against another."""

    FASTER = "faster"
    SLOWER = "slower"
    NONE = "no difference detectable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One size in one call pattern.

    Attributes:
        sessions: the blocks of each set of processes, valid and not, in order.
        stop: why the last session ended.
        least: valid blocks below which a session says nothing.
        wanted: sessions that were asked for.
    """

    size: int
    pattern: Pattern
    sessions: tuple[tuple[Block, ...], ...]
    stop: Stop | None
    least: int
    wanted: int = 1

    @property
    def blocks(self) -> int:
        """All blocks."""
        return sum(len(session) for session in self.sessions)

    @property
    def valid_blocks(self) -> int:
        """The blocks that count."""
        return sum(block.valid for session in self.sessions for block in session)

    @property
    def usable(self) -> tuple[tuple[Block, ...], ...]:
        """The valid blocks of each session that has enough of them."""
        kept = [tuple(block for block in part if block.valid) for part in self.sessions]
        return tuple(part for part in kept if len(part) >= self.least)

    @property
    def enough(self) -> bool:
        """Whether enough sessions have enough valid blocks to say anything.

        One pair of processes says nothing about the next one: what was asked of five sets is not
        answered from two.
        """
        usable = self.usable
        values = sum(len(part) for part in usable)
        return len(usable) >= min(LEAST_SESSIONS, self.wanted) and (
            values >= statistics.LEAST_VALUES or len(usable) >= statistics.LEAST_MEDIANS
        )

    def absolute(self, variant: str) -> Interval:
        """Seconds per call: the median over blocks, with an interval over blocks and sessions."""
        logs = [
            [math.log(block.typical_s(variant)) for block in session] for session in self.usable
        ]
        return statistics.exponentiated(statistics.over_sessions(logs))

    def differences(self, slow: str, fast: str) -> list[list[float]]:
        """Per-block ln(time of `slow` / time of `fast`), by session."""
        return [[block.log_ratio(slow, fast) for block in session] for session in self.usable]

    def log_ratio(self, a: str, b: str) -> Interval:
        """ln(time of b / time of a): above zero means that a is faster."""
        return statistics.over_sessions(self.differences(b, a))

    def ratio(self, a: str, b: str) -> Interval:
        """Time of b over time of a: above one means that a is faster than b."""
        return statistics.exponentiated(self.log_ratio(a, b))

    def contended_ratio(self, a: str, b: str) -> Interval | None:
        """The same ratio over the blocks that did *not* count, where there are enough of them."""
        values = [
            [block.log_ratio(b, a) for block in session if not block.valid]
            for session in self.sessions
        ]
        least = max(self.least * self.wanted, statistics.LEAST_VALUES)
        if sum(len(session) for session in values) < least:
            return None
        return statistics.exponentiated(statistics.over_sessions(values))

    def noise_floor(self, a: str, copy: str) -> float:
        """What two equal builds differ by at most, as a fraction: nothing below it is a change."""
        same = self.log_ratio(a, copy)
        return max(LEAST_FLOOR, math.expm1(abs(same.low)), math.expm1(abs(same.high)))

    def change(self, a: str, b: str, floor: float) -> Change:
        """Whether a is faster or slower than b: the interval leaves zero, and the estimate the
        floor.
        """
        found = self.ratio(a, b)
        if is_faster(found, floor):
            return Change.FASTER
        if is_slower(found, floor):
            return Change.SLOWER
        return Change.NONE

    def widest(self, subject: str, others: Sequence[str]) -> float | None:
        """The largest half width of the log-ratios against the subject."""
        try:
            return max(
                (statistics.half_width(self.log_ratio(subject, other)) for other in others),
                default=statistics.half_width(self.absolute(subject))
                / self.absolute(subject).estimate,
            )
        except ValueError:
            return None


def joined(parts: Sequence[Point], wanted: int) -> Point:
    """The sessions of one size and pattern as one point."""
    return dataclasses.replace(
        parts[-1],
        sessions=tuple(session for part in parts for session in part.sessions),
        wanted=wanted,
    )


def copies_agree(point: Point, a: str, copy: str, comparisons: int) -> bool:
    """Whether two equal builds look equal: they may not differ by more than the least floor with
    confidence, over all comparisons of the run (Bonferroni).
    """
    confidence = 1 - (1 - statistics.CONFIDENCE) / comparisons
    differences = point.differences(copy, a)
    try:
        found = statistics.over_sessions(differences, confidence)
    except ValueError:  # too few blocks for so much confidence: then all of them have to agree
        values = [d for session in differences for d in session]
        middle = statistics.over_sessions(differences).estimate
        found = Interval(estimate=middle, low=min(values), high=max(values))
    resolved = found.low > 0 or found.high < 0
    return not (resolved and abs(found.estimate) > math.log1p(LEAST_FLOOR))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Everything one call of `measure` found out.

    Attributes:
        points: one per size and pattern; empty unless the verdict allows figures.
        raw: the same with all blocks, whatever the verdict: for refusals and for analysis.
        effective_cores: one figure per block, from the sentinels.
        foreign_cores: cores that other programs used, one figure per block where it is known, for
            calls of one thread: the sentinels then look for one core, and nearly always get it.
        libraries: versions of what the workload loaded beside the subject, by module.
    """

    verdict: MeasureVerdict
    noise_floor: float | None
    points: tuple[Point, ...]
    raw: tuple[Point, ...]
    notes: tuple[Note, ...]
    loaded: tuple[LoadedModule, ...]
    effective_cores: tuple[float, ...]
    foreign_cores: tuple[float, ...]
    threads: int
    seconds: float
    libraries: Mapping[str, str] = field(default_factory=dict)

    def at(self, size: int, pattern: Pattern = Pattern.HOT) -> Point:
        """The point of a size.

        Raises:
            MachineBusyError: the machine had no room, so there is none.
            UsageError: the size was not measured.
        """
        if self.verdict is MeasureVerdict.BUSY:
            raise self.refusal()
        for point in self.points:
            if point.size == size and point.pattern is pattern:
                return point
        message = f"size {format_count(size)} ({pattern}) was not measured"
        raise UsageError(message)

    def refusal(self) -> MachineBusyError:
        """The error that says that there was no room, with the histogram in place of a figure."""
        if self.foreign_cores:
            details = "cores that other programs used, by block:\n"
            # A whole core at the least: what others used may come out as nothing, or below.
            most = max(*self.foreign_cores, 1.0) * 1.25
            details += sentinels.histogram(self.foreign_cores, most)
        else:
            details = "cores that were free, by block:\n"
            most = float(max(self.threads, 1)) * 1.25
            details += sentinels.histogram(self.effective_cores, most)
        return MachineBusyError(
            "the machine had no room for the measurement",
            details=details,
            remedy="end what else runs here, or wait longer with --patience 120s",
        )


def judge(
    plan: Plan,
    points: Sequence[Point],
    *,
    notes: Sequence[Note],
    loaded: Sequence[LoadedModule],
    seconds: float,
) -> Measurement:
    """Draw the verdict from the blocks: busy, untrusted, unchecked or ok."""
    subject = plan.variants[0].name
    copy = plan.of_role(Role.COPY)
    done = [block for point in points for part in point.sessions for block in part]
    looks = [(block.begin.foreign_cores, block.end.foreign_cores) for block in done]
    foreign = tuple(max(one, two) for one, two in looks if one is not None and two is not None)
    base = Measurement(
        verdict=MeasureVerdict.BUSY,
        noise_floor=None,
        points=(),
        raw=tuple(points),
        notes=tuple(notes),
        loaded=tuple(loaded),
        effective_cores=tuple(block.effective_cores for block in done),
        foreign_cores=foreign if all(block.end.threads == 1 for block in done) else (),
        threads=plan.threads,
        seconds=seconds,
    )
    if not all(point.enough for point in points):
        return base
    notes = (*notes, *_lost_notes(plan, points))
    measured = dataclasses.replace(base, points=tuple(points), notes=notes)
    if copy is None or not plan.gated:
        return dataclasses.replace(measured, verdict=MeasureVerdict.UNCHECKED)
    floor = max(point.noise_floor(subject, copy.name) for point in points)
    differing = [
        point for point in points if not copies_agree(point, subject, copy.name, len(points))
    ]
    extra = tuple(_differs(plan, point, subject, copy.name) for point in differing)
    return dataclasses.replace(
        measured,
        verdict=MeasureVerdict.UNTRUSTED if differing else MeasureVerdict.OK,
        noise_floor=floor,
        notes=(*notes, *extra),
    )


def _lost_notes(plan: Plan, points: Sequence[Point]) -> list[Note]:
    """Sessions that do not count, because the machine had no room for them."""
    return [
        Note(
            id="lost_sessions",
            text=f"the machine had room for {len(point.usable)} of {point.wanted} sets of "
            "processes only; the interval is over those",
            where=f"{plan.workload_name} at {format_count(point.size)} ({point.pattern})",
            remedy="measure again when it is quieter",
        )
        for point in points
        if len(point.usable) < point.wanted
    ]


def _differs(plan: Plan, point: Point, subject: str, copy: str) -> Note:
    found = point.ratio(subject, copy)
    text = (
        f"two processes with the same build differ by {100 * (found.estimate - 1):+.2f} % "
        f"[{100 * (found.low - 1):+.2f}, {100 * (found.high - 1):+.2f}]"
    )
    return Note(
        id="copies_differ",
        text=text,
        where=f"{plan.workload_name} at {format_count(point.size)} ({point.pattern})",
        remedy=f"measure again, or with more than {plan.settings.sessions} sets of processes: "
        "`measure.sessions` in the config",
    )

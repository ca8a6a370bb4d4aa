"""What a measurement found: points (one size in one pattern), ratios, the noise floor, the verdict.

Everything here is computed from blocks, so it can be computed again from the journal. How blocks
come about is in `session.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from perfkit.errors import MachineBusyError, UsageError
from perfkit.measure import sentinels, statistics
from perfkit.records import Interval, MeasureReport, MeasureVerdict, Note, Pattern, Role, SizeResult
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perfkit.measure.blocks import Block
    from perfkit.measure.plan import Plan
    from perfkit.measure.stop import Ended

LEAST_SESSIONS = 3
"""Sessions that must have had room, if at least this many were asked for."""

LEAST_FLOOR = 0.005
"""No effect below half a percent is called a change, whatever the copies say."""


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
    stop: Ended | None
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
        """The same ratio over the blocks that did *not* count, if there are enough of them."""
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
    return replace(
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
    except ValueError:  # too few blocks for this confidence: then all of them have to agree
        values = [d for session in differences for d in session]
        middle = statistics.over_sessions(differences).estimate
        found = Interval(estimate=middle, low=min(values), high=max(values))
    resolved = found.low > 0 or found.high < 0
    return not (resolved and abs(found.estimate) > math.log1p(LEAST_FLOOR))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Everything one call of `measure` found out.

    Attributes:
        report: what is said of it.
        points: one per size and pattern with all blocks, whatever the verdict.
        threads: cores that the measurement needed.
    """

    report: MeasureReport
    points: tuple[Point, ...]
    threads: int

    def at(self, size: int, pattern: Pattern = Pattern.HOT) -> Point:
        """The point of a size.

        Raises:
            MachineBusyError: the machine had no room, so there is none.
            UsageError: the size was not measured.
        """
        if self.report.verdict is MeasureVerdict.BUSY:
            raise self.refusal()
        for point in self.points:
            if point.size == size and point.pattern is pattern:
                return point
        message = f"size {format_count(size)} ({pattern}) was not measured"
        raise UsageError(message)

    def refusal(self) -> MachineBusyError:
        """The error for a machine without room, with a histogram instead of a figure."""
        what, found = "were free", self.report.effective_cores
        # At least a whole core: what others used may come out as nothing, or below.
        most = float(max(self.threads, 1))
        if self.report.foreign_cores:
            what, found = "other programs used", self.report.foreign_cores
            most = max(*found, 1.0)
        return MachineBusyError(
            "the machine had no room for the measurement",
            details=f"cores that {what}, by block:\n{sentinels.histogram(found, most * 1.25)}",
            remedy="stop other programs, or wait longer with --patience 120s",
        )


def judge(plan: Plan, points: Sequence[Point], seen: MeasureReport) -> Measurement:
    """Draw the verdict from the blocks: busy, untrusted, unchecked or ok.

    Args:
        seen: what is known besides the blocks; its verdict and results are replaced.
    """
    subject = plan.variants[0].name
    copy = plan.of_role(Role.COPY)
    done = [block for point in points for part in point.sessions for block in part]
    looks = [(block.begin.foreign_cores, block.end.foreign_cores) for block in done]
    foreign = tuple(max(one, two) for one, two in looks if one is not None and two is not None)
    report = replace(
        seen,
        verdict=MeasureVerdict.BUSY,
        effective_cores=tuple(block.effective_cores for block in done),
        foreign_cores=foreign if all(block.end.threads == 1 for block in done) else (),
    )
    if all(point.enough for point in points):
        notes = [*seen.notes, *_lost_notes(plan, points)]
        verdict, floor = MeasureVerdict.UNCHECKED, None
        if copy is not None and plan.job.gated:
            floor = max(point.noise_floor(subject, copy.name) for point in points)
            differing = [
                point
                for point in points
                if not copies_agree(point, subject, copy.name, len(points))
            ]
            notes += [_differs(plan, point, subject, copy.name) for point in differing]
            verdict = MeasureVerdict.UNTRUSTED if differing else MeasureVerdict.OK
        report = replace(
            report,
            verdict=verdict,
            noise_floor=floor,
            results=tuple(size_result(plan, point, verdict) for point in points),
            notes=tuple(notes),
        )
    return Measurement(report=report, points=tuple(points), threads=plan.job.threads)


def size_result(plan: Plan, point: Point, verdict: MeasureVerdict) -> SizeResult:
    """What is reported of one size in one pattern.

    `met` is a claim, so it is withheld as long as nothing checks the figures.
    """
    subject = plan.variants[0].name
    reference, copy, baseline = (
        plan.of_role(role) for role in (Role.REFERENCE, Role.COPY, Role.BASELINE)
    )
    speedup = point.ratio(subject, reference.name) if reference else None
    target = plan.job.workload.targets.get(point.size)
    judged = verdict is MeasureVerdict.OK
    return SizeResult(
        workload=plan.job.name,
        size=point.size,
        time_s=point.absolute(subject),
        reference_s=point.absolute(reference.name) if reference else None,
        speedup=speedup,
        target=target,
        met=speedup.low >= target if judged and target and speedup else None,
        valid_blocks=sum(len(part) for part in point.usable),
        blocks=point.blocks,
        pattern=point.pattern,
        contended_speedup=point.contended_ratio(subject, reference.name) if reference else None,
        change=point.ratio(subject, baseline.name) if baseline else None,
        baseline_s=point.absolute(baseline.name) if baseline else None,
        against_workload=baseline.workload if baseline else None,
        noise_floor=point.noise_floor(subject, copy.name) if copy and plan.job.gated else None,
    )


def _lost_notes(plan: Plan, points: Sequence[Point]) -> Iterator[Note]:
    """Sessions that do not count, because the machine had no room for them."""
    for point in points:
        if len(point.usable) < point.wanted:
            text = f"the machine had room for only {len(point.usable)} of {point.wanted} sets of "
            text += "processes; the interval covers only those"
            place = plan.place(point.size, point.pattern)
            remedy = "measure again when the machine is quieter"
            yield Note(id="lost_sessions", text=text, place=place, remedy=remedy)


def _differs(plan: Plan, point: Point, subject: str, copy: str) -> Note:
    found = point.ratio(subject, copy)
    text = (
        f"two processes with the same build differ by {100 * (found.estimate - 1):+.2f} % "
        f"[{100 * (found.low - 1):+.2f}, {100 * (found.high - 1):+.2f}]"
    )
    remedy = f"measure again, or set `measure.sessions` to more than {plan.settings.sessions}"
    place = plan.place(point.size, point.pattern)
    return Note(id="copies_differ", text=text, place=place, remedy=remedy)

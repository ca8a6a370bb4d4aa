"""The loop that measures: blocks in turn over all sizes, until each is exact enough, out of time,
or the machine has no room. Every decision is a rule of another module; this one keeps the order.
"""

from __future__ import annotations

import math
import os
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from perfkit.errors import WorkloadError
from perfkit.measure import blocks, lab, remarks, results, statistics
from perfkit.measure.plan import Arm, Plan
from perfkit.measure.sentinels import Gate, Usual
from perfkit.measure.stop import Ended, Looks, Patience, Room
from perfkit.records import MeasureReport, MeasureVerdict, Note, Pattern, Place
from perfkit.store import to_json
from perfkit.units import format_count, format_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.measure.blocks import Block, Lab, Pace
    from perfkit.measure.plan import Variant
    from perfkit.measure.results import Measurement, Point
    from perfkit.measure.sentinels import Look
    from perfkit.subject.child import Calibration
    from perfkit.subject.job import Job, Progress

JOURNAL = "raw/blocks.jsonl"
JOURNAL_EVERY_S = 1.0
"""Blocks are written this often, not after each: a synced write is time the machine is not ours."""


@dataclass(slots=True, kw_only=True)
class _State:
    """One size in one pattern while it is measured."""

    pace: Pace
    looks: Looks
    done: list[Block] = field(default_factory=list)
    spent_s: float = 0.0
    stop: Ended | None = None

    @property
    def valid(self) -> int:
        return sum(block.valid for block in self.done)

    def point(self) -> Point:
        return results.Point(
            size=self.pace.size,
            pattern=self.pace.pattern,
            sessions=(tuple(self.done),),
            stop=self.stop,
            least=self.looks.first,
        )


@dataclass(slots=True, kw_only=True)
class Machine:
    """What all sessions of a measurement know together about the machine they run on.

    Attributes:
        cores: the cores a round may begin on; empty: nothing is moved.
        room: whether it had room lately.
        usual: what perfkit's own work takes on it.
        patience: for how long it is still left alone when it has no room.
    """

    gate: Gate
    cores: Sequence[int]
    patience: Patience
    room: Room = field(default_factory=lambda: Room(recent=[]))
    usual: Usual = field(default_factory=Usual)

    def reason_against(self, block: Block, plan: Plan, pace: Pace) -> str:
        """Why a block does not count, or nothing; its last look adds to what is usual."""
        usual_s = self.usual.see(block.end)
        if not plan.job.gated:
            return ""
        return self.gate.reason_against((block.begin, block.end), usual_s, parallel=pace.parallel)

    def has_room(self, hands: Lab, progress: Progress, *, ended: bool) -> bool:
        """Wait while it has no room and patience lasts; false when there is neither.

        Args:
            ended: whether a session is over: then its blocks say enough, however few they are.
        """
        if not self.room.lacking(ended=ended):
            return True
        pause = self.patience.pause()
        if pause is None:
            return False
        progress(f"the machine is busy; waiting {pause:g} s", None)
        hands.rest(pause)
        self.room.forget()
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionResult:
    """The blocks of one set of processes, by size and pattern; `busy` when it was given up."""

    points: tuple[Point, ...]
    busy: bool


class BlockLog:
    """Raw blocks, appended to the run about once a second."""

    def __init__(self, plan: Plan) -> None:
        self._run = plan.job.run
        self._workload = plan.job.name
        self._waiting: list[Block] = []
        self._last = -math.inf

    def add(self, block: Block, now: float) -> None:
        """Take one block, and write when it is time."""
        self._waiting.append(block)
        if now - self._last >= JOURNAL_EVERY_S:
            self.flush()
            self._last = now

    def flush(self) -> None:
        """Write what waits."""
        for block in self._waiting:
            known = {"valid": block.valid, "effective_cores": block.effective_cores}
            self._run.append(JOURNAL, {"workload": self._workload, **to_json(block), **known})
        self._waiting.clear()


def run_session(
    plan: Plan,
    hands: Lab,
    paces: Sequence[Pace],
    machine: Machine,
    *,
    session: int,
    journal: BlockLog,
) -> SessionResult:
    """Measure all sizes with one set of processes.

    Args:
        hands: what touches the world.
        machine: shared by all sessions of a run.

    Raises:
        WorkloadError: a size is too slow for its time limit.
    """
    chance = random.Random(f"{plan.job.seed}/{session}")
    progress = plan.job.progress
    states = [_state(plan, pace) for pace in paces]
    last: Look | None = None
    busy = False
    while not busy and (turn := [state for state in states if state.stop is None]):
        chance.shuffle(turn)
        for state in turn:
            if last is None:
                last = hands.look()
                machine.usual.see(last)
            begin_s = hands.now()
            pace = state.pace
            arms = [
                Arm(variant=variant.name, size=pace.size, pattern=pace.pattern)
                for variant in plan.variants
            ]
            block = blocks.run_block(
                hands, arms, pace, chance, machine.cores, last, len(state.done)
            )
            last = block.end
            reason = machine.reason_against(block, plan, pace)
            block = replace(block, session=session, reason=reason)
            now = hands.now()
            state.done.append(block)
            state.spent_s += now - begin_s
            journal.add(block, now)
            machine.room.see(now, block.valid)
            _decide(plan, state)
            progress(*_told(plan, states, state, session))
            pauses = machine.patience.pauses
            if not machine.has_room(hands, progress, ended=False):
                busy = True
                break
            if machine.patience.pauses > pauses:
                last = None
    journal.flush()
    busy = busy or not machine.has_room(hands, progress, ended=True)
    return SessionResult(points=tuple(state.point() for state in states), busy=busy)


def _state(plan: Plan, pace: Pace) -> _State:
    """The share of one session in a size's budget of time and blocks."""
    settings, count = plan.settings, plan.settings.sessions
    block_s = pace.round_s * pace.rounds
    fit = int(settings.time_limit_s / max(block_s, 1e-9))
    if fit < statistics.LEAST_VALUES:
        needed = statistics.LEAST_VALUES * pace.round_s
        message = (
            f"one round of calls takes {format_seconds(pace.round_s)}: too slow for the time limit "
            f"of {format_seconds(settings.time_limit_s)} per size"
        )
        where = f"workload `{plan.job.name}` at size {format_count(pace.size)}"
        remedy = f"give it at least {format_seconds(needed)}, or choose smaller sizes"
        raise WorkloadError(message, where=where, remedy=remedy)
    wanted = max(statistics.LEAST_VALUES, min(settings.min_blocks, fit))
    least = math.ceil(wanted / count)
    return _State(
        pace=pace,
        looks=Looks(
            first=least,
            most=max(math.ceil(settings.max_blocks / count), least),
            time_limit_s=settings.time_limit_s / count,
            width=settings.width * math.sqrt(count),
            patience_s=settings.patience_s / count,
        ),
    )


def _decide(plan: Plan, state: _State) -> None:
    valid = state.valid
    widest = None
    if state.looks.due(valid):
        first, *others = (variant.name for variant in plan.variants)
        widest = state.point().widest(first, others)
    state.stop = state.looks.decide(
        valid=valid, blocks=len(state.done), spent_s=state.spent_s, widest=widest
    )


def _told(plan: Plan, states: Sequence[_State], state: _State, session: int) -> tuple[str, float]:
    """The live line: where it stands, and at most how much of the time is used up."""
    shares = [1.0 if one.stop else min(one.spent_s / one.looks.time_limit_s, 1.0) for one in states]
    size = format_count(state.pace.size)
    text = f"{plan.job.name} {size}: {state.valid} of {len(state.done)} blocks count"
    count = plan.settings.sessions
    return text, (session % count + sum(shares) / len(shares)) / count


def measure(
    job: Job,
    sizes: Sequence[int],
    variants: Sequence[Variant],
    patterns: Sequence[Pattern] = (Pattern.HOT,),
) -> Measurement:
    """Measure variants of a job's workload in the same blocks; see `measure_plan`."""
    return measure_plan(
        Plan(job=job, sizes=tuple(sizes), variants=tuple(variants), patterns=tuple(patterns))
    )


def measure_plan(plan: Plan) -> Measurement:
    """Measure everything in a plan, in `settings.sessions` sets of fresh processes.

    A run whose copies of one build differ is repeated once in fresh processes; when they differ
    again, it is untrusted.

    Raises:
        WorkloadError: the workload raised, is too slow, or its inputs are not reproducible.
        WorkerError: a process died.
    """
    measured = _attempt(plan, 0)
    if measured.report.verdict is MeasureVerdict.UNTRUSTED:
        again = _attempt(plan, plan.settings.sessions)
        if again.report.verdict is not MeasureVerdict.BUSY:
            text = (
                "two processes with the same build differed, so perfkit measured everything again "
            )
            text += "in fresh ones; the figures are from the second time"
            repeated = Note(id="measured_twice", text=text, place=Place(workload=plan.job.name))
            report = replace(again.report, notes=(repeated, *again.report.notes))
            return replace(again, report=report)
    return measured


def _attempt(plan: Plan, first_session: int) -> Measurement:
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    machine = Machine(
        gate=Gate(threads=plan.job.threads, cores=len(available) or (os.cpu_count() or 1)),
        cores=available if len(available) > 1 else [],
        patience=Patience(limit_s=plan.settings.patience_s),
    )
    journal = BlockLog(plan)
    found: dict[tuple[int, Pattern], list[Point]] = {}
    noticed: dict[Note, None] = {}
    grown: dict[str, tuple[int, int]] = {}
    known: dict[Arm, Calibration] = {}
    seen = MeasureReport(verdict=MeasureVerdict.BUSY, noise_floor=None, results=())
    with lab.open_watch(plan) as watch:
        loop_s = watch.watchman.loop_overhead()
        for session in range(first_session, first_session + plan.settings.sessions):
            with lab.open_lab(plan, session, watch, known) as hands:
                memory = hands.memory()
                begin = hands.now()
                try:
                    result = run_session(
                        plan, hands, hands.paces, machine, session=session, journal=journal
                    )
                finally:
                    journal.flush()
                seconds = seen.seconds + hands.now() - begin
                _compare_memory(grown, memory, hands.memory())
                seen = replace(
                    seen, seconds=seconds, loaded=hands.loaded(), libraries=hands.libraries()
                )
            for point in result.points:
                found.setdefault((point.size, point.pattern), []).append(point)
            told = remarks.overhead(plan, loop_s, hands.paces)
            noticed.update(dict.fromkeys((*told, *remarks.long_rounds(plan, hands.paces))))
            if result.busy:
                break
    points = tuple(results.joined(parts, plan.settings.sessions) for parts in found.values())
    notes = (
        *noticed,
        *remarks.growth(plan, grown),
        *remarks.reference_threads(plan, points),
        *remarks.drifts(plan, points),
    )
    return results.judge(plan, points, replace(seen, notes=notes))


def _compare_memory(
    grown: dict[str, tuple[int, int]], before: Mapping[str, int], after: Mapping[str, int]
) -> None:
    """Keep what each variant's process grew by where it grew most, in bytes before and after."""
    for name, now in after.items():
        sizes = grown.get(name, (0, 0)), (before[name], now)
        grown[name] = max(sizes, key=lambda size: size[1] - size[0])

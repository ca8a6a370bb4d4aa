"""Recorded tuning runs in short form, and the loop around them with a clock that tests own."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from tune_replay import ReplayEvaluator

from perfkit.config import Kind, Parameter, Tune
from perfkit.records import (
    Interval,
    ParameterProof,
    Proof,
    SizeResult,
    Trial,
    TrialOutcome,
    TuneHeader,
    TuneReport,
    Value,
)
from perfkit.store import Run
from perfkit.tune.log import Journal
from perfkit.tune.loop import Loop, Settings, World
from perfkit.tune.search import GridSearch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

TARGETS = {10_000: 0.9, 100_000: 1.0, 1_000_000: 1.2}
START_SPEEDUP = {10_000: 0.61, 100_000: 0.995, 1_000_000: 1.38}
START: dict[str, Value] = {"SMALL": 30_000, "MEDIUM": 200_000, "CHUNK": 1_024}

PARAMETERS = {
    "SMALL": Parameter(kind=Kind.THRESHOLD, priority=1, first_step=8_000, sizes=(10_000,)),
    "MEDIUM": Parameter(
        kind=Kind.THRESHOLD, priority=2, first_step=150_000, sizes=(100_000, 1_000_000)
    ),
    "CHUNK": Parameter(kind=Kind.GRAIN, priority=3, first_step=512),
}

LIMITS = Tune(max_iterations=10, stagnation_iterations=3, stagnation_gain=0.01)
MAIN_SIZE = 10_000


def around(estimate: float, half: float = 0.005) -> Interval:
    """An interval of half a per cent to either side."""
    return Interval(estimate=estimate, low=estimate * (1 - half), high=estimate * (1 + half))


def sizes(
    change: Mapping[int, float], targets: Mapping[int, float] | None = None, half: float = 0.005
) -> tuple[SizeResult, ...]:
    """Changes against the start as a trial has them, speed-ups following from the start's."""
    wanted = TARGETS if targets is None else targets
    return tuple(
        SizeResult(
            workload="price",
            size=size,
            reference_s=None,
            met=None,
            valid_blocks=38,
            blocks=40,
            speedup=around(START_SPEEDUP[size] * factor, half),
            change=around(factor, half),
            target=wanted.get(size),
            time_s=around(size * 1e-8 / factor, half),
        )
        for size, factor in change.items()
    )


def row(
    params: Mapping[str, Value],
    change: Mapping[int, float] | float | None = None,
    *,
    outcome: TrialOutcome = TrialOutcome.OK,
    reason: str = "",
    code: str = "",
    targets: Mapping[int, float] | None = None,
    half: float = 0.005,
    dead: Sequence[str] = (),
) -> Trial:
    """One recorded trial: what differs from the start, and its change at each size."""
    whole = {**START, **params}
    if isinstance(change, float):
        change = dict.fromkeys(TARGETS, change)
    text = code or "/".join(str(value) for value in whole.values())
    return Trial(
        iteration=0,
        params=whole,
        outcome=outcome,
        sizes=sizes(change, targets, half) if change else (),
        proofs=tuple(
            ParameterProof(
                name=name, value=value, proof=Proof.DEAD if name in dead else Proof.GETTER
            )
            for name, value in whole.items()
        ),
        build_s=10.0,
        bench_s=4.0,
        text_hash=text,
        timestamp="",
        reason=reason,
        signature=text,
    )


def numbered(rows: Sequence[Trial]) -> list[Trial]:
    """Rows with their place in the table as iteration."""
    return [dataclasses.replace(trial, iteration=place) for place, trial in enumerate(rows)]


class Clock:
    """Seconds that pass only when the loop asks: `step` each time."""

    def __init__(self, step: float = 1.0) -> None:
        self.seconds = 0.0
        self.step = step

    def __call__(self) -> float:
        self.seconds += self.step
        return self.seconds


@dataclasses.dataclass(kw_only=True)
class Bench:
    """Everything a test looks at afterwards."""

    evaluator: ReplayEvaluator
    loop: Loop
    journal: Journal
    run: Run
    told: list[str]


def bench(
    directory: Path,
    rows: Sequence[Trial],
    *,
    base_grid: Mapping[str, Sequence[Value]] | None = None,
    extended_grid: Mapping[str, Sequence[Value]] | None = None,
    parameters: Mapping[str, Parameter] | None = None,
    limits: Tune = LIMITS,
    confirmations: Mapping[str, Sequence[SizeResult]] | None = None,
    noise_floor: float | None = 0.004,
    time_limit_s: float | None = None,
    profile_every: int = 0,
    clock: Callable[[], float] | None = None,
    begin: bool = True,
) -> Bench:
    """A loop around a recorded table."""
    evaluator = ReplayEvaluator(
        numbered(rows), confirmations=confirmations, noise_floor=noise_floor
    )
    run = Run(directory=directory)
    journal = Journal(run, lambda params: "-".join(f"{k}{v}" for k, v in params.items()) or "start")
    if begin:
        journal.begin(TuneHeader(workload="price", key={"sources": "abc"}, start=START))
    told: list[str] = []
    loop = Loop(
        evaluator=evaluator,
        strategy=GridSearch(
            start=START,
            parameters=PARAMETERS if parameters is None else parameters,
            base_grid=base_grid or {},
            extended_grid=extended_grid or {},
        ),
        journal=journal,
        settings=Settings(
            workload="price",
            start=START,
            main_size=MAIN_SIZE,
            limits=limits.model_copy(
                update={"time_limit_s": time_limit_s, "profile_every": profile_every}
            ),
        ),
        world=World(
            clock=clock or Clock(),
            now=lambda: "2030-01-02T03:04:05+00:00",
            progress=lambda text, _: told.append(text),
        ),
    )
    return Bench(evaluator=evaluator, loop=loop, journal=journal, run=run, told=told)


def steps(report: TuneReport) -> list[tuple[str, str, dict[str, Value]]]:
    """What was tried, in order: stage, outcome, and what differed from the start."""
    return [
        (
            trial.stage,
            trial.outcome.value,
            {name: value for name, value in trial.params.items() if START[name] != value},
        )
        for trial in report.trials
    ]

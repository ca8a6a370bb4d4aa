"""A laboratory without a world: a clock that moves when work is done, and a machine that is free or
not as a test says.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfkit.config import Measure, Workload
from perfkit.measure.plan import Arm, Plan, Variant
from perfkit.measure.sentinels import Look
from perfkit.records import Role
from perfkit.store import Run
from perfkit.subject.child import Calibration, Timing, WorkerSpec
from perfkit.subject.job import Job, quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from perfkit.subject.job import Progress

ONE_S = 2e-3

ROLES = {
    "subject": Role.SUBJECT,
    "copy": Role.COPY,
    "reference": Role.REFERENCE,
    "baseline": Role.BASELINE,
}


@dataclass
class FakeLab:
    """Times by a formula.

    Attributes:
        cost_s: seconds per call by variant.
        free: whether the machine has room, by the clock.
        noise: spread of each batch's log time; and of the machine, common to a whole block.
        log: (variant, calls, untimed, cpu, clock) of each batch.
    """

    cost_s: Mapping[str, float]
    free: Callable[[float], bool] = lambda _now: True
    noise: float = 0.0
    swing: float = 0.0
    leak: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    clock: float = 0.0
    rests: list[float] = field(default_factory=list)
    log: list[tuple[str, int, int, int | None, float]] = field(default_factory=list)
    firsts: list[tuple[str, int]] = field(default_factory=list)
    looks: int = 0
    threads: int = 2

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.machine = 0.0
        self.batches: dict[str, int] = {}

    def time(self, arm: Arm, calls: int, *, untimed: int, cpu: int | None, first: int) -> Timing:
        self.firsts.append((arm.variant, first))
        self.log.append((arm.variant, calls, untimed, cpu, self.clock))
        count = self.batches.get(arm.variant, 0)
        self.batches[arm.variant] = count + 1
        drift = self.leak.get(arm.variant, 0.0) * count
        log = self.machine + self.chance.gauss(0, self.noise) + drift
        seconds = calls * self.cost_s[arm.variant] * math.exp(log)
        self.clock += seconds + untimed * self.cost_s[arm.variant]
        return Timing(seconds=seconds, calls=calls, cpu_s=seconds, own_s=seconds)

    def look(self) -> Look:
        self.looks += 1
        self.machine = self.chance.gauss(0, self.swing)
        self.clock += 3 * ONE_S
        free = self.free(self.clock)
        return Look(
            one_s=ONE_S,
            all_s=ONE_S if free else 2 * ONE_S,
            threads=self.threads,
            foreign_cores=0.0 if free else 1.0,
        )

    def now(self) -> float:
        return self.clock

    def rest(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.clock += seconds


def calibrated(
    calls: Mapping[str, int], per_call_s: Mapping[str, float], *, helpers: float = 0.0
) -> dict[str, Calibration]:
    """Every arm as if it had been calibrated."""
    return {
        name: Calibration(calls=calls[name], per_call_s=seconds, helpers=helpers)
        for name, seconds in per_call_s.items()
    }


class Nowhere(Run):
    """A run that keeps nothing."""

    def append(self, name: str | Path, value: object) -> None:
        """See `Run`."""


def make_job(name: str, workload: Workload, **fields: Any) -> Job:  # noqa: ANN401
    """A job without a project: what is measured is made up, or needs no build."""
    made_up: dict[str, Any] = {
        "project": None,
        "builder": None,
        "build": None,
        "run": Nowhere(directory=Path()),
        "seed": 0,
    }
    return Job(name=name, workload=workload, **{**made_up, **fields})


def make_plan(
    *names: str, sizes: tuple[int, ...] = (100,), progress: Progress = quiet, **settings: float
) -> Plan:
    """A plan over named variants, the first one the subject."""
    nothing = WorkerSpec(python=Path("python"), environment={}, cwd=Path())
    chosen = Measure().model_copy(update={"sessions": 1, **settings})
    workload = Workload(
        call="m:f", setup="m:s", reference="m:r", sizes=sizes, targets={sizes[0]: 2.0}
    )
    return Plan(
        job=make_job("work", workload, threads=2, settings=chosen, progress=progress),
        sizes=sizes,
        variants=tuple(Variant(name=name, role=ROLES[name], spec=nothing) for name in names),
    )

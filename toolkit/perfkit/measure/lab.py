"""The real laboratory: one worker process per variant, one for the sentinels, and their pace.

Policies (order, validity, stopping) are in the modules that need no process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit import environment
from perfkit.errors import WorkloadError
from perfkit.measure import blocks, sentinels
from perfkit.measure.plan import BATCH_S, Arm
from perfkit.subject.child import Worker, WorkerSpec, worker
from perfkit.subject.workloads import data_sets_for
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perfkit.measure.blocks import Pace
    from perfkit.measure.plan import Plan, Variant
    from perfkit.measure.sentinels import Look
    from perfkit.records import LoadedModule, Pattern
    from perfkit.subject.child import Calibration, Timing

WARM_S = 0.1
WARM_AGAIN_S = 0.02
"""Warm-up of each arm in the first session, and in later ones, whose pace is known."""

_PADDING = "PERFKIT_PADDING"
_TIMEOUT_FACTOR = 20.0
_LEAST_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What looks at the machine for all sessions: the sentinels' process and the foreign load."""

    watchman: Worker
    foreign: sentinels.ForeignLoad


class WorkerLab:
    """A set of fresh processes, one for each variant, that times arms by asking them.

    Attributes:
        threads: that the sentinels look with.
        paces: of every size and pattern, when they are known.
    """

    def __init__(self, plan: Plan, running: Sequence[tuple[Variant, Worker]], watch: Watch) -> None:
        self._plan = plan
        self._running = running
        self._workers = {variant.name: one for variant, one in running}
        self._watch = watch
        self._ids: dict[Arm, str] = {}
        self._expected: dict[Arm, float] = {}
        self.threads = plan.job.threads
        self.paces: tuple[Pace, ...] = ()

    def time(self, arm: Arm, calls: int, *, untimed: int, cpu: int | None, first: int) -> Timing:
        """One batch in the arm's worker."""
        known = self._expected.get(arm, 0.0) * (calls + untimed)
        timing = self._workers[arm.variant].time(
            self._ids[arm],
            calls,
            pattern=arm.pattern,
            untimed=untimed,
            cpu=cpu,
            first=first,
            timeout_s=max(_LEAST_TIMEOUT_S, _TIMEOUT_FACTOR * known),
        )
        self._expected[arm] = timing.per_call_s
        return timing

    def look(self) -> Look:
        """Run the sentinels in their own worker."""
        one_s, all_s = self._watch.watchman.sentinels(self.threads)
        foreign = self._watch.foreign.cores()
        return sentinels.Look(one_s=one_s, all_s=all_s, threads=self.threads, foreign_cores=foreign)

    def now(self) -> float:
        """The monotonic clock."""
        return time.perf_counter()

    def rest(self, seconds: float) -> None:
        """Leave the machine alone."""
        time.sleep(seconds)

    def memory(self) -> dict[str, int]:
        """Resident bytes by variant."""
        return {name: one.memory_bytes() for name, one in self._workers.items()}

    def loaded(self) -> tuple[LoadedModule, ...]:
        """What each variant's process says that it loaded."""
        return tuple(self._workers[variant.name].loaded for variant in self._plan.variants)

    def libraries(self) -> dict[str, str]:
        """Versions of what the variants loaded besides the subject."""
        return {
            library: version
            for one in self._workers.values()
            for library, version in one.libraries().items()
        }

    def prepare(self, size: int, seed: int) -> None:
        """Make the inputs of one size.

        Raises:
            WorkloadError: the variants were given different ones.
        """
        plan, inputs = self._plan, set()
        count = data_sets_for(size, plan.settings.data_sets)
        for variant, one in self._running:
            whose, workload = plan.work_of(variant)
            which = variant.which
            arm = one.prepare(workload, size, which=which, seed=seed, data_sets=count, name=whose)
            inputs.add(one.inputs[arm])
            for pattern in plan.patterns:
                self._ids[Arm(variant=variant.name, size=size, pattern=pattern)] = arm
        if len(inputs - {None}) > 1:
            message = f"`{plan.job.workload.setup}` gave different inputs in different processes"
            where = f"workload `{plan.job.name}` at size {format_count(size)}"
            remedy = "make what setup(n, seed) returns depend on n and seed alone"
            raise WorkloadError(message, where=where, remedy=remedy)

    def pace(self, size: int, pattern: Pattern, known: dict[Arm, Calibration]) -> Pace:
        """Find the calls per batch of each variant at one size."""
        settings = self._plan.settings
        calibrated: dict[str, Calibration] = {}
        for name, one in self._workers.items():
            self._plan.job.tell(f"calibrating {name} at {format_count(size)}")
            key = Arm(variant=name, size=size, pattern=pattern)
            warm_s = WARM_AGAIN_S if key in known else WARM_S
            arm = self._ids[key]
            one.calibrate(arm, batch_s=BATCH_S, warm_s=warm_s, limit_s=settings.time_limit_s)
            calibrated[name] = known.setdefault(key, one.calibrated[arm])
        count = data_sets_for(size, settings.data_sets)
        return blocks.pace(size, pattern, calibrated, data_sets=count)


@contextlib.contextmanager
def open_watch(plan: Plan) -> Iterator[Watch]:
    """Start the sentinels' process: one for all sessions, so that they share its calibration."""
    with worker(_watchman_spec(plan)) as watchman:
        yield Watch(watchman=watchman, foreign=sentinels.ForeignLoad([os.getpid(), watchman.pid]))


@contextlib.contextmanager
def open_lab(
    plan: Plan, session: int, watch: Watch, known: dict[Arm, Calibration]
) -> Iterator[WorkerLab]:
    """Start fresh processes for a session, make their inputs and find their pace.

    Args:
        known: the paces of an earlier session, which this one then takes over after a short
            warm-up; filled by the first one. Every session has the same batches that way.

    Raises:
        WorkloadError: a call is too slow for the time limit, or inputs are not reproducible.
        SubjectMismatchError: a worker loaded another build than the one it was given.
    """
    seed = plan.job.seed + 1_000 * session
    # The first one gets other memory than the last one, so each session shuffles them.
    variants = list(plan.variants)
    random.Random(f"{plan.job.seed}/{session}/start").shuffle(variants)
    padding = "x" * ((session * 1_361) % 4_096)  # moves the stack by another amount each session
    with contextlib.ExitStack() as stack:
        plan.job.tell(f"{plan.job.name}: starting fresh processes")
        specs = [
            dataclasses.replace(
                variant.spec, environment={**variant.spec.environment, _PADDING: padding}
            )
            for variant in variants
        ]
        started = _start(stack, specs)
        stack.enter_context(watch.foreign.ours([one.pid for one in started]))
        lab = WorkerLab(plan, list(zip(variants, started, strict=True)), watch)
        for size in plan.sizes:
            lab.prepare(size, seed)
        lab.paces = tuple(
            lab.pace(size, pattern, known) for size in plan.sizes for pattern in plan.patterns
        )
        if not any(pace.parallel for pace in lab.paces):
            lab.threads = 1  # nothing needs the others, and waking them takes time
        while watch.foreign.cores() is None and sentinels.processor_seconds() is not None:
            lab.look()  # until half a second is known about other programs
        yield lab


def _start(stack: contextlib.ExitStack, specs: Sequence[WorkerSpec]) -> list[Worker]:
    """Start all workers at once: nothing is timed yet, and interpreters take their time.

    When one fails, the others are ended and its error is raised.
    """
    managers = [worker(spec) for spec in specs]
    with ThreadPoolExecutor(len(managers)) as pool:
        waiting = [pool.submit(manager.__enter__) for manager in managers]
        wait(waiting)
    for manager, entered in zip(managers, waiting, strict=True):
        if entered.exception() is None:
            stack.push(manager.__exit__)
    return [entered.result() for entered in waiting]


def _watchman_spec(plan: Plan) -> WorkerSpec:
    """perfkit's own work in perfkit's own interpreter."""
    first = plan.variants[0].spec
    plain = environment.base_environment(first.environment, extra={})
    return WorkerSpec(python=Path(sys.executable), environment=plain, cwd=first.cwd)

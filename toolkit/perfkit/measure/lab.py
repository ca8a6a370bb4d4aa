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
from perfkit.measure import blocks, remarks, sentinels
from perfkit.measure.plan import BATCH_S, Arm
from perfkit.subject.child import Worker, WorkerSpec, worker
from perfkit.subject.workloads import data_sets_for
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from perfkit.measure.blocks import Pace
    from perfkit.measure.plan import Plan
    from perfkit.measure.sentinels import Look
    from perfkit.records import LoadedModule, Note, Pattern
    from perfkit.subject.child import Calibration, Timing

WARM_S = 0.1
WARM_AGAIN_S = 0.02
"""Warm-up of each arm in the first session, and in later ones, whose pace is known."""

_PADDING = "PERFKIT_PADDING"
_TIMEOUT_FACTOR = 20.0
_LEAST_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A set of fresh processes, ready to be timed."""

    lab: WorkerLab
    paces: tuple[Pace, ...]
    loaded: tuple[LoadedModule, ...]
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What looks at the machine for all sessions: the sentinels' process and the foreign load."""

    watchman: Worker
    foreign: sentinels.ForeignLoad


class WorkerLab:
    """Times arms by asking their workers."""

    def __init__(
        self, workers: Mapping[str, Worker], watch: Watch, threads: int, ids: Mapping[Arm, str]
    ) -> None:
        self._workers = workers
        self._watch = watch
        self.threads = threads
        self._ids = ids
        self._expected: dict[Arm, float] = {}

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

    def libraries(self) -> dict[str, str]:
        """Versions of what the variants loaded beside the subject."""
        return {
            library: version
            for one in self._workers.values()
            for library, version in one.libraries().items()
        }


@contextlib.contextmanager
def open_watch(plan: Plan) -> Iterator[Watch]:
    """Start the sentinels' process: one for all sessions, so that they share its calibration."""
    with worker(_watchman_spec(plan)) as watchman:
        yield Watch(watchman=watchman, foreign=sentinels.ForeignLoad([os.getpid(), watchman.pid]))


@contextlib.contextmanager
def open_lab(
    plan: Plan, session: int, watch: Watch, known: dict[Arm, Calibration]
) -> Iterator[Opened]:
    """Start fresh processes for a session, make their inputs and find their pace.

    Args:
        known: the paces of an earlier session, which this one then takes over after a short
            warm-up; filled by the first one. Every session has the same batches that way.

    Raises:
        WorkloadError: a call is too slow for the time limit, or inputs are not reproducible.
        SubjectMismatchError: a worker loaded another build than the one it was given.
    """
    seed = plan.job.seed + 1_000 * session
    # Who comes first gets other memory than who comes last: in each session by lot.
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
        workers = {variant.name: one for variant, one in zip(variants, started, strict=True)}
        ids: dict[Arm, str] = {}
        for size in plan.sizes:
            prepared = _prepare(plan, workers, size, seed)
            ids.update(
                {
                    Arm(variant=n, size=size, pattern=p): arm
                    for n, arm in prepared.items()
                    for p in plan.patterns
                }
            )
        lab = WorkerLab(workers, watch, plan.job.threads, ids)
        paces = tuple(
            _pace(plan, workers, ids, size, pattern, known)
            for size in plan.sizes
            for pattern in plan.patterns
        )
        if not any(pace.parallel for pace in paces):
            lab.threads = 1  # nobody needs the others, and waking them takes time
        while watch.foreign.cores() is None and sentinels.processor_seconds() is not None:
            lab.look()  # until half a second is known about other programs
        yield Opened(
            lab=lab,
            paces=paces,
            loaded=tuple(workers[variant.name].loaded for variant in plan.variants),
            notes=tuple(remarks.overhead(plan, watch.watchman.loop_overhead(), paces)),
        )


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
    return WorkerSpec(
        python=Path(sys.executable),
        root=None,
        module=None,
        expected_sha256=None,
        environment=plain,
        cwd=first.cwd,
    )


def _prepare(plan: Plan, workers: Mapping[str, Worker], size: int, seed: int) -> dict[str, str]:
    """The arms of one size; all variants must have been given the same inputs."""
    count = data_sets_for(size, plan.settings.data_sets)
    by_name = {variant.name: variant for variant in plan.variants}
    arms, inputs = {}, {}
    for name, one in workers.items():
        whose, workload = plan.work_of(by_name[name])
        which = by_name[name].which
        arm = one.prepare(workload, size, which=which, seed=seed, data_sets=count, name=whose)
        arms[name] = arm
        inputs[name] = one.inputs[arm]
    known = {digest for digest in inputs.values() if digest is not None}
    if len(known) > 1:
        message = f"`{plan.job.workload.setup}` gave different inputs in different processes"
        raise WorkloadError(
            message,
            where=f"workload `{plan.job.name}` at size {format_count(size)}",
            remedy="make what setup(n, seed) returns depend on n and seed alone",
        )
    return arms


def _pace(
    plan: Plan,
    workers: Mapping[str, Worker],
    ids: Mapping[Arm, str],
    size: int,
    pattern: Pattern,
    known: dict[Arm, Calibration],
) -> Pace:
    """Calls per batch of each variant at one size."""
    limit_s = plan.settings.time_limit_s
    calls, per_call, helpers = {}, {}, 0.0
    for name, one in workers.items():
        plan.job.tell(f"calibrating {name} at {format_count(size)}")
        key = Arm(variant=name, size=size, pattern=pattern)
        warm_s = WARM_AGAIN_S if key in known else WARM_S
        one.calibrate(ids[key], batch_s=BATCH_S, warm_s=warm_s, limit_s=limit_s)
        found = known.setdefault(key, one.calibrated[ids[key]])
        calls[name] = found.calls
        per_call[name] = found.per_call_s
        helpers = max(helpers, found.helpers)
    return blocks.pace(
        size,
        pattern,
        calls,
        per_call,
        helpers=helpers,
        data_sets=data_sets_for(size, plan.settings.data_sets),
    )

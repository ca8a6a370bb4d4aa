"""Profilers that cannot be switched off: one process under the profiler and two without, run in
turn. The two bare ones say how much two processes of the same build differ anyway; the interval of
the slowdown is widened by it.
"""

from __future__ import annotations

import math
import statistics
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.profile import observer
from perfkit.records import Interval
from perfkit.subject.child import worker
from perfkit.subject.workloads import data_sets_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.profile.request import CaptureRequest
    from perfkit.subject.child import LoopResult, Worker, WorkerSpec

WINDOW_S = 0.04
CALLS = 3  # per window, at the least
BATCH_S = 5e-3
"""Calls between two looks at the clock: the loop's own bookkeeping is then out of sight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """What the three processes did; the region is the profiled one's."""

    slowdown: Interval | None
    process_effect: float
    region_s: float
    calls: int
    cpu_s: float
    main_tid: int
    pid: int
    threads: int


class Arm:
    """A worker with its prepared arm and the calls of one window."""

    def __init__(self, running: Worker, request: CaptureRequest) -> None:
        self.running = running
        sets = data_sets_for(request.size, request.project.config.measure.data_sets)
        self.arm = running.prepare(
            request.workload,
            request.size,
            which="call",
            seed=request.seed,
            data_sets=sets,
            name=request.name,
        )
        running.calibrate(self.arm, batch_s=BATCH_S)

    @property
    def per_call_s(self) -> float:
        """Seconds per call as calibrated."""
        return self.running.calibrated[self.arm].per_call_s

    def loop(self, seconds: float) -> LoopResult:
        """One window."""
        return self.running.loop(self.arm, seconds)


@contextmanager
def bare_arms(request: CaptureRequest, spec: WorkerSpec) -> Iterator[tuple[Arm, Arm]]:
    """Two processes without a profiler."""
    with ExitStack() as stack:
        first, second = (stack.enter_context(worker(spec)) for _ in range(2))
        yield Arm(first, request), Arm(second, request)


def run_windows(
    profiled: Arm, bare: tuple[Arm, Arm], request: CaptureRequest, *, stage: str
) -> Paired:
    """Windows in turn until the profiled ones add up to the duration."""
    window_s = max(WINDOW_S, CALLS * profiled.per_call_s)
    pairs: list[observer.Pair] = []
    effects: list[float] = []
    region_s, cpu_s, calls, tid = 0.0, 0.0, 0, 0
    for order in observer.orders(request.seed):
        bare_times: list[float] = []
        on: list[LoopResult] = []
        for is_profiled in order:
            if is_profiled:
                on.append(profiled.loop(window_s))
            else:
                which = bare[(len(bare_times) + len(pairs)) % 2]
                result = which.loop(window_s)
                bare_times.append(result.seconds / result.calls)
        region_s += sum(result.seconds for result in on)
        cpu_s += sum(result.cpu_s for result in on)
        calls += sum(result.calls for result in on)
        tid = on[0].tid
        spent = sum(result.seconds for result in on) / sum(result.calls for result in on)
        pairs.append(observer.Pair(bare_s=statistics.fmean(bare_times), profiled_s=spent))
        sign = 1 if len(pairs) % 2 else -1
        effects.append(sign * math.log(bare_times[0] / bare_times[1]))
        request.progress(stage, min(region_s / request.duration_s, 1.0))
        if region_s >= request.duration_s and len(pairs) >= observer.MIN_PAIRS:
            break
    effect = abs(statistics.median(effects))
    return Paired(
        slowdown=widened(observer.slowdown(pairs), effect),
        process_effect=effect,
        region_s=region_s,
        calls=calls,
        cpu_s=cpu_s,
        main_tid=tid,
        pid=profiled.running.pid,
        threads=len(profiled.running.native_thread_ids()),
    )


def widened(slowdown: Interval | None, effect: float) -> Interval | None:
    """The interval with room on both sides for the difference of two equal processes."""
    if slowdown is None:
        return None
    factor = math.exp(effect)
    return Interval(
        estimate=slowdown.estimate,
        low=(1 + slowdown.low) / factor - 1,
        high=(1 + slowdown.high) * factor - 1,
    )

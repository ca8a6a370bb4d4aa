"""What cannot be switched on and off inside one process (py-spy, scalene, an interpreter option,
another build): pairs of processes, one as it is and one changed, their windows in turn.

Chance at its start makes a process faster or slower for life, and the windows of one pair do not
show that; the interval is over the pairs. The caller says which command makes a process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.measure.statistics import over_sessions
from perfkit.profile import pace, slowdown
from perfkit.profile.publish import Region
from perfkit.records import Interval
from perfkit.store import read_journal
from perfkit.subject.child import worker
from perfkit.subject.workloads import data_sets_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perfkit.profile.request import CaptureRequest
    from perfkit.subject.child import LoopResult, Worker, WorkerSpec

PAIRS = 5
"""Of processes. Student's factor is 2.8 for five, 4.3 for three; each costs two starts."""
WINDOW_S = 0.04
CALLS = 3  # per window, at least
BATCH_S = 5e-3
"""Calls between two looks at the clock: the loop's own bookkeeping then does not count."""
BLOCKS = 4  # per pair of processes, at least
THREADS_LIMIT = 0.01
"""Share of the CPU time above which other threads than the calling one are taken to compute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """What the pairs of processes did.

    Attributes:
        slowdown: changed over plain time, minus one, over the pairs.
        region: the changed processes' loops; the pace is that of the plain processes meanwhile.
        pids: the changed processes.
        threads: most threads of a changed process after its windows.
    """

    slowdown: Interval
    region: Region
    pids: tuple[int, ...]
    threads: int


class PairArm:
    """A worker with its prepared arm and the calls of one window."""

    def __init__(self, running: Worker, request: CaptureRequest) -> None:
        self.running = running
        sets = data_sets_for(request.size, request.job.project.config.measure.data_sets)
        self.arm = running.prepare(
            request.job.workload,
            request.size,
            which="call",
            seed=request.seed,
            data_sets=sets,
            name=request.job.name,
        )
        running.calibrate(self.arm, batch_s=BATCH_S)
        self.looks: list[dict[str, float]] = []

    @property
    def window_s(self) -> float:
        """Seconds of one window."""
        return max(WINDOW_S, CALLS * self.running.calibrated[self.arm].per_call_s)

    def loop(self, seconds: float) -> LoopResult:
        """One window."""
        return self.running.loop(self.arm, seconds)

    def look(self) -> None:
        """Time the machine's pace; never inside a window, nor while a profiler is on."""
        self.looks.append(self.running.pace())

    @property
    def uses_threads(self) -> bool:
        """Whether other threads than the calling one compute, including those that live for one
        call and are gone when the process is looked at between two.
        """
        return self.running.calibrated[self.arm].helpers > THREADS_LIMIT

    def has_threads(self) -> bool:
        """Whether there are others than the calling one, if only idle ones."""
        self.loop(0.0)  # a pool of the subject starts at its first use
        return self.uses_threads or len(self.running.native_thread_ids()) > 1


def compare(
    request: CaptureRequest,
    plain: WorkerSpec,
    changed: Callable[[int], WorkerSpec],
    *,
    stage: str,
    duration_s: float,
) -> Paired:
    """Run the pairs one after the other, until the changed processes have run for the duration.

    Args:
        changed: the spec of the changed process of each pair, by its index.
        duration_s: seconds in the changed processes, all together.
    """
    ratios: list[list[float]] = []
    region_s, calls, threads = 0.0, 0, 1
    pids: list[int] = []
    looks: list[dict[str, float]] = []
    orders = slowdown.orders(request.seed)
    for index in range(PAIRS):
        with worker(plain) as bare, worker(changed(index)) as under:
            arms = (PairArm(bare, request), PairArm(under, request))
            window_s = arms[1].window_s
            ratios.append([])
            for order in orders:
                block = [(is_changed, arms[is_changed].loop(window_s)) for is_changed in order]
                ratios[-1].append(slowdown.log_ratio(block))
                on = [result for is_changed, result in block if is_changed]
                region_s += sum(result.seconds for result in on)
                calls += sum(result.calls for result in on)
                request.job.progress(stage, min(region_s / duration_s, 1.0))
                arms[0].look()
                if len(ratios[-1]) >= BLOCKS and region_s >= duration_s * (index + 1) / PAIRS:
                    break
            looks += arms[0].looks
            threads = max(threads, len(under.native_thread_ids()))
            pids.append(under.pid)
    return Paired(
        slowdown=over_pairs(ratios),
        region=Region(calls=calls, seconds=region_s, pace=pace.over(looks)),
        pids=tuple(pids),
        threads=threads,
    )


def over_pairs(ratios: Sequence[Sequence[float]]) -> Interval:
    """Changed over plain time, minus one, from the blocks' ln ratios of each pair of processes."""
    return slowdown.of_logs(over_sessions(ratios))


def once_per_build(
    request: CaptureRequest, journal: str, compared: Callable[[], Interval]
) -> Interval:
    """A slowdown that belongs to the build: compared once in a run, then read from its journal."""
    for line in read_journal(request.run.directory / journal):
        if line["build"] == request.job.build.key:
            return Interval(**line["slowdown"])
    found = compared()
    request.run.append(journal, {"build": request.job.build.key, "slowdown": found})
    return found

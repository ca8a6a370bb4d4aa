"""Calls whose split by layer is known, and how far perfkit's split of them may be from it.

Each part of a call of tests/subjects/spins can be called alone, so its cost is a difference of CPU
times, taken in turn in one process, with the kernel's own clocks: no sample is behind it. Shared by
the short test of `make test` and by the full one of `make truth`.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.profile import analyse
from perfkit.profile.engine import profile_workload
from perfkit.records import Layer
from perfkit.subject.child import spec_for, worker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.config import Project
    from perfkit.records import Build, Capture
    from perfkit.stacks.split import Split
    from perfkit.store import Run

POINTS = 0.02
"""The promise: each layer within two points."""
WORKER_POINTS = 0.03
"""The promise for the time of worker threads."""
CHANCE = 3.3
"""Standard errors that a right split passes once in a thousand layers."""
TRUTH_ERROR = 0.005
"""Half a point for the truth's own error, where chance alone is larger than the promise."""
CROSSING = (Layer.GLUE, Layer.GIL, Layer.CONVERT_OUT)
PARTS: Mapping[str, tuple[Layer, ...]] = {
    "interpreter": (Layer.INTERPRETER,),
    "convert_in": (Layer.CONVERT_IN,),
    "crossing": CROSSING,
    "compute": (Layer.COMPUTE,),
}
ROUNDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """CPU seconds of one call: the calling thread's, and all other threads'."""

    own_s: float
    others_s: float


def spent(project: Project, build: Build, names: tuple[str, ...], size: int) -> list[Spent]:
    """What workloads cost, timed in turn by the kernel's clocks of threads and of the process."""
    found: list[list[Spent]] = [[] for _ in names]
    with worker(spec_for(project, build)) as running:
        arms = []
        for name in names:
            arm = running.prepare(project.config.workloads[name], size, which="call")
            arms.append((arm, running.calibrate(arm, batch_s=5e-3)))
        for _ in range(ROUNDS):
            for rows, (arm, calls) in zip(found, arms, strict=True):
                timed = running.time(arm, calls)
                others_s = (timed.cpu_s - timed.own_s) / timed.calls
                rows.append(Spent(own_s=timed.own_s / timed.calls, others_s=others_s))
    return [
        Spent(
            own_s=statistics.median(row.own_s for row in rows),
            others_s=statistics.median(row.others_s for row in rows),
        )
        for rows in found
    ]


def true_shares(
    project: Project, build: Build, length: str, size: int, of: str = "mixed"
) -> dict[str, float]:
    """What each part is of the calling thread's CPU time in a call; nothing is in no part.

    Args:
        of: `mixed`, or `joined`, whose compute also holds what handing the work to threads takes.
    """
    names = ("in_python", "unconverted", "converted", of)
    words = tuple(f"{name}_{length}" for name in names)
    python, crossed, converted, whole = (row.own_s for row in spent(project, build, words, size))
    return {
        "interpreter": python / whole,
        "crossing": (crossed - python) / whole,
        "convert_in": (converted - crossed) / whole,
        "compute": (whole - converted) / whole,
        "rest": 0.0,
    }


def take(
    project: Project, build: Build, run: Run, name: str, size: int, *, seconds: float, rate: int
) -> tuple[Capture, Split]:
    """One capture by perf, with its split; a capture that perfkit does not believe has one too."""
    (capture,) = profile_workload(
        project, name, size, build=build, run=run, names=["perf"], rate=rate, duration=seconds
    )
    layers = analyse.layers_for(build, project.config.layers)
    return capture, analyse.split_unchecked(capture, run, layers)


def found_parts(split: Split) -> dict[str, float]:
    """Shares of the calling thread's CPU time by part; what is in no part is `rest`."""
    shares = {
        name: sum(split.seconds(layer) for layer in layers) / split.on_cpu_s
        for name, layers in PARTS.items()
    }
    return {**shares, "rest": 1 - sum(shares.values())}


def allowed(share: float, samples: float) -> float:
    """How far a right split may be from the truth: the promise, or chance where that is more."""
    share = min(max(share, 0.0), 1.0)  # a difference of times may come out below zero
    return max(POINTS, CHANCE * (share * (1 - share) / samples) ** 0.5 + TRUTH_ERROR)


def check_parts(
    truth: Mapping[str, float],
    found: Mapping[str, float],
    samples: float,
    exactly: float | None = None,
) -> None:
    """Each part within what is given, or within what so many independent samples allow."""
    told = ", ".join(f"{name} {found[name]:.3f} for {truth[name]:.3f}" for name in truth)
    print(f"{samples:.0f} independent samples: {told}")
    for name, share in truth.items():
        room = allowed(share, samples) if exactly is None else exactly
        assert abs(found[name] - share) <= room, f"{name}: {told}"


def check_workers(project: Project, build: Build, length: str, size: int, split: Split) -> None:
    """The workers' part of all CPU time, against the kernel's clocks of the same work."""
    (clocks,) = spent(project, build, (f"joined_{length}",), size)
    truth = clocks.others_s / (clocks.others_s + clocks.own_s)
    found = split.workers_s / (split.workers_s + split.on_cpu_s)
    samples = split.samples + split.worker_samples
    told = f"workers have {found:.3f} of {samples} samples and {truth:.3f} of the CPU time"
    print(told)
    assert 0.3 < truth < 0.7, told
    room = max(WORKER_POINTS, CHANCE * (truth * (1 - truth) / samples) ** 0.5)
    assert abs(found - truth) <= room, told
    computing = sum(row.seconds for row in split.workers if row.layer is Layer.COMPUTE)
    assert computing / split.workers_s > 0.97, told


def faults(capture: Capture) -> set[str]:
    """Why a capture is not believed, but for its cost: that depends on the machine alone."""
    if capture.accepted:
        return set()
    named = {"few_samples", "unresolved", "unrooted", "lost", "outside", "coverage"}
    return named & {note.id for note in capture.notes}

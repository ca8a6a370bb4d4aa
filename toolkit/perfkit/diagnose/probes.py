"""Measurements beside the time of a call: what the loop takes, whether the lock is held, and how
the estimators answer to a known delay at the boundary.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit.diagnose import gil_probe
from perfkit.diagnose.estimators import Response, response
from perfkit.diagnose.times import INNER, LIMIT_S, WIDTH, beside, brief, outside, valid_blocks
from perfkit.measure import statistics
from perfkit.measure.plan import Variant
from perfkit.measure.session import measure
from perfkit.measure.variants import SUBJECT
from perfkit.records import Interval, Role
from perfkit.subject.child import worker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.measure.results import Point
    from perfkit.subject.child import Which
    from perfkit.subject.job import Job

LOOP_REPEATS = 15
PROBE_FROM_S = 1e-3
"""The GIL probe needs a call that is long beside the hand-over of the lock."""
PROBE_BATCHES = 9
DELAY_FACTORS = (1.0, 3.0, 6.0)
"""From a delay that is not zero: the hook's own clock readings are then in every one of them."""
LEAST_DELAY_S = 2e-7


def loop_overhead(job: Job) -> Interval:
    """What a turn of the timing loop with a call of nothing takes, in the project's interpreter."""
    with worker(job.spec()) as running:
        values = [running.loop_overhead() for _ in range(LOOP_REPEATS)]
    return statistics.rank_interval(values)


def probe_gil(job: Job, size: int) -> Interval:
    """Share of the call's time in which a second Python thread could not run.

    Raises:
        PerfkitError: the probe failed in the worker.
    """
    call = job.workload.call
    place, _, function = call.rpartition(":")
    if place.endswith(".py"):
        call = f"{job.project.resolve(Path(place))}:{function}"
    probe = f"{Path(gil_probe.__file__).resolve()}:held"
    workload = job.workload.model_copy(update={"inner_timer": probe})
    spec = job.spec()
    spec = replace(spec, environment={**spec.environment, gil_probe.CALL_VARIABLE: call})
    with worker(spec) as running:
        arm = running.prepare(workload, size, which="inner_timer", seed=job.seed, name=job.name)
        running.calibrate(arm, warm_s=0.0)
        shares = []
        for _ in range(PROBE_BATCHES):
            timing = running.time(arm, 2)
            if timing.inner_s is not None:
                shares.append(timing.inner_s / timing.seconds)
    return statistics.rank_interval(shares)


def measure_delays(job: Job, size: int, fixed_s: float) -> tuple[Response, ...]:
    """Inject known delays at the boundary and see how call, twin and inner timer answer.

    Args:
        fixed_s: what the boundary takes without a delay; the delays are multiples of it.

    Raises:
        MachineBusyError: the machine had no room.
    """
    hook = job.project.config.subject.delay_hook
    if hook is None:
        return ()
    unit = max(fixed_s, LEAST_DELAY_S)
    delays = {f"{factor:g}": round(factor * unit * 1e9) for factor in DELAY_FACTORS}
    arms: list[tuple[str, Which]] = [(SUBJECT, "call"), *beside(job)]
    variants = [
        Variant(
            name=f"{arm}+{label}",
            role=Role.SUBJECT if which == "call" else Role.TWIN,
            spec=replace(job.spec(), calls={**job.assignment.calls, hook: nanoseconds}),
            which=which,
        )
        for arm, which in arms
        for label, nanoseconds in delays.items()
    ]
    point = measure(brief(job, limit_s=LIMIT_S, width=WIDTH, blocks=20), (size,), variants).at(size)
    seconds = {label: nanoseconds * 1e-9 for label, nanoseconds in delays.items()}
    return tuple(
        answer
        for arm, which in arms
        if (answer := response(which, delay_blocks(point, arm, seconds))) is not None
    )


def delay_blocks(
    point: Point, arm: str, delays: Mapping[str, float]
) -> list[list[tuple[float, float]]]:
    """For each valid block, (seconds injected, what the arm took) of every delay."""
    names = {f"{arm}+{label}": delay for label, delay in delays.items()}
    blocks = valid_blocks(point)
    if arm == INNER:
        whole = [block for block in blocks if all(name in block.inner_s for name in names)]
        return [[(delay, outside(b, name)) for name, delay in names.items()] for b in whole]
    return [[(delay, b.typical_s(name)) for name, delay in names.items()] for b in blocks]

"""The timed figures that the estimators need: call, twin, inner timer, reference, small sizes.

Calls `perfkit.measure`; what the figures mean is in `estimators.py`, other measurements of a call
are in `probes.py`.
"""

from __future__ import annotations

import statistics as plain_statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from perfkit.diagnose.estimators import SMALL_SIZES
from perfkit.errors import WorkloadError
from perfkit.measure import statistics
from perfkit.measure.plan import Variant, quick
from perfkit.measure.session import measure
from perfkit.measure.variants import SUBJECT, variants_for
from perfkit.records import Interval, MeasureVerdict, Role
from perfkit.subject.child import worker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.config import Project
    from perfkit.measure.blocks import Block
    from perfkit.measure.results import Measurement, Point
    from perfkit.subject.child import Which
    from perfkit.subject.job import Job

TWIN, INNER = "twin", "inner_timer"
WIDTH = 0.02
LIMIT_S = 8.0
SMALL_LIMIT_S = 1.5
"""At most this many seconds per size: a diagnosis has many arms, and two percent is enough."""
QUICK_CAPTURE_S = 1.5


def brief(job: Job, *, limit_s: float, width: float, blocks: int) -> Job:
    """The job with settings that are quick enough for many arms."""
    own = job.settings
    return job.measured_by(
        width=max(own.width, width),
        time_limit_s=min(own.time_limit_s, limit_s),
        min_blocks=min(own.min_blocks, blocks),
        sessions=1,
    )


def quick_project(project: Project) -> Project:
    """The project with the settings of `--quick`: a first look, whose intervals are wider.

    The time limit stays: a diagnosis has so many arms that a round of long calls would not fit into
    that of a quick measurement. The wider intervals end it earlier.
    """
    own, profiling = project.config.measure, project.config.profiling
    shorter = {"duration_s": min(profiling.duration_s, QUICK_CAPTURE_S)}
    update = {
        "measure": quick(own).model_copy(update={"time_limit_s": own.time_limit_s}),
        "profiling": profiling.model_copy(update=shorter),
    }
    return replace(project, config=project.config.model_copy(update=update))


def beside(job: Job) -> list[tuple[str, Which]]:
    """The variants that the workload offers beside its call, each with what it runs."""
    found: list[tuple[str, Which]] = []
    if job.workload.twin is not None:
        found.append((TWIN, "twin"))
    if job.workload.inner_timer is not None:
        found.append((INNER, "inner_timer"))
    return found


def measure_main(job: Job, sizes: Sequence[int]) -> Measurement:
    """Call, copy, reference, twin and inner timer in the same blocks, at every size."""
    variants = list(variants_for(job))
    for name, which in beside(job):
        variants.append(Variant(name=name, role=Role.TWIN, spec=job.spec(), which=which))
    return measure(brief(job, limit_s=LIMIT_S, width=WIDTH, blocks=20), sizes, variants)


def valid_blocks(point: Point) -> list[Block]:
    """Those of all sessions in which nothing disturbed the measurement."""
    return [block for session in point.sessions for block in session if block.valid]


def spread(point: Point, variant: str = SUBJECT) -> float:
    """How much a variant's time moves from block to block, as a share of it: half the width that
    holds two thirds of the valid blocks.
    """
    values = sorted(block.typical_s(variant) for block in valid_blocks(point))
    low = values[round(0.16 * (len(values) - 1))]
    high = values[round(0.84 * (len(values) - 1))]
    return (high - low) / 2 / plain_statistics.median(values)


def inner_outside(point: Point, variant: str = INNER) -> Interval | None:
    """Time per call outside the inner clock's region: median over blocks of call less inner.

    Returns:
        None with too few valid blocks for an interval.
    """
    blocks = [block for block in valid_blocks(point) if variant in block.inner_s]
    values = [outside(block, variant) for block in blocks]
    return statistics.rank_interval(values) if len(values) >= statistics.LEAST_VALUES else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallTimes:
    """Time per call at the small sizes, and why there are none."""

    times: Mapping[int, Interval]
    reason: str


def measure_small(job: Job) -> SmallTimes:
    """Time the sizes of the intercept's fit; sizes that the workload refuses are left out."""
    usable, refused = sizes_taken(job, SMALL_SIZES)
    if not usable:
        return SmallTimes(times={}, reason=refused)
    alone = Variant(name=SUBJECT, role=Role.SUBJECT, spec=job.spec())
    # Below any pool's use one free core is enough.
    single = replace(brief(job, limit_s=SMALL_LIMIT_S, width=WIDTH, blocks=12), threads=1)
    found = measure(single, usable, [alone])
    if found.report.verdict is MeasureVerdict.BUSY:
        return SmallTimes(times={}, reason="the machine was busy while small sizes were timed")
    times = {size: found.at(size).absolute(SUBJECT) for size in usable}
    return SmallTimes(times=times, reason=refused)


def sizes_taken(job: Job, sizes: Sequence[int]) -> tuple[tuple[int, ...], str]:
    """The sizes that the workload takes, and what it says of the others."""
    usable: list[int] = []
    refused = ""
    with worker(job.spec()) as running:
        for size in sizes:
            try:
                arm = running.prepare(
                    job.workload, size, which="call", seed=job.seed, name=job.name
                )
                running.calibrate(arm, warm_s=0.0)
            except WorkloadError as error:
                refused = f"the workload refuses size {size}: {error.message}"
            else:
                usable.append(size)
    return tuple(usable), refused


def outside(block: Block, variant: str) -> float:
    """Seconds per call outside the inner clock's region, in one block."""
    pairs = zip(block.per_call_s[variant], block.inner_s[variant], strict=True)
    return plain_statistics.median(whole - inside for whole, inside in pairs)

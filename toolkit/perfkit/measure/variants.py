"""What is compared with what: the subject, its copy, its reference, a baseline, another workload;
and whether each of them returns what it should before it is timed.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.errors import UsageError
from perfkit.measure.plan import Variant
from perfkit.records import Note, Role
from perfkit.subject import workloads
from perfkit.subject.child import spec_for
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.config import Project
    from perfkit.records import Build
    from perfkit.subject.job import Job

SUBJECT, COPY, REFERENCE, BASELINE = "subject", "copy", "reference", "baseline"
"""Names of the usual variants."""

SAME_WORK = ("setup", "reference")
"""Keys of the config that two workloads share when one may take the other's place."""


def variants_for(
    job: Job, *, against: Build | None = None, other: str | None = None
) -> tuple[Variant, ...]:
    """The subject, its byte copy, the reference in its own process, and the baseline.

    Args:
        against: another build, to be the baseline.
        other: another workload of this build, to be the baseline.
    """
    copy = job.spec(job.builder.copy(job.build))
    found = [
        Variant(name=SUBJECT, role=Role.SUBJECT, spec=job.spec()),
        Variant(name=COPY, role=Role.COPY, spec=copy),
    ]
    found += reference_of(job)
    if against is not None or other is not None:
        spec, workload = job.spec(against), other if against is None else None
        if against is not None and against.root != job.build.root and not against.rustc:
            # A wheel from elsewhere need not have the getter that the config names.
            spec = dataclasses.replace(spec, getter=None)
        found.append(Variant(name=BASELINE, role=Role.BASELINE, spec=spec, workload=workload))
    return tuple(found)


def reference_of(job: Job) -> list[Variant]:
    """The reference in its own process, if the workload has one."""
    if job.workload.reference is None:
        return []
    spec = spec_for(job.project, job.build, threads=job.settings.reference_threads)
    return [Variant(name=REFERENCE, role=Role.REFERENCE, spec=spec, which="reference")]


def same_work(project: Project, name: str, other: str) -> None:
    """Check that another workload can be measured in the blocks of the one named first.

    Raises:
        UsageError: there is none of that name, or it does not do the same work.
    """
    name, workload = project.workload(name)
    other, against = project.workload(other)
    if other == name:
        message = f"{name} would be measured against itself"
        raise UsageError(message, remedy="name two workloads")
    differing = [
        f"{key}: {getattr(workload, key)} | {getattr(against, key)}"
        for key in SAME_WORK
        if getattr(workload, key) != getattr(against, key)
    ]
    if differing:
        message = f"{name} and {other} do different work, so their times do not compare"
        remedy = "name two workloads with the same `setup` and `reference`"
        raise UsageError(message, details="\n".join(differing), remedy=remedy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """Results that are right, with notes about them.

    Attributes:
        digests: hash of the first variant's result by size; None for types without known bits.
    """

    notes: tuple[Note, ...]
    digests: Mapping[int, str | None]


def verify(
    job: Job,
    sizes: Sequence[int],
    variants: Sequence[Variant],
    *,
    limit_s: float = workloads.LIMIT_S,
    across_threads: bool = False,
) -> Verified:
    """Check the results of subject and baseline at every size before anything is timed.

    Args:
        limit_s: what one call may take.
        across_threads: compare the subject on one thread and several too, at the largest size.

    Raises:
        WrongResultError: one of them disagrees with the reference.
        WorkloadError: one of them raises, or returns different results each time.
    """
    notes: dict[Note, None] = {}
    digests: dict[int, str | None] = {}
    for variant in variants:
        if variant.role not in (Role.SUBJECT, Role.BASELINE):
            continue
        for size in sizes:
            job.tell(f"checking what {variant.name} returns at {format_count(size)}")
            several = across_threads and variant.role is Role.SUBJECT and size == max(sizes)
            checked, found = workloads.verify(
                variant.spec,
                job.project.workload(variant.workload) if variant.workload else job.work,
                size,
                seed=job.seed,
                threads=job.threads if several else None,
                limit_s=limit_s,
            )
            notes.update(dict.fromkeys(found))
            digests.setdefault(size, checked.digest)
    return Verified(notes=tuple(notes), digests=digests)

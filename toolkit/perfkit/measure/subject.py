"""Measuring a subject against its reference, a copy of itself and, where one is named, a baseline:
what `perfkit measure` asks for. The loop itself is in `session.py`.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from perfkit import environment
from perfkit.errors import UsageError
from perfkit.measure import session
from perfkit.measure.plan import NamedWorkload, Plan, Variant
from perfkit.records import (
    LoadedModule,
    MeasureReport,
    MeasureVerdict,
    Note,
    Pattern,
    Role,
    SizeResult,
)
from perfkit.subject import workloads as subject_workloads
from perfkit.subject.child import spec_for
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perfkit.config import Measure, Project, Workload
    from perfkit.measure.results import Measurement
    from perfkit.records import Build
    from perfkit.store import Run
    from perfkit.subject.builder import Builder
    from perfkit.subject.parameters import Assignment

    Progress = Callable[[str, float | None], None]

SUBJECT = "subject"
COPY = "copy"
REFERENCE = "reference"
BASELINE = "baseline"
"""Names of the variants in every plan made here."""

SAME_WORK = ("setup", "reference")
"""Keys of the config that two workloads share when one may take the other's place."""


def variants_for(
    project: Project,
    workload: Workload,
    build: Build,
    *,
    copy: Build | None,
    against: Build | None = None,
    other: NamedWorkload | None = None,
    assignment: Assignment | None = None,
    settings: Measure | None = None,
) -> tuple[Variant, ...]:
    """The subject, its byte copy, the reference in a process of its own, and the baseline: an
    earlier build, or another workload of this build.
    """
    chosen = settings if settings is not None else project.config.measure
    found = [
        Variant(name=SUBJECT, role=Role.SUBJECT, spec=spec_for(project, build, assignment)),
    ]
    if copy is not None:
        spec = spec_for(project, copy, assignment)
        found.append(Variant(name=COPY, role=Role.COPY, spec=spec))
    if workload.reference is not None:
        spec = spec_for(project, build, threads=chosen.reference_threads)
        found.append(Variant(name=REFERENCE, role=Role.REFERENCE, spec=spec, which="reference"))
    if against is not None:
        spec = spec_for(project, against, assignment)
        if against.root != build.root and not against.rustc:
            # A wheel from elsewhere need not have the getter that the config names.
            spec = dataclasses.replace(spec, getter=None)
        found.append(Variant(name=BASELINE, role=Role.BASELINE, spec=spec))
    elif other is not None:
        spec = spec_for(project, build, assignment)
        found.append(Variant(name=BASELINE, role=Role.BASELINE, spec=spec, workload=other))
    return tuple(found)


def same_work(project: Project, name: str, other: str) -> NamedWorkload:
    """Another workload, to be measured in the blocks of the one named first.

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
    return NamedWorkload(name=other, workload=against)


def measure_subject(
    project: Project,
    workloads: Sequence[str],
    sizes: Sequence[int] | None,
    *,
    builder: Builder,
    run: Run | None,
    against: Build | None = None,
    against_workload: str | None = None,
    settings: Measure | None = None,
    patterns: tuple[Pattern, ...] = (Pattern.HOT,),
    build: Build | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> MeasureReport:
    """Build, verify and measure the named workloads at each size.

    Args:
        workloads: by name; all of the config when empty.
        sizes: those of each workload when None.
        run: where the raw blocks go.
        against: another build to compare with, in the same blocks.
        against_workload: another workload of the same work to compare with, in the same blocks.
        settings: in place of the config's.
        build: the subject, when it has been built already.

    Returns:
        The report; with verdict `busy` it holds no figures but the effective cores of each block.

    Raises:
        BuildError: the subject does not build.
        WrongResultError: subject and reference disagree.
        WorkloadError: a workload raises or cannot be timed as it is.
        UsageError: the other workload does other work.
    """
    chosen = settings if settings is not None else project.config.measure
    begin = time.monotonic()
    subject = build if build is not None else builder.build()
    copy = builder.copy(subject)
    names = tuple(workloads) or tuple(project.config.workloads)
    others = {
        name: same_work(project, name, against_workload) if against_workload else None
        for name in names
    }
    parts = []
    for name in names:
        _, workload = project.workload(name)
        wanted = project.sizes(name, sizes)
        found = variants_for(
            project,
            workload,
            subject,
            copy=copy,
            against=against,
            other=others[name],
            settings=chosen,
        )
        notes = verify_all(
            project,
            name,
            workload,
            wanted,
            found,
            seed=seed,
            limit_s=chosen.time_limit_s,
            progress=progress,
        )
        plan = Plan(
            workload_name=name,
            workload=workload,
            sizes=wanted,
            variants=found,
            threads=environment.worker_threads(project.config.subject.threads),
            settings=chosen,
            patterns=patterns,
            seed=seed,
            run=run,
        )
        measurement = session.measure(plan, progress=progress)
        parts.append((plan, measurement, notes))
    return _report(parts, time.monotonic() - begin)


def verify_all(
    project: Project,
    name: str,
    workload: Workload,
    sizes: Sequence[int],
    variants: Sequence[Variant],
    *,
    seed: int = 0,
    limit_s: float = subject_workloads.LIMIT_S,
    progress: Progress | None = None,
) -> tuple[Note, ...]:
    """Check the results of every build at every size before anything is timed.

    Only the subject is also compared on one thread and several, at the largest size.
    """
    notes: dict[Note, None] = {}
    threads = environment.worker_threads(project.config.subject.threads)
    for variant in variants:
        if variant.role not in (Role.SUBJECT, Role.BASELINE):
            continue
        mine = variant.workload or NamedWorkload(name=name, workload=workload)
        for size in sizes:
            if progress:
                progress(f"checking what {variant.name} returns", None)
            several = variant.role is Role.SUBJECT and size == max(sizes)
            _, found = subject_workloads.verify(
                variant.spec,
                mine.name,
                mine.workload,
                size,
                seed=seed,
                threads=threads if several else None,
                limit_s=limit_s,
            )
            notes.update(dict.fromkeys(found))
    return tuple(notes)


def _report(
    parts: Sequence[tuple[Plan, Measurement, tuple[Note, ...]]], seconds: float
) -> MeasureReport:
    """Join the workloads: the worst verdict counts, and a busy one leaves no figures at all."""
    order = (
        MeasureVerdict.BUSY,
        MeasureVerdict.UNTRUSTED,
        MeasureVerdict.UNCHECKED,
        MeasureVerdict.OK,
    )
    verdicts = {measurement.verdict for _, measurement, _ in parts}
    verdict = next(one for one in order if one in verdicts)
    results: list[SizeResult] = []
    notes: dict[Note, None] = {}
    loaded: list[LoadedModule] = []
    floors = [measurement.noise_floor for _, measurement, _ in parts]
    for plan, measurement, verified in parts:
        notes.update(dict.fromkeys((*verified, *measurement.notes)))
        loaded += measurement.loaded
        if verdict is not MeasureVerdict.BUSY:
            results += size_results(plan, measurement)
        elif measurement.verdict is MeasureVerdict.BUSY:
            notes.update(dict.fromkeys(_no_room(plan, measurement)))
    known = [floor for floor in floors if floor is not None]
    return MeasureReport(
        verdict=verdict,
        noise_floor=max(known) if known and verdict is not MeasureVerdict.BUSY else None,
        results=tuple(results),
        notes=tuple(notes),
        loaded=tuple(loaded),
        seconds=seconds,
        effective_cores=tuple(
            cores for _, measurement, _ in parts for cores in measurement.effective_cores
        ),
        foreign_cores=tuple(
            cores for _, measurement, _ in parts for cores in measurement.foreign_cores
        ),
        libraries={
            library: version
            for _, measurement, _ in parts
            for library, version in measurement.libraries.items()
        },
    )


def _no_room(plan: Plan, measurement: Measurement) -> list[Note]:
    """What stands in place of figures: how many blocks had room, and why the others had none."""
    notes = []
    for point in measurement.raw:
        reasons = [block.reason for part in point.sessions for block in part if block.reason]
        text = f"{point.valid_blocks} of {point.blocks} blocks had room, in {len(point.sessions)} "
        text += f"of {point.wanted} sets of processes; each of them needs {point.least}"
        if reasons:
            text += f" (the last one without: {reasons[-1]})"
        where = f"{plan.workload_name} at {format_count(point.size)} ({point.pattern})"
        remedy = "end what else runs here, or wait longer with --patience 120s"
        notes.append(Note(id="no_room", text=text, where=where, remedy=remedy))
    return notes


def size_results(plan: Plan, measurement: Measurement) -> list[SizeResult]:
    """One row per size and pattern.

    `met` is a claim, so it is withheld as long as nothing checks the figures.
    """
    names = {variant.name for variant in plan.variants}
    rows = []
    for point in measurement.points:
        judged = measurement.verdict is MeasureVerdict.OK
        target = plan.workload.targets.get(point.size)
        has_reference = REFERENCE in names
        speedup = point.ratio(SUBJECT, REFERENCE) if has_reference else None
        contended = point.contended_ratio(SUBJECT, REFERENCE) if has_reference else None
        met = speedup.low >= target if judged and target and speedup else None
        floor = point.noise_floor(SUBJECT, COPY) if COPY in names and plan.gated else None
        has_baseline = BASELINE in names
        change = point.ratio(SUBJECT, BASELINE) if has_baseline else None
        other = plan.variant(BASELINE).workload if has_baseline else None
        rows.append(
            SizeResult(
                workload=plan.workload_name,
                size=point.size,
                time_s=point.absolute(SUBJECT),
                reference_s=point.absolute(REFERENCE) if has_reference else None,
                speedup=speedup,
                target=target,
                met=met,
                valid_blocks=sum(len(part) for part in point.usable),
                blocks=point.blocks,
                pattern=point.pattern,
                contended_speedup=contended,
                change=change,
                baseline_s=point.absolute(BASELINE) if has_baseline else None,
                against_workload=other.name if other is not None else None,
                noise_floor=floor,
            )
        )
    return rows

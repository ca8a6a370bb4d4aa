"""`perfkit diagnose` from end to end: build, time, profile, estimate, judge.

Only the order of things is here. Nothing is measured or decided in this module itself.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from perfkit.checks.built import audit_build
from perfkit.config import Kind
from perfkit.diagnose import estimators, profiles, times
from perfkit.diagnose.agree import differences, independent, judge
from perfkit.diagnose.collect import collect
from perfkit.diagnose.estimators import Method, unavailable
from perfkit.diagnose.findings import find, unasked
from perfkit.diagnose.model import against_reference, size_model
from perfkit.diagnose.observed import Observed
from perfkit.diagnose.quantities import quantities
from perfkit.diagnose.recommend import recommend
from perfkit.measure.variants import variants_for
from perfkit.measure.variants import verify as check_results
from perfkit.records import (
    FFI_LAYERS,
    Covers,
    DiagnoseVerdict,
    Diagnosis,
    Interval,
    Layer,
    MeasureVerdict,
    Note,
    SizeSplit,
)
from perfkit.stacks.split import by_layer
from perfkit.subject.job import job_for
from perfkit.subject.parameters import assign, start_values
from perfkit.units import format_count, format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from perfkit.config import Project, Workload
    from perfkit.diagnose.agree import Agreement
    from perfkit.diagnose.collect import Collected
    from perfkit.diagnose.estimators import SampledCall
    from perfkit.diagnose.profiles import Profiled
    from perfkit.measure.results import Measurement
    from perfkit.records import Capture, Estimate, FfiEstimate, SizeResult
    from perfkit.store import Run
    from perfkit.subject.builder import Builder
    from perfkit.subject.job import Job

_NATIVE = (*FFI_LAYERS, Layer.COMPUTE, Layer.MATH, Layer.POOL)
_OTHER_SPEED = 0.05
"""By how much the profiled call must differ from the timed one to be worth a note."""
_STRAY_SHARE = 0.005
"""Samples whose stack was cut short land in a wrong layer now and then."""


def job_of(
    project: Project,
    workload: str | None,
    builder: Builder,
    run: Run,
    **options: Any,  # noqa: ANN401  # any other field of Job
) -> Job:
    """The job of a diagnosis: its parameters are handed over at their starting values.

    Raises:
        UsageError: there is no such workload.
        BuildError: the subject does not compile.
    """
    name, _ = project.workload(workload)
    start = assign(project, start_values(project, name))
    return job_for(project, name, builder, run, assignment=start, **options)


def diagnose(job: Job, sizes: Sequence[int], *, verify: bool = False) -> Diagnosis:
    """Split the time of a call by layer at each size, by more than one method.

    Args:
        verify: also inject known delays at the boundary, where the config names a `delay_hook`,
            and force both branches of every threshold: what takes builds of its own.

    Returns:
        A diagnosis; without room on the machine its verdict is `busy` and it has no sizes, without
        sentinels at best `unchecked`.

    Raises:
        BuildError: the subject does not compile.
        WorkloadError: the workload raised.
        WrongResultError: subject and reference disagree.
    """
    verified = check_results(job, sizes, variants_for(job)[:1])
    measured = times.measure_main(job, sizes)
    notes = [*job.build.notes, *verified.notes, *measured.report.notes]
    if measured.report.verdict is MeasureVerdict.BUSY:
        return _busy(notes, measured)
    seen = collect(job, measured, sizes, verify=verify, notes=notes)
    return _conclude(job, measured, seen, notes)


def _busy(notes: Sequence[Note], measured: Measurement) -> Diagnosis:
    refusal = measured.refusal()
    text = f"{refusal.message}; looks at it, by the cores that were free:\n{refusal.details}"
    busy = Note(id="busy", text=text, remedy=refusal.remedy)
    return Diagnosis(
        verdict=DiagnoseVerdict.BUSY,
        sizes=(),
        profilers=(),
        findings=(),
        notes=(*notes, busy),
        measured=measured.report,
    )


def _conclude(job: Job, measured: Measurement, seen: Collected, notes: list[Note]) -> Diagnosis:
    """Estimate, judge and find; pure but for the reading of the sources' function names."""
    report = measured.report
    locations = profiles.functions(job.project.root)
    splits: list[SizeSplit] = []
    observations: list[Observed] = []
    smallest = min(result.size for result in report.results)
    seen = _timed(seen, report.results)
    for result in report.results:
        size = result.size
        taken = seen.profiled.get(size)
        sampled = taken.sampled(seen.loop_s) if taken else None
        readings = _readings(job.workload, measured, result, seen, sampled)
        agreement = judge(readings, result.time_s, sampled=sampled, responses=seen.responses)
        notes += _agreement_notes(job.name, size, readings, result.time_s, agreement)
        notes += _outside_notes(job.name, size, taken)
        notes += _speed_notes(job.name, size, taken)
        readings_by = {reading.name: reading for reading in readings}
        splits.append(
            SizeSplit(
                workload=job.name,
                size=size,
                call_s=result.time_s,
                layers=taken.split.layers if taken else (),
                ffi=agreement.ffi,
                workers_s=taken.split.workers_s if taken else None,
                quantities=quantities(readings_by, sampled, taken.split if taken else None),
            )
        )
        observations.append(
            _observed(job, result, agreement.ffi, seen, locations, smallest=size == smallest)
        )
    verdict = verdict_of(
        report.verdict,
        splits,
        seen.captures,
        slowdown_limit=job.project.config.profiling.slowdown_limit,
    )
    notes += unasked(observations)
    start = start_values(job.project, job.name)
    tune = job.project.config.tune
    crossings = [*against_reference(report.results, report.noise_floor), *seen.crossings]
    return Diagnosis(
        verdict=verdict,
        sizes=tuple(splits),
        profilers=seen.captures,
        # What fixing something would gain is said in times that may not be believed then.
        findings=() if verdict is DiagnoseVerdict.UNTRUSTED else find(observations),
        recommendation=recommend(
            report.results,
            job.project.config.parameters_of(job.name),
            current=start,
            grid={**tune.extended_grid, **tune.base_grid},
        ),
        notes=merged(notes),
        measured=report,
        build=audit_build(job.build, job.project),
        model=size_model(job.name, splits, crossings),
    )


def merged(notes: Sequence[Note]) -> tuple[Note, ...]:
    """Each note once; one that holds at several sizes of a workload names them all."""
    places: dict[Note, list[str]] = {}
    for note in notes:
        places.setdefault(dataclasses.replace(note, where=""), []).append(note.where)
    return tuple(
        dataclasses.replace(note, where=_places(dict.fromkeys(own))) for note, own in places.items()
    )


def _places(places: Iterable[str]) -> str:
    """`price at 1k` and `price at 10k` become `price at 1k, 10k`."""
    sizes: dict[str, list[str]] = {}
    for place in places:
        name, _, size = place.partition(" at ")
        sizes.setdefault(name, []).append(size)
    return "; ".join(
        f"{name} at {', '.join(own)}" if all(own) else name for name, own in sizes.items() if name
    )


def _observed(
    job: Job,
    result: SizeResult,
    ffi: FfiEstimate,
    seen: Collected,
    locations: Mapping[str, str],
    *,
    smallest: bool,
) -> Observed:
    """One size as the rules read it."""
    taken = seen.profiled.get(result.size)
    # Why the reference is faster is only known where it was profiled.
    reference = seen.reference if seen.reference_size == result.size else None
    return Observed(
        workload=job.name,
        size=result.size,
        call_s=result.time_s,
        result=result,
        ffi=ffi,
        stacks=taken.stacks if taken else (),
        region_samples=taken.region_samples if taken else 0.0,
        design_effect=taken.capture.design_effect if taken else 1.0,
        layers=by_layer(taken.split.layers) if taken else {},
        workers_s=taken.split.workers_s if taken else None,
        threads=job.threads,
        smallest=smallest,
        gil_held=seen.gil_held.get(result.size),
        branches=seen.branches.get(result.size, ()),
        flags=seen.flags.get(result.size),
        instructions=seen.instructions,
        line=seen.line,
        reference_stacks=reference.stacks if reference else (),
        # On-CPU samples of the reference's calling thread: the base of its frames' shares.
        reference_samples=float(reference.split.samples) if reference else 0.0,
        crates=profiles.layers_of(job.project, job.build).crates,
        grains=tuple(
            name
            for name, parameter in job.project.config.parameters_of(job.name).items()
            if parameter.kind is Kind.GRAIN
        ),
        locations=locations,
    )


def _readings(
    workload: Workload,
    measured: Measurement,
    result: SizeResult,
    seen: Collected,
    sampled: SampledCall | None,
) -> list[Estimate]:
    """All estimators' answers at one size."""
    point = measured.at(result.size)
    if workload.twin is None:
        twin = unavailable(Method.TWIN, "the workload names no no-compute twin")
    else:
        twin = estimators.twin(point.absolute(times.TWIN), seen.loop_s, call_s=result.time_s)
    if seen.small.times:
        main = {other.size: other.time_s for other in measured.report.results}
        line = estimators.intercept(seen.small.times, seen.loop_s, main=main)
    else:
        line = unavailable(Method.INTERCEPT, seen.small.reason)
    if workload.inner_timer is None:
        inner = unavailable(Method.INNER_TIMER, "the workload names no variant with a clock inside")
    else:
        outside = times.inner_outside(point)
        inner = (
            estimators.inner_timer(outside, seen.loop_s)
            if outside is not None
            else unavailable(Method.INNER_TIMER, "too few valid blocks")
        )
    samples = (
        estimators.sampled_stacks(sampled)
        if sampled is not None
        else unavailable(Method.SAMPLES, why_unsampled(result.size, seen.captures), Covers.FFI)
    )
    return [twin, line, inner, seen.benches[result.size], samples]


def why_unsampled(size: int, captures: Sequence[Capture]) -> str:
    own = [capture for capture in captures if capture.size == size]
    if not own:
        return "no profiler could be used"
    refused = [f"{c.profiler}: {c.reason}" for c in own if not c.accepted]
    return "; ".join(refused) or "only perf's samples can be split by layer"


def _agreement_notes(
    name: str, size: int, readings: Sequence[Estimate], call_s: Interval, agreement: Agreement
) -> list[Note]:
    """The disagreement of each pair where nothing is agreed; what the share covers where it is."""
    where = f"{name} at {format_count(size)}"
    if agreement.ffi.agree:
        if agreement.covers is Covers.FFI:
            return []
        text = (
            "the FFI share includes the allocation of the output: only samples could tell the two "
            "apart, and they did not take part"
        )
        return [Note(id="ffi_with_output", text=text, where=where)]
    return [
        Note(id="estimators_differ", text=text, where=where)
        for text in differences(readings, call_s)
    ]


def _timed(seen: Collected, results: Sequence[SizeResult]) -> Collected:
    """What was profiled, in seconds of the calls that were timed without a profiler."""
    call_s = {result.size: result.time_s.estimate for result in results}
    profiled = {
        size: taken.of_a_call(call_s[size]) if size in call_s else taken
        for size, taken in seen.profiled.items()
    }
    return dataclasses.replace(seen, profiled=profiled)


def _speed_notes(name: str, size: int, taken: Profiled | None) -> list[Note]:
    """The profiled process ran the call at another speed than the timed ones."""
    if taken is None or not taken.capture.region_s or not taken.capture.calls:
        return []
    there, here = taken.capture.region_s / taken.capture.calls, taken.split.call_s
    if abs(there / here - 1) <= _OTHER_SPEED:
        return []
    text = (
        f"the profiled process took {format_seconds(there)} for the call that takes "
        f"{format_seconds(here)} otherwise: the shares are its own, the seconds are those shares "
        "of the call as it was timed"
    )
    return [Note(id="other_speed", text=text, where=f"{name} at {format_count(size)}")]


def _outside_notes(name: str, size: int, taken: Profiled | None) -> list[Note]:
    """A call that never enters native code of the subject has no boundary to speak of."""
    if taken is None:
        return []
    calling = [stack for stack in taken.stacks if stack.calling]
    samples = sum(stack.count for stack in calling)
    inside = sum(stack.count for stack in calling if stack.layer in _NATIVE)
    if inside > _STRAY_SHARE * samples:
        return []
    return [
        Note(
            id="no_extension",
            text=f"{inside:,} of {samples:,} samples lie in the extension: the call is Python, or "
            "does next to nothing",
            where=f"{name} at {format_count(size)}",
            remedy="see that the workload's `call` is the extension's function",
        )
    ]


def verdict_of(
    measured: MeasureVerdict,
    splits: Sequence[SizeSplit],
    captures: Sequence[Capture],
    *,
    slowdown_limit: float,
) -> DiagnoseVerdict:
    """What may be believed: the worst of what stands behind any size.

    A capture that failed for another reason than its cost (too few samples, frames without names)
    distorts nothing: the check that it would have been is missing. So it is where fewer than two
    estimators have an answer: these cannot disagree.
    """
    if measured is MeasureVerdict.UNTRUSTED:
        return DiagnoseVerdict.UNTRUSTED
    unsplit = {split.size for split in splits if not split.layers}
    distorted = {
        capture.size
        for capture in captures
        if not capture.accepted
        and capture.slowdown is not None
        and capture.slowdown.high >= slowdown_limit
    }
    if unsplit & distorted:
        return DiagnoseVerdict.DISTORTED
    if any(not split.ffi.agree and independent(split.ffi) > 1 for split in splits):
        return DiagnoseVerdict.DISAGREE
    checked = all(split.ffi.agree for split in splits)
    if unsplit or not checked or measured is not MeasureVerdict.OK:
        return DiagnoseVerdict.UNCHECKED
    return DiagnoseVerdict.OK

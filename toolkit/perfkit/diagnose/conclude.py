"""`perfkit diagnose` from end to end: build, time, profile, estimate, judge.

Only the order of things is here. Nothing is measured or decided in this module itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from perfkit.checks.built import audit_build
from perfkit.config import Kind
from perfkit.diagnose import estimators, profiles, times
from perfkit.diagnose.agree import differences, judge
from perfkit.diagnose.collect import NOT_YET, Collected, collect
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
    NoteId,
    Place,
    SizeSplit,
)
from perfkit.stacks import bounds
from perfkit.stacks.split import NO_DOUBTS, by_layer
from perfkit.subject.job import job_for
from perfkit.subject.parameters import assign, start_values
from perfkit.units import format_count, format_seconds, format_share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.config import Project, Workload
    from perfkit.diagnose.agree import Agreement
    from perfkit.diagnose.profiles import Profiled
    from perfkit.records import Capture, Estimate
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
    """The job of a diagnosis: its parameters have their starting values.

    Raises:
        UsageError: there is no such workload.
        BuildError: the subject does not compile.
    """
    name, _ = project.workload(workload)
    start = assign(project, start_values(project, name))
    return job_for(project, name, builder, run, assignment=start, **options)


def diagnose(job: Job, sizes: Sequence[int], *, verify: bool = False) -> Diagnosis:
    """Split the time of a call by layer at each size, by more than one method. What the samples say
    is told as soon as a size is profiled.

    Args:
        verify: also inject known delays at the boundary, where the config names a `delay_hook`,
            and force both branches of every threshold: both need extra builds.

    Returns:
        A diagnosis; without room on the machine nothing is timed, and its verdict is `contended`;
        without sentinels it is at best `unchecked`. After Ctrl-C, what is known so far.

    Raises:
        BuildError: the subject does not compile.
        WorkloadError: the workload raised.
        WrongResultError: subject and reference disagree.
    """
    notes = [*job.build.notes, *check_results(job, sizes, variants_for(job)[:1]).notes]
    locations = profiles.functions(job.project.root)
    seen = Collected()
    try:
        for seen in collect(job, sizes, verify=verify, notes=notes):
            if seen.measured is None:
                for line in _first_words(job, seen, locations):
                    job.tell(line)
    except KeyboardInterrupt:
        if not seen.call_s:
            raise
        text = "interrupted: what is said is so, and what had not been asked yet is missing"
        notes.append(Note(id=NoteId.INTERRUPTED, text=text, remedy="run it again"))
    return _conclude(job, seen, notes, locations)


def was_interrupted(diagnosis: Diagnosis) -> bool:
    """Whether Ctrl-C ended a diagnosis before everything was asked."""
    return any(note.id == NoteId.INTERRUPTED for note in diagnosis.notes)


def _first_words(job: Job, seen: Collected, locations: Mapping[str, str]) -> list[str]:
    """What the samples of the size that was profiled last say already."""
    if not seen.profiled:
        return []
    size = list(seen.profiled)[-1]
    split = _size_split(job, seen, size)[0]
    rows = sorted(bounds.that_matter(split.layers), key=lambda row: -row.share.estimate)
    shown = ", ".join(
        f"{row.layer} {format_share(row.share.low)} to {format_share(row.share.high)}"
        for row in rows
    )
    observed = _observed(job, split, seen, locations)
    found = [f"  {finding.title}" for finding in find([observed])]
    return [f"{job.name} at {format_count(size)}, first look: {shown}", *found]


def _conclude(
    job: Job, seen: Collected, notes: list[Note], locations: Mapping[str, str]
) -> Diagnosis:
    """Estimate, judge and find: pure."""
    report = seen.measured.report if seen.measured is not None else None
    splits: list[SizeSplit] = []
    observations: list[Observed] = []
    for size in sorted(seen.call_s):
        split, own = _size_split(job, seen, size)
        splits.append(split)
        observations.append(_observed(job, split, seen, locations))
        notes += own
    verdict = verdict_of(report.verdict if report else MeasureVerdict.UNCHECKED, splits)
    if seen.measured is not None and not seen.results:
        refusal = seen.measured.refusal()
        text = f"{refusal.message}\n{refusal.details}"
        notes.append(Note(id="busy", text=text, remedy=refusal.remedy))
    notes += unasked(observations)
    tune = job.project.config.tune
    results = tuple(seen.results.values())
    crossings = against_reference(results, report.noise_floor if report else None)
    crossings += [crossing for one in seen.forced for crossing in one.crossings]
    return Diagnosis(
        verdict=verdict,
        sizes=tuple(splits),
        profilers=seen.captures,
        # A gain is a share of times that cannot be trusted then.
        findings=() if verdict is DiagnoseVerdict.UNTRUSTED else find(observations),
        recommendation=recommend(
            results,
            job.project.config.parameters_of(job.name),
            current=start_values(job.project, job.name),
            grid={**tune.extended_grid, **tune.base_grid},
        ),
        notes=merged(notes),
        measured=report,
        build=audit_build(job.build, job.project),
        model=size_model(job.name, splits, crossings),
    )


def _size_split(job: Job, seen: Collected, size: int) -> tuple[SizeSplit, list[Note]]:
    """Where the time of a call goes at one size, and what to know about it."""
    taken, call_s = seen.profiled.get(size), seen.call_s[size]
    sampled = taken.sampled(seen.loop_s) if taken else None
    parts = taken.split if taken else None
    readings = _readings(job.workload, seen, size)
    agreement = judge(readings, call_s, sampled=sampled, responses=seen.responses)
    notes = [*_agreement_notes(readings, call_s, agreement), *_profile_notes(taken)]
    place = Place(workload=job.name, sizes=(size,))
    split = SizeSplit(
        workload=job.name,
        size=size,
        call_s=call_s,
        layers=parts.layers if parts else (),
        ffi=agreement.ffi,
        workers_s=parts.workers_s if parts else None,
        quantities=quantities({one.name: one for one in readings}, sampled, parts),
    )
    return split, [replace(note, place=place) for note in notes]


def merged(notes: Sequence[Note]) -> tuple[Note, ...]:
    """Each note once; one that holds at several sizes of a workload names them all."""
    found: dict[Note, Place | None] = {}
    for note in notes:
        place = note.place
        key = replace(note, place=place and replace(place, sizes=()))
        if place is not None and (known := found.get(key)) is not None:
            # A note on the whole workload holds at every size.
            sizes = place.sizes and known.sizes and (*known.sizes, *place.sizes)
            place = replace(place, sizes=tuple(dict.fromkeys(sizes)))
        found[key] = place
    return tuple(replace(note, place=place) for note, place in found.items())


def _observed(
    job: Job, split: SizeSplit, seen: Collected, locations: Mapping[str, str]
) -> Observed:
    """One size as the rules read it."""
    size, taken = split.size, seen.profiled.get(split.size)
    result = seen.results.get(size)
    # Why the reference is faster is only known where it was profiled.
    reference = seen.reference.get(size)
    parameters = job.project.config.parameters_of(job.name)
    return Observed(
        workload=job.name,
        size=size,
        call_s=split.call_s,
        result=result,
        ffi=split.ffi,
        stacks=taken.stacks if taken else (),
        region_samples=taken.region_samples if taken else 0.0,
        design_effect=taken.capture.design_effect if taken else 1.0,
        doubts=taken.split.doubts if taken else NO_DOUBTS,
        layers=by_layer(split.layers),
        # Without room, what workers did says nothing of a call on a free machine.
        workers_s=split.workers_s if result is not None else None,
        threads=job.threads,
        smallest=size == min(seen.call_s),
        gil_held=seen.gil_held.get(size),
        branches=tuple(one.branches[size] for one in seen.forced if size in one.branches),
        flags=seen.flags.get(size),
        instructions=seen.instructions,
        line=seen.line,
        reference_stacks=reference.stacks if reference else (),
        # On-CPU samples of the reference's calling thread: the base of its frames' shares.
        reference_samples=float(reference.split.samples) if reference else 0.0,
        crates=profiles.layers_of(job.project, job.build).crates,
        grains=tuple(name for name, one in parameters.items() if one.kind is Kind.GRAIN),
        locations=locations,
    )


def _readings(workload: Workload, seen: Collected, size: int) -> list[Estimate]:
    """All estimators' answers at one size; the samples' alone where the call was not timed."""
    samples = unavailable(Method.SAMPLES, why_unsampled(size, seen.captures), Covers.FFI)
    if size in seen.profiled:
        samples = estimators.sampled_stacks(seen.profiled[size].sampled(seen.loop_s))
    if seen.measured is None or size not in seen.results:
        timed = (Method.TWIN, Method.INTERCEPT, Method.INNER_TIMER, Method.BENCH)
        return [*(unavailable(method, seen.untimed) for method in timed), samples]
    result, point, loop_s = seen.results[size], seen.measured.at(size), seen.loop_s
    twin = unavailable(Method.TWIN, "the workload names no no-compute twin")
    if workload.twin is not None:
        twin = estimators.twin(point.absolute(times.TWIN), loop_s, call_s=result.time_s)
    line = unavailable(Method.INTERCEPT, seen.small.reason)
    if seen.small.times:
        line = estimators.intercept(seen.small.times, loop_s, main=seen.call_s)
    inner = unavailable(Method.INNER_TIMER, "the workload names no variant with a clock inside")
    if workload.inner_timer is not None:
        inner = unavailable(Method.INNER_TIMER, "too few valid blocks")
        if (outside := times.inner_outside(point)) is not None:
            inner = estimators.inner_timer(outside, loop_s)
    bench = seen.benches.get(size) or unavailable(Method.BENCH, NOT_YET)
    return [twin, line, inner, bench, samples]


def why_unsampled(size: int, captures: Sequence[Capture]) -> str:
    """Why there is no split at a size."""
    if not any(capture.size == size for capture in captures):
        return "no profiler could be used"
    return "only the samples of perf and sigprof can be split by layer"


def _agreement_notes(
    readings: Sequence[Estimate], call_s: Interval, agreement: Agreement
) -> list[Note]:
    """The disagreement of each pair where nothing is agreed; what the share covers where it is."""
    if agreement.ffi.disagree:
        return [Note(id="estimators_differ", text=text) for text in differences(readings, call_s)]
    if not agreement.ffi.agree or agreement.covers is Covers.FFI:
        return []
    text = (
        "the FFI share includes the allocation of the output: only samples can tell the two "
        "apart, and there are none that agree"
    )
    return [Note(id="ffi_with_output", text=text)]


def _profile_notes(taken: Profiled | None) -> list[Note]:
    """What makes the split another one than the reader expects: a call that never enters native
    code of the subject, and a profiled process that ran the call at another speed.
    """
    if taken is None:
        return []
    notes = []
    calling = [stack for stack in taken.stacks if stack.calling]
    samples = sum(stack.count for stack in calling)
    inside = sum(stack.count for stack in calling if stack.layer in _NATIVE)
    if inside <= _STRAY_SHARE * samples:
        text = (
            f"only {inside:,} of {samples:,} samples are in the extension: the call is Python, or "
            "does next to nothing"
        )
        remedy = "check that the workload's `call` is the extension's function"
        notes.append(Note(id="no_extension", text=text, remedy=remedy))
    if not taken.capture.region_s or not taken.capture.calls:
        return notes
    there, here = taken.call_s.high, taken.split.call_s
    if abs(there / here - 1) > _OTHER_SPEED:
        text = (
            f"the call took {format_seconds(there)} in the profiled process and "
            f"{format_seconds(here)} when it was timed: the shares are from the profile, the "
            "seconds are those shares of the timed call"
        )
        notes.append(Note(id="other_speed", text=text))
    return notes


def verdict_of(measured: MeasureVerdict, splits: Sequence[SizeSplit]) -> DiagnoseVerdict:
    """What the diagnosis comes to: the worst that holds at any size."""
    if measured is MeasureVerdict.UNTRUSTED:
        return DiagnoseVerdict.UNTRUSTED
    known = any(split.ffi.agree for split in splits)
    if not known and not any(bounds.says_something(split.layers) for split in splits):
        return DiagnoseVerdict.BUSY
    if measured is MeasureVerdict.BUSY:
        return DiagnoseVerdict.CONTENDED
    if any(split.ffi.disagree for split in splits):
        return DiagnoseVerdict.DISAGREE
    if not all(bounds.is_told(split.layers) for split in splits):
        return DiagnoseVerdict.BOUNDED
    checked = all(split.ffi.agree for split in splits)
    if not checked or measured is not MeasureVerdict.OK:
        return DiagnoseVerdict.UNCHECKED
    return DiagnoseVerdict.OK

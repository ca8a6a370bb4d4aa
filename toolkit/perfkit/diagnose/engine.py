"""`perfkit diagnose` from end to end: build, time, profile, estimate, judge.

Only the order of things is here. Nothing is measured or decided in this module itself.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.checks.audit import different_flags, parse_rustc, subject_line
from perfkit.diagnose import estimators, profiles, times
from perfkit.diagnose.agree import differences, judge
from perfkit.diagnose.estimators import Covers, Method, Reading, unavailable
from perfkit.diagnose.findings import find
from perfkit.diagnose.observed import Observed
from perfkit.diagnose.recommend import recommend
from perfkit.environment import worker_threads
from perfkit.errors import (
    BuildError,
    CaptureError,
    ConfigError,
    NoVerdictError,
    PermissionRefusedError,
    ToolError,
    ToolMissingError,
    UnreadableOutputError,
    WorkerError,
    WorkloadError,
)
from perfkit.measure import criterion
from perfkit.measure.subject import SUBJECT, size_results
from perfkit.profile.engine import profile_workload
from perfkit.records import (
    DiagnoseVerdict,
    Diagnosis,
    Interval,
    MeasureReport,
    MeasureVerdict,
    Note,
    Profile,
    SizeSplit,
)
from perfkit.stacks.split import by_layer
from perfkit.subject.parameters import assign, start_values
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from perfkit.checks.audit import RustcLine
    from perfkit.config import Project, Workload
    from perfkit.diagnose.agree import Agreement
    from perfkit.diagnose.estimators import Response, Sampled
    from perfkit.diagnose.profiles import Profiled
    from perfkit.measure.plan import Plan
    from perfkit.measure.results import Measurement
    from perfkit.records import Capture, SizeResult
    from perfkit.store import Run
    from perfkit.subject.build import Builder

    Progress = Callable[[str, float | None], None]

BENCH_S = 2.0
"""Seconds that criterion measures a size."""


def _quiet(_message: str, _fraction: float | None) -> None:
    return None


def diagnose(
    project: Project,
    workload: str | None,
    sizes: Sequence[int],
    *,
    builder: Builder,
    run: Run,
    verify: bool = False,
    patience_s: float | None = None,
    seed: int = 1,
    gated: bool = True,
    progress: Progress | None = None,
) -> Diagnosis:
    """Split the time of a call by layer at each size, by more than one method.

    Args:
        workload: its name in the config; the first one when None.
        verify: also inject known delays at the boundary, where the config names a `delay_hook`.
        patience_s: how long to wait for a machine with room; the config's when None.
        gated: whether sentinels decide which blocks count; without them the verdict is at best
            `unchecked`.

    Returns:
        A diagnosis; without room on the machine its verdict is `busy` and it has no sizes.

    Raises:
        BuildError: the subject does not compile.
        WorkloadError: the workload raised.
        WrongResultError: subject and reference disagree.
    """
    name, config = project.workload(workload)
    tell = progress or _quiet
    tell("building the subject", None)
    build = builder.build()
    subject = times.Subject(
        project=project,
        name=name,
        workload=config,
        build=build,
        copy=builder.copy(build),
        assignment=assign(project, start_values(project)),
        threads=worker_threads(project.config.subject.threads),
        seed=seed,
        run=run,
        patience_s=patience_s,
        progress=tell,
        gated=gated,
    )
    notes = [*build.notes, *times.check_results(subject, sizes)]
    plan, measured = times.measure_main(subject, sizes)
    notes += measured.notes
    report = _measure_report(plan, measured)
    if measured.verdict is MeasureVerdict.BUSY:
        return _busy(report, notes, measured)
    seen = _observe(subject, measured, report, sizes, builder, verify=verify, notes=notes)
    return _conclude(subject, report, measured, seen, notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """Everything that was collected, by size where it has one."""

    loop_s: float
    small: times.SmallTimes
    captures: tuple[Capture, ...]
    profiled: Mapping[int, Profiled]
    benches: Mapping[int, Reading]
    responses: tuple[Response, ...]
    gil_held: Mapping[int, Interval]
    line: RustcLine | None


def _busy(report: MeasureReport, notes: Sequence[Note], measured: Measurement) -> Diagnosis:
    refusal = measured.refusal()
    busy = Note(id="busy", text=refusal.message, where=refusal.details, remedy=refusal.remedy)
    return Diagnosis(
        verdict=DiagnoseVerdict.BUSY,
        sizes=(),
        profilers=(),
        findings=(),
        notes=(*notes, busy),
        measured=report,
    )


def _observe(
    subject: times.Subject,
    measured: Measurement,
    report: MeasureReport,
    sizes: Sequence[int],
    builder: Builder,
    *,
    verify: bool,
    notes: list[Note],
) -> _Seen:
    """Collect what stands beside the main measurement; what fails is a note, not the end."""
    subject.progress("timing the loop and the small sizes", None)
    loop_s = times.loop_overhead(subject).estimate
    small = times.measure_small(subject)
    line = subject_line(subject.build.rustc, subject.project.config.subject.module)
    benches = {size: _bench(subject, size, measured, loop_s, line, builder) for size in sizes}
    captures, profiled = _profile(subject, sizes, builder, notes)
    return _Seen(
        loop_s=loop_s,
        small=small,
        captures=captures,
        profiled=profiled,
        benches=benches,
        responses=_delays(subject, sizes, measured, loop_s, notes) if verify else (),
        gil_held=_gil(subject, report, notes),
        line=line,
    )


def _bench(
    subject: times.Subject,
    size: int,
    measured: Measurement,
    loop_s: float,
    line: RustcLine | None,
    builder: Builder,
) -> Reading:
    """E3b at one size, or why it is not available."""
    bench = subject.workload.bench
    if bench is None:
        return unavailable(Method.BENCH, "the workload names no criterion bench")
    subject.progress(f"running the criterion bench at {format_count(size)}", None)
    try:
        built = builder.bench(workload=subject.name)
        found = criterion.run_bench(
            built, bench, size, home=subject.run.path("raw/criterion/x").parent, seconds=BENCH_S
        )
    except (BuildError, ConfigError, ToolError, UnreadableOutputError) as error:
        return unavailable(Method.BENCH, error.message)
    other = _bench_flags(built.rustc, line)
    point = measured.at(size)
    return estimators.call_minus_bench(
        point.absolute(SUBJECT),
        # The bench ran at another time than the call: it is no better known than the call's own
        # time moves from block to block.
        estimators.widened(found.median, times.spread(point)),
        loop_s,
        allocates_output=bench.allocates_output,
        other_flags=other,
    )


def _bench_flags(lines: Sequence[str], line: RustcLine | None) -> tuple[str, ...]:
    """In which flags the bench's copy of the subject's crate differs from the extension's."""
    if line is None:
        return ("the extension's own flags are not known",)
    for text in lines:
        other = parse_rustc(text)
        if other.crate == line.crate:
            return different_flags(line, other)
    return ()


def _profile(
    subject: times.Subject, sizes: Sequence[int], builder: Builder, notes: list[Note]
) -> tuple[tuple[Capture, ...], dict[int, Profiled]]:
    """Profile every size; a profiler that is missing or refused leaves a note."""
    subject.progress("building the subject with symbols", None)
    build = builder.build(profile=Profile.PROFILING)
    layers = profiles.layers_of(subject.project, build)
    captures: list[Capture] = []
    profiled: dict[int, Profiled] = {}
    for size in sizes:
        subject.progress(f"profiling at {format_count(size)}", None)
        try:
            taken = profile_workload(
                subject.project,
                subject.name,
                size,
                build=build,
                run=subject.run,
                builder=builder,
                assignment=subject.assignment,
                threads=subject.threads,
                progress=subject.progress,
            )
        except (ToolMissingError, PermissionRefusedError, ToolError, CaptureError) as error:
            notes.append(
                Note(
                    id="not_profiled",
                    text=error.message,
                    where=f"{subject.name} at {format_count(size)}",
                    remedy=error.remedy,
                )
            )
            continue
        captures += taken
        for capture in taken:
            if profiles.can_split(capture):
                profiled[size] = profiles.read(capture, subject.run, layers)
                _write_table(subject.run, subject.name, size, profiled[size])
                break
    return tuple(captures), profiled


def _write_table(run: Run, name: str, size: int, profiled: Profiled) -> None:
    rows = profiles.hot_frames(profiled)
    columns = ("frame", "layer", "thread", "samples", "share", "seconds_per_call")
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    run.write(f"tables/{name}-{format_count(size)}.frames.csv", text.getvalue())


def _delays(
    subject: times.Subject,
    sizes: Sequence[int],
    measured: Measurement,
    loop_s: float,
    notes: list[Note],
) -> tuple[Response, ...]:
    """E5 at the smallest size."""
    size = min(sizes)
    if subject.project.config.subject.delay_hook is None:
        text = "the config names no delay_hook, so no delay can be injected at the boundary"
        remedy = "export a function that sets a delay in nanoseconds, and name it in the config"
        notes.append(Note(id="no_delay_hook", text=text, remedy=remedy))
        return ()
    subject.progress("injecting known delays", None)
    fixed_s = loop_s
    if subject.workload.twin is not None:
        fixed_s = measured.at(size).absolute(times.TWIN).estimate - loop_s
    try:
        return times.measure_delays(subject, size, fixed_s)
    except NoVerdictError as error:
        notes.append(Note(id="no_delays", text=error.message, remedy=error.remedy))
        return ()


def _gil(subject: times.Subject, report: MeasureReport, notes: list[Note]) -> dict[int, Interval]:
    """Probe the lock at the largest size, where a call is long beside the hand-over."""
    long = [r for r in report.results if r.time_s.low >= times.PROBE_FROM_S]
    if not long:
        return {}
    size = max(result.size for result in long)
    subject.progress("probing the GIL", None)
    try:
        return {size: times.probe_gil(subject, size)}
    except (WorkloadError, WorkerError, ToolError) as error:
        notes.append(Note(id="gil_not_probed", text=error.message, remedy=error.remedy))
        return {}


def _conclude(
    subject: times.Subject,
    report: MeasureReport,
    measured: Measurement,
    seen: _Seen,
    notes: list[Note],
) -> Diagnosis:
    """Estimate, judge and find; pure but for the reading of the sources' function names."""
    locations = profiles.functions(subject.project.root)
    splits: list[SizeSplit] = []
    observations: list[Observed] = []
    smallest = min(result.size for result in report.results)
    for result in report.results:
        size = result.size
        taken = seen.profiled.get(size)
        sampled = taken.sampled(seen.loop_s) if taken else None
        readings = _readings(subject.workload, measured, result, report, seen, sampled)
        agreement = judge(readings, result.time_s, sampled=sampled, responses=seen.responses)
        notes += _agreement_notes(subject.name, size, readings, result.time_s, agreement)
        splits.append(
            SizeSplit(
                workload=subject.name,
                size=size,
                call_s=result.time_s,
                layers=taken.split.layers if taken else (),
                ffi=agreement.ffi,
                workers_s=taken.split.workers_s if taken else None,
            )
        )
        observations.append(
            Observed(
                workload=subject.name,
                size=size,
                call_s=result.time_s,
                result=result,
                ffi=agreement.ffi,
                stacks=taken.stacks if taken else (),
                region_samples=taken.region_samples if taken else 0.0,
                layers=by_layer(taken.split.layers) if taken else {},
                workers_s=taken.split.workers_s if taken else None,
                threads=subject.threads,
                smallest=size == smallest,
                gil_held=seen.gil_held.get(size),
                line=seen.line,
                locations=locations,
            )
        )
    start = start_values(subject.project)
    tune = subject.project.config.tune
    return Diagnosis(
        verdict=_verdict(measured.verdict, splits, seen),
        sizes=tuple(splits),
        profilers=seen.captures,
        findings=find(observations),
        recommendation=recommend(
            report.results,
            subject.project.config.parameters,
            current=start,
            grid={**tune.extended_grid, **tune.base_grid},
        ),
        notes=tuple(dict.fromkeys(notes)),
        measured=report,
    )


def _readings(
    workload: Workload,
    measured: Measurement,
    result: SizeResult,
    report: MeasureReport,
    seen: _Seen,
    sampled: Sampled | None,
) -> list[Reading]:
    """All estimators' answers at one size."""
    point = measured.at(result.size)
    if workload.twin is None:
        twin = unavailable(Method.TWIN, "the workload names no no-compute twin")
    else:
        twin = estimators.twin(point.absolute(times.TWIN), seen.loop_s, call_s=result.time_s)
    if seen.small.times:
        main = {other.size: other.time_s for other in report.results}
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
        else unavailable(Method.SAMPLES, _why_unsampled(result.size, seen.captures), Covers.FFI)
    )
    return [twin, line, inner, seen.benches[result.size], samples]


def _why_unsampled(size: int, captures: Sequence[Capture]) -> str:
    own = [capture for capture in captures if capture.size == size]
    if not own:
        return "no profiler could be used"
    refused = [f"{c.profiler}: {c.reason}" for c in own if not c.accepted]
    return "; ".join(refused) or "only perf's samples can be split by layer"


def _agreement_notes(
    name: str,
    size: int,
    readings: Sequence[Reading],
    call_s: Interval,
    agreement: Agreement,
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


def _verdict(measured: MeasureVerdict, splits: Sequence[SizeSplit], seen: _Seen) -> DiagnoseVerdict:
    """What may be believed: the worst of what stands behind any size."""
    unsplit = [split.size for split in splits if not split.layers]
    distorted = {
        capture.size
        for capture in seen.captures
        if capture.size in unsplit and not capture.accepted and capture.slowdown is not None
    }
    if distorted:
        return DiagnoseVerdict.DISTORTED
    if unsplit:
        return DiagnoseVerdict.UNCHECKED
    if not all(split.ffi.agree for split in splits):
        return DiagnoseVerdict.DISAGREE
    if measured is not MeasureVerdict.OK:
        return DiagnoseVerdict.UNCHECKED
    return DiagnoseVerdict.OK


def _measure_report(plan: Plan, measured: Measurement) -> MeasureReport:
    """The timed part as `perfkit measure` reports it."""
    return MeasureReport(
        verdict=measured.verdict,
        noise_floor=measured.noise_floor,
        results=tuple(size_results(plan, measured)),
        notes=measured.notes,
        loaded=measured.loaded,
        seconds=measured.seconds,
        effective_cores=measured.effective_cores,
    )

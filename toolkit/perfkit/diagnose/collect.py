"""What a diagnosis collects beside the main measurement: small sizes, benches, captures, probes.

Each part may fail by itself: what cannot be had becomes a reading with a reason or a note, never
the end of the diagnosis. What it all means is judged in `engine.py`.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.checks.audit import bench_flags, subject_line
from perfkit.diagnose import branches, estimators, flags, profiles, times
from perfkit.diagnose.estimators import Method, Reading, unavailable
from perfkit.diagnose.observed import Counted
from perfkit.diagnose.rules import MATH_FROM
from perfkit.errors import (
    BuildError,
    CaptureError,
    ConfigError,
    NoVerdictError,
    PermissionRefusedError,
    SourceError,
    ToolError,
    ToolMissingError,
    UnreadableOutputError,
    WorkerError,
    WorkloadError,
)
from perfkit.measure import criterion
from perfkit.measure.subject import SUBJECT
from perfkit.profile import callgrind
from perfkit.profile.engine import profile_workload
from perfkit.records import Note, Profile
from perfkit.subject.parameters import start_values
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.checks.audit import RustcLine
    from perfkit.diagnose.estimators import Response
    from perfkit.diagnose.observed import Branches, Flags
    from perfkit.diagnose.profiles import Profiled
    from perfkit.measure.results import Measurement
    from perfkit.records import Capture, Interval, MeasureReport
    from perfkit.store import Run
    from perfkit.subject.build import Builder

BENCH_S = 2.0
"""Seconds that criterion measures a size."""
NO_PROFILE = (ToolMissingError, PermissionRefusedError, ToolError, CaptureError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything that was collected, by size where it has one."""

    loop_s: float
    small: times.SmallTimes
    captures: tuple[Capture, ...]
    profiled: Mapping[int, Profiled]
    benches: Mapping[int, Reading]
    responses: tuple[Response, ...]
    gil_held: Mapping[int, Interval]
    line: RustcLine | None
    branches: Mapping[int, tuple[Branches, ...]]
    flags: Mapping[int, Flags]
    instructions: Counted | None
    reference: Profiled | None


def collect(
    subject: times.Subject,
    measured: Measurement,
    report: MeasureReport,
    sizes: Sequence[int],
    builder: Builder,
    *,
    verify: bool,
    notes: list[Note],
) -> Seen:
    """Collect what stands beside the main measurement; what fails is a note, not the end."""
    subject.progress("timing the loop and the small sizes", None)
    loop_s = times.loop_overhead(subject).estimate
    small = times.measure_small(subject)
    line = subject_line(subject.build.rustc, subject.project.config.subject.module)
    benches = {size: _bench(subject, size, measured, loop_s, builder) for size in sizes}
    captures, profiled = _profile(subject, sizes, builder, notes)
    return Seen(
        loop_s=loop_s,
        small=small,
        captures=captures,
        profiled=profiled,
        benches=benches,
        responses=_delays(subject, sizes, measured, loop_s, notes) if verify else (),
        gil_held=_gil(subject, report, notes),
        line=line,
        flags=_flags(subject, sizes, line, builder, notes) if verify else {},
        instructions=_instructions(subject, profiled, builder),
        branches=_branches(subject, sizes, builder, notes) if verify else {},
        reference=_reference(subject, report, builder, notes),
    )


def _bench(
    subject: times.Subject,
    size: int,
    measured: Measurement,
    loop_s: float,
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
    module = subject.project.config.subject.module
    other = bench_flags(built.rustc, subject.build.rustc, module)
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


def _branches(
    subject: times.Subject, sizes: Sequence[int], builder: Builder, notes: list[Note]
) -> Mapping[int, tuple[Branches, ...]]:
    """Force both branches of every threshold that decides one of the sizes."""
    start = start_values(subject.project)
    found: dict[int, tuple[Branches, ...]] = {}
    parameters = subject.project.config.parameters_of(subject.name)
    for name, parameter in branches.thresholds(parameters, sizes):
        wanted = [size for size in sizes if not parameter.sizes or size in parameter.sizes]
        try:
            forced = branches.force(subject, name, sizes, start, builder)
        except (BuildError, SourceError, WorkloadError, WorkerError) as error:
            text = f"the branches of {name} could not be forced: {error.message}"
            notes.append(Note(id="not_forced", text=text, remedy=error.remedy))
            continue
        if not forced:
            text = f"the branches of {name} were not timed: no whole number, or no room to measure"
            notes.append(Note(id="not_forced", text=text))
            continue
        crossing = next(iter(forced.values())).crossover
        text = f"the branches of {name}: the one above it is faster from a size on that is "
        notes.append(Note(id="crossover", text=text + crossing.described(), where=subject.name))
        for size in wanted:
            found[size] = (*found.get(size, ()), forced[size])
    return found


def _flags(
    subject: times.Subject,
    sizes: Sequence[int],
    line: RustcLine | None,
    builder: Builder,
    notes: list[Note],
) -> Mapping[int, Flags]:
    """What LTO and one codegen unit would gain, where the build goes without."""
    wanted = flags.missing(line) if line is not None else {}
    if not wanted:
        return {}
    try:
        found = flags.measure_flags(subject, sizes, builder, wanted)
    except (BuildError, WorkloadError, WorkerError, NoVerdictError) as error:
        text = f"{flags.named(wanted)} could not be tried: {error.message}"
        notes.append(Note(id="flags_not_measured", text=text, remedy=error.remedy))
        return {}
    if not found:
        text = f"{flags.named(wanted)} changes no machine code, or there was no room to measure"
        notes.append(Note(id="flags_not_measured", text=text))
    return found


def _instructions(
    subject: times.Subject, profiled: Mapping[int, Profiled], builder: Builder
) -> Counted | None:
    """Count instructions at the smallest size, where a math library takes part of a call."""
    if not any(profiles.math_share(taken) >= MATH_FROM for taken in profiled.values()):
        return None
    size = min(profiled)
    subject.progress(f"counting instructions at {format_count(size)}", None)
    try:
        (capture,) = profile_workload(
            subject.project,
            subject.name,
            size,
            build=builder.build(profile=Profile.PROFILING),
            run=subject.run,
            names=["callgrind"],
            assignment=subject.assignment,
            threads=1,
            progress=subject.progress,
        )
        counted = callgrind.with_math(capture, subject.run)
    except (*NO_PROFILE, BuildError, UnreadableOutputError, WorkloadError, WorkerError) as error:
        return Counted(per_element=None, size=size, reason=error.message)
    return Counted(per_element=counted / size, size=size)


def _reference(
    subject: times.Subject, report: MeasureReport, builder: Builder, notes: list[Note]
) -> Profiled | None:
    """The reference's own profile, at the size where it wins by most; None where it does not."""
    reference = subject.workload.reference
    losing = [r for r in report.results if r.speedup is not None and r.speedup.high < 1]
    if reference is None or not losing:
        return None
    size = min(losing, key=lambda r: r.speedup.estimate if r.speedup else 1.0).size
    subject.progress(f"profiling the reference at {format_count(size)}", None)
    # The reference takes the place of the call in a workload of its own, so that its files have
    # names of their own.
    name = f"{subject.name}-reference"
    config = subject.project.config
    stand_in = subject.workload.model_copy(update={"call": reference})
    workloads = {**config.workloads, name: stand_in}
    project = dataclasses.replace(
        subject.project, config=config.model_copy(update={"workloads": workloads})
    )
    build = builder.build(profile=Profile.PROFILING)
    try:
        taken = profile_workload(
            project,
            name,
            size,
            build=build,
            run=subject.run,
            names=["perf"],
            threads=config.measure.reference_threads,
            progress=subject.progress,
        )
    except NO_PROFILE as error:
        notes.append(Note(id="reference_not_profiled", text=error.message, remedy=error.remedy))
        return None
    layers = profiles.layers_of(subject.project, build)
    usable = [capture for capture in taken if profiles.can_split(capture)]
    return profiles.read(usable[0], subject.run, layers) if usable else None

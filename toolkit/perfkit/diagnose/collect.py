"""What a diagnosis collects beside the main measurement: small sizes, benches, captures, probes.

A part that fails becomes a reading with a reason, or a note; it never ends the diagnosis. What it
all means is in `conclude.py`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from perfkit.checks.audit import bench_flags, subject_line
from perfkit.config import Backend
from perfkit.diagnose import branches, estimators, flags, probes, profiles, times
from perfkit.diagnose.estimators import Method, unavailable
from perfkit.diagnose.observed import Counted
from perfkit.diagnose.rules import MATH_FROM
from perfkit.environment import worker_threads
from perfkit.errors import PerfkitError
from perfkit.measure import criterion
from perfkit.measure.ratios import widened
from perfkit.measure.variants import SUBJECT
from perfkit.profile import analyse, callgrind
from perfkit.profile.profilers import profile
from perfkit.records import Note, Profile
from perfkit.stacks import bounds
from perfkit.subject.parameters import Assignment, start_values
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from perfkit.config import Parameter
    from perfkit.diagnose.branches import Forced
    from perfkit.diagnose.estimators import Response
    from perfkit.diagnose.observed import Flags
    from perfkit.diagnose.profiles import Profiled
    from perfkit.measure.results import Measurement
    from perfkit.records import Build, Capture, Estimate, Interval, SizeResult
    from perfkit.subject.job import Job
    from perfkit.subject.rustc import RustcLine

T = TypeVar("T")

BENCH_S = 2.0
"""Seconds that criterion measures a size."""
ROUTINE = ("tried", "rates_agree", "outside_region", "raw_not_kept", "native_share")
"""Notes of a capture that change nothing about how its split is to be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """Everything that was collected, by size where it has one.

    Attributes:
        loop_s: what the timing loop takes per call.
        profiled: in seconds of the calls that were timed without a profiler.
        forced: of each threshold, its branches or the reason why they were not timed.
        reference: its profile, at the one size where it wins by most.
    """

    loop_s: float
    small: times.SmallTimes
    captures: tuple[Capture, ...]
    profiled: Mapping[int, Profiled]
    benches: Mapping[int, Estimate]
    responses: tuple[Response, ...]
    gil_held: Mapping[int, Interval]
    line: RustcLine | None
    forced: tuple[Forced, ...]
    reference: Mapping[int, Profiled]
    flags: Mapping[int, Flags]
    instructions: Counted | None


def aside(notes: list[Note], note: str, otherwise: T, make: Callable[[], T]) -> T:
    """What `make` collects; where it fails, a note named `note` with the reason, and `otherwise`.

    Whatever goes wrong beside the main measurement costs one answer, never the whole diagnosis.
    """
    try:
        return make()
    except PerfkitError as error:
        notes.append(Note(id=note, text=error.message, where=error.where, remedy=error.remedy))
        return otherwise


def collect(
    job: Job, measured: Measurement, sizes: Sequence[int], *, verify: bool, notes: list[Note]
) -> Collected:
    """Collect all but the main measurement; what fails is a note, not the end."""
    results = measured.report.results
    job.tell("timing the loop and the small sizes")
    loop_s = probes.loop_overhead(job).estimate
    small = _small(job)
    line = subject_line(job.build.rustc, job.project.config.subject.module)
    benches = {size: _bench(job, size, measured, loop_s) for size in sizes}
    captures, profiled = _profile(job, sizes, notes)
    call_s = {result.size: result.time_s.estimate for result in results}
    return Collected(
        loop_s=loop_s,
        small=small,
        captures=captures,
        profiled={size: taken.of_a_call(call_s[size]) for size, taken in profiled.items()},
        benches=benches,
        responses=_delays(job, sizes, measured, loop_s, notes) if verify else (),
        gil_held=_gil(job, results, notes),
        line=line,
        forced=_thresholds(job, sizes, verify=verify),
        reference=_reference(job, _lost_at(job, results), notes),
        flags=_flags(job, sizes, line, notes) if verify else {},
        instructions=_instructions(job, profiled),
    )


def collect_contended(job: Job, sizes: Sequence[int], notes: list[Note]) -> Collected:
    """What a machine without room lets one see: samples, and no times."""
    captures, profiled = _profile(job, sizes, notes)
    nothing = times.SmallTimes(times={}, reason="the machine had no room to time anything")
    return Collected(
        loop_s=0.0,
        small=nothing,
        captures=captures,
        profiled={
            size: dataclasses.replace(taken, split=bounds.contended(taken.split))
            for size, taken in profiled.items()
        },
        benches={},
        responses=(),
        gil_held={},
        line=subject_line(job.build.rustc, job.project.config.subject.module),
        forced=(),
        reference={},
        flags={},
        instructions=None,
    )


def _small(job: Job) -> times.SmallTimes:
    """The times at small sizes, or why there are none."""
    try:
        return times.measure_small(job)
    except PerfkitError as error:
        return times.SmallTimes(times={}, reason=error.message)


def _bench(job: Job, size: int, measured: Measurement, loop_s: float) -> Estimate:
    """E3b at one size, or why it is not available."""
    bench = job.workload.bench
    if bench is None:
        return unavailable(Method.BENCH, "the workload names no criterion bench")
    job.tell(f"running the criterion bench at {format_count(size)}")
    try:
        built = job.builder.bench(job.name)
        found = criterion.run_bench(
            built, bench, size, home=job.run.path("raw/criterion/x").parent, seconds=BENCH_S
        )
    except PerfkitError as error:
        return unavailable(Method.BENCH, error.message)
    call_s, moves = measured.at(size).absolute(SUBJECT), times.spread(measured.at(size))
    return estimators.call_minus_bench(
        call_s,
        # The bench ran at another time than the call, so it is only known as well as the call's
        # time holds from block to block.
        widened(found.median, moves * found.median.estimate),
        loop_s,
        allocates_output=bench.allocates_output,
        other_flags=bench_flags(built.rustc, job.build.rustc, job.project.config.subject.module),
    )


def _profile(
    job: Job, sizes: Sequence[int], notes: list[Note]
) -> tuple[tuple[Capture, ...], dict[int, Profiled]]:
    """Profile every size; a build or a profiler that fails leaves a note."""
    job.tell("building the subject with symbols")
    build = aside(notes, "not_profiled", None, lambda: job.builder.build(profile=Profile.PROFILING))
    if build is None:
        return (), {}
    captures: list[Capture] = []
    profiled: dict[int, Profiled] = {}
    job = dataclasses.replace(job, build=build)
    for size in sizes:
        place = f"{job.name} at {format_count(size)}"
        job.tell(f"profiling at {format_count(size)}")
        own: list[Note] = []
        nothing: tuple[Capture, ...] = ()
        taken = aside(own, "not_profiled", nothing, partial(profile, job, size))
        captures += taken
        usable = next((capture for capture in taken if profiles.can_split(capture)), None)
        if usable is not None:
            read = aside(own, "not_split", None, partial(_read, job, usable, build))
            if read is not None:
                profiled[size] = read
                analyse.write_tables(usable, job.run, profiles.layers_of(job.project, build))
        notes += [dataclasses.replace(note, where=place) for note in own]
        notes += capture_notes(taken if usable is None else (usable,), place)
    return tuple(captures), profiled


def _read(job: Job, capture: Capture, build: Build) -> Profiled:
    return profiles.read(capture, job.run, profiles.layers_of(job.project, build))


def capture_notes(captures: Sequence[Capture], place: str) -> list[Note]:
    """What a capture says about how to read it, such as a kernel that could not be seen."""
    return [
        dataclasses.replace(note, where=place)
        for capture in captures
        for note in capture.notes
        if note.id not in ROUTINE
    ]


def _delays(
    job: Job, sizes: Sequence[int], measured: Measurement, loop_s: float, notes: list[Note]
) -> tuple[Response, ...]:
    """E5 at the smallest size."""
    size = min(sizes)
    if job.project.config.subject.delay_hook is None:
        text = "the config names no delay_hook, so no delay can be injected at the boundary"
        remedy = "export a function that sets a delay in nanoseconds, and name it in the config"
        notes.append(Note(id="no_delay_hook", text=text, remedy=remedy))
        return ()
    job.tell("injecting known delays")
    fixed_s = loop_s
    if job.workload.twin is not None:
        fixed_s = measured.at(size).absolute(times.TWIN).estimate - loop_s
    return aside(notes, "no_delays", (), lambda: probes.measure_delays(job, size, fixed_s))


def _gil(job: Job, results: Sequence[SizeResult], notes: list[Note]) -> dict[int, Interval]:
    """Probe the lock at the largest size, where a call is long beside the hand-over."""
    long = [r.size for r in results if r.time_s.low >= probes.PROBE_FROM_S]
    if not long:
        return {}
    size = max(long)
    if worker_threads(0) < 2:
        text = (
            "the GIL was not probed: on one core a second thread waits for the core, whether or "
            "not the call holds the lock"
        )
        notes.append(Note(id="gil_not_probed", text=text, where=job.name))
        return {}
    job.tell("probing the GIL")
    return aside(notes, "gil_not_probed", {}, lambda: {size: probes.probe_gil(job, size)})


def _thresholds(job: Job, sizes: Sequence[int], *, verify: bool) -> tuple[Forced, ...]:
    """Force both branches of every threshold that decides one of the sizes.

    A constant takes two extra builds, so it is forced only with `--verify`.
    """
    start = start_values(job.project, job.name)
    parameters = job.project.config.parameters_of(job.name)
    found = []
    for name, parameter in branches.thresholds(parameters, sizes):
        reason = "forcing a constant takes two builds; --verify does it"
        if verify or parameter.backend is not Backend.CONST:
            try:
                found.append(_force(job, name, parameter, sizes))
                continue
            except PerfkitError as error:
                reason = error.message
        found.append(branches.not_measured(name, start.get(name), reason))
    return tuple(found)


def _flags(
    job: Job, sizes: Sequence[int], line: RustcLine | None, notes: list[Note]
) -> Mapping[int, Flags]:
    """What LTO and one codegen unit would gain, where the build goes without."""
    wanted = flags.missing(line) if line is not None else {}
    if not wanted:
        return {}
    found: Mapping[int, Flags] = {}
    text, remedy = "changes no machine code, or there was no room to measure", ""
    try:
        found = flags.measure_flags(job, sizes, wanted)
    except PerfkitError as error:
        text, remedy = f"could not be tried: {error.message}", error.remedy
    if not found:
        text = f"{flags.named(wanted)} {text}"
        notes.append(Note(id="flags_not_measured", text=text, remedy=remedy))
    return found


def _instructions(job: Job, profiled: Mapping[int, Profiled]) -> Counted | None:
    """Count instructions at the smallest size, where a math library takes part of a call."""
    if not any(profiles.math_share(taken) >= MATH_FROM for taken in profiled.values()):
        return None
    size = min(profiled)
    job.tell(f"counting instructions at {format_count(size)}")
    try:
        build = job.builder.build(profile=Profile.PROFILING)
        alone = dataclasses.replace(job, build=build, threads=1)
        (capture,) = profile(alone, size, names=["callgrind"])
        counted = callgrind.with_math(capture, job.run)
    except PerfkitError as error:
        return Counted(per_element=None, size=size, reason=error.message)
    return Counted(per_element=counted / size, size=size)


def _force(job: Job, name: str, parameter: Parameter, sizes: Sequence[int]) -> Forced:
    probed, _ = times.sizes_taken(job, branches.probes(sizes))
    own = [size for size in sizes if size in probed]
    return branches.force(
        job,
        name,
        [size for size in own if not parameter.sizes or size in parameter.sizes],
        start_values(job.project, job.name),
        probed=probed,
    )


def _lost_at(job: Job, results: Sequence[SizeResult]) -> int | None:
    """The size at which the reference wins by most; None where it does not."""
    losing = {r.size: r.speedup for r in results if r.speedup is not None and r.speedup.high < 1}
    if job.workload.reference is None or not losing:
        return None
    return min(losing, key=lambda size: losing[size].estimate)


def _reference(job: Job, size: int | None, notes: list[Note]) -> dict[int, Profiled]:
    """The reference's own profile at the size where it wins by most, if there is one."""
    if size is None:
        return {}
    taken = aside(notes, "reference_not_profiled", None, partial(_profile_reference, job, size))
    return {size: taken} if taken is not None else {}


def _profile_reference(job: Job, size: int) -> Profiled | None:
    job.tell(f"profiling the reference at {format_count(size)}")
    build = job.builder.build(profile=Profile.PROFILING)
    # The reference takes the place of the call in another workload, so that its files have other
    # names.
    stand_in = dataclasses.replace(
        job,
        name=f"{job.name}-reference",
        workload=job.workload.model_copy(update={"call": job.workload.reference}),
        build=build,
        assignment=Assignment(),
        threads=job.settings.reference_threads,
    )
    taken = profile(stand_in, size, names=["perf"])
    usable = next((capture for capture in taken if profiles.can_split(capture)), None)
    return _read(job, usable, build) if usable is not None else None

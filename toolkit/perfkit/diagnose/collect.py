"""What a diagnosis collects beside the main measurement: small sizes, benches, captures, probes.

A part that fails becomes a reading with a reason, or a note; it never ends the diagnosis. What it
all means is in `conclude.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
from perfkit.records import MeasureVerdict, Note, NoteId, Place, Profile
from perfkit.stacks import bounds
from perfkit.subject.parameters import Assignment, start_values
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

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
ROUTINE = (NoteId.TRIED, NoteId.RATES_AGREE, NoteId.OUTSIDE_REGION, NoteId.RAW_NOT_KEPT)
"""Notes of a capture that change nothing about how its split is to be read."""


NOT_YET = "not timed yet when the diagnosis was interrupted"
NO_ROOM = "the machine had no room to time anything"


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """Everything that was collected so far, by size where it has one.

    Attributes:
        measured: the main measurement; None before it was made.
        untimed: why nothing else was timed.
        loop_s: what the timing loop takes per call.
        profiled: once the call was timed without a profiler, in seconds of that call.
        forced: of each threshold, its branches or the reason why they were not timed.
        reference: its profile, at the one size where it wins by most.
    """

    measured: Measurement | None = None
    untimed: str = NOT_YET
    loop_s: float = 0.0
    small: times.SmallTimes = field(
        default_factory=lambda: times.SmallTimes(times={}, reason=NOT_YET)
    )
    captures: tuple[Capture, ...] = ()
    profiled: Mapping[int, Profiled] = field(default_factory=dict)
    benches: Mapping[int, Estimate] = field(default_factory=dict)
    responses: tuple[Response, ...] = ()
    gil_held: Mapping[int, Interval] = field(default_factory=dict)
    line: RustcLine | None = None
    forced: tuple[Forced, ...] = ()
    reference: Mapping[int, Profiled] = field(default_factory=dict)
    flags: Mapping[int, Flags] = field(default_factory=dict)
    instructions: Counted | None = None

    @property
    def results(self) -> dict[int, SizeResult]:
        """What was measured, by size; nothing before, and without room on the machine."""
        if self.measured is None or self.measured.report.verdict is MeasureVerdict.BUSY:
            return {}
        return {result.size: result for result in self.measured.report.results}

    @property
    def call_s(self) -> dict[int, Interval]:
        """Time per call by size: as it was timed, else as it was in the profiled process."""
        if results := self.results:
            return {size: result.time_s for size, result in results.items()}
        return {size: taken.call_s for size, taken in self.profiled.items()}


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
    job: Job, sizes: Sequence[int], *, verify: bool, notes: list[Note]
) -> Iterator[Collected]:
    """Collect everything, and yield what there is after each part: samples first, because they
    say most of all and soonest. What fails is a note, not the end.
    """
    seen = Collected(line=subject_line(job.build.rustc, job.project.config.subject.module))
    for captures, profiled in _profile(job, sizes, notes):
        seen = replace(seen, captures=captures, profiled=profiled)
        yield seen
    measured = times.measure_main(job, sizes)
    notes += measured.report.notes
    seen = replace(seen, measured=measured)
    if not seen.results:
        yield replace(
            seen,
            untimed=NO_ROOM,
            small=times.SmallTimes(times={}, reason=NO_ROOM),
            profiled={
                size: replace(taken, split=bounds.contended(taken.split))
                for size, taken in seen.profiled.items()
            },
        )
        return
    results, call_s = tuple(seen.results.values()), seen.call_s
    profiled = {
        size: taken.of_a_call(call_s[size].estimate) for size, taken in seen.profiled.items()
    }
    job.tell("timing the loop and the small sizes")
    # Nothing timed is told before the loop's own time is known, which is no part of the call.
    loop_s = probes.loop_overhead(job).estimate
    yield (seen := replace(seen, profiled=profiled, loop_s=loop_s, small=_small(job)))
    yield (seen := replace(seen, instructions=_instructions(job, profiled)))
    benches = {size: _bench(job, size, measured, loop_s) for size in sizes}
    yield (seen := replace(seen, benches=benches))
    if verify:
        responses = _delays(job, sizes, measured, loop_s, notes)
        yield (seen := replace(seen, responses=responses))
    seen = replace(seen, gil_held=_gil(job, results, notes))
    yield (seen := replace(seen, forced=_thresholds(job, sizes, verify=verify)))
    yield (seen := replace(seen, reference=_reference(job, _lost_at(job, results), notes)))
    if verify:
        yield replace(seen, flags=_flags(job, sizes, seen.line, notes))


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
) -> Iterator[tuple[tuple[Capture, ...], dict[int, Profiled]]]:
    """Profile one size after the other; a build or a profiler that fails leaves a note."""
    job.tell("building the subject with symbols")
    build = aside(notes, "not_profiled", None, lambda: job.builder.build(profile=Profile.PROFILING))
    if build is None:
        return
    captures: tuple[Capture, ...] = ()
    profiled: dict[int, Profiled] = {}
    job = replace(job, build=build)
    for size in sizes:
        place = Place(workload=job.name, sizes=(size,))
        job.tell(f"profiling at {format_count(size)}")
        own: list[Note] = []
        nothing: tuple[Capture, ...] = ()
        taken = aside(own, "not_profiled", nothing, partial(profile, job, size))
        captures += taken
        usable = next((capture for capture in taken if profiles.can_split(capture)), None)
        if usable is not None:
            read = aside(own, "not_split", None, partial(_read, job, usable, build))
            if read is not None:
                profiled = {**profiled, size: read}
                analyse.write_tables(usable, job.run, profiles.layers_of(job.project, build))
        notes += [replace(note, where="", place=place) for note in own]
        notes += capture_notes(taken if usable is None else (usable,), place)
        yield captures, profiled


def _read(job: Job, capture: Capture, build: Build) -> Profiled:
    return profiles.read(capture, job.run, profiles.layers_of(job.project, build))


def capture_notes(captures: Sequence[Capture], place: Place) -> list[Note]:
    """What a capture says about how to read it, such as a kernel that could not be seen."""
    return [
        replace(note, where="", place=place)
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
        text = "the GIL was not probed: on one core a second thread waits for the core, whether "
        text += "or not the call holds the lock"
        notes.append(Note(id="gil_not_probed", text=text, place=Place(workload=job.name)))
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
        alone = replace(job, build=build, threads=1)
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
    stand_in = replace(
        job,
        name=f"{job.name}-reference",
        workload=job.workload.model_copy(update={"call": job.workload.reference}),
        build=build,
        assignment=Assignment(),
        threads=job.settings.reference_threads,
    )
    taken = profile(stand_in, size)
    usable = next((capture for capture in taken if profiles.can_split(capture)), None)
    return _read(job, usable, build) if usable is not None else None

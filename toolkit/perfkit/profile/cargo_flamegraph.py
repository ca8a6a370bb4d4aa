"""The criterion bench of a workload without Python: `flamegraph`, which `cargo flamegraph` is a
front end of, on the very executable that was built and proved; perf alone where it is missing.

`cargo flamegraph` itself would build once more, with flags it cannot be given; `flamegraph` takes
the executable. Its perf.data is kept and read like any other; its own SVG is kept too. The bench
runs with `--profile-time`, so that criterion neither analyses nor writes; frames above criterion's
measured loop are cut off.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from perfkit import process
from perfkit.errors import CaptureError, ConfigError
from perfkit.profile import messages, observer, perf_fold, perf_record, quality
from perfkit.profile.artefacts import Taken, publish
from perfkit.profile.perf import Perf
from perfkit.profile.perf_session import FRAME_POINTERS, SETTLED, STACK_COPIES
from perfkit.records import Capture, Check, Interval, Note, Profile
from perfkit.stacks.layers import is_unresolved
from perfkit.stacks.split import CALLING_THREAD
from perfkit.store import read_journal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from perfkit.profile.request import CaptureRequest
    from perfkit.store import Run
    from perfkit.subject.cache import BenchBuild

PROGRAM = "flamegraph"
REGION = re.compile(r"criterion::bencher::(Async)?Bencher<?.*>?::iter\w*")
"""Criterion's loop round the measured routine; what is above it is criterion."""
_SLACK_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One run of the bench, read.

    Attributes:
        stacks: of the calling thread below criterion's loop, and of other threads.
        outside: samples of the calling thread that are not below it.
        cut: all samples whose stack does not reach a thread's entry.
    """

    said: str
    program: str
    call_graph: str
    script: Path
    stacks: list[tuple[tuple[str, ...], int]]
    outside: int
    samples: int
    cut: int
    main_tid: int | None

    @property
    def inside(self) -> bool:
        """Whether anything lies below criterion's loop."""
        return any(stack[0] == CALLING_THREAD for stack, _ in self.stacks)

    @property
    def whole(self) -> bool:
        """Whether the stacks are good enough not to try another way."""
        return self.inside and self.cut <= quality.UNROOTED_LIMIT * self.samples


class CargoFlamegraph:
    """The profiler `cargo-flamegraph`."""

    name: ClassVar[str] = "cargo-flamegraph"

    def probe(self, environ: Mapping[str, str]) -> Check:
        """Whether flamegraph is installed; without it perf does the same work."""
        found = process.find_program(PROGRAM, environ)
        remedy = "" if found else process.INSTALL_LINES["cargo-flamegraph"]
        said = str(found) if found else "not on PATH: perf is used on the bench instead"
        return Check(id=self.name, ok=found is not None, required=False, found=said, remedy=remedy)

    def capture(self, request: CaptureRequest) -> Capture:
        """Profile the workload's bench at one size.

        Raises:
            ConfigError: the workload has no bench.
            PerfkitError: the bench or the profiler failed, by name.
        """
        run = request.job.run
        bench = request.job.workload.bench
        if bench is None:
            message = f"the workload `{request.job.name}` has no criterion bench"
            raise ConfigError(message, remedy="give it a `bench` in the config")
        built = request.job.builder.bench(request.job.name, profile=Profile.PROFILING)
        rate, cost = _cost(request, run)
        data = run.path(f"raw/{request.label}.bench.data")
        own = run.path(f"raw/{request.label}.cargo-flamegraph.svg")
        bench_id = bench.id.format(size=request.size)

        def look(call_graph: str) -> Seen:
            said, program = _record(built, bench_id, request, data, own, rate, call_graph)
            return _read(request, run, data, said, program, call_graph)

        # A bench is Rust throughout, and the profiling build has frame pointers; by stack copies
        # perf 6.1 unwinds some executables of rustc's linker by no more than one frame.
        seen = look(FRAME_POINTERS)
        if not seen.whole:
            seen = look(STACK_COPIES[0])
        return _judged(request, run, data, own, seen, rate, cost)


def region_stacks(
    stacks: Iterable[tuple[Sequence[str], int]],
) -> tuple[list[tuple[tuple[str, ...], int]], int]:
    """Cut each stack above criterion's loop; one of the calling thread without it lies outside.

    Other threads (a pool's) never have criterion's frames and are kept whole.
    """
    kept: dict[tuple[str, ...], int] = {}
    outside = 0
    for stack, count in stacks:
        at = max((i for i, frame in enumerate(stack) if REGION.search(frame)), default=None)
        if at is not None:
            key = (CALLING_THREAD, *stack[at + 1 :])
        elif stack[0] == CALLING_THREAD:
            outside += count
            continue
        else:
            key = tuple(stack)
        kept[key] = kept.get(key, 0) + count
    return sorted(kept.items()), outside


def _cost(request: CaptureRequest, run: Run) -> tuple[int, Interval | None]:
    """Rate and slowdown of the same sampler on the Python call: a bench cannot be switched."""
    for attempt in range(2):
        for line in reversed(read_journal(run.directory / SETTLED)):
            if line["build"] == request.job.build.key and line["slowdown"] is not None:
                return int(line["rate_hz"]), Interval(**line["slowdown"])
        if attempt == 0:
            Perf().capture(dataclasses.replace(request, python_frames=False))
    return observer.nearest_prime(request.rate_hz), None


def _record(
    built: BenchBuild,
    bench_id: str,
    request: CaptureRequest,
    data: Path,
    own: Path,
    rate: int,
    call_graph: str,
) -> tuple[str, str]:
    """Run the bench under the profiler; what was said, and which program it was."""
    environ = dict(built.environment)
    data.unlink(missing_ok=True)
    perf = process.require_program("perf", environ)
    seconds = str(max(1, round(request.duration_s)))
    bench = [str(built.executable), "--bench", "--profile-time", seconds, "--exact", bench_id]
    options = [
        "record", "-e", "cpu-clock", "-F", str(rate), "--call-graph", call_graph,
        "-o", str(data),
    ]  # fmt: skip
    command = " ".join(options)
    # `flamegraph -c` splits at every blank, whatever quotes say: perf itself then.
    whole = command.split() == options
    program = process.find_program(PROGRAM, environ) if whole else None
    argv: list[str | Path] = [perf, *options, "--", *bench]
    if program is not None:
        argv = [program, "--no-inline", "-o", own, "-c", command, "--", *bench]
    request.job.tell(f"{CargoFlamegraph.name} on {bench_id}")
    done = process.run(
        argv,
        env=environ,
        cwd=built.directory,
        timeout_s=request.duration_s + _SLACK_S,
        ok_codes=None,
    )
    said = done.stdout + done.stderr
    if done.returncode != 0 or not data.is_file():
        where = process.show(done.argv)
        name = CargoFlamegraph.name
        raise messages.failure(name, said, where=where, returncode=done.returncode)
    return said, PROGRAM if program is not None else "perf"


def _read(
    request: CaptureRequest, run: Run, data: Path, said: str, program: str, call_graph: str
) -> Seen:
    script = run.path(f"raw/{request.label}.bench.txt")
    said += perf_record.write_script(data, script, dict(request.job.project.environ))
    folded = perf_fold.fold(script)
    selection = folded.selection
    stacks, outside = region_stacks(folded.stacks)
    return Seen(
        said=said,
        program=program,
        call_graph=call_graph,
        script=script,
        stacks=stacks,
        outside=outside,
        samples=selection.samples,
        cut=selection.unrooted,
        main_tid=selection.first_pid,
    )


def _judged(
    request: CaptureRequest,
    run: Run,
    data: Path,
    own: Path,
    seen: Seen,
    rate: int,
    cost: Interval | None,
) -> Capture:
    name, stacks = CargoFlamegraph.name, seen.stacks
    if not seen.inside:
        message = f"no stack lies below criterion's loop, so `{request.job.name}` was not seen"
        remedy = "check the bench's id in the config; profile for longer"
        raise CaptureError(message, where=str(data), remedy=remedy)
    samples = sum(count for _, count in stacks)
    notes = (
        Note(
            id="bench",
            text=f"{seen.program} on the criterion bench, stacks by {seen.call_graph}; "
            f"{seen.outside} samples outside its loop left out",
        ),
        Note(
            id="cost_by_proxy",
            text=f"the slowdown is perf's at {rate} samples/s on the Python call of this build",
        ),
        *messages.notes("perf", seen.said),
    )
    files = {"text": seen.script, "raw": data}
    if own.is_file():
        files["own_flame"] = own
    taken = Taken(
        profiler=name,
        workload=request.job.name,
        size=request.size,
        stem=request.label,
        title=f"bench of {request.title}",
        rate_hz=float(rate),
        stacks=stacks,
        quality=quality.Quality(
            samples=samples,
            # Criterion's own frames have names, and would hide that the bench's lack them.
            unresolved=sum(count for stack, count in stacks if is_unresolved(stack[-1])),
            unrooted=round(seen.cut * samples / seen.samples),
            lost=messages.lost_samples(seen.said, seen.samples),
            slowdown=cost,
        ),
        files=files,
        main_tid=seen.main_tid,
        notes=notes,
    )
    return publish(taken, request.job.project.config.profiling, run)

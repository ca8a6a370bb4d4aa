"""The criterion bench of a workload without Python: `flamegraph`, which `cargo flamegraph` is a
front end of, on the very executable that was built and verified; perf alone if it is missing.

`cargo flamegraph` itself would build once more, with flags that cannot be set; `flamegraph` takes
the executable. Its perf.data is kept and read like any other; its own SVG is kept too. The bench
runs with `--profile-time`, so that criterion neither analyses nor writes; frames above criterion's
measured loop are cut off.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit import process
from perfkit.errors import CaptureError, ConfigError
from perfkit.profile import messages, perf, perf_record, slowdown
from perfkit.profile.perf_record import FRAME_POINTERS, STACK_COPIES, RecordSettings
from perfkit.profile.perf_session import settled_by
from perfkit.profile.publish import Taken, publish
from perfkit.profile.quality import of_stacks
from perfkit.records import Capture, Interval, Note, Profile
from perfkit.stacks import perf_script
from perfkit.stacks.folded import cut
from perfkit.stacks.split import CALLING_THREAD
from perfkit.store import read_journal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from perfkit.profile.request import CaptureRequest
    from perfkit.stacks.folded import Stack
    from perfkit.subject.cache import BenchBuild

NAME = "cargo-flamegraph"
PROGRAM = "flamegraph"
REGION = re.compile(r"criterion::bencher::(Async)?Bencher<?.*>?::iter\w*")
"""Criterion's loop round the measured routine; what is above it is criterion."""
CUT_LIMIT = 0.2
"""Share of stacks cut short above which too many may have lost criterion's loop."""
_SLACK_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRun:
    """One run of the bench under the profiler, read.

    Attributes:
        program: that sampled it.
        said: what it and perf printed.
        folded: all samples.
        stacks: of the calling thread below criterion's loop, and of other threads.
        outside: samples of the calling thread that are not below it.
    """

    settings: RecordSettings
    program: str
    said: str
    script: Path
    folded: perf_script.Folded
    stacks: list[tuple[Stack, int]]
    outside: int

    @property
    def inside(self) -> bool:
        """Whether anything is below criterion's loop."""
        return any(stack[0] == CALLING_THREAD for stack, _ in self.stacks)

    @property
    def whole(self) -> bool:
        """Whether the stacks are good enough not to try another way."""
        return self.inside and self.folded.cut_share <= CUT_LIMIT


def capture(request: CaptureRequest) -> Capture:
    """Profile the workload's bench at one size.

    Raises:
        ConfigError: the workload has no bench.
        PerfkitError: the bench or the profiler failed, by name.
    """
    bench = request.job.workload.bench
    if bench is None:
        message = f"the workload `{request.job.name}` has no criterion bench"
        raise ConfigError(message, remedy="give it a `bench` in the config")
    built = request.job.builder.bench(request.job.name, profile=Profile.PROFILING)
    rate, cost = _cost(request)
    data = request.run.path(f"raw/{request.sight.stem}.bench.data")
    own = request.run.path(f"raw/{request.sight.stem}.{NAME}.svg")
    bench_id = bench.id.format(size=request.size)
    # A bench is Rust throughout, and the profiling build has frame pointers; by stack copies
    # perf 6.1 unwinds some executables of rustc's linker by no more than one frame.
    settings = RecordSettings(rate_hz=rate, call_graph=FRAME_POINTERS)
    found = _run(built, bench_id, request, settings, data, own)
    if not found.whole:
        settings = RecordSettings(rate_hz=rate, call_graph=STACK_COPIES[0])
        found = _run(built, bench_id, request, settings, data, own)
    return _judged(request, found, data, own, cost)


def region_stacks(
    stacks: Iterable[tuple[Sequence[str], int]],
) -> tuple[list[tuple[Stack, int]], int]:
    """Cut each stack above criterion's loop; one of the calling thread without it is outside.

    Other threads (a pool's) never have criterion's frames and are kept whole.
    """

    def below(stack: Sequence[str]) -> Stack | None:
        at = max((i for i, frame in enumerate(stack) if REGION.search(frame)), default=None)
        if at is not None:
            return (CALLING_THREAD, *stack[at + 1 :])
        return None if stack[0] == CALLING_THREAD else tuple(stack)

    return cut(stacks, below)


def _cost(request: CaptureRequest) -> tuple[int, Interval | None]:
    """Rate and slowdown of the same sampler on the Python call: a bench cannot be switched."""
    for attempt in range(2):
        for line in reversed(read_journal(request.run.directory / settled_by(perf.NAME))):
            if line["build"] == request.job.build.key and line["slowdown"] is not None:
                return int(line["rate_hz"]), Interval(**line["slowdown"])
        if attempt == 0:
            perf.capture(dataclasses.replace(request, python_frames=False))
    return slowdown.nearest_prime(request.rate_hz), None


def _run(
    built: BenchBuild,
    bench_id: str,
    request: CaptureRequest,
    settings: RecordSettings,
    data: Path,
    own: Path,
) -> BenchRun:
    """Run the bench under the profiler, and read what it took."""
    environ = dict(built.environment)
    data.unlink(missing_ok=True)
    seconds = str(max(1, round(request.duration_s)))
    bench = [str(built.executable), "--bench", "--profile-time", seconds, "--exact", bench_id]
    options = ["record", *settings.options(data)]
    command = " ".join(options)
    argv: list[str | Path] = [process.require_program("perf", environ), *options, "--", *bench]
    # `flamegraph -c` splits at every blank, even in quotes: then perf itself.
    whole = command.split() == options
    program = process.find_program(PROGRAM, environ) if whole else None
    if program is not None:
        argv = [program, "--no-inline", "-o", own, "-c", command, "--", *bench]
    request.job.tell(f"{NAME} on {bench_id}")
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
        raise messages.failure(NAME, said, where=where, returncode=done.returncode)
    script = data.with_suffix(".txt")
    said += perf_record.write_script(data, script, dict(request.job.project.environ))
    folded = perf_script.fold(script)
    stacks, outside = region_stacks(folded.stacks)
    return BenchRun(
        settings=settings,
        program=PROGRAM if program is not None else "perf",
        said=said,
        script=script,
        folded=folded,
        stacks=stacks,
        outside=outside,
    )


def _judged(
    request: CaptureRequest, found: BenchRun, data: Path, own: Path, cost: Interval | None
) -> Capture:
    if not found.inside:
        message = f"no stack is below criterion's loop, so `{request.job.name}` was not seen"
        remedy = "check the bench's id in the config, or profile for longer"
        raise CaptureError(message, where=str(data), remedy=remedy)
    rate, folded = found.settings.rate_hz, found.folded
    text = (
        f"{found.program} on the criterion bench, stacks by {found.settings.call_graph}; "
        f"{found.outside} samples outside its loop were left out"
    )
    proxy = f"the slowdown is perf's at {rate} samples/s on the Python call of this build"
    # Criterion's own frames have names, and would hide that the bench's lack them.
    quality = of_stacks(found.stacks, slowdown=cost)
    taken = Taken(
        profiler=NAME,
        sight=dataclasses.replace(request.sight, title=f"bench of {request.sight.title}"),
        rate_hz=float(rate),
        stacks=found.stacks,
        quality=dataclasses.replace(
            quality,
            lost=messages.lost_samples(found.said, folded.samples),
        ),
        files={
            "text": found.script,
            "raw": data,
            **({"own_flame": own} if own.is_file() else {}),
        },
        notes=(
            Note(id="bench", text=text),
            Note(id="cost_by_proxy", text=proxy),
            *messages.notes(perf.NAME, found.said),
        ),
    )
    return publish(taken, request.run)

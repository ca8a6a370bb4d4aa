"""callgrind on the Python call: instructions per call and per element, which do not depend on how
busy the machine is. One thread runs at a time and there is no AVX-512, so it says nothing about
thread pools and thresholds.

It counts what the subject's own module executes. Nothing else runs that code, so the count is
exact. What the module calls in libpython and libc is left to the profilers that measure time,
because the interpreter's own work between two counts varies.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from perfkit import _engine, process
from perfkit.errors import CaptureError
from perfkit.profile.publish import Region, Taken, publish
from perfkit.profile.quality import Quality
from perfkit.profile.raw_files import RawFiles
from perfkit.records import Capture, Note, Pattern
from perfkit.stacks import callgrind_out
from perfkit.stacks.split import CALLING_THREAD
from perfkit.subject.child import worker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from perfkit.profile.request import CaptureRequest
    from perfkit.store import Run
    from perfkit.subject.child import Worker

NAME = "callgrind"
_MATH_LIBRARY = re.compile(r"/libm(-[\d.]+)?\.so")
SHORT, LONG = 2, 10
"""Calls of the two counts."""
_CONTROL_S = 120.0


def capture(request: CaptureRequest) -> Capture:
    """Count one workload at one size.

    Raises:
        ToolMissingError: valgrind is not installed.
        ToolError: valgrind does not know an instruction of the subject.
    """
    environ = request.job.project.environ
    program = process.require_program("valgrind", environ)
    control = process.require_program("callgrind_control", environ)
    raw = RawFiles.fresh(NAME, request.run, request.sight.stem, "out", "out.1", "out.2")
    base, *dumps = raw.outputs
    launcher = (
        str(program), "--tool=callgrind", "--instr-atstart=no", "--dump-line=no",
        "--compress-pos=no", f"--callgrind-out-file={base}", f"--log-file={raw.log}",
    )  # fmt: skip
    spec = dataclasses.replace(request.job, threads=1).spec()
    spec = dataclasses.replace(spec, launcher=launcher)
    request.job.tell(NAME)
    with raw.explained(str(raw.log)), worker(spec) as running:
        _count(running, request, control, environ)
        module = str(running.loaded.path)
    if not all(dump.is_file() for dump in dumps):
        message = "callgrind left no counts"
        raise CaptureError(message, where=str(base.parent), remedy=f"read {raw.log}")
    short, long = (callgrind_out.read(dump).of_object(module) for dump in dumps)
    counted = per_call(short, long)
    total = sum(counted.values())
    stacks = [
        ((CALLING_THREAD, _engine.demangle(name)), round(count))
        for name, count in counted.items()
        if round(count)
    ]
    title = f"{request.sight.title}: instructions per call, by function"
    text = (
        f"{total:.0f} instructions of the module per call, {total / request.size:.2f} per element"
    )
    simulated = "one thread at a time, without AVX-512: this says nothing of pools and thresholds"
    taken = Taken(
        profiler=NAME,
        sight=dataclasses.replace(request.sight, title=title),
        rate_hz=0.0,
        stacks=stacks,
        quality=Quality(samples=round(total)),
        files={"raw_short": dumps[0], "raw": dumps[1], "log": raw.log},
        region=Region(calls=LONG - SHORT),
        notes=(Note(id="instructions", text=text), Note(id="simulated", text=simulated)),
        count_name="instructions",
    )
    return publish(taken, request.run)


def per_call(short: Mapping[str, int], long: Mapping[str, int]) -> dict[str, float]:
    """Instructions of one call by function of the subject's module.

    Args:
        short: counts of `SHORT` calls.
        long: counts of `LONG` calls.

    Raises:
        CaptureError: the module did not run, or more calls executed fewer instructions somewhere.
    """
    found = {
        name: (long.get(name, 0) - short.get(name, 0)) / (LONG - SHORT)
        for name in short.keys() | long.keys()
    }
    if not any(found.values()) or min(found.values()) < 0:
        message = f"{LONG} calls do not count more than {SHORT}: {found}"
        remedy = "make the call do the same work each time: else a count says nothing"
        raise CaptureError(message, remedy=remedy)
    return {name: count for name, count in found.items() if count}


def with_math(capture: Capture, run: Run) -> float:
    """Instructions of one call in the module and in the system's math library, which Rust calls for
    most functions.

    Raises:
        UnreadableOutputError: a dump cannot be read.
    """
    short, long = (
        callgrind_out.read(run.path(capture.files[kind])) for kind in ("raw_short", "raw")
    )
    return capture.samples + math_per_call(short, long)


def math_per_call(short: callgrind_out.Counts, long: callgrind_out.Counts) -> float:
    """Instructions of one call in the system's math library.

    Args:
        short: of `SHORT` calls.
        long: of `LONG` calls.
    """
    few, many = (
        sum(sum(own.values()) for name, own in counts.objects.items() if _MATH_LIBRARY.search(name))
        for counts in (short, long)
    )
    return (many - few) / (LONG - SHORT)


def _count(
    running: Worker, request: CaptureRequest, control: Path, environ: Mapping[str, str]
) -> None:
    arm = running.prepare(
        request.job.workload, request.size, which="call", seed=request.seed, name=request.job.name
    )

    def calls(count: int) -> None:
        running.time(arm, count, pattern=Pattern.IDLE)

    def tell(*words: str) -> None:
        argv: list[str | Path] = [control, *words, str(running.pid)]
        process.run(argv, env=environ, timeout_s=_CONTROL_S)

    calls(LONG)
    tell("--instr=on")
    for count in (SHORT, LONG):
        tell("--zero")
        calls(count)
        tell("--dump")
    tell("--instr=off")

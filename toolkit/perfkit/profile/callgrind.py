"""callgrind on the Python call: instructions per call and per element, which do not depend on how
busy the machine is. One thread runs at a time and AVX-512 does not exist there, so it says nothing
about thread pools and thresholds.

Counted is what the subject's own module executes: no other code runs it, so the count is exact.
What it calls in libpython and libc is left to the profilers that measure time, because the
interpreter's own work between two counts differs from one time to the next.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, ClassVar

from perfkit import _engine, process
from perfkit.errors import CaptureError, PerfkitError
from perfkit.profile import messages
from perfkit.profile.artefacts import Region, Taken, publish
from perfkit.profile.quality import Quality
from perfkit.records import Capture, Check, Note, Pattern
from perfkit.stacks import callgrind_out
from perfkit.stacks.split import CALLING_THREAD
from perfkit.subject.child import worker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from perfkit.profile.request import CaptureRequest
    from perfkit.store import Run
    from perfkit.subject.child import Worker

SHORT, LONG = 2, 10
"""Calls of the two counts."""
_CONTROL_S = 120.0


class Callgrind:
    """The profiler `callgrind`."""

    name: ClassVar[str] = "callgrind"

    def probe(self, environ: Mapping[str, str]) -> Check:
        """Whether valgrind is installed."""
        found = process.find_program("valgrind", environ)
        remedy = "" if found else process.INSTALL_LINES["valgrind"]
        said = str(found) if found else "not on PATH"
        return Check(id=self.name, ok=found is not None, required=False, found=said, remedy=remedy)

    def capture(self, request: CaptureRequest) -> Capture:
        """Count one workload at one size.

        Raises:
            ToolMissingError: there is no valgrind.
            ToolError: valgrind does not know an instruction of the subject.
        """
        run = request.job.run
        environ = request.job.project.environ
        program = process.require_program("valgrind", environ)
        control = process.require_program("callgrind_control", environ)
        base = run.path(f"raw/{request.label}.callgrind.out")
        log = run.path(f"raw/{request.label}.callgrind.log")
        for old in base.parent.glob(f"{base.name}*"):
            old.unlink()
        log.unlink(missing_ok=True)
        launcher = (
            str(program), "--tool=callgrind", "--instr-atstart=no", "--dump-line=no",
            "--compress-pos=no", f"--callgrind-out-file={base}", f"--log-file={log}",
        )  # fmt: skip
        spec = dataclasses.replace(request.job, threads=1).spec()
        spec = dataclasses.replace(spec, launcher=launcher)
        request.job.tell("callgrind")
        try:
            with worker(spec) as running:
                _count(running, request, control, environ)
                loaded = running.loaded.path
        except PerfkitError as error:
            said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
            if messages.find(self.name, said) is None:
                raise
            raise messages.failure(self.name, said, where=str(log)) from error
        dumps = [base.with_name(f"{base.name}.{index}") for index in (1, 2)]
        if not all(dump.is_file() for dump in dumps):
            message = "callgrind left no counts"
            raise CaptureError(message, where=str(base.parent), remedy=f"read {log}")
        return _judged(request, run, dumps, log, loaded)


def per_call(short: Mapping[str, int], long: Mapping[str, int]) -> dict[str, float]:
    """Instructions of one call by function of the subject's module.

    Args:
        short: counts of `SHORT` calls.
        long: counts of `LONG` calls.

    Raises:
        CaptureError: the module did not run, or more calls did not count more in some function.
    """
    found = {
        name: (long.get(name, 0) - short.get(name, 0)) / (LONG - SHORT)
        for name in short.keys() | long.keys()
    }
    if not any(found.values()) or min(found.values()) < 0:
        message = f"{LONG} calls do not count more than {SHORT}: {found}"
        remedy = "the call does not do the same work each time, so a count says nothing"
        raise CaptureError(message, remedy=remedy)
    return {name: count for name, count in found.items() if count}


_MATH_LIBRARY = re.compile(r"/libm(-[\d.]+)?\.so")


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
    both = [
        sum(
            sum(functions.values())
            for name, functions in counts.objects.items()
            if _MATH_LIBRARY.search(name)
        )
        for counts in (short, long)
    ]
    return (both[1] - both[0]) / (LONG - SHORT)


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


def _judged(
    request: CaptureRequest, run: Run, dumps: list[Path], log: Path, loaded: Path
) -> Capture:
    module = str(loaded)
    short, long = (callgrind_out.read(dump).of_object(module) for dump in dumps)
    counted = per_call(short, long)
    total = sum(counted.values())
    stacks = [
        ((CALLING_THREAD, _engine.demangle(name)), round(count))
        for name, count in counted.items()
        if round(count)
    ]
    notes = (
        Note(
            id="instructions",
            text=f"{total:.0f} instructions of the module per call, "
            f"{total / request.size:.2f} per element",
        ),
        Note(
            id="simulated",
            text="one thread at a time, without AVX-512: no statement on pools and thresholds",
        ),
    )
    taken = Taken(
        profiler=Callgrind.name,
        workload=request.job.name,
        size=request.size,
        stem=request.label,
        title=f"{request.job.name}, n = {request.size:_}: instructions per call, by function",
        rate_hz=0.0,
        stacks=stacks,
        quality=Quality(samples=round(total)),
        files={"raw_short": dumps[0], "raw": dumps[1], "log": log},
        region=Region(calls=LONG - SHORT),
        notes=notes,
        count_name="instructions",
    )
    return publish(taken, request.job.project.config.profiling, run)

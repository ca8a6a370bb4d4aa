"""py-spy on the Python call: the worker is launched under it, and only the stacks below the timed
loop are kept.

py-spy walks Python's thread states and never sees a thread that was started in Rust: native stacks
are asked for only if the subject has no such thread. Its stderr and its file decide what happened;
its exit code does not (py-spy loses a race at the end, benfred/py-spy#759).

    py-spy> 1.66s behind in sampling, results may be inaccurate. Try reducing the sampling rate
    py-spy> Wrote raw flamegraph data to 'x.raw'. Samples: 276 Errors: 0
"""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit import process
from perfkit.errors import CaptureError
from perfkit.profile import messages, slowdown
from perfkit.profile.paired import PAIRS, PairArm, compare
from perfkit.profile.publish import Taken, publish
from perfkit.profile.quality import of_stacks
from perfkit.profile.raw_files import RawFiles
from perfkit.records import Capture, Note, NoteId
from perfkit.stacks.folded import cut
from perfkit.stacks.py_spy_raw import read_raw
from perfkit.stacks.split import CALLING_THREAD
from perfkit.subject.child import REGION_FRAMES, WORKER_FILE, worker
from perfkit.units import format_share

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from perfkit.profile.request import CaptureRequest
    from perfkit.stacks.folded import Stack
    from perfkit.subject.child import WorkerSpec

NAME = "py-spy"
HIGHEST_RATE_HZ = 97.0
"""Above this py-spy stops the process too often (500 Hz with native stacks: 48 times slower)."""
ERROR_LIMIT = 0.05
"""Share of failed samples above which the others are a biased choice."""
_SUMMARY = re.compile(r"Samples: (?P<samples>\d+) Errors: (?P<errors>\d+)")


def capture(request: CaptureRequest) -> Capture:
    """Profile one workload at one size, at a lower rate if it costs too much.

    Raises:
        ToolMissingError: py-spy is not installed.
        PermissionRefusedError: the system does not let it trace.
        CaptureError: it left no stack of the loop.
    """
    tried: list[Note] = []
    asked = min(request.rate_hz, HIGHEST_RATE_HZ)
    rates = slowdown.rates(asked)
    found: tuple[Capture, bool] | None = None
    try:
        found = _once(request, rates[0], native=True)
    except CaptureError as error:
        text = f"native stacks were given up: {error.message}"
        tried.append(Note(id="no_native", text=text))
    for rate in rates[:-1]:
        taken, behind = found = found or _once(request, rate, native=False)
        cost = taken.slowdown
        best = slowdown.best_rate(rates, rate, cost, request.duration_s) if cost else rate
        if not behind and best == rate:
            break
        why = (
            "it fell behind" if behind else f"it cost {format_share(cost.estimate if cost else 0)}"
        )
        tried.append(Note(id="lower_rate", text=f"py-spy at {rate} samples/s: {why}"))
        found = None
    taken, _ = found or _once(request, rates[-1], native=False)
    return dataclasses.replace(taken, notes=(*tried, *taken.notes))


def find(environ: Mapping[str, str]) -> Path | None:
    """py-spy beside perfkit's own interpreter, else on PATH."""
    beside = Path(sys.executable).with_name(NAME)
    return beside if beside.is_file() else process.find_program(NAME, environ)


def record_command(environ: Mapping[str, str], rate: int, output: Path, *options: str) -> list[str]:
    """py-spy with its options, without what it is to look at.

    Raises:
        ToolMissingError: py-spy is not installed.
    """
    program = find(environ) or process.require_program(NAME, environ)
    return [
        str(program), "record", "--rate", str(rate), "--format", "raw", "--output", str(output),
        *options,
    ]  # fmt: skip


def parse_summary(text: str) -> tuple[int, int] | None:
    """Samples and errors, from the last line of each py-spy that ran."""
    found = list(_SUMMARY.finditer(text))
    if not found:
        return None
    return sum(int(match["samples"]) for match in found), sum(int(m["errors"]) for m in found)


def failed_samples(said: str) -> int:
    """Samples that py-spy could not take, by its own words."""
    summary = parse_summary(said)
    return summary[1] if summary is not None else 0


def faults(said: str) -> tuple[Note, ...]:
    """What py-spy's own words say about its file."""
    found = list(messages.notes(NAME, said))
    if parse_summary(said) is None:
        text = "py-spy did not say how many samples failed"
        found.append(Note(id="unsummed", text=text, remedy="profile again"))
    if text := _failed(said):
        remedy = "choose a lower rate, or perf for the native side"
        found.append(Note(id="failed_samples", text=text, remedy=remedy))
    return tuple(found)


def _failed(said: str) -> str:
    """That too many samples failed; empty if they did not."""
    samples, errors = parse_summary(said) or (0, 0)
    if errors <= ERROR_LIMIT * (samples + errors):
        return ""
    return f"{format_share(errors / (samples + errors))} of py-spy's samples failed"


def region_stacks(
    stacks: Iterable[tuple[Sequence[str], int]],
) -> tuple[list[tuple[Stack, int]], int]:
    """The stacks below the timed loop, from its frame on, and how many samples had none."""

    def below(stack: Sequence[str]) -> Stack | None:
        at = region_start(stack)
        return None if at is None else (CALLING_THREAD, *stack[at:])

    return cut(stacks, below)


def outside_note(outside: int) -> Note:
    """What to say of the samples that `region_stacks` left out."""
    text = f"{outside} samples of imports and set-up were left out"
    return Note(id=NoteId.OUTSIDE_REGION, text=text)


def region_start(stack: Sequence[str]) -> int | None:
    """Where the timed calls of a window begin: `run_batch` below the worker's `loop`.

    Calibrating runs `run_batch` too, but not below `loop`, and does not belong to the region.
    """
    windows = False
    for index, frame in enumerate(stack):
        name, _, place = frame.partition(" (")
        if f"{WORKER_FILE.name}:" not in place:
            continue
        windows = windows or name.rpartition(".")[2] == "loop"
        if windows and name in REGION_FRAMES:
            return index
    return None


def native_allowed(python: str, *, threads: bool) -> bool:
    """Whether py-spy joins native stacks correctly. It misses what runs in threads of Rust, and
    from 3.13 on there is a better way.
    """
    major, minor = (int(part) for part in python.split(".")[:2])
    return (major, minor) in {(3, 11), (3, 12)} and not threads


def _once(request: CaptureRequest, rate: int, *, native: bool) -> tuple[Capture, bool]:
    """The capture at one rate, and whether py-spy fell behind.

    Raises:
        CaptureError: no stack of the loop, or native stacks of which too many failed.
    """
    spec = request.job.spec()
    suffixes = [f"{index + 1}.raw" for index in range(PAIRS)]
    raw = RawFiles.fresh(NAME, request.run, request.sight.stem, *suffixes)
    with worker(spec) as running:
        threads = PairArm(running, request).has_threads()
        native = native and native_allowed(running.loaded.python, threads=threads)
    options = ("--native", "--") if native else ("--",)

    def launched(index: int) -> WorkerSpec:
        words = record_command(request.job.project.environ, rate, raw.outputs[index], *options)
        return dataclasses.replace(spec, launcher=tuple(words), stdout=raw.log, stderr=raw.log)

    stage = f"py-spy at {rate} Hz"
    with raw.explained(process.show(launched(0).launcher)):
        paired = compare(request, spec, launched, stage=stage, duration_s=request.duration_s)
    raw.require(str(raw.log))
    stacks, outside = region_stacks(stack for output in raw.outputs for stack in read_raw(output))
    if not stacks:
        message = "py-spy took no sample of the loop"
        raise CaptureError(message, where=str(raw.outputs[0]), remedy="profile for longer")
    if native and (message := _failed(raw.said)):
        raise CaptureError(message, where=str(raw.log), remedy="use perf for the native side")
    notes = list(faults(raw.said))
    if native:
        notes.append(Note(id="native_stacks", text="native frames were joined to Python's"))
    elif threads or paired.threads > 1:
        text = "threads without Python frames are invisible to py-spy, and this call uses some"
        notes.append(Note(id="threads_unseen", text=text, remedy="use perf for the native side"))
    taken = Taken(
        profiler=NAME,
        sight=request.sight,
        rate_hz=float(rate),
        stacks=stacks,
        quality=dataclasses.replace(
            of_stacks(stacks, slowdown=paired.slowdown), lost=failed_samples(raw.said)
        ),
        files=raw.by_kind,
        region=paired.region,
        notes=(*notes, outside_note(outside)),
    )
    behind = messages.entry(NAME, "behind").pattern.search(raw.said) is not None
    return publish(taken, request.run), behind

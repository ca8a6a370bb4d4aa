"""py-spy on the Python call: the worker is launched under it, and only the stacks below the timed
loop are kept.

py-spy walks Python's thread states: a thread that was started in Rust is never there, so its native
stacks are asked for only where the subject has no such thread. What it says on stderr decides, and
the file; its exit code does not (it loses a race at the end, benfred/py-spy#759).

    py-spy> 1.66s behind in sampling, results may be inaccurate. Try reducing the sampling rate
    py-spy> Wrote raw flamegraph data to 'x.raw'. Samples: 276 Errors: 0
"""

from __future__ import annotations

import dataclasses
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from perfkit import process
from perfkit.errors import CaptureError, PerfkitError
from perfkit.profile import messages, observer
from perfkit.profile.artefacts import Taken, publish
from perfkit.profile.paired import PAIRS, PairArm, Paired, compare
from perfkit.profile.quality import Quality
from perfkit.records import Capture, Check, Note
from perfkit.stacks.layers import is_unresolved
from perfkit.stacks.py_spy_raw import read_raw
from perfkit.stacks.split import CALLING_THREAD
from perfkit.subject.child import REGION_FRAMES, WORKER_FILE, worker
from perfkit.units import format_share

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from perfkit.profile.request import CaptureRequest
    from perfkit.store import Run
    from perfkit.subject.child import WorkerSpec

HIGHEST_RATE_HZ = 97.0
"""Above this py-spy stops the process too often (500 Hz with native stacks: 48 times slower)."""
ERROR_LIMIT = 0.05
"""Share of failed samples above which the others are a biased choice."""
NATIVE, FAILED = "native_stacks", "failed_samples"
_SUMMARY = re.compile(r"Samples: (?P<samples>\d+) Errors: (?P<errors>\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """py-spy's last line."""

    samples: int
    errors: int


class PySpy:
    """The profiler `py-spy`."""

    name: ClassVar[str] = "py-spy"

    def probe(self, environ: Mapping[str, str]) -> Check:
        """Whether py-spy is installed; whether it may trace shows when it runs."""
        found = find(environ)
        remedy = "" if found else process.INSTALL_LINES["py-spy"]
        said = str(found) if found else "not installed"
        return Check(id=self.name, ok=found is not None, required=False, found=said, remedy=remedy)

    def capture(self, request: CaptureRequest) -> Capture:
        """Profile one workload at one size, at a lower rate where it costs too much.

        Raises:
            ToolMissingError: py-spy is not installed.
            PermissionRefusedError: the system does not let it trace.
            CaptureError: it left no stack of the loop.
        """
        run = request.job.run
        tried: list[Note] = []
        rates = _rates(request)
        found: Capture | None = None
        try:
            first = _once(request, run, rates[0], native=True)
            found, why = first, _failed_native(first)
        except CaptureError as error:
            why = error.message
        if why:
            tried.append(Note(id="no_native", text=f"native stacks were given up: {why}"))
            found = None
        for rate in rates[:-1]:
            found = found or _once(request, run, rate, native=False)
            cost = found.slowdown
            limit = request.job.project.config.profiling.slowdown_limit
            behind = any(note.id == "py-spy.behind" for note in found.notes)
            if not (behind or (cost is not None and cost.low > limit)):
                break
            text = f"py-spy at {rate} samples/s: {found.reason}"
            tried.append(Note(id="lower_rate", text=text))
            found = None
        found = found or _once(request, run, rates[-1], native=False)
        return dataclasses.replace(found, notes=(*tried, *found.notes))


def _rates(request: CaptureRequest) -> list[int]:
    """The rates that bring enough samples of a busy loop within twice the duration."""
    asked = observer.rates(min(request.rate_hz, HIGHEST_RATE_HZ))
    needed = request.job.project.config.profiling.min_samples
    return [rate for rate in asked if 2 * rate * request.duration_s >= needed] or [asked[0]]


def _failed_native(capture: Capture) -> str:
    """Why a capture with native stacks is worth nothing; empty when it is, or had none."""
    if not any(note.id == NATIVE for note in capture.notes):
        return ""
    failed = [note.text for note in capture.notes if note.id == FAILED]
    return failed[0] if failed else ""


def find(environ: Mapping[str, str]) -> Path | None:
    """py-spy beside perfkit's own interpreter, else on PATH."""
    beside = Path(sys.executable).with_name("py-spy")
    return beside if beside.is_file() else process.find_program("py-spy", environ)


def parse_summary(text: str) -> Summary | None:
    """Samples and errors, from the last line of each py-spy that ran."""
    found = list(_SUMMARY.finditer(text))
    if not found:
        return None
    return Summary(
        samples=sum(int(match["samples"]) for match in found),
        errors=sum(int(match["errors"]) for match in found),
    )


def faults(said: str) -> tuple[Note, ...]:
    """Why py-spy's own words forbid to believe what it left."""
    found = []
    summary = parse_summary(said)
    if summary is None:
        text = "py-spy did not say how many samples failed"
        found.append(Note(id="unsummed", text=text, remedy="profile again"))
    elif summary.errors > ERROR_LIMIT * (summary.samples + summary.errors):
        share = summary.errors / (summary.samples + summary.errors)
        text = f"{format_share(share)} of py-spy's samples failed"
        remedy = "a lower rate; perf for the native side"
        found.append(Note(id=FAILED, text=text, remedy=remedy))
    behind = [note for note in messages.notes(PySpy.name, said) if note.id == "py-spy.behind"]
    return (*found, *behind)


def region_stacks(
    stacks: Iterable[tuple[Sequence[str], int]],
) -> tuple[list[tuple[tuple[str, ...], int]], int]:
    """The stacks below the timed loop, from its frame on, and how many samples had none."""
    kept: dict[tuple[str, ...], int] = {}
    outside = 0
    for stack, count in stacks:
        at = region_start(stack)
        if at is None:
            outside += count
            continue
        key = (CALLING_THREAD, *stack[at:])
        kept[key] = kept.get(key, 0) + count
    return sorted(kept.items()), outside


def region_start(stack: Sequence[str]) -> int | None:
    """Where the timed calls of a window begin: `run_batch` below the worker's `loop`.

    Calibrating runs `run_batch` too, but not below `loop`, and is no part of the region.
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
    """Whether py-spy can join native stacks truly: it loses what runs in threads of Rust, and from
    3.13 on there is a better way.
    """
    major, minor = (int(part) for part in python.split(".")[:2])
    return (major, minor) in {(3, 11), (3, 12)} and not threads


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """Where the py-spy of each pair of processes writes; one log for all."""

    raws: tuple[Path, ...]
    log: Path

    @classmethod
    def fresh(cls, request: CaptureRequest, run: Run) -> _Places:
        """The places, with nothing of an earlier try in them."""
        stems = [f"raw/{request.label}.py-spy.{index + 1}.raw" for index in range(PAIRS)]
        found = cls(
            raws=tuple(run.path(stem) for stem in stems),
            log=run.path(f"raw/{request.label}.py-spy.log"),
        )
        for old in (*found.raws, found.log):
            old.unlink(missing_ok=True)
        return found

    def said(self) -> str:
        """What was printed so far."""
        if not self.log.exists():
            return ""
        return self.log.read_text(encoding="utf-8", errors="replace")


def _once(request: CaptureRequest, run: Run, rate: int, *, native: bool) -> Capture:
    spec = request.job.spec()
    places = _Places.fresh(request, run)
    with worker(spec) as running:
        threads = PairArm(running, request).uses_threads()
        native = native and native_allowed(running.loaded.python, threads=threads)

    def launched(index: int) -> WorkerSpec:
        return _launched(spec, request, rate, places.raws[index], places.log, native=native)

    stage = f"py-spy at {rate} Hz"
    try:
        paired = compare(request, spec, launched, stage=stage, duration_s=request.duration_s)
    except PerfkitError as error:
        said = places.said()
        if messages.find(PySpy.name, said) is None:
            raise
        where = process.show(launched(0).launcher)
        raise messages.failure(PySpy.name, said, where=where) from error
    return _judged(request, run, paired, rate, places, native=native, threads=threads)


def _launched(
    spec: WorkerSpec, request: CaptureRequest, rate: int, raw: Path, log: Path, *, native: bool
) -> WorkerSpec:
    program = find(request.job.project.environ) or process.require_program("py-spy", {})
    words = [str(program), "record", "--rate", str(rate), "--format", "raw", "--output", str(raw)]
    if native:
        words.append("--native")
    return dataclasses.replace(spec, launcher=(*words, "--"), stdout=log, stderr=log)


def _judged(
    request: CaptureRequest,
    run: Run,
    paired: Paired,
    rate: int,
    places: _Places,
    *,
    native: bool,
    threads: bool,
) -> Capture:
    said = places.said()
    for raw in places.raws:
        if not raw.is_file() or not raw.stat().st_size:
            raise messages.failure(PySpy.name, said, where=str(places.log))
    stacks, outside = region_stacks(stack for raw in places.raws for stack in read_raw(raw))
    if not stacks:
        message = "py-spy took no sample of the loop"
        raise CaptureError(message, where=str(places.raws[0]), remedy="profile for longer")
    notes = list(messages.notes(PySpy.name, said))
    if native:
        notes.append(Note(id=NATIVE, text="native frames were joined to Python's"))
    elif threads or paired.threads > 1:
        text = "threads without Python frames are invisible to py-spy, and this call uses some"
        notes.append(Note(id="threads_unseen", text=text, remedy="use perf for the native side"))
    notes.append(
        Note(id="outside_region", text=f"{outside} samples of imports and set-up were left out")
    )
    taken = Taken(
        profiler=PySpy.name,
        workload=request.job.name,
        size=request.size,
        stem=request.label,
        title=request.title,
        rate_hz=float(rate),
        stacks=stacks,
        quality=Quality(
            samples=sum(count for _, count in stacks),
            unresolved=sum(count for stack, count in stacks if is_unresolved(stack[-1])),
            slowdown=paired.slowdown,
        ),
        files={
            **{f"raw_{index + 1}": raw for index, raw in enumerate(places.raws)},
            "log": places.log,
        },
        region=paired.region,
        faults=faults(said),
        notes=tuple(notes),
    )
    return publish(taken, request.job.project.config.profiling, run)

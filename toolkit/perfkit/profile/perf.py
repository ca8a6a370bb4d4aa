"""perf on the Python call: a worker runs the workload, perf is attached and switched on around the
measured region, in windows with and without it, so that its cost is measured with the data.

From CPython 3.13 on, a second recording has the Python functions in its stacks. It replaces the
first one if the interpreter option that it needs costs little.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

from perfkit.errors import CaptureError, PerfkitError
from perfkit.profile import messages, perf_jit, slowdown
from perfkit.profile.paired import PairArm, compare, once_per_build
from perfkit.profile.perf_record import Scope
from perfkit.profile.perf_session import KERNEL_UNSEEN, Session, Settled, quality_of, sees_kernel
from perfkit.profile.publish import Region, Taken, publish
from perfkit.records import Capture, Interval, Note, NoteId
from perfkit.subject.child import worker
from perfkit.units import format_share

if TYPE_CHECKING:
    from perfkit.profile.request import CaptureRequest
    from perfkit.subject.child import WorkerSpec

NAME = "perf"
OPTION_COST = "raw/perf-jit-cost.jsonl"
PYTHON_MAY_COST = 0.02
"""How much wider shares may become for stacks that hold Python's functions."""
IN_STEP = 1.5
"""Design effect that is worth a note: with independent samples three captures of a hundred reach
it, of the fewest windows that there are (36).
"""


def capture(request: CaptureRequest) -> Capture:
    """Profile one workload at one size.

    Raises:
        PermissionRefusedError: no event may be opened.
        PerfkitError: perf, the worker or the workload failed, by name.
    """
    spec = request.job.spec()
    with worker(spec) as running:
        session = Session(request=request, arm=PairArm(running, request), stem=request.sight.stem)
        settled = session.settle()
        version = running.loaded.python
    plain = published(session, settled)
    if not request.python_frames or not perf_jit.is_possible(version):
        return plain
    return _with_python(request, spec, settled, plain)


def _with_python(
    request: CaptureRequest, spec: WorkerSpec, settled: Settled, plain: Capture
) -> Capture:
    """The capture with Python's functions in its stacks if they cost little, else the plain one
    with the other's files beside it.
    """
    try:
        merged = _merged(request, spec, settled)
    except PerfkitError as error:
        text = f"Python's functions are not in the stacks: {error.message}"
        note = Note(id="not_merged", text=text, where=error.where, remedy=error.remedy)
        return dataclasses.replace(plain, notes=(*plain.notes, note))
    dearer = abs(merged.doubts.slowdown or 0.0) - abs(plain.doubts.slowdown or 0.0)
    if dearer <= PYTHON_MAY_COST:
        files = {f"plain_{kind}": path for kind, path in plain.files.items()}
        return dataclasses.replace(merged, files={**files, **merged.files})
    cost = [note for note in merged.notes if note.id == NoteId.PERF_JIT]
    text = (
        "the stacks with Python's functions are drawn, but not used for the split: they make every "
        f"share {format_share(dearer)} wider"
    )
    files = {f"merged_{kind}": path for kind, path in merged.files.items()}
    return dataclasses.replace(
        plain,
        files={**plain.files, **files},
        notes=(*plain.notes, *cost, Note(id="merged_unused", text=text)),
    )


def _merged(request: CaptureRequest, spec: WorkerSpec, settled: Settled) -> Capture:
    """Record once more, with the same settings, under an interpreter that tells perf of itself."""
    telling = dataclasses.replace(spec, python_options=perf_jit.OPTION)
    with contextlib.ExitStack() as stack:
        with worker(telling) as running:
            stack.callback(perf_jit.remove, running.pid)
            stem = f"{request.sight.stem}.merged"
            session = Session(request=request, arm=PairArm(running, request), stem=stem)
            data = request.run.path(f"raw/{stem}.perf.data")
            settings = dataclasses.replace(settled.recorded.settings, scope=Scope.THREADS)
            recorded = session.windows(settings, data)
        data = stack.enter_context(perf_jit.injected(recorded.data, running.pid, session.environ))
        read = session.read(dataclasses.replace(recorded, data=data))
        kept = recorded.data.with_suffix(".txt")
        kept.write_bytes(read.script.read_bytes())
        read = dataclasses.replace(read, script=kept)
    if not perf_jit.has_python(read.folded.stacks):
        message = "perf found none of the interpreter's functions in the stacks"
        raise CaptureError(message, where=str(recorded.data), remedy="try another perf")
    option = _option_cost(request, spec)
    inside = recorded.slowdown
    cost = slowdown.together(inside, option) if inside is not None else None
    text = (
        f"`-X perf_jit` itself changed the call's time by {format_share(option.estimate)} "
        f"({format_share(option.low)} to {format_share(option.high)}, over pairs of processes); "
        "the slowdown of these stacks includes both"
    )
    notes = (*settled.notes, Note(id=NoteId.PERF_JIT, text=text))
    shown = Settled(recorded=recorded, read=read, shift=settled.shift, notes=notes)
    return published(session, shown, cost)


def _option_cost(request: CaptureRequest, spec: WorkerSpec) -> Interval:
    """What `-X perf_jit` costs without perf: once per build, at the size that is profiled first."""

    def compared() -> Interval:
        telling = dataclasses.replace(spec, python_options=perf_jit.OPTION)
        found = compare(
            request, spec, lambda _: telling, stage="-X perf_jit", duration_s=request.duration_s
        )
        for pid in found.pids:
            perf_jit.remove(pid)
        return found.slowdown

    return once_per_build(request, OPTION_COST, compared)


def published(session: Session, settled: Settled, cost: Interval | None = None) -> Capture:
    """The settled recording as a capture, with its files, after its worker has ended.

    Args:
        cost: the slowdown, if it is more than the sampling's.
    """
    request, recorded, read = session.request, settled.recorded, settled.read
    notes = [*settled.notes, *messages.notes(session.tool.name, read.said)]
    if not sees_kernel(recorded, read):
        notes.append(KERNEL_UNSEEN)
    if not read.inlined:
        text = "inlined functions are not told apart: the module has no debug information"
        remedy = "build it with `-C debuginfo=line-tables-only`, and do not strip it"
        notes.append(Note(id="no_inlined", text=text, remedy=remedy))
    notes += in_step(read.folded.samples, read.design_effect)
    quality = quality_of(recorded, read, cost, settled.shift)
    taken = Taken(
        profiler=session.tool.name,
        sight=dataclasses.replace(request.sight, stem=session.stem),
        rate_hz=float(recorded.settings.rate_hz),
        stacks=read.folded.stacks,
        quality=quality,
        hot_lines=session.hot_lines(recorded, read, quality.doubts),
        files={"text": read.script} | ({"raw": recorded.data} if recorded.data.exists() else {}),
        region=Region(
            calls=recorded.calls,
            seconds=recorded.region_s,
            windows=len(recorded.loops),
            design_effect=read.design_effect,
            pace=recorded.pace,
        ),
        notes=tuple(notes),
    )
    return publish(taken, request.run)


def in_step(samples: int, design_effect: float) -> tuple[Note, ...]:
    """What to say of samples that carry less information than so many independent ones."""
    if design_effect < IN_STEP:
        return ()
    worth = round(samples / design_effect)
    text = (
        "neighbouring samples resemble each other, as if the calls were nearly in step with the "
        f"sampling clock: {samples} tell as much as {worth} independent ones, and the intervals "
        "are as wide as for that many"
    )
    return (Note(id="in_step", text=text, remedy="another --rate may be out of step"),)

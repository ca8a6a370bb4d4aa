"""perf on the Python call: a worker runs the workload, perf is attached and switched on around the
measured region, in windows with and without it, so that what it costs is measured with the data.

From CPython 3.13 on a second recording has the Python functions in its stacks. It takes the first
one's place where the interpreter option it needs is shown to be as cheap as perf must be.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, ClassVar

from perfkit import process
from perfkit.environment import base_environment
from perfkit.errors import CaptureError, PerfkitError
from perfkit.profile import messages, observer, perf_jit
from perfkit.profile.artefacts import Region, Taken, publish
from perfkit.profile.paired import PairArm, compare
from perfkit.profile.perf_session import (
    EVENTS,
    KERNEL_UNSEEN,
    Read,
    Recorded,
    Session,
    Settled,
)
from perfkit.profile.quality import Quality
from perfkit.records import Capture, Check, Interval, Note
from perfkit.store import read_journal
from perfkit.subject.child import worker
from perfkit.subject.worker import UNTIMED_CALLS
from perfkit.units import format_share

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.profile.request import CaptureRequest
    from perfkit.store import Run
    from perfkit.subject.child import Worker, WorkerSpec

OPTION_COST = "raw/perf-jit-cost.jsonl"
IN_STEP = 1.5
"""Design effect that is worth a note: with independent samples three captures of a hundred reach
it, of the fewest windows that there are (36).
"""


class Perf:
    """The profiler `perf`."""

    name: ClassVar[str] = "perf"

    def probe(self, environ: Mapping[str, str]) -> Check:
        """Whether perf is installed; whether it is permitted shows when it attaches."""
        found = process.find_program("perf", environ)
        remedy = "" if found else process.INSTALL_LINES["perf"]
        said = str(found) if found else "not on PATH"
        return Check(id=self.name, ok=found is not None, required=False, found=said, remedy=remedy)

    def capture(self, request: CaptureRequest) -> Capture:
        """Profile one workload at one size.

        Raises:
            PermissionRefusedError: no event may be opened.
            PerfkitError: perf, the worker or the workload failed, by name.
        """
        run = request.job.run
        spec = request.job.spec()
        with worker(spec) as running:
            session = _session(request, run, running, request.label)
            settled = session.settle()
            version = running.loaded.python
        plain = judged(session, settled, settled.recorded.slowdown)
        if not request.python_frames or not perf_jit.is_possible(version):
            return plain
        return _with_python(request, run, spec, settled, plain)


def _session(request: CaptureRequest, run: Run, running: Worker, stem: str) -> Session:
    environ = tool_environment(request)
    arm = PairArm(running, request)
    return Session(request=request, run=run, environ=environ, arm=arm, stem=stem)


def _with_python(
    request: CaptureRequest, run: Run, spec: WorkerSpec, settled: Settled, plain: Capture
) -> Capture:
    """The capture with Python's functions in its stacks where it may be believed, else the plain
    one with the other's files beside it.
    """
    try:
        merged = _merged(request, run, spec, settled)
    except PerfkitError as error:
        text = f"Python's functions are not in the stacks: {error.message}"
        note = Note(id="not_merged", text=text, where=error.where, remedy=error.remedy)
        return dataclasses.replace(plain, notes=(*plain.notes, note))
    if merged.accepted:
        files = {f"plain_{kind}": path for kind, path in plain.files.items()}
        return dataclasses.replace(merged, files={**files, **merged.files})
    cost = [note for note in merged.notes if note.id == "perf_jit"]
    text = f"the stacks with Python's functions are drawn, and not used: {merged.reason}"
    files = {f"merged_{kind}": path for kind, path in merged.files.items()}
    return dataclasses.replace(
        plain,
        files={**plain.files, **files},
        notes=(*plain.notes, *cost, Note(id="merged_unused", text=text)),
    )


def _merged(request: CaptureRequest, run: Run, spec: WorkerSpec, settled: Settled) -> Capture:
    """Record once more, at what was settled on, under an interpreter that tells perf of itself."""
    telling = dataclasses.replace(spec, python_options=perf_jit.OPTION)
    with contextlib.ExitStack() as stack:
        with worker(telling) as running:
            stack.enter_context(perf_jit.removing(running.pid))
            session = _session(request, run, running, f"{request.label}.merged")
            recorded = session.windows(settled.recorded.settings, give_up=False)
        data = stack.enter_context(perf_jit.injected(recorded.data, running.pid, session.environ))
        read = session.read(dataclasses.replace(recorded, data=data))
        kept = recorded.data.with_suffix(".txt")
        kept.write_bytes(read.script.read_bytes())
        read = dataclasses.replace(read, script=kept)
    if not perf_jit.has_python(read.stacks):
        message = "perf found none of the interpreter's functions in the stacks"
        raise CaptureError(message, where=str(recorded.data), remedy="another perf may find them")
    option = _option_cost(request, run, spec)
    inside = recorded.slowdown
    cost = observer.together(inside, option) if inside is not None else None
    text = (
        f"`-X perf_jit` itself changed the call's time by {format_share(option.estimate)} "
        f"({format_share(option.low)} to {format_share(option.high)}, over pairs of processes); "
        "the slowdown of these stacks holds both"
    )
    notes = (*settled.notes, Note(id="perf_jit", text=text))
    return judged(session, Settled(recorded=recorded, read=read, notes=notes), cost)


def _option_cost(request: CaptureRequest, run: Run, spec: WorkerSpec) -> Interval:
    """What `-X perf_jit` costs without perf: once per build, at the size that is profiled first."""
    for line in read_journal(run.directory / OPTION_COST):
        if line["build"] == request.job.build.key:
            return Interval(**line["slowdown"])
    telling = dataclasses.replace(spec, python_options=perf_jit.OPTION)
    found = compare(
        request, spec, lambda _: telling, stage="-X perf_jit", duration_s=request.duration_s
    )
    for pid in found.pids:
        with perf_jit.removing(pid):
            pass
    run.append(OPTION_COST, {"build": request.job.build.key, "slowdown": found.slowdown})
    return found.slowdown


def tool_environment(request: CaptureRequest) -> dict[str, str]:
    """What a profiler sees of the environment."""
    return base_environment(request.job.project.environ, extra={})


def unexplained(outside: int, samples: int, calls: int, windows: int) -> int:
    """Samples outside the windows that the calls before each window, which wake caches and pool,
    do not explain: they are calls like all others, and of long calls a window has few.
    """
    return max(0, outside - round(samples * UNTIMED_CALLS * windows / calls))


def judged(session: Session, settled: Settled, slowdown: Interval | None) -> Capture:
    """What was settled on as a capture, with its files, after its worker has ended."""
    request, run = session.request, session.run
    recorded, read = settled.recorded, settled.read
    sees_kernel = read.event == EVENTS[0]
    notes = [*settled.notes, *messages.notes("perf", read.said)]
    if not sees_kernel:
        notes.append(KERNEL_UNSEEN)
    if not read.inlined:
        text = "inlined functions are not told apart: the module has no debug information"
        remedy = "build it with `-C debuginfo=line-tables-only`, and do not strip it"
        notes.append(Note(id="no_inlined", text=text, remedy=remedy))
    resembling = in_step(read.selection.samples, read.design_effect)
    if resembling is not None:
        notes.append(resembling)
    taken = Taken(
        profiler="perf",
        workload=request.job.name,
        size=request.size,
        stem=session.stem,
        title=request.title,
        rate_hz=float(recorded.settings.rate_hz),
        stacks=read.stacks,
        quality=_quality(recorded, read, slowdown, sees_kernel=sees_kernel),
        files={"text": read.script, "raw": recorded.data},
        region=Region(
            calls=recorded.calls,
            seconds=recorded.region_s,
            windows=len(recorded.windows),
            design_effect=read.design_effect,
            pace=recorded.pace,
            main_tid=session.running.main_tid,
            pid=session.running.pid,
        ),
        notes=tuple(notes),
    )
    return publish(taken, request.job.project.config.profiling, run)


def _quality(
    recorded: Recorded, read: Read, slowdown: Interval | None, *, sees_kernel: bool
) -> Quality:
    chosen = read.selection
    return Quality(
        samples=chosen.samples,
        unresolved=chosen.unresolved,
        unrooted=chosen.unrooted,
        lost=messages.lost_samples(read.said, chosen.samples),
        outside=unexplained(chosen.outside, chosen.samples, recorded.calls, len(recorded.windows)),
        slowdown=slowdown,
        sampled_s=chosen.samples / recorded.settings.rate_hz,
        # Where the kernel's part is out of sight, the two clocks differ for that reason.
        cpu_s=recorded.cpu_s if sees_kernel else None,
    )


def in_step(samples: int, design_effect: float) -> Note | None:
    """What to say of samples that tell less than so many independent ones; None where they do."""
    if design_effect < IN_STEP:
        return None
    worth = round(samples / design_effect)
    text = (
        f"neighbouring samples resemble each other, as where the calls are nearly in step with the "
        f"sampling clock: {samples} tell as much as {worth} independent ones, and the intervals "
        "are those of so many"
    )
    return Note(id="in_step", text=text, remedy="another --rate may be out of step")

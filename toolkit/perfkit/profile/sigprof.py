"""The worker samples itself: a timer for each thread, whose signal copies the thread's registers
and stack. It needs no permission, so it works where perf is refused
(`perf_event_paranoid` 4, a container's filter of system calls), and it shows what perf shows but
for the kernel's frames.

The library for that has no Python in it and is loaded by ctypes: see `toolkit/engine/sampler`. The
engine unwinds the copies and names their frames.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit import _engine
from perfkit.errors import ToolMissingError
from perfkit.profile.paired import PairArm
from perfkit.profile.perf import published
from perfkit.profile.perf_record import Scope
from perfkit.profile.perf_session import Session
from perfkit.records import Capture, Note
from perfkit.stacks import engine_errors
from perfkit.subject.child import worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from perfkit.profile.perf_record import RecordSettings
    from perfkit.profile.request import CaptureRequest
    from perfkit.subject.child import Worker

NAME = "sigprof"
EVENT = "thread-cpu"
STACK_BYTES = 65_536
"""Most that is copied of a stack. Stacks of calls from Python have 5 to 20 kB here (2026-11)."""
BUFFER_BYTES = 1 << 28
"""Address space for the copies; only what is written takes memory."""
COARSE_CLOCK = 6
"""`CLOCK_MONOTONIC_COARSE`, whose resolution is the kernel's tick."""
BELOW_THE_TICK = 0.97
"""The highest rate as a part of the tick's: there is one look at a thread per tick."""
KERNEL_WITH_CALLER = Note(
    id="kernel_with_caller",
    text=(
        "the kernel's own time is part of the function that asked for it: a page fault shows where "
        "the page was touched"
    ),
)


def capture(request: CaptureRequest) -> Capture:
    """Profile one workload at one size.

    Raises:
        ToolMissingError: there is no sampler for this system, or the interpreter cannot load it.
        PerfkitError: the worker or the workload failed, by name.
    """
    with worker(request.job.spec()) as running:
        session = Session(
            request=request,
            arm=PairArm(running, request),
            stem=request.sight.stem,
            tool=SIGPROF,
        )
        settled = session.settle()
    notes = (KERNEL_WITH_CALLER, *settled.notes)
    return published(session, dataclasses.replace(settled, notes=notes))


@dataclass(frozen=True, slots=True)
class WorkerRecorder:
    """A worker's sampler; the worker switches it on where a loop begins, and off at its end."""

    running: Worker
    data: Path

    def enable(self) -> None:
        """Sample the next loops."""
        self.running.sample(on=True)

    def disable(self) -> None:
        """Leave the next loops alone."""
        self.running.sample(on=False)

    def finish(self) -> str:
        """Let the worker write the copies, and return what is missing of them."""
        lost, refused = self.running.write_samples(self.data)
        return _said(lost) + (f"{refused} threads got no timer\n" if refused else "")


@dataclass(frozen=True, slots=True)
class Sigprof:
    """The worker's own sampler as the tool of a session, see `perf_session.Tool`."""

    name: str = NAME
    events: tuple[str, ...] = (EVENT,)
    stacks: tuple[str, ...] = (f"dwarf,{STACK_BYTES}",)
    scopes: tuple[Scope, ...] = (Scope.THREADS,)

    @property
    def highest_hz(self) -> float:
        """The kernel looks at timers of CPU clocks at its tick, 100 to 1000 times a second."""
        return BELOW_THE_TICK / time.clock_getres(COARSE_CLOCK)

    @contextlib.contextmanager
    def attached(
        self,
        running: Worker,
        settings: RecordSettings,
        data: Path,
        environ: Mapping[str, str],  # for a process, and there is none
    ) -> Iterator[WorkerRecorder]:
        """Load the sampler into the worker; take its timers away when the block is left.

        Raises:
            ToolMissingError: there is none for this system, or the interpreter cannot load it.
        """
        found = _engine.sampler_library()
        if not found:
            message = "perfkit's sampler needs Linux on x86-64 or ARM64"
            raise ToolMissingError(message, remedy="use perf or py-spy")
        # Beside the data: some systems allow no code in their folder for temporary files.
        with tempfile.TemporaryDirectory(prefix=".sampler-", dir=data.parent) as folder:
            library = Path(folder) / "sampler.so"
            library.write_bytes(found)
            running.load_sampler(
                library,
                rate_hz=settings.rate_hz,
                stack_bytes=STACK_BYTES,
                buffer_bytes=BUFFER_BYTES,
            )
            try:
                yield WorkerRecorder(running, data)
            finally:
                running.unload_sampler()

    @engine_errors.named()
    def write_script(
        self, settings: RecordSettings, data: Path, output: Path, environ: Mapping[str, str]
    ) -> str:
        """Unwind and name the copies."""
        _, lost = _engine.unwind_copies(data, output)
        return _said(lost)


SIGPROF = Sigprof()


def _said(lost: int) -> str:
    """In words, as perf says it: `messages.toml` knows them."""
    return f"{lost} periods ended without a sample\n" if lost else ""

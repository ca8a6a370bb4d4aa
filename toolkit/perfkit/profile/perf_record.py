"""perf attached to a running process, switched on and off by named pipes, and its data as text.

Nothing here knows about workloads or verdicts. Acknowledgements are read as perf sends them: `ack`,
a newline and a NUL.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import struct
import tempfile
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit import process
from perfkit.errors import PerfkitError, ToolTimedOutError
from perfkit.profile import messages
from perfkit.profile.raw_files import is_filled, read_log

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from perfkit.subject.child import Worker

NAME = "perf"
ACK = b"ack\n\0"
FIELDS = "comm,pid,tid,time,event,ip,sym,dso"
EVENTS = ("cpu-clock", "cpu-clock:u")
"""With the kernel's part, or user code alone if the system allows no more."""
STACK_COPIES = ("dwarf,16384", "dwarf,32768", "dwarf,65528")
"""How much of the stack perf copies, in the order they are tried. The copy itself costs little:
the timer interrupt does (2026-11, 2 vCPU, 997 Hz: 1.8 % without any stack, 2.1 % with 8 kB)."""
FRAME_POINTERS = "fp"
_ANSWER_S = 30.0
_WRITE_S = 60.0
_SCRIPT_S = 600.0
_POLL_MS = 100


class Scope(StrEnum):
    """Where the counters are: one for each thread, or one for each CPU.

    Those of threads are stopped and started whenever a thread waits and wakes, which is what makes
    calls with a pool dear to profile (`benches/counters.py`, 2026-11, 2 vCPU, a call of 200 us that
    hands work to two threads: 11.0 % per thread, 1.2 % per CPU at 997 Hz). Those of CPUs see every
    program.
    """

    THREADS = "threads"
    CPUS = "cpus"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSettings:
    """How perf samples.

    Attributes:
        event: one of `EVENTS`.
        call_graph: `fp` or `dwarf,<bytes of stack>`.
        scope: where the counters are.
    """

    rate_hz: int
    event: str = EVENTS[0]
    call_graph: str = STACK_COPIES[0]
    scope: Scope = Scope.THREADS

    def options(self, data: Path) -> tuple[str, ...]:
        """The words behind `perf record`."""
        return (
            "-e", self.event, "-F", str(self.rate_hz), "--call-graph", self.call_graph,
            "-o", str(data),
        )  # fmt: skip


class PerfRecorder:
    """A perf that is attached and waits, switched off at first."""

    def __init__(
        self, child: process.Child, control: int, answers: int, data: Path, log: Path
    ) -> None:
        self._child = child
        self._control = control
        self._answers = answers
        self.data = data
        self._log = log

    def enable(self) -> None:
        """Start sampling; returns when perf has said that it samples."""
        self._command("enable")

    def disable(self) -> None:
        """Stop sampling for now; returns when perf has said so."""
        self._command("disable")

    def finish(self) -> str:
        """Let perf write its file and return what it said.

        Raises:
            PerfkitError: there is no file, named by perf's words if they are known.
        """
        self._child.signal(signal.SIGINT)
        code = self._child.wait(_WRITE_S)
        if not is_filled(self.data):
            raise self._failure(code)
        return read_log(self._log)

    def _failure(self, code: int) -> PerfkitError:
        where = process.show(self._child.argv)
        return messages.failure(NAME, read_log(self._log), where=where, returncode=code)

    def _command(self, word: str) -> None:
        os.write(self._control, f"{word}\n".encode())
        got = b""
        end = time.monotonic() + _ANSWER_S
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        while not got.endswith(ACK):
            if poll.poll(_POLL_MS):
                got += os.read(self._answers, 64)
            elif self._child.returncode is not None:
                raise self._failure(self._child.returncode)
            elif time.monotonic() > end:
                message = f"perf did not answer `{word}` within {_ANSWER_S:g} s"
                where = process.show(self._child.argv)
                raise ToolTimedOutError(message, where=where, details=read_log(self._log))


@contextlib.contextmanager
def attached(
    pid: int, settings: RecordSettings, data: Path, environ: Mapping[str, str]
) -> Iterator[PerfRecorder]:
    """Attach perf to a process and all threads it has or gets; detach when the block is left.

    Args:
        data: where perf writes. Counters per CPU write the samples of every program.
        environ: perf's whole environment.

    Raises:
        ToolMissingError: perf is not installed.
        PermissionRefusedError: the system refuses; the message says which switch it is.
    """
    program = process.require_program("perf", environ)
    data.unlink(missing_ok=True)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="perfkit-perf-")))
        control, answers, log = folder / "control", folder / "answers", folder / "log"
        descriptors = []
        for pipe in (control, answers):
            os.mkfifo(pipe)
            # Both ends at once: opening never waits, whether perf starts or not.
            descriptors.append(os.open(pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
            stack.callback(os.close, descriptors[-1])
        argv: list[str | Path] = [
            program, "record", "--delay", "-1", "--control", f"fifo:{control},{answers}",
            *(("--all-cpus",) if settings.scope is Scope.CPUS else ("--pid", str(pid))),
            "--clockid", "mono", *settings.options(data),
        ]  # fmt: skip
        child = stack.enter_context(process.started(argv, env=environ, stderr=log))
        recorder = PerfRecorder(child, descriptors[0], descriptors[1], data, log)
        recorder.disable()  # answered once everything is open: perf is ready then
        yield recorder


def write_script(
    data: Path, output: Path, environ: Mapping[str, str], *, pid: int | None = None
) -> str:
    """Turn a perf.data into text, and return what perf said about it.

    Args:
        pid: the only process whose samples are written.

    Raises:
        PerfkitError: perf cannot read it, or it holds no sample.
        ToolTimedOutError: symbols took too long; the remedy names the options that help.
    """
    program = process.require_program("perf", environ)
    if is_cut(data):
        said = "unexpected end of event stream"  # as newer perfs say it; older ones say nothing
        raise messages.failure(NAME, said, where=str(data))
    argv: list[str | Path] = [program, "script", "--force", "-i", data, "--no-inline", "-F", FIELDS]
    argv += [] if pid is None else ["--pid", str(pid)]
    try:
        streams = process.Streams(stdout=output)
        done = process.run(argv, env=environ, streams=streams, timeout_s=_SCRIPT_S, ok_codes=None)
    except ToolTimedOutError as error:
        error.remedy = "profile for a shorter --duration, or at a lower --rate"
        raise
    if done.returncode != 0 or not output.stat().st_size:
        said = done.stderr or "zero-sized data"
        where = process.show(done.argv)
        raise messages.failure(NAME, said, where=where, returncode=done.returncode)
    return done.stderr


def is_cut(data: Path) -> bool:
    """Whether a perf.data ends before its samples do, according to its header.

    The header: `PERFILE2`, its size, the size of an attribute, then offset and size of the
    attributes and of the data. What follows the data (names of the machine, build ids) may be
    missing.
    """
    head = struct.Struct("<8s6Q")
    with data.open("rb") as stream:
        begin = stream.read(head.size)
    if len(begin) < head.size or not begin.startswith(b"PERFILE2"):
        return False  # perf itself says what it is
    *_, offset, size = head.unpack(begin)
    return bool(offset + size > data.stat().st_size)


@dataclass(frozen=True, slots=True)
class OwnSamples:
    """A recorder whose counters see every program: only the text of one process is kept.

    Attributes:
        everything: the recorder.
        text: where the process's samples go.
    """

    everything: PerfRecorder
    pid: int
    text: Path
    environ: Mapping[str, str]

    def enable(self) -> None:
        """See `PerfRecorder.enable`."""
        self.everything.enable()

    def disable(self) -> None:
        """See `PerfRecorder.disable`."""
        self.everything.disable()

    def finish(self) -> str:
        """Write the process's samples as text, and return what perf said."""
        said = self.everything.finish()
        return said + write_script(self.everything.data, self.text, self.environ, pid=self.pid)


@dataclass(frozen=True, slots=True)
class Perf:
    """perf as the tool of a session, see `perf_session.Tool`."""

    name: str = NAME
    events: tuple[str, ...] = EVENTS
    stacks: tuple[str, ...] = (FRAME_POINTERS, *STACK_COPIES)
    scopes: tuple[Scope, ...] = (Scope.CPUS, Scope.THREADS)
    highest_hz: float = math.inf

    @contextlib.contextmanager
    def attached(
        self, running: Worker, settings: RecordSettings, data: Path, environ: Mapping[str, str]
    ) -> Iterator[PerfRecorder | OwnSamples]:
        """See `attached`. With counters per CPU, what they see of other programs is in a private
        folder for as long as the block lasts, and `data` is text.
        """
        with contextlib.ExitStack() as stack:
            if settings.scope is Scope.THREADS:
                yield stack.enter_context(attached(running.pid, settings, data, environ))
                return
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="perfkit-perf-"))
            everything = attached(running.pid, settings, Path(folder) / "perf.data", environ)
            yield OwnSamples(stack.enter_context(everything), running.pid, data, environ)

    def write_script(
        self, settings: RecordSettings, data: Path, output: Path, environ: Mapping[str, str]
    ) -> str:
        """See `write_script`."""
        if settings.scope is Scope.CPUS:
            data.replace(output)
            return ""
        return write_script(data, output, environ)


PERF = Perf()

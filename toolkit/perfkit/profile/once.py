"""A command, a module or a running process under a profiler, once: its slowdown is not known, and
the capture says so. A program that was started is never started again; its own exit code is passed
on, and what it prints is never taken for the profiler's words.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit import process
from perfkit.errors import PerfkitError, PermissionRefusedError, ToolMissingError, UsageError
from perfkit.profile import messages, perf, perf_record, py_spy, slowdown
from perfkit.profile.perf_record import EVENTS, RecordSettings
from perfkit.profile.perf_session import KERNEL_UNSEEN
from perfkit.profile.publish import Taken, publish, without_stacks
from perfkit.profile.quality import Quality, of_stacks
from perfkit.profile.raw_files import RawFiles
from perfkit.profile.request import Sight
from perfkit.records import Capture, Note, NoteId
from perfkit.stacks import perf_script
from perfkit.stacks.folded import cut
from perfkit.stacks.py_spy_raw import read_raw
from perfkit.stacks.split import CALLING_THREAD, OTHER_THREADS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.config import Project
    from perfkit.profile.request import ProfileOptions
    from perfkit.records import Build
    from perfkit.stacks.folded import Stack
    from perfkit.store import Run
    from perfkit.subject.job import Progress

LABEL = "command"
COMMAND_PROFILERS = (perf.NAME, py_spy.NAME)
OWN_STDERR = ': >"$0"; exec "$@" 2>&1'
"""For `sh -c`, followed by the command: makes the file that says that the program starts, and takes
perf's log away from it. perf's words decide what happened, so the program's must not be among them.
"""
ENDED_BADLY = 1
SHIM = Path(__file__).with_name("py_spy_shim.py")
_PYTHON = re.compile(r"^python[\d.]*$")
_THREAD = re.compile(r"^thread \((?P<id>0[xX][0-9a-fA-F]+|\d+)\)(: .*)?$")
"""Root frame of py-spy's `--threads`, such as `thread (3652): MainThread`."""
_PID_SLACK_S = 60.0
_NEVER_S = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something else than a workload: a command, `-m module` followed by the command's words, or a
    process.
    """

    command: tuple[str, ...] = ()
    module: str | None = None
    pid: int | None = None

    @property
    def _names_python(self) -> bool:
        first = Path(self.command[0]).name if self.module is None and self.command else ""
        return _PYTHON.match(first) is not None

    @property
    def words(self) -> tuple[str, ...]:
        """Script or `-m module` with arguments, without the interpreter."""
        if self.module is not None:
            return ("-m", self.module, *self.command)
        return self.command[1:] if self._names_python else self.command

    @property
    def shown(self) -> str:
        """What reports call it, on one line."""
        if self.pid is not None:
            return f"process {self.pid}"
        return " ".join(" ".join(self.words).split())

    @property
    def switches(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The interpreter's own options, and what it runs with its arguments."""
        words = self.words
        at = 0
        while at < len(words) and words[at].startswith("-") and words[at] not in {"-m", "-c", "-"}:
            at += 2 if words[at] in {"-X", "-W"} else 1
        return words[:at], words[at:]

    def interpreter(self, default: Path) -> Path:
        """The interpreter that the command names, or the project's."""
        return Path(self.command[0]) if self._names_python else default


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileOutcome:
    """The captures, and the exit code of a command; None for workloads and processes.

    Attributes:
        build: the profiling build of the subject; None if something else was profiled.
    """

    captures: tuple[Capture, ...]
    exit_code: int | None = None
    build: Build | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OneLook:
    """A target with what was asked of the profilers, and where the files go."""

    project: Project
    target: Target
    run: Run
    options: ProfileOptions

    @property
    def started(self) -> Path:
        """The file that the program makes when it starts."""
        return self.run.path(f"raw/{LABEL}.started")

    @property
    def python(self) -> Path:
        """The interpreter that runs the program."""
        named = self.project.config.subject.python
        default = Path(sys.executable) if named is None else self.project.root / named
        return self.target.interpreter(default)

    @property
    def seconds(self) -> float:
        """How long a running process is sampled."""
        return self.options.duration_s or self.project.config.profiling.duration_s

    def run_profiler(
        self, argv: Sequence[str | Path], log: Path, out: Path | int, inherited: Sequence[int] = ()
    ) -> int:
        """Run a profiler to its end, and return its exit code.

        Args:
            out: where its stdout goes; its stderr goes to the log.
            inherited: descriptors that the program gets.
        """
        environ, limit_s = dict(self.project.environ), _NEVER_S
        if self.target.pid is not None:
            limit_s = self.seconds + _PID_SLACK_S
        with process.started(
            argv, env=environ, stdout=out, stderr=log, pass_fds=inherited
        ) as child:
            return child.wait(limit_s)

    def taken(self, profiler: str, rate: int, raw: RawFiles) -> Taken:
        """A profiler's part without stacks: the program ran once, so the cost is not known."""
        shown = self.target.shown
        text = f"what {profiler} cost is not known: there was no run without it to compare with"
        return Taken(
            profiler=profiler,
            sight=Sight(workload=shown, size=None, stem=LABEL, title=shown),
            rate_hz=float(rate),
            stacks=(),
            quality=Quality(samples=0),
            files={"log": raw.log},
            has_cost=False,
            notes=(Note(id="cost_unknown", text=text),),
        )

    def published(self, taken: Taken, code: int) -> ProfileOutcome:
        """The outcome of a program that left stacks."""
        capture = publish(taken, self.run)
        return ProfileOutcome(captures=(capture,), exit_code=self._own_code(code))

    def nothing(self, taken: Taken, error: PerfkitError, code: int) -> ProfileOutcome:
        """The outcome of a program that ran and left no stack: its own exit code, and why there is
        no picture. One that did not run is a failure.

        Raises:
            PerfkitError: the program was never started.
        """
        if self.target.pid is not None or not self.started.exists():
            raise error
        note = Note(id="no_stacks", text=error.message, where=error.where, remedy=error.remedy)
        capture = without_stacks(taken, self.run, note)
        return ProfileOutcome(captures=(capture,), exit_code=self._own_code(code))

    def _own_code(self, code: int) -> int | None:
        """What a command ends with, a signal as the shell tells it; None for a running process."""
        if self.target.pid is not None:
            return None
        return code if code >= 0 else 128 - code


def profile_target(wanted: OneLook, progress: Progress) -> ProfileOutcome:
    """Profile it by the first profiler that is permitted.

    Raises:
        UsageError: there is nothing to run, or no such profiler.
        PerfkitError: no profiler is permitted, and the program was not started.
    """
    target, chosen = wanted.target, wanted.options.profilers
    if target.pid is None and not target.words:
        message = "there is no script to run"
        raise UsageError(message, remedy="perfkit profile -- python script.py")
    names = chosen or COMMAND_PROFILERS
    for name in names:
        if name not in COMMAND_PROFILERS:
            message = f"`{name}` only profiles workloads"
            remedy = f"choose among: {', '.join(COMMAND_PROFILERS)}"
            raise UsageError(message, remedy=remedy)
    tried: list[Note] = []
    for index, name in enumerate(names):
        progress(f"{name} on {target.pid or ' '.join(target.words)}", None)
        wanted.started.unlink(missing_ok=True)
        try:
            outcome = (_by_perf if name == perf.NAME else _by_py_spy)(wanted)
        except (ToolMissingError, PermissionRefusedError) as error:
            # A program that was started is never started again.
            last = chosen is not None or index == len(names) - 1
            if last or wanted.started.exists():
                raise
            text = f"{name}: {error.message}"
            tried.append(Note(id=NoteId.TRIED, text=text, remedy=error.remedy))
            continue
        captures = tuple(
            dataclasses.replace(item, notes=(*tried, *item.notes)) for item in outcome.captures
        )
        return dataclasses.replace(outcome, captures=captures)
    raise AssertionError  # the loop returns or raises


def _by_perf(wanted: OneLook) -> ProfileOutcome:
    target, environ = wanted.target, wanted.project.environ
    settings = wanted.project.config.profiling
    rate = slowdown.nearest_prime(wanted.options.rate_hz or settings.rate_hz)
    raw = RawFiles.fresh(perf.NAME, wanted.run, LABEL, "data")
    (data,) = raw.outputs
    argv: list[str | Path] = [process.require_program("perf", environ), "record"]
    argv += RecordSettings(rate_hz=rate).options(data)
    if target.pid is not None:
        argv += ["--pid", str(target.pid), "--", "sleep", f"{wanted.seconds:g}"]
    else:
        argv += ["--", "sh", "-c", OWN_STDERR, wanted.started, wanted.python, *target.words]
    # The program's own stdout goes to perfkit's stderr: the report has stdout.
    code = wanted.run_profiler(argv, raw.log, 2)
    taken = wanted.taken(perf.NAME, rate, raw)
    script = data.with_suffix(".txt")
    try:
        raw.require(process.show([str(word) for word in argv]))
        said = raw.said + perf_record.write_script(data, script, environ)
    except PerfkitError as error:
        return wanted.nothing(taken, error, code)
    folded = perf_script.fold(script, main_tid=target.pid)
    notes = [*taken.notes, *messages.notes(perf.NAME, said)]
    if folded.event not in {None, EVENTS[0]}:
        notes.append(KERNEL_UNSEEN)
    taken = dataclasses.replace(
        taken,
        stacks=folded.stacks,
        quality=Quality(
            samples=folded.samples,
            unresolved=folded.unresolved,
            lost=messages.lost_samples(said, folded.samples),
        ),
        files={**taken.files, "text": script, "raw": data},
        notes=tuple(notes),
    )
    return wanted.published(taken, code)


def _by_py_spy(wanted: OneLook) -> ProfileOutcome:
    target, run = wanted.target, wanted.run
    asked = min(wanted.options.rate_hz or py_spy.HIGHEST_RATE_HZ, py_spy.HIGHEST_RATE_HZ)
    rate = slowdown.nearest_prime(asked)
    raw = RawFiles.fresh(py_spy.NAME, run, LABEL, "raw")
    (output,) = raw.outputs
    argv: list[str | Path] = []
    argv += py_spy.record_command(wanted.project.environ, rate, output, "--threads")
    place = run.path(f"raw/{LABEL}.code")
    place.unlink(missing_ok=True)
    # py-spy tells on stdout how many samples failed: both its streams are the log's, and the
    # program writes where perfkit does.
    ours = os.dup(2)
    try:
        if target.pid is not None:
            argv += ["--pid", str(target.pid), "--duration", str(max(1, round(wanted.seconds)))]
        else:
            switches, words = target.switches
            argv += ["--", wanted.python, *switches, SHIM, wanted.started, place, str(ours), *words]
        code = wanted.run_profiler(argv, raw.log, raw.log, [ours])
    finally:
        os.close(ours)
    unknown: tuple[Note, ...] = ()
    if target.pid is None and wanted.started.exists():
        code, unknown = _read_code(place)
    taken = wanted.taken(py_spy.NAME, rate, raw)
    try:
        raw.require(process.show([str(word) for word in argv]))
    except PerfkitError as error:
        return wanted.nothing(taken, error, code)
    stacks = by_thread(read_raw(output), target.pid)
    taken = dataclasses.replace(
        taken,
        stacks=stacks,
        quality=dataclasses.replace(of_stacks(stacks), lost=py_spy.failed_samples(raw.said)),
        files={**taken.files, "raw": output},
        notes=(*taken.notes, *unknown, *py_spy.faults(raw.said)),
    )
    return wanted.published(taken, code)


def by_thread(stacks: Sequence[tuple[Stack, int]], pid: int | None) -> list[tuple[Stack, int]]:
    """py-spy's stacks, whose root frames are threads, with the main one told from the others.

    Of a process the main thread has the process's id; of a command it is the one that runs
    `py_spy_shim.py`.
    """

    def thread(stack: Sequence[str]) -> str | None:
        found = _THREAD.match(stack[0])
        return found["id"] if found else None

    main = {
        id_
        for stack, _ in stacks
        if (id_ := thread(stack)) is not None
        and (int(id_, 0) == pid if pid is not None else _runs_command(stack))
    }

    def named(stack: Sequence[str]) -> Stack:
        id_ = thread(stack)
        below = tuple(stack) if id_ is None else tuple(stack[1:])
        root = CALLING_THREAD if id_ in main else OTHER_THREADS
        return (root, *(_below_shim(below) if below else ("[no Python frame]",)))

    return cut(stacks, named)[0]


def _runs_command(stack: Sequence[str]) -> bool:
    return any(f"perfkit/profile/{SHIM.name}" in frame for frame in stack)


def _below_shim(stack: Stack) -> Stack:
    """Leave out the frames of `py_spy_shim.py` and of runpy above the user's own."""
    ours = (f"perfkit/profile/{SHIM.name}", "<frozen runpy>", "runpy.py")
    at = 0
    for index, frame in enumerate(stack):
        if index == 0 or any(name in frame for name in ours):
            at = index
        else:
            break
    if not any(name in stack[at] for name in ours):
        return stack
    return stack[at + 1 :] or ("[start-up]",)


def _read_code(place: Path) -> tuple[int, tuple[Note, ...]]:
    """The program's own exit code: py-spy does not pass it on."""
    try:
        return int(place.read_text(encoding="ascii")), ()
    except (FileNotFoundError, ValueError):
        text = "the program's own exit code is not known: a signal or os._exit ended it"
        note = Note(id="code_unknown", text=text, remedy="profile with perf, or run it by itself")
        return ENDED_BADLY, (note,)

"""A command, a module or a running process under a profiler, once: so what that cost is not
known, and the capture says so. A program that was started is never started again; its own exit
code is handed on, and what it prints is never taken for the profiler's words.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit import process
from perfkit.errors import PerfkitError, PermissionRefusedError, ToolMissingError, UsageError
from perfkit.profile import messages, observer, perf_fold, perf_record, py_spy
from perfkit.profile.artefacts import Taken, publish
from perfkit.profile.perf_session import EVENTS, KERNEL_UNSEEN, STACK_COPIES
from perfkit.profile.quality import Quality
from perfkit.records import Capture, Note
from perfkit.stacks.layers import is_unresolved
from perfkit.stacks.py_spy_raw import read_raw
from perfkit.stacks.split import CALLING_THREAD, OTHER_THREADS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.config import Project
    from perfkit.records import Build
    from perfkit.store import Run
    from perfkit.subject.job import Progress

LABEL = "command"
PERF, PY_SPY = COMMAND_PROFILERS = ("perf", "py-spy")
OWN_STDERR = ': >"$0"; exec "$@" 2>&1'
"""For `sh -c`, the words behind it as they are: says that the program starts by making a file, and
takes perf's log away from it. perf's words decide what happened, so the program's must not be
among them."""
ENDED_BADLY = 1
RUNNER = Path(__file__).with_name("runner.py")
COST_UNKNOWN = {
    name: Note(
        id="cost_unknown",
        text=f"what {name} cost is not known: there was no run without it to compare with",
    )
    for name in COMMAND_PROFILERS
}
_PYTHON = re.compile(r"^python[\d.]*$")
_THREAD = re.compile(r"^thread \((?P<id>0[xX][0-9a-fA-F]+|\d+)\)(: .*)?$")
"""Root frame of py-spy's `--threads`, such as `thread (3652): MainThread`."""
_PID_SLACK_S = 60.0
_NEVER_S = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something else than a workload: a command, `-m module` with the command's words behind it, or
    a process.
    """

    command: tuple[str, ...] = ()
    module: str | None = None
    pid: int | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """Script or `-m module` with arguments, without the interpreter."""
        if self.module is not None:
            return ("-m", self.module, *self.command)
        if self.command and _PYTHON.match(Path(self.command[0]).name):
            return self.command[1:]
        return self.command

    @property
    def shown(self) -> str:
        """What reports call it."""
        return f"process {self.pid}" if self.pid is not None else " ".join(self.words)

    @property
    def switches(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The interpreter's own options in front, and what it is to run with its arguments."""
        words = self.words
        at = 0
        while at < len(words) and words[at].startswith("-") and words[at] not in {"-m", "-c", "-"}:
            at += 2 if words[at] in {"-X", "-W"} else 1
        return words[:at], words[at:]

    def interpreter(self, default: Path) -> Path:
        """The interpreter that the command names, or the project's."""
        if self.module is None and self.command and _PYTHON.match(Path(self.command[0]).name):
            return Path(self.command[0])
        return default


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileOutcome:
    """The captures, and the exit code of a command; None for workloads and processes.

    Attributes:
        build: the profiling build of the subject; None where something else was profiled.
    """

    captures: tuple[Capture, ...]
    exit_code: int | None = None
    build: Build | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What is to be looked at, and how; None where the config decides."""

    project: Project
    target: Target
    run: Run
    profilers: tuple[str, ...] | None
    rate_hz: float | None
    duration_s: float | None

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
        """How long a running process is looked at."""
        return self.duration_s or self.project.config.profiling.duration_s

    @property
    def limit_s(self) -> float:
        """When a profiler must have ended."""
        return _NEVER_S if self.target.pid is None else self.seconds + _PID_SLACK_S


def profile_target(wanted: Looked, progress: Progress) -> ProfileOutcome:
    """Profile it by the first profiler that may look.

    Raises:
        UsageError: there is nothing to run, or no such profiler.
        PerfkitError: no profiler could look, and the program was not started.
    """
    target = wanted.target
    if target.pid is None and not target.words:
        message = "there is no script to run"
        raise UsageError(message, remedy="perfkit profile -- python script.py")
    names = wanted.profilers or COMMAND_PROFILERS
    for name in names:
        if name not in COMMAND_PROFILERS:
            message = f"`{name}` profiles workloads alone"
            remedy = f"choose among: {', '.join(COMMAND_PROFILERS)}"
            raise UsageError(message, remedy=remedy)
    tried: list[Note] = []
    for index, name in enumerate(names):
        progress(f"{name} on {target.pid or ' '.join(target.words)}", None)
        wanted.started.unlink(missing_ok=True)
        try:
            outcome = (_by_perf if name == PERF else _by_py_spy)(wanted)
        except (ToolMissingError, PermissionRefusedError) as error:
            # A program that was started is never started again.
            last = wanted.profilers is not None or index == len(names) - 1
            if last or wanted.started.exists():
                raise
            text = f"{name}: {error.message}"
            tried.append(Note(id="tried", text=text, remedy=error.remedy))
            continue
        captures = tuple(
            dataclasses.replace(item, notes=(*tried, *item.notes)) for item in outcome.captures
        )
        return dataclasses.replace(outcome, captures=captures)
    raise AssertionError  # the loop returns or raises


def _by_perf(wanted: Looked) -> ProfileOutcome:
    target, run = wanted.target, wanted.run
    environ = dict(wanted.project.environ)
    program = process.require_program("perf", environ)
    rate = observer.nearest_prime(wanted.rate_hz or wanted.project.config.profiling.rate_hz)
    data, log = run.path(f"raw/{LABEL}.perf.data"), run.path(f"raw/{LABEL}.perf.log")
    argv: list[str | Path] = [
        program, "record", "-e", EVENTS[0], "-F", str(rate), "--call-graph", STACK_COPIES[0],
        "-o", data,
    ]  # fmt: skip
    if target.pid is not None:
        argv += ["--pid", str(target.pid), "--", "sleep", f"{wanted.seconds:g}"]
    else:
        argv += ["--", "sh", "-c", OWN_STDERR, wanted.started, wanted.python, *target.words]
    log.unlink(missing_ok=True)
    # The program's own stdout goes to perfkit's stderr: the report has stdout.
    with process.started(argv, env=environ, stdout=2, stderr=log) as child:
        code = child.wait(wanted.limit_s)
    said = _read(log)
    files = {"log": log}
    if not data.is_file() or not data.stat().st_size:
        failed = messages.failure(PERF, said, where=process.show([str(w) for w in argv]))
        return _nothing(PERF, wanted, rate, failed, files, code)
    script = run.path(f"raw/{LABEL}.perf.txt")
    try:
        said += perf_record.write_script(data, script, environ)
    except PerfkitError as error:
        return _nothing(PERF, wanted, rate, error, files, code)
    folded = perf_fold.fold(script, main_tid=target.pid)
    selection = folded.selection
    notes = messages.notes(PERF, said)
    if folded.event not in {None, EVENTS[0]}:
        notes = (*notes, KERNEL_UNSEEN)
    found = Quality(
        samples=selection.samples,
        unresolved=folded.unresolved,
        unrooted=selection.unrooted,
        lost=messages.lost_samples(said, selection.samples),
    )
    taken = dataclasses.replace(
        _taken(PERF, wanted, rate, folded.stacks, found),
        files={**files, "text": script, "raw": data},
        notes=(COST_UNKNOWN[PERF], *notes),
    )
    return _outcome(taken, wanted, code)


def _by_py_spy(wanted: Looked) -> ProfileOutcome:
    target, run = wanted.target, wanted.run
    environ = dict(wanted.project.environ)
    program = py_spy.find(environ) or process.require_program("py-spy", environ)
    asked = min(wanted.rate_hz or py_spy.HIGHEST_RATE_HZ, py_spy.HIGHEST_RATE_HZ)
    rate = observer.nearest_prime(asked)
    raw, log = run.path(f"raw/{LABEL}.py-spy.raw"), run.path(f"raw/{LABEL}.py-spy.log")
    argv: list[str | Path] = [
        program, "record", "--threads", "-r", str(rate), "-f", "raw", "-o", raw,
    ]  # fmt: skip
    place = run.path(f"raw/{LABEL}.code")
    place.unlink(missing_ok=True)
    switches, words = target.switches
    if target.pid is not None:
        argv += ["--pid", str(target.pid), "--duration", str(max(1, round(wanted.seconds)))]
    log.unlink(missing_ok=True)
    # py-spy tells on stdout how many samples failed: both its streams are the log's, and the
    # program writes where perfkit does.
    ours = os.dup(2)
    try:
        if target.pid is None:
            argv += [
                "--",
                wanted.python,
                *switches,
                RUNNER,
                wanted.started,
                place,
                str(ours),
                *words,
            ]
        with process.started(argv, env=environ, stdout=log, stderr=log, pass_fds=(ours,)) as child:
            code = child.wait(wanted.limit_s)
    finally:
        os.close(ours)
    said = _read(log)
    unknown: tuple[Note, ...] = ()
    if target.pid is None and wanted.started.exists():
        code, unknown = _read_code(place)
    files = {"log": log}
    if not raw.is_file() or not raw.stat().st_size:
        failed = messages.failure(PY_SPY, said, where=process.show([str(w) for w in argv]))
        return _nothing(PY_SPY, wanted, rate, failed, files, code)
    stacks = by_thread(read_raw(raw), target.pid)
    found = Quality(
        samples=sum(count for _, count in stacks),
        unresolved=sum(count for stack, count in stacks if is_unresolved(stack[-1])),
    )
    taken = dataclasses.replace(
        _taken(PY_SPY, wanted, rate, stacks, found),
        files={**files, "raw": raw},
        faults=py_spy.faults(said),
        notes=(COST_UNKNOWN[PY_SPY], *unknown, *messages.notes(PY_SPY, said)),
    )
    return _outcome(taken, wanted, code)


def by_thread(
    stacks: Sequence[tuple[tuple[str, ...], int]], pid: int | None
) -> list[tuple[tuple[str, ...], int]]:
    """py-spy's stacks, whose root frames are threads, with the main one told from the others.

    Of a process the main thread has the process's id; of a command it is the one that runs
    `runner.py`.
    """
    ids = [_THREAD.match(stack[0]) for stack, _ in stacks]
    main = {
        found["id"]
        for found, (stack, _) in zip(ids, stacks, strict=True)
        if found and (int(found["id"], 0) == pid if pid is not None else _runs_command(stack))
    }
    merged: Counter[tuple[str, ...]] = Counter()
    for found, (stack, count) in zip(ids, stacks, strict=True):
        root = CALLING_THREAD if found and found["id"] in main else OTHER_THREADS
        below = stack[1:] if found else stack
        merged[root, *(_below_runner(below) if below else ("[no Python frame]",))] += count
    return sorted(merged.items())


def _runs_command(stack: Sequence[str]) -> bool:
    return any(f"perfkit/profile/{RUNNER.name}" in frame for frame in stack)


def _below_runner(stack: Sequence[str]) -> tuple[str, ...]:
    """Leave out the frames of `runner.py` and of runpy above the user's own."""
    ours = ("perfkit/profile/runner.py", "<frozen runpy>", "runpy.py")
    at = 0
    for index, frame in enumerate(stack):
        if index == 0 or any(name in frame for name in ours):
            at = index
        else:
            break
    if not any(name in stack[at] for name in ours):
        return tuple(stack)
    return tuple(stack[at + 1 :]) or ("[start-up]",)


def _own_code(code: int, target: Target) -> int | None:
    """What a command ends with, a signal as the shell tells it; None for a running process."""
    if target.pid is not None:
        return None
    return code if code >= 0 else 128 - code


def _read_code(place: Path) -> tuple[int, tuple[Note, ...]]:
    """The program's own exit code: py-spy hands on none."""
    try:
        return int(place.read_text(encoding="ascii")), ()
    except (FileNotFoundError, ValueError):
        text = "the program's own exit code is not known: a signal or os._exit ended it"
        note = Note(id="code_unknown", text=text, remedy="profile with perf, or run it by itself")
        return ENDED_BADLY, (note,)


def _read(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""


def _nothing(
    profiler: str,
    wanted: Looked,
    rate: float,
    error: PerfkitError,
    files: dict[str, Path],
    code: int,
) -> ProfileOutcome:
    """The outcome of a program that ran and left no stack: its own exit code, and why there is no
    picture. One that did not run is a failure.

    Raises:
        PerfkitError: the program was never started.
    """
    target, run = wanted.target, wanted.run
    if target.pid is not None or not wanted.started.exists():
        raise error
    note = Note(id="no_stacks", text=error.message, where=error.where, remedy=error.remedy)
    capture = Capture(
        profiler=profiler,
        workload=target.shown,
        size=None,
        clock="cpu",
        rate_hz=float(rate),
        samples=0,
        calls=None,
        region_s=None,
        unresolved_share=None,
        slowdown=None,
        accepted=False,
        reason=error.message,
        files={kind: run.relative(path) for kind, path in files.items()},
        notes=(note,),
    )
    return ProfileOutcome(captures=(capture,), exit_code=_own_code(code, target))


def _taken(
    profiler: str,
    wanted: Looked,
    rate: float,
    stacks: Sequence[tuple[Sequence[str], int]],
    found: Quality,
) -> Taken:
    """What a profiler brought of something that ran once, without its files and words."""
    return Taken(
        profiler=profiler,
        workload=wanted.target.shown,
        size=None,
        stem=LABEL,
        title=wanted.target.shown,
        rate_hz=float(rate),
        stacks=stacks,
        quality=found,
        files={},
        has_cost=False,
        pid=wanted.target.pid,
    )


def _outcome(taken: Taken, wanted: Looked, code: int) -> ProfileOutcome:
    capture = publish(taken, wanted.project.config.profiling, wanted.run)
    return ProfileOutcome(captures=(capture,), exit_code=_own_code(code, wanted.target))

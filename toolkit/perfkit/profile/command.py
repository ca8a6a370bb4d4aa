"""`perfkit profile`: the configured workloads, or a Python command, a module, a running process.

A command runs once, so what the profiler cost it is not known, and the capture says so. Its own
exit code is handed on.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit import process
from perfkit.errors import (
    CaptureError,
    PermissionRefusedError,
    ToolMissingError,
    UsageError,
)
from perfkit.profile import analyse, artefacts, messages, observer, perf_record, py_spy, quality
from perfkit.profile.engine import profile_workload
from perfkit.profile.perf import EVENTS, STACK_COPIES
from perfkit.records import Capture, Note, Profile
from perfkit.stacks import perf_script
from perfkit.stacks.folded import read_stacks
from perfkit.stacks.layers import is_unresolved
from perfkit.stacks.py_spy_raw import read_raw
from perfkit.stacks.split import CALLING_THREAD, OTHER_THREADS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perfkit.config import Project
    from perfkit.records import Build
    from perfkit.store import Run
    from perfkit.subject.build import Builder

LABEL = "command"
PERF, PY_SPY = COMMAND_PROFILERS = ("perf", "py-spy")
EXPORT_SUFFIX = {"speedscope": ".json", "csv": ".csv", "folded": ".folded", "svg": ".svg"}
EXPORT_NAME = {"speedscope": "speedscope.json", "csv": "stacks.csv"}
RUNNER = Path(__file__).with_name("runner.py")
_PYTHON = re.compile(r"^python[\d.]*$")
_THREAD = re.compile(r"^thread \((?P<id>0[xX][0-9a-fA-F]+|\d+)\)(: .*)?$")
"""Root frame of py-spy's `--threads`, such as `thread (3652): MainThread`."""
_PID_SLACK_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileOptions:
    """What the command line asks for; None where the config decides."""

    workload: str | None = None
    sizes: Sequence[int] | None = None
    profilers: tuple[str, ...] | None = None
    rate_hz: float | None = None
    duration_s: float | None = None
    exports: tuple[str, ...] = ()


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

    def interpreter(self, default: Path) -> Path:
        """The interpreter that the command names, or the project's."""
        if self.module is None and self.command and _PYTHON.match(Path(self.command[0]).name):
            return Path(self.command[0])
        return default


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The captures, and the exit code of a command; None for workloads and processes.

    Attributes:
        build: the profiling build of the subject; None where something else was profiled.
    """

    captures: tuple[Capture, ...]
    exit_code: int | None = None
    build: Build | None = None


def profile_command(
    project: Project,
    options: ProfileOptions,
    *,
    target: Target | None,
    builder: Builder,
    run: Run,
    progress: Callable[[str, float | None], None],
) -> Outcome:
    """Profile, export, and write the tables.

    Raises:
        UsageError: an export, a profiler or a target that does not exist.
        PerfkitError: no profiler could look.
    """
    for wanted in options.exports:
        if wanted not in EXPORT_SUFFIX:
            message = f"there is no export {wanted!r}"
            raise UsageError(message, remedy=f"choose among: {', '.join(EXPORT_SUFFIX)}")
    if target is not None:
        outcome = _profile_target(project, options, target, run, progress)
        captures = tuple(_with_exports(item, options, run) for item in outcome.captures)
        return dataclasses.replace(outcome, captures=captures)
    name, _ = project.workload(options.workload)
    build = builder.build(profile=Profile.PROFILING)
    layers = analyse.layers_for(build, project.config.layers)
    captures_of: list[Capture] = []
    for size in sorted(project.sizes(name, options.sizes)):
        for capture in profile_workload(
            project,
            name,
            size,
            build=build,
            run=run,
            names=options.profilers,
            rate=options.rate_hz,
            duration=options.duration_s,
            builder=builder,
            progress=progress,
        ):
            done = capture
            if "folded" in capture.files:
                written = analyse.write_tables(capture, run, layers)
                done = dataclasses.replace(capture, files={**capture.files, **written})
                done = _with_exports(done, options, run)
            captures_of.append(done)
    return Outcome(captures=tuple(captures_of), build=build)


def _with_exports(capture: Capture, options: ProfileOptions, run: Run) -> Capture:
    stem = Path(capture.files["folded"]).name.removesuffix(".folded")
    files = dict(capture.files)
    for wanted in options.exports:
        if wanted in {"folded", "svg"}:  # there already
            continue
        suffix = EXPORT_SUFFIX[wanted]
        name = f"stacks/{stem}.{EXPORT_NAME[wanted]}"
        path = run.write(name, analyse.export_capture(capture, run, suffix))
        files[wanted] = run.relative(path)
    return dataclasses.replace(capture, files=files)


def _profile_target(
    project: Project,
    options: ProfileOptions,
    target: Target,
    run: Run,
    progress: Callable[[str, float | None], None],
) -> Outcome:
    if target.pid is None and not target.words:
        message = "there is no script to run"
        raise UsageError(message, remedy="perfkit profile -- python script.py")
    names = options.profilers or COMMAND_PROFILERS
    tried: list[Note] = []
    for index, name in enumerate(names):
        if name not in COMMAND_PROFILERS:
            message = f"`{name}` profiles workloads alone"
            remedy = f"choose among: {', '.join(COMMAND_PROFILERS)}"
            raise UsageError(message, remedy=remedy)
        progress(f"{name} on {target.pid or ' '.join(target.words)}", None)
        try:
            outcome = (_by_perf if name == "perf" else _by_py_spy)(project, options, target, run)
        except (ToolMissingError, PermissionRefusedError) as error:
            # Only what happens before the command has run may try again with another profiler.
            if options.profilers is not None or index == len(names) - 1:
                raise
            text = f"{name}: {error.message}"
            tried.append(Note(id="tried", text=text, remedy=error.remedy))
            continue
        captures = tuple(
            dataclasses.replace(item, notes=(*tried, *item.notes)) for item in outcome.captures
        )
        return dataclasses.replace(outcome, captures=captures)
    raise AssertionError  # the loop returns or raises


def _by_perf(project: Project, options: ProfileOptions, target: Target, run: Run) -> Outcome:
    environ = dict(project.environ)
    program = process.require_program("perf", environ)
    rate = observer.nearest_prime(options.rate_hz or project.config.profiling.rate_hz)
    data, log = run.path(f"raw/{LABEL}.perf.data"), run.path(f"raw/{LABEL}.perf.log")
    argv: list[str | Path] = [
        program, "record", "-e", EVENTS[0], "-F", str(rate), "--call-graph", STACK_COPIES[0],
        "-o", data,
    ]  # fmt: skip
    limit = None
    if target.pid is not None:
        seconds = options.duration_s or project.config.profiling.duration_s
        argv += ["--pid", str(target.pid), "--", "sleep", f"{seconds:g}"]
        limit = seconds + _PID_SLACK_S
    else:
        argv += ["--", target.interpreter(_python(project)), *target.words]
    code, said = _start(argv, environ, log, limit)
    if not data.is_file() or not data.stat().st_size or messages.refused("perf", said):
        raise messages.failure(PERF, said, where=process.show([str(w) for w in argv]))
    script = run.path(f"raw/{LABEL}.perf.txt")
    said += perf_record.write_script(data, script, environ)
    folded = script.with_suffix(".kept.folded")
    try:
        selection = perf_script.fold(script, folded, main_tid=target.pid)
        stacks = read_stacks(folded)
    finally:
        folded.unlink(missing_ok=True)
    found = quality.Quality(
        samples=selection.samples,
        unresolved=selection.unresolved,
        unrooted=selection.unrooted,
        lost=messages.lost_samples(said, selection.samples),
    )
    files = {"text": artefacts.compress(script), "log": log}
    if artefacts.bound_raw(data) is None:
        files["raw"] = data
    capture = _capture("perf", project, target, run, rate, found, stacks, said, files)
    return Outcome(captures=(capture,), exit_code=code if target.pid is None else None)


def _by_py_spy(project: Project, options: ProfileOptions, target: Target, run: Run) -> Outcome:
    environ = dict(project.environ)
    program = py_spy.find(environ) or process.require_program("py-spy", environ)
    asked = min(options.rate_hz or py_spy.HIGHEST_RATE_HZ, 997)
    rate = observer.nearest_prime(asked)
    raw, log = run.path(f"raw/{LABEL}.py-spy.raw"), run.path(f"raw/{LABEL}.py-spy.log")
    argv: list[str | Path] = [
        program, "record", "--threads", "-r", str(rate), "-f", "raw", "-o", raw,
    ]  # fmt: skip
    place = run.path(f"raw/{LABEL}.code")
    limit = None
    if target.pid is not None:
        seconds = max(1, round(options.duration_s or project.config.profiling.duration_s))
        argv += ["--pid", str(target.pid), "--duration", str(seconds)]
        limit = seconds + _PID_SLACK_S
    else:
        if target.words[0].startswith("-") and target.words[0] != "-m":
            message = f"py-spy cannot hand on the exit code of `python {target.words[0]}`"
            raise UsageError(message, remedy="profile a script or -m module, or use perf")
        argv += ["--", target.interpreter(_python(project)), RUNNER, place, *target.words]
    _, said = _start(argv, environ, log, limit)
    if not raw.is_file() or not raw.stat().st_size:
        raise messages.failure(PY_SPY, said, where=process.show([str(w) for w in argv]))
    stacks = by_thread(read_raw(raw), target.pid)
    code = None
    if target.pid is None:
        code = _read_code(place)
    found = quality.Quality(
        samples=sum(count for _, count in stacks),
        unresolved=sum(count for stack, count in stacks if is_unresolved(stack[-1])),
    )
    files = {"raw": raw, "log": log}
    capture = _capture("py-spy", project, target, run, rate, found, stacks, said, files)
    return Outcome(captures=(capture,), exit_code=code)


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


def _read_code(place: Path) -> int:
    try:
        return int(place.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError) as error:
        message = "the program was ended before it could finish (a signal, or os._exit)"
        raise CaptureError(message, where=str(place), remedy="run it by itself first") from error


def _start(
    argv: Sequence[str | Path], environ: dict[str, str], log: Path, limit_s: float | None
) -> tuple[int, str]:
    """Run to the end; the program's stdout goes to perfkit's stderr: the report has stdout."""
    log.unlink(missing_ok=True)
    with process.started(argv, env=environ, stdout=2, stderr=log) as child:
        code = child.wait(limit_s if limit_s is not None else 7 * 24 * 3600.0)
    said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return code, said


def _capture(
    profiler: str,
    project: Project,
    target: Target,
    run: Run,
    rate: float,
    found: quality.Quality,
    stacks: Sequence[tuple[Sequence[str], int]],
    said: str,
    files: dict[str, Path],
) -> Capture:
    what = f"process {target.pid}" if target.pid is not None else " ".join(target.words)
    verdict = quality.judge(found, project.config.profiling, needs_slowdown=False)
    text = f"what {profiler} cost is not known: there was no run without it to compare with"
    notes = [Note(id="cost_unknown", text=text), *verdict.notes, *messages.notes(profiler, said)]
    folded = artefacts.write_folded(run, LABEL, profiler, stacks)
    flame = artefacts.draw_flame(
        run,
        folded,
        stem=LABEL,
        profiler=profiler,
        what=what,
        rate_hz=float(rate),
        samples=found.samples,
        slowdown=None,
        verdict=verdict,
    )
    places = {**files, "folded": folded, "flame": flame}
    return Capture(
        profiler=profiler,
        workload=what,
        size=None,
        clock="cpu",
        rate_hz=float(rate),
        samples=found.samples,
        calls=None,
        region_s=None,
        unresolved_share=found.unresolved_share,
        slowdown=None,
        accepted=verdict.accepted,
        reason=verdict.reason,
        files={kind: run.relative(path) for kind, path in places.items()},
        pid=target.pid,
        notes=tuple(notes),
    )


def _python(project: Project) -> Path:
    named = project.config.subject.python
    return Path(sys.executable) if named is None else project.root / named

"""Whether perf, sigprof and py-spy may do their work here, by trying it, and what refuses if not.

A program that is installed is not yet one that is permitted. What a tool's words mean is in
`perfkit.profile.messages`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit import process
from perfkit.errors import PerfkitError
from perfkit.profile import messages
from perfkit.profile.perf_record import RecordSettings
from perfkit.profile.sigprof import SIGPROF
from perfkit.subject.child import WorkerSpec, worker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.checks.system import SystemFacts

_PROBE_LIMIT_S = 20.0
_PROBE_RATE_HZ = 997
_TARGET = ("--", sys.executable, "-I", "-S", "-c", "pass")


@dataclass(frozen=True, slots=True, kw_only=True)
class NotPermitted:
    """Why a profiler cannot look.

    Attributes:
        id: of the text in `messages.toml`.
        said: the tool's own words, shortened to its first telling line.
    """

    id: str
    meaning: str
    remedy: str
    said: str


def refusal(profiler: str, stderr: str, facts: SystemFacts) -> NotPermitted:
    """What a tool's refusal means and the one line that ends it. perfkit never runs that line.

    The words are those of `perfkit.profile.messages`; where several causes have the same words, the
    settings of the machine tell them apart.
    """
    said = telling_line(stderr)
    known = messages.find(profiler, stderr)
    if known is None:
        meaning = "refused for a reason that perfkit does not know"
        return NotPermitted(id="", meaning=meaning, remedy="see the tool's own words", said=said)
    found = messages.entry(profiler, _cause(known.id, facts))
    settings = {
        "paranoid": f": kernel.perf_event_paranoid is {facts.perf_event_paranoid}",
        "ptrace_scope": f": kernel.yama.ptrace_scope is {facts.ptrace_scope}",
    }
    meaning = found.message + settings.get(found.id, "")
    return NotPermitted(id=found.id, meaning=meaning, remedy=found.remedy, said=said)


def _cause(found: str, facts: SystemFacts) -> str:
    permits = facts.perf_event_paranoid is not None and facts.perf_event_paranoid <= 2
    match found:
        case "paranoid":  # a filter may say this too: the number tells them apart
            return "seccomp" if facts.seccomp and permits else "paranoid"
        case "seccomp" | "not_permitted":
            return "seccomp" if permits else "paranoid"
        case "ptrace_refused" | "ptrace_container":
            if facts.ptrace_scope and not facts.may_trace:
                return "ptrace_scope"
            return "ptrace_filtered" if facts.seccomp else "ptrace_capability"
        case _:
            return found


def _tried(program: Path, environ: Mapping[str, str], *words: object) -> process.Completed:
    """A program run with some words, however it ended."""
    return process.run(
        [program, *map(str, words)],
        env={**environ, "LC_ALL": "C"},
        timeout_s=_PROBE_LIMIT_S,
        ok_codes=None,
    )


def probe_perf(
    program: Path, environ: Mapping[str, str], facts: SystemFacts
) -> NotPermitted | None:
    """Record a short program by the software clock, as perfkit does when it profiles.

    Raises:
        ToolTimedOutError: perf hangs.
    """
    with tempfile.TemporaryDirectory(prefix="perfkit-doctor-") as folder:
        data = Path(folder) / "perf.data"
        # Not quiet: with -q perf does not say that the locked-memory limit refused it.
        words = ("record", "-e", "cpu-clock", "-F", _PROBE_RATE_HZ, "-o", data, *_TARGET)
        done = _tried(program, environ, *words)
        # The file decides: perf hands on the exit code of the program it ran.
        if done.returncode == 0 and data.is_file() and data.stat().st_size > 0:
            return None
    return refusal("perf", done.stderr, facts)


def probe_counters(program: Path, environ: Mapping[str, str]) -> bool:
    """Whether hardware counters can be read (`perf stat` counts instructions of a program).

    The line asked for, comma-separated: `1234,,instructions:u,…`, or `<not supported>,,…`.

    Raises:
        ToolTimedOutError: perf hangs.
    """
    with tempfile.TemporaryDirectory(prefix="perfkit-doctor-") as folder:
        counts = Path(folder) / "counts.csv"
        words = ("stat", "-x", ",", "-e", "instructions:u", "-o", counts, *_TARGET)
        _tried(program, environ, *words)
        return counts.is_file() and counts_instructions(counts.read_text(encoding="utf-8"))


def counts_instructions(text: str) -> bool:
    """Whether `perf stat -x,` wrote a number for its event."""
    return any(
        line.split(",")[0].strip().isdigit()
        for line in text.splitlines()
        if line and not line.startswith("#")
    )


def probe_sigprof(environ: Mapping[str, str]) -> PerfkitError | None:
    """Let a worker load perfkit's own sampler and set its timers; what refuses it, if anything."""
    spec = WorkerSpec(python=Path(sys.executable), environment=environ, cwd=Path("/"))
    settings = RecordSettings(rate_hz=_PROBE_RATE_HZ)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="perfkit-doctor-") as folder,
            worker(spec) as running,
            SIGPROF.attached(running, settings, Path(folder) / "samples", environ),
        ):
            return None
    except PerfkitError as error:
        return error


def probe_py_spy(
    program: Path, environ: Mapping[str, str], facts: SystemFacts
) -> NotPermitted | None:
    """Attach to a child that says when it is ready.

    Raises:
        ToolTimedOutError: py-spy hangs.
    """
    read_end, write_end = os.pipe()
    sleeper = "import os, signal; os.write(1, b'r'); signal.pause()"
    try:
        with process.started(
            [sys.executable, "-I", "-S", "-c", sleeper], env=dict(environ), stdout=write_end
        ) as child:
            os.close(write_end)
            write_end = -1
            os.read(read_end, 1)  # the child's word that it runs; empty when it died
            done = _tried(program, environ, "dump", "--pid", child.pid)
    finally:
        os.close(read_end)
        if write_end >= 0:
            os.close(write_end)
    if done.returncode == 0 and "Thread" in done.stdout:
        return None
    return refusal("py-spy", done.stderr, facts)


def telling_line(stderr: str) -> str:
    """The first line of a refusal that says something: not `Error:`, not empty."""
    for line in stderr.splitlines():
        text = line.strip()
        if text and text not in {"Error:", "Caused by:", "Stack backtrace:"}:
            return text
    return ""

"""Whether perf and py-spy may do their work here, by trying it, and why not where they may not.

The words of a refusal are explained by pure functions, so that each cause is a test. A program
that is installed is not yet one that is permitted.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from perfkit import process

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.checks.system import SystemFacts

_PROBE_LIMIT_S = 20.0
_PROBE_RATE_HZ = 997
_TARGET = ("--", sys.executable, "-I", "-S", "-c", "pass")


class Refusal(StrEnum):
    """Why a profiler cannot look."""

    PARANOID = "paranoid"
    SECCOMP = "seccomp"
    MLOCK = "mlock"
    NO_COUNTER = "no_counter"
    WRONG_KERNEL = "wrong_kernel"
    PTRACE_SCOPE = "ptrace_scope"
    PTRACE_CAPABILITY = "ptrace_capability"
    PYTHON_UNKNOWN = "python_unknown"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How trying it ended.

    Attributes:
        refusal: None when it worked.
        said: the tool's own words, shortened to its first telling line.
    """

    refusal: Refusal | None
    said: str = ""


def classify_perf(stderr: str, facts: SystemFacts) -> Refusal:
    """Name the cause behind perf's refusal.

    What perf writes, in the order tried here:

        WARNING: perf not found for kernel 5.15.90.1-microsoft
        Permission error mapping pages.
        perf_event_paranoid setting is 4:
        … returned with 22 (Invalid argument) for event (cycles)
        … failed unexpectedly with error 1 (Operation not permitted)
    """
    if "not found for kernel" in stderr:
        return Refusal.WRONG_KERNEL
    # `perf_event_mlock_kb` alone is no sign: the text about the paranoid setting names it too.
    if "Permission error mapping pages" in stderr:
        return Refusal.MLOCK
    if "perf_event_paranoid setting is" in stderr or "Access to performance monitoring" in stderr:
        # Behind a filter the text about the setting may come too; the number tells them apart.
        permits = facts.perf_event_paranoid is not None and facts.perf_event_paranoid <= 2
        return Refusal.SECCOMP if facts.seccomp and permits else Refusal.PARANOID
    if re.search(r"\(Invalid argument\)|not supported|ENOENT|No such file", stderr):
        return Refusal.NO_COUNTER
    if re.search(r"Operation not permitted|No permission to enable|EPERM", stderr):
        permits = facts.perf_event_paranoid is not None and facts.perf_event_paranoid <= 2
        return Refusal.SECCOMP if permits else Refusal.PARANOID
    return Refusal.UNKNOWN


def classify_py_spy(stderr: str, facts: SystemFacts) -> Refusal:
    """Name the cause behind py-spy's refusal.

    What py-spy writes:

        Permission Denied: Try running again with elevated permissions by going 'sudo …
        1: EPERM: Operation not permitted
        Error: Failed to find python version from target process
    """
    if re.search(r"Permission Denied|EPERM|Operation not permitted|SYS_PTRACE", stderr):
        if facts.ptrace_scope and not facts.may_trace:
            return Refusal.PTRACE_SCOPE
        return Refusal.SECCOMP if facts.seccomp else Refusal.PTRACE_CAPABILITY
    if re.search(r"find python version|find a python interpreter|Unsupported version", stderr):
        return Refusal.PYTHON_UNKNOWN
    return Refusal.UNKNOWN


def explain(refusal: Refusal, facts: SystemFacts) -> tuple[str, str]:
    """What a refusal means and the one line that ends it. perfkit never runs that line itself."""
    match refusal:
        case Refusal.PARANOID:
            return (
                f"refused: kernel.perf_event_paranoid is {facts.perf_event_paranoid}",
                "sudo sysctl kernel.perf_event_paranoid=1",
            )
        case Refusal.SECCOMP:
            return (
                "refused by a system-call filter (seccomp), as containers have it",
                "start the container with --cap-add PERFMON --cap-add SYS_PTRACE and a seccomp "
                "profile that allows perf_event_open and ptrace",
            )
        case Refusal.MLOCK:
            return (
                "refused: the limit of locked memory is too small for perf's buffer",
                "sudo sysctl kernel.perf_event_mlock_kb=2048  (or raise `ulimit -l`)",
            )
        case Refusal.NO_COUNTER:
            return (
                "the event is not there: a virtual machine without hardware counters, or a kernel "
                "without perf events",
                "use the software clock (cpu-clock), or a kernel built with perf events",
            )
        case Refusal.WRONG_KERNEL:
            return (
                "the `perf` on PATH is a wrapper without a perf for this kernel",
                "install the perf of this kernel, or link one from /usr/lib/linux-tools/*/perf",
            )
        case Refusal.PTRACE_SCOPE:
            return (
                f"refused: kernel.yama.ptrace_scope is {facts.ptrace_scope}",
                "sudo sysctl kernel.yama.ptrace_scope=0  (launching a program under py-spy may "
                "work without it)",
            )
        case Refusal.PTRACE_CAPABILITY:
            return (
                "refused: tracing another process is not permitted",
                "run as the owner of the process, or with the capability SYS_PTRACE "
                "(docker: --cap-add SYS_PTRACE)",
            )
        case Refusal.PYTHON_UNKNOWN:
            return "it does not know this Python", "pip install --upgrade py-spy"
        case Refusal.UNKNOWN:
            return "refused for a reason that perfkit does not know", "see the tool's own words"
        case _:
            assert_never(refusal)


def probe_perf(program: Path, environ: Mapping[str, str], facts: SystemFacts) -> Probe:
    """Record a short program by the software clock, as perfkit does when it profiles.

    Raises:
        ToolTimedOutError: perf hangs.
    """
    with tempfile.TemporaryDirectory(prefix="perfkit-doctor-") as folder:
        data = Path(folder) / "perf.data"
        done = process.run(
            # Not quiet: with -q perf does not say that the locked-memory limit refused it.
            [
                *_words(program, "record", "-e", "cpu-clock", "-F", _PROBE_RATE_HZ, "-o", data),
                *_TARGET,
            ],
            env={**environ, "LC_ALL": "C"},
            timeout_s=_PROBE_LIMIT_S,
            ok_codes=None,
        )
        # The file decides: perf hands on the exit code of the program it ran.
        if done.returncode == 0 and data.is_file() and data.stat().st_size > 0:
            return Probe(refusal=None)
    return Probe(refusal=classify_perf(done.stderr, facts), said=telling_line(done.stderr))


def _words(*words: object) -> list[str]:
    return [str(word) for word in words]


def probe_counters(program: Path, environ: Mapping[str, str]) -> bool:
    """Whether hardware counters can be read (`perf stat` counts instructions of a program).

    The line asked for, comma-separated: `1234,,instructions:u,…`, or `<not supported>,,…`.

    Raises:
        ToolTimedOutError: perf hangs.
    """
    with tempfile.TemporaryDirectory(prefix="perfkit-doctor-") as folder:
        counts = Path(folder) / "counts.csv"
        process.run(
            [*_words(program, "stat", "-x", ",", "-e", "instructions:u", "-o", counts), *_TARGET],
            env={**environ, "LC_ALL": "C"},
            timeout_s=_PROBE_LIMIT_S,
            ok_codes=None,
        )
        text = counts.read_text(encoding="utf-8") if counts.is_file() else ""
    return counts_instructions(text)


def counts_instructions(text: str) -> bool:
    """Whether `perf stat -x,` wrote a number for its event."""
    return any(
        line.split(",")[0].strip().isdigit()
        for line in text.splitlines()
        if line and not line.startswith("#")
    )


def probe_py_spy(program: Path, environ: Mapping[str, str], facts: SystemFacts) -> Probe:
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
            done = process.run(
                [program, "dump", "--pid", str(child.pid)],
                env={**environ, "LC_ALL": "C"},
                timeout_s=_PROBE_LIMIT_S,
                ok_codes=None,
            )
    finally:
        os.close(read_end)
        if write_end >= 0:
            os.close(write_end)
    if done.returncode == 0 and "Thread" in done.stdout:
        return Probe(refusal=None)
    return Probe(refusal=classify_py_spy(done.stderr, facts), said=telling_line(done.stderr))


def telling_line(stderr: str) -> str:
    """The first line of a refusal that says something: not `Error:`, not empty."""
    for line in stderr.splitlines():
        text = line.strip()
        if text and text not in {"Error:", "Caused by:", "Stack backtrace:"}:
            return text
    return ""

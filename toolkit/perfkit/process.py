"""The one door to other programs.

Argument lists only, never a shell. Five things can go wrong and are five different errors: the
program is missing, it failed, it was killed by a signal, it took too long, or its output is
unreadable (raised by whoever reads it). Every child gets its own process group, so that a
time-out or an interrupt ends its grandchildren too.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from perfkit.errors import (
    ToolFailedError,
    ToolKilledError,
    ToolMissingError,
    ToolTimedOutError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

TERMINATION_GRACE_S = 3.0
"""How long a process group may take to end after SIGTERM before it gets SIGKILL."""

_TAIL_CHARACTERS = 4_000

INSTALL_LINES: Mapping[str, str] = {
    "perf": "apt-get install linux-perf  (Debian), linux-tools-$(uname -r) (Ubuntu), perf (Fedora)",
    "cargo": "install Rust by rustup: https://rustup.rs",
    "rustc": "install Rust by rustup: https://rustup.rs",
    "maturin": "pip install maturin",
    "py-spy": "pip install py-spy",
    "scalene": "pip install scalene",
    "cargo-flamegraph": "cargo install flamegraph",
    "valgrind": "apt-get install valgrind",
    "git": "apt-get install git",
}
"""The one line that installs each program perfkit may call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """What a finished program left behind.

    Attributes:
        stdout: its standard output as text; empty where it went to a file.
        wall_s: seconds from start to end.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """Where a program's streams go other than into `Completed`.

    Attributes:
        stdout: a file for its standard output.
        on_stderr_line: called with each line of its stderr as it comes, for progress.
    """

    stdout: Path | None = None
    on_stderr_line: Callable[[str], None] | None = None


_PLAIN = Streams()


def show(argv: Sequence[str]) -> str:
    """The command as a person would type it."""
    return shlex.join(argv)


def find_program(name: str, environ: Mapping[str, str]) -> Path | None:
    """Where a program is on the given environment's PATH, or None."""
    found = shutil.which(name, path=environ.get("PATH", os.defpath))
    return Path(found) if found else None


def require_program(name: str, environ: Mapping[str, str]) -> Path:
    """Like `find_program`, but a missing one is an error that says how to install it.

    Raises:
        ToolMissingError: when it is not on PATH.
    """
    found = find_program(name, environ)
    if found is None:
        message = f"the program `{name}` is not on PATH"
        raise ToolMissingError(message, remedy=INSTALL_LINES.get(name, f"install {name}"))
    return found


def tail(text: str) -> str:
    """The end of a tool's output: where tools say what went wrong."""
    text = text.strip()
    return text if len(text) <= _TAIL_CHARACTERS else "…" + text[-_TAIL_CHARACTERS:]


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    timeout_s: float | None = None,
    ok_codes: Sequence[int] | None = (0,),
    streams: Streams = _PLAIN,
    pass_fds: Sequence[int] = (),
) -> Completed:
    """Run a program to its end.

    Args:
        argv: program and arguments.
        env: its whole environment; nothing is inherited.
        cwd: where it runs.
        timeout_s: seconds after which it and its children are ended.
        ok_codes: the exit codes that mean success; None accepts all (also signals).
        streams: where its streams go.
        pass_fds: descriptors that the program and its children inherit.

    Raises:
        ToolMissingError: it does not exist.
        ToolFailedError: it ended with a code that is not in `ok_codes`.
        ToolKilledError: it was ended by a signal.
        ToolTimedOutError: it took longer than `timeout_s`.
    """
    words = tuple(str(word) for word in argv)
    begin = time.monotonic()
    with contextlib.ExitStack() as stack:
        file = streams.stdout
        sink = stack.enter_context(file.open("wb")) if file is not None else subprocess.PIPE
        pipe = subprocess.PIPE
        process = _popen(words, env=env, cwd=cwd, stdout=sink, stderr=pipe, pass_fds=pass_fds)
        output, errors = _communicate(process, words, timeout_s, streams)
    completed = Completed(
        argv=words,
        returncode=process.returncode,
        stdout=output,
        stderr=errors,
        wall_s=time.monotonic() - begin,
    )
    if ok_codes is not None:
        check(completed, ok_codes)
    return completed


def check(completed: Completed, ok_codes: Sequence[int] = (0,)) -> None:
    """Turn an exit code that does not mean success into its error.

    Raises:
        ToolKilledError: the program was ended by a signal.
        ToolFailedError: it ended with another code than `ok_codes`.
    """
    code = completed.returncode
    if code in ok_codes:
        return
    command = show(completed.argv)
    details = tail(completed.stderr) or tail(completed.stdout)
    if code < 0:
        name = signal.Signals(-code).name
        message = f"`{completed.argv[0]}` was ended by {name}"
        raise ToolKilledError(message, where=command, details=details)
    message = f"`{completed.argv[0]}` ended with exit code {code}"
    raise ToolFailedError(message, where=command, details=details)


class Child:
    """A program that runs beside perfkit, such as a worker or an attached profiler."""

    def __init__(self, process: subprocess.Popen[bytes], argv: Sequence[str]) -> None:
        self._process = process
        self.argv = tuple(argv)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code once it has ended (negative: the signal), None while it runs."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program alone; nothing happens when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def wait(self, timeout_s: float) -> int:
        """Wait for its end and return its exit code.

        Raises:
            ToolTimedOutError: it still runs after `timeout_s` seconds; it is then ended.
        """
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.stop()
            message = f"`{self.argv[0]}` did not end within {timeout_s:g} s"
            raise ToolTimedOutError(message, where=show(self.argv)) from None

    def stop(self) -> None:
        """End the program and everything it started; returns when it is gone."""
        _end_group(self._process)


@contextlib.contextmanager
def started(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdout: Path | int | None = None,
    stderr: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> Iterator[Child]:
    """Start a program and end it, with its children, when the block is left.

    Args:
        stdout: a file, or a descriptor such as 2; discarded when None.
        stderr: a file; discarded when None.
        pass_fds: descriptors that the program inherits.

    Raises:
        ToolMissingError: it does not exist.
    """
    words = tuple(str(word) for word in argv)
    with contextlib.ExitStack() as stack:
        out: IO[bytes] | int = subprocess.DEVNULL
        if isinstance(stdout, Path):
            out = stack.enter_context(stdout.open("ab"))
        elif stdout is not None:
            out = stdout
        err = stack.enter_context(stderr.open("ab")) if stderr else subprocess.DEVNULL
        process = _popen(words, env=env, cwd=cwd, stdout=out, stderr=err, pass_fds=pass_fds)
        child = Child(process, words)
        try:
            yield child
        finally:
            child.stop()


def _popen(
    words: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None,
    stdout: IO[bytes] | int,
    stderr: IO[bytes] | int,
    pass_fds: Sequence[int],
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(words),
            env=dict(env),
            cwd=cwd,
            stdout=stdout,
            stderr=stderr,
            stdin=subprocess.DEVNULL,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )
    except FileNotFoundError as error:
        if cwd is not None and not cwd.is_dir():
            message = f"the directory {cwd} to run `{words[0]}` in does not exist"
            raise ToolMissingError(message, where=show(words)) from error
        message = f"the program `{words[0]}` does not exist"
        remedy = INSTALL_LINES.get(Path(words[0]).name, "")
        raise ToolMissingError(message, where=show(words), remedy=remedy) from error
    except PermissionError as error:
        message = f"the program `{words[0]}` may not be executed"
        raise ToolMissingError(message, where=show(words)) from error


def _communicate(
    process: subprocess.Popen[bytes],
    words: Sequence[str],
    timeout_s: float | None,
    streams: Streams,
) -> tuple[str, str]:
    """Collect both streams; end the whole group on a time-out, an interrupt or any other error."""
    lines: list[str] = []
    reader: threading.Thread | None = None
    callback = streams.on_stderr_line
    if callback is not None and process.stderr is not None:
        stream, process.stderr = process.stderr, None

        def forward() -> None:
            with stream:
                for raw in stream:
                    line = raw.decode("utf-8", "replace").rstrip("\n")
                    lines.append(line)
                    callback(line)

        reader = threading.Thread(target=forward, daemon=True)
        reader.start()
    try:
        output, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        _end_group(process)
        message = f"`{words[0]}` did not end within {timeout_s:g} s and was stopped"
        raise ToolTimedOutError(
            message, where=show(words), details=tail("\n".join(lines))
        ) from None
    except BaseException:
        _end_group(process)
        raise
    if reader is not None:
        reader.join(TERMINATION_GRACE_S)
    text = (errors or b"").decode("utf-8", "replace") if reader is None else "\n".join(lines)
    return (output or b"").decode("utf-8", "replace"), text


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the group, SIGKILL to what is left of it, and reap the leader."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        try:
            process.wait(TERMINATION_GRACE_S)
        except subprocess.TimeoutExpired:
            continue
        break
    # The leader is gone; a grandchild that ignored SIGTERM must not stay behind.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()

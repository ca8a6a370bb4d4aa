"""The one door to other programs: five failures are five errors, and no child stays behind."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from perfkit import process
from perfkit.errors import (
    ExitCode,
    ToolFailedError,
    ToolKilledError,
    ToolMissingError,
    ToolTimedOutError,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.beside

ENV = {"PATH": os.environ["PATH"]}


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def is_gone(pid: int) -> bool:
    """Ended, or about to: a killed process needs a moment on a busy machine, and in a container
    whose first process does not reap, an orphan stays as a zombie.
    """
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False


def test_output_and_environment_are_as_given() -> None:
    done = process.run(
        python("import os; print(sorted(os.environ)); print('e', file=__import__('sys').stderr)"),
        env={**ENV, "ONLY": "1"},
    )
    assert "'ONLY'" in done.stdout
    assert "'HOME'" not in done.stdout
    assert done.stderr.strip() == "e"


def test_a_missing_program_says_how_to_install_it() -> None:
    with pytest.raises(ToolMissingError) as caught:
        process.run(["no-such-program-here"], env=ENV)
    assert caught.value.exit_code is ExitCode.MISSING
    with pytest.raises(ToolMissingError) as caught:
        process.require_program("perf", {"PATH": ""})
    assert "linux-perf" in caught.value.remedy


def test_a_missing_directory_is_not_called_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(ToolMissingError, match="directory"):
        process.run(python("pass"), env=ENV, cwd=tmp_path / "nothing")


def test_a_failure_carries_the_code_and_the_end_of_stderr() -> None:
    with pytest.raises(ToolFailedError, match="exit code 7") as caught:
        process.run(python("import sys; sys.stderr.write('why'); sys.exit(7)"), env=ENV)
    assert "why" in str(caught.value)


def test_codes_that_mean_success_are_a_matter_of_the_caller() -> None:
    assert process.run(python("import sys; sys.exit(7)"), env=ENV, ok_codes=(0, 7)).returncode == 7
    assert process.run(python("import sys; sys.exit(9)"), env=ENV, ok_codes=None).returncode == 9


def test_a_signal_is_not_an_exit_code() -> None:
    with pytest.raises(ToolKilledError, match="SIGKILL"):
        process.run(python("import os; os.kill(os.getpid(), 9)"), env=ENV)


GRANDCHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
open(sys.argv[1], "w").write(str(child.pid))
time.sleep(600)
"""


def test_a_time_out_ends_grandchildren_too(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    with pytest.raises(ToolTimedOutError):
        process.run([*python(GRANDCHILD), told], env=ENV, timeout_s=3)
    assert is_gone(int(told.read_text(encoding="ascii")))


def test_leaving_the_block_ends_what_was_started(tmp_path: Path) -> None:
    output = tmp_path / "out"
    with process.started(
        python("import time; print('up', flush=True); time.sleep(600)"), env=ENV, stdout=output
    ) as child:
        assert child.returncode is None
    assert child.returncode is not None
    assert is_gone(child.pid)


def test_lines_of_stderr_come_as_they_are_written() -> None:
    lines: list[str] = []
    done = process.run(
        python("import sys; sys.stderr.write('one\\ntwo\\n'); print('out')"),
        env=ENV,
        streams=process.Streams(on_stderr_line=lines.append),
    )
    assert lines == ["one", "two"]
    assert done.stderr == "one\ntwo"
    assert done.stdout == "out\n"

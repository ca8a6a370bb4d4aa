"""What a fresh machine is told that it lacks, by the script that `make` asks before it builds."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from perfkit import process
from perfkit.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.beside

ALWAYS = ("cargo", "git", "cc")
FOR_TESTS = ("perf", "valgrind", "cargo-flamegraph", "cargo-machete")


def told(repository: Path, tools: Path, missing: set[str], *words: str) -> process.Completed:
    """The script's answer on a machine that has every tool but some."""
    for name in {*ALWAYS, *FOR_TESTS} - missing:
        (tools / name).symlink_to("/bin/true")
    env = {"PATH": str(tools), "PYTHON": sys.executable}
    script = repository / ".ci" / "require"
    bash = shutil.which("bash")
    assert bash is not None
    return process.run([bash, script, *words], env=env, ok_codes=None)


@pytest.mark.parametrize("words", [(), ("--test",)])
def test_a_machine_that_has_everything_hears_nothing(
    repository: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    done = told(repository, tmp_path, set(), *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [
        ("cargo", "https://rustup.rs"),
        ("git", "apt-get install git"),
        ("cc", "apt-get install gcc"),
        ("perf", "apt-get install linux-perf"),
        ("valgrind", "apt-get install valgrind"),
        ("cargo-flamegraph", "cargo install flamegraph"),
        ("cargo-machete", "cargo install cargo-machete"),
    ],
)
def test_each_missing_tool_is_named_with_the_line_that_installs_it(
    repository: Path, tmp_path: Path, missing: str, remedy: str
) -> None:
    done = told(repository, tmp_path, {missing}, "--test")
    assert done.returncode == ExitCode.MISSING
    (line,) = done.stderr.splitlines()
    assert f"`{missing}`, which is not on PATH" in line
    assert remedy in line


def test_all_that_is_missing_is_named_at_once(repository: Path, tmp_path: Path) -> None:
    done = told(repository, tmp_path, {*ALWAYS, *FOR_TESTS}, "--test")
    assert done.returncode == ExitCode.MISSING
    assert len(done.stderr.splitlines()) == len(ALWAYS) + len(FOR_TESTS)


def test_the_demo_does_without_what_only_tests_need(repository: Path, tmp_path: Path) -> None:
    assert told(repository, tmp_path, set(FOR_TESTS)).returncode == 0


def test_make_test_asks_before_it_builds(repository: Path) -> None:
    """In the order that make works in: its answer to what it would do."""
    env = {"PATH": "/usr/bin:/bin"}
    plan = process.run(["make", "--dry-run", "--always-make", "test"], env=env, cwd=repository)
    first = plan.stdout.splitlines()[0]
    assert first.endswith("bash .ci/require --test")

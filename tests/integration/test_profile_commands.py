"""A command, a module, a text or a process under the real profilers: run once, its own exit code
and words kept, and named errors where there is nothing to see.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perfkit.config import load_project
from perfkit.errors import PermissionRefusedError, UnreadableOutputError
from perfkit.profile import perf_record, py_spy
from perfkit.profile.perf_record import RecordSettings
from perfkit.profile.profile_command import ProfileOptions, ProfileOutcome, Target, profile_command
from perfkit.store import Run, create_run
from perfkit.subject.builder import Builder
from perfkit.subject.job import quiet

if TYPE_CHECKING:
    from perfkit.config import Project

pytestmark = pytest.mark.beside

ROOT = Path(__file__).resolve().parents[2]
# What perf itself says when it may not look: a program that prints it must not be started again.
COUNTED = """\
import sys, time
with open(sys.argv[1], "a") as stream:
    stream.write("started\\n")
print("cpu-clock is not supported; perf_event_paranoid setting is 4", file=sys.stderr)
print("on stdout")
end = time.perf_counter() + 0.4
while time.perf_counter() < end:
    pass
sys.exit(int(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def project() -> Project:
    return load_project(start=ROOT / "tests" / "subjects" / "spins", environ=dict(os.environ))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return create_run(tmp_path / "profiles", "profile", {})


def look(
    project: Project, run: Run, target: Target, *profilers: str, duration_s: float | None = None
) -> ProfileOutcome:
    return profile_command(
        project,
        ProfileOptions(profilers=profilers or None, duration_s=duration_s),
        target=target,
        builder=Builder(project, cache=run.directory),
        run=run,
        progress=quiet,
    )


@pytest.mark.parametrize("profilers", [(), ("perf",), ("py-spy",)])
def test_a_command_runs_once_whatever_it_prints(
    project: Project,
    run: Run,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    profilers: tuple[str, ...],
) -> None:
    script, counter = tmp_path / "counted.py", tmp_path / "counter"
    script.write_text(COUNTED)
    command = (sys.executable, "-u", str(script), str(counter), "7")
    outcome = look(project, run, Target(command=command), *profilers)
    assert counter.read_text() == "started\n"
    assert outcome.exit_code == 7
    (capture,) = outcome.captures
    assert capture.samples > 10
    # The user sees his own program's words; they are not taken for the profiler's.
    told = capfd.readouterr()
    assert told.out == ""
    assert "is not supported" in told.err
    assert "on stdout" in told.err
    assert "is not supported" not in (run.directory / capture.files["log"]).read_text()
    assert {"cost_unknown"} <= {note.id for note in capture.notes}
    assert not any("event" in note.id or "paranoid" in note.id for note in capture.notes)


@pytest.mark.parametrize("profiler", ["perf", "py-spy"])
@pytest.mark.parametrize(
    ("target", "code"),
    [
        (Target(command=(sys.executable, "-c", "pass")), 0),
        (Target(command=(sys.executable, "-c", "raise SystemExit(5)")), 5),
        (Target(command=("-n", "1", "-r", "1", "pass"), module="timeit"), 0),
        (Target(command=("1",), module="absent_module"), 1),
    ],
    ids=["text", "text-code", "module", "no-module"],
)
def test_a_program_that_ends_at_once_hands_its_code_on(
    project: Project, run: Run, profiler: str, target: Target, code: int
) -> None:
    outcome = look(project, run, target, profiler)
    assert outcome.exit_code == code
    (capture,) = outcome.captures
    assert capture.notes
    assert capture.doubts.slowdown is None


def test_a_program_that_crashes_is_told_by_its_signal(project: Project, run: Run) -> None:
    words = (sys.executable, "-c", "import os; sum(range(10**6)); os.abort()")
    assert look(project, run, Target(command=words), "perf").exit_code == 128 + 6


def test_a_crash_under_py_spy_is_no_success(project: Project, run: Run) -> None:
    words = (sys.executable, "-c", "import os; sum(range(10**7)); os.abort()")
    outcome = look(project, run, Target(command=words), "py-spy")
    assert outcome.exit_code != 0
    if outcome.captures[0].samples:
        assert "code_unknown" in {note.id for note in outcome.captures[0].notes}


@pytest.mark.parametrize("profiler", ["perf", "py-spy"])
def test_a_process_that_is_gone_is_a_named_error(project: Project, run: Run, profiler: str) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with pytest.raises(Exception, match="ended before") as caught:
        look(project, run, Target(pid=gone.pid), profiler, duration_s=1.0)
    assert caught.value.remedy  # type: ignore[attr-defined]


def test_refused_tracing_is_a_missing_permission(
    project: Project, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In py-spy's own words: a test as root is refused nothing."""
    refusing = tmp_path / "py-spy"
    refusing.write_text(
        "#!/bin/sh\necho 'Permission Denied: Try running again with elevated'\nexit 1\n"
    )
    refusing.chmod(0o755)
    monkeypatch.setattr(py_spy, "find", lambda _: refusing)
    with pytest.raises(PermissionRefusedError) as caught:
        look(project, run, Target(command=(sys.executable, "-c", "pass")), "py-spy")
    assert "ptrace_scope" in caught.value.remedy


def test_a_py_spy_that_is_killed_leaves_no_picture_and_no_success(
    project: Project, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = py_spy.find(dict(os.environ))
    dying = tmp_path / "py-spy"
    running = run.path("raw/command.started")
    waiting = f"while [ ! -e '{running}' ]; do sleep 0.05; done"
    dying.write_text(f'#!/bin/sh\n{real} "$@" &\n{waiting}\nsleep 0.2\nkill -9 $!\nwait $!\n')
    dying.chmod(0o755)
    monkeypatch.setattr(py_spy, "find", lambda _: dying)
    words = (sys.executable, "-c", "import time; time.sleep(2)")
    outcome = look(project, run, Target(command=words), "py-spy")
    (capture,) = outcome.captures
    assert "flame" not in capture.files
    assert outcome.exit_code != 0
    assert any("py-spy" in note.text for note in capture.notes)


def test_a_recording_that_is_cut_is_named(tmp_path: Path, environ: dict[str, str]) -> None:
    spinner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    data = tmp_path / "perf.data"
    settings = RecordSettings(rate_hz=499, event="cpu-clock", call_graph="dwarf,16384")
    try:
        with perf_record.attached(spinner.pid, settings, data, environ) as recorder:
            recorder.enable()
            time.sleep(0.3)
            recorder.disable()
            recorder.finish()
    finally:
        spinner.kill()
        spinner.wait()
    whole = data.read_bytes()
    perf_record.write_script(data, tmp_path / "out.txt", environ)
    for part in (60, 200, len(whole) // 2, len(whole) * 9 // 10):
        data.write_bytes(whole[:part])
        with pytest.raises(UnreadableOutputError, match="cut short") as caught:
            perf_record.write_script(data, tmp_path / "out.txt", environ)
        assert caught.value.remedy

"""The profilers themselves, on the subject of known spins; verdicts depend on the machine and are
not asserted, what is in the captures is.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perfkit import _engine
from perfkit.config import Project, load_project
from perfkit.errors import (
    CaptureError,
    ConfigError,
    PerfkitError,
    PermissionRefusedError,
    ToolError,
    UnreadableOutputError,
    UsageError,
    WorkerError,
)
from perfkit.profile import analyse, perf_record
from perfkit.profile.perf_record import RecordSettings, Scope
from perfkit.profile.profile_command import ProfileOptions, Target, profile_command
from perfkit.profile.profilers import profile
from perfkit.profile.sigprof import EVENT, SIGPROF
from perfkit.records import Build, Capture, Layer, Profile
from perfkit.stacks import perf_script
from perfkit.stacks.split import CALLING_THREAD
from perfkit.store import Run, create_run
from perfkit.subject.builder import Builder
from perfkit.subject.child import spec_for, worker
from perfkit.subject.job import job_for, quiet

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

pytestmark = pytest.mark.beside

SETTINGS = RecordSettings(rate_hz=499, event="cpu-clock", call_graph="dwarf,16384")
SPIN = """\
import sys, time
def spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
spin(1.0)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def project(spins_subject: Path, environ: dict[str, str]) -> Project:
    return load_project(start=spins_subject, environ=environ)


@pytest.fixture(scope="module")
def builder(project: Project, shared_cache: Path) -> Builder:
    return Builder(project, cache=shared_cache)


@pytest.fixture(scope="module")
def build(builder: Builder) -> Build:
    return builder.build(profile=Profile.PROFILING)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return create_run(tmp_path / "profiles", "profile", {})


def take(project: Project, build: Build, run: Run, profiler: str, name: str = "native") -> Capture:
    (capture,) = profile(
        job_for(project, name, None, run, build=build), 37, names=[profiler], rate=199, duration=1.0
    )
    return capture


@pytest.mark.parametrize("profiler", ["perf", "sigprof", "py-spy", "scalene", "callgrind"])
def test_each_profiler_leaves_a_whole_capture(
    project: Project, build: Build, run: Run, profiler: str
) -> None:
    capture = take(project, build, run, profiler)
    assert capture.samples > 0
    for place in capture.files.values():
        assert (run.directory / place).stat().st_size > 0
    folded = _engine.read_folded(run.directory / capture.files["folded"])
    assert {stack[0] for stack, _ in folded.stacks()} == {CALLING_THREAD}
    picture = (run.directory / capture.files["flame"]).read_text()
    assert "<svg" in picture
    assert profiler in picture
    if profiler != "callgrind":
        assert capture.slowdown is not None
        assert capture.slowdown.low <= capture.slowdown.estimate <= capture.slowdown.high
        assert f"{capture.rate_hz:g} samples/s" in picture
    assert (set(capture.pace) == {"interpreter", "arithmetic", "memory"}) is (
        profiler != "callgrind"
    )


def path_without(program: str, place: Path) -> str:
    """The search path with everything that is there but one program."""
    folders = []
    for number, folder in enumerate(os.environ["PATH"].split(os.pathsep)):
        if not (Path(folder) / program).exists():
            folders.append(folder)
            continue
        links = place / str(number)
        links.mkdir()
        for file in Path(folder).iterdir():
            if file.name != program:
                (links / file.name).symlink_to(file)
        folders.append(str(links))
    return os.pathsep.join(folders)


def test_without_perf_the_worker_samples_itself(
    project: Project, build: Build, run: Run, tmp_path: Path
) -> None:
    environ = {**project.environ, "PATH": path_without("perf", tmp_path)}
    without = dataclasses.replace(project, environ=environ)
    (capture,) = profile(
        job_for(without, "native", None, run, build=build), 37, rate=199, duration=1.0
    )
    assert capture.profiler == "sigprof"
    assert capture.samples > 0
    (tried,) = [note for note in capture.notes if note.id == "tried"]
    assert "perf" in tried.text


@pytest.mark.parametrize("profiler", ["perf", "sigprof"])
def test_native_stacks_hold_both_sides_of_the_boundary(
    project: Project, build: Build, run: Run, profiler: str
) -> None:
    capture = take(project, build, run, profiler)
    layers = analyse.layers_for(build, project.config.layers)
    split = analyse.split_of(capture, run, layers)
    assert split.seconds(Layer.CONVERT_IN) > 0
    assert split.seconds(Layer.COMPUTE) > split.seconds(Layer.CONVERT_IN)
    written = analyse.write_tables(capture, run, layers)
    header = (run.directory / written["frames"]).read_text().splitlines()[0]
    assert header.startswith("frame,layer,self_samples,total_samples,self_s_per_call")


def test_an_inlined_function_is_told_with_its_file_and_line(build: Build) -> None:
    """`turns` is inlined wherever it is called: its place in the code has two functions."""
    places = range(0, build.module_file.stat().st_size, 16)
    found = _engine.source_frames(build.module_file, list(places))
    assert found is not None
    chains = [chain for chain in found if len(chain) > 1 and "turns" in (chain[-2].function or "")]
    # The compiler gives some instructions no line.
    told = {(inlined.file, outer.function) for *_, inlined, outer in chains if inlined.line}
    assert {function for _, function in told} == {"compute", "extract"}
    assert all(file is not None and file.endswith("src/lib.rs") for file, _ in told)


@pytest.mark.parametrize("profiler", ["perf", "py-spy"])
@pytest.mark.parametrize("code", [0, 7])
def test_a_commands_own_exit_code_is_handed_on(
    project: Project, builder: Builder, run: Run, tmp_path: Path, profiler: str, code: int
) -> None:
    script = tmp_path / "spin.py"
    script.write_text(SPIN)
    outcome = profile_command(
        project,
        ProfileOptions(profilers=(profiler,), exports=("speedscope", "csv")),
        target=Target(command=(sys.executable, str(script), str(code))),
        builder=builder,
        run=run,
        progress=quiet,
    )
    assert outcome.exit_code == code
    (capture,) = outcome.captures
    assert {"raw", "folded", "flame", "speedscope", "csv"} <= set(capture.files)
    assert capture.slowdown is None
    assert "cost_unknown" in [note.id for note in capture.notes]


@pytest.mark.parametrize("profiler", ["perf", "py-spy"])
def test_a_running_process_is_looked_at_and_left_running(
    project: Project, builder: Builder, run: Run, profiler: str
) -> None:
    spinner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        outcome = profile_command(
            project,
            ProfileOptions(profilers=(profiler,), duration_s=1.0, rate_hz=97),
            target=Target(pid=spinner.pid),
            builder=builder,
            run=run,
            progress=quiet,
        )
        assert outcome.exit_code is None
        assert outcome.captures[0].samples > 10
        assert spinner.poll() is None
    finally:
        spinner.kill()
        spinner.wait()


# -- bad input -------------------------------------------------------------------------------------


def test_a_process_that_is_gone_is_named(tmp_path: Path, environ: dict[str, str]) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    data = tmp_path / "perf.data"
    with (
        pytest.raises(ToolError, match="ended before"),
        perf_record.attached(gone.pid, SETTINGS, data, environ),
    ):
        pass


@pytest.mark.parametrize("content", [b"", b"PERFILE2" + bytes(40), os.urandom(4096)])
def test_a_broken_perf_data_is_named(
    tmp_path: Path, environ: dict[str, str], content: bytes
) -> None:
    data = tmp_path / "perf.data"
    data.write_bytes(content)
    with pytest.raises((UnreadableOutputError, CaptureError)) as caught:
        perf_record.write_script(data, tmp_path / "out.txt", environ)
    assert caught.value.remedy


def test_a_perf_that_is_killed_in_the_middle_is_named(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    spinner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    data = tmp_path / "perf.data"
    try:
        with perf_record.attached(spinner.pid, SETTINGS, data, environ) as recorder:
            recorder.enable()
            recorder._child.signal(signal.SIGKILL)
            with pytest.raises(PerfkitError, match="perf"):
                recorder.disable()
    finally:
        spinner.kill()
        spinner.wait()


def test_a_subject_that_ends_its_process_is_named(project: Project, build: Build, run: Run) -> None:
    with pytest.raises(WorkerError, match="signal 6"):
        profile(job_for(project, "ends", None, run, build=build), 1, names=["perf"], duration=60.0)


def test_a_workload_without_bench_has_no_bench_profile(
    project: Project, build: Build, run: Run
) -> None:
    with pytest.raises(ConfigError, match="no criterion bench"):
        take(project, build, run, "cargo-flamegraph")


def test_a_stripped_module_is_drawn_with_the_room_for_what_has_no_name(
    project: Project, build: Build, run: Run, tmp_path: Path
) -> None:
    root = tmp_path / "stripped"
    shutil.copytree(build.root, root)
    module = root / build.module_file.relative_to(build.root)
    # Without its id too: perf keeps the symbols of builds that it has seen, by their id.
    words = ["strip", "--strip-all", "--remove-section=.note.gnu.build-id", module]
    subprocess.run(words, check=True)
    digest = hashlib.sha256(module.read_bytes()).hexdigest()
    bare = dataclasses.replace(build, root=root, module_file=module, file_sha256=digest)
    capture = take(project, bare, run, "perf")
    assert capture.doubts.unnamed > 0.2
    assert "unresolved" in {note.id for note in capture.notes}
    assert "samples without a name" in (run.directory / capture.files["flame"]).read_text()


def test_a_bench_is_seen_below_criterions_loop(
    workspace_subject: Path, shared_cache: Path, tmp_path: Path
) -> None:
    """In a run directory with blanks, which `flamegraph -c` would split at."""
    project = load_project(start=workspace_subject, environ=dict(os.environ))
    builder = Builder(project, cache=shared_cache)
    build = builder.build(profile=Profile.PROFILING)
    run = create_run(tmp_path / "with blanks", "profile", {})
    (capture,) = profile(
        job_for(project, "histogram", builder, run, build=build),
        100_000,
        names=["cargo-flamegraph"],
        rate=499,
        duration=1.0,
    )
    stacks = _engine.read_folded(run.directory / capture.files["folded"]).stacks()
    own = [(stack, count) for stack, count in stacks if stack[0] == CALLING_THREAD]
    assert own
    assert not any("criterion::" in frame for stack, _ in own for frame in stack)
    counted = sum(count for stack, count in own if any("textstats" in frame for frame in stack))
    assert counted > 0.5 * sum(count for _, count in own)


def test_an_unknown_profiler_is_a_usage_error(project: Project, build: Build, run: Run) -> None:
    with pytest.raises(UsageError, match="did you mean 'py-spy'"):
        take(project, build, run, "pyspy")


@pytest.mark.parametrize("instead", ["sigprof", "py-spy"])
def test_a_refused_perf_falls_back_to_what_is_there(
    project: Project, build: Build, run: Run, monkeypatch: pytest.MonkeyPatch, instead: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        message = "the system refuses perf events"
        raise PermissionRefusedError(message, remedy="a switch")

    monkeypatch.setattr(perf_record, "attached", refuse)
    if instead == "py-spy":  # as on a system that the sampler is not for
        monkeypatch.setattr(_engine, "sampler_library", lambda: b"")
    captures = profile(
        job_for(project, "native", None, run, build=build), 37, rate=97, duration=1.0
    )
    assert [capture.profiler for capture in captures] == [instead]
    assert any("refuses perf events" in note.text for note in captures[0].notes)


@pytest.mark.parametrize("permitted", [True, False], ids=["permitted", "refused"])
def test_a_call_with_threads_is_counted_per_cpu_and_nothing_of_others_is_kept(
    project: Project, build: Build, run: Run, monkeypatch: pytest.MonkeyPatch, *, permitted: bool
) -> None:
    """Where counters per CPU are refused, perf counts per thread, as it does for other calls."""
    attached, tried = perf_record.attached, []

    def seen(
        pid: int, settings: RecordSettings, data: Path, environ: dict[str, str]
    ) -> AbstractContextManager[perf_record.PerfRecorder]:
        tried.append(settings.scope)
        if settings.scope is Scope.CPUS and not permitted:
            message = "the system refuses perf events"
            raise PermissionRefusedError(message, remedy="a switch")
        return attached(pid, settings, data, environ)

    monkeypatch.setattr(perf_record, "attached", seen)
    foreign = "somebody_elses"
    link = run.path(foreign)
    link.symlink_to(sys.executable)
    spinner = subprocess.Popen([link, "-c", "while True: pass"])
    try:
        capture = take(project, build, run, "perf", "threaded")
    finally:
        spinner.kill()
        spinner.wait()
        link.unlink()
    assert tried[-1] is (Scope.CPUS if permitted else Scope.THREADS)
    (how,) = [note.text for note in capture.notes if note.id == "stacks_by"]
    assert ("for each CPU" in how) is permitted
    assert ("raw" in capture.files) is not permitted
    with gzip.open(run.directory / capture.files["text"], "rt") as stream:
        ids = {words[1] for line in stream if "cpu-clock" in line and (words := line.split())}
    assert ids
    assert len({each.partition("/")[0] for each in ids}) == 1, ids
    kept = [path for path in run.directory.rglob("*") if path.is_file()]
    assert not [path for path in kept if foreign.encode() in path.read_bytes()]
    split = analyse.split_of(capture, run, analyse.layers_for(build, project.config.layers))
    assert split.workers_s > 0


def test_the_workers_own_sampler_leaves_no_trace_in_the_process(
    project: Project, build: Build, run: Run
) -> None:
    """No timer, no signal handler: another recording in the same process begins anew."""
    settings = RecordSettings(rate_hz=97, event=EVENT, call_graph=SIGPROF.stacks[0])
    with worker(spec_for(project, build)) as running:
        workload = project.config.workloads["native"]
        arm = running.prepare(workload, 37, which="call")
        sizes = []
        for number in range(2):
            data = run.path(f"raw/{number}.data")
            with SIGPROF.attached(running, settings, data, {}) as recorder:
                recorder.enable()
                running.loop(arm, 0.3)
                recorder.disable()
                running.loop(arm, 0.3)
                recorder.finish()
            script = data.with_suffix(".txt")
            SIGPROF.write_script(settings, data, script, {})
            sizes.append(perf_script.fold(script, main_tid=running.main_tid).samples)
            status = Path(f"/proc/{running.pid}/status").read_text()
            caught = int(re.findall(r"^SigCgt:\s*(\w+)", status, re.M)[0], 16)
            assert not caught >> (signal.SIGPROF - 1) & 1
            assert Path(f"/proc/{running.pid}/timers").read_text() == ""
            assert list(data.parent.glob(".sampler-*")) == []
        running.loop(arm, 0.1)
    assert all(0 < size < 40 for size in sizes), sizes  # of 29: neither none, nor both loops'

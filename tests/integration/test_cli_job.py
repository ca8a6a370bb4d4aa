"""perfkit's whole job through the command line, on two subjects that look nothing alike.

A shared machine may be busy: 0, 3 and 4 are all answers. What is asserted is that there is one,
that its documents hold what docs/reference.md promises, and that the subject's repository stays
clean.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perfkit import process, store
from perfkit.errors import ExitCode
from perfkit.records import SCHEMA_VERSION, DiagnoseVerdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ANSWERS = (ExitCode.GOOD, ExitCode.GATE, ExitCode.NO_VERDICT)
INTERVAL = {"estimate", "low", "high"}
ONE_TRIAL = ("--max-iterations", "1", "--time-limit", "40s", "--patience", "0s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A project to run perfkit in, with a workload and one of its sizes."""

    root: Path
    cache: Path
    workload: str
    size: str
    parameter: str
    profilers: tuple[str, ...] = ("perf",)

    def perfkit(self, *words: str, **environ: str) -> process.Completed:
        """Run a command in the project; any exit code is fine."""
        env = {**os.environ, "PERFKIT_CACHE_DIR": str(self.cache), **environ}
        argv = [sys.executable, "-m", "perfkit", *words]
        return process.run(argv, env=env, cwd=self.root, ok_codes=None, timeout_s=900)

    def ask(self, command: str, *words: str) -> tuple[dict[str, Any], store.Run]:
        """Run a command that must answer; its JSON document and its run directory."""
        done = self.perfkit(command, "--workload", self.workload, "--format", "json", *words)
        assert done.returncode in ANSWERS, done.stderr
        document = json.loads(done.stdout)
        assert document["schema_version"] == SCHEMA_VERSION
        run = store.list_runs(self.root / "profiles", command)[-1]
        header = store.read_json(run.directory / store.RUN_FILE)
        assert header["exit_code"] == done.returncode
        return document, run

    def once(self, command: str) -> tuple[dict[str, Any], store.Run]:
        """The command's run, as quick as it can be: asked once for all tests."""
        key = (self.root, command)
        if key not in _LEFT:
            before = self.dirt()
            at = ("--sizes", self.size)
            profilers = [word for name in self.profilers for word in ("--profiler", name)]
            words = {
                "measure": (*at, "--quick", "--time-limit", "2s", "--patience", "0s"),
                "profile": (*at, "--duration", "1s", *profilers),
                "diagnose": (*at, "--quick", "--patience", "0s"),
                "tune": ONE_TRIAL,
            }[command]
            _LEFT[key] = self.ask(command, *words)
            assert self.dirt() == before
        return _LEFT[key]

    def dirt(self) -> str:
        """What git sees as changed or new."""
        env = {"PATH": os.environ["PATH"]}
        return process.run(["git", "status", "--porcelain"], env=env, cwd=self.root).stdout


_LEFT: dict[tuple[Path, str], tuple[dict[str, Any], store.Run]] = {}


@pytest.fixture(scope="module")
def workspace(workspace_subject: Path, shared_cache: Path) -> Subject:
    return Subject(
        root=workspace_subject,
        cache=shared_cache,
        workload="histogram",
        size="100k",
        parameter="PARALLEL_THRESHOLD",
        profilers=("perf", "py-spy"),
    )


@pytest.fixture(scope="module")
def bundled(repository: Path, shared_cache: Path) -> Subject:
    return Subject(
        root=repository,
        cache=shared_cache,
        workload="call_price_plain",
        size="10k",
        parameter="PARALLEL_THRESHOLD_SMALL",
    )


@pytest.fixture(params=["workspace", "bundled"])
def subject(request: pytest.FixtureRequest) -> Subject:
    found: Subject = request.getfixturevalue(request.param)
    return found


def keys(items: Sequence[dict[str, Any]]) -> set[str]:
    """The keys that every item has; there is at least one item."""
    assert items
    return set.intersection(*(set(item) for item in items))


def test_measure(subject: Subject) -> None:
    document, run = subject.once("measure")
    assert document["verdict"] in {"ok", "busy", "untrusted"}
    if document["verdict"] != "busy":
        wanted = {"workload", "size", "time_s", "reference_s", "speedup", "target", "met"}
        assert keys(document["results"]) >= wanted | {"valid_blocks", "blocks"}
        for result in document["results"]:
            assert set(result["speedup"]) == INTERVAL
            assert result["speedup"]["low"] <= result["speedup"]["high"]
    assert {path.name for path in run.directory.iterdir()} >= {
        "run.json",
        "measurement.json",
        "final_report.md",
        "raw",
    }


def test_profile(subject: Subject) -> None:
    document, run = subject.once("profile")
    captures = document["captures"]
    assert {capture["profiler"] for capture in captures} == set(subject.profilers)
    wanted = {"profiler", "workload", "size", "rate_hz", "samples", "unresolved_share", "slowdown"}
    assert keys(captures) >= wanted | {"doubts", "files"}
    (by_perf,) = (capture for capture in captures if capture["profiler"] == "perf")
    if subject.workload == "call_price_plain":
        assert by_perf["unresolved_share"] < 0.02
    for capture in captures:
        assert capture["samples"] > 0
        kinds = capture["file_kinds"]
        assert sorted(kinds.values()) == capture["files"]
        assert (run.directory / kinds["folded"]).stat().st_size > 0
        flame = (run.directory / kinds["flame"]).read_text(encoding="utf-8")
        assert "<svg" in flame
        assert "slowdown" in flame or not capture["slowdown"]


def test_diagnose(subject: Subject) -> None:
    document, run = subject.once("diagnose")
    assert document["verdict"] in set(DiagnoseVerdict)
    for size in document["sizes"]:
        assert {"workload", "size", "call_s", "layers", "ffi"} <= set(size)
        if size["layers"]:
            assert sum(layer["share"] for layer in size["layers"]) == pytest.approx(1, abs=1e-6)
        names = {estimator["name"] for estimator in size["ffi"]["estimators"]}
        assert len(names) >= 2
        assert not size["ffi"]["disagree"] or size["ffi"]["share"] is None
    assert {path.name for path in run.directory.iterdir()} >= {
        "run.json",
        "diagnosis.json",
        "final_report.md",
    }
    report = (run.directory / "final_report.md").read_text(encoding="utf-8")
    pictures = re.findall(r"flame/[^\s]+\.svg", report.replace("\\", ""))
    assert ("flame/layers.svg" in pictures) is bool(document["sizes"])
    for picture in pictures:
        assert "<svg" in (run.directory / picture).read_text(encoding="utf-8")


def test_tune(subject: Subject) -> None:
    document, run = subject.once("tune")
    wanted = {"status", "builds", "evaluations", "wall_s", "trials", "best", "confirmed"}
    assert wanted | {"dead_parameters"} <= set(document)
    assert keys(document["trials"]) >= {"iteration", "params", "outcome", "performance", "build_s"}
    numbers = [trial["iteration"] for trial in document["trials"]]
    assert numbers == list(range(len(numbers)))
    start_was_enough = document["status"] == "success" and document["best"]["iteration"] == 0
    # A slow machine may have no time for a candidate, and then the run says so.
    out_of_time = "leaves no room for another trial" in document["reason"]
    no_figure = document["status"] in {"busy", "untrusted"}
    assert len(numbers) > 1 or start_was_enough or out_of_time or no_figure
    lines = store.read_journal(run.directory / "iteration_summary.jsonl")
    assert len(lines) == len(document["trials"])
    assert list((run.directory / "iterations").glob("iter_*.json"))
    for trial in store.read_json(run.directory / "tuning.json")["trials"]:
        floors = [size["noise_floor"] for size in trial["sizes"]]
        assert not floors or 0.005 <= min(floors) <= trial["noise_floor"] <= max(floors)
    report = (run.directory / "final_report.md").read_text(encoding="utf-8")
    assert subject.parameter in report


def test_report_shows_the_newest_run_again(subject: Subject) -> None:
    shown = subject.perfkit("report", "--format", "json")
    assert shown.returncode == ExitCode.GOOD, shown.stderr
    assert json.loads(shown.stdout)["schema_version"] == SCHEMA_VERSION
    place = subject.perfkit("report", "--path").stdout.strip()
    assert Path(place).name == "final_report.md"


def test_several_runs_are_one_report_of_both_workloads(bundled: Subject) -> None:
    _, before = bundled.once("measure")
    words = ("--quick", "--sizes", bundled.size, "--patience", "0s")
    both = ("--workload", "call_price", "--against-workload", bundled.workload)
    measured, after = bundled.ask("measure", *words, *both)
    shown = bundled.perfkit("report", before.id, after.id, "--format", "json")
    assert shown.returncode == ExitCode.GOOD, shown.stderr
    document = json.loads(shown.stdout)
    assert [run["run"] for run in document["runs"]] == [before.id, after.id]
    if measured["verdict"] != "ok":
        assert document["replacements"] == []
        return
    (found,) = document["replacements"]
    assert (found["before"], found["after"]) == (bundled.workload, "call_price")
    (step,) = found["steps"]
    assert step["change"] == measured["results"][0]["change"]
    page = bundled.perfkit("report", before.id, after.id).stdout
    assert f"call_price in place of {bundled.workload}" in page


def test_what_a_command_left_is_read_by_every_other(workspace: Subject) -> None:
    """Whatever the machine let them answer: a file that another command refuses is a fault."""
    measured, profiled, diagnosed, tuned = (
        workspace.once(command)[1] for command in ("measure", "profile", "diagnose", "tune")
    )
    quick = ("--quick", "--sizes", workspace.size, "--patience", "0s", "--time-limit", "1s")
    _, other = workspace.ask("measure", *quick)
    at = ("--sizes", f"10k,{workspace.size}", "--profiler", "perf", "--duration", "1s")
    _, both = workspace.ask("profile", *at)
    _, again = workspace.ask("tune", "--resume", tuned.id, *ONE_TRIAL)
    assert again == tuned
    runs = (measured, other, profiled, both, diagnosed, tuned)
    refusals = {
        ("compare", measured.id, other.id): "its verdict is",
        ("compare", profiled.id, both.id): "no two captures to compare",
        ("compare", both.id, "--sizes", f"10k,{workspace.size}"): "no two captures to compare",
    }
    unlike = [("compare", measured.id, run.id) for run in (profiled, diagnosed, tuned)]
    shown = [("report", run.id) for run in runs]
    listed = ("history", "--format", "json")
    asked = [*refusals, *unlike, *shown, listed]
    # They read files and time nothing, so two may run at once.
    with ThreadPoolExecutor(max_workers=2) as pool:
        found = dict(
            zip(asked, pool.map(lambda words: workspace.perfkit(*words), asked), strict=True)
        )
    for words, refusal in refusals.items():
        done = found[words]
        assert done.returncode == ExitCode.GOOD or refusal in done.stderr, done.stderr
    for done in (found[words] for words in unlike):
        assert done.returncode == ExitCode.USAGE
        assert "only two measurements or two profiles compare" in done.stderr
    ended = {line["id"]: line["exit_code"] for line in json.loads(found[listed].stdout)["runs"]}
    assert all(ended[run.id] in ANSWERS for run in runs)
    for done in (found[words] for words in shown):
        assert done.returncode == ExitCode.GOOD, done.stderr
        assert done.stdout


def edit(root: Path, file: str, old: str, new: str) -> None:
    """Change one text in a file of the project; it must be there."""
    path = root / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def broken(editable_subject: Path, shared_cache: Path) -> Callable[..., process.Completed]:
    """Break the second subject in one place and measure it."""

    def measure(file: str, old: str, new: str, **environ: str) -> process.Completed:
        edit(editable_subject, file, old, new)
        subject = Subject(
            root=editable_subject, cache=shared_cache, workload="", size="", parameter=""
        )
        return subject.perfkit("measure", "--quick", "--patience", "0s", **environ)

    return measure


@pytest.mark.beside
def test_a_workload_that_raises_is_shown_with_its_line(
    broken: Callable[..., process.Completed], editable_subject: Path
) -> None:
    done = broken("workloads.py", "def python_histogram", "def python_histogram_old")
    assert done.returncode == ExitCode.USAGE
    assert "python_histogram" in done.stderr
    edit(editable_subject, "workloads.py", "def python_histogram_old", "def python_histogram")
    line = "    source = random.Random(seed)"
    done = broken("workloads.py", line, f"    raise RuntimeError('no data today')\n{line}")
    assert done.returncode == ExitCode.ERROR
    assert "no data today" in done.stderr
    assert "workloads.py:" in done.stderr
    assert done.stdout == ""


@pytest.mark.beside
def test_a_build_that_does_not_compile_shows_rustc(
    broken: Callable[..., process.Completed], editable_subject: Path
) -> None:
    done = broken("crates/core/src/tuning.rs", "THRESHOLD: usize", "THRESHOLD: &str")
    assert done.returncode == ExitCode.BUILD_FAILED
    assert "tuning.rs" in done.stderr
    assert "error[E0308]: mismatched types" in done.stderr
    assert not (editable_subject / "target").exists()


@pytest.mark.beside
def test_a_missing_toolchain_ends_with_6(broken: Callable[..., process.Completed]) -> None:
    tools = str(Path(sys.executable).parent)
    done = broken("workloads.py", "def text", "def text", PATH=f"{tools}:/usr/bin:/bin")
    assert done.returncode == ExitCode.MISSING
    assert "rustup" in done.stderr


@pytest.mark.beside
def test_a_reference_that_disagrees_is_named_before_anything_is_timed(
    broken: Callable[..., process.Completed], editable_subject: Path
) -> None:
    wanted = "    return [counted[value] for value in range(256)]"
    done = broken("workloads.py", wanted, wanted.replace("[value]", "[value] + 1"))
    assert (done.returncode, done.stdout) == (ExitCode.ERROR, "")
    assert "subject and reference disagree" in done.stderr
    assert "To do: fix one of them, or set `tolerance`" in done.stderr
    (run,) = store.list_runs(editable_subject / "profiles")
    assert not (run.directory / "raw").exists(), "nothing was timed"


@pytest.mark.beside
def test_a_refused_permission_ends_with_6(
    workspace: Subject, repository: Path, tmp_path: Path
) -> None:
    """The words are those of a real perf on a machine that refuses it."""
    said = repository / "tests" / "data" / "diagnose" / "perf" / "paranoid.stderr"
    fake = tmp_path / "perf"
    fake.write_text(f"#!/bin/sh\ncat {said} >&2\nexit 255\n", encoding="utf-8")
    fake.chmod(0o755)
    words = ("--profiler", "perf", "--pid", str(os.getpid()), "--duration", "1s")
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = workspace.perfkit("profile", *words, PATH=path)
    assert (done.returncode, done.stdout) == (ExitCode.MISSING, "")
    assert "To do: sysctl kernel.perf_event_paranoid=1" in done.stderr


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """What a command left behind that got Ctrl-C."""

    code: int
    told: str
    run: store.Run


@pytest.fixture
def heeded() -> Iterator[None]:
    """Ctrl-C reaches what is started here, also when the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def interrupted(shared_cache: Path, tmp_path: Path, heeded: None) -> Callable[..., Interrupted]:
    """Start a command, and press Ctrl-C as soon as a condition on its run and its words holds."""

    def press(root: Path, when: Callable[[store.Run, str], bool], *words: str) -> Interrupted:
        argv = [sys.executable, "-m", "perfkit", *words]
        env = {**os.environ, "PERFKIT_CACHE_DIR": str(shared_cache)}
        known = {run.id for run in store.list_runs(root / "profiles")}
        log = tmp_path / "stderr"
        with (
            log.open("w", encoding="utf-8") as stderr,
            subprocess.Popen(argv, cwd=root, env=env, stderr=stderr) as running,
        ):
            deadline = time.monotonic() + 300
            while running.poll() is None and time.monotonic() < deadline:
                runs = [one for one in store.list_runs(root / "profiles") if one.id not in known]
                if runs and when(runs[0], log.read_text(encoding="utf-8")):
                    break
                time.sleep(0.02)
            assert running.poll() is None, log.read_text(encoding="utf-8")
            running.send_signal(signal.SIGINT)
            code = running.wait(timeout=120)
        (run,) = runs
        return Interrupted(code=code, told=log.read_text(encoding="utf-8"), run=run)

    return press


@pytest.mark.beside
def test_ctrl_c_in_a_build_ends_with_130(
    interrupted: Callable[..., Interrupted], editable_subject: Path
) -> None:
    """A constant that nobody built before: the time makes it another one in each run."""
    value = 200_000 + int(time.time()) % 100_000
    edit(editable_subject, "crates/core/src/tuning.rs", "131_072", str(value))
    subject = Subject(
        root=editable_subject, cache=editable_subject, workload="", size="", parameter=""
    )
    before = subject.dirt()
    left = interrupted(editable_subject, lambda _run, told: "building (release)" in told, "tune")
    assert left.code == ExitCode.INTERRUPTED
    assert str(left.run.directory) in left.told
    assert store.read_json(left.run.directory / store.RUN_FILE)["exit_code"] == 130
    assert subject.dirt() == before


def test_ctrl_c_in_a_measurement_keeps_its_blocks(
    interrupted: Callable[..., Interrupted], workspace: Subject
) -> None:
    def measuring(run: store.Run, _told: str) -> bool:
        blocks = run.directory / "raw" / "blocks.jsonl"
        return blocks.is_file() and len(store.read_journal(blocks)) >= 2

    words = ("measure", "--sizes", "1M", "--patience", "0s")
    left = interrupted(workspace.root, measuring, *words)
    assert left.code == ExitCode.INTERRUPTED
    assert str(left.run.directory) in left.told
    assert store.read_json(left.run.directory / store.RUN_FILE)["exit_code"] == 130
    assert len(store.read_journal(left.run.directory / "raw" / "blocks.jsonl")) >= 2
    assert workspace.dirt() == ""


def test_ctrl_c_in_a_diagnosis_ends_with_the_report_as_far_as_it_is(
    interrupted: Callable[..., Interrupted], workspace: Subject, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("diagnose", "--quick", "--sizes", workspace.size, "--patience", "0s")
    left = interrupted(workspace.root, lambda _run, told: "first look" in told, *words)
    assert left.code == ExitCode.INTERRUPTED
    page = capfd.readouterr().out
    assert "interrupted: what is said is so" in " ".join(page.split())
    diagnosis = store.read_json(left.run.directory / "diagnosis.json")
    (split,) = diagnosis["sizes"]
    assert split["layers"]
    assert store.read_json(left.run.directory / store.RUN_FILE)["exit_code"] == 130
    again = workspace.perfkit("report", left.run.id)
    assert again.returncode == ExitCode.GOOD, again.stderr
    assert workspace.dirt() == ""

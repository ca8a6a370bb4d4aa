"""The loop with real builds and real processes, on the second subject.

Blocks count whether or not the machine is quiet (`gated=False`): what is asserted is what was
built, proved, verified and kept, never how fast anything was.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perfkit import process
from perfkit.config import Project, load_project
from perfkit.errors import BuildError, ToolMissingError, UsageError, WrongResultError
from perfkit.profile import profilers
from perfkit.records import Proof, TrialOutcome, TuneReport, TuneStatus
from perfkit.store import Run, read_journal, read_json
from perfkit.subject.builder import Builder
from perfkit.subject.job import job_for
from perfkit.subject.parameters import start_values
from perfkit.tune.live import LiveEvaluator
from perfkit.tune.setup import TuneOptions, plan_command, tune_command

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.profile.request import CaptureRequest
    from perfkit.records import Capture

MEASURE = {"width": 0.5, "time_limit_s": 20.0, "min_blocks": 8, "max_blocks": 8, "patience_s": 0.0}


def silent(_text: str, _fraction: float | None) -> None:
    """Nobody listens."""


@pytest.fixture
def project(workspace_subject: Path, environ: dict[str, str]) -> Project:
    """The second subject at its smallest size, measured as briefly as possible."""
    overrides = {
        **{f"measure.{key}": value for key, value in MEASURE.items()},
        "workloads.histogram.sizes": [1_000],
        "workloads.histogram.main_size": 1_000,
        "workloads.histogram.targets": {},
        "tune.profile_every": 0,
        "profiling.duration_s": 0.5,
    }
    return load_project(start=workspace_subject, environ=environ, overrides=overrides)


@pytest.fixture
def builder(project: Project, shared_cache: Path) -> Builder:
    return Builder(project, cache=shared_cache)


@pytest.fixture
def git_status(environ: dict[str, str]) -> Callable[[Path], str]:
    """What git sees as changed or new."""

    def status(root: Path) -> str:
        return process.run(["git", "status", "--porcelain"], env=environ, cwd=root).stdout

    return status


def live(project: Project, builder: Builder, run: Run) -> LiveEvaluator:
    job = job_for(project, "histogram", builder, run, gated=False)
    return LiveEvaluator(job, start_values(project, "histogram"))


def tune(
    project: Project, builder: Builder, run: Run, *, resume: bool = False, **options: int
) -> TuneReport:
    limits = project.config.tune.model_copy(update={"max_iterations": 3, **options})
    config = project.config.model_copy(update={"tune": limits})
    return tune_command(
        dataclasses.replace(project, config=config),
        TuneOptions(),
        builder=builder,
        run=run,
        resume=resume,
        progress=silent,
        gated=False,
    )


@pytest.mark.beside
def test_each_kind_of_value_reaches_the_subject_its_own_way(
    project: Project, builder: Builder, tmp_path: Path
) -> None:
    evaluator = live(project, builder, Run(directory=tmp_path))
    start = start_values(project, "histogram")
    assert start["CHUNK_BYTES"] == 32_768, "an expression is read as the number it is"
    first = evaluator.prepare(start)
    constant = evaluator.prepare({**start, "PARALLEL_THRESHOLD": 65_536})
    dead = evaluator.prepare({**start, "PREFETCH_DISTANCE": 16})
    variable = evaluator.prepare({**start, "tables": 4})
    assert constant.text_hash != first.text_hash
    assert dead.signature == first.signature
    assert (variable.text_hash, variable.build_s) == (first.text_hash, 0.0)
    assert variable.signature != first.signature
    proofs = {proof.name: proof.proof for proof in dead.proofs}
    assert proofs["PREFETCH_DISTANCE"] is Proof.DEAD
    assert {proof.name: proof.proof for proof in variable.proofs}["tables"] is Proof.PASSED
    assert {proof.name: proof.proof for proof in constant.proofs}[
        "PARALLEL_THRESHOLD"
    ] is Proof.TEXT


@pytest.mark.beside
def test_a_trial_is_measured_beside_the_start_and_the_reference(
    project: Project, builder: Builder, tmp_path: Path
) -> None:
    evaluator = live(project, builder, Run(directory=tmp_path))
    start = start_values(project, "histogram")
    evaluator.prepare(start)
    prepared = evaluator.prepare({**start, "tables": 2})
    measured = evaluator.measure(prepared, label="trial_001", fresh=False)
    (size,) = measured.results
    assert size.speedup is not None
    assert size.time_s is not None
    assert size.change.low <= size.change.estimate <= size.change.high
    blocks = read_journal(tmp_path / "trial_001" / "raw" / "blocks.jsonl")
    assert set(blocks[0]["per_call_s"]) == {"trial", "copy", "start", "reference"}


@pytest.mark.beside
def test_a_value_that_does_not_compile_is_a_build_error(
    project: Project, builder: Builder, tmp_path: Path
) -> None:
    evaluator = live(project, builder, Run(directory=tmp_path))
    with pytest.raises(BuildError) as caught:
        evaluator.prepare(
            {**start_values(project, "histogram"), "PARALLEL_THRESHOLD": "no_such_name"}
        )
    assert "no_such_name" in str(caught.value)


@pytest.mark.beside
def test_a_wrong_answer_is_found_before_it_is_timed(
    workspace_subject: Path, project: Project, builder: Builder, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text("def one_more(data):\n    return [len(data) + 1] * 256\n", encoding="utf-8")
    workload = project.config.workloads["histogram"].model_copy(
        update={"reference": f"{wrong}:one_more"}
    )
    config = project.config.model_copy(update={"workloads": {"histogram": workload}})
    broken = dataclasses.replace(project, config=config)
    run = Run(directory=tmp_path / "run")
    with pytest.raises(WrongResultError, match="disagree"):
        tune(broken, builder, run)
    assert not (run.directory / "trial_000").exists()


@pytest.mark.beside
def test_a_whole_run_leaves_its_journal_and_the_tree_alone(
    project: Project,
    builder: Builder,
    tmp_path: Path,
    git_status: Callable[[Path], str],
) -> None:
    before = git_status(project.root)
    run = Run(directory=tmp_path / "run")
    report = tune(project, builder, run, max_iterations=2)
    assert git_status(project.root) == before
    assert [trial.iteration for trial in report.trials] == [0, 1, 2], report.reason
    assert all(trial.outcome is TrialOutcome.OK for trial in report.trials)
    assert report.trials[1].params["tables"] != report.trials[2].params["tables"]
    assert report.trials[2].build_s == 0.0, "a variable alone needs no build"
    assert report.status in (TuneStatus.KEPT, TuneStatus.MAX_ITERATIONS)
    assert report.best_build is not None
    module = report.best_build.path.read_bytes()
    assert hashlib.sha256(module).hexdigest() == report.best_build.sha256
    assert len(read_journal(run.directory / "iteration_summary.jsonl")) == 3
    assert len(list((run.directory / "iterations").glob("iter_00[012]_*.json"))) == 3
    assert report.noise_floor is None, "without sentinels nothing stands behind the figures"
    assert "unchecked" in [note.id for note in report.notes]


@pytest.mark.beside
def test_the_bundled_kernel_is_rebuilt_with_what_its_worst_size_asks_for(
    repository: Path, shared_cache: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    """However busy the machine is: blocks count as they are. Nothing reaches a target of 1000x."""
    workload = {"sizes": [10_000], "targets": {10_000: 1_000.0}}
    overrides = {
        **{f"measure.{key}": value for key, value in MEASURE.items()},
        **{f"workloads.call_price_plain.{key}": value for key, value in workload.items()},
        "tune.max_iterations": 1,
    }
    project = load_project(start=repository, environ=environ, overrides=overrides)
    builder = Builder(project, cache=shared_cache)
    run = Run(directory=tmp_path / "run")
    report = tune_command(
        project,
        TuneOptions(workload="call_price_plain"),
        builder=builder,
        run=run,
        resume=False,
        progress=silent,
        gated=False,
    )
    start, first = report.trials
    assert (start.iteration, start.stage) == (0, "start")
    assert (first.iteration, first.stage, first.outcome) == (1, "recommended", TrialOutcome.OK)
    assert {name for name in first.params if first.params[name] != start.params[name]} == {
        "PARALLEL_THRESHOLD_SMALL"
    }
    assert {proof.proof for proof in first.proofs} <= {Proof.GETTER}
    assert first.text_hash != start.text_hash
    assert first.sizes[0].change.low <= first.sizes[0].change.estimate
    assert report.status in (TuneStatus.KEPT, TuneStatus.MAX_ITERATIONS)


@pytest.mark.beside
def test_an_interrupted_run_goes_on_and_another_project_does_not(
    project: Project, builder: Builder, tmp_path: Path
) -> None:
    run = Run(directory=tmp_path / "run")
    tune(project, builder, run, max_iterations=1)
    report = tune(project, builder, run, resume=True, max_iterations=2)
    assert [trial.iteration for trial in report.trials] == [0, 1, 2]
    header = read_json(run.directory / "tune.json")
    header["key"]["the machine"] = "another one"
    (run.directory / "tune.json").write_text(json.dumps(header), encoding="utf-8")
    with pytest.raises(UsageError, match="the machine changed since it began"):
        tune(project, builder, run, resume=True)


@pytest.mark.beside
def test_a_dry_run_builds_nothing(project: Project) -> None:
    plan = plan_command(project, TuneOptions())
    assert [dict(candidate.params)["tables"] for candidate in plan.candidates][-2:] == [2, 4]
    with pytest.raises(UsageError, match="no strategy"):
        plan_command(project, TuneOptions(strategy="luck"))


@pytest.mark.beside
@pytest.mark.parametrize("missing", [{"perf"}, {"py-spy"}, {"perf", "py-spy"}])
def test_a_profiler_that_cannot_look_leaves_the_other_one(
    project: Project,
    builder: Builder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    missing: set[str],
) -> None:
    real = dict(profilers.profilers)

    def refuse(request: CaptureRequest) -> Capture:
        """A profiler that this machine does not have."""
        message = f"not installed: {request.job.name} is not profiled in {request.job.run.id}"
        raise ToolMissingError(message)

    known = {name: refuse if name in missing else real[name] for name in real}
    monkeypatch.setattr(profilers, "profilers", known)
    evaluator = live(project, builder, Run(directory=tmp_path))
    prepared = evaluator.prepare(start_values(project, "histogram"))
    if len(missing) == 2:
        with pytest.raises(ToolMissingError):
            evaluator.profile(prepared, 1_000, label="trial_003")
        return
    profiled = evaluator.profile(prepared, 1_000, label="trial_003")
    (left,) = {"perf", "py-spy"} - missing
    assert {kind.partition("/")[0] for kind in profiled.files} == {left}
    assert [note.text.partition(":")[0] for note in profiled.notes if note.id == "no_profile"] == [
        f"no profile by {name}" for name in missing
    ]


def test_a_profiled_trial_has_hot_frames_and_a_flame_graph(
    project: Project, builder: Builder, tmp_path: Path
) -> None:
    run = Run(directory=tmp_path)
    evaluator = live(project, builder, run)
    prepared = evaluator.prepare(start_values(project, "histogram"))
    profiled = evaluator.profile(prepared, 1_000, label="trial_003")
    flames = [path for kind, path in profiled.files.items() if kind.endswith("/flame")]
    assert {kind for kind in profiled.files if kind.endswith(("/flame", "/folded"))} == {
        f"{profiler}/{kind}" for profiler in ("perf", "py-spy") for kind in ("flame", "folded")
    }
    assert all((tmp_path / path).is_file() for path in profiled.files.values())
    assert all(Path(flame).name.startswith("trial_003-") for flame in flames)
    withheld = [note.id for note in profiled.notes]
    assert profiled.rows or "profile_withheld" in withheld, withheld
    for row in profiled.rows:
        assert set(row) == {"profiler", "frame", "self_samples", "total_samples", "self_share"}

"""The split by layer against a subject whose split is known (tests/subjects/spins).

Boundary and compute are the same loop, so their ratio is that of their turns; the interpreter's
part is what the call takes beyond the native part. Both are timed by the CPU clock, in turn, in the
same process as each other, so that a busy machine moves neither.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perfkit.config import Project, load_project
from perfkit.profile import analyse
from perfkit.profile.engine import profile_workload
from perfkit.records import Build, Capture, Layer, Profile
from perfkit.store import Run, create_run
from perfkit.subject.build import Builder
from perfkit.subject.child import spec_for, worker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.stacks.split import Split

pytestmark = pytest.mark.truth

ROOT = Path(__file__).resolve().parents[2]
POINTS = 0.02


@pytest.fixture(scope="module")
def project() -> Project:
    place = ROOT / "target" / "perfkit-test-subjects" / "spins"
    shutil.rmtree(place, ignore_errors=True)
    ignored = shutil.ignore_patterns("target", "profiles", "__pycache__")
    shutil.copytree(ROOT / "tests" / "subjects" / "spins", place, ignore=ignored)
    subprocess.run(["git", "init", "--quiet"], cwd=place, check=True)
    return load_project(start=place, environ=dict(os.environ))


@pytest.fixture(scope="module")
def build(project: Project, shared_cache: Path) -> Build:
    return Builder(project, cache=shared_cache).build(profile=Profile.PROFILING)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return create_run(tmp_path / "profiles", "profile", {})


def cpu_seconds(project: Project, build: Build, names: tuple[str, ...], size: int) -> list[float]:
    """CPU seconds per call of workloads, timed in turn."""
    spent: list[list[float]] = [[] for _ in names]
    with worker(spec_for(project, build)) as running:
        arms = []
        for name in names:
            arm = running.prepare(project.config.workloads[name], size, which="call")
            arms.append((arm, running.calibrate(arm, batch_s=5e-3)))
        for _ in range(60):
            for times, (arm, calls) in zip(spent, arms, strict=True):
                timed = running.time(arm, calls)
                times.append(timed.cpu_s / timed.calls)
    return [statistics.median(times) for times in spent]


def take(project: Project, build: Build, run: Run, name: str, size: int) -> tuple[Capture, Split]:
    (capture,) = profile_workload(
        project, name, size, build=build, run=run, names=["perf"], rate=499, duration=4.0
    )
    layers = analyse.layers_for(build, project.config.layers)
    return capture, analyse.split_unchecked(capture, run, layers)


def shares_of_cpu(split: Split) -> Mapping[Layer, float]:
    return {
        row.layer: row.seconds / split.on_cpu_s
        for row in split.layers
        if row.layer is not Layer.WAITING
    }


@pytest.mark.parametrize("boundary", [10, 37, 70])
def test_each_layer_is_within_two_points(
    project: Project, build: Build, run: Run, boundary: int
) -> None:
    mixed_s, native_s = cpu_seconds(project, build, ("mixed", "native"), boundary)
    capture, split = take(project, build, run, "mixed", boundary)
    truth = {
        Layer.INTERPRETER: 1 - native_s / mixed_s,
        Layer.CONVERT_IN: native_s / mixed_s * boundary / 100,
        Layer.COMPUTE: native_s / mixed_s * (100 - boundary) / 100,
    }
    found = shares_of_cpu(split)
    # Two points, and what the number of samples leaves open at one standard error in forty.
    slack = POINTS + 2.5 * (0.25 / capture.samples) ** 0.5
    report = {str(layer): (truth.get(layer, 0.0), share) for layer, share in found.items()}
    for layer, expected in truth.items():
        assert found.get(layer, 0.0) == pytest.approx(expected, abs=slack), report
    others = sum(share for layer, share in found.items() if layer not in truth)
    assert others < POINTS, report
    assert capture.unresolved_share is not None
    assert capture.unresolved_share < 0.02


def test_shares_add_up_to_one_because_waiting_is_a_layer(
    project: Project, build: Build, run: Run
) -> None:
    _, split = take(project, build, run, "threaded", 20)
    assert sum(row.share for row in split.layers) == pytest.approx(1.0, abs=1e-12)
    assert sum(row.seconds for row in split.layers) == pytest.approx(split.call_s, rel=1e-12)


def test_the_time_of_worker_threads_is_joined_to_waiting(
    project: Project, build: Build, run: Run
) -> None:
    """The caller sleeps while two threads work; what they do is known by its turns."""
    capture, split = take(project, build, run, "threaded", 20)
    boundary_turns, work_turns = 20_000, 2 * 400 * 80_000
    truth = work_turns / (boundary_turns + work_turns)
    found = split.workers_s / (split.workers_s + split.on_cpu_s)
    assert found == pytest.approx(truth, abs=0.03)
    compute = next(row for row in split.workers if row.layer is Layer.COMPUTE)
    assert compute.seconds / split.workers_s > 0.97
    assert split.share(Layer.WAITING) > 0.95
    # Samples and the process's own clock agree, or the capture would carry this note.
    assert "coverage" not in [note.id for note in capture.notes], capture.reason


def test_threads_too_short_to_be_sampled_are_noticed(
    project: Project, build: Build, run: Run
) -> None:
    """Threads that live for a part of a sampling period never get a sample: no table then."""
    capture, _ = take(project, build, run, "short_lived", 20)
    assert not capture.accepted
    assert "of the process's CPU time" in capture.reason
    assert "coverage" in [note.id for note in capture.notes]

"""One build of the stable interface in every Python that perfkit supports: it loads, perf sees both
sides of the boundary and py-spy the Python side.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from perfkit import _engine
from perfkit.config import Project, load_project
from perfkit.errors import ToolError
from perfkit.profile import analyse, perf
from perfkit.profile.profilers import profile
from perfkit.records import Build, Capture, Layer, Profile
from perfkit.store import Run, create_run
from perfkit.subject.builder import Builder
from perfkit.subject.child import spec_for, worker
from perfkit.subject.job import job_for

pytestmark = pytest.mark.beside

VERSIONS = ("3.11", "3.12", "3.13")


def find(version: str, environ: dict[str, str]) -> Path | None:
    """An interpreter of this version; pyenv's own, because its shims run only what is chosen."""
    root = Path(environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = [*sorted((root / "versions").glob(f"{version}.*/bin/python{version}"), reverse=True)]
    on_path = shutil.which(f"python{version}", path=environ.get("PATH"))
    found += [Path(on_path)] if on_path else []
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    for path in found:
        done = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return path
    return None


@pytest.fixture(scope="module")
def project(spins_subject: Path, environ: dict[str, str]) -> Project:
    return load_project(start=spins_subject, environ=environ)


@pytest.fixture(scope="module")
def build(project: Project, shared_cache: Path) -> Build:
    return Builder(project, cache=shared_cache).build(profile=Profile.PROFILING)


@pytest.fixture(params=VERSIONS)
def interpreted(
    request: pytest.FixtureRequest, project: Project, environ: dict[str, str]
) -> tuple[str, Project]:
    """The project with another interpreter, and its version."""
    return request.param, with_python(project, request.param, environ)


def with_python(project: Project, version: str, environ: dict[str, str]) -> Project:
    """The project with an interpreter of this version."""
    python = find(version, environ)
    if python is None:
        message = f"there is no Python {version}, neither pyenv's nor on PATH"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    subject = project.config.subject.model_copy(update={"python": python})
    config = project.config.model_copy(update={"subject": subject})
    return dataclasses.replace(project, config=config)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return create_run(tmp_path / "profiles", "profile", {})


def test_a_build_is_loaded_and_profiled_in_each_python(
    interpreted: tuple[str, Project], build: Build, run: Run
) -> None:
    version, project = interpreted
    with worker(spec_for(project, build)) as running:
        assert running.loaded.python.startswith(f"{version}.")

    def take(profiler: str) -> tuple[Capture, list[tuple[tuple[str, ...], int]]]:
        (capture,) = profile(
            job_for(project, "native", None, run, build=build),
            37,
            names=[profiler],
            rate=199,
            duration=0.6,
        )
        return capture, _engine.read_folded(run.directory / capture.files["folded"]).stacks()

    capture, _ = take("perf")
    split = analyse.split_of(capture, run, analyse.layers_for(build))
    assert split.seconds(Layer.COMPUTE) > split.seconds(Layer.CONVERT_IN) > 0
    assert capture.unresolved_share is not None
    assert capture.unresolved_share < 0.02
    _, stacks = take("py-spy")
    assert any("workloads.py" in frame for stack, _ in stacks for frame in stack)


def test_python_and_rust_are_in_one_stack_from_3_13_on(
    project: Project,
    build: Build,
    run: Run,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    newer = with_python(project, "3.13", environ)
    before = set(Path("/tmp").glob("jit*"))

    def take() -> Capture:
        (capture,) = profile(
            job_for(newer, "mixed_20us", None, run, build=build),
            3050,
            names=["perf"],
            rate=499,
            duration=0.6,
            python_frames=True,
        )
        return capture

    capture = take()
    notes = {note.id: note.text for note in capture.notes}
    assert "perf_jit" in notes, notes
    # Used where both costs together are shown to be small; else drawn beside the plain capture.
    kind = "merged_folded" if "merged_unused" in notes else "folded"
    stacks = _engine.read_folded(run.directory / capture.files[kind]).stacks()
    joined = [(stack, count) for stack, count in stacks if is_joined(stack)]
    assert sum(count for _, count in joined) > 0.5 * sum(count for _, count in stacks)
    layers = analyse.layers_for(build)
    found = {layers.classify(stack[1:]) for stack, _ in stacks}
    assert {Layer.COMPUTE, Layer.CONVERT_IN, Layer.INTERPRETER} <= found
    assert {layers.classify(stack[1:]) for stack, _ in joined} & {Layer.COMPUTE, Layer.CONVERT_IN}
    # What the interpreter and perf leave in the common folder is removed.
    assert set(Path("/tmp").glob("jit*")) <= before

    def fail(*_: object, **__: object) -> None:
        message = "perf cannot inject"
        raise ToolError(message, remedy="another perf")

    monkeypatch.setattr(perf, "_merged", fail)
    plain = take()
    assert "not_merged" in {note.id for note in plain.notes}
    assert not any(kind.startswith("merged") for kind in plain.files)


def is_joined(stack: tuple[str, ...]) -> bool:
    """Whether the Python function that calls the extension is above the extension's own."""
    python = [i for i, frame in enumerate(stack) if frame.startswith("py::mixed:")]
    rust = [i for i, frame in enumerate(stack) if "spins::" in frame]
    return bool(python and rust) and max(python) < min(rust)

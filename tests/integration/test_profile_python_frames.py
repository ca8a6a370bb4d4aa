"""One stack of Python and Rust, from the first CPython that can tell perf of its functions."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from perfkit import _engine
from perfkit.config import load_project
from perfkit.errors import ToolError
from perfkit.profile import analyse, perf
from perfkit.profile.engine import profile_workload
from perfkit.records import Capture, Layer, Profile
from perfkit.store import create_run
from perfkit.subject.build import Builder

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]


def newer_python() -> Path:
    """A CPython of 3.13: the one on PATH, or one of pyenv's; a shim may stand for none."""
    named = shutil.which("python3.13")
    kept = sorted(Path.home().glob(".pyenv/versions/3.13.*/bin/python3.13"))
    for candidate in (*([Path(named)] if named else []), *kept):
        asked = [candidate, "-c", "import sys; print(sys.executable)"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return Path(done.stdout.strip())
    if not os.environ.get("CI"):
        pytest.skip("there is no python3.13 on PATH")
    pytest.fail("there is no python3.13 on PATH, and CI must have one")


def test_python_and_rust_are_in_one_stack(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ROOT / "target" / "perfkit-test-subjects" / "spins-newer"
    shutil.rmtree(place, ignore_errors=True)
    ignored = shutil.ignore_patterns("target", "profiles", "__pycache__")
    shutil.copytree(ROOT / "tests" / "subjects" / "spins", place, ignore=ignored)
    config = place / "perfkit.toml"
    named = f'manifest = "Cargo.toml"\npython = "{newer_python()}"'
    config.write_text(config.read_text().replace('manifest = "Cargo.toml"', named))
    subprocess.run(["git", "init", "--quiet"], cwd=place, check=True)
    project = load_project(start=place, environ=dict(os.environ))
    build = Builder(project, cache=shared_cache).build(profile=Profile.PROFILING)
    run = create_run(tmp_path / "profiles", "profile", {})

    def take() -> Capture:
        (capture,) = profile_workload(
            project,
            "mixed",
            37,
            build=build,
            run=run,
            names=["perf"],
            rate=499,
            duration=0.6,
            python_frames=True,
        )
        return capture

    before = set(Path("/tmp").glob("jit*"))
    capture = take()
    notes = {note.id: note.text for note in capture.notes}
    assert "perf_jit" in notes, notes
    # Used where both costs together are shown to be small; else drawn beside the plain capture.
    kind = "merged_folded" if "merged_unused" in notes else "folded"
    stacks = _engine.read_folded(run.directory / capture.files[kind]).stacks()
    joined = [
        (stack, count)
        for stack, count in stacks
        if any(frame.startswith("py::mixed:") for frame in stack)
        and any("spins::" in frame for frame in stack)
    ]
    total = sum(count for _, count in stacks)
    assert sum(count for _, count in joined) > 0.5 * total
    layers = analyse.layers_for(build, project.config.layers)
    for stack, _ in joined:
        names = [frame.startswith("py::mixed:") for frame in stack]
        rust = next(index for index, frame in enumerate(stack) if "spins::" in frame)
        assert names.index(True) < rust
    found = {layers.classify(stack[1:]) for stack, _ in stacks}
    assert {Layer.COMPUTE, Layer.CONVERT_IN, Layer.INTERPRETER} <= found
    assert set(Path("/tmp").glob("jit*")) <= before

    def fail(*_: object, **__: object) -> None:
        message = "perf cannot inject"
        raise ToolError(message, remedy="another perf")

    monkeypatch.setattr(perf, "_merged", fail)
    plain = take()
    assert "not_merged" in {note.id for note in plain.notes}
    assert dataclasses.replace(plain).files["folded"].name == "mixed-37.perf.folded"

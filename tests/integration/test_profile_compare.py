"""Two runs of the real profiler, compared: what changed is found, and nothing where nothing did."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from perfkit.config import load_project
from perfkit.profile import compare_captures as compare
from perfkit.profile.profilers import profile
from perfkit.records import Profile, ProfileReport
from perfkit.run_files import PROFILE
from perfkit.store import Run, create_run
from perfkit.subject.builder import Builder
from perfkit.subject.job import job_for

if TYPE_CHECKING:
    from pathlib import Path


def test_a_change_between_two_runs_is_found_and_none_where_there_is_none(
    spins_subject: Path, shared_cache: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    """The second run is the same again, the third does twice the work at the boundary."""
    project = load_project(start=spins_subject, environ=environ)
    build = Builder(project, cache=shared_cache).build(profile=Profile.PROFILING)
    runs = []
    for call in ("native", "native", "slower"):
        workload = project.config.workloads["native"]
        changed = workload.model_copy(update={"call": f"workloads.py:{call}"})
        config = project.config.model_copy(update={"workloads": {"native": changed}})
        run = create_run(tmp_path, "profile", {"fingerprint": {}, "config": []})
        job = job_for(dataclasses.replace(project, config=config), "native", None, run, build=build)
        (capture,) = profile(job, 37, names=["perf"], rate=499, duration=4.0)
        PROFILE.save(run, ProfileReport(captures=(capture,)))
        runs.append(run)
    first, same, slower = runs

    def compared(after: Run) -> compare.ComparedCaptures:
        pairs, notes = compare.pair_runs(first, after)
        return compare.compare_pairs(pairs, notes, first.id, after.id).captures[0]

    assert not any(row.significant for row in compared(same).frames)
    found = compared(slower)
    assert found.whole.significant
    assert found.frames[0].significant
    assert found.frames[0].change.low > 0
    # Twice the work at the boundary, which was 37 of hundred turns.
    assert 0.25 < found.whole.change.estimate / found.whole.before_s < 0.5

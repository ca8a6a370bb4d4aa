"""The split by layer against a subject whose split is known (tests/subjects/spins): the short form.

About 2000 samples a mix leave chance more room than the promised two points (`known_split.allowed`:
four points for a half, three and a half for a fifth). `make truth` runs known_splits.py, which
takes enough samples for two points and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import known_split
import pytest

from perfkit.config import Project, load_project
from perfkit.profile.perf_record import PERF
from perfkit.profile.sigprof import SIGPROF
from perfkit.records import Build, Layer, Profile
from perfkit.store import Run, create_run
from perfkit.subject.builder import Builder

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.profile.perf_session import Tool


pytestmark = pytest.mark.truth


@pytest.fixture(scope="module")
def project(spins_subject: Path, environ: dict[str, str]) -> Project:
    return load_project(start=spins_subject, environ=environ)


@pytest.fixture(scope="module")
def build(project: Project, shared_cache: Path) -> Build:
    return Builder(project, cache=shared_cache).build(profile=Profile.PROFILING)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return create_run(tmp_path / "profiles", "profile", {})


@pytest.mark.parametrize(
    ("length", "size", "tool"),
    [
        ("5us", 3050, PERF),
        ("20us", 1070, PERF),
        ("200us", 6020, PERF),
        ("20us", 1070, SIGPROF),
        ("200us", 6020, SIGPROF),
    ],
    ids=["perf-5us", "perf-20us", "perf-200us", "sigprof-20us", "sigprof-200us"],
)
def test_each_layer_of_a_call_is_where_its_time_is(
    project: Project, build: Build, run: Run, length: str, size: int, tool: Tool
) -> None:
    known = known_split.asked(
        lambda: known_split.take_known(
            project, build, run, f"mixed_{length}", size, seconds=4.0, rate=499, tool=tool
        )
    )
    capture = known.capture
    assert not known_split.faults(capture, known.split), capture.notes
    known_split.check_parts(known, capture.samples / capture.design_effect)
    known_split.check_bounds(known)
    assert capture.unresolved_share is not None
    assert capture.unresolved_share < 0.02


def joined(project: Project, build: Build, run: Run, tool: Tool) -> known_split.Known:
    """The caller computes 40 % of the work, two threads 35 and 25 % of it."""
    return known_split.asked(
        lambda: known_split.take_known(
            project, build, run, "joined_2000us", 3050, seconds=4.0, rate=251, tool=tool
        )
    )


def test_caller_and_workers_are_told_apart_and_each_layer_is_where_its_time_is(
    project: Project, build: Build, run: Run
) -> None:
    known = joined(project, build, run, PERF)
    assert not known_split.faults(known.capture, known.split), known.capture.notes
    known_split.check_parts(known, known.split.samples / known.capture.design_effect)
    known_split.check_workers(known)
    known_split.check_bounds(known)


def test_bounds_hold_what_a_timer_at_the_tick_misses_of_workers(
    project: Project, build: Build, run: Run
) -> None:
    known_split.check_bounds(joined(project, build, run, SIGPROF))


def test_a_caller_that_sleeps_is_waiting_with_the_time_of_its_workers_beside_it(
    project: Project, build: Build, run: Run
) -> None:
    capture, split = known_split.take(project, build, run, "threaded", 20, seconds=4.0, rate=127)
    compute = next(row for row in split.workers if row.layer is Layer.COMPUTE)
    assert compute.seconds / split.workers_s > 0.97
    assert split.share(Layer.WAITING) > 0.95
    assert sum(row.share.estimate for row in split.layers) == pytest.approx(1.0, abs=1e-12)
    assert sum(row.seconds for row in split.layers) == pytest.approx(split.call_s, rel=1e-12)
    # Samples and the process's own clock agree.
    assert "coverage" not in known_split.faults(capture, split), capture.doubts


def test_threads_too_short_to_be_sampled_leave_room_in_every_bound(
    project: Project, build: Build, run: Run
) -> None:
    """Threads that live for a part of a sampling period never get a sample."""
    capture, split = known_split.take(
        project, build, run, "short_lived", 20, seconds=4.0, rate=251, tool=SIGPROF
    )
    assert "coverage" in [note.id for note in capture.notes]
    missing = capture.doubts.missing
    assert missing > 0.1
    for row in split.layers:
        room = row.share.high - row.share.estimate
        if row.layer is Layer.WAITING:
            room = row.share.estimate - row.share.low
        assert room >= min(missing, row.share.estimate)

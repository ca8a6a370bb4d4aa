"""The split by layer against a subject whose split is known, with enough samples for the promise:
each layer within two points, in calls of about 5, 20 and 200 microseconds, also with two workers.

Ten thousand samples leave a right split 1.65 points of chance once in a thousand layers. Only
captures that perfkit believes count. Takes minutes and needs a machine with room, so it belongs to
`make truth` and not to `make test`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import known_split
import pytest

from perfkit.config import Project, load_project
from perfkit.records import Build, Profile
from perfkit.store import create_run
from perfkit.subject.builder import Builder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from perfkit.stacks.split import Split

pytestmark = pytest.mark.truth

SAMPLES = 10_000
SECONDS = 7.0
RATE_HZ = 499
TRIES = 30
"""Captures of one mix at the most: a busy machine has few that are believed, and calls that hand
work to threads are only sampled at low rates.
"""
DEAR = {"200us": 0.10}
"""The cost that is allowed where the promised 2 % cannot be had: perf is switched with each thread,
and a call of 200 µs that hands work to two of them is made 3 % slower at 127 samples/s and still
2 % at 61 (2026-11, three threads on 2 vCPU). perfkit refuses such captures as it is configured;
their split must be right all the same.
"""
DEAR_RATE_HZ = 127


@pytest.fixture(scope="module")
def project(spins_subject: Path, environ: dict[str, str]) -> Project:
    return load_project(start=spins_subject, environ=environ)


@pytest.fixture(scope="module")
def build(project: Project, shared_cache: Path) -> Build:
    return Builder(project, cache=shared_cache).build(profile=Profile.PROFILING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What believed captures of one mix have together, and the truth taken before each of them: two
    processes of one build differ in speed by more than the clocks' own error.
    """

    truth: Mapping[str, float]
    found: Mapping[str, float]
    splits: tuple[Split, ...]

    @property
    def samples(self) -> int:
        """All samples of the calling thread."""
        return sum(split.samples for split in self.splits)


def look(
    project: Project,
    build: Build,
    folder: Path,
    workload: str,
    length: str,
    size: int,
    *,
    rate: int = RATE_HZ,
) -> Seen:
    """Captures of one mix until those that are believed have the samples."""
    splits: list[Split] = []
    truths: list[Mapping[str, float]] = []
    why = []
    for _ in range(TRIES):
        truth = known_split.true_shares(project, build, length, size, of=workload)
        # Each begins at the rate asked for: within a run it would go on at what one settled on.
        run = create_run(folder / "profiles", "profile", {})
        capture, split = known_split.take(
            project, build, run, f"{workload}_{length}", size, seconds=SECONDS, rate=rate
        )
        why.append(capture.reason)
        if not capture.accepted:
            continue
        truths.append(truth)
        splits.append(split)
        samples = sum(split.samples for split in splits)
        if samples >= SAMPLES:
            parts = [known_split.found_parts(split) for split in splits]
            weights = [split.samples / samples for split in splits]
            return Seen(
                truth=_mean(truths, weights), found=_mean(parts, weights), splits=tuple(splits)
            )
    raise AssertionError("\n".join(why))


def _mean(rows: Sequence[Mapping[str, float]], weights: Sequence[float]) -> dict[str, float]:
    return {
        name: sum(row[name] * weight for row, weight in zip(rows, weights, strict=True))
        for name in rows[0]
    }


@pytest.mark.parametrize("size", [3050, 1070, 6020, 545])
@pytest.mark.parametrize("length", ["5us", "20us", "200us"])
def test_each_layer_is_within_two_points(
    project: Project, build: Build, tmp_path: Path, length: str, size: int
) -> None:
    seen = look(project, build, tmp_path, "mixed", length, size)
    known_split.check_parts(seen.truth, seen.found, seen.samples, exactly=known_split.POINTS)


@pytest.mark.parametrize(("length", "size"), [("200us", 3050), ("2000us", 3050), ("2000us", 1070)])
def test_each_layer_is_within_two_points_beside_two_workers(
    project: Project, build: Build, tmp_path: Path, length: str, size: int
) -> None:
    rate = RATE_HZ
    if length in DEAR:
        rate = DEAR_RATE_HZ
        profiling = project.config.profiling.model_copy(update={"slowdown_limit": DEAR[length]})
        config = project.config.model_copy(update={"profiling": profiling})
        project = dataclasses.replace(project, config=config)
    seen = look(project, build, tmp_path, "joined", length, size, rate=rate)
    known_split.check_parts(seen.truth, seen.found, seen.samples, exactly=known_split.POINTS)
    for split in seen.splits:
        known_split.check_workers(project, build, length, size, split)

"""A recorded run of the bundled kernel, replayed: the same trials to the same end.

`tests/data/tune/kernel/trials.jsonl` was recorded on a busy machine with two cores, without
sentinels, at most 40 blocks per size: its intervals are wide, and it ends where noise must end.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest
from tune_replay import ReplayEvaluator

from perfkit.config import Kind, Parameter, Tune
from perfkit.records import TrialOutcome, TuneHeader, TuneStatus
from perfkit.run_files import TRIALS
from perfkit.store import Run
from perfkit.tune.log import Journal
from perfkit.tune.loop import Loop, Settings, World
from perfkit.tune.search import GridSearch

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.records import Trial

PARAMETERS = {
    "PARALLEL_THRESHOLD_SMALL": Parameter(
        kind=Kind.THRESHOLD, priority=1, first_step=8_000, sizes=(10_000,)
    ),
    "PARALLEL_THRESHOLD_MEDIUM": Parameter(
        kind=Kind.THRESHOLD, priority=2, first_step=150_000, sizes=(100_000, 1_000_000)
    ),
    "CHUNK_SIZE_L1": Parameter(kind=Kind.GRAIN, priority=3, first_step=512),
    "UNROLL_FACTOR": Parameter(kind=Kind.CATEGORICAL, priority=4, first_step=8),
}


NOT_RECORDED = {
    "reference_s": None,
    "met": None,
    "valid_blocks": 0,
    "blocks": 0,
    "pattern": "hot",
    "contended_speedup": None,
    "baseline_s": None,
    "against_workload": None,
}
"""What a size of a trial tells beside the figures of the record, which is older."""


@pytest.fixture
def recorded(repository: Path, tmp_path: Path) -> tuple[Trial, ...]:
    """The recorded trials."""
    source = repository / "tests" / "data" / "tune" / "kernel" / TRIALS.name
    run = Run(directory=tmp_path / "recorded")
    for line in source.read_text(encoding="utf-8").splitlines():
        trial = json.loads(line)
        trial["sizes"] = [{**NOT_RECORDED, **size} for size in trial["sizes"]]
        run.append(TRIALS.name, trial)
    return TRIALS.load(run)


def replayed(recorded: tuple[Trial, ...], directory: Path, stagnation: int = 3) -> Loop:
    """The loop around the record."""
    start = recorded[0].params
    journal = Journal(Run(directory=directory), str)
    journal.begin(TuneHeader(workload="call_price_plain", key={}, start=start))
    return Loop(
        evaluator=ReplayEvaluator(recorded),
        strategy=GridSearch(start=start, parameters=PARAMETERS, base_grid={}, extended_grid={}),
        journal=journal,
        settings=Settings(
            workload="call_price_plain",
            start=start,
            main_size=10_000,
            limits=Tune(max_iterations=4, profile_every=3, stagnation_iterations=stagnation),
        ),
        world=World(clock=lambda: 0.0, now=lambda: "", progress=lambda _text, _share: None),
    )


def test_the_recorded_run_replays_to_its_own_trials(
    recorded: tuple[Trial, ...], tmp_path: Path
) -> None:
    report = replayed(recorded, tmp_path / "again").run()
    assert report.status is TuneStatus.KEPT
    assert "without a sure gain of 1 %" in report.reason
    assert report.best_params == recorded[0].params
    blank = [dataclasses.replace(trial, timestamp="") for trial in recorded]
    assert list(report.trials) == blank
    assert all(trial.outcome is TrialOutcome.OK for trial in report.trials)


def test_a_looser_rule_would_have_ended_it_earlier(
    recorded: tuple[Trial, ...], tmp_path: Path
) -> None:
    report = replayed(recorded, tmp_path / "again", stagnation=2).run()
    assert [trial.iteration for trial in report.trials] == [0, 1, 2]


def test_the_start_is_shown_without_a_change_against_itself(
    recorded: tuple[Trial, ...], tmp_path: Path
) -> None:
    """Trial 0 saw its own copy run 0.90 times as fast at 1k: noise, and no result."""
    report = replayed(recorded, tmp_path / "again").run()
    assert recorded[0].sizes[0].change.high < 1
    assert {one.change.estimate for one in report.confirmed} == {1.0}
    assert [one.met for one in report.confirmed] == [None, False, False, False]

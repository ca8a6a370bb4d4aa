"""The whole loop on recorded runs: what is tried, when it ends, and what is claimed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from tune_tables import (
    LIMITS,
    PARAMETERS,
    START,
    Clock,
    bench,
    numbered,
    row,
    sizes,
    steps,
)

from perfkit.errors import BuildError, StoreError, UsageError, WrongResultError
from perfkit.records import RUN_VERSION, Interval, ModuleFile, TrialOutcome, TuneHeader, TuneStatus
from perfkit.report.words import note_place
from perfkit.run_files import TRIAL_SUMMARY, TRIALS
from perfkit.store import Run
from perfkit.tune import space
from perfkit.tune.conclusions import closing_notes
from perfkit.tune.log import Journal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.records import Value
    from perfkit.tune.evaluator import Prepared

GRID = {"SMALL": (5_000, 8_000, 10_000, 15_000)}
EIGHT = {10_000: 1.525, 100_000: 0.79, 1_000_000: 0.98}


def test_the_campaign_ends_at_its_main_size_and_names_the_trade_off(tmp_path: Path) -> None:
    made = bench(tmp_path, [row({}, 1.0), row({"SMALL": 8_000}, EIGHT)], base_grid=GRID)
    report = made.loop.run()
    assert steps(report) == [
        ("start", "ok", {}),
        ("recommended", "ok", {"SMALL": 8_000}),
    ]
    assert report.status is TuneStatus.SUCCESS
    assert "the target of the main size, 10k, is met" in report.reason
    assert "still missed: 100k" in report.reason
    assert (report.best_iteration, report.best_params) == (1, {**START, "SMALL": 8_000})
    assert [note_place(note) for note in report.notes if note.id == "trade_off"] == [
        "price at 100k",
        "price at 1M",
    ]
    assert made.evaluator.asked[-2:] == ["prepare 1", "confirm trial_001_fresh"]
    assert [(one.size, one.met) for one in report.confirmed] == [
        (10_000, True),
        (100_000, False),
        (1_000_000, True),
    ]
    assert report.recommendation is not None
    assert (report.recommendation.size, report.recommendation.value) == (10_000, 8_000)


def test_every_target_is_success_whatever_the_main_size(tmp_path: Path) -> None:
    good = {10_000: 1.5, 100_000: 1.1, 1_000_000: 1.0}
    report = bench(tmp_path, [row({}, 1.0), row({"SMALL": 8_000}, good)]).loop.run()
    assert (report.status, report.best_iteration) == (TuneStatus.SUCCESS, 1)
    assert "every target is met by the lower bound" in report.reason


def test_a_target_is_met_by_the_lower_bound_alone(tmp_path: Path) -> None:
    """0.915x +-2 % reaches 0.9 by its estimate only: no success, and the search goes on."""
    rows = [
        row({}, 1.0),
        row({"SMALL": 8_000}, {10_000: 1.5, 100_000: 1.1, 1_000_000: 1.0}, half=0.02),
        *(row({"SMALL": value}, 1.0) for value in (5_000, 10_000, 15_000)),
        *(row({"SMALL": 8_000, "CHUNK": value}, 1.0) for value in (512, 256)),
        row({"SMALL": 4_000}, 1.0),
    ]
    report = bench(tmp_path, rows, base_grid=GRID).loop.run()
    assert report.status is not TuneStatus.SUCCESS
    assert len(report.trials) > 2


def test_stagnation_after_three_trials_without_a_sure_gain_keeps_the_start(tmp_path: Path) -> None:
    rows = [row({}, 1.0), *(row({"SMALL": value}, 1.002) for value in (8_000, 5_000, 10_000))]
    rows += [row({"CHUNK": 512}, 1.001)]
    report = bench(tmp_path, rows, base_grid=GRID).loop.run()
    assert len(report.trials) == 4
    assert report.status is TuneStatus.KEPT
    assert "without a sure gain of 1 %" in report.reason
    assert (report.best_iteration, report.best_params) == (0, START)
    assert all(one.change.estimate == 1.0 for one in report.confirmed)


def test_stagnation_after_a_gain_ends_with_the_confirmed_best(tmp_path: Path) -> None:
    none: dict[int, float] = {}
    rows = [
        row({}, 1.0, targets=none),
        *(row({"SMALL": value}, 1.1, targets=none) for value in (5_000, 8_000, 10_000, 15_000)),
    ]
    report = bench(tmp_path, rows, base_grid=GRID).loop.run()
    assert report.status is TuneStatus.STAGNATION
    assert report.best_iteration == 1, "a tie goes to the earlier trial"
    assert [trial.iteration for trial in report.trials] == [0, 1, 2, 3, 4]
    assert report.recommendation is None, "without targets nothing is recommended"
    assert {trial.stage for trial in report.trials[1:]} == {"base_grid"}


def test_degradation_when_every_trial_is_surely_slower_than_the_best(tmp_path: Path) -> None:
    rows = [
        row({}, 1.0, targets={}),
        row({"SMALL": 5_000}, 1.2, targets={}),
        *(row({"SMALL": value}, 0.9, targets={}) for value in (8_000, 10_000, 15_000)),
    ]
    report = bench(tmp_path, rows, base_grid=GRID).loop.run()
    assert report.status is TuneStatus.DEGRADATION
    assert report.best_iteration == 1
    assert report.reason.startswith("3 measured trials in a row were surely slower than trial 1")


def test_max_iterations_counts_candidates_and_not_the_start(tmp_path: Path) -> None:
    rows = [row({}, 1.0, targets={})]
    rows += [
        row({"SMALL": value}, 1.0 + 0.05 * place, targets={})
        for place, value in enumerate((5_000, 8_000, 10_000), start=1)
    ]
    limits = LIMITS.model_copy(update={"max_iterations": 2})
    report = bench(tmp_path, rows, base_grid=GRID, limits=limits).loop.run()
    assert report.status is TuneStatus.MAX_ITERATIONS
    assert (len(report.trials), report.best_iteration, report.evaluations) == (3, 2, 3)


def test_the_extended_grid_follows_the_base_grid(tmp_path: Path) -> None:
    grid = {"SMALL": (5_000, 30_000)}
    extended = {"SMALL": (8_000, 5_000), "CHUNK": (1_024, 512)}
    wanted = [
        {"SMALL": 5_000},
        {"SMALL": 8_000},
        {"SMALL": 8_000, "CHUNK": 512},
        {"SMALL": 5_000, "CHUNK": 512},
    ]
    rows = [row({}, 1.0, targets={})]
    rows += [
        row(params, 1.0 + 0.1 * place, targets={}) for place, params in enumerate(wanted, start=1)
    ]
    report = bench(tmp_path, rows, base_grid=grid, extended_grid=extended).loop.run()
    assert [step[2] for step in steps(report)[1:]] == wanted, "nothing twice, nor the start"
    assert [step[0] for step in steps(report)[1:]] == ["base_grid", *["extended_grid"] * 3]
    assert report.status is TuneStatus.STAGNATION
    assert "all candidates were tried (4 trials)" in report.reason


def test_recommendations_build_on_the_best_trial(tmp_path: Path) -> None:
    """A first step that helps 10k is kept while 100k, the worst size then, gets its own."""
    targets = {10_000: 1.2, 100_000: 1.2, 1_000_000: 1.2}
    rows = [
        row({}, 1.0, targets=targets),
        row({"SMALL": 8_000}, {10_000: 1.9, 100_000: 1.0, 1_000_000: 1.0}, targets=targets),
        row(
            {"SMALL": 8_000, "MEDIUM": 150_000},
            {10_000: 2.0, 100_000: 1.3, 1_000_000: 1.0},
            targets=targets,
        ),
    ]
    report = bench(tmp_path, rows).loop.run()
    assert [step[2] for step in steps(report)] == [
        {},
        {"SMALL": 8_000},
        {"SMALL": 8_000, "MEDIUM": 150_000},
    ]
    assert report.status is TuneStatus.SUCCESS


def test_a_start_that_meets_every_target_is_left_alone(tmp_path: Path) -> None:
    made = bench(tmp_path, [row({}, 1.0, targets={10_000: 0.5, 100_000: 0.9})])
    report = made.loop.run()
    assert (report.status, report.best_iteration) == (TuneStatus.SUCCESS, 0)
    assert made.evaluator.asked == ["prepare 0", "measure trial_000"]


def test_a_success_that_is_not_confirmed_is_none(tmp_path: Path) -> None:
    lucky = row({"SMALL": 8_000}, EIGHT)
    rows = [row({}, 1.0), lucky, *(row({"SMALL": v}, 1.0) for v in (5_000, 10_000, 15_000))]
    rows += [row({"CHUNK": 512}, 1.0), row({"SMALL": 24_000}, 1.0), row({"SMALL": 8_000}, EIGHT)]
    again = {space.key(lucky.params): sizes(dict.fromkeys(EIGHT, 1.001))}
    report = bench(tmp_path, rows, base_grid=GRID, confirmations=again).loop.run()
    assert report.status is TuneStatus.KEPT
    assert report.best_params == START
    note = next(note for note in report.notes if note.id == "not_confirmed")
    assert "not when measured afresh: 0.611x [0.608, 0.614] at 10k, of 0.9x" in note.text
    assert note.where == "trial 1"


def test_a_lucky_trial_is_no_longer_what_others_are_compared_with(tmp_path: Path) -> None:
    """Trial 1 is 1.5x by luck and 1.0x afresh; the next three gain 5 % each over the start."""
    targets = {10_000: 0.9}
    lucky = row({"SMALL": 5_000}, EIGHT, targets=targets)
    values = (8_000, 10_000, 15_000)
    rows = [row({}, 1.0, targets=targets), lucky]
    rows += [row({"SMALL": value}, 1.05, targets=targets) for value in values]
    again = {space.key(lucky.params): sizes(dict.fromkeys(EIGHT, 1.001), targets)}
    made = bench(tmp_path, rows, base_grid=GRID, confirmations=again, parameters={})
    report = made.loop.run()
    assert report.status is TuneStatus.STAGNATION
    assert "all candidates were tried" in report.reason
    assert report.best_iteration == 2
    assert [one.change.estimate for one in report.confirmed] == [1.05] * 3


def test_a_lucky_trial_stays_found_out_after_an_interruption(tmp_path: Path) -> None:
    targets = {10_000: 0.9}
    lucky = row({"SMALL": 5_000}, EIGHT, targets=targets)
    rows = [row({}, 1.0, targets=targets), lucky, row({"SMALL": 8_000}, 1.05, targets=targets)]
    again = {space.key(lucky.params): sizes(dict.fromkeys(EIGHT, 1.001), targets)}
    grid = {"SMALL": (5_000, 8_000)}
    limits = LIMITS.model_copy(update={"max_iterations": 1})
    first = bench(tmp_path, rows, base_grid=grid, confirmations=again, parameters={}, limits=limits)
    assert first.loop.run().status is TuneStatus.KEPT
    second = bench(tmp_path, rows, base_grid=grid, confirmations=again, parameters={}, begin=False)
    header = TuneHeader(workload="price", key={"sources": "abc"}, start=START)
    report = second.loop.run(second.journal.resume(header))
    assert report.best_iteration == 2
    assert "confirm trial_001_fresh" not in second.evaluator.asked


def test_a_gain_that_misses_its_target_afresh_stays_the_best(tmp_path: Path) -> None:
    lucky = row({"SMALL": 8_000}, EIGHT)
    again = {space.key(lucky.params): sizes({10_000: 1.4, 100_000: 1.0, 1_000_000: 1.0})}
    limits = LIMITS.model_copy(update={"max_iterations": 1})
    made = bench(tmp_path, [row({}, 1.0), lucky], confirmations=again, limits=limits)
    report = made.loop.run()
    assert (report.status, report.best_iteration) == (TuneStatus.MAX_ITERATIONS, 1)
    assert [one.met for one in report.confirmed] == [False, False, True]


def test_success_asks_for_the_targets_alone_and_names_every_loss(tmp_path: Path) -> None:
    """The main size meets its target; the mean over all sizes is surely below the start's."""
    change = {10_000: 1.525, 100_000: 0.79, 1_000_000: 0.79}
    report = bench(tmp_path, [row({}, 1.0), row({"SMALL": 8_000}, change)]).loop.run()
    assert (report.status, report.best_iteration) == (TuneStatus.SUCCESS, 1)
    notes = {(note.id, note_place(note)): note.text for note in report.notes}
    assert "not_confirmed" not in {name for name, _ in notes}
    for size in ("100k", "1M"):
        text = notes["trade_off", f"price at {size}"]
        assert text.startswith("confirmed, but surely slower")
        assert text.endswith("0.790x [0.786, 0.794]")
    assert "not surely faster than the starting values: 0.984x" in notes["no_gain_over_all", ""]


def test_a_mean_gain_below_the_noise_floor_is_said_to_be_that(tmp_path: Path) -> None:
    gain = Interval(estimate=1.15, low=1.03, high=1.25)
    size = dataclasses.replace(sizes({10_000: 1.0})[0], change=gain)
    rows = [row({}, 1.0), row({"SMALL": 8_000}, EIGHT)]
    trials = bench(tmp_path, rows, base_grid=GRID).loop.run().trials
    (note,) = closing_notes((), (size,), trials[1], 0.17)
    assert "values by more than the noise floor of 17.0 %: 1.150x [1.030, 1.250]" in note.text


def test_a_best_within_the_noise_when_measured_afresh_keeps_the_start(tmp_path: Path) -> None:
    rows = [row({}, 1.0, targets={}), row({"SMALL": 5_000}, 1.05, targets={})]
    again = {space.key(rows[1].params): sizes(dict.fromkeys(EIGHT, 1.02), {}, half=0.03)}
    grid = {"SMALL": (5_000,)}
    report = bench(tmp_path, rows, base_grid=grid, confirmations=again).loop.run()
    assert (report.status, report.best_iteration) == (TuneStatus.KEPT, 0)
    assert "within the noise" in report.reason


def test_a_gain_below_the_noise_floor_is_none(tmp_path: Path) -> None:
    rows = [row({}, 1.0, targets={}), row({"SMALL": 5_000}, 1.02, targets={}, half=0.001)]
    grid = {"SMALL": (5_000,)}
    quiet = bench(tmp_path / "quiet", rows, base_grid=grid, noise_floor=0.01).loop.run()
    noisy = bench(tmp_path / "noisy", rows, base_grid=grid, noise_floor=0.03).loop.run()
    assert (quiet.best_iteration, noisy.best_iteration) == (1, 0)
    assert noisy.status is TuneStatus.KEPT


@pytest.mark.parametrize(
    "outcome",
    [
        TrialOutcome.BUILD_FAILED,
        TrialOutcome.CRASHED,
        TrialOutcome.TIMED_OUT,
        TrialOutcome.WRONG_RESULT,
        TrialOutcome.NOT_APPLIED,
    ],
)
def test_one_bad_candidate_is_an_outcome_and_three_end_the_run(
    tmp_path: Path, outcome: TrialOutcome
) -> None:
    bad = [
        row({"SMALL": value}, outcome=outcome, reason=f"broken at {value}", targets={})
        for value in (5_000, 8_000, 10_000)
    ]
    start, good = row({}, 1.0, targets={}), row({"SMALL": 15_000}, 1.2, targets={})
    grid = {"SMALL": (5_000, 8_000, 15_000)}
    once = bench(tmp_path / "two", [start, *bad[:2], good], base_grid=grid).loop.run()
    assert [trial.outcome for trial in once.trials] == [
        TrialOutcome.OK,
        outcome,
        outcome,
        TrialOutcome.OK,
    ]
    assert "broken at 5000" in once.trials[1].reason
    assert (once.status, once.best_iteration) == (TuneStatus.STAGNATION, 3)
    thrice = bench(tmp_path / "three", [start, *bad, good], base_grid=GRID).loop.run()
    assert (thrice.status, thrice.best_params) == (TuneStatus.FAILED, None)
    assert len(thrice.trials) == 4


def test_a_broken_start_is_an_error_and_no_trial(tmp_path: Path) -> None:
    for outcome, kind in (
        (TrialOutcome.BUILD_FAILED, BuildError),
        (TrialOutcome.WRONG_RESULT, WrongResultError),
    ):
        made = bench(tmp_path, [row({}, outcome=outcome, reason="no")])
        with pytest.raises(kind):
            made.loop.run()
        assert not (tmp_path / TRIALS.name).exists()


def test_equal_machine_code_is_not_measured_again_and_names_the_dead_parameter(
    tmp_path: Path,
) -> None:
    rows = [
        row({}, 1.0, targets={}),
        row({"CHUNK": 512}, 9.9, targets={}, code="30000/200000/1024"),
        row({"SMALL": 5_000}, 1.0, targets={}),
    ]
    extended = {"CHUNK": (512, 2_048), "SMALL": (30_000, 5_000)}
    made = bench(tmp_path, rows, extended_grid=extended)
    report = made.loop.run()
    assert [step[1:] for step in steps(report)[1:]] == [
        ("same_code", {"CHUNK": 512}),
        ("ok", {"SMALL": 5_000}),
    ], "a dead parameter stays as it was at the start"
    assert "measure trial_001" not in made.evaluator.asked
    assert report.dead_parameters == ("CHUNK",)
    assert "dead_parameter" in [note.id for note in report.notes]


def test_source_text_of_equal_code_is_not_called_dead(tmp_path: Path) -> None:
    start = dataclasses.replace(row({}, 1.0, targets={}), params={**START, "CHUNK": "L1 / 32"})
    same = row({}, 1.0, targets={})
    found = [start, dataclasses.replace(same, outcome=TrialOutcome.SAME_CODE)]
    from perfkit.tune.conclusions import dead_parameters

    assert start.signature == same.signature
    assert dead_parameters(numbered(found), START) == ()


def test_a_proof_of_death_is_enough(tmp_path: Path) -> None:
    rows = [row({}, 1.0, targets={}), row({"CHUNK": 512}, 1.0, targets={}, dead=["CHUNK"])]
    report = bench(tmp_path, rows, base_grid={"CHUNK": (512, 256)}).loop.run()
    assert report.dead_parameters == ("CHUNK",)
    assert len(report.trials) == 2, "256 differs from the start in a dead parameter alone"


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (TrialOutcome.BUSY, TuneStatus.BUSY),
        (TrialOutcome.UNTRUSTED, TuneStatus.UNTRUSTED),
    ],
)
def test_a_machine_without_room_gives_no_verdict(
    tmp_path: Path, outcome: TrialOutcome, status: TuneStatus
) -> None:
    at_once = bench(tmp_path / "start", [row({}, 1.0, outcome=outcome)]).loop.run()
    assert (at_once.status, at_once.best_params, at_once.trials[0].sizes) == (status, None, ())
    rows = [row({}, 1.0, targets={})]
    rows += [row({"SMALL": v}, 1.5, outcome=outcome) for v in (5_000, 8_000, 10_000)]
    later = bench(tmp_path / "later", rows, base_grid=GRID).loop.run()
    assert (later.status, later.best_params, later.confirmed) == (status, None, ())


def test_every_third_trial_is_profiled_at_the_worst_size(tmp_path: Path) -> None:
    frames = ({"frame": "price_one", "share": 0.6},)
    rows = [row({}, 1.0), row({"SMALL": 8_000}, 1.0), row({"CHUNK": 512}, 1.0)]
    rows.append(row({"SMALL": 5_000}, 1.0))
    rows[3] = dataclasses.replace(rows[3], profile=frames, files={"flame": "flame/x.svg"})
    made = bench(tmp_path, rows, base_grid=GRID, profile_every=3)
    report = made.loop.run()
    assert [asked for asked in made.evaluator.asked if "profile" in asked] == [
        "profile trial_003 at 10000"
    ]
    assert report.trials[3].profile == frames
    assert TRIALS.load(made.run)[3].files == {"flame": "flame/x.svg"}


def test_no_trial_begins_that_would_end_after_the_time_limit(tmp_path: Path) -> None:
    """A trial takes 14 s (10 to build, 4 to measure), and a confirmation 4 s.

    The clock moves by 14 s whenever the loop looks at it, once before each trial: at 14, 28 and
    42 s. A trial begun at 28 s would be confirmed by 46 s; one begun at 42 s not before 60 s.
    """
    rows = [row({}, 1.0, targets={})]
    rows += [row({"SMALL": v}, 1.0 + v / 1e5, targets={}) for v in (5_000, 8_000, 10_000, 15_000)]
    made = bench(tmp_path, rows, base_grid=GRID, time_limit_s=50.0, clock=Clock(14.0))
    report = made.loop.run()
    assert report.status is TuneStatus.MAX_ITERATIONS
    assert "the time limit of 50 s" in report.reason
    assert len(report.trials) - 1 == 2
    assert report.best_iteration == 2


def test_the_start_says_how_long_the_first_candidate_will_take(tmp_path: Path) -> None:
    """18 s are expected: 10 to build, 4 to measure, 4 to confirm; 14 s have passed."""
    rows = [row({}, 1.0, targets={}), row({"SMALL": 5_000}, 1.1, targets={})]
    grid = {"SMALL": (5_000,)}
    tried = {
        limit: len(
            bench(
                tmp_path / str(limit),
                rows,
                base_grid=grid,
                time_limit_s=limit,
                clock=Clock(14.0),
            )
            .loop.run()
            .trials
        )
        for limit in (31.0, 33.0)
    }
    assert tried == {31.0: 1, 33.0: 2}


def test_the_build_of_the_best_trial_is_handed_over(tmp_path: Path) -> None:
    rows = [row({}, 1.0, targets={}), row({"SMALL": 5_000}, 1.1, targets={})]
    rows.append(row({"SMALL": 8_000}, 1.0, targets={}))
    made = bench(tmp_path, rows, base_grid={"SMALL": (5_000, 8_000)})
    prepare = made.evaluator.prepare

    def built(params: Mapping[str, Value]) -> Prepared:
        path = Path(f"/cache/{params['SMALL']}.so")
        module = ModuleFile(path=path, sha256=str(params["SMALL"]))
        return dataclasses.replace(prepare(params), module=module)

    made.evaluator.prepare = built  # type: ignore[method-assign]
    report = made.loop.run()
    assert report.best_build == ModuleFile(path=Path("/cache/5000.so"), sha256="5000")


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    rows = [row({}, 1.0, targets={})]
    rows += [row({"SMALL": v}, 1.0 + v / 1e5, targets={}) for v in (5_000, 8_000, 10_000, 15_000)]
    whole = bench(tmp_path / "whole", rows, base_grid=GRID).loop.run()
    killed = bench(
        tmp_path / "killed",
        rows,
        base_grid=GRID,
        limits=LIMITS.model_copy(update={"max_iterations": 2}),
    )
    killed.loop.run()
    with (killed.run.directory / TRIALS.name).open("a") as stream:
        stream.write('{"iteration": 3, "params": {"SMA')  # the kill came in the middle of a line
    again = bench(tmp_path / "killed", rows, base_grid=GRID, begin=False)
    header = TuneHeader(workload="price", key={"sources": "abc"}, start=START)
    report = again.loop.run(again.journal.resume(header))
    resumed, *others = report.notes
    same = dataclasses.replace(report, wall_s=0, notes=tuple(others))
    assert same == dataclasses.replace(whole, wall_s=0)
    assert resumed.id == "resumed"
    assert "neither the total time nor the time limit counts" in resumed.text
    assert "the 3 trials before the interruption took 42 s" in resumed.text
    assert "measure trial_000" not in again.evaluator.asked
    assert "measure trial_001" not in again.evaluator.asked
    assert [trial.iteration for trial in TRIALS.load(again.run)] == [0, 1, 2, 3, 4]


def test_busy_trials_are_made_again_after_an_interruption(tmp_path: Path) -> None:
    busy = row({"SMALL": 5_000}, 1.2, outcome=TrialOutcome.BUSY)
    rows = [row({}, 1.0, targets={}), busy]
    grid = {"SMALL": (5_000,)}
    bench(tmp_path, rows, base_grid=grid).loop.run()
    rows[1] = row({"SMALL": 5_000}, 1.2, targets={})
    again = bench(tmp_path, rows, base_grid=grid, begin=False)
    header = TuneHeader(workload="price", key={"sources": "abc"}, start=START)
    report = again.loop.run(again.journal.resume(header))
    assert [(trial.iteration, trial.outcome) for trial in report.trials] == [
        (0, TrialOutcome.OK),
        (2, TrialOutcome.OK),
    ]


@pytest.mark.parametrize(
    ("header", "what"),
    [
        (TuneHeader(workload="other", key={"sources": "abc"}, start=START), "the workload"),
        (TuneHeader(workload="price", key={"sources": "xyz"}, start=START), "sources"),
        (
            TuneHeader(workload="price", key={"sources": "abc", "toolchain": "1"}, start=START),
            "toolchain",
        ),
        (
            TuneHeader(workload="price", key={"sources": "abc"}, start={**START, "SMALL": 1}),
            "the starting values",
        ),
    ],
)
def test_another_run_is_not_gone_on_with(tmp_path: Path, header: TuneHeader, what: str) -> None:
    bench(tmp_path, [row({}, 1.0)])
    with pytest.raises(UsageError, match=f"{what} changed since it began"):
        Journal(Run(directory=tmp_path), str).resume(header)


def test_a_run_without_a_journal_cannot_be_resumed(tmp_path: Path) -> None:
    header = TuneHeader(workload="price", key={}, start=START)
    with pytest.raises(StoreError, match="holds no journal"):
        Journal(Run(directory=tmp_path), str).resume(header)


def test_the_summary_is_one_flat_line_per_trial_for_pandas(tmp_path: Path) -> None:
    made = bench(tmp_path, [row({}, 1.0), row({"SMALL": 8_000}, EIGHT)])
    made.loop.run()
    frame = pd.read_json(tmp_path / TRIAL_SUMMARY.name, lines=True)
    assert list(frame["iteration"]) == [0, 1]
    assert frame["performance"][1]["10000"] == pytest.approx(0.61 * 1.525)
    assert frame["change_100000_high"][1] == pytest.approx(0.79 * 1.005)
    whole = pd.read_json(tmp_path / TRIALS.name, lines=True)
    assert list(whole["outcome"]) == ["ok", "ok"]
    document = json.loads((tmp_path / "iterations" / "iter_001_SMALL8000.json").read_text())
    assert (document["schema_version"], document["iteration"]) == (RUN_VERSION, 1)
    assert (tmp_path / "iterations" / "iter_000_start.json").exists()


def test_what_was_not_recorded_is_never_guessed(tmp_path: Path) -> None:
    made = bench(tmp_path, [row({}, 1.0, targets={})], base_grid=GRID)
    with pytest.raises(StoreError, match="no trial with"):
        made.loop.run()


def test_an_interrupt_leaves_the_finished_trials(tmp_path: Path) -> None:
    rows = [row({}, 1.0, targets={}), row({"SMALL": 5_000}, 1.2, targets={})]
    made = bench(tmp_path, rows, base_grid=GRID)
    measure = made.evaluator.measure

    def interrupted(prepared: object, *, label: str, fresh: bool) -> object:
        if len(TRIALS.load(made.run)) == 1:
            raise KeyboardInterrupt
        return measure(prepared, label=label, fresh=fresh)  # type: ignore[arg-type]

    made.evaluator.measure = interrupted  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyboardInterrupt):
        made.loop.run()
    assert [trial.iteration for trial in TRIALS.load(made.run)] == [0]


def test_what_would_be_tried_is_listed_without_building(tmp_path: Path) -> None:
    from perfkit.tune.search import GridSearch

    search = GridSearch(
        start=START,
        parameters=PARAMETERS,
        base_grid={"SMALL": (8_000, 30_000)},
        extended_grid={"SMALL": (8_000,), "CHUNK": (512, 1_024)},
    )
    listed = [
        {name: v for name, v in candidate.params.items() if START[name] != v}
        for candidate in search.listed()
    ]
    assert listed == [
        {"SMALL": 8_000},
        {"MEDIUM": 150_000},
        {"CHUNK": 512},
        {"SMALL": 8_000, "CHUNK": 512},
    ]

"""The parts of the tuner one by one: scores, grids, keys, budgets, the table of hot frames."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tune_tables import START, around, row, sizes

from perfkit.config import Measure, Tune
from perfkit.errors import UnreadableOutputError
from perfkit.measure.ratios import is_faster, is_slower
from perfkit.records import Interval
from perfkit.tune import space
from perfkit.tune.frames import hottest
from perfkit.tune.live import LEAST_SECONDS_PER_SIZE, quick_enough
from perfkit.tune.log import summary
from perfkit.tune.score import UNCHANGED, gain, mean, meets, score, score_floor

if TYPE_CHECKING:
    from pathlib import Path


def test_a_score_is_the_geometric_mean_and_never_narrower_than_its_sizes() -> None:
    found = score(sizes({10_000: 2.0, 100_000: 0.5, 1_000_000: 1.0}, half=0.01))
    assert found.estimate == pytest.approx(1.0)
    assert math.log(found.high / found.low) == pytest.approx(math.log(1.01 / 0.99))
    with pytest.raises(ValueError, match="no ratios"):
        mean([])


def test_a_gain_over_an_uncertain_best_is_less_certain_than_either() -> None:
    one, other = around(1.10, 0.01), around(1.05, 0.01)
    found = gain(one, other)
    assert found.estimate == pytest.approx(1.10 / 1.05)
    width = math.log(found.high / found.low)
    assert math.log(one.high / one.low) < width < 2 * math.log(one.high / one.low)
    assert gain(one, UNCHANGED).low == pytest.approx(one.low)
    assert gain(UNCHANGED, one).high == pytest.approx(1 / one.low)


def test_a_ratio_must_clear_one_and_the_noise_floor() -> None:
    sure = Interval(estimate=1.01, low=1.005, high=1.015)
    assert is_faster(sure, None)
    assert is_faster(sure, 0.009)
    assert not is_faster(sure, 0.011)
    slow = Interval(estimate=0.99, low=0.985, high=0.995)
    assert is_slower(slow, 0.005)
    assert not is_slower(slow, 0.02)
    assert not is_faster(Interval(estimate=1.2, low=0.99, high=1.4), None)


def test_the_floor_of_a_score_is_the_mean_of_the_sizes_floors_as_the_score_is() -> None:
    three = sizes({10_000: 1.1, 100_000: 1.1, 1_000_000: 1.1})
    floors = (0.005, 0.005, 0.13)
    known = [replace(size, noise_floor=floor) for size, floor in zip(three, floors, strict=True)]
    found = score_floor(known)
    assert found == pytest.approx((1.005 * 1.005 * 1.13) ** (1 / 3) - 1)
    # One noisy size does not drown a gain that all of them show.
    assert is_faster(score(known), found)
    assert not is_faster(score(known), 0.13)
    assert score_floor([*known[:2], three[2]]) is None
    assert score_floor([]) is None


def test_a_target_without_a_reference_is_missed_and_without_a_target_nothing_is() -> None:
    met, missed, none = row(
        {}, {10_000: 1.6, 100_000: 0.9}, targets={10_000: 0.9, 100_000: 1.0}
    ).sizes[:2] + sizes({1_000_000: 1.0}, {})
    assert (meets(met), meets(missed), meets(none)) == (True, False, None)


def test_values_of_another_type_are_other_values() -> None:
    assert space.key({"a": 1, "b": 2}) == space.key({"b": 2, "a": 1})
    assert len({space.key({"a": value}) for value in (1, 1.0, True, "1")}) == 4
    assert space.difference({"a": 1, "b": 2}, {"a": True, "c": 3}) == ("a", "b", "c")


def test_a_grid_is_all_combinations_with_the_last_one_running_fastest() -> None:
    points = space.grid_points(START, {"SMALL": (1, 2), "CHUNK": (3, 4)})
    assert [(point["SMALL"], point["CHUNK"]) for point in points] == [
        (1, 3),
        (1, 4),
        (2, 3),
        (2, 4),
    ]
    assert list(space.grid_points(START, {})) == []
    assert all(
        point["MEDIUM"] == START["MEDIUM"] for point in space.grid_points(START, {"SMALL": (1,)})
    )


def test_a_time_limit_shortens_the_measuring_but_not_below_sense() -> None:
    settings = Measure(time_limit_s=20.0)

    def within(seconds: float | None, settings: Measure = settings) -> Measure:
        return quick_enough(settings, Tune(time_limit_s=seconds, max_iterations=10), 4)

    assert within(None) == settings
    assert within(3_600).time_limit_s == 20.0
    assert within(600).time_limit_s == 6.25
    brief = within(60)
    assert brief.time_limit_s == LEAST_SECONDS_PER_SIZE
    assert (settings.sessions, brief.sessions) == (5, 3)
    assert within(60, Measure(time_limit_s=1.0)).time_limit_s == 1.0


def test_a_summary_without_a_reference_says_null() -> None:
    bare = row({}, 1.0)
    line = summary(bare)
    assert set(line["performance"]) == {"10000", "100000", "1000000"}
    assert summary(row({"SMALL": 1}, None))["performance"] == {}


def test_hot_frames_are_counted_with_their_base(tmp_path: Path) -> None:
    folded = tmp_path / "some.folded"
    folded.write_text(
        "main;work;inner 30\nmain;work 10\nmain;recurse;recurse 20\n", encoding="utf-8"
    )
    rows = hottest(folded, "perf", limit=2)
    assert rows == [
        {
            "profiler": "perf",
            "frame": "inner",
            "self_samples": 30,
            "total_samples": 30,
            "self_share": 0.5,
        },
        {
            "profiler": "perf",
            "frame": "recurse",
            "self_samples": 20,
            "total_samples": 20,
            "self_share": pytest.approx(1 / 3),
        },
    ]


def test_a_broken_folded_file_is_named(tmp_path: Path) -> None:
    folded = tmp_path / "broken.folded"
    folded.write_text("main;work\n", encoding="utf-8")
    with pytest.raises(UnreadableOutputError) as caught:
        hottest(folded, "perf")
    assert caught.value.where == str(folded)

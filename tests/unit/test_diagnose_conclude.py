"""What a diagnosis concludes from what was collected, without collecting anything."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from perfkit.config import Backend, Parameter
from perfkit.diagnose import branches, conclude, probes, times
from perfkit.records import (
    DiagnoseVerdict,
    Estimate,
    FfiEstimate,
    Interval,
    Layer,
    LayerTime,
    MeasureVerdict,
    Note,
    Outcome,
    Pattern,
    Place,
    SizeSplit,
)
from perfkit.report.words import note_place


def around(value: float, half: float = 0.01) -> Interval:
    return Interval(estimate=value, low=value - half, high=value + half)


def size_split(
    size: int, *, agree: bool = True, disagree: bool = False, compute: Interval | None = None
) -> SizeSplit:
    share = compute or around(0.95)
    row = LayerTime(layer=Layer.COMPUTE, seconds=1.0, share=share)
    return SizeSplit(
        workload="w",
        size=size,
        call_s=around(1.0),
        layers=(row,),
        ffi=FfiEstimate(
            share=None,
            agree=agree,
            disagree=disagree,
            estimators=(Estimate(name="twin", seconds=around(0.1)),),
        ),
    )


def bare(size: int, *, agree: bool = True) -> SizeSplit:
    return dataclasses.replace(size_split(size, agree=agree), layers=())


WIDE, NOTHING = around(0.5, 0.2), around(0.5, 0.4)


@pytest.mark.parametrize(
    ("measured", "splits", "verdict"),
    [
        (MeasureVerdict.OK, [size_split(1), size_split(2)], DiagnoseVerdict.OK),
        (MeasureVerdict.UNCHECKED, [size_split(1)], DiagnoseVerdict.UNCHECKED),
        (MeasureVerdict.OK, [size_split(1), size_split(2, agree=False)], DiagnoseVerdict.UNCHECKED),
        (MeasureVerdict.UNTRUSTED, [size_split(1)], DiagnoseVerdict.UNTRUSTED),
        (MeasureVerdict.UNTRUSTED, [bare(1)], DiagnoseVerdict.UNTRUSTED),
        (
            # A size without a profile does not hide that others disagree.
            MeasureVerdict.OK,
            [bare(1), size_split(2, agree=False, disagree=True)],
            DiagnoseVerdict.DISAGREE,
        ),
        (MeasureVerdict.OK, [size_split(1), bare(2)], DiagnoseVerdict.BOUNDED),
        (MeasureVerdict.OK, [size_split(1, compute=WIDE)], DiagnoseVerdict.BOUNDED),
        (
            # One size that says nothing leaves what the other one says.
            MeasureVerdict.OK,
            [size_split(1), size_split(2, agree=False, compute=NOTHING)],
            DiagnoseVerdict.BOUNDED,
        ),
        (MeasureVerdict.OK, [bare(1)], DiagnoseVerdict.BOUNDED),
        (MeasureVerdict.OK, [bare(1, agree=False)], DiagnoseVerdict.BUSY),
        (
            MeasureVerdict.OK,
            [size_split(1, agree=False, compute=NOTHING)],
            DiagnoseVerdict.BUSY,
        ),
        (MeasureVerdict.BUSY, [size_split(1, agree=False)], DiagnoseVerdict.CONTENDED),
        (MeasureVerdict.BUSY, [size_split(1, compute=WIDE)], DiagnoseVerdict.CONTENDED),
        (MeasureVerdict.BUSY, [], DiagnoseVerdict.BUSY),
    ],
)
def test_the_verdict_is_the_worst_of_any_size(
    measured: MeasureVerdict, splits: list[SizeSplit], verdict: DiagnoseVerdict
) -> None:
    assert conclude.verdict_of(measured, splits) is verdict


def test_why_there_are_no_samples_is_said() -> None:
    assert "no profiler" in conclude.why_unsampled(1, [])
    taken = SimpleNamespace(size=1, profiler="py-spy")
    assert "samples of perf and sigprof" in conclude.why_unsampled(1, [taken])  # type: ignore[list-item]


def block(call: float, *, valid: bool = True, inner: float | None = None) -> Any:  # noqa: ANN401
    return SimpleNamespace(
        valid=valid,
        typical_s=lambda _name: call,
        per_call_s={times.INNER: (call, call * 1.1, call)},
        inner_s={} if inner is None else {times.INNER: (inner, inner, inner)},
    )


def point(*blocks: Any) -> Any:  # noqa: ANN401  # stands for results.Point
    return SimpleNamespace(sessions=(blocks,))


def test_what_lies_outside_the_inner_clock_is_taken_block_by_block() -> None:
    found = times.inner_outside(point(*[block(10.0 + i, inner=9.0 + i) for i in range(9)]))
    assert found is not None
    assert found.estimate == pytest.approx(1.0)


def test_disturbed_blocks_and_too_few_of_them_give_no_inner_time() -> None:
    few = [block(10.0, inner=9.0) for _ in range(5)]
    assert times.inner_outside(point(*few)) is None
    disturbed = [block(10.0, inner=9.0, valid=False) for _ in range(20)]
    assert times.inner_outside(point(*disturbed)) is None


def test_delays_are_paired_within_each_valid_block() -> None:
    def delayed(call: float, *, valid: bool = True) -> Any:  # noqa: ANN401
        cost = {"subject+1": call + 1.0, "subject+3": call + 3.0}
        per_call = {"inner_timer+1": (call + 1.0,), "inner_timer+3": (call + 3.0,)}
        return SimpleNamespace(
            valid=valid,
            typical_s=cost.__getitem__,
            per_call_s=per_call,
            inner_s=dict.fromkeys(per_call, (call,)),
        )

    taken = point(delayed(10.0), delayed(99.0, valid=False), delayed(20.0))
    delays = {"1": 1.0, "3": 3.0}
    found = probes.delay_blocks(taken, times.SUBJECT, delays)
    assert found == [[(1.0, 11.0), (3.0, 13.0)], [(1.0, 21.0), (3.0, 23.0)]]
    inner = probes.delay_blocks(taken, times.INNER, delays)
    assert inner == [[(1.0, 1.0), (3.0, 3.0)], [(1.0, 1.0), (3.0, 3.0)]]
    assert min(probes.DELAY_FACTORS) > 0


def test_the_spread_between_blocks_is_a_share_of_the_time() -> None:
    assert times.spread(point(*[block(10.0) for _ in range(9)])) == 0.0
    moving = point(*[block(9.0 + 0.2 * i) for i in range(11)])
    assert times.spread(moving) == pytest.approx(0.07, abs=0.02)


def test_thresholds_that_concern_the_sizes_come_by_priority() -> None:
    parameters = {
        "chunk": Parameter(kind="grain"),
        "late": Parameter(kind="threshold", priority=5),
        "other": Parameter(kind="threshold", priority=1, sizes=(7,)),
        "early": Parameter(kind="threshold", priority=2, sizes=(10,)),
    }
    assert [name for name, _ in branches.thresholds(parameters, [10, 20])] == ["early", "late"]


def test_forced_branches_carry_the_crossover_of_all_sizes() -> None:
    hot = {1_000: around(0.5), 3_000: around(0.9), 10_000: around(1.5), 100_000: around(1.9)}
    idle = {1_000: around(0.3), 3_000: around(0.5), 10_000: around(0.9), 100_000: around(1.9)}
    gains = {Pattern.HOT: hot, Pattern.IDLE: idle}
    found = branches.judged("small", 30_000, gains, sizes=(1_000, 10_000), noise_floor=0.02)
    assert set(found.branches) == {1_000, 10_000}
    assert found.branches[10_000].above_gain == hot[10_000]
    assert found.branches[10_000].noise_floor == 0.02
    crossings = {crossing.pattern: crossing for crossing in found.crossings}
    assert {item.crossover for item in found.branches.values()} == {
        crossings[Pattern.HOT].crossover
    }
    assert (crossings[Pattern.HOT].crossover.low, crossings[Pattern.HOT].crossover.high) == (
        3_000,
        10_000,
    )
    assert crossings[Pattern.IDLE].crossover == found.branches[1_000].idle
    assert crossings[Pattern.IDLE].crossover.low == 10_000
    assert crossings[Pattern.HOT].parameter == "small"


def test_sizes_far_apart_get_a_probe_between() -> None:
    assert branches.probes((10_000, 1_000, 20_000)) == (1_000, 3_162, 10_000, 20_000)
    assert branches.probes((7,)) == (7,)


@pytest.mark.parametrize(
    ("backend", "data", "dead"),
    [(Backend.CONST, "d", True), (Backend.CONST, "e", False), (Backend.ENV, "d", False)],
)
def test_a_constant_that_changes_no_byte_is_dead(backend: Backend, data: str, dead: bool) -> None:
    below: Any = SimpleNamespace(text_sha256="t", data_sha256="d")
    above: Any = SimpleNamespace(text_sha256="t", data_sha256=data)
    assert branches.is_dead(backend, below, above) is dead


def test_a_threshold_that_was_not_forced_has_a_reason_and_no_figure() -> None:
    (crossing,) = branches.not_measured("small", 30_000, "no builds").crossings
    assert (crossing.crossover.outcome, crossing.value) == (Outcome.NOT_MEASURED, 30_000)
    assert crossing.reason == "no builds"


def test_a_note_that_holds_at_several_sizes_is_said_once() -> None:
    small, large, whole = (Place(workload="w", sizes=sizes) for sizes in ((1_000,), (10_000,), ()))
    notes = [
        Note(id="a", text="t", place=small),
        Note(id="b", text="u", place=whole),
        Note(id="a", text="t", place=large),
        Note(id="a", text="t", place=small),
        Note(id="c", text="v"),
        Note(id="b", text="u", place=small),
    ]
    found = conclude.merged(notes)
    assert [(n.id, n.place) for n in found] == [
        ("a", Place(workload="w", sizes=(1_000, 10_000))),
        ("b", whole),
        ("c", None),
    ]
    assert [note_place(n) for n in found] == ["w at 1k, 10k", "w", ""]


def test_every_size_below_or_above_a_forced_threshold() -> None:
    sizes = (1, 1_000_000)
    assert all(size >= branches.ALWAYS_ABOVE for size in sizes)
    assert all(size < branches.BEYOND * max(sizes) for size in sizes)

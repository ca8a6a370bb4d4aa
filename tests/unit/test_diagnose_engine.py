"""What a diagnosis concludes from what was collected, without collecting anything."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from perfkit.config import Parameter
from perfkit.diagnose import branches, engine, times
from perfkit.diagnose.model import Outcome
from perfkit.records import (
    DiagnoseVerdict,
    FfiEstimate,
    Interval,
    Layer,
    LayerTime,
    MeasureVerdict,
    SizeSplit,
)


def around(value: float, half: float = 0.01) -> Interval:
    return Interval(estimate=value, low=value - half, high=value + half)


def size_split(size: int, *, agree: bool = True, layers: bool = True) -> SizeSplit:
    row = LayerTime(layer=Layer.COMPUTE, seconds=1.0, share=1.0, low=0.9, high=1.0)
    return SizeSplit(
        workload="w",
        size=size,
        call_s=around(1.0),
        layers=(row,) if layers else (),
        ffi=FfiEstimate(share=None, low=None, high=None, agree=agree, estimators=()),
    )


def refused(size: int, *, slowdown: Interval | None) -> Any:  # noqa: ANN401
    return SimpleNamespace(size=size, accepted=False, slowdown=slowdown, reason="r", profiler="p")


@pytest.mark.parametrize(
    ("measured", "splits", "captures", "verdict"),
    [
        (MeasureVerdict.OK, [size_split(1), size_split(2)], [], DiagnoseVerdict.OK),
        (MeasureVerdict.UNCHECKED, [size_split(1)], [], DiagnoseVerdict.UNCHECKED),
        (MeasureVerdict.UNTRUSTED, [size_split(1)], [], DiagnoseVerdict.UNCHECKED),
        (
            MeasureVerdict.OK,
            [size_split(1), size_split(2, agree=False)],
            [],
            DiagnoseVerdict.DISAGREE,
        ),
        (
            MeasureVerdict.OK,
            [size_split(1), size_split(2, layers=False)],
            [refused(2, slowdown=around(0.05))],
            DiagnoseVerdict.DISTORTED,
        ),
        (
            MeasureVerdict.OK,
            [size_split(1, layers=False)],
            [],
            DiagnoseVerdict.UNCHECKED,
        ),
        (
            MeasureVerdict.OK,
            [size_split(1, layers=False)],
            # Cheap enough, but refused for another reason, such as too few samples.
            [refused(1, slowdown=around(0.0, 0.01))],
            DiagnoseVerdict.UNCHECKED,
        ),
        (
            MeasureVerdict.OK,
            [size_split(1)],
            # perf was accepted at this size after another profiler was not.
            [refused(1, slowdown=around(0.05))],
            DiagnoseVerdict.OK,
        ),
    ],
)
def test_the_verdict_is_the_worst_of_what_stands_behind_any_size(
    measured: MeasureVerdict, splits: list[SizeSplit], captures: list[Any], verdict: DiagnoseVerdict
) -> None:
    assert engine.verdict_of(measured, splits, captures, slowdown_limit=0.02) is verdict


def test_why_there_are_no_samples_is_said() -> None:
    assert "no profiler" in engine.why_unsampled(1, [])
    assert "p: r" in engine.why_unsampled(1, [refused(1, slowdown=None)])
    taken = SimpleNamespace(size=1, accepted=True, profiler="py-spy", reason="")
    assert "only perf" in engine.why_unsampled(1, [taken])  # type: ignore[list-item]


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
    gains = {1_000: around(0.5), 10_000: around(1.5), 100_000: around(1.9)}
    found = branches.judged("small", 30_000, gains)
    assert found[10_000].above_gain == gains[10_000]
    assert {item.crossover for item in found.values()} == {found[1_000].crossover}
    assert found[1_000].crossover.outcome is Outcome.FOUND


def test_every_size_below_or_above_a_forced_threshold() -> None:
    sizes = (1, 1_000_000)
    assert all(size >= branches.ALWAYS_ABOVE for size in sizes)
    assert all(size < branches.BEYOND * max(sizes) for size in sizes)

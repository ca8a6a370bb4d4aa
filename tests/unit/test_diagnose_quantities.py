"""The three costs beside the FFI, from splits and readings that are known."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from perfkit.diagnose.estimators import Method, SampledCall, unavailable
from perfkit.diagnose.quantities import quantities
from perfkit.records import Covers, Estimate, Interval, Layer, LayerTime, Quantity, QuantityName

CALL_S, SAMPLES, LOOP_S = 100e-6, 10_000, 1e-6


def known(method: Method, seconds: float, covers: Covers = Covers.BOUNDARY) -> Estimate:
    interval = Interval(estimate=seconds, low=seconds - 1e-7, high=seconds + 1e-7)
    return Estimate(name=method, seconds=interval, covers=covers)


def readings(*given: Estimate) -> dict[str, Estimate]:
    nothing = {method: unavailable(method, "not offered") for method in Method}
    return {**nothing, **{reading.name: reading for reading in given}}


SAMPLED = SampledCall(
    layers={
        Layer.CONVERT_IN: 5e-6,
        Layer.ALLOCATION: 6e-6,
        Layer.INTERPRETER: 3e-6,
        Layer.POOL: 4e-6,
        Layer.WAITING: 30e-6,
        Layer.COMPUTE: 52e-6,
    },
    samples=SAMPLES,
    sample_s=CALL_S / SAMPLES,
    boundary_allocation_s=6e-6,
    loop_s=LOOP_S,
)


def split(workers_s: float) -> Any:  # noqa: ANN401  # stands for stacks.split.Split
    rows = tuple(
        LayerTime(
            layer=layer,
            seconds=seconds,
            share=Interval(
                estimate=seconds / CALL_S,
                low=seconds / CALL_S - 0.01,
                high=seconds / CALL_S + 0.02,
            ),
        )
        for layer, seconds in SAMPLED.layers.items()
    )
    return SimpleNamespace(workers_s=workers_s, layers=rows, call_s=CALL_S)


def by_name(found: tuple[Quantity, ...]) -> dict[QuantityName, Quantity]:
    assert [one.name for one in found] == list(QuantityName)
    return {one.name: one for one in found}


def seconds(quantity: Quantity) -> Interval:
    assert quantity.seconds is not None
    assert quantity.seconds.low < quantity.seconds.estimate < quantity.seconds.high
    return quantity.seconds


def test_samples_tell_the_output_and_the_dispatch_from_the_rest() -> None:
    found = by_name(quantities(readings(known(Method.INTERCEPT, 2e-6)), SAMPLED, split(40e-6)))
    assert seconds(found[QuantityName.FIXED]).estimate == 2e-6
    # Memory that the boundary asked for, without what else the interpreter does.
    output = seconds(found[QuantityName.OUTPUT])
    assert output.estimate == pytest.approx(6e-6)
    dispatch = found[QuantityName.DISPATCH]
    assert seconds(dispatch).estimate == pytest.approx(34e-6)
    assert seconds(dispatch).low == pytest.approx(32e-6)
    assert seconds(dispatch).high == pytest.approx(38e-6)
    assert "on a CPU for 40 µs" in dispatch.basis


def test_a_wrapper_in_python_around_a_scalar_call_is_no_output() -> None:
    layers = {Layer.INTERPRETER: 50e-6, Layer.GLUE: 1e-6, Layer.COMPUTE: 49e-6}
    wrapped = dataclasses.replace(SAMPLED, layers=layers, boundary_allocation_s=0.0)
    output = by_name(quantities(readings(), wrapped, None))[QuantityName.OUTPUT].seconds
    assert output is not None
    assert output.high < 0.1e-6
    # A twin has the same wrapper, and is still compared with all that it covers.
    assert wrapped.covering(Covers.BOUNDARY).estimate == pytest.approx(51e-6 - LOOP_S)
    assert wrapped.beside_ffi().estimate == pytest.approx(50e-6 - LOOP_S)


def test_threads_that_did_nothing_are_not_mentioned() -> None:
    found = by_name(quantities(readings(), SAMPLED, split(0.0)))
    assert "on a CPU" not in found[QuantityName.DISPATCH].basis


def test_without_samples_a_twin_and_a_bench_give_the_output() -> None:
    given = readings(known(Method.TWIN, 9e-6), known(Method.BENCH, 5e-6, Covers.FFI))
    found = by_name(quantities(given, None, None))
    assert seconds(found[QuantityName.OUTPUT]).estimate == pytest.approx(4e-6)
    assert "not available" in found[QuantityName.DISPATCH].basis
    assert found[QuantityName.DISPATCH].seconds is None


@pytest.mark.parametrize(
    "given",
    [
        readings(),
        readings(known(Method.TWIN, 9e-6)),
        # This bench makes no output: the difference would be another thing.
        readings(known(Method.TWIN, 9e-6), known(Method.BENCH, 5e-6, Covers.BOUNDARY)),
    ],
)
def test_what_cannot_be_told_has_a_reason(given: dict[str, Estimate]) -> None:
    found = by_name(quantities(given, None, None))
    assert all(one.seconds is None for one in found.values())
    assert all("not available" in one.basis for one in found.values())

"""Three costs besides the FFI, each with its figure or the reason why there is none.

They need other remedies: batching for the fixed cost of a call, reuse for the life cycle of the
output, a threshold for the dispatch to threads. Pure functions of what was
measured.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from perfkit.diagnose.estimators import Method
from perfkit.measure.ratios import combined, difference, mapped
from perfkit.records import Covers, Layer, Quantity, QuantityName
from perfkit.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.diagnose.estimators import SampledCall
    from perfkit.records import Estimate
    from perfkit.stacks.split import Split


def quantities(
    readings: Mapping[str, Estimate], sampled: SampledCall | None, split: Split | None
) -> tuple[Quantity, ...]:
    """The three at one size.

    Args:
        readings: the estimators' answers, by method.
        sampled: what the samples' answer was counted from; None without a usable profile.
        split: the same profile by layer.
    """
    return (_fixed(readings), _output(readings, sampled), _dispatch(split))


def _fixed(readings: Mapping[str, Estimate]) -> Quantity:
    line = readings[Method.INTERCEPT]
    basis = "the line through the small sizes, at zero" if line.seconds else line.reason
    return Quantity(name=QuantityName.FIXED, seconds=line.seconds, basis=basis)


def _output(readings: Mapping[str, Estimate], sampled: SampledCall | None) -> Quantity:
    seconds = None
    basis = (
        "not available: only samples, or a twin and a bench that allocates its output, tell it "
        "from the conversions"
    )
    twin, bench = readings[Method.TWIN], readings[Method.BENCH]
    if sampled is not None:
        seconds = sampled.output()
        basis = (
            "samples: memory requested outside the computation, its first touch and its release; "
            "what the interpreter does beside that is in its own layer"
        )
    elif twin.seconds is not None and bench.seconds is not None and bench.covers is Covers.FFI:
        seconds = difference(twin.seconds, bench.seconds)
        basis = "twin less call_minus_bench: one includes the output, the other does not"
    return Quantity(name=QuantityName.OUTPUT, seconds=seconds, basis=basis)


def _dispatch(split: Split | None) -> Quantity:
    name = QuantityName.DISPATCH
    if split is None:
        basis = "not available: only samples tell it from the work of the threads"
        return Quantity(name=name, seconds=None, basis=basis)
    rows = [row for row in split.layers if row.layer in (Layer.POOL, Layer.WAITING)]
    basis = "samples: pool and waiting of the calling thread"
    if split.workers_s:
        on_cpu = format_seconds(split.workers_s)
        basis += f"; meanwhile other threads were on a CPU for {on_cpu}, which is no loss"
    # Both at one end at once: the two layers' errors are not independent.
    shares = combined([row.share for row in rows], sum)
    away = replace(
        mapped(shares, lambda share: share * split.call_s),
        estimate=sum(row.seconds for row in rows),
    )
    return Quantity(name=name, seconds=away, basis=basis)

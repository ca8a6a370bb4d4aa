"""Three costs that stand beside the FFI, each with its figure or the reason why there is none.

Other remedies help against them: batching against the fixed cost of a call, reuse against the life
cycle of the output, a threshold against the dispatch to threads. Pure functions of what was
measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.diagnose.estimators import Method, difference
from perfkit.records import Covers, Interval, Layer, Quantity, QuantityName
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
        sampled: what stands behind the samples' answer; None without a usable profile.
        split: the same profile by layer.
    """
    return (_fixed(readings), _output(readings, sampled), _dispatch(split))


def _fixed(readings: Mapping[str, Estimate]) -> Quantity:
    line = readings[Method.INTERCEPT]
    basis = "the line through the small sizes, at zero" if line.seconds else line.reason
    return Quantity(name=QuantityName.FIXED, seconds=line.seconds, basis=basis)


def _output(readings: Mapping[str, Estimate], sampled: SampledCall | None) -> Quantity:
    name = QuantityName.OUTPUT
    if sampled is not None:
        basis = (
            "samples: memory that the boundary asked for, its first touch, and the interpreter's "
            "part, in which results are released"
        )
        return Quantity(name=name, seconds=sampled.output(), basis=basis)
    twin, bench = readings[Method.TWIN], readings[Method.BENCH]
    if twin.seconds is not None and bench.seconds is not None and bench.covers is Covers.FFI:
        basis = "twin less call_minus_bench: one includes the output, the other does not"
        return Quantity(name=name, seconds=difference(twin.seconds, bench.seconds), basis=basis)
    basis = (
        "not available: it takes samples, or a twin and a bench that allocates its output, to tell "
        "it from the conversions"
    )
    return Quantity(name=name, seconds=None, basis=basis)


def _dispatch(split: Split | None) -> Quantity:
    name = QuantityName.DISPATCH
    if split is None:
        basis = "not available: only samples tell it from the work of the threads"
        return Quantity(name=name, seconds=None, basis=basis)
    rows = [row for row in split.layers if row.layer in (Layer.POOL, Layer.WAITING)]
    basis = "samples: pool and waiting of the calling thread"
    if split.workers_s:
        basis += (
            f", in which other threads were on a CPU for {format_seconds(split.workers_s)}: what "
            "they computed is no loss"
        )
    away = Interval(
        estimate=sum(row.seconds for row in rows),
        # Both ends at once: the two layers' errors are not independent.
        low=sum(row.share.low for row in rows) * split.call_s,
        high=sum(row.share.high for row in rows) * split.call_s,
    )
    return Quantity(name=name, seconds=away, basis=basis)

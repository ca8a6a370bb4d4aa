"""Six independent ways to the cost of the boundary, each from figures that were measured elsewhere.

Pure arithmetic on seconds. Each answer says what it covers, because a twin cannot tell the
conversion of an argument from the allocation of the output, while sampled stacks can. Whether the
answers agree is decided in `agree`. If the subject cannot offer something, the answer has a reason
in place of a figure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import linear_regression
from typing import TYPE_CHECKING

from perfkit.measure import statistics
from perfkit.measure.ratios import around, difference, mapped, reach, widened
from perfkit.records import FFI_LAYERS, Covers, Estimate, Interval, Layer
from perfkit.stacks import bounds
from perfkit.stacks.intervals import wilson
from perfkit.stacks.split import NO_DOUBTS
from perfkit.units import format_count, format_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.records import Doubts

SMALL_SIZES = (1, 16, 64, 128, 256, 512)
"""Sizes of the intercept's fit: within the first-level cache, below any thread pool's use
(methods: E2).
"""
_MIN_POINTS = 4
_LINEAR_FLOOR_S = 30e-9
_LINEAR_SHARE = 0.15
_SMALL_SHARE = 0.5
"""A point may be this far off the line, absolutely or as a share of its time; beyond that, the
small sizes are not on a line and have no intercept. The smaller half may be off by more, because
that is part of the interval.
"""
_SCALES_FROM = 10.0
_SCALES_BY = 1.2
"""Over a tenfold range of sizes the time must grow by this factor, or the size scales nothing."""
SLOPE_TOLERANCE = 0.05
"""How far from one the response to an injected delay may be (methods: E5)."""
_WITH_OUTPUT = "includes the output's allocation and release"


class Method(StrEnum):
    """The estimators, by the names that reports use."""

    TWIN = "twin"
    INTERCEPT = "intercept"
    INNER_TIMER = "inner_timer"
    BENCH = "call_minus_bench"
    SAMPLES = "sampled_stacks"
    DELAY = "injected_delay"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledCall:
    """A sampled split of one call, in seconds per call on the calling thread.

    Attributes:
        layers: seconds of each layer that was seen.
        samples: that the region has at this rate, whether the thread was on a CPU or not.
        sample_s: seconds per call that one sample stands for.
        boundary_allocation_s: the part of `allocation` and `page_fault` that was requested outside
            compute.
        loop_s: what the timing loop itself takes per call; part of `interpreter`.
        design_effect: of the samples, see `stacks.intervals.design_effect`.
        doubts: what else may be wrong with a share of the samples.
    """

    layers: Mapping[Layer, float]
    samples: float
    sample_s: float
    boundary_allocation_s: float
    loop_s: float
    design_effect: float = 1.0
    doubts: Doubts = NO_DOUBTS

    def interval(self, seconds: float) -> Interval:
        """Seconds per call with the counting error of their samples (Wilson at 95 %), and with what
        else is doubtful about them.
        """
        counted = wilson(seconds / self.sample_s, self.samples, self.design_effect)
        share = bounds.doubtful(counted, self.doubts)
        total = self.samples * self.sample_s
        return Interval(estimate=seconds, low=share.low * total, high=share.high * total)

    def covering(self, covers: Covers) -> Interval:
        """What another estimator of that coverage should have found, by these samples."""
        ffi = sum(self.layers.get(layer, 0.0) for layer in FFI_LAYERS)
        if covers is Covers.FFI:
            return self.interval(ffi)
        return shifted(self.interval(ffi + self._beside_ffi_s()), -self.loop_s)

    def output(self) -> Interval:
        """The life cycle of the output: its memory, and the frames that release it."""
        return self.interval(self.boundary_allocation_s)

    def beside_ffi(self) -> Interval:
        """What a timed estimator includes beside the FFI: the output's life cycle and the
        interpreter's part, in which small objects are released and a wrapper in Python runs; its
        own loop's time is subtracted.
        """
        return shifted(self.interval(self._beside_ffi_s()), -self.loop_s)

    def _beside_ffi_s(self) -> float:
        return self.boundary_allocation_s + self.layers.get(Layer.INTERPRETER, 0.0)


def shifted(interval: Interval, by: float) -> Interval:
    """An interval moved by a constant."""
    return mapped(interval, lambda value: value + by)


def unavailable(method: Method, reason: str, covers: Covers = Covers.BOUNDARY) -> Estimate:
    """What the subject cannot offer: the reason in place of a figure."""
    return Estimate(name=method, seconds=None, covers=covers, reason=f"not available: {reason}")


def _answer(method: Method, seconds: Interval, loop_s: float, reason: str) -> Estimate:
    """What a timed estimator found, minus the time of the timing loop."""
    return Estimate(name=method, seconds=shifted(seconds, -loop_s), reason=reason)


def twin(twin_s: Interval, loop_s: float, *, call_s: Interval) -> Estimate:
    """E1: the call without its work, less the timing loop.

    Args:
        twin_s: time of the no-compute twin, per call.
        loop_s: time of the loop with a call of nothing.
        call_s: time of the call itself: a twin that takes longer does other work.
    """
    if twin_s.low > call_s.high:
        took = f"{format_seconds(twin_s.estimate)} against {format_seconds(call_s.estimate)}"
        reason = f"the twin takes longer than the call ({took}), so it is not the call without work"
        return unavailable(Method.TWIN, reason)
    return _answer(Method.TWIN, twin_s, loop_s, _WITH_OUTPUT)


def scales(times: Mapping[int, Interval]) -> bool:
    """Whether the size scales the work: over a tenfold range the time grows by a fifth."""
    if len(times) < 2:
        return False
    smallest, largest = min(times), max(times)
    if largest < _SCALES_FROM * smallest:
        return True  # too narrow a range to tell
    return times[largest].low > _SCALES_BY * times[smallest].high


def intercept(
    times: Mapping[int, Interval], loop_s: float, *, main: Mapping[int, Interval]
) -> Estimate:
    """E2: what remains of the time as the size goes to zero (Theil and Sen's line).

    Args:
        times: time per call at the small sizes.
        loop_s: time of the loop with a call of nothing.
        main: time per call at the workload's own sizes, to see whether size scales anything.
    """
    method = Method.INTERCEPT
    if len(times) < _MIN_POINTS:
        reason = f"only {len(times)} of the small sizes could be timed; it takes {_MIN_POINTS}"
        return unavailable(method, reason)
    if not scales({**main, **times}):
        return unavailable(method, "the time does not grow with the size")
    from scipy import stats

    sizes = sorted(times)
    values = [times[size].estimate for size in sizes]
    fit = stats.theilslopes(values, sizes, 0.95)
    middle = (sizes[(len(sizes) - 1) // 2] + sizes[len(sizes) // 2]) / 2
    at_zero, slope = float(fit.intercept), float(fit.slope)
    misses = {
        size: abs(value - at_zero - slope * size) for size, value in zip(sizes, values, strict=True)
    }
    small = sizes[: len(sizes) // 2]
    for size, miss in misses.items():
        allowed = _SMALL_SHARE if size in small else _LINEAR_SHARE
        if miss > max(_LINEAR_FLOOR_S, allowed * times[size].estimate):
            away = f"{format_count(size)} is {format_seconds(miss)} off it"
            return unavailable(method, f"the small sizes are not on a line: {away}")
    # The line is known no better at its end than the points there, and no better than it fits them.
    off = math.hypot(max(reach(times[n]) for n in small), max(misses[n] for n in small))
    below = max(0.0, float(fit.high_slope) - slope) * middle
    above = max(0.0, slope - float(fit.low_slope)) * middle
    line = widened(around(at_zero, below, above), off)
    reason = "the part that does not grow with the size, including the output's"
    return _answer(method, line, loop_s, reason)


def inner_timer(outside_s: Interval, loop_s: float) -> Estimate:
    """E3a: the call less what its own clock says about the work.

    Args:
        outside_s: time per call outside the inner clock's region, of the same calls.
        loop_s: time of the loop with a call of nothing.
    """
    reason = f"{_WITH_OUTPUT}, and one reading of the clock"
    return _answer(Method.INNER_TIMER, outside_s, loop_s, reason)


def call_minus_bench(
    call_s: Interval,
    bench_s: Interval,
    loop_s: float,
    *,
    allocates_output: bool,
    other_flags: Sequence[str] = (),
) -> Estimate:
    """E3b: the call less the same work timed by criterion, without Python.

    Args:
        call_s: time per call.
        bench_s: criterion's time per iteration.
        loop_s: time of the loop with a call of nothing.
        allocates_output: whether the bench allocates its output as the call does; it then cancels.
        other_flags: flags in which the bench's rustc lines differ from the call's build: its work
            is then not the call's.
    """
    if other_flags:
        reason = f"the bench was compiled with other flags ({', '.join(other_flags)})"
        return unavailable(Method.BENCH, reason)
    rest = difference(call_s, bench_s)
    if not allocates_output:
        return _answer(Method.BENCH, rest, loop_s, _WITH_OUTPUT)
    found = _answer(Method.BENCH, rest, loop_s, "the bench allocates its output too")
    return replace(found, covers=Covers.FFI)


def sampled_stacks(sampled: SampledCall) -> Estimate:
    """E4: the samples whose stacks are in glue, conversions or GIL."""
    return Estimate(
        name=Method.SAMPLES,
        seconds=sampled.covering(Covers.FFI),
        covers=Covers.FFI,
        reason=f"{sampled.samples:.0f} samples",
    )


class Answer(StrEnum):
    """What the response to an injected delay says of an estimator."""

    HOLDS = "as it should"
    BROKEN = "not one to one"
    UNDECIDED = "not decided, because the interval is too wide"


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """How a figure answers to a delay injected at the boundary; one means that it sees it whole."""

    of: str
    slope: Interval

    @property
    def answer(self) -> Answer:
        """Whether the slope's interval is within 1 ± 5 %, outside it, or crosses a limit."""
        low, high = 1 - SLOPE_TOLERANCE, 1 + SLOPE_TOLERANCE
        if low <= self.slope.low and self.slope.high <= high:
            return Answer.HOLDS
        if self.slope.low > high or self.slope.high < low:
            return Answer.BROKEN
        return Answer.UNDECIDED


def response(of: str, blocks: Sequence[Sequence[tuple[float, float]]]) -> Response | None:
    """E5: the slope of a figure against the injected delay, block by block.

    The delays of one block saw the same machine, so that what moves from block to block cancels.

    Args:
        of: what the figure is.
        blocks: for each block (seconds injected, the figure in seconds), at least two different
            delays.

    Returns:
        None with too few blocks for an interval.

    Raises:
        ValueError: a block has fewer than two different delays.
    """
    if len(blocks) < statistics.LEAST_VALUES:
        return None
    slopes = [linear_regression(*zip(*block, strict=True)).slope for block in blocks]
    return Response(of=of, slope=statistics.rank_interval(slopes))

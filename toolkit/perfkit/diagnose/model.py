"""The size model: what each layer costs per call and per element, and the sizes where one way of
doing the work overtakes another.

Pure functions of measured figures. "No crossover" and "cannot be resolved" are answers.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from perfkit.measure.ratios import around, exactly, is_faster, is_slower
from perfkit.measure.results import LEAST_FLOOR
from perfkit.records import (
    Crossing,
    Crossover,
    Interval,
    Layer,
    LayerCost,
    LinearCost,
    Outcome,
    Pattern,
    SizeModel,
)
from perfkit.stacks.intervals import Z
from perfkit.stacks.split import by_layer
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.records import SizeResult, SizeSplit

LEAST_SIZES = 3
"""Two points fit any line."""
_OFF_THE_LINE = 0.1
"""A line that misses a point by more than this share of it, and by more than the point's interval,
does not hold."""

REFERENCE, SUBJECT = "the reference", "the subject"


def size_model(
    workload: str, splits: Sequence[SizeSplit], crossings: Sequence[Crossing]
) -> SizeModel:
    """Put a line through the call's time and through each layer's, over the sizes.

    A layer has a line where at least three sizes were split; the call where as many were timed.
    """
    call = linear_cost({split.size: split.call_s for split in splits})
    costs = [] if call is None else [LayerCost(layer=None, cost=call)]
    layered = [split for split in splits if split.layers]
    for layer in Layer:
        times = {split.size: _layer_seconds(split, layer) for split in layered}
        if not any(time.estimate > 0 for time in times.values()):
            continue
        found = linear_cost(times)
        if found is not None:
            costs.append(LayerCost(layer=layer, cost=found))
    reason = ""
    if call is None:
        reason = f"a line takes at least {LEAST_SIZES} sizes"
    elif len(layered) < LEAST_SIZES:
        reason = f"fewer than {LEAST_SIZES} sizes were split by layer, so only the call has a line"
    return SizeModel(
        workload=workload,
        sizes=tuple(sorted(split.size for split in splits)) if call is not None else (),
        costs=tuple(costs),
        crossings=tuple(crossings),
        reason=reason,
    )


def _layer_seconds(split: SizeSplit, layer: Layer) -> Interval:
    time = by_layer(split.layers).get(layer)
    if time is None:
        return exactly(0.0)
    share, call = time.share, split.call_s.estimate
    low, high = min(share.low * call, time.seconds), max(share.high * call, time.seconds)
    return Interval(estimate=time.seconds, low=low, high=high)


def linear_cost(times: Mapping[int, Interval]) -> LinearCost | None:
    """Fit a line by least squares, weighted by the points' own intervals.

    Weights are relative to the value too: a point of a microsecond and one of a second both count.
    Points that scatter by more than their intervals say widen those of the line (Birge).

    Returns:
        None with fewer than three sizes.
    """
    if len(times) < LEAST_SIZES:
        return None
    points = sorted(times.items())
    sizes = np.array([size for size, _ in points], dtype=np.float64)
    values = np.array([time.estimate for _, time in points])
    half_widths = np.array([(time.high - time.low) / (2 * Z) for _, time in points])
    sigma = np.maximum(half_widths, np.maximum(0.01 * np.abs(values), 1e-12))
    (slope, fixed), covariance = np.polyfit(sizes, values, 1, w=1 / sigma, cov="unscaled")
    off = values - (fixed + slope * sizes)
    misses = np.abs(off) > np.maximum(_OFF_THE_LINE * np.abs(values), Z * sigma)
    scatter = max(1.0, float(np.sum((off / sigma) ** 2)) / (len(sizes) - 2))
    slope_half, fixed_half = Z * np.sqrt(scatter * np.diag(covariance))
    return LinearCost(
        fixed_s=around(float(fixed), float(fixed_half)),
        per_element_s=around(float(slope), float(slope_half)),
        holds=not bool(misses.any()),
    )


def against_reference(results: Sequence[SizeResult], noise_floor: float | None) -> list[Crossing]:
    """Where the subject overtakes its reference, for each pattern that was measured."""
    found = []
    for pattern in Pattern:
        own = [result for result in results if result.pattern is pattern]
        gains = {result.size: result.speedup for result in own if result.speedup is not None}
        if gains:
            found.append(compared(REFERENCE, SUBJECT, pattern, gains, noise_floor))
    return found


def compared(
    first: str,
    second: str,
    pattern: Pattern,
    gains: Mapping[int, Interval],
    noise_floor: float | None,
) -> Crossing:
    """Two ways of doing the work; the arguments are those of `crossover`."""
    return Crossing(
        first=first,
        second=second,
        pattern=pattern,
        crossover=crossover(gains, noise_floor),
        noise_floor=noise_floor,
    )


def crossover(gains: Mapping[int, Interval], noise_floor: float | None = None) -> Crossover:
    """Find where a ratio passes one.

    Args:
        gains: by size, time of the first way over time of the second: above one means that the
            second is faster.
        noise_floor: what equal builds differ by: a ratio nearer to one than that says nothing, nor
            does one nearer than half a percent.
    """
    floor = max(LEAST_FLOOR, noise_floor or 0.0)
    sizes = sorted(gains)
    faster = tuple(size for size in sizes if is_faster(gains[size], floor))
    slower = tuple(size for size in sizes if is_slower(gains[size], floor))
    undecided = tuple(size for size in sizes if size not in (*faster, *slower))

    found = Crossover(outcome=Outcome.UNRESOLVED, faster=faster, slower=slower, undecided=undecided)
    turns = [
        (one, other)
        for one, other in itertools.pairwise(size for size in sizes if size not in undecided)
        if (one in faster) is not (other in faster)
    ]
    if len(turns) > 1:
        return replace(found, outcome=Outcome.SEVERAL)
    if not turns:
        if undecided or not sizes:
            return found
        return replace(found, outcome=Outcome.ALWAYS if faster else Outcome.NEVER)
    low, high = turns[0]
    rising = high in faster
    sign = 1 if rising else -1
    logs = {s: sign * math.log(gains[s].estimate) for s in sizes if low <= s <= high}
    return replace(
        found,
        outcome=Outcome.FOUND,
        size=_zero_of(logs),
        low=float(low),
        high=float(high),
        rising=rising,
    )


def _zero_of(logs: Mapping[int, float]) -> float:
    """Where the line through the last point below zero and the next one above passes it, over the
    logarithm of the size.
    """
    sizes = sorted(logs)
    below = max(size for size in sizes[:-1] if logs[size] <= 0)
    above = min(size for size in sizes if size > below and logs[size] > 0)
    part = -logs[below] / (logs[above] - logs[below])
    return math.exp(math.log(below) + part * (math.log(above) - math.log(below)))


_SENTENCES = {
    Outcome.ALWAYS: "no crossover: {second} is faster than {first} at every size measured",
    Outcome.NEVER: "no crossover: {second} is slower than {first} at every size measured",
    Outcome.SEVERAL: (
        "there is no single size: {second} is faster than {first} at {faster}, and slower at "
        "{slower}"
    ),
    Outcome.NOT_MEASURED: "{first} and {second} were not measured against each other",
}


def described(found: Crossover, first: str, second: str) -> str:
    """A whole sentence about where `second` overtakes `first`, without its full stop."""
    if found.outcome is Outcome.UNRESOLVED:
        return _unresolved(found, first, second)
    if found.outcome is not Outcome.FOUND:
        return _SENTENCES[found.outcome].format(
            first=first, second=second, faster=_listed(found.faster), slower=_listed(found.slower)
        )
    size = "?" if found.size is None else format_count(_rounded(found.size))
    between = f"between {_listed((found.low, found.high))}"
    if found.rising:
        return f"{second} is faster than {first} from about {size} on ({between})"
    return f"{second} is faster than {first} below about {size} and slower above ({between})"


def _unresolved(found: Crossover, first: str, second: str) -> str:
    apart = "cannot be told apart on this machine"
    if not (found.faster or found.slower):
        return f"{first} and {second} {apart} at any size measured"
    word, sizes = ("faster", found.faster) if found.faster else ("slower", found.slower)
    return (
        f"{second} is {word} than {first} at {_listed(sizes)}; at {_listed(found.undecided)} "
        f"the two {apart}, so whether they cross there is not known"
    )


def _rounded(size: float) -> int:
    """To two digits: no crossover is known better."""
    return int(float(f"{size:.1e}"))


def _listed(sizes: Sequence[float | None]) -> str:
    *most, last = ["?" if size is None else format_count(round(size)) for size in sizes] or [""]
    return f"{', '.join(most)} and {last}" if most else last

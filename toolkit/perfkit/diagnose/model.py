"""The size model: what each layer costs per call and per element, and the sizes where one way of
doing the work overtakes another.

Pure functions of measured figures. "No crossover" and "cannot be resolved" are answers.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

import numpy as np

from perfkit.measure.ratios import is_faster, is_slower
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
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.records import SizeResult, SizeSplit

LEAST_SIZES = 3
"""Two points fit any line."""
_OFF_THE_LINE = 0.1
"""A line that misses a point by this share of it, beyond the point's own interval, is no model."""

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
    for time in split.layers:
        if time.layer is layer:
            call = split.call_s.estimate
            return Interval(
                estimate=time.seconds,
                low=min(time.share.low * call, time.seconds),
                high=max(time.share.high * call, time.seconds),
            )
    return Interval(estimate=0.0, low=0.0, high=0.0)


def linear_cost(times: Mapping[int, Interval]) -> LinearCost | None:
    """Fit a line by least squares, weighted by the points' own intervals.

    Weights are relative to the value too: a point of a microsecond and one of a second both count.
    Points that scatter by more than their intervals say widen those of the line (Birge).

    Returns:
        None with fewer than three sizes.
    """
    if len(times) < LEAST_SIZES:
        return None
    sizes = np.array(sorted(times), dtype=np.float64)
    values = np.array([times[int(size)].estimate for size in sizes])
    sigma = np.array(
        [
            max((times[int(s)].high - times[int(s)].low) / (2 * Z), 0.01 * abs(v), 1e-12)
            for s, v in zip(sizes, values, strict=True)
        ]
    )
    design = np.column_stack([np.ones_like(sizes), sizes]) / sigma[:, None]
    solution, *_ = np.linalg.lstsq(design, values / sigma, rcond=None)
    covariance = np.linalg.inv(design.T @ design)
    off = values - (solution[0] + solution[1] * sizes)
    misses = np.abs(off) > np.maximum(_OFF_THE_LINE * np.abs(values), Z * sigma)
    scatter = max(1.0, float(np.sum((off / sigma) ** 2)) / (len(sizes) - 2))

    def interval(index: int) -> Interval:
        half = Z * math.sqrt(scatter * float(covariance[index, index]))
        value = float(solution[index])
        return Interval(estimate=value, low=value - half, high=value + half)

    return LinearCost(fixed_s=interval(0), per_element_s=interval(1), holds=not bool(misses.any()))


def against_reference(results: Sequence[SizeResult], noise_floor: float | None) -> list[Crossing]:
    """Where the subject overtakes its reference, for each pattern that was measured."""
    found = []
    for pattern in Pattern:
        gains = {
            result.size: result.speedup
            for result in results
            if result.pattern is pattern and result.speedup is not None
        }
        if gains:
            found.append(
                Crossing(
                    first=REFERENCE,
                    second=SUBJECT,
                    pattern=pattern,
                    crossover=crossover(gains, noise_floor),
                    noise_floor=noise_floor,
                )
            )
    return found


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
    decided = [size in faster for size in sizes if size not in undecided]
    turns = sum(one is not other for one, other in itertools.pairwise(decided))
    if turns == 0:
        if undecided or not decided:
            return found
        return replace(found, outcome=Outcome.ALWAYS if decided[0] else Outcome.NEVER)
    if turns > 1:
        return replace(found, outcome=Outcome.SEVERAL)
    rising = decided[-1]
    below, above = (slower, faster) if rising else (faster, slower)
    low, high = max(below), min(above)
    logs = {s: math.log(gains[s].estimate) for s in sizes if low <= s <= high}
    if not rising:
        logs = {size: -value for size, value in logs.items()}
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


def described(found: Crossover, first: str, second: str) -> str:
    """A whole sentence about where `second` overtakes `first`, without its full stop."""
    match found.outcome:
        case Outcome.FOUND:
            size = "?" if found.size is None else format_count(_rounded(found.size))
            between = f"between {_listed((found.low, found.high))}"
            if found.rising:
                return f"{second} is faster than {first} from about {size} on ({between})"
            return (
                f"{second} is faster than {first} below about {size} and slower above ({between})"
            )
        case Outcome.ALWAYS:
            return f"no crossover: {second} is faster than {first} at every size measured"
        case Outcome.NEVER:
            return f"no crossover: {second} is slower than {first} at every size measured"
        case Outcome.SEVERAL:
            return (
                f"there is no single size: {second} is faster than {first} at "
                f"{_listed(found.faster)}, and slower at {_listed(found.slower)}"
            )
        case Outcome.UNRESOLVED:
            return _unresolved(found, first, second)
        case Outcome.NOT_MEASURED:
            return f"{first} and {second} were not measured against each other"
        case _:
            assert_never(found.outcome)


def _unresolved(found: Crossover, first: str, second: str) -> str:
    apart = f"{first} and {second} cannot be told apart on this machine"
    if not (found.faster or found.slower):
        return f"{apart} at any size measured"
    word, sizes = ("faster", found.faster) if found.faster else ("slower", found.slower)
    return (
        f"{second} is {word} than {first} at {_listed(sizes)}; at {_listed(found.undecided)} "
        "the two cannot be told apart on this machine, so whether they cross there is not known"
    )


def _rounded(size: float) -> int:
    """To two digits: no crossover is known better."""
    return int(float(f"{size:.1e}"))


def _listed(sizes: Sequence[float | None]) -> str:
    words = ["?" if size is None else format_count(round(size)) for size in sizes]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"

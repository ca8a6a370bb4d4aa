"""Where to look first: the worst size by gap to its target, and the next value of one parameter.

Pure functions of measured results and of the configuration. Whether a value is any better is for
the loop that tries it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, assert_never

from perfkit.config import Kind
from perfkit.records import Pattern, Recommendation
from perfkit.units import format_count, format_ratio

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from perfkit.config import Parameter
    from perfkit.records import SizeResult, Value

_OTHER_SIDE = 0.8
"""A threshold without a first step moves past the size by this factor: to below the size if that is
under the threshold (10k gives 8_000), and to above it (divided) if that is over it.
"""


_Step = tuple[str, "Value", str]
"""A parameter, the value to try next, and where it comes from."""


def gap(result: SizeResult) -> float | None:
    """`ln(target / speed-up)` by the lower bound, which is what meets a target.

    Returns:
        Above zero where the target is missed; None without a target or without a speed-up.
    """
    if result.target is None or result.speedup is None or result.speedup.low <= 0:
        return None
    return math.log(result.target / result.speedup.low)


def worst(results: Sequence[SizeResult]) -> tuple[SizeResult, float] | None:
    """The result that is farthest from its target, with its gap; None where nothing has one.

    Of two equal gaps the first one counts. The idle pattern is not looked at: a target is a
    promise about calls that follow each other.
    """
    gaps = [
        (result, found)
        for result in results
        if result.pattern is Pattern.HOT and (found := gap(result)) is not None
    ]
    return max(gaps, key=lambda pair: pair[1]) if gaps else None


def recommend(
    results: Sequence[SizeResult],
    parameters: Mapping[str, Parameter],
    *,
    current: Mapping[str, Value],
    tried: Sequence[Mapping[str, Value]] = (),
    grid: Mapping[str, Sequence[Value]] | None = None,
) -> Recommendation | None:
    """The worst size, and the next value of the first parameter that concerns it.

    The parameters are looked at in the order of their `priority`, and only those whose `sizes` name
    the worst size (or are empty). First come the first steps, then the values of the grid in their
    order, then a step that follows from the parameter's kind. A value is passed over when `current`
    with that one value changed was tried already.

    Args:
        results: what was measured with `current`.
        parameters: the parameters of the configuration, by name.
        current: the value of every parameter now; a constant whose initialiser is not a literal
            may be its source text, and has no step that follows from its kind.
        tried: the assignments that were tried before, complete ones.
        grid: values per parameter from the configuration.

    Returns:
        None when no size has both a target and a speed-up. `parameter` is None when every target
        is met, or when there is nothing left to try.
    """
    found = worst(results)
    if found is None:
        return None
    result, distance = found
    place = f"{result.workload} at {format_count(result.size)}"
    parameter, value = None, None
    if distance <= 0:
        reason = f"every target is met; the nearest to its target is {place}"
    else:
        concerned = _concerned(result.size, parameters)
        known = [dict(current), *(dict(candidate) for candidate in tried)]
        steps = _steps(result.size, concerned, current, grid or {})
        nothing = "every value that concerns it was tried"
        if not concerned:
            nothing = "no parameter of the configuration concerns it"
        parameter, value, origin = next(
            (step for step in steps if {**current, step[0]: step[1]} not in known),
            (None, None, nothing),
        )
        reason = f"{place} is farthest from its target ({_against(result)}); {origin}"
    return Recommendation(
        workload=result.workload,
        size=result.size,
        gap=distance,
        parameter=parameter,
        value=value,
        reason=reason,
    )


def _against(result: SizeResult) -> str:
    if result.speedup is None or result.target is None:  # worst() looked at both
        message = "a result without speed-up or target has no distance"
        raise ValueError(message)
    measured = (
        f"{format_ratio(result.speedup.estimate)}, at least {format_ratio(result.speedup.low)}"
    )
    return f"{measured}, wanted {format_ratio(result.target)}"


def _concerned(size: int, parameters: Mapping[str, Parameter]) -> list[tuple[str, Parameter]]:
    """Those that decide this size's time, by priority; equal ones in the order of the config."""
    named = [(n, p) for n, p in parameters.items() if not p.sizes or size in p.sizes]
    return sorted(named, key=lambda item: item[1].priority)


def _steps(
    size: int,
    concerned: Sequence[tuple[str, Parameter]],
    current: Mapping[str, Value],
    grid: Mapping[str, Sequence[Value]],
) -> Iterator[_Step]:
    """What to try: first steps, then the grid, then a step by the parameter's kind."""
    for name, parameter in concerned:
        if parameter.first_step is not None:
            yield name, parameter.first_step, f"the first step of {name}"
    for name, _ in concerned:
        for value in grid.get(name, ()):
            yield name, value, f"the next value of {name}'s grid"
    for name, parameter in concerned:
        step = _step_of_kind(size, parameter.kind, current.get(name))
        if step is not None:
            yield name, step[0], f"{name}: {step[1]}"


def _step_of_kind(size: int, kind: Kind, value: Value | None) -> tuple[int, str] | None:
    """What a parameter without first step and grid is moved to, by what it does."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    match kind:
        case Kind.THRESHOLD if value > size:
            return max(1, round(size * _OTHER_SIDE)), "the branch above the threshold, at this size"
        case Kind.THRESHOLD:
            return round(size / _OTHER_SIDE), "the branch below the threshold, at this size"
        case Kind.GRAIN:
            return (value // 2, "half the grain") if value > 1 else None
        case Kind.INTEGER:
            return (value * 2, "twice the value") if value > 0 else None
        case Kind.CATEGORICAL:
            return None
        case _:
            assert_never(kind)

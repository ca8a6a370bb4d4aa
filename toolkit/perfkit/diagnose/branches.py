"""Both branches of a threshold, forced and timed in the same blocks: where they really cross, with
calls that follow each other and with calls that find the pool asleep.

What this means for the threshold's value is up to the rule in `rules.py`.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from perfkit.config import Backend, Kind
from perfkit.diagnose.model import compared
from perfkit.diagnose.observed import Branches
from perfkit.diagnose.times import brief
from perfkit.measure.plan import Variant
from perfkit.measure.results import LEAST_FLOOR
from perfkit.measure.session import measure
from perfkit.records import Build, Crossing, Crossover, MeasureVerdict, Outcome, Pattern, Role
from perfkit.subject.parameters import assign

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from perfkit.config import Parameter
    from perfkit.measure.results import Measurement
    from perfkit.records import Interval, Value
    from perfkit.subject.job import Job

BELOW, ABOVE, COPY = "below", "above", "copy"
BUDGET_S = 36.0
LIMIT_S = 4.0
"""Seconds that one threshold may take over all its sizes and patterns, and one of them at most."""
WIDTH = 0.02
ALWAYS_ABOVE = 1
BEYOND = 10
"""A threshold of this many times the largest size leaves every size below it."""
PROBE_FROM = 4
"""Two sizes that are this many times apart get a probe at their geometric mean."""
PATTERNS = (Pattern.HOT, Pattern.IDLE)
_WITHHELD = {
    MeasureVerdict.BUSY: "the machine had no room to time the branches",
    MeasureVerdict.UNTRUSTED: "two copies of one build were measured as different",
}
"""Verdicts under which the branches cannot be compared, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forced:
    """What forcing one threshold showed.

    Attributes:
        crossings: one per pattern; with a reason in place of a result where nothing was measured.
        branches: by size, for the rule; sizes between the workload's own are not in it.
    """

    crossings: tuple[Crossing, ...]
    branches: Mapping[int, Branches]


def thresholds(
    parameters: Mapping[str, Parameter], sizes: Sequence[int]
) -> list[tuple[str, Parameter]]:
    """The thresholds that decide any of these sizes, by priority."""
    found = [
        (name, parameter)
        for name, parameter in parameters.items()
        if parameter.kind is Kind.THRESHOLD
        and (not parameter.sizes or set(parameter.sizes) & set(sizes))
    ]
    return sorted(found, key=lambda item: item[1].priority)


def ways(name: str) -> tuple[str, str]:
    """What the two branches of a threshold are called."""
    return f"the branch below {name}", f"the branch above {name}"


def not_measured(name: str, value: Value | None, reason: str) -> Forced:
    """The answer of a threshold whose branches were not timed."""
    first, second = ways(name)
    whole = value if isinstance(value, int) and not isinstance(value, bool) else None
    crossing = Crossing(
        first=first,
        second=second,
        pattern=Pattern.HOT,
        crossover=Crossover(outcome=Outcome.NOT_MEASURED),
        parameter=name,
        value=whole,
        reason=reason,
    )
    return Forced(crossings=(crossing,), branches={})


def probes(sizes: Iterable[int]) -> tuple[int, ...]:
    """The sizes, and one between any two that are far apart."""
    own = sorted(set(sizes))
    between = {
        round(math.sqrt(one * other))
        for one, other in itertools.pairwise(own)
        if other >= PROBE_FROM * one
    }
    return tuple(sorted({*own, *between}))


def force(
    job: Job, name: str, sizes: Sequence[int], start: Mapping[str, Value], *, probed: Sequence[int]
) -> Forced:
    """Time both branches of one threshold, and a copy of one of them for the noise floor.

    Args:
        start: the values of all parameters; this one's must be a whole number.
        probed: sizes to time: the workload's own and some between.

    Raises:
        BuildError: the sources refuse one of the extreme values.
    """
    value = start.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        return not_measured(name, value, f"{name} is not a whole number, so it has no branches")
    beyond = BEYOND * max(probed)
    below = _build(job, name, beyond)
    above = _build(job, name, ALWAYS_ABOVE)
    if is_dead(job.project.config.parameters[name].backend, below, above):
        reason = f"{name} is dead: two extreme values of it give the same machine code"
        return not_measured(name, value, reason)
    variants = (
        (BELOW, Role.SUBJECT, beyond, below),
        (ABOVE, Role.SUBJECT, ALWAYS_ABOVE, above),
        (COPY, Role.COPY, beyond, job.builder.copy(below)),
    )
    points = len(probed) * len(PATTERNS)
    arms = []
    for branch, role, extreme, build in variants:
        handed = replace(job, assignment=assign(job.project, {**start, name: extreme}))
        arms.append(Variant(name=branch, role=role, spec=handed.spec(build)))
    limit_s = min(LIMIT_S, BUDGET_S / points)
    found = measure(brief(job, limit_s=limit_s, width=WIDTH, blocks=12), probed, arms, PATTERNS)
    if found.report.verdict in _WITHHELD:
        return not_measured(name, value, _WITHHELD[found.report.verdict])
    return judged(
        name,
        value,
        {pattern: _gains(found, probed, pattern) for pattern in PATTERNS},
        sizes=sizes,
        noise_floor=found.report.noise_floor,
    )


def is_dead(backend: Backend, below: Build, above: Build) -> bool:
    """Whether a constant reaches nothing: builds with two extreme values of it are the same."""
    return (
        backend is Backend.CONST
        and below.text_sha256 == above.text_sha256
        and below.data_sha256 == above.data_sha256
    )


def judged(
    name: str,
    value: int,
    gains: Mapping[Pattern, Mapping[int, Interval]],
    *,
    sizes: Sequence[int],
    noise_floor: float | None,
) -> Forced:
    """The crossover of each pattern over all sizes, and the branches at the workload's own.

    Args:
        gains: by pattern and size, time below over time above.
    """
    crossings = {
        pattern: replace(
            compared(*ways(name), pattern, own, noise_floor), parameter=name, value=value
        )
        for pattern, own in gains.items()
    }
    idle = crossings.get(Pattern.IDLE)
    branches = {
        size: Branches(
            parameter=name,
            value=value,
            above_gain=gains[Pattern.HOT][size],
            crossover=crossings[Pattern.HOT].crossover,
            idle=idle.crossover if idle is not None else None,
            noise_floor=max(LEAST_FLOOR, noise_floor or 0.0),
        )
        for size in sizes
    }
    return Forced(crossings=tuple(crossings.values()), branches=branches)


def _gains(found: Measurement, sizes: Sequence[int], pattern: Pattern) -> dict[int, Interval]:
    return {size: found.at(size, pattern).ratio(ABOVE, BELOW) for size in sizes}


def _build(job: Job, name: str, value: int) -> Build:
    """The build in which the threshold has an extreme value: another one only for a constant."""
    if job.project.config.parameters[name].backend is not Backend.CONST:
        return job.build
    job.tell(f"forcing {name} to {value}")
    return job.builder.build({name: value})

"""Both branches of a threshold, forced and timed in the same blocks: where they really cross.

What follows for the threshold's value is said by the rule in `rules.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.config import Backend, Kind
from perfkit.diagnose.model import crossover
from perfkit.diagnose.observed import Branches
from perfkit.measure.plan import Plan, Variant
from perfkit.measure.session import measure
from perfkit.records import Build, MeasureVerdict, Role
from perfkit.subject.child import WorkerSpec, spec_for
from perfkit.subject.parameters import assign

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.config import Parameter
    from perfkit.diagnose.times import Subject
    from perfkit.measure.results import Measurement
    from perfkit.records import Interval, Value
    from perfkit.subject.build import Builder

BELOW, ABOVE = "below", "above"
LIMIT_S = 6.0
WIDTH = 0.02
ALWAYS_ABOVE = 1
BEYOND = 10
"""A threshold of this many times the largest size leaves every size below it."""


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


def force(
    subject: Subject, name: str, sizes: Sequence[int], start: Mapping[str, Value], builder: Builder
) -> Mapping[int, Branches]:
    """Time both branches of one threshold at every size.

    Args:
        start: the values of all parameters; this one's must be a whole number.

    Returns:
        Nothing where the machine was busy or the value is no whole number.

    Raises:
        BuildError: the sources refuse one of the extreme values.
    """
    value = start.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        return {}
    specs = {
        BELOW: _spec(subject, name, BEYOND * max(sizes), start, builder),
        ABOVE: _spec(subject, name, ALWAYS_ABOVE, start, builder),
    }
    plan = Plan(
        workload_name=subject.name,
        workload=subject.workload,
        sizes=tuple(sizes),
        variants=tuple(
            Variant(name=branch, role=Role.SUBJECT, spec=spec) for branch, spec in specs.items()
        ),
        threads=subject.threads,
        settings=subject.settings(limit_s=LIMIT_S, width=WIDTH, blocks=20),
        seed=subject.seed,
        run=subject.run,
        gated=subject.gated,
    )
    found = measure(plan, progress=subject.progress)
    if found.verdict is MeasureVerdict.BUSY:
        return {}
    return judged(name, value, _gains(found, sizes))


def judged(name: str, value: int, gains: Mapping[int, Interval]) -> Mapping[int, Branches]:
    """The branches of each size, with the crossover that all sizes together show."""
    crossing = crossover(gains)
    return {
        size: Branches(parameter=name, value=value, above_gain=gain, crossover=crossing)
        for size, gain in gains.items()
    }


def _gains(found: Measurement, sizes: Sequence[int]) -> dict[int, Interval]:
    return {size: found.at(size).ratio(ABOVE, BELOW) for size in sizes}


def _spec(
    subject: Subject, name: str, value: int, start: Mapping[str, Value], builder: Builder
) -> WorkerSpec:
    """A worker in which the threshold has an extreme value; a constant takes a build."""
    subject.progress(f"forcing {name} to {value}", None)
    build: Build = subject.build
    if subject.project.config.parameters[name].backend is Backend.CONST:
        build = builder.build({name: value})
    assignment = assign(subject.project, {**start, name: value})
    return spec_for(subject.project, build, assignment, threads=subject.threads)

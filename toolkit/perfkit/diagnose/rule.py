"""What the rules have in common: how a finding is made, and the shares that it is made of."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from perfkit.records import ALL_THREADS, Finding, Interval, Layer
from perfkit.stacks.intervals import wilson
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perfkit.diagnose.observed import Observed, StackTime
    from perfkit.records import Evidence

    Rule = Callable[[Observed], Finding | None]

SEQUENCE = re.compile(
    r"extract_sequence|PyList|PyTuple|PySequence|types::(list|tuple|sequence|iterator)"
    r"|conversions::std::(vec|num|slice)|Vec<.*> as pyo3|for (alloc::vec::)?Vec<"
    r"|PyFloat_(AsDouble|FromDouble)|PyLong_(As|From)|PyNumber_Float|PyObject_GetIter|PyIter_Next"
    r"|^(list|tuple|float|long)_(dealloc|iter\w*|item|subscript)|^listiter_|^PyList_|_PyList_"
)
"""Frames of a list or tuple that is taken apart or put together."""
LONG_CALL_S = 2e-4
"""A call shorter than this gains nothing from a second thread or from releasing the GIL."""


def verify(seen: Observed, extra: str = "--against HEAD") -> str:
    """The command that measures an edit."""
    return (
        f"perfkit measure --workload {seen.workload} --sizes {format_count(seen.size)} {extra}"
    ).strip()


def again(seen: Observed) -> str:
    """The command that looks once more."""
    size = format_count(seen.size)
    return f"perfkit diagnose --workload {seen.workload} --sizes {size}"


def finding(
    seen: Observed,
    identifier: str,
    title: str,
    share: Interval,
    evidence: Sequence[Evidence],
    remedy: str,
    gain: Interval | None = None,
) -> Finding:
    """A finding whose gain is bounded by its share, unless something tighter is known."""
    return Finding(
        id=identifier,
        title=title,
        workload=seen.workload,
        size=seen.size,
        share=share.estimate,
        predicted_gain=gain or share,
        evidence=tuple(evidence),
        remedy=remedy,
        verify=verify(seen),
    )


def finding_of_work(
    seen: Observed,
    identifier: str,
    title: str,
    share: Interval,
    chosen: Sequence[StackTime],
    remedy: str,
) -> Finding:
    """A finding whose share is of the CPU time of all threads, as `share_of_work` gives it."""
    gain = upto(bound(seen, chosen))
    found = finding(seen, identifier, title, share, seen.evidence(chosen), remedy, gain)
    return replace(found, base=ALL_THREADS)


def checked_by(found: Finding, command: str) -> Finding:
    """A finding whose remedy another command verifies than measuring the edit."""
    return replace(found, verify=command)


def upto(high: float) -> Interval:
    """A gain of which only the bound is known."""
    return Interval(estimate=high / 2, low=0.0, high=high)


def share_of_work(seen: Observed, chosen: Sequence[StackTime]) -> Interval | None:
    """Share of the CPU time of all threads: the base for work that runs on several."""
    total = sum(stack.count for stack in seen.stacks)
    if not total:
        return None
    return wilson(sum(stack.count for stack in chosen), total, seen.design_effect)


def bound(seen: Observed, chosen: Sequence[StackTime]) -> float:
    """The most of the call's wall clock that goes when these stacks do: what the calling thread
    spends in them, and what it waits while others do.
    """
    own = seen.share([stack for stack in chosen if stack.calling])
    others = sum(stack.count for stack in chosen if not stack.calling)
    if own is None:
        return 1.0
    waited = sum(
        row.share.high for layer in (Layer.WAITING, Layer.POOL) if (row := seen.layers.get(layer))
    )
    return min(1.0, own.high + min(others / seen.region_samples, waited))


def compute_share(seen: Observed) -> Interval | None:
    """What the calling thread computes itself."""
    return seen.share(seen.where(lambda s: s.calling and s.layer in (Layer.COMPUTE, Layer.MATH)))

"""What the rules have in common: each finds a cost, and `rules.toml` has the words for it."""

from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

from perfkit.records import ALL_THREADS, OF_THE_CALL, Finding, Interval, Layer
from perfkit.units import format_count, format_share

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from perfkit.diagnose.observed import Observed, StackTime
    from perfkit.records import Evidence

    Rule = Callable[[Observed], Finding | None]


@functools.cache
def _table() -> dict[str, dict[str, Any]]:
    text = resources.files("perfkit.diagnose").joinpath("rules.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def frames(name: str) -> re.Pattern[str]:
    """The frames of one kind, as `rules.toml` lists them."""
    return re.compile("|".join(_table()["frames"][name]))


SEQUENCE = frames("sequence")
"""Frames of a list or tuple that is taken apart or put together."""
LONG_CALL_S = 2e-4
"""A call shorter than this gains nothing from a second thread or from releasing the GIL."""
_VERIFY = "perfkit measure --workload {workload} --sizes {size} --against HEAD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a rule found.

    Attributes:
        share: of `base`.
        gain: what fixing it saves of the call; None where nothing tighter than the share is known.
        case: the special case whose words are told; empty for the rule's own.
        fields: what the words leave open.
    """

    share: Interval
    evidence: tuple[Evidence, ...] = ()
    gain: Interval | None = None
    base: str = OF_THE_CALL
    case: str = ""
    fields: Mapping[str, object] = field(default_factory=dict)


def rule(least: float = 0.0) -> Callable[[Callable[[Observed], Cost | None]], Rule]:
    """Make a rule of a function that finds a cost.

    Args:
        least: the cost is a finding where its share is surely at least this.
    """

    def named(cost_of: Callable[[Observed], Cost | None]) -> Rule:
        @functools.wraps(cost_of)
        def asked(seen: Observed) -> Finding | None:
            cost = cost_of(seen)
            if cost is None or cost.share.low < least:
                return None
            return _told(cost_of.__name__, seen, cost)

        return asked

    return named


def _told(name: str, seen: Observed, cost: Cost) -> Finding:
    words = _table()["finding"][name]
    words = {"verify": _VERIFY, **words, **words.get(cost.case, {})}
    fields: dict[str, object] = {
        "workload": seen.workload,
        "size": format_count(seen.size),
        "share": format_share(cost.share.estimate),
        **cost.fields,
    }
    return Finding(
        id=name,
        title=words["title"].format_map(fields),
        workload=seen.workload,
        size=seen.size,
        share=cost.share.estimate,
        predicted_gain=cost.gain or cost.share,
        evidence=cost.evidence,
        remedy=words["remedy"].format_map(fields),
        verify=words["verify"].format_map(fields),
        base=cost.base,
    )


def of_call(
    seen: Observed,
    chosen: Sequence[StackTime],
    shown: re.Pattern[str] | None = None,
    **fields: object,
) -> Cost | None:
    """What some stacks cost of the call's wall clock; None without a profile.

    Args:
        shown: the frames to show as evidence.
    """
    share = seen.share(chosen)
    if share is None:
        return None
    return Cost(share=share, evidence=seen.evidence(chosen, shown), fields=fields)


def of_work(
    seen: Observed,
    chosen: Sequence[StackTime],
    shown: re.Pattern[str] | None = None,
    **fields: object,
) -> Cost | None:
    """What some stacks cost of the CPU time of all threads: the base for work that runs on several.
    None without a profile.
    """
    share = seen.share_of_work(chosen)
    if share is None:
        return None
    return Cost(
        share=share,
        evidence=seen.evidence(chosen, shown),
        gain=upto(_bound(seen, chosen)),
        base=ALL_THREADS,
        fields=fields,
    )


def of_compute(seen: Observed) -> Cost | None:
    """What the calling thread computes itself; None without a profile."""
    chosen = seen.where(lambda s: s.calling and s.layer in (Layer.COMPUTE, Layer.MATH))
    return of_call(seen, chosen)


def upto(high: float) -> Interval:
    """A gain of which only the bound is known."""
    return Interval(estimate=high / 2, low=0.0, high=high)


def _bound(seen: Observed, chosen: Sequence[StackTime]) -> float:
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

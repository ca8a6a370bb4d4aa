"""What the rules have in common: each finds a cost, and `rules.toml` has the words for it."""

from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

from perfkit.records import ALL_THREADS, OF_THE_CALL, Finding, Interval, Layer, Saving
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
OBJECTS_FROM = 0.10
"""Share of the subject's own code from which it handles Python objects in its loop, and not only
the arguments before it and the result after it.
"""
_PYTHON_OBJECTS = frames("python_objects")
_WRAPPER = frames("wrapper")
_VERIFY = "perfkit measure --workload {workload} --sizes {size} --against HEAD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a rule found.

    Attributes:
        share: of `base`.
        gain: what fixing it saves of the call; None where only the share bounds it.
        case: the special case whose words are told; empty for the rule's own.
        fields: what the words leave open.
    """

    share: Interval
    evidence: tuple[Evidence, ...] = ()
    gain: Saving | None = None
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
    gains = words.get("gains", "").format_map(fields)
    return Finding(
        id=name,
        title=words["title"].format_map(fields),
        workload=seen.workload,
        size=seen.size,
        share=cost.share.estimate,
        predicted_gain=None if gains else cost.gain or upto(cost.share.high),
        evidence=cost.evidence,
        remedy=words["remedy"].format_map(fields),
        verify=words["verify"].format_map(fields),
        base=cost.base,
        gains=gains,
    )


def of_call(
    seen: Observed,
    chosen: Sequence[StackTime],
    shown: re.Pattern[str] | None = None,
    *,
    beside: Sequence[StackTime] = (),
    **fields: object,
) -> Cost | None:
    """What some stacks cost of the call's wall clock; None without a profile.

    Args:
        shown: the frames to show as evidence.
        beside: other stacks that may be part of the same cost, though no frame of them says so:
            they count in what fixing it saves at most.
    """
    share, most = seen.share(chosen), seen.share([*chosen, *beside])
    if share is None or most is None:
        return None
    evidence = seen.evidence(chosen, shown)
    return Cost(share=share, evidence=evidence, gain=upto(most.high), fields=fields)


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


def handles_objects(seen: Observed) -> bool:
    """Whether the subject's own code makes or reads Python objects as it goes: then it needs the
    GIL, and no thread but the one that has it can do the same.
    """
    own = seen.where(lambda s: s.calling and _work(seen, s) is not None)
    objects = [s for s in own if any(map(_PYTHON_OBJECTS.search, s.frames[_work(seen, s) :]))]
    return sum(s.count for s in objects) >= OBJECTS_FROM * max(1, sum(s.count for s in own))


def _work(seen: Observed, stack: StackTime) -> int | None:
    """Index of the outermost frame of the subject's own code below its wrapper."""
    for index, frame in enumerate(stack.frames):
        if seen.is_own(frame) and not _WRAPPER.search(frame):
            return index
    return None


def upto(share: float) -> Saving:
    """The gain of a remedy that was not tried: at most what it is a remedy for."""
    return Saving(at_most=min(share, 1.0))


def measured(saved: Interval) -> Saving:
    """The gain of a remedy that was tried."""
    return Saving(at_most=saved.high, tried=saved)


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

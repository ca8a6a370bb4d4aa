"""Whether two recordings of one call agree: their shares by layer, and how complete their stacks
are. Pure functions of counts.
"""

from __future__ import annotations

import math
from collections import Counter
from statistics import NormalDist
from typing import TYPE_CHECKING

from perfkit.records import Note, NoteId

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from perfkit.stacks.layers import Layers

FALSE_ALARMS = 0.05
"""Of all comparisons of two recordings that agree, over all their layers together."""
LEAST_EXPECTED = 5.0
"""Samples below which the normal distribution says nothing about a layer."""
WHOLE = 0.02
"""Share of stacks cut short, or of leaves without a name, up to which frame pointers tell as much
as stack copies: those have 1 to 2 % themselves, from prologues."""


def by_layer(stacks: Iterable[tuple[Sequence[str], int]], layers: Layers) -> Mapping[str, int]:
    """Samples of each layer, the calling thread's separate from the others'."""
    found: Counter[str] = Counter()
    for stack, count in stacks:
        found[f"{layers.classify(stack[1:])} of {stack[0]}"] += count
    return found


def apart(
    first: Mapping[str, int], second: Mapping[str, int], design_effect: float = 1.0
) -> tuple[str, ...]:
    """The kinds whose shares of the samples differ by more than counting explains.

    Two proportions each, the level divided by how many are compared (Bonferroni): with eight layers
    at 5 % each, one comparison in three of equal recordings would raise an alarm.

    Args:
        design_effect: of the samples, see `stacks.intervals.design_effect`.
    """
    totals = (sum(first.values()), sum(second.values()))
    if not all(totals):
        return ()
    compared: list[tuple[str, float]] = []
    for kind in sorted(first.keys() | second.keys()):
        counts = (first.get(kind, 0), second.get(kind, 0))
        pooled = sum(counts) / sum(totals)
        if pooled * min(totals) < LEAST_EXPECTED or pooled == 1.0:
            continue
        variance = pooled * (1 - pooled) * (1 / totals[0] + 1 / totals[1])
        spread = math.sqrt(variance * design_effect)
        compared.append((kind, abs(counts[0] / totals[0] - counts[1] / totals[1]) / spread))
    if not compared:
        return ()
    limit = NormalDist().inv_cdf(1 - FALSE_ALARMS / (2 * len(compared)))
    return tuple(kind for kind, distance in compared if distance > limit)


def shift(first: Mapping[str, int], second: Mapping[str, int], kinds: Sequence[str]) -> float:
    """How much of the samples is in other kinds in one recording than in the other (the total
    variation distance), of the kinds that counting does not explain: no share moved by more.
    """
    totals = (sum(first.values()), sum(second.values()))
    moves = [first.get(kind, 0) / totals[0] - second.get(kind, 0) / totals[1] for kind in kinds]
    up = sum(move for move in moves if move > 0)
    return max(up, up - sum(moves))


def rates_note(rates: tuple[int, int], differ: Sequence[str]) -> Note:
    """What to say about the samples by layer at two rates."""
    both = f"{rates[0]} and {rates[1]} samples/s"
    if not differ:
        text = f"the shares at {both} agree within counting error"
        return Note(id=NoteId.RATES_AGREE, text=text)
    text = f"the shares at {both} differ in: {', '.join(differ)}"
    remedy = "the bounds hold both; the profiler or the machine changes a layer that differs"
    return Note(id="rates_disagree", text=text, remedy=remedy)


def is_whole(cut: float, unresolved: float) -> bool:
    """Whether stacks are as complete and as named as stack copies make them."""
    return cut <= WHOLE and unresolved <= WHOLE


def tells_as_much(
    *, cut: tuple[float, float], unresolved: tuple[float, float], apart: Sequence[str]
) -> bool:
    """Whether frame pointers may be used: as complete as copies, and the same layers.

    A function without a frame pointer, such as libc's, hides its caller from the next one without
    cutting the stack: only the layers show that.

    Args:
        cut: share of stacks cut short, by pointers and by copies.
        unresolved: share of leaves without a name, likewise.
        apart: layers in which the two differ.
    """
    return all(one <= other + WHOLE for one, other in (cut, unresolved)) and not apart

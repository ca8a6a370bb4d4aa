"""What a measurement noticed besides its figures, as notes: short calls, long rounds, variants that
get slower or grow, references that start threads.

Nothing here decides a figure or a verdict.
"""

from __future__ import annotations

import math
import statistics as plain
from typing import TYPE_CHECKING

from perfkit.measure import statistics
from perfkit.records import Note, Place, Role
from perfkit.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from perfkit.measure.blocks import Pace
    from perfkit.measure.plan import Plan
    from perfkit.measure.results import Point

OVERHEAD_SHARE = 0.1
"""Above this share of a call, perfkit's own loop is worth a note."""

OWN_THREADS = 1.25
"""A reference that uses this many times the cores it was given starts threads itself."""

OWN_SHARE = 0.2
"""So has one of a single thread when other threads use this share of its CPU time."""

LEAK_BYTES = 32 << 20
"""Growth of a worker below this is what allocators do."""

DRIFT_LIMIT = 0.05
DRIFT_P = 1e-4


def overhead(plan: Plan, loop_s: float, paces: Sequence[Pace]) -> Iterator[Note]:
    """Calls so short that perfkit's loop is part of what is seen."""
    for pace in paces:
        shortest = min(pace.per_call_s, key=lambda name: pace.per_call_s[name])
        share = loop_s / pace.per_call_s[shortest]
        if share > OVERHEAD_SHARE:
            text = (
                f"a call of `{shortest}` takes {format_seconds(pace.per_call_s[shortest])}; about "
                f"{format_seconds(loop_s)} of it is perfkit's own loop, which moves ratios closer "
                "to one"
            )
            yield Note(id="loop_overhead", text=text, place=plan.place(pace.size))


def growth(plan: Plan, grown: Mapping[str, tuple[int, int]]) -> Iterator[Note]:
    """Memory that stayed behind.

    Args:
        grown: bytes before and after of the process that grew most, by variant.
    """
    place = Place(workload=plan.job.name)
    for name, (before, after) in grown.items():
        if after - before > max(LEAK_BYTES, before // 4):
            mib = (after - before) / (1 << 20)
            text = f"the process of `{name}` grew by {mib:.0f} MiB while it was timed"
            remedy = "look for objects that calls leave behind"
            yield Note(id="memory_grows", text=text, place=place, remedy=remedy)


def reference_threads(plan: Plan, points: Sequence[Point]) -> Iterator[Note]:
    """Where the reference uses more threads than its pools were given: at some sizes only, when
    it begins to use them at a size.
    """
    reference = plan.of_role(Role.REFERENCE)
    if reference is None:
        return
    allowed = plan.settings.reference_threads
    for point in points:
        done = [block for part in point.sessions for block in part]
        if not done:
            continue
        cores = plain.median(block.cpu_share[reference.name] for block in done)
        helpers = plain.median(block.helpers[reference.name] for block in done)
        if cores <= OWN_THREADS * allowed and (allowed > 1 or helpers <= OWN_SHARE):
            continue
        text = (
            f"the reference's pools may use {allowed} thread{'s' if allowed > 1 else ''}, but it "
            f"used {cores:.1f} cores, {100 * helpers:.0f} % of that on other threads than the "
            "calling one: it starts more threads itself"
        )
        remedy = "limit its threads in the reference function, or allow them: "
        remedy += "`measure.reference_threads`"
        place = plan.place(point.size, point.pattern)
        yield Note(id="reference_threads", text=text, place=place, remedy=remedy)


def long_rounds(plan: Plan, paces: Sequence[Pace]) -> Iterator[Note]:
    """Rounds so long that the two halves of a pair no longer see the same machine."""
    for pace in paces:
        if pace.too_long:
            text = f"a round takes {format_seconds(pace.round_s)}; the machine changes over so "
            text += "long a time, so intervals are wider than those of short calls"
            yield Note(id="long_blocks", text=text, place=plan.place(pace.size))


def drifts(plan: Plan, points: Sequence[Point]) -> Iterator[Note]:
    """Variants that get slower as they run, against perfkit's own work in the same blocks."""
    for point in points:
        for variant in plan.variants:
            series = [
                [block.typical_s(variant.name) / block.begin.one_s for block in part]
                for part in point.usable
            ]
            moved, p_value = statistics.drift(series)
            if p_value < DRIFT_P and moved > math.log1p(DRIFT_LIMIT):
                text = (
                    f"`{variant.name}` gets slower as it runs: by "
                    f"{100 * math.expm1(moved):.0f} % over the life of one set of processes"
                )
                remedy = "look for what calls leave behind: caches, lists, memory"
                place = plan.place(point.size, point.pattern)
                yield Note(id="slows_down", text=text, place=place, remedy=remedy)

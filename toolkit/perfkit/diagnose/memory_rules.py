"""The rules about memory: outputs and temporaries that calls fault in, and allocations in the loop.

Pure functions of `Observed`, as those of `rules.py`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from perfkit.diagnose.observed import Observed, StackTime, below, matches
from perfkit.diagnose.rule import SEQUENCE, Cost, frames, of_call, of_work, rule
from perfkit.records import Layer
from perfkit.units import format_seconds

OUTPUT_FROM = 0.10
"""Share of the call from which memory is worth a finding."""
ALLOCATION_FROM = 0.05
ALLOCATION_PER_ELEMENT_S = 2e-9
ALLOCATION_ELEMENTS = 100
"""One buffer for all elements costs less than this per element, an allocation of each one more; at
few elements a single buffer does too.
"""

_ALLOCATOR = frames("allocator")
_OUTPUT = frames("output")
_RELEASE = frames("release")
_LARGE_BLOCK = frames("large_block")
_TAKEN_IN = frames("taken_in")
_SMALL_OBJECTS = frames("small_objects")
_OTHERS_CODE = frames("others_code")
_INSIDE = (Layer.COMPUTE, Layer.MATH, Layer.POOL)


@rule(OUTPUT_FROM)
def output_lifecycle(seen: Observed) -> Cost | None:
    """The output is allocated, faulted in and released in each call."""
    outside = seen.where(
        lambda s: (
            s.calling
            and s.layer in (Layer.ALLOCATION, Layer.PAGE_FAULT)
            and s.asker not in _INSIDE
            and not matches(s, SEQUENCE)
            and not matches(s, _TAKEN_IN)
        )
    )
    chosen = outside + (_memory_in_compute(seen) if _is_handed_out(seen) else [])
    objects = sum(s.count for s in outside if matches(s, _SMALL_OBJECTS))
    found = of_call(seen, chosen)
    # Objects have no memory of their own that a caller could pass in.
    return found and replace(
        found, case="objects" if 2 * objects > sum(s.count for s in chosen) else ""
    )


@rule(OUTPUT_FROM)
def temporary_memory(seen: Observed) -> Cost | None:
    """The computation allocates large memory and faults it in, and does not hand it out."""
    return None if _is_handed_out(seen) else of_call(seen, _memory_in_compute(seen))


def _memory_in_compute(seen: Observed) -> list[StackTime]:
    """Large memory below the computation: an output or a temporary; stacks cannot tell which."""
    return seen.where(
        lambda s: (
            s.calling
            and (
                (s.layer is Layer.PAGE_FAULT and s.asker in _INSIDE)
                or (s.layer in _INSIDE and below(s, _LARGE_BLOCK))
            )
        )
    )


def _is_handed_out(seen: Observed) -> bool:
    """Whether memory is released after the call, as an output is, rather than inside it."""
    after = seen.where(lambda s: s.calling and s.layer is Layer.ALLOCATION and matches(s, _OUTPUT))
    inside = seen.where(lambda s: s.calling and s.layer in _INSIDE and below(s, _RELEASE))
    return sum(s.count for s in after) > sum(s.count for s in inside)


@rule(ALLOCATION_FROM)
def allocation_in_compute(seen: Observed) -> Cost | None:
    """The inner loop allocates on the heap for each element."""
    chosen = seen.where(
        lambda s: s.layer in _INSIDE and below(s, _ALLOCATOR) and not matches(s, _LARGE_BLOCK)
    )
    if seen.size < ALLOCATION_ELEMENTS or not seen.region_samples:
        return None
    seconds = sum(s.count for s in chosen) / seen.region_samples * seen.call_s.estimate
    if seconds / seen.size < ALLOCATION_PER_ELEMENT_S:
        return None
    per_element = format_seconds(seconds / seen.size)
    called, count = _most_called(seen, chosen)
    if 2 * count <= sum(s.count for s in chosen):
        return of_work(seen, chosen, per_element=per_element)
    found = of_work(seen, chosen, per_element=per_element, called=called)
    return found and replace(found, case="called")


def _most_called(seen: Observed, chosen: list[StackTime]) -> tuple[str, int]:
    """The function of another library that the subject calls where most of its allocations happen,
    with the samples below it.
    """
    samples: Counter[str] = Counter()
    for stack in chosen:
        own = max((i for i, frame in enumerate(stack.frames) if seen.is_own(frame)), default=-1)
        beyond = (frame for frame in stack.frames[own + 1 :] if _OTHERS_CODE.search(frame))
        if own >= 0 and (first := next(beyond, "")):
            samples[first] += stack.count
    return max(samples.items(), key=lambda item: (item[1], item[0]), default=("", 0))

"""The rules about memory: outputs and temporaries that calls fault in, and allocations in the loop.

Pure functions of `Observed`, as those of `rules.py`.
"""

from __future__ import annotations

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
        )
    )
    return of_call(seen, outside + (_memory_in_compute(seen) if _is_handed_out(seen) else []))


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
    return of_work(seen, chosen, per_element=format_seconds(seconds / seen.size))

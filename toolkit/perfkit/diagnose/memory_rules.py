"""The rules about memory: outputs and temporaries that calls fault in, and allocations in the loop.

Pure functions of `Observed`, as those of `rules.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from perfkit.diagnose.observed import Observed, StackTime, below, matches
from perfkit.diagnose.rule import SEQUENCE, finding, finding_of_work, share_of_work
from perfkit.records import Finding, Layer
from perfkit.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

OUTPUT_FROM = 0.10
"""Share of the call from which memory is worth a finding."""
ALLOCATION_FROM = 0.05
ALLOCATION_PER_ELEMENT_S = 2e-9
ALLOCATION_ELEMENTS = 100
"""One buffer for all elements costs less than this per element, an allocation of each one more; at
few elements a single buffer does too.
"""

_ALLOCATOR = re.compile(
    r"^(__libc_|__GI___libc_|_int_|je_|mi_|tc_|_rjem_)?"
    r"(malloc|free|calloc|realloc|cfree|malloc_consolidate|unlink_chunk)\b"
    r"|^__(rust|rdl|rustc)(::)?\w*(alloc|dealloc|realloc)|^<?alloc::(alloc|raw_vec)::|RawVec"
)
_OUTPUT = re.compile(r"^(array|bytes|bytearray|capsule|memory|mbuf)_dealloc")
_RELEASE = re.compile(r"munmap|madvise|^(__libc_)?c?free\b|_int_free")
_LARGE_BLOCK = re.compile(r"page_fault|^(__)?(mmap|munmap|madvise|mremap)|sysmalloc|clear_page")
_INSIDE = (Layer.COMPUTE, Layer.MATH, Layer.POOL)


def output_lifecycle(seen: Observed) -> Finding | None:
    """The output is allocated, faulted in and released in each call."""
    chosen = _boundary_memory(seen)
    if _is_handed_out(seen):
        chosen += _memory_in_compute(seen)
    share = seen.share(chosen)
    if share is None or share.low < OUTPUT_FROM:
        return None
    title = "The output is allocated and its pages are faulted in, in each call"
    remedy = (
        "let callers hand in the memory (`out=`), or keep a buffer between calls; pages that were "
        "touched before cost nothing"
    )
    return finding(seen, "output_lifecycle", title, share, seen.evidence(chosen), remedy)


def temporary_memory(seen: Observed) -> Finding | None:
    """The computation allocates large memory and faults it in, and does not hand it out."""
    if _is_handed_out(seen):
        return None
    chosen = _memory_in_compute(seen)
    share = seen.share(chosen)
    if share is None or share.low < OUTPUT_FROM:
        return None
    title = "Large memory is allocated and its pages are faulted in by the computation, each time"
    remedy = (
        "keep the buffer between calls, or work on pieces that fit the cache instead of filling a "
        "whole temporary array"
    )
    return finding(seen, "temporary_memory", title, share, seen.evidence(chosen), remedy)


def _boundary_memory(seen: Observed) -> list[StackTime]:
    """What is allocated, faulted in and released outside of the computation."""
    return seen.where(
        lambda s: (
            s.calling
            and s.layer in (Layer.ALLOCATION, Layer.PAGE_FAULT)
            and s.asker not in _INSIDE
            and not matches(s, SEQUENCE)
        )
    )


def _memory_in_compute(seen: Observed) -> list[StackTime]:
    """Large memory below the computation: an output or a temporary, which stacks do not tell."""
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


def allocation_in_compute(seen: Observed) -> Finding | None:
    """The inner loop allocates on the heap for each element."""
    chosen = seen.where(
        lambda s: (
            s.layer in (Layer.COMPUTE, Layer.MATH, Layer.POOL)
            and below(s, _ALLOCATOR)
            and not matches(s, _LARGE_BLOCK)
        )
    )
    share = share_of_work(seen, chosen)
    if share is None or share.low < ALLOCATION_FROM or seen.size < ALLOCATION_ELEMENTS:
        return None
    per_element = _seconds(seen, chosen) / seen.size
    if per_element < ALLOCATION_PER_ELEMENT_S:
        return None
    title = (
        "The computation allocates on the heap as it goes: "
        f"{format_seconds(per_element)} per element"
    )
    remedy = (
        "take the allocation out of the loop: a buffer made once, an array of fixed length, or an "
        "iterator in place of a collected Vec"
    )
    return finding_of_work(seen, "allocation_in_compute", title, share, chosen, remedy)


def _seconds(seen: Observed, chosen: Sequence[StackTime]) -> float:
    """CPU seconds per call in some stacks."""
    return sum(s.count for s in chosen) / seen.region_samples * seen.call_s.estimate

"""The rules that turn what was seen into findings, one function each; those about threads are in
`pool_rules.py`, those about memory in `memory_rules.py`.

Pure functions of `Observed`. A rule fires only on cost that was measured, and shows the frames,
what fixing them could save at most (Amdahl) or saved when it was tried, what to do and the command
that checks it; the words are in `rules.toml`. Which findings are shown, and in which order, is in
`findings.py`.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from perfkit.diagnose import memory_rules, pool_rules
from perfkit.diagnose.model import described
from perfkit.diagnose.observed import (
    Branches,
    Counted,
    Observed,
    StackTime,
    frame_totals,
    matches,
)
from perfkit.diagnose.rule import (
    LONG_CALL_S,
    SEQUENCE,
    Cost,
    frames,
    handles_objects,
    measured,
    of_call,
    of_compute,
    of_work,
    rule,
    upto,
)
from perfkit.measure.ratios import inverse, is_faster, saved_share
from perfkit.records import Evidence, Layer
from perfkit.units import format_count, format_ratio, format_share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.diagnose.rule import Rule

CONVERSION_FROM = 0.10
COPY_FROM = 0.10
"""Shares of the call from which these are worth a finding; below, a report would name all."""
OF_THE_REFERENCE = "of the reference's call"
BOUNDARY_FROM = 0.20
MATH_FROM = 0.15
GIL_FROM = 0.50
COMPUTE_FROM = 0.10
REFERENCE_FROM = 0.30
LEAST_GAIN = 0.005
MANY_INSTRUCTIONS = 40.0
"""Vector code of a transcendental takes about ten instructions per element, scalar code fifty and
more.
"""

_ARRAY_COPY = frames("array_copy")
_VECTOR_MATH = frames("vector_math")
_FAST_REFERENCE = (
    (frames("blas"), "an optimised BLAS"),
    (frames("vector_loop"), "vector loops"),
)
_ARGUMENTS = frames("arguments")
_BOUNDARY = (Layer.GLUE, Layer.CONVERT_IN, Layer.CONVERT_OUT, Layer.ALLOCATION)
_TYPES = {
    frames("list"): ("list", "list"),
    frames("tuple"): ("tuple", "list"),
    frames("memoryview"): ("memoryview", "buffer"),
    frames("bytes"): ("bytes", "buffer"),
    frames("bytearray"): ("bytearray", "buffer"),
    frames("array"): ("array", "buffer"),
    frames("dict"): ("dict", "objects"),
    frames("str"): ("str", "objects"),
}
"""Python types by the frames that show them, with the case whose remedy fits."""
_TYPE_FROM = 0.10
"""Share of a conversion from which a type is named."""


@rule(CONVERSION_FROM)
def sequence_conversion(seen: Observed) -> Cost | None:
    """Elements are converted one by one from or to Python objects."""
    boundary = seen.where(lambda s: s.calling and s.layer in _BOUNDARY)
    chosen = [s for s in boundary if _converts(s)]
    if all(stack.layer is Layer.ALLOCATION for stack in chosen):
        return None  # lists that are released prove no conversion: the caller may have made them
    # An inlined conversion leaves the wrapper's own frame and, below it, the calls per element:
    # what else the boundary does may be the same conversion.
    rest = [s for s in boundary if not _converts(s)]
    types, case = _converted(chosen)
    found = of_call(seen, chosen, SEQUENCE, beside=rest, types=types)
    return found and replace(found, case=case)


def _converts(stack: StackTime) -> bool:
    return matches(stack, SEQUENCE) and not matches(stack, _ARGUMENTS)


def _converted(chosen: Sequence[StackTime]) -> tuple[str, str]:
    """The Python types that stacks of a conversion show, and the case of the words that fits; of
    several, the one with the most samples. Nothing where no frame shows a type.
    """
    samples = {
        (name, case): sum(s.count for s in chosen if matches(s, pattern))
        for pattern, (name, case) in _TYPES.items()
    }
    least = _TYPE_FROM * sum(s.count for s in chosen)
    shown = {type_: count for type_, count in samples.items() if count >= least and count}
    cases: Counter[str] = Counter()
    for (_, case), count in shown.items():
        cases[case] += count
    case = max(cases, key=lambda name: cases[name], default="")
    return " or ".join(name for name, kind in shown if kind == case), case


@rule(COPY_FROM)
def array_copy(seen: Observed) -> Cost | None:
    """An array is copied to another element type or memory layout before the work starts."""
    inside = (Layer.COMPUTE, Layer.MATH, Layer.POOL)
    chosen = seen.where(lambda s: s.calling and s.layer not in inside and matches(s, _ARRAY_COPY))
    # The copy's own memory, which is released without a frame of the copying.
    memory = seen.where(
        lambda s: s.calling and s.layer is Layer.ALLOCATION and not matches(s, _ARRAY_COPY)
    )
    return of_call(seen, chosen, _ARRAY_COPY, beside=memory)


@rule()
def gil_held(seen: Observed) -> Cost | None:
    """No other Python thread can run while the extension computes."""
    held = seen.gil_held
    if held is None or held.low < GIL_FROM or seen.call_s.low < LONG_CALL_S:
        return None
    compute = of_compute(seen)
    if compute is not None and compute.share.low < COMPUTE_FROM:
        return None  # nothing to speak of could run without it
    return Cost(
        share=held,
        evidence=compute.evidence if compute is not None else (),
        case="objects" if handles_objects(seen) else "",
        fields={
            "held": format_share(held.estimate),
            "free": format_share(min(held.high, compute.share.high if compute else 1.0)),
        },
    )


@rule()
def threshold_outside(seen: Observed) -> Cost | None:
    """A threshold sends this size into its slower branch."""
    costs = [cost for branches in seen.branches if (cost := _wrong_side(seen, branches))]
    return max(costs, key=lambda cost: cost.share.estimate, default=None)


def _wrong_side(seen: Observed, branches: Branches) -> Cost | None:
    """What the other branch of a threshold would save; None where it is not surely faster."""
    taken_above = seen.size >= branches.value
    gain = inverse(branches.above_gain) if taken_above else branches.above_gain
    if not is_faster(gain, branches.noise_floor):
        return None
    saved = saved_share(gain)
    return Cost(
        share=saved,
        gain=measured(saved),
        fields={
            "parameter": branches.parameter,
            "value": branches.value,
            "other": "below" if taken_above else "above",
            "gain": format_ratio(gain.estimate),
            "where": "above" if taken_above else "to at most",
            "crossing": _crossing(branches),
        },
    )


def _crossing(branches: Branches) -> str:
    """Where the branches cross, with calls that follow each other and after a pause."""
    ways = ("the branch below", "the branch above")
    text = described(branches.crossover, *ways)
    if branches.idle is None:
        return text
    return f"{text}; for calls that find the pool asleep: {described(branches.idle, *ways)}"


@rule(MATH_FROM)
def scalar_math(seen: Observed) -> Cost | None:
    """Mathematical functions are called for one element at a time."""
    counted = seen.instructions
    if counted is not None and (counted.per_element or math.inf) < MANY_INSTRUCTIONS:
        return None
    chosen = seen.where(
        lambda s: s.layer is Layer.MATH and not _VECTOR_MATH.search(" ".join(s.frames[-3:]))
    )
    return of_work(seen, chosen, instructions=_instructions(counted))


def _instructions(counted: Counted | None) -> str:
    if counted is None:
        return ""
    if counted.per_element is None:
        return f" (instructions were not counted: {counted.reason})"
    return f"; {counted.per_element:.0f} instructions per element at {format_count(counted.size)}"


@rule()
def build_flags(seen: Observed) -> Cost | None:
    """The same sources, compiled with LTO and in one piece, are faster: measured, not believed."""
    flags = seen.flags
    if flags is None or flags.gain.low <= 1 + max(LEAST_GAIN, flags.noise_floor):
        return None
    fields = {"settings": flags.settings, "gain": format_ratio(flags.gain.estimate)}
    saved = saved_share(flags.gain)
    return Cost(share=saved, gain=measured(saved), fields=fields)


@rule(COMPUTE_FROM)
def unoptimised_build(seen: Observed) -> Cost | None:
    """The extension was compiled without optimisation."""
    line, compute = seen.line, of_compute(seen)
    if line is None or line.opt_level in {"2", "3", "s", "z"} or compute is None:
        return None
    # Everything in the extension was compiled like that, its boundary and its workers too.
    python = seen.layers.get(Layer.INTERPRETER)
    gain = upto(1.0 - (python.share.low if python is not None else 0.0))
    return Cost(share=compute.share, gain=gain, fields={"level": line.opt_level})


@rule(BOUNDARY_FROM)
def per_call_overhead(seen: Observed) -> Cost | None:
    """The fixed cost of a call is much of what the smallest size takes."""
    ffi = seen.ffi
    if not seen.smallest or ffi is None or not ffi.agree or ffi.share is None:
        return None
    if sequence_conversion(seen) is not None:
        return None  # a conversion that grows with the size is another matter
    return Cost(share=ffi.share)


@rule()
def reference_faster(seen: Observed) -> Cost | None:
    """The reference wins, and its own profile shows code that is known to be fast."""
    result, samples = seen.result, seen.reference_samples
    if result is None or result.speedup is None or result.speedup.high >= 1 or not samples:
        return None
    for pattern, seen_there in _FAST_REFERENCE:
        chosen = [s for s in seen.reference_stacks if matches(s, pattern)]
        shown = sum(s.count for s in chosen) / samples
        if shown < REFERENCE_FROM:
            continue
        gain = inverse(result.speedup)
        return Cost(
            share=saved_share(gain),
            evidence=tuple(
                Evidence(frame=frame, layer=layer, share=count / samples, base=OF_THE_REFERENCE)
                for (frame, layer), count in frame_totals(chosen, pattern)[:3]
            ),
            fields={
                "gain": format_ratio(gain.estimate),
                "seen": seen_there,
                "shown": format_share(shown),
            },
        )
    return None


RULES: tuple[Rule, ...] = (
    sequence_conversion,
    array_copy,
    memory_rules.output_lifecycle,
    memory_rules.temporary_memory,
    memory_rules.allocation_in_compute,
    gil_held,
    pool_rules.pool_for_too_little,
    pool_rules.pool_not_used,
    pool_rules.chunk_too_small,
    pool_rules.chunk_too_large,
    threshold_outside,
    scalar_math,
    unoptimised_build,
    build_flags,
    per_call_overhead,
    pool_rules.foreign_threads,
    reference_faster,
)
"""All of them; each is checked at each size."""

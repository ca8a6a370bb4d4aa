"""The rules that turn what was seen into findings, one function each; those about threads are in
`pool_rules.py`, those about memory in `memory_rules.py`.

Pure functions of `Observed`. A rule fires only on cost that was measured, and shows the frames,
what fixing them could gain at most (Amdahl), what to do and the command that checks it. Which
findings are shown, and in which order, is in `findings.py`.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from perfkit.diagnose import memory_rules, pool_rules
from perfkit.diagnose.model import described
from perfkit.diagnose.observed import Branches, Counted, Observed, frame_totals, matches
from perfkit.diagnose.rule import (
    LONG_CALL_S,
    SEQUENCE,
    again,
    checked_by,
    compute_share,
    finding,
    finding_of_work,
    share_of_work,
    upto,
)
from perfkit.measure.ratios import inverse, is_faster, saved_share
from perfkit.records import Evidence, Finding, Interval, Layer
from perfkit.units import format_count, format_ratio, format_share

if TYPE_CHECKING:
    from perfkit.diagnose.rule import Rule

CONVERSION_FROM = 0.10
COPY_FROM = 0.10
"""Shares of the call from which these are worth a finding; below, a report would name all."""
BOUNDARY_FROM = 0.20
MATH_FROM = 0.15
GIL_FROM = 0.50
COMPUTE_FROM = 0.10
LEAST_GAIN = 0.005
MANY_INSTRUCTIONS = 40.0
"""Vector code of a transcendental takes about ten instructions per element, scalar code fifty and
more.
"""

_ARRAY_COPY = re.compile(
    r"^PyArray_(CastToType|CastTo|NewCopy|CopyInto|CopyAnyInto|AssignArray|FromArray|FromAny)"
    r"|^array_(astype|copy|ascontiguousarray)|^raw_array_assign_array|^npyiter_(copy|.*cast)"
    r"|_(aligned|contig|strided)\w*_(cast|to)_|_cast_\w+_to_\w+|^_?(aligned_)?strided_to_contig"
    r"|::to_owned_array$|PyArray<.*>::to_vec|ndarray::.*::to_owned"
)
_FAST_REFERENCE = (
    (re.compile(r"gemm|cblas|openblas|mkl_|blis_"), "it calls an optimised BLAS"),
    (
        re.compile(r"avx512|AVX512|avx2|AVX2|_FMA3|npyv_|_simd|simd_|_ZGV|svml"),
        "its loops are vectorised",
    ),
)


def sequence_conversion(seen: Observed) -> Finding | None:
    """Elements are converted one by one from or to Python objects."""
    # An inlined conversion leaves the wrapper's own frame and, below it, the calls per element.
    layers = (Layer.GLUE, Layer.CONVERT_IN, Layer.CONVERT_OUT, Layer.ALLOCATION)
    chosen = seen.where(lambda s: s.calling and s.layer in layers and matches(s, SEQUENCE))
    share = seen.share(chosen)
    if share is None or share.low < CONVERSION_FROM:
        return None
    if all(stack.layer is Layer.ALLOCATION for stack in chosen):
        return None  # lists that are released prove no conversion: the caller may have made them
    title = "A list or tuple is converted element by element"
    remedy = (
        "take a NumPy array by `PyReadonlyArray1<f64>` and return one by `PyArray1`, or any buffer "
        "by `PyBuffer`: a view costs well under a microsecond whatever its length"
    )
    evidence = seen.evidence(chosen, SEQUENCE)
    return finding(seen, "sequence_conversion", title, share, evidence, remedy)


def array_copy(seen: Observed) -> Finding | None:
    """An array is copied to another element type or memory layout before the work starts."""
    inside = (Layer.COMPUTE, Layer.MATH, Layer.POOL)
    chosen = seen.where(lambda s: s.calling and s.layer not in inside and matches(s, _ARRAY_COPY))
    share = seen.share(chosen)
    if share is None or share.low < COPY_FROM:
        return None
    title = "An array is copied to another dtype or layout at the boundary"
    remedy = (
        "hand over contiguous arrays of the dtype that the extension takes, or accept theirs: "
        "`as_array()` reads strided arrays without a copy"
    )
    evidence = seen.evidence(chosen, _ARRAY_COPY)
    return finding(seen, "array_copy", title, share, evidence, remedy)


def gil_held(seen: Observed) -> Finding | None:
    """No other Python thread can run while the extension computes."""
    held = seen.gil_held
    if held is None or held.low < GIL_FROM or seen.call_s.low < LONG_CALL_S:
        return None
    compute = compute_share(seen)
    title = f"The GIL is held for {format_share(held.estimate)} of the call"
    remedy = (
        "wrap the computation in `py.detach(|| …)` (`allow_threads` before PyO3 0.26): one call "
        "gets no faster, but other Python threads run meanwhile"
    )
    evidence = seen.evidence(
        seen.where(lambda s: s.calling and s.layer in (Layer.COMPUTE, Layer.MATH))
    )
    # A single call saves nothing: the gain is what other threads can do beside it.
    nothing = Interval(estimate=0.0, low=0.0, high=0.0)
    found = finding(seen, "gil_held", title, compute or held, evidence, remedy, nothing)
    return checked_by(found, again(seen))


def threshold_outside(seen: Observed) -> Finding | None:
    """A threshold sends this size into its slower branch."""
    worst: Finding | None = None
    for branches in seen.branches:
        taken_above = seen.size >= branches.value
        gain = branches.above_gain
        if taken_above:
            gain = inverse(gain)
        if not is_faster(gain, branches.noise_floor):
            continue  # the branch that is taken is not the slower one, as far as can be told
        saved = saved_share(gain)
        other = "below" if taken_above else "above"
        title = (
            f"{branches.parameter} = {branches.value} is on the wrong side of "
            f"{format_count(seen.size)}: the branch {other} it is "
            f"{format_ratio(gain.estimate)} as fast"
        )
        remedy = (
            f"move {branches.parameter} {'above' if taken_above else 'to at most'} "
            f"{format_count(seen.size)}; {_crossing(branches)}"
        )
        found = finding(seen, "threshold_outside", title, saved, (), remedy)
        found = checked_by(found, f"perfkit tune --workload {seen.workload}")
        if worst is None or found.share > worst.share:
            worst = found
    return worst


def _crossing(branches: Branches) -> str:
    """Where the branches cross, with calls that follow each other and after a pause."""
    text = described(branches.crossover, "the branch below", "the branch above")
    if branches.idle is None:
        return text
    idle = described(branches.idle, "the branch below", "the branch above")
    return f"{text}; for calls that find the pool asleep: {idle}"


def scalar_math(seen: Observed) -> Finding | None:
    """Mathematical functions are called for one element at a time."""
    chosen = seen.where(
        lambda s: (
            s.layer is Layer.MATH and not re.search(r"_ZGV|svml|Sleef", " ".join(s.frames[-3:]))
        )
    )
    share = share_of_work(seen, chosen)
    if share is None or share.low < MATH_FROM:
        return None
    counted = seen.instructions
    if counted is not None and (counted.per_element or math.inf) < MANY_INSTRUCTIONS:
        return None
    title = f"A scalar math library does one element per call{_instructions(counted)}"
    remedy = (
        "evaluate a polynomial or rational approximation over slices that the compiler can "
        "vectorise, or call a vector math library; check the accuracy you need first"
    )
    return finding_of_work(seen, "scalar_math", title, share, chosen, remedy)


def _instructions(counted: Counted | None) -> str:
    if counted is None:
        return ""
    if counted.per_element is None:
        return f" (instructions were not counted: {counted.reason})"
    return f"; {counted.per_element:.0f} instructions per element at {format_count(counted.size)}"


def build_flags(seen: Observed) -> Finding | None:
    """The same sources, compiled with LTO and in one piece, are faster: measured, not believed."""
    flags = seen.flags
    if flags is None or flags.gain.low <= 1 + max(LEAST_GAIN, flags.noise_floor):
        return None
    saved = saved_share(flags.gain)
    title = f"With {flags.settings} the call is {format_ratio(flags.gain.estimate)} as fast"
    remedy = "set them in the cargo profile that ships; compiling takes longer"
    return finding(seen, "build_flags", title, saved, (), remedy)


def unoptimised_build(seen: Observed) -> Finding | None:
    """The extension was compiled without optimisation."""
    line = seen.line
    if line is None or line.opt_level in {"2", "3", "s", "z"}:
        return None
    share = compute_share(seen)
    if share is None or share.low < COMPUTE_FROM:
        return None
    title = f"The extension is compiled without optimisation: opt-level {line.opt_level}"
    remedy = (
        'build with `maturin develop --release`, and look for `profile = "dev"` in [tool.maturin]'
    )
    return finding(seen, "unoptimised_build", title, share, (), remedy, gain=upto(share.high))


def per_call_overhead(seen: Observed) -> Finding | None:
    """The fixed cost of a call is much of what the smallest size takes."""
    ffi = seen.ffi
    if not seen.smallest or ffi is None or not ffi.agree or ffi.share is None:
        return None
    share = ffi.share
    if share.low < BOUNDARY_FROM:
        return None
    if sequence_conversion(seen) is not None:
        return None  # a conversion that grows with the size is another matter
    boundary, size = format_share(share.estimate), format_count(seen.size)
    title = f"The boundary is {boundary} of a call of {size} elements"
    remedy = "hand over more elements per call: one array of many small problems, not many calls"
    return finding(
        seen, "per_call_overhead", title, share, (), remedy, gain=upto(min(share.high, 1.0))
    )


def reference_faster(seen: Observed) -> Finding | None:
    """The reference wins for a reason that its own profile names."""
    result = seen.result
    if result is None or result.speedup is None or result.speedup.high >= 1:
        return None
    for pattern, reason in _FAST_REFERENCE:
        chosen = [s for s in seen.reference_stacks if matches(s, pattern)]
        count = sum(s.count for s in chosen)
        if not seen.reference_samples or count < 0.3 * seen.reference_samples:
            continue
        gain = 1 - result.speedup.estimate
        share = Interval(estimate=gain, low=1 - result.speedup.high, high=1 - result.speedup.low)
        title = (
            f"The reference is {format_ratio(1 / result.speedup.estimate)} as fast because {reason}"
        )
        evidence = tuple(
            Evidence(frame=frame, layer=layer, share=count_ / seen.reference_samples)
            for (frame, layer), count_ in frame_totals(chosen, pattern)[:3]
        )
        remedy = "do the same in the subject; the frames are those of the reference's own profile"
        return finding(seen, "reference_faster", title, share, evidence, remedy)
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
"""All of them; each is asked about each size."""

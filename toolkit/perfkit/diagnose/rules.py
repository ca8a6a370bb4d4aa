"""The rules that turn what was seen into findings, one function each.

Pure functions of `Observed`. A rule fires only on cost that was measured, and shows the frames,
what fixing them could gain at most (Amdahl), what to do and the command that checks it. Which
findings are shown, and in which order, is in `findings.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from perfkit.diagnose.observed import Observed, StackTime, below, frame_totals, matches
from perfkit.records import Evidence, Finding, Interval, Layer
from perfkit.stacks.intervals import wilson
from perfkit.units import format_count, format_ratio, format_seconds, format_share

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Rule = Callable[[Observed], Finding | None]

CONVERSION_FROM = 0.10
COPY_FROM = 0.10
OUTPUT_FROM = 0.10
"""Shares of the call from which these are worth a finding; below, a report would name all."""
ALLOCATION_FROM = 0.05
ALLOCATION_PER_ELEMENT_S = 4e-9
"""One buffer for all elements costs less than this per element, an allocation of each one more."""
DISPATCH_FROM = 0.30
BOUNDARY_FROM = 0.20
MATH_FROM = 0.15
FOREIGN_THREADS_FROM = 0.10
GIL_FROM = 0.50
LONG_CALL_S = 2e-4
"""A call shorter than this gains nothing from a second thread or from releasing the GIL."""
IDLE_WORKERS = 0.05
MANY_INSTRUCTIONS = 40.0
"""Vector code of a transcendental takes about ten instructions per element, scalar code fifty and
more.
"""

_SEQUENCE = re.compile(
    r"extract_sequence|PyList|PyTuple|PySequence|types::(list|tuple|sequence|iterator)"
    r"|conversions::std::(vec|num|slice)|Vec<.*> as pyo3|for (alloc::vec::)?Vec<"
    r"|PyFloat_(AsDouble|FromDouble)|PyLong_(As|From)|PyNumber_Float|PyObject_GetIter|PyIter_Next"
    r"|^(list|tuple|float|long)_(dealloc|iter\w*|item|subscript)|^listiter_|^PyList_|_PyList_"
)
_ARRAY_COPY = re.compile(
    r"^PyArray_(CastToType|CastTo|NewCopy|CopyInto|CopyAnyInto|AssignArray|FromArray|FromAny)"
    r"|^array_(astype|copy|ascontiguousarray)|^raw_array_assign_array|^npyiter_(copy|.*cast)"
    r"|_(aligned|contig|strided)\w*_(cast|to)_|_cast_\w+_to_\w+|^_?(aligned_)?strided_to_contig"
    r"|::to_owned_array$|PyArray<.*>::to_vec|ndarray::.*::to_owned"
)
_ALLOCATOR = re.compile(
    r"^(__libc_|__GI___libc_|_int_|je_|mi_|tc_|_rjem_)?"
    r"(malloc|free|calloc|realloc|cfree|malloc_consolidate|unlink_chunk)\b"
    r"|^__(rust|rdl|rustc)(::)?\w*(alloc|dealloc|realloc)|^<?alloc::(alloc|raw_vec)::|RawVec"
)
_LARGE_BLOCK = re.compile(r"page_fault|^(__)?(mmap|munmap|madvise|mremap)|sysmalloc|clear_page")
_FOREIGN_POOL = re.compile(
    r"^(GOMP_|gomp_|__kmp|omp_)|blas_thread_server|exec_blas|^mkl_|^libgomp|^libopenblas"
)
_FAST_REFERENCE = (
    (re.compile(r"gemm|cblas|openblas|mkl_|blis_"), "it calls an optimised BLAS"),
    (
        re.compile(r"avx512|AVX512|avx2|AVX2|_FMA3|npyv_|_simd|simd_|_ZGV|svml"),
        "its loops are vectorised",
    ),
)


def _verify(seen: Observed, extra: str = "--against HEAD") -> str:
    return (
        f"perfkit measure --workload {seen.workload} --sizes {format_count(seen.size)} {extra}"
    ).strip()


def _again(seen: Observed) -> str:
    size = format_count(seen.size)
    return f"perfkit diagnose --workload {seen.workload} --sizes {size}"


def _finding(
    seen: Observed,
    identifier: str,
    title: str,
    share: Interval,
    evidence: Sequence[Evidence],
    remedy: str,
    *,
    gain: Interval | None = None,
    verify: str | None = None,
) -> Finding:
    """A finding whose gain is bounded by its share, unless something tighter is known."""
    bound = gain or share
    return Finding(
        id=identifier,
        title=title,
        workload=seen.workload,
        size=seen.size,
        share=share.estimate,
        predicted_gain={"low": bound.low, "high": bound.high},
        evidence=tuple(evidence),
        remedy=remedy,
        verify=verify if verify is not None else _verify(seen),
    )


def _upto(high: float) -> Interval:
    """A gain of which only the bound is known."""
    return Interval(estimate=high / 2, low=0.0, high=high)


def sequence_conversion(seen: Observed) -> Finding | None:
    """Elements are converted one by one from or to Python objects."""
    # An inlined conversion leaves the wrapper's own frame and, below it, the calls per element.
    layers = (Layer.GLUE, Layer.CONVERT_IN, Layer.CONVERT_OUT, Layer.ALLOCATION)
    chosen = seen.where(lambda s: s.calling and s.layer in layers and matches(s, _SEQUENCE))
    share = seen.share(chosen)
    if share is None or share.low < CONVERSION_FROM:
        return None
    title = "A list or tuple is converted element by element"
    remedy = (
        "take a NumPy array by `PyReadonlyArray1<f64>` and return one by `PyArray1`, or any buffer "
        "by `PyBuffer`: a view costs well under a microsecond whatever its length"
    )
    evidence = seen.evidence(chosen, _SEQUENCE)
    return _finding(seen, "sequence_conversion", title, share, evidence, remedy)


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
    return _finding(seen, "array_copy", title, share, evidence, remedy)


def output_lifecycle(seen: Observed) -> Finding | None:
    """The output is allocated, faulted in and released in each call."""
    chosen = seen.where(
        lambda s: (
            s.calling
            and s.layer in (Layer.ALLOCATION, Layer.PAGE_FAULT)
            and not matches(s, _SEQUENCE)
        )
    )
    share = seen.share(chosen)
    if share is None or share.low < OUTPUT_FROM:
        return None
    title = "The output is allocated and its pages are faulted in, in each call"
    remedy = (
        "let callers hand in the memory (`out=`), or keep a buffer between calls; pages that were "
        "touched before cost nothing"
    )
    return _finding(seen, "output_lifecycle", title, share, seen.evidence(chosen), remedy)


def allocation_in_compute(seen: Observed) -> Finding | None:
    """The inner loop allocates on the heap for each element."""
    chosen = seen.where(
        lambda s: (
            s.layer in (Layer.COMPUTE, Layer.MATH, Layer.POOL)
            and below(s, _ALLOCATOR)
            and not matches(s, _LARGE_BLOCK)
        )
    )
    calling = [stack for stack in chosen if stack.calling]
    share = _share_of_work(seen, chosen) if len(calling) < len(chosen) else seen.share(chosen)
    if share is None or share.low < ALLOCATION_FROM:
        return None
    per_element = _seconds(seen, chosen) / seen.size
    if per_element < ALLOCATION_PER_ELEMENT_S:
        return None
    base = "" if len(calling) == len(chosen) else " (share of the CPU time of all threads)"
    title = (
        "The computation allocates on the heap as it goes: "
        f"{format_seconds(per_element)} per element{base}"
    )
    remedy = (
        "take the allocation out of the loop: a buffer made once, an array of fixed length, or an "
        "iterator in place of a collected Vec"
    )
    return _finding(seen, "allocation_in_compute", title, share, seen.evidence(chosen), remedy)


def _share_of_work(seen: Observed, chosen: Sequence[StackTime]) -> Interval | None:
    """Share of the CPU time of all threads: the base for work that runs on several."""
    total = sum(stack.count for stack in seen.stacks)
    return wilson(sum(stack.count for stack in chosen), total) if total else None


def _seconds(seen: Observed, chosen: Sequence[StackTime]) -> float:
    """CPU seconds per call in some stacks."""
    return sum(s.count for s in chosen) / seen.region_samples * seen.call_s.estimate


def gil_held(seen: Observed) -> Finding | None:
    """No other Python thread can run while the extension computes."""
    held = seen.gil_held
    if held is None or held.low < GIL_FROM or seen.call_s.low < LONG_CALL_S:
        return None
    compute = _compute_share(seen)
    title = f"The GIL is held for {format_share(held.estimate)} of the call"
    remedy = (
        "wrap the computation in `py.detach(|| …)` (`allow_threads` before PyO3 0.26): one call "
        "gets no faster, but other Python threads run meanwhile"
    )
    evidence = seen.evidence(
        seen.where(lambda s: s.calling and s.layer in (Layer.COMPUTE, Layer.MATH))
    )
    return _finding(
        seen,
        "gil_held",
        title,
        compute or held,
        evidence,
        remedy,
        # A single call saves nothing: the gain is what other threads can do beside it.
        gain=Interval(estimate=0.0, low=0.0, high=0.0),
        verify=_again(seen),
    )


def _compute_share(seen: Observed) -> Interval | None:
    return seen.share(seen.where(lambda s: s.calling and s.layer in (Layer.COMPUTE, Layer.MATH)))


def pool_for_too_little(seen: Observed) -> Finding | None:
    """The thread pool is woken for less work than waking it takes."""
    if not seen.workers_s or seen.workers_s < IDLE_WORKERS * seen.call_s.estimate:
        return None
    pool = seen.layers.get(Layer.POOL)
    waiting = seen.layers.get(Layer.WAITING)
    useful = _useful_workers(seen)
    overhead = sum(row.share for row in (pool, waiting) if row is not None)
    # A caller that waits while the workers compute is as it should be: only the rest is dispatch.
    lost = overhead - useful
    if lost < DISPATCH_FROM:
        return None
    share = Interval(
        estimate=lost,
        low=sum(row.low for row in (pool, waiting) if row is not None) - useful,
        high=sum(row.high for row in (pool, waiting) if row is not None) - useful,
    )
    if share.low < DISPATCH_FROM / 2:
        return None
    title = "The thread pool is woken for too little work"
    remedy = (
        f"compute {format_count(seen.size)} elements on the calling thread: raise the threshold "
        "from which work is spread; `perfkit tune` finds it"
    )
    chosen = seen.where(lambda s: s.calling and s.layer is Layer.POOL)
    return _finding(
        seen,
        "pool_for_too_little",
        title,
        share,
        seen.evidence(chosen),
        remedy,
        gain=_upto(share.high),
        verify=f"perfkit tune --workload {seen.workload} --dry-run",
    )


def _useful_workers(seen: Observed) -> float:
    """Wall clock in which workers compute, at least: their CPU time over their number."""
    chosen = seen.where(
        lambda s: not s.calling and s.layer in (Layer.COMPUTE, Layer.MATH, Layer.ALLOCATION)
    )
    workers = max(seen.threads, 1)
    return sum(s.count for s in chosen) / seen.region_samples / workers


def pool_not_used(seen: Observed) -> Finding | None:
    """One thread computes for long while the others that it may use do nothing."""
    if seen.threads < 2 or seen.workers_s is None or seen.call_s.low < LONG_CALL_S:
        return None
    compute = _compute_share(seen)
    idle = seen.workers_s < IDLE_WORKERS * seen.call_s.estimate
    if compute is None or not idle or compute.low < 0.5:
        return None
    gain = _upto(compute.high * (1 - 1 / seen.threads))
    took = format_seconds(compute.estimate * seen.call_s.estimate)
    title = f"{took} are computed on one thread although {seen.threads} may be used"
    remedy = (
        "spread the work with rayon's `par_chunks` where elements do not depend on each other, or "
        "lower the threshold from which it is spread"
    )
    evidence = seen.evidence(
        seen.where(lambda s: s.calling and s.layer in (Layer.COMPUTE, Layer.MATH))
    )
    return _finding(seen, "pool_not_used", title, compute, evidence, remedy, gain=gain)


def threshold_outside(seen: Observed) -> Finding | None:
    """A threshold sends this size into its slower branch."""
    worst: Finding | None = None
    for branches in seen.branches:
        taken_above = seen.size >= branches.value
        gain = branches.above_gain
        if taken_above:
            gain = Interval(estimate=1 / gain.estimate, low=1 / gain.high, high=1 / gain.low)
        if gain.low <= 1:
            continue  # the branch that is taken is not the slower one, as far as can be told
        saved = Interval(
            estimate=1 - 1 / gain.estimate, low=1 - 1 / gain.low, high=1 - 1 / gain.high
        )
        other = "below" if taken_above else "above"
        title = (
            f"{branches.parameter} = {branches.value} is on the wrong side of "
            f"{format_count(seen.size)}: the branch {other} it is "
            f"{format_ratio(gain.estimate)} as fast"
        )
        remedy = (
            f"move {branches.parameter} {'above' if taken_above else 'to at most'} "
            f"{format_count(seen.size)}; the branches cross {branches.crossover.described()}"
        )
        found = _finding(
            seen,
            "threshold_outside",
            title,
            saved,
            (),
            remedy,
            verify=f"perfkit tune --workload {seen.workload}",
        )
        if worst is None or found.share > worst.share:
            worst = found
    return worst


def scalar_math(seen: Observed) -> Finding | None:
    """Mathematical functions are called for one element at a time."""
    chosen = seen.where(
        lambda s: (
            s.layer is Layer.MATH and not re.search(r"_ZGV|svml|Sleef", " ".join(s.frames[-3:]))
        )
    )
    share = _share_of_work(seen, chosen)
    if share is None or share.low < MATH_FROM:
        return None
    if seen.instructions is not None and seen.instructions < MANY_INSTRUCTIONS:
        return None
    counted = f"; {seen.instructions:.0f} instructions per element" if seen.instructions else ""
    title = f"A scalar math library does one element per call{counted}"
    remedy = (
        "evaluate a polynomial or rational approximation over slices that the compiler can "
        "vectorise, or call a vector math library; check the accuracy you need first"
    )
    return _finding(
        seen,
        "scalar_math",
        title,
        share,
        seen.evidence(chosen),
        remedy,
        gain=_upto(share.high),
    )


def unoptimised_build(seen: Observed) -> Finding | None:
    """The extension was compiled without optimisation."""
    line = seen.line
    if line is None or line.opt_level in {"2", "3", "s", "z"}:
        return None
    compute = _compute_share(seen)
    everything = Interval(estimate=1.0, low=1.0, high=1.0)
    title = f"The extension is compiled with opt-level {line.opt_level}: a debug build"
    remedy = (
        'build with `maturin develop --release`, and look for `profile = "dev"` in [tool.maturin]'
    )
    share = compute or everything
    return _finding(seen, "unoptimised_build", title, share, (), remedy, gain=_upto(share.high))


def per_call_overhead(seen: Observed) -> Finding | None:
    """The fixed cost of a call is much of what the smallest size takes."""
    ffi = seen.ffi
    if not seen.smallest or ffi is None or not ffi.agree or ffi.share is None:
        return None
    low, high = ffi.low, ffi.high
    if low is None or high is None or low < BOUNDARY_FROM:
        return None
    if sequence_conversion(seen) is not None:
        return None  # a conversion that grows with the size is another matter
    share = Interval(estimate=ffi.share, low=low, high=high)
    title = (
        f"The boundary is {format_share(ffi.share)} of a call of {format_count(seen.size)} elements"
    )
    remedy = "hand over more elements per call: one array of many small problems, not many calls"
    return _finding(seen, "per_call_overhead", title, share, (), remedy, gain=_upto(min(high, 1.0)))


def foreign_threads(seen: Observed) -> Finding | None:
    """Threads of another library are busy beside the subject's own."""
    chosen = seen.where(lambda s: not s.calling and matches(s, _FOREIGN_POOL))
    share = seen.share(chosen)
    if share is None or share.low < FOREIGN_THREADS_FROM:
        return None
    title = "Threads of another library compete for the cores"
    remedy = (
        "limit its pool (OMP_NUM_THREADS, OPENBLAS_NUM_THREADS, threadpoolctl) or let its idle "
        "threads sleep (OMP_WAIT_POLICY=passive)"
    )
    evidence = seen.evidence(chosen, _FOREIGN_POOL)
    return _finding(
        seen, "foreign_threads", title, share, evidence, remedy, gain=_upto(min(share.high, 1.0))
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
        return _finding(seen, "reference_faster", title, share, evidence, remedy)
    return None


RULES: tuple[Rule, ...] = (
    sequence_conversion,
    array_copy,
    output_lifecycle,
    allocation_in_compute,
    gil_held,
    pool_for_too_little,
    pool_not_used,
    threshold_outside,
    scalar_math,
    unoptimised_build,
    per_call_overhead,
    foreign_threads,
    reference_faster,
)
"""All of them; each is asked about each size."""

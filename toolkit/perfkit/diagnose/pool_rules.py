"""The rules about threads: a pool that is woken for nothing, not used, or fed badly; and others'.

Pure functions of `Observed`, as those of `rules.py`. CPU seconds of threads are put against the
time per call that was measured without a profiler and with room on the machine: a core that
another program took makes a thread wait, but it takes no CPU time for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from perfkit.diagnose.observed import Observed, StackTime, matches
from perfkit.diagnose.rule import (
    LONG_CALL_S,
    Cost,
    frames,
    handles_objects,
    of_compute,
    of_work,
    rule,
    upto,
)
from perfkit.measure.ratios import exactly
from perfkit.records import Interval, Layer
from perfkit.stacks.intervals import Z
from perfkit.units import format_seconds

DISPATCH_FROM = 0.30
IDLE_FROM = 0.25
PIECES_FROM = 0.25
COMPUTE_FROM = 0.30
FOREIGN_THREADS_FROM = 0.10
"""Shares from which these are worth a finding; below, a report would name all."""
IDLE_WORKERS = 0.05

_POOL = frames("pool")
_LOOKS_FOR_WORK = frames("looks_for_work")
_RUNS_A_PIECE = frames("runs_a_piece")
_FOREIGN_POOL = frames("foreign_pool")
_BLAS_CALL = frames("blas_call")
_USEFUL = (Layer.COMPUTE, Layer.MATH, Layer.ALLOCATION, Layer.PAGE_FAULT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Threads:
    """What the threads of one call do, in CPU seconds per call.

    Attributes:
        caller_s: the calling thread, without the pool's own code.
        workers_s: what the workers compute, at most.
        pieces_s: what workers spend on cutting, handing over and joining pieces of the work, at
            least. Without debug information, as in a wheel, work that was inlined into the pool's
            functions looks the same: all of it may be work.
        error: relative half width of `caller_s + workers_s`, by the number of samples.
    """

    caller_s: float
    workers_s: float
    pieces_s: float
    error: float

    @property
    def work_s(self) -> float:
        """What one thread alone would compute."""
        return self.caller_s + self.workers_s


def threads_of(seen: Observed) -> Threads | None:
    """None where no other thread took part, or nothing could see it."""
    others = sum(stack.count for stack in seen.stacks if not stack.calling)
    if not others or not seen.workers_s:
        return None
    if seen.workers_s < IDLE_WORKERS * seen.call_s.estimate:
        return None
    pool = [s for s in seen.stacks if not s.calling and matches(s, _POOL)]
    caller = sum(s.count for s in seen.stacks if s.calling and s.layer is not Layer.POOL)
    useful = sum(s.count for s in pool if s.layer in _USEFUL)
    pieces = sum(s.count for s in pool if handles_a_piece(s))
    if not pool:
        return None
    if seen.line is None:
        useful, pieces = useful + pieces, 0
    per_sample_s = seen.workers_s / others
    return Threads(
        caller_s=caller * per_sample_s,
        workers_s=useful * per_sample_s,
        pieces_s=pieces * per_sample_s,
        error=Z * math.sqrt(seen.design_effect / max(caller + useful, 1)),
    )


def handles_a_piece(stack: StackTime) -> bool:
    """Whether a worker's time goes to a piece of work as such: cutting, handing over, joining. What
    it spends on looking for work is not: that is how it waits.
    """
    if stack.layer is not Layer.POOL:
        return False
    for frame in reversed(stack.frames):
        if _LOOKS_FOR_WORK.search(frame):
            return False
        if _RUNS_A_PIECE.search(frame):
            return True
    return False


def _lost(seen: Observed, busy: Threads) -> Interval:
    """Share of the call that one thread alone would not take."""
    work = busy.work_s
    low, high = work * (1 + busy.error), work * (1 - busy.error)
    return Interval(
        estimate=1 - work / seen.call_s.estimate,
        low=1 - low / seen.call_s.low,
        high=1 - high / seen.call_s.high,
    )


def _cut_too_small(busy: Threads) -> bool:
    """Whether it is the pieces that cost, and not the waking."""
    return busy.pieces_s >= PIECES_FROM * (busy.pieces_s + busy.work_s)


@rule(DISPATCH_FROM / 2)
def pool_for_too_little(seen: Observed) -> Cost | None:
    """All that is computed, on whichever threads, takes less than the call: one thread alone would
    be done sooner.
    """
    busy = threads_of(seen)
    if busy is None or (seen.call_s.low >= LONG_CALL_S and _cut_too_small(busy)):
        return None  # a long call has work enough: it is cut wrongly
    lost = _lost(seen, busy)
    if lost.estimate < DISPATCH_FROM:
        return None
    work, call = format_seconds(busy.work_s), format_seconds(seen.call_s.estimate)
    return Cost(
        share=lost,
        evidence=seen.evidence(seen.where(lambda s: s.layer is Layer.POOL)),
        gain=upto(lost.high),
        fields={"work": work, "call": call},
    )


@rule(PIECES_FROM / 2)
def chunk_too_small(seen: Observed) -> Cost | None:
    """Workers spend their time on handling pieces, not on the work in them."""
    busy = threads_of(seen)
    if busy is None or seen.call_s.low < LONG_CALL_S or not _cut_too_small(busy):
        return None
    chosen = seen.where(lambda s: not s.calling and handles_a_piece(s))
    return _with_grains(seen, of_work(seen, chosen))


@rule()
def chunk_too_large(seen: Observed) -> Cost | None:
    """The call waits for some workers while others have nothing to do."""
    busy = threads_of(seen)
    if busy is None or seen.threads < 2 or seen.call_s.low < LONG_CALL_S:
        return None
    waited_s = seen.call_s.low - busy.caller_s * (1 + busy.error)
    idle_s = waited_s - (busy.workers_s * (1 + busy.error) + busy.pieces_s) / seen.threads
    share = idle_s / seen.call_s.estimate
    # With less than one worker computing on average, waking is what costs.
    if share < IDLE_FROM or _lost(seen, busy).estimate >= DISPATCH_FROM or _cut_too_small(busy):
        return None
    computing = busy.workers_s / (seen.call_s.estimate - busy.caller_s)
    chosen = seen.where(lambda s: not s.calling and s.layer in _USEFUL and matches(s, _POOL))
    found = Cost(
        share=exactly(share),
        evidence=seen.evidence(chosen),
        gain=upto(1 - busy.work_s * (1 - busy.error) / seen.threads / seen.call_s.high),
        fields={"computing": f"{computing:.1f}", "threads": seen.threads},
    )
    return _with_grains(seen, found)


def _with_grains(seen: Observed, found: Cost | None) -> Cost | None:
    """The same, told with the parameters that decide the length of a piece where there are any."""
    if found is None or not seen.grains:
        return found
    return replace(
        found, case="grains", fields={**found.fields, "grains": " or ".join(seen.grains)}
    )


@rule(COMPUTE_FROM)
def pool_not_used(seen: Observed) -> Cost | None:
    """One thread computes for long while the others that it may use do nothing."""
    if seen.threads < 2 or seen.workers_s is None or seen.call_s.low < LONG_CALL_S:
        return None
    compute = of_compute(seen)
    if compute is None or seen.workers_s >= IDLE_WORKERS * seen.call_s.estimate:
        return None
    took = format_seconds(compute.share.estimate * seen.call_s.estimate)
    gain = upto(compute.share.high * (1 - 1 / seen.threads))
    case = "objects" if handles_objects(seen) else ""
    return replace(compute, gain=gain, case=case, fields={"took": took, "threads": seen.threads})


@rule(FOREIGN_THREADS_FROM)
def foreign_threads(seen: Observed) -> Cost | None:
    """Threads of another library are busy beside the subject's own."""
    chosen = seen.where(lambda s: not s.calling and matches(s, _FOREIGN_POOL))
    found = of_work(seen, chosen, _FOREIGN_POOL)
    if found is None:
        return None
    called = any(_calls_blas(seen, stack) for stack in seen.stacks)
    gain = upto(found.share.high)
    return replace(found, gain=gain, case="called" if called else "")


def _calls_blas(seen: Observed, stack: StackTime) -> bool:
    """Whether the subject's own code asks for it."""
    own = [index for index, frame in enumerate(stack.frames) if seen.is_own(frame)]
    return bool(own) and any(_BLAS_CALL.search(frame) for frame in stack.frames[own[0] :])

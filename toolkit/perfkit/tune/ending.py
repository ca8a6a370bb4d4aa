"""When and how the search ends. Pure functions of the trials so far.

Every rule uses intervals, so that noise neither ends a search nor prolongs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.measure.ratios import is_faster, is_slower
from perfkit.records import TrialOutcome, TuneStatus
from perfkit.tune.score import UNCHANGED, gain, meets, score
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.config import Tune
    from perfkit.records import Interval, Trial

FAILURES = frozenset(
    {
        TrialOutcome.BUILD_FAILED,
        TrialOutcome.CRASHED,
        TrialOutcome.TIMED_OUT,
        TrialOutcome.WRONG_RESULT,
        TrialOutcome.NOT_APPLIED,
    }
)
IN_A_ROW = 3
"""Candidates that fail in a row before the search gives up: one bad value is no reason, and after
three of three there is nothing to hope for.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a search ended."""

    status: TuneStatus
    reason: str


def best_of(trials: Sequence[Trial], noise_floor: float | None) -> Trial:
    """The best trial: the start, unless another one is surely faster; of several, each has to be
    surely faster than the one before it. Ties go to the earlier one.
    """
    best = trials[0]
    for trial in trials[1:]:
        if trial.outcome is TrialOutcome.OK and is_faster(
            gain(trial_score(trial), trial_score(best)), noise_floor
        ):
            best = trial
    return best


def trial_score(trial: Trial) -> Interval:
    """The score of a measured trial; the starting build's is one."""
    return score(trial.sizes) if trial.iteration else UNCHANGED


def converged(trial: Trial, start: Trial, main_size: int) -> str | None:
    """Why a trial is a success, or None.

    Every target is met; or the main size's is, where the start missed it: a start that meets it
    already would end every search at its first trial.
    """
    missed = [format_count(size.size) for size in trial.sizes if meets(size) is False]
    if all(size.target is None for size in trial.sizes):
        return None
    if not missed:
        return "every target is met by the lower bound"
    if _meets_at(trial, main_size) and not _meets_at(start, main_size):
        return (
            f"the target of the main size, {format_count(main_size)}, is met by the lower bound "
            f"(still missed: {', '.join(missed)})"
        )
    return None


def decide(trials: Sequence[Trial], limits: Tune, noise_floor: float | None) -> Ending | None:
    """Whether the trials so far end the search; success is judged before this is asked.

    Args:
        trials: the starting build first, which counts as none.
        limits: what the config allows.
    """
    tried = len(trials) - 1
    found = _all_alike(trials[1:]) or _no_progress(trials, limits, noise_floor)
    if found is None and tried >= limits.max_iterations:
        reason = f"the limit of {tried} trials is reached"
        return Ending(status=TuneStatus.MAX_ITERATIONS, reason=reason)
    return found


def out_of_time(
    trials: Sequence[Trial], *, limit_s: float | None, elapsed_s: float
) -> Ending | None:
    """Whether another trial and its confirmation would most likely end after the time limit.

    A trial is expected to take as long as the longest so far. Before the first candidate that is
    the start, whose build may have taken longer because it compiled the dependencies too.
    """
    if limit_s is None:
        return None
    longest = max(trial.build_s + trial.bench_s for trial in (trials[1:] or trials))
    confirmation = max(trial.bench_s for trial in trials)
    if elapsed_s + longest + confirmation < limit_s:
        return None
    reason = f"the time limit of {limit_s:g} s leaves no room for another trial"
    return Ending(status=TuneStatus.MAX_ITERATIONS, reason=reason)


def exhausted(trials: Sequence[Trial]) -> Ending:
    """There is no candidate left."""
    reason = f"all candidates were tried ({len(trials) - 1} trials)"
    return Ending(status=TuneStatus.STAGNATION, reason=reason)


def _meets_at(trial: Trial, main_size: int) -> bool:
    return any(meets(size) is True for size in trial.sizes if size.size == main_size)


def _all_alike(tried: Sequence[Trial]) -> Ending | None:
    """The last few trials all failed, or none of them could be judged."""
    last = [trial.outcome for trial in tried[-IN_A_ROW:]]
    if len(last) < IN_A_ROW:
        return None
    if FAILURES.issuperset(last):
        reason = f"{IN_A_ROW} candidates in a row failed ({', '.join(last)})"
        return Ending(status=TuneStatus.FAILED, reason=reason)
    for outcome, status, what in (
        (TrialOutcome.BUSY, TuneStatus.BUSY, "the machine had no room for"),
        (TrialOutcome.UNTRUSTED, TuneStatus.UNTRUSTED, "identical code measured as different in"),
    ):
        if set(last) == {outcome}:
            return Ending(status=status, reason=f"{what} {IN_A_ROW} trials in a row")
    return None


def _no_progress(trials: Sequence[Trial], limits: Tune, noise_floor: float | None) -> Ending | None:
    """Stagnation: the last n measured trials gained nothing. Degradation: they all lost.

    A trial that failed or was not measured says nothing about either.
    """
    measured = [trial for trial in trials if trial.outcome is TrialOutcome.OK]
    count = limits.stagnation_iterations
    if len(measured) - 1 < count:
        return None
    best = best_of(measured[:-count], noise_floor)
    gains = [gain(trial_score(trial), trial_score(best)) for trial in measured[-count:]]
    last = f"{count} measured trials in a row were" if count > 1 else "a measured trial was"
    if all(is_slower(found, noise_floor) for found in gains):
        reason = f"{last} surely slower than trial {best.iteration}, the best one"
        return Ending(status=TuneStatus.DEGRADATION, reason=reason)
    wanted = 1.0 + limits.stagnation_gain
    if any(is_faster(found, noise_floor) and found.estimate >= wanted for found in gains):
        return None
    reason = (
        f"{last} without a sure gain of {100 * limits.stagnation_gain:g} % over trial "
        f"{best.iteration}, the best one"
    )
    return Ending(status=TuneStatus.STAGNATION, reason=reason)

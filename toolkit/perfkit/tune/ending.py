"""When the search ends, and how that is called. Pure functions of the trials so far.

Every rule looks at intervals: noise neither ends a search nor prolongs it.
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

    from perfkit.records import Interval, Trial

FAILURES = (
    TrialOutcome.BUILD_FAILED,
    TrialOutcome.CRASHED,
    TrialOutcome.TIMED_OUT,
    TrialOutcome.WRONG_RESULT,
    TrialOutcome.NOT_APPLIED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The limits of one search.

    Attributes:
        max_iterations: trials at the most, the starting build not counted.
        stagnation_iterations: measured trials in a row without a gain.
        stagnation_gain: what counts as a gain, as a fraction.
        failures: candidates that fail in a row before the search gives up; 3, because one bad
            value is no reason, and three of three are none to hope on.
        main_size: the size that matters most.
    """

    max_iterations: int
    stagnation_iterations: int
    stagnation_gain: float
    main_size: int
    failures: int = 3


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


def converged(trial: Trial, start: Trial, rules: Rules) -> str | None:
    """Why a trial is a success, or None.

    Every target is met; or the main size's is, where the start missed it: a start that meets it
    already would end every search at its first trial.
    """
    with_target = [size for size in trial.sizes if size.target is not None]
    if not with_target:
        return None
    missed = [format_count(size.size) for size in with_target if not meets(size)]
    if not missed:
        return "every target is met by the lower bound"
    if _main_met(trial, rules) and not _main_met(start, rules):
        main = format_count(rules.main_size)
        return (
            f"the target of the main size, {main}, is met by the lower bound "
            f"(still missed: {', '.join(missed)})"
        )
    return None


def decide(trials: Sequence[Trial], rules: Rules, noise_floor: float | None) -> Ending | None:
    """Whether the trials so far end the search; success is judged before this is asked.

    Args:
        trials: the starting build first.
    """
    tried = trials[1:]
    return (
        _failed(tried, rules)
        or _no_verdict(tried, rules)
        or _no_progress(trials, rules, noise_floor)
        or _used_up(tried, rules)
    )


def out_of_time(
    trials: Sequence[Trial], *, limit_s: float | None, elapsed_s: float
) -> Ending | None:
    """Whether another trial, as long as the longest so far, and its confirmation would most likely
    end after the time limit.

    Before the first candidate the start says it, whose build may have taken longer than another
    one will: its dependencies were compiled too.
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
    return Ending(
        status=TuneStatus.STAGNATION, reason=f"all candidates were tried ({len(trials) - 1} trials)"
    )


def _main_met(trial: Trial, rules: Rules) -> bool:
    return any(meets(size) is True for size in trial.sizes if size.size == rules.main_size)


def _failed(tried: Sequence[Trial], rules: Rules) -> Ending | None:
    last = tried[-rules.failures :]
    if len(last) < rules.failures or any(trial.outcome not in FAILURES for trial in last):
        return None
    outcomes = ", ".join(trial.outcome for trial in last)
    return Ending(
        status=TuneStatus.FAILED, reason=f"{rules.failures} candidates in a row failed ({outcomes})"
    )


def _no_verdict(tried: Sequence[Trial], rules: Rules) -> Ending | None:
    last = tried[-rules.failures :]
    if len(last) < rules.failures:
        return None
    for outcome, status, what in (
        (TrialOutcome.BUSY, TuneStatus.BUSY, "the machine had no room for"),
        (TrialOutcome.UNTRUSTED, TuneStatus.UNTRUSTED, "identical code measured as different in"),
    ):
        if all(trial.outcome is outcome for trial in last):
            return Ending(status=status, reason=f"{what} {rules.failures} trials in a row")
    return None


def _no_progress(trials: Sequence[Trial], rules: Rules, noise_floor: float | None) -> Ending | None:
    """Stagnation: the last n measured trials gained nothing. Degradation: they all lost.

    A trial that failed or was not measured says nothing about either.
    """
    measured = [trial for trial in trials if trial.outcome is TrialOutcome.OK]
    count = rules.stagnation_iterations
    if len(measured) - 1 < count:
        return None
    best = best_of(measured[:-count], noise_floor)
    gains = [gain(trial_score(trial), trial_score(best)) for trial in measured[-count:]]
    if all(is_slower(found, noise_floor) for found in gains):
        return Ending(
            status=TuneStatus.DEGRADATION,
            reason=f"{_trials(count)} surely slower than trial {best.iteration}, the best one",
        )
    wanted = 1.0 + rules.stagnation_gain
    if any(is_faster(found, noise_floor) and found.estimate >= wanted for found in gains):
        return None
    return Ending(
        status=TuneStatus.STAGNATION,
        reason=f"{_trials(count)} without a sure gain of {100 * rules.stagnation_gain:g} % "
        f"over trial {best.iteration}, the best one",
    )


def _trials(count: int) -> str:
    return f"{count} measured trials in a row were" if count > 1 else "a measured trial was"


def _used_up(tried: Sequence[Trial], rules: Rules) -> Ending | None:
    if len(tried) < rules.max_iterations:
        return None
    return Ending(
        status=TuneStatus.MAX_ITERATIONS, reason=f"{len(tried)} trials, the most that were allowed"
    )

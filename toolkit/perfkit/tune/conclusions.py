"""What the finished trials say beyond the best one: dead parameters, trade-offs, missing proofs.

Pure functions of trials; the loop calls them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from perfkit.measure.ratios import is_faster, is_slower
from perfkit.records import Note, Place, Proof, TrialOutcome
from perfkit.tune import space
from perfkit.tune.score import UNCHANGED, change_of, meets, score
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.records import Interval, SizeResult, Trial, Value


def confirmed_sizes(sizes: Sequence[SizeResult]) -> tuple[SizeResult, ...]:
    """Measured sizes as the report gives them, with each target judged."""
    return tuple(replace(size, met=meets(size)) for size in sizes)


def unchanged_sizes(sizes: Sequence[SizeResult]) -> tuple[SizeResult, ...]:
    """The starting build as its own result: against itself nothing has changed.

    How much a copy of it differed is in trial 0, and is noise.
    """
    return tuple(replace(one, change=UNCHANGED) for one in confirmed_sizes(sizes))


def dead_parameters(trials: Sequence[Trial], start: Mapping[str, Value]) -> tuple[str, ...]:
    """Parameters that reach no code: by proof, or by equal code for two values of one alone."""
    found = {proof.name for trial in trials for proof in trial.proofs if proof.proof is Proof.DEAD}
    for trial in trials:
        if trial.outcome is TrialOutcome.SAME_CODE:
            found |= {name for other in trials if (name := _only_change(trial, other)) is not None}
    return tuple(name for name in start if name in found)


def closing_notes(
    dead: Sequence[str],
    confirmed: Sequence[SizeResult],
    best: Trial | None,
    noise_floor: float | None,
) -> tuple[Note, ...]:
    """What the reader of the result has to know about it."""
    notes = [
        Note(
            id="dead_parameter",
            text=f"{name} reaches no machine code: other values of it compile to the same code",
            remedy="look for another place in the sources that holds the same number",
        )
        for name in dead
    ]
    if best is not None and best.iteration:
        notes += _losses(confirmed, noise_floor)
    unproved = [
        proof.name for proof in (best.proofs if best else ()) if proof.proof is Proof.UNPROVED
    ]
    if unproved:
        text = f"nothing proves that the build has the requested values of {', '.join(unproved)}"
        remedy = "name a function in `subject.parameters` that returns the compiled values"
        notes.append(Note(id="unproved", text=text, remedy=remedy))
    return tuple(notes)


def _losses(confirmed: Sequence[SizeResult], noise_floor: float | None) -> list[Note]:
    """What a confirmed trial costs: sizes that are slower, and no gain over all of them."""
    notes = [
        Note(
            id="trade_off",
            text="confirmed, but surely slower than with the starting values: "
            f"{_ratio(change_of(size))}",
            place=Place(workload=size.workload, sizes=(size.size,)),
            remedy="weigh it against what the other sizes gain",
        )
        for size in confirmed
        if is_slower(change_of(size), size.noise_floor)
    ]
    if not confirmed:
        return notes
    whole = score(confirmed)
    if is_faster(whole, noise_floor):
        return notes
    beyond = ""
    if noise_floor is not None and whole.low > 1:
        beyond = f" by more than the noise floor of {100 * noise_floor:.1f} %"
    text = (
        "confirmed by its targets, but over all sizes not surely faster than the starting "
        f"values{beyond}: {_ratio(whole)} (geometric mean)"
    )
    remedy = "weigh what the targets are worth against the other sizes"
    return [*notes, Note(id="no_gain_over_all", text=text, remedy=remedy)]


def rejected_note(trial: Trial, sizes: Sequence[SizeResult]) -> Note:
    """A trial that did not hold what it promised, with both figures."""
    text = (
        f"{_ratio(score(trial.sizes))} against the start when it was tried, "
        f"{_ratio(score(sizes))} when it was measured afresh (geometric mean of the sizes): "
        "not confirmed"
    )
    return Note(id="not_confirmed", text=text, where=f"trial {trial.iteration}")


def missed_note(trial: Trial, sizes: Sequence[SizeResult]) -> Note:
    """A trial that met its targets when it was tried, and not when it was measured afresh."""
    missed = "; ".join(
        f"{_ratio(size.speedup)} at {format_count(size.size)}, of {size.target:g}x"
        for size in sizes
        if size.speedup is not None and meets(size) is False
    )
    text = f"met the targets when it was tried, but not when measured afresh: {missed}"
    return Note(id="not_confirmed", text=text, where=f"trial {trial.iteration}")


def resumed_note(earlier: Sequence[Trial]) -> Note:
    """How much of the run came before an interruption, which `wall_s` does not count."""
    spent = sum(trial.build_s + trial.bench_s for trial in earlier)
    text = (
        f"resumed: building and measuring the {len(earlier)} trials before the interruption took "
        f"{spent:.0f} s, which neither the total time nor the time limit counts"
    )
    return Note(id="resumed", text=text)


def _ratio(interval: Interval) -> str:
    return f"{interval.estimate:.3f}x [{interval.low:.3f}, {interval.high:.3f}]"


def _only_change(trial: Trial, other: Trial) -> str | None:
    """The one parameter in which two trials of equal code differ.

    Source text may be the other value written another way; then equal code says nothing.
    """
    if not trial.signature or trial.signature != other.signature:
        return None
    names = space.difference(trial.params, other.params)
    if len(names) != 1:
        return None
    values = (trial.params.get(names[0]), other.params.get(names[0]))
    return None if any(value is None or isinstance(value, str) for value in values) else names[0]

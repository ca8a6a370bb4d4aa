"""What the tuning report says, as blocks: the outcome, the proof of it, and every trial.

The table of all iterations in `final_report.md` is made in `report/final.py`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, assert_never

from perfkit.records import Proof, TrialOutcome, TuneStatus
from perfkit.report.endings import ending
from perfkit.report.measuring import change_text, met_text, target_text
from perfkit.report.page import Bullets, Heading, Page, Paragraph, Tone, Verdict, points, table
from perfkit.report.words import UNKNOWN, joined, parameters, ratio_interval, seconds, value_text
from perfkit.tune.score import mean, score
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from perfkit.records import ModuleFile, SizeResult, Trial, TuneReport, Value
    from perfkit.report.page import Block, Table
    from perfkit.tune.setup import TunePlan

_CHANGE_BASE = (
    "Change is the starting build's time over the trial's, measured in the same blocks: above 1x "
    "the trial is faster. Brackets: 95 % interval. Only this ratio is compared between trials."
)


_GETTER_BASE = (
    "getter: the built module returned this value. The getter itself keeps "
    "the constant in the code, so perfkit cannot tell whether anything else reads it."
)


def tune_page(report: TuneReport) -> Page:
    """The report of `perfkit tune`."""
    blocks: list[Block] = [_verdict(report), *_best(report)]
    if report.confirmed:
        title = "Confirmed" if report.best_iteration else "The starting values"
        blocks += [Heading(text=title), _confirmed_table(report)]
    if report.recommendation is not None:
        blocks += [
            Heading(text="Where the search started"),
            Paragraph(text=f"{report.recommendation.reason}."),
        ]
    if report.trials:
        blocks += [Heading(text="Trials"), trials_table(report.trials, report.start_params or {})]
        failures = tuple(
            f"trial {trial.iteration} ({trial.outcome}): {trial.reason}"
            for trial in report.trials
            if trial.outcome is not TrialOutcome.OK and trial.reason
        )
        if failures:
            blocks.append(Bullets(items=failures))
    profiled = (trial for trial in report.trials if trial.profile)
    blocks += points("Hot frames of the profiled trials", map(_hot_frames, profiled))
    blocks += ending(report.notes)
    text = f"{report.builds} builds, {report.evaluations} evaluations, {seconds(report.wall_s)}"
    blocks.append(Paragraph(text=f"{text} in all."))
    return Page(title="perfkit tune", blocks=tuple(blocks))


def plan_page(plan: TunePlan) -> Page:
    """What `perfkit tune --dry-run` shows."""
    limit = "" if plan.time_limit_s is None else f" and {seconds(plan.time_limit_s)}"
    text = (
        f"Nothing was built. {plan.workload} at {joined(map(format_count, plan.sizes))}, strategy "
        f"{plan.strategy}, at most {plan.max_iterations} trials{limit}. The worst size decides "
        "which recommendation comes first; most searches end before everything has been tried."
    )
    start = table(
        plan.start.items(),
        {"<parameter": lambda item: item[0], "value": lambda item: value_text(item[1])},
    )
    candidates = table(
        enumerate(plan.candidates, start=1),
        {
            "": lambda item: str(item[0]),
            "<stage": lambda item: item[1].stage.value,
            "<changes": lambda item: _difference(item[1].params, plan.start),
        },
    )
    return Page(
        title="perfkit tune --dry-run",
        blocks=(
            Paragraph(text=text),
            Heading(text="Start"),
            start,
            Heading(text="Candidates"),
            candidates,
        ),
    )


def trials_table(trials: Sequence[Trial], start: Mapping[str, Value]) -> Table:
    """One row per trial: what it changed, and its time against the starting build at each size."""
    cells: dict[str, Callable[[Trial], str]] = {
        "trial": lambda trial: str(trial.iteration),
        "<parameters": lambda trial: (
            _difference(trial.params, start) if trial.iteration else "the start itself"
        ),
        "<outcome": lambda trial: trial.outcome.value,
    }
    for size in sorted({size.size for trial in trials for size in trial.sizes}):
        cells[format_count(size)] = partial(_trial_cell, size)
    return table(trials, cells, caption=_CHANGE_BASE)


def _verdict(report: TuneReport) -> Verdict:
    match report.status:
        case TuneStatus.SUCCESS:
            tone = Tone.GOOD
        case TuneStatus.KEPT:
            tone = Tone.CAUTION if _missed(report.confirmed) else Tone.GOOD
        case TuneStatus.MAX_ITERATIONS | TuneStatus.STAGNATION | TuneStatus.DEGRADATION:
            tone = Tone.CAUTION
        case TuneStatus.BUSY | TuneStatus.UNTRUSTED | TuneStatus.FAILED:
            tone = Tone.BAD
        case _:
            assert_never(report.status)
    return Verdict(word=report.status.value, tone=tone, sentence=report.reason)


def _missed(confirmed: Sequence[SizeResult]) -> bool:
    return any(size.met is False for size in confirmed)


def _best(report: TuneReport) -> list[Block]:
    if report.best_params is None:
        return []
    start = report.start_params or {}
    best = (trial for trial in report.trials if trial.iteration == report.best_iteration)
    proofs = {proof.name: proof.proof for trial in best for proof in trial.proofs}

    def reading(name: str, value: Value) -> str:
        if name in report.dead_parameters:
            return "dead: reaches no code"
        return "kept" if start.get(name) == value else "changed"

    shown = table(
        report.best_params.items(),
        {
            "<parameter": lambda item: item[0],
            "start": lambda item: value_text(start[item[0]]) if item[0] in start else UNKNOWN,
            "best": lambda item: value_text(item[1]),
            "<": lambda item: reading(*item),
            "<known by": lambda item: proofs.get(item[0], Proof.UNPROVED).value,
        },
        caption=_GETTER_BASE if Proof.GETTER in proofs.values() else "",
    )
    blocks: list[Block] = [Heading(text="Best parameters"), shown]
    if report.best_build is not None:
        blocks.append(_build_text(report.best_build))
    return blocks


def _build_text(build: ModuleFile) -> Paragraph:
    return Paragraph(
        text=f"Built with them: {build.path} (sha256 {build.sha256}), kept until "
        "`perfkit cache clean`. It holds the constants; environment variables, setters and "
        "keyword arguments are set where it runs."
    )


def _confirmed_table(report: TuneReport) -> Table:
    """The result by size, and their geometric mean; of the starting build there is no change."""
    cells: dict[str, Callable[[SizeResult], str]] = {
        "size": lambda one: format_count(one.size),
        "speed-up": lambda one: ratio_interval(one.speedup),
        "target": target_text,
        "met": lambda one: met_text(one.target, one.met),
    }
    caption = (
        "The starting build, as trial 0 measured it. Speed-up is reference time over subject time; "
        "a target is met when the lower bound reaches it. Mean: geometric. Brackets: 95 % interval."
    )
    if report.best_iteration:
        cells["change"] = lambda one: ratio_interval(one.change)
        cells["<against the start"] = lambda one: change_text(one.change, one.noise_floor)
        caption = (
            "The best parameters, built and measured again after the search. Speed-up is reference "
            "time over subject time; a target is met when the lower bound reaches it. Change is "
            "the starting build's time over this one's. Mean: geometric. Brackets: 95 % interval."
        )
    shown = table(report.confirmed, cells, caption=caption)
    if len(report.confirmed) < 2:
        return shown
    speedups = [one.speedup for one in report.confirmed if one.speedup is not None]
    whole = len(speedups) == len(report.confirmed)  # else the mean is of other sizes
    row = ["mean", ratio_interval(mean(speedups) if whole else None), UNKNOWN, UNKNOWN]
    if report.best_iteration:
        change = score(report.confirmed)
        row += [ratio_interval(change), change_text(change, report.noise_floor)]
    return replace(shown, rows=(*shown.rows, tuple(row)))


def _difference(params: Mapping[str, Value], start: Mapping[str, Value]) -> str:
    changed = {name: value for name, value in params.items() if start.get(name) != value}
    return parameters(changed).replace(", ", "\n") if changed else "as the start"


def _trial_cell(size: int, trial: Trial) -> str:
    return ratio_interval(next((one.change for one in trial.sizes if one.size == size), None))


def _hot_frames(trial: Trial) -> str:
    """The hottest frames of a profiled trial, as the table in the trial's file has them."""
    frames = (", ".join(f"{k} {_plain(v)}" for k, v in row.items()) for row in trial.profile[:3])
    return "\n".join((f"trial {trial.iteration}:", *frames))


def _plain(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)

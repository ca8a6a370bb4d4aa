"""What the tuning report says, as blocks: the outcome, the proof of it, and every trial.

The table of all iterations in `final_report.md` is made in `report/final.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from perfkit.records import Proof, TrialOutcome, TuneStatus
from perfkit.report.measuring import change_text, met_text
from perfkit.report.notes import notes_blocks
from perfkit.report.page import (
    Block,
    Bullets,
    Heading,
    Page,
    Paragraph,
    Table,
    Tone,
    Verdict,
    columns,
)
from perfkit.report.words import (
    UNKNOWN,
    joined,
    parameters,
    ratio_interval,
    seconds,
    value_text,
)
from perfkit.tune.score import mean, score
from perfkit.units import format_count, format_ratio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.records import Interval, ModuleFile, SizeResult, Trial, TuneReport, Value
    from perfkit.tune.setup import TunePlan

_CHANGE_BASE = (
    "Change is the starting build's time over the trial's, measured in the same blocks: above 1x "
    "the trial is faster. Brackets: 95 % interval. Only this ratio is compared between trials."
)


_GETTER_BASE = (
    "getter: the built module returned this value. A getter holds the constants that it returns, "
    "so a constant that nothing else reads is not seen to be dead."
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
    blocks += _hot_frames(report.trials)
    blocks += notes_blocks(report.notes)
    blocks.append(
        Paragraph(
            text=f"{report.builds} builds, {report.evaluations} evaluations, "
            f"{seconds(report.wall_s)} in all."
        )
    )
    return Page(title="perfkit tune", blocks=tuple(blocks))


def plan_page(plan: TunePlan) -> Page:
    """What `perfkit tune --dry-run` shows."""
    rows = tuple(
        (str(number), candidate.stage.value, _difference(candidate.params, plan.start))
        for number, candidate in enumerate(plan.candidates, start=1)
    )
    limit = "" if plan.time_limit_s is None else f" and {seconds(plan.time_limit_s)}"
    text = (
        f"Nothing was built. {plan.workload} at {joined(map(format_count, plan.sizes))}, strategy "
        f"{plan.strategy}, at most {plan.max_iterations} trials{limit}. The worst size decides "
        "which recommendation comes first; a search mostly ends before everything is tried."
    )
    start = tuple((name, value_text(value)) for name, value in plan.start.items())
    return Page(
        title="perfkit tune --dry-run",
        blocks=(
            Paragraph(text=text),
            Heading(text="Start"),
            Table(columns=columns("<parameter", "value"), rows=start),
            Heading(text="Candidates"),
            Table(columns=columns("", "<stage", "<changes"), rows=rows),
        ),
    )


def trials_table(trials: Sequence[Trial], start: Mapping[str, Value]) -> Table:
    """One row per trial: what it changed, and its time against the starting build at each size."""
    sizes = sorted({size.size for trial in trials for size in trial.sizes})
    rows = tuple(
        (
            str(trial.iteration),
            _difference(trial.params, start) if trial.iteration else "the start itself",
            trial.outcome.value,
            *(_trial_cell(trial, size) for size in sizes),
        )
        for trial in trials
    )
    titles = ("trial", "<parameters", "<outcome", *(format_count(size) for size in sizes))
    return Table(columns=columns(*titles), rows=rows, caption=_CHANGE_BASE)


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
    best = next(
        (trial for trial in report.trials if trial.iteration == report.best_iteration), None
    )
    proofs = {proof.name: proof.proof.value for proof in best.proofs} if best else {}
    rows = []
    for name, value in report.best_params.items():
        before = start.get(name)
        reading = "changed" if before != value else "kept"
        if name in report.dead_parameters:
            reading = "dead: reaches no code"
        shown = value_text(before) if before is not None else UNKNOWN
        rows.append((name, shown, value_text(value), reading, proofs.get(name, "unproved")))
    titles = ("<parameter", "start", "best", "<", "<known by")
    caption = _GETTER_BASE if Proof.GETTER in proofs.values() else ""
    table = Table(columns=columns(*titles), rows=tuple(rows), caption=caption)
    blocks: list[Block] = [Heading(text="Best parameters"), table]
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
    """The result by size; of the starting build there is no change to speak of."""
    with_change = bool(report.best_iteration)
    rows = [
        (
            format_count(size.size),
            ratio_interval(size.speedup),
            format_ratio(size.target) if size.target is not None else UNKNOWN,
            met_text(size.target, size.met),
            *(_change_cells(size.change, size.noise_floor) if with_change else ()),
        )
        for size in report.confirmed
    ]
    if len(report.confirmed) > 1:
        rows.append(_mean_row(report, with_change=with_change))
    titles = ["size", "speed-up", "target", "met"]
    caption = (
        "The starting build, as trial 0 measured it. Speed-up is reference time over subject time; "
        "a target is met by the lower bound. Mean: geometric. Brackets: 95 % interval."
    )
    if with_change:
        titles += ["change", "<against the start"]
        caption = (
            "The best parameters built and measured afresh after the search. Speed-up is reference "
            "time over subject time; a target is met by the lower bound. Change is the starting "
            "build's time over this one's. Mean: geometric. Brackets: 95 % interval."
        )
    return Table(columns=columns(*titles), rows=tuple(rows), caption=caption)


def _change_cells(change: Interval | None, noise_floor: float | None) -> tuple[str, str]:
    return ratio_interval(change), change_text(change, noise_floor)


def _mean_row(report: TuneReport, *, with_change: bool) -> tuple[str, ...]:
    """The geometric mean over the sizes; of the speed-up only where every size has one."""
    speedups = [size.speedup for size in report.confirmed if size.speedup is not None]
    whole = len(speedups) == len(report.confirmed)
    change = score(report.confirmed)
    return (
        "mean",
        ratio_interval(mean(speedups) if whole else None),
        UNKNOWN,
        UNKNOWN,
        *(_change_cells(change, report.noise_floor) if with_change else ()),
    )


def _difference(params: Mapping[str, Value], start: Mapping[str, Value]) -> str:
    changed = {name: value for name, value in params.items() if start.get(name) != value}
    return parameters(changed).replace(", ", "\n") if changed else "as the start"


def _trial_cell(trial: Trial, size: int) -> str:
    found = next((entry for entry in trial.sizes if entry.size == size), None)
    return ratio_interval(found.change) if found is not None else UNKNOWN


def _hot_frames(trials: Sequence[Trial]) -> list[Block]:
    """The hottest frames of the profiled trials, as the table in the trial's file has them."""
    profiled = [trial for trial in trials if trial.profile]
    if not profiled:
        return []
    items = []
    for trial in profiled:
        frames = "\n".join(
            ", ".join(f"{key} {_plain(value)}" for key, value in row.items())
            for row in trial.profile[:3]
        )
        items.append(f"trial {trial.iteration}:\n{frames}")
    return [Heading(text="Hot frames of the profiled trials"), Bullets(items=tuple(items))]


def _plain(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)

"""What several runs say together, as blocks: each diagnosis in short, and where one workload takes
the place of another, what was promised, what was gained, and what tuning could reach.

The comparison itself is made in `perfkit.diagnose.promises`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from perfkit.diagnose.promises import Afterwards, Fulfilment
from perfkit.measure.ratios import is_faster, is_slower
from perfkit.records import Diagnosis, MeasureReport, Pattern, ProfileReport, TuneReport
from perfkit.report.diagnosis import diagnose_page, gain_text, split_table
from perfkit.report.measuring import change_text, measure_verdict, size_cell
from perfkit.report.page import Bullets, Heading, Page, Paragraph, Tone, Verdict, by_workload, table
from perfkit.report.tuning import tune_page
from perfkit.report.words import (
    UNKNOWN,
    joined,
    percent,
    ratio_interval,
    share_interval,
    time_interval,
)
from perfkit.stacks import bounds
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.diagnose.promises import Chapter, Gain, Promise, Replacement, Story
    from perfkit.records import Finding
    from perfkit.report.page import Block, Table

_STEP_BASE = (
    "Timed in the same blocks. Ratio: the time of {before} over that of {after}. Saved: share of "
    "{before}'s call. Brackets: 95 % interval; nothing inside the noise floor counts as a change."
)
_PROMISE_BASE = (
    "Promised: the share of {before}'s call that fixing this one finding saves if the rest of the "
    "call stays as it is: at most, or with an interval where the remedy was tried. Saved: what "
    "{after} saves in all. Promises overlap and do not add up. A diagnosis reports a finding at "
    "the one size where it matters most."
)
_BROKEN = (
    "Above the promise: {after} saves more than perfkit said that fixing this one could. If "
    "{after} changes nothing else, what perfkit said was not true."
)
_TUNING_BASE = (
    "Each ratio is the time of {before} as it started over the other time, both measured in the "
    "same blocks. Brackets: 95 % interval."
)


def story_page(story: Story) -> Page:
    """The report of `perfkit report RUN RUN…`."""
    blocks: list[Block] = [_summary(story.replacements)]
    for replacement in story.replacements:
        blocks += _replacement(replacement, story.chapters)
    for chapter in story.chapters:
        if isinstance(chapter.result, Diagnosis):
            blocks += _diagnosis(chapter, chapter.result)
    blocks += [Heading(text="The runs"), _runs_table(story.chapters)]
    return Page(title="perfkit report", blocks=tuple(blocks))


def _summary(replacements: Sequence[Replacement]) -> Verdict:
    """One sentence for each replacement, and whether every one of them has figures."""
    if not replacements:
        sentence = "None of these runs compares two workloads that do the same work."
        return Verdict(word="shown", tone=Tone.CAUTION, sentence=sentence)
    sentence = " ".join(_sentence(replacement) for replacement in replacements)
    if any(replacement.run is None for replacement in replacements):
        return Verdict(word="withheld", tone=Tone.CAUTION, sentence=sentence)
    return Verdict(word="measured", tone=Tone.GOOD, sentence=sentence)


def _sentence(replacement: Replacement) -> str:
    after, before = replacement.after, replacement.before
    if replacement.run is None:
        return f"What {after} gains over {before} is withheld: {replacement.reason}."
    hot = [step for step in replacement.steps if step.pattern is Pattern.HOT]
    parts = joined(f"{_step_words(step)} at {format_count(step.size)}" for step in hot)
    return f"Against {before}, {after} takes {parts}."


def _step_words(step: Gain) -> str:
    if is_faster(step.change, step.noise_floor):
        return f"{percent(step.saved.estimate)} less time"
    if is_slower(step.change, step.noise_floor):
        return f"{percent(-step.saved.estimate)} more time"
    return "the same time within the noise"


def _replacement(replacement: Replacement, chapters: Sequence[Chapter]) -> list[Block]:
    after, before = replacement.after, replacement.before
    blocks: list[Block] = [Heading(text=f"{after} in place of {before}")]
    if replacement.run is None:
        text = f"The gain is withheld: {replacement.reason}. To measure it: {replacement.command}"
        blocks.append(Paragraph(text=text))
    else:
        blocks.append(_steps_table(replacement))
    blocks.append(Heading(text=f"What the findings of {before} promised"))
    blocks += _promises(replacement)
    for chapter in chapters:
        tuned = chapter.result
        if isinstance(tuned, TuneReport) and tuned.workload == before:
            blocks += [
                Heading(text=f"What tuning {before} could reach ({chapter.run})"),
                *_tuning(tuned, replacement),
            ]
    return blocks


def _steps_table(replacement: Replacement) -> Table:
    after, before = replacement.after, replacement.before
    caption = _STEP_BASE.format(before=before, after=after)
    if any(step.pattern is not Pattern.HOT for step in replacement.steps):
        caption += " idle: called after the thread pool went to sleep."
    return table(
        replacement.steps,
        {
            "size": size_cell(replacement.steps),
            before: lambda step: time_interval(step.before_s),
            after: lambda step: time_interval(step.after_s),
            "ratio": lambda step: ratio_interval(step.change),
            "saved": lambda step: share_interval(step.saved),
            "<reading": lambda step: change_text(step.change, step.noise_floor),
        },
        caption=caption,
    )


def _promises(replacement: Replacement) -> list[Block]:
    if not replacement.promises:
        text = f"No diagnosis of {replacement.before} among these runs has a finding."
        return [Paragraph(text=text)]
    shown = table(
        replacement.promises,
        {
            "<finding": lambda promise: promise.finding.title,
            "size": lambda promise: format_count(promise.finding.size),
            "promised": lambda promise: _promised(promise.finding),
            "saved": lambda promise: share_interval(promise.saved),
            "<reading": lambda promise: _reading(promise.reading),
            f"<in {replacement.after}": _afterwards,
        },
        caption=_PROMISE_BASE.format(before=replacement.before, after=replacement.after),
    )
    reasons = dict.fromkeys(
        f"withheld at {format_count(promise.finding.size)}: {promise.reason}"
        for promise in replacement.promises
        if promise.reason and promise.reason != replacement.reason
    )
    blocks: list[Block] = [shown]
    if any(promise.reading is Fulfilment.ABOVE for promise in replacement.promises):
        blocks.append(Paragraph(text=_BROKEN.format(after=replacement.after)))
    if reasons:
        how = Paragraph(text=f"To measure it: {replacement.command}")
        blocks += [Bullets(items=tuple(reasons)), how]
    return blocks


def _reading(found: Fulfilment | None) -> str:
    if found is None:
        return UNKNOWN
    alone = found in (Fulfilment.ACROSS, Fulfilment.WITHHELD)
    return found.value if alone else f"{found} the promise"


def _afterwards(promise: Promise) -> str:
    if promise.later is None:
        if promise.afterwards is Afterwards.UNKNOWN:
            return f"not diagnosed at {format_count(promise.finding.size)}"
        return promise.afterwards.value
    later = promise.later
    return f"{promise.afterwards.value} at {format_count(later.size)}, share {percent(later.share)}"


def _promised(finding: Finding) -> str:
    gain = finding.predicted_gain
    if gain is None:
        return UNKNOWN
    if gain.tried is None:
        return f"at most\n{percent(gain.at_most)}"
    return share_interval(gain.tried)


def _tuning(tuned: TuneReport, replacement: Replacement) -> list[Block]:
    """What the search kept, beside what the replacement gains at the same sizes."""
    blocks: list[Block] = [_word_of(tune_page(tuned))]
    if not tuned.confirmed:
        return [*blocks, Paragraph(text="Nothing was confirmed after the search.")]
    hot = {step.size: step.change for step in replacement.steps if step.pattern is Pattern.HOT}
    kept = not tuned.best_iteration
    shown = table(
        tuned.confirmed,
        {
            "size": lambda one: format_count(one.size),
            "tuned": lambda one: "the start itself" if kept else ratio_interval(one.change),
            "<reading": lambda one: UNKNOWN if kept else change_text(one.change, one.noise_floor),
            replacement.after: lambda one: ratio_interval(hot.get(one.size)),
        },
        caption=_TUNING_BASE.format(before=replacement.before),
    )
    return [*blocks, shown]


def _diagnosis(chapter: Chapter, diagnosis: Diagnosis) -> list[Block]:
    """One diagnosis in short: its verdict, the split, and what each finding promises."""
    splits = by_workload(diagnosis.sizes)
    blocks: list[Block] = [
        Heading(text=f"Diagnosis of {joined(splits)} ({chapter.run})" if splits else chapter.run),
        _word_of(diagnose_page(diagnosis)),
        *map(split_table, splits.values()),
    ]
    items = tuple(
        f"{finding.title} (at {format_count(finding.size)})\nShare: {percent(finding.share)} "
        f"{finding.base}; {gain_text(finding)}.\n"
        f"Remedy: {finding.remedy}."
        for finding in diagnosis.findings
    )
    return [*blocks, Bullets(items=items, ordered=True)] if items else blocks


def _runs_table(chapters: Sequence[Chapter]) -> Table:
    return table(
        chapters,
        {
            "<run": lambda chapter: chapter.run,
            "<command": lambda chapter: chapter.command,
            "<answer": _answer,
        },
        caption="In full: perfkit report RUN.",
    )


def _answer(chapter: Chapter) -> str:
    """The verdict of a run in one word, as its own report begins."""
    result = chapter.result
    match result:
        case Diagnosis():
            return result.verdict.value
        case MeasureReport():
            return measure_verdict(result).word
        case TuneReport():
            return result.status.value
        case ProfileReport():
            used = sum(map(bounds.tells, result.captures))
            return f"{used} of {len(result.captures)} captures are used"
        case _:
            assert_never(result)


def _word_of(page: Page) -> Verdict:
    """The verdict that a run's own report begins with."""
    found = page.blocks[0]
    assert isinstance(found, Verdict)
    return found

"""What several runs say together, as blocks: each diagnosis in short, and where one workload takes
the place of another, what was promised, what was gained, and what tuning could reach.

The comparison itself is made in `perfkit.diagnose.promises`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from perfkit.diagnose.promises import Afterwards, Fulfilment
from perfkit.measure.ratios import is_faster, is_slower
from perfkit.records import Diagnosis, MeasureReport, Pattern, ProfileReport, TuneReport
from perfkit.report.diagnosis import diagnose_page, split_table
from perfkit.report.measuring import change_text, measure_verdict
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
from perfkit.report.tuning import tune_page
from perfkit.report.words import (
    UNKNOWN,
    joined,
    percent,
    ratio_interval,
    share_interval,
    time_interval,
)
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.diagnose.promises import Chapter, Gain, Promise, Replacement, Story
    from perfkit.records import Finding

_STEP_BASE = (
    "Timed in the same blocks. Ratio: the time of {before} over that of {after}. Saved: share of "
    "{before}'s call. Brackets: 95 % interval; nothing inside the noise floor counts as a change."
)
_PROMISE_BASE = (
    "Promised: the share of {before}'s call that fixing this one finding would save, from the "
    "least to the most. Saved: what {after} saves in all, so above means that it does more than "
    "this. Promises overlap and do not add up. A diagnosis reports a finding at the one size "
    "where it matters most."
)
_TUNING_BASE = (
    "Both are {before} at its start over the other, each measured in the same blocks in a run of "
    "its own. Brackets: 95 % interval."
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
        sentence = "None of these runs has figures of two workloads that do the same work."
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
    return "as long as far as can be seen"


def _replacement(replacement: Replacement, chapters: Sequence[Chapter]) -> list[Block]:
    after, before = replacement.after, replacement.before
    blocks: list[Block] = [Heading(text=f"{after} in the place of {before}")]
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
    with_pattern = any(step.pattern is not Pattern.HOT for step in replacement.steps)
    rows = tuple(
        (
            _size(step, with_pattern=with_pattern),
            time_interval(step.before_s),
            time_interval(step.after_s),
            ratio_interval(step.change),
            share_interval(step.saved),
            change_text(step.change, step.noise_floor),
        )
        for step in replacement.steps
    )
    caption = _STEP_BASE.format(before=before, after=after)
    if with_pattern:
        caption += " idle: called after the thread pool went to sleep."
    titles = ("size", before, after, "ratio", "saved", "<reading")
    return Table(columns=columns(*titles), rows=rows, caption=caption)


def _size(step: Gain, *, with_pattern: bool) -> str:
    return f"{format_count(step.size)}\n{step.pattern}" if with_pattern else format_count(step.size)


def _promises(replacement: Replacement) -> list[Block]:
    if not replacement.promises:
        text = f"No diagnosis of {replacement.before} among these runs has a finding."
        return [Paragraph(text=text)]
    rows = tuple(_promise_row(promise) for promise in replacement.promises)
    titles = ("<finding", "size", "promised", "saved", "<reading", f"<in {replacement.after}")
    caption = _PROMISE_BASE.format(before=replacement.before, after=replacement.after)
    blocks: list[Block] = [Table(columns=columns(*titles), rows=rows, caption=caption)]
    reasons = dict.fromkeys(
        f"{format_count(promise.finding.size)}: {promise.reason}"
        for promise in replacement.promises
        if promise.reason and promise.reason != replacement.reason
    )
    if reasons:
        blocks += [
            Bullets(items=tuple(f"withheld at {reason}" for reason in reasons)),
            Paragraph(text=f"To measure it: {replacement.command}"),
        ]
    return blocks


def _promise_row(promise: Promise) -> tuple[str, ...]:
    finding, saved = promise.finding, promise.saved
    return (
        finding.title,
        format_count(finding.size),
        _promised(finding),
        share_interval(saved),
        _reading(promise.reading),
        _afterwards(promise),
    )


def _reading(found: Fulfilment) -> str:
    match found:
        case Fulfilment.INSIDE | Fulfilment.ABOVE | Fulfilment.BELOW:
            return f"{found} the promise"
        case Fulfilment.ACROSS | Fulfilment.WITHHELD:
            return found.value
        case _:
            assert_never(found)


def _afterwards(promise: Promise) -> str:
    if promise.later is None:
        if promise.afterwards is Afterwards.UNKNOWN:
            return f"not diagnosed at {format_count(promise.finding.size)}"
        return promise.afterwards.value
    later = promise.later
    return f"{promise.afterwards.value} at {format_count(later.size)}, share {percent(later.share)}"


def _promised(finding: Finding) -> str:
    low, high = finding.predicted_gain.low, finding.predicted_gain.high
    return f"{100 * low:.1f} to\n{100 * high:.1f} %"


def _tuning(tuned: TuneReport, replacement: Replacement) -> list[Block]:
    """What the search kept, beside what the replacement gains at the same sizes."""
    blocks: list[Block] = [_word_of(tune_page(tuned))]
    if not tuned.confirmed:
        return [*blocks, Paragraph(text="Nothing was confirmed after the search.")]
    hot = {step.size: step for step in replacement.steps if step.pattern is Pattern.HOT}
    rows = []
    for size in tuned.confirmed:
        step = hot.get(size.size)
        kept = not tuned.best_iteration
        change = size.change
        rows.append(
            (
                format_count(size.size),
                "the start itself" if kept else ratio_interval(change),
                UNKNOWN if kept else change_text(change, size.noise_floor),
                ratio_interval(step.change if step else None),
            )
        )
    titles = ("size", "tuned", "<reading", replacement.after)
    caption = _TUNING_BASE.format(before=replacement.before)
    return [*blocks, Table(columns=columns(*titles), rows=tuple(rows), caption=caption)]


def _diagnosis(chapter: Chapter, diagnosis: Diagnosis) -> list[Block]:
    """One diagnosis in short: its verdict, the split, and what each finding promises."""
    names = joined(dict.fromkeys(split.workload for split in diagnosis.sizes))
    blocks: list[Block] = [
        Heading(text=f"Diagnosis of {names} ({chapter.run})" if names else chapter.run),
        _word_of(diagnose_page(diagnosis)),
    ]
    blocks += [
        split_table([split for split in diagnosis.sizes if split.workload == name])
        for name in dict.fromkeys(split.workload for split in diagnosis.sizes)
    ]
    items = tuple(
        f"{finding.title} (at {format_count(finding.size)})\nShare: {percent(finding.share)} "
        f"{finding.base}. "
        f"Promised gain: {_promised(finding).replace(chr(10), ' ')} of the call.\n"
        f"Remedy: {finding.remedy}."
        for finding in diagnosis.findings
    )
    return [*blocks, Bullets(items=items, ordered=True)] if items else blocks


def _runs_table(chapters: Sequence[Chapter]) -> Table:
    rows = tuple((chapter.run, chapter.command, _answer(chapter)) for chapter in chapters)
    return Table(
        columns=columns("<run", "<command", "<answer"),
        rows=rows,
        caption="Each in full: perfkit report RUN.",
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
            used = sum(capture.accepted for capture in result.captures)
            return f"{used} of {len(result.captures)} captures are used"
        case _:
            assert_never(result)


def _word_of(page: Page) -> Verdict:
    """The verdict that a run's own report begins with."""
    found = page.blocks[0]
    assert isinstance(found, Verdict)
    return found

"""What the bottleneck report says, as blocks: one page that a person reads in a minute.

Verdict, at most three findings, the split by layer at each size, how sure it is. How costs grow
with the size is in `sizes.py`; everything else is in `diagnosis.json`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from perfkit.records import FFI_LAYERS, DiagnoseVerdict, Layer, MeasureVerdict, NoteId
from perfkit.report.endings import ending
from perfkit.report.measuring import measure_table
from perfkit.report.page import (
    Block,
    Bullets,
    Heading,
    Page,
    Paragraph,
    Table,
    Tone,
    Verdict,
    by_workload,
    points,
)
from perfkit.report.profiling import capture_blocks, hot_line_blocks
from perfkit.report.sizes import apart_table, by_size, model_blocks
from perfkit.report.words import (
    UNKNOWN,
    joined,
    percent,
    seconds,
    share_interval,
    time_interval,
    value_text,
)
from perfkit.stacks import bounds
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from perfkit.records import Diagnosis, Finding, Recommendation, SizeSplit

LAYERS_PICTURE = "flame/layers.svg"
TIMES_PICTURE = "flame/times.svg"
"""Where the run directory has them, beside the flame graphs."""
FINDINGS_ON_THE_PAGE = 3
SMALL_BOUNDARY = 0.10
"""A boundary that is surely below this share of the call is not what makes it slow."""
_FRAMES_PER_FINDING = 2


def diagnose_page(diagnosis: Diagnosis) -> Page:
    """The report of `perfkit diagnose`."""
    blocks: list[Block] = [_verdict(diagnosis), *_findings(diagnosis)]
    blocks += boundary_blocks(diagnosis.sizes)
    if diagnosis.recommendation is not None:
        blocks += [Heading(text="Where to look first"), _first_look(diagnosis.recommendation)]
    hidden = any(note.id == NoteId.KERNEL_UNSEEN for note in diagnosis.notes)
    for name, splits in by_workload(diagnosis.sizes).items():
        blocks += [
            Heading(text=f"Where the time of a call goes: {name}"),
            split_table(splits, kernel_hidden=hidden),
            *apart_table(splits),
            Heading(text=f"How sure: the FFI cost of {name}"),
            *_ffi_blocks(splits),
        ]
    blocks += hot_line_blocks(diagnosis.profilers)
    if diagnosis.model is not None:
        blocks += model_blocks(diagnosis.model)
    if diagnosis.profilers:
        blocks += [Heading(text="Profilers"), *capture_blocks(diagnosis.profilers)]
    if diagnosis.measured is not None:
        for name, results in by_workload(diagnosis.measured.results).items():
            found = measure_table(results, diagnosis.measured)
            blocks += [Heading(text=f"Against the reference: {name}"), found]
    blocks += ending(diagnosis.notes, diagnosis.build)
    blocks += points("Pictures, relative to the run directory", _pictures(diagnosis))
    return Page(title="perfkit diagnose", blocks=tuple(blocks))


def split_table(splits: Sequence[SizeSplit], *, kernel_hidden: bool = False) -> Table:
    """Layers by size; a layer that is zero at every size is named in the caption instead.

    Args:
        kernel_hidden: whether a capture could not see the kernel's own time.
    """
    rows: dict[str, Callable[[SizeSplit], str]] = {"call": lambda one: time_interval(one.call_s)}
    if not any(split.layers for split in splits):
        caption = "No profile could be split, so nothing is known about the layers."
        return by_size("layer", splits, rows, caption=caption)
    seen = {
        time.layer
        for split in splits
        for time in split.layers
        if time.share.estimate != 0 or time.seconds != 0
    }
    rows |= {layer.value: partial(_layer_cell, layer) for layer in Layer if layer in seen}
    if any(split.workers_s is not None for split in splits):
        rows["other threads on a CPU"] = lambda one: seconds(one.workers_s)
    caption = (
        "Shares of the wall clock of one call on the calling thread; nothing is rescaled. The "
        "layers of a size are counted in one profile. Their intervals hold the counting error "
        "(95 %) and all that is doubtful about that profile."
    )
    if kernel_hidden:
        caption += " The kernel's own time, page faults included, could not be seen: see `waiting`."
        seen.add(Layer.PAGE_FAULT)
    absent = [layer for layer in Layer if layer not in seen]
    if absent:
        caption += f" No sample fell into: {', '.join(absent)}."
    return by_size("layer", splits, rows, caption=caption)


def _layer_cell(layer: Layer, split: SizeSplit) -> str:
    return share_interval(next((t.share for t in split.layers if t.layer is layer), None))


_VERDICTS: Mapping[DiagnoseVerdict, tuple[Tone, str]] = {
    DiagnoseVerdict.OK: (
        Tone.GOOD,
        "At every size two independent ways of measuring it agree on the FFI cost. Every layer of "
        "10 % and more is known within ten points, and the timing passed its own checks.",
    ),
    DiagnoseVerdict.UNCHECKED: (
        Tone.CAUTION,
        "The layers are known, but not every check was possible: {missing}.",
    ),
    DiagnoseVerdict.BOUNDED: (
        Tone.CAUTION,
        "What is said is so, within wide bounds: {wide}.",
    ),
    DiagnoseVerdict.CONTENDED: (
        Tone.CAUTION,
        "The machine had no room, so nothing could be timed. Where the time goes is known within "
        "the bounds below; waiting for a core cannot be told from other waiting.",
    ),
    DiagnoseVerdict.DISAGREE: (
        Tone.CAUTION,
        "No verdict on the FFI cost at {unknown}: the independent ways of measuring it "
        "disagree there. All of them are shown below.",
    ),
    DiagnoseVerdict.UNTRUSTED: (
        Tone.BAD,
        "No verdict: two copies of the same build were measured as different, so none of the times "
        "can be trusted.",
    ),
    DiagnoseVerdict.BUSY: (
        Tone.BAD,
        "Nothing could be told: neither the times nor the samples say where the time goes.",
    ),
}


def _verdict(diagnosis: Diagnosis) -> Verdict:
    tone, sentence = _VERDICTS[diagnosis.verdict]
    unsplit = _unsplit(diagnosis)
    disagree = diagnosis.verdict is DiagnoseVerdict.DISAGREE
    unknown = _sizes(
        split
        for split in diagnosis.sizes
        if (split.ffi.disagree if disagree else not split.ffi.agree)
    )
    missing = _unchecked(diagnosis, unsplit, unknown)
    return Verdict(
        word=diagnosis.verdict.value,
        tone=tone,
        sentence=sentence.format(unknown=unknown, missing=missing, wide=_wide(diagnosis, unsplit)),
    )


def _sizes(splits: Iterable[SizeSplit]) -> str:
    return joined(dict.fromkeys(format_count(split.size) for split in splits))


def _unsplit(diagnosis: Diagnosis) -> str:
    """The sizes that have no profile to split."""
    return _sizes(split for split in diagnosis.sizes if not split.layers)


def _wide(diagnosis: Diagnosis, unsplit: str) -> str:
    """Which layers are only bounded, and where there are none."""
    found = [
        f"{row.layer} at {format_count(split.size)} takes {percent(row.share.low)} to "
        f"{percent(row.share.high)}"
        for split in diagnosis.sizes
        for row in bounds.that_matter(split.layers)
        if bounds.telling(row.share) is not bounds.Telling.TOLD
    ]
    if unsplit:
        found.append(f"there is no profile to split at {unsplit}")
    return "; ".join(found)


def _unchecked(diagnosis: Diagnosis, unsplit: str, unknown: str) -> str:
    """Which checks were not possible."""
    missing = []
    if unsplit:
        missing.append(f"no profile could be split at {unsplit}")
    if unknown:
        missing.append(f"the FFI cost at {unknown} has no second way of measuring it")
    measured = diagnosis.measured
    if measured is not None and measured.verdict is not MeasureVerdict.OK:
        missing.append("nothing shows that the machine was quiet while it was timed")
    return "; ".join(missing) or "see the notes"


def _findings(diagnosis: Diagnosis) -> list[Block]:
    unsplit = _unsplit(diagnosis)
    if not diagnosis.findings:
        text = "Found nothing that costs enough to report."
        if diagnosis.verdict in (DiagnoseVerdict.BUSY, DiagnoseVerdict.UNTRUSTED):
            text = "Findings are withheld together with the verdict."
        elif unsplit:
            text = (
                "None from the rules that could run. Most rules need a profile, and there was none "
                f"to split at {unsplit}, so problems there may have gone unnoticed."
            )
        return [Heading(text="Findings"), Paragraph(text=text)]
    shown = diagnosis.findings[:FINDINGS_ON_THE_PAGE]
    rest = len(diagnosis.findings) - len(shown)
    more = [f"{rest} more in diagnosis.json."] if rest else []
    if unsplit:
        more.append(
            f"There was no profile to split at {unsplit}, so most rules could not run there."
        )
    return [
        Heading(text="Findings, by the most that fixing each can save"),
        Bullets(items=tuple(map(_finding, shown)), ordered=True),
        *([Paragraph(text=" ".join(more))] if more else []),
    ]


def boundary_blocks(splits: Sequence[SizeSplit]) -> list[Block]:
    """Whether the boundary is the problem, in a sentence for each size at which that is known."""
    return points("The boundary", filter(None, map(_boundary, splits)))


def _boundary(split: SizeSplit) -> str:
    ffi = split.ffi
    if ffi.share is None:
        return ""
    low, high = ffi.share.low, ffi.share.high
    how = "" if ffi.agree else ", by the samples alone"
    place = f"{split.workload} at {format_count(split.size)}"
    if high < SMALL_BOUNDARY:
        return (
            f"{place}: the boundary is not the problem, it takes at most {percent(high)} of "
            f"the call{how}."
        )
    text = f"{place}: the boundary takes {percent(low)} to {percent(high)} of the call{how}"
    parts = [time for time in split.layers if time.layer in FFI_LAYERS]
    most = max(parts, key=lambda time: time.share.estimate, default=None)
    if most is None or most.share.estimate <= 0:
        return f"{text}."
    return f"{text}, most of it {most.layer} ({percent(most.share.estimate)})."


def _pictures(diagnosis: Diagnosis) -> Iterator[str]:
    """Every picture of the run, by what it shows."""
    if diagnosis.sizes:
        yield f"where the time goes: {LAYERS_PICTURE}"
    if diagnosis.measured is not None and diagnosis.measured.results:
        yield f"time against size: {TIMES_PICTURE}"
    for capture in diagnosis.profilers:
        if "flame" in capture.files:
            size = "" if capture.size is None else f" at {format_count(capture.size)}"
            path = capture.files["flame"].as_posix()
            yield f"flame graph{size} ({capture.profiler}): {path}"


def _finding(finding: Finding) -> str:
    place = f"{finding.workload} at {format_count(finding.size)}"
    lines = [
        f"{finding.title} ({place}): {percent(finding.share)} {finding.base}; {gain_text(finding)}."
    ]
    for evidence in finding.evidence[:_FRAMES_PER_FINDING]:
        location = f" at {evidence.location}" if evidence.location else ""
        lines.append(
            f"Seen: {evidence.frame}{location} ({evidence.layer}), {percent(evidence.share)} "
            f"{evidence.base}."
        )
    lines += [f"Do: {finding.remedy}", f"Check: {finding.verify}"]
    return "\n".join(lines)


def gain_text(finding: Finding) -> str:
    """What fixing it saves: at most, where the remedy was not tried."""
    gain = finding.predicted_gain
    if gain is None:
        return finding.gains
    if gain.tried is None:
        return f"fixing it saves at most {percent(gain.at_most)} of the call's time"
    saved = share_interval(gain.tried).replace("\n", " ")
    return f"when it was tried, fixing it saved {saved} of the call's time"


def _first_look(recommendation: Recommendation) -> Paragraph:
    text = f"{recommendation.reason}."
    if recommendation.parameter is not None and recommendation.value is not None:
        text += f" Try {recommendation.parameter} = {value_text(recommendation.value)}."
    return Paragraph(text=text)


def _ffi_blocks(splits: Sequence[SizeSplit]) -> list[Block]:
    """Every estimator's answer, agreeing or not, and the reason where one has none."""
    rows: dict[str, Callable[[SizeSplit], str]] = {"known share of the call": _known_share}
    if any(split.ffi.agreeing for split in splits):
        rows["agreed by"] = lambda split: ",\n".join(split.ffi.agreeing) or UNKNOWN
    reasons: dict[str, dict[str, list[str]]] = {}
    for split in splits:
        for one in split.ffi.estimators:
            rows[one.name] = partial(_estimate_cell, one.name)
            found = reasons.setdefault(one.name, {})
            if one.reason:
                found.setdefault(one.reason, []).append(format_count(split.size))
    caption = (
        "Seconds per call by each estimator, with its interval. The FFI is glue, conversions and "
        "GIL; an answer that includes the output's allocation and release says so below. A share "
        "is known only where two independent ones agree over what both cover."
    )
    told = tuple(
        f"{name} at {', '.join(sizes)}: {reason}"
        for name, found in reasons.items()
        for reason, sizes in found.items()
    )
    shown = by_size("estimator", splits, rows, caption=caption)
    return [shown, Bullets(items=told)] if told else [shown]


def _estimate_cell(name: str, split: SizeSplit) -> str:
    return time_interval(next((e.seconds for e in split.ffi.estimators if e.name == name), None))


def _known_share(split: SizeSplit) -> str:
    ffi = split.ffi
    if ffi.share is None:
        return "not known"
    cell = share_interval(ffi.share)
    return cell if ffi.agree else f"{cell}\nnot agreed"

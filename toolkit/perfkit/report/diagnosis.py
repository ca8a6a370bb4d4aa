"""What the bottleneck report says, as blocks: one page that a person reads in a minute.

Verdict, at most three findings, the split by layer at each size, how sure it is. How costs grow
with the size is in `sizes.py`; everything else is in `diagnosis.json`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from perfkit.records import FFI_LAYERS, DiagnoseVerdict, Layer, MeasureVerdict
from perfkit.report.building import build_blocks
from perfkit.report.measuring import measure_table
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
from perfkit.report.profiling import capture_table
from perfkit.report.sizes import apart_table, model_blocks
from perfkit.report.words import (
    UNKNOWN,
    joined,
    percent,
    seconds,
    share_interval,
    time_interval,
    value_text,
)
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from perfkit.records import Diagnosis, Finding, LayerTime, Recommendation, SizeSplit

LAYERS_PICTURE = "flame/layers.svg"
TIMES_PICTURE = "flame/times.svg"
"""Where the run directory has them, beside the flame graphs."""
FINDINGS_ON_THE_PAGE = 3
SMALL_BOUNDARY = 0.10
"""A boundary that is surely below this share of the call is not what makes it slow."""
_FRAMES_PER_FINDING = 2


def diagnose_page(diagnosis: Diagnosis) -> Page:
    """The report of `perfkit diagnose`."""
    blocks: list[Block] = [_verdict(diagnosis)]
    blocks += _findings(diagnosis)
    blocks += boundary_blocks(diagnosis.sizes)
    if diagnosis.recommendation is not None:
        blocks += [Heading(text="Where to look first"), _first_look(diagnosis.recommendation)]
    for name in dict.fromkeys(split.workload for split in diagnosis.sizes):
        splits = [split for split in diagnosis.sizes if split.workload == name]
        blocks += [
            Heading(text=f"Where the time of a call goes: {name}"),
            _split(diagnosis, splits),
        ]
        blocks += apart_table(splits)
        blocks += [Heading(text=f"How sure: the FFI cost of {name}"), *_ffi_blocks(splits)]
    if diagnosis.model is not None:
        blocks += model_blocks(diagnosis.model)
    if diagnosis.profilers:
        blocks += [Heading(text="Profilers"), capture_table(diagnosis.profilers)]
    if diagnosis.measured is not None:
        results = diagnosis.measured.results
        for name in dict.fromkeys(result.workload for result in results):
            own = [result for result in results if result.workload == name]
            table = measure_table(own, diagnosis.measured)
            blocks += [Heading(text=f"Against the reference: {name}"), table]
    blocks += notes_blocks(diagnosis.notes)
    blocks += build_blocks(diagnosis.build)
    blocks += _pictures(diagnosis)
    return Page(title="perfkit diagnose", blocks=tuple(blocks))


def _split(diagnosis: Diagnosis, splits: Sequence[SizeSplit]) -> Table:
    hidden = any(note.id == "kernel_unseen" for note in diagnosis.notes)
    return split_table(splits, kernel_hidden=hidden)


def split_table(splits: Sequence[SizeSplit], *, kernel_hidden: bool = False) -> Table:
    """Layers by size; a layer that is zero at every size is named in the caption instead.

    Args:
        kernel_hidden: whether a capture could not see the kernel's own time.
    """
    rows = [("call", *(time_interval(split.call_s) for split in splits))]
    titles = ("<layer", *(format_count(split.size) for split in splits))
    if not any(split.layers for split in splits):
        caption = "No profile could be split, so nothing is known about the layers."
        return Table(columns=columns(*titles), rows=tuple(rows), caption=caption)
    absent = []
    for layer in Layer:
        times = [_layer(split, layer) for split in splits]
        if all(time is None or (time.share.estimate == 0 and time.seconds == 0) for time in times):
            absent.append(layer)
            continue
        rows.append((layer.value, *(_layer_cell(time) for time in times)))
    if any(split.workers_s is not None for split in splits):
        cells = (seconds(split.workers_s) for split in splits)
        rows.append(("other threads on a CPU", *cells))
    caption = (
        "Shares of the wall clock of one call on the calling thread, with 95 % intervals; nothing "
        "is rescaled. The layers of a size are counted in one profile."
    )
    if kernel_hidden:
        caption += " The kernel's own time, page faults included, was out of sight: see `waiting`."
        absent = [layer for layer in absent if layer is not Layer.PAGE_FAULT]
    if absent:
        caption += f" No sample fell into: {', '.join(absent)}."
    return Table(columns=columns(*titles), rows=tuple(rows), caption=caption)


def _verdict(diagnosis: Diagnosis) -> Verdict:
    verdict = diagnosis.verdict
    unsplit = _sizes(split for split in diagnosis.sizes if not split.layers)
    unknown = _sizes(split for split in diagnosis.sizes if not split.ffi.agree)
    tone = Tone.BAD
    match verdict:
        case DiagnoseVerdict.OK:
            tone = Tone.GOOD
            sentence = (
                "At every size two independent ways of measuring it agree on the FFI cost. The "
                "layers are counted in one accepted profile per size, and the timing passed its "
                "own checks."
            )
        case DiagnoseVerdict.UNCHECKED:
            tone = Tone.CAUTION
            sentence = _unchecked(diagnosis, unsplit, unknown)
        case DiagnoseVerdict.DISAGREE:
            tone = Tone.CAUTION
            sentence = (
                f"No verdict on the FFI cost at {unknown}: the independent ways of measuring it "
                "do not agree there. All of them are shown below."
            )
        case DiagnoseVerdict.DISTORTED:
            sentence = (
                f"No split at {unsplit}: what the profiler cost was not shown to be below its "
                "limit. The other figures stand."
            )
        case DiagnoseVerdict.UNTRUSTED:
            sentence = (
                "No verdict: two copies of the same build were measured as different, so none of "
                "the times may be believed."
            )
        case DiagnoseVerdict.BUSY:
            sentence = "No verdict: the machine had no room for the measurement."
        case _:
            assert_never(verdict)
    return Verdict(word=verdict.value, tone=tone, sentence=sentence)


def _sizes(splits: Iterable[SizeSplit]) -> str:
    return joined(dict.fromkeys(format_count(split.size) for split in splits))


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
    return f"Not every check was possible: {'; '.join(missing) or 'see the notes'}."


def _findings(diagnosis: Diagnosis) -> list[Block]:
    unsplit = _sizes(split for split in diagnosis.sizes if not split.layers)
    if not diagnosis.findings:
        text = "Nothing that costs enough to be named was found."
        if diagnosis.verdict in (DiagnoseVerdict.BUSY, DiagnoseVerdict.UNTRUSTED):
            text = "Findings are withheld together with the verdict."
        elif unsplit:
            text = (
                f"None, by the rules that could be asked. Most rules read a profile, and at "
                f"{unsplit} there was none that can be split, so much may have gone unseen there."
            )
        return [Heading(text="Findings"), Paragraph(text=text)]
    shown = diagnosis.findings[:FINDINGS_ON_THE_PAGE]
    rest = len(diagnosis.findings) - len(shown)
    blocks: list[Block] = [
        Heading(text="Findings, by what fixing each would gain"),
        Bullets(items=tuple(_finding(finding) for finding in shown), ordered=True),
    ]
    more = []
    if rest:
        more.append(f"{rest} more in diagnosis.json.")
    if unsplit:
        more.append(
            f"At {unsplit} there was no profile that can be split: most rules were not asked there."
        )
    if more:
        blocks.append(Paragraph(text=" ".join(more)))
    return blocks


def boundary_blocks(splits: Sequence[SizeSplit]) -> list[Block]:
    """Whether the boundary is the problem, in a sentence for each size at which that is known."""
    told = tuple(text for split in splits if (text := _boundary(split)))
    return [Heading(text="The boundary"), Bullets(items=told)] if told else []


def _boundary(split: SizeSplit) -> str:
    ffi = split.ffi
    if not ffi.agree or ffi.share is None:
        return ""
    low, high = ffi.share.low, ffi.share.high
    place = f"{split.workload} at {format_count(split.size)}"
    if high < SMALL_BOUNDARY:
        return (
            f"{place}: the boundary is not the problem, it takes at most {percent(high)} of "
            "the call."
        )
    text = f"{place}: the boundary takes {percent(low)} to {percent(high)} of the call"
    parts = [time for time in split.layers if time.layer in FFI_LAYERS]
    most = max(parts, key=lambda time: time.share.estimate, default=None)
    if most is None or most.share.estimate <= 0:
        return f"{text}."
    return f"{text}, most of it {most.layer} ({percent(most.share.estimate)})."


def _pictures(diagnosis: Diagnosis) -> list[Block]:
    """Every picture of the run, by what it shows."""
    items = []
    if diagnosis.sizes:
        items.append(f"where the time goes: {LAYERS_PICTURE}")
    if diagnosis.measured is not None and diagnosis.measured.results:
        items.append(f"time against size: {TIMES_PICTURE}")
    for capture in diagnosis.profilers:
        if "flame" in capture.files:
            size = "" if capture.size is None else f" at {format_count(capture.size)}"
            used = "" if capture.accepted else ", not used"
            path = capture.files["flame"].as_posix()
            items.append(f"flame graph{size} ({capture.profiler}{used}): {path}")
    if not items:
        return []
    return [Heading(text="Pictures, relative to the run directory"), Bullets(items=tuple(items))]


def _finding(finding: Finding) -> str:
    place = f"{finding.workload} at {format_count(finding.size)}"
    low, high = finding.predicted_gain.low, finding.predicted_gain.high
    lines = [
        f"{finding.title} ({place}): {percent(finding.share)} {finding.base}; fixing it saves "
        f"{percent(low)} to {percent(high)} of the call's time."
    ]
    for evidence in finding.evidence[:_FRAMES_PER_FINDING]:
        location = f" at {evidence.location}" if evidence.location else ""
        lines.append(
            f"Seen: {evidence.frame}{location} ({evidence.layer}), {percent(evidence.share)} "
            f"{evidence.base}."
        )
    lines += [f"Do: {finding.remedy}", f"Check: {finding.verify}"]
    return "\n".join(lines)


def _first_look(recommendation: Recommendation) -> Paragraph:
    text = f"{recommendation.reason}."
    if recommendation.parameter is not None and recommendation.value is not None:
        text += f" Try {recommendation.parameter} = {value_text(recommendation.value)}."
    return Paragraph(text=text)


def _layer(split: SizeSplit, layer: Layer) -> LayerTime | None:
    return next((time for time in split.layers if time.layer is layer), None)


def _layer_cell(time: LayerTime | None) -> str:
    return UNKNOWN if time is None else share_interval(time.share)


def _ffi_blocks(splits: Sequence[SizeSplit]) -> list[Block]:
    """Every estimator's answer, agreeing or not, and the reason where one has none."""
    names = dict.fromkeys(e.name for split in splits for e in split.ffi.estimators)
    rows = [
        (
            "known share of the call",
            *(_known_share(split) for split in splits),
        )
    ]
    if any(split.ffi.agreeing for split in splits):
        rows.append(("agreed by", *(",\n".join(s.ffi.agreeing) or UNKNOWN for s in splits)))
    reasons: dict[tuple[str, str], list[str]] = {}
    for name in names:
        cells = []
        for split in splits:
            found = next((e for e in split.ffi.estimators if e.name == name), None)
            cells.append(time_interval(found.seconds) if found else UNKNOWN)
            if found is not None and found.reason:
                reasons.setdefault((name, found.reason), []).append(format_count(split.size))
        rows.append((name, *cells))
    titles = ("<estimator", *(format_count(split.size) for split in splits))
    caption = (
        "Seconds per call by each estimator, with its interval. The FFI is glue, conversions and "
        "GIL; an answer that includes the output's allocation and release says so below. A share "
        "is known only where two independent ones agree over what both cover."
    )
    blocks: list[Block] = [Table(columns=columns(*titles), rows=tuple(rows), caption=caption)]
    if reasons:
        told = (f"{name} at {', '.join(at)}: {why}" for (name, why), at in reasons.items())
        blocks.append(Bullets(items=tuple(told)))
    return blocks


def _known_share(split: SizeSplit) -> str:
    ffi = split.ffi
    if ffi.share is None:
        return "not known"
    cell = share_interval(ffi.share)
    return cell if ffi.agree else f"{cell}\nnot agreed"

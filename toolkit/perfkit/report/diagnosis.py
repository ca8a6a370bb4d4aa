"""What the bottleneck report says, as blocks: one page that a person reads in a minute.

Verdict, at most three findings, the split by layer at each size, how sure it is. Everything else
is in `diagnosis.json`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from perfkit.records import DiagnoseVerdict, Interval, Layer
from perfkit.report.building import build_blocks
from perfkit.report.measuring import measure_table
from perfkit.report.notes import notes_blocks, place_blocks
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
from perfkit.report.words import (
    UNKNOWN,
    percent,
    seconds,
    share_interval,
    time_interval,
    value_text,
)
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from perfkit.records import Diagnosis, Finding, LayerTime, Recommendation, SizeSplit

FINDINGS_ON_THE_PAGE = 3
_FRAMES_PER_FINDING = 2


def diagnose_page(diagnosis: Diagnosis, *, directory: Path | None = None) -> Page:
    """The report of `perfkit diagnose`."""
    blocks: list[Block] = [_verdict(diagnosis)]
    blocks += _findings(diagnosis)
    if diagnosis.recommendation is not None:
        blocks += [Heading(text="Where to look first"), _first_look(diagnosis.recommendation)]
    for name in dict.fromkeys(split.workload for split in diagnosis.sizes):
        splits = [split for split in diagnosis.sizes if split.workload == name]
        blocks += [Heading(text=f"Where the time of a call goes: {name}"), split_table(splits)]
        blocks += [Heading(text=f"How sure: the FFI cost of {name}"), *_ffi_blocks(splits)]
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
    blocks += place_blocks(directory)
    return Page(title="perfkit diagnose", blocks=tuple(blocks))


def split_table(splits: Sequence[SizeSplit]) -> Table:
    """Layers by size; a layer that is zero at every size is named in the caption instead."""
    rows = [("call", *(time_interval(split.call_s) for split in splits))]
    absent = []
    for layer in Layer:
        times = [_layer(split, layer) for split in splits]
        if all(time is None or (time.share == 0 and time.seconds == 0) for time in times):
            absent.append(layer.value)
            continue
        rows.append((layer.value, *(_layer_cell(time) for time in times)))
    if any(split.workers_s is not None for split in splits):
        cells = (seconds(split.workers_s) for split in splits)
        rows.append(("other threads on a CPU", *cells))
    caption = (
        "Shares of the wall clock of one call on the calling thread, with 95 % intervals; nothing "
        "is rescaled."
    )
    if absent:
        caption += f" No sample fell into: {', '.join(absent)}."
    titles = ("<layer", *(format_count(split.size) for split in splits))
    return Table(columns=columns(*titles), rows=tuple(rows), caption=caption)


def _verdict(diagnosis: Diagnosis) -> Verdict:
    verdict = diagnosis.verdict
    match verdict:
        case DiagnoseVerdict.OK:
            sentence = "The split holds: at least two independent ways of measuring it agree."
            return Verdict(word=verdict.value, tone=Tone.GOOD, sentence=sentence)
        case DiagnoseVerdict.UNCHECKED:
            sentence = (
                "Not every check that a split needs was possible; read the shares as one "
                "estimate, and the last section for what stands behind them."
            )
            return Verdict(word=verdict.value, tone=Tone.CAUTION, sentence=sentence)
        case DiagnoseVerdict.DISAGREE:
            sentence = (
                "No verdict on the FFI cost: independent ways of measuring it disagree. All of "
                "them are shown below."
            )
            return Verdict(word=verdict.value, tone=Tone.CAUTION, sentence=sentence)
        case DiagnoseVerdict.DISTORTED:
            sentence = "No verdict: the profiler changed what it looked at by more than the limit."
            return Verdict(word=verdict.value, tone=Tone.BAD, sentence=sentence)
        case DiagnoseVerdict.BUSY:
            sentence = "No verdict: the machine had no room for the measurement."
            return Verdict(word=verdict.value, tone=Tone.BAD, sentence=sentence)
        case _:
            assert_never(verdict)


def _findings(diagnosis: Diagnosis) -> list[Block]:
    if not diagnosis.findings:
        text = "Nothing that costs enough to be named was found."
        if diagnosis.verdict in (DiagnoseVerdict.DISTORTED, DiagnoseVerdict.BUSY):
            text = "Findings are withheld together with the verdict."
        return [Heading(text="Findings"), Paragraph(text=text)]
    shown = diagnosis.findings[:FINDINGS_ON_THE_PAGE]
    rest = len(diagnosis.findings) - len(shown)
    blocks: list[Block] = [
        Heading(text="Findings, by what fixing each would gain"),
        Bullets(items=tuple(_finding(finding) for finding in shown), ordered=True),
    ]
    if rest:
        blocks.append(Paragraph(text=f"{rest} more in diagnosis.json."))
    return blocks


def _finding(finding: Finding) -> str:
    place = f"{finding.workload} at {format_count(finding.size)}"
    low, high = finding.predicted_gain["low"], finding.predicted_gain["high"]
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
    return UNKNOWN if time is None else share_interval(time.share, time.low, time.high)


def _ffi_blocks(splits: Sequence[SizeSplit]) -> list[Block]:
    """Every estimator's answer, agreeing or not, and the reason where one has none."""
    names = dict.fromkeys(e.name for split in splits for e in split.ffi.estimators)
    rows = [
        (
            "known share of the call",
            *(_known_share(split) for split in splits),
        )
    ]
    reasons: list[str] = []
    for name in names:
        cells = []
        for split in splits:
            found = next((e for e in split.ffi.estimators if e.name == name), None)
            cells.append(_bounds(found.seconds, found.low, found.high) if found else UNKNOWN)
            if found is not None and found.reason:
                reasons.append(f"{name} at {format_count(split.size)}: {found.reason}")
        rows.append((name, *cells))
    titles = ("<estimator", *(format_count(split.size) for split in splits))
    caption = (
        "FFI is glue, conversions and GIL: seconds per call by each independent estimator, with "
        "its interval. A share is known only where two of them agree."
    )
    blocks: list[Block] = [Table(columns=columns(*titles), rows=tuple(rows), caption=caption)]
    if reasons:
        blocks.append(Bullets(items=tuple(_merged(reasons))))
    return blocks


def _known_share(split: SizeSplit) -> str:
    ffi = split.ffi
    if ffi.share is None:
        return "not known"
    cell = share_interval(ffi.share, ffi.low, ffi.high)
    if cell == UNKNOWN:
        cell = percent(ffi.share)
    return cell if ffi.agree else f"{cell}\nnot agreed"


def _bounds(value: float | None, low: float | None, high: float | None) -> str:
    """Seconds with bounds; the FFI cost may come out negative, and is then shown so."""
    if value is None:
        return UNKNOWN
    if low is None or high is None:
        return f"{seconds(value)}\nno interval"
    return time_interval(Interval(estimate=value, low=low, high=high))


def _merged(reasons: Sequence[str]) -> list[str]:
    """`twin at 1k: x` and `twin at 10k: x` become `twin at 1k, 10k: x`."""
    merged: dict[tuple[str, str], list[str]] = {}
    for text in reasons:
        place, _, reason = text.partition(": ")
        name, _, size = place.rpartition(" at ")
        merged.setdefault((name, reason), []).append(size)
    return [f"{name} at {', '.join(sizes)}: {reason}" for (name, reason), sizes in merged.items()]

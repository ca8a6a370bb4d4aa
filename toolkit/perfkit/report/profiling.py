"""What `perfkit profile` reports, as blocks: each capture, its cost, and why one is not used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.report.building import build_blocks
from perfkit.report.notes import notes_blocks, place_blocks
from perfkit.report.page import Block, Bullets, Heading, Page, Table, Tone, Verdict, columns
from perfkit.report.words import UNKNOWN, joined, percent, percent_interval
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from perfkit.records import Capture, ProfileReport


COUNTS = "instructions"
"""The clock of a capture that counts: what counting costs changes no count."""


def profile_page(report: ProfileReport, *, directory: Path | None = None) -> Page:
    """The report of `perfkit profile`."""
    captures = report.captures
    rows = tuple(_capture_row(capture) for capture in captures)
    table = Table(
        columns=columns(
            "<profiler", "<workload", "size", "rate", "samples", "unresolved", "slowdown", "<used"
        ),
        rows=rows,
        caption=(
            "Unresolved: share of the samples whose innermost frame has no name. Slowdown: "
            "profiled time over bare time, minus one, with its 95 % interval; – was not measured."
        ),
    )
    blocks: list[Block] = [_profile_verdict(captures), table]
    refused = tuple(
        f"{capture.profiler}, {_place(capture)}: {capture.reason}"
        for capture in captures
        if not capture.accepted
    )
    if refused:
        blocks += [Heading(text="Not used, with the reason"), Bullets(items=refused)]
    blocks += notes_blocks([note for capture in captures for note in capture.notes])
    blocks += build_blocks(report.build)
    files = tuple(
        f"{kind}: {path.as_posix()}"
        for capture in captures
        for kind, path in sorted(capture.files.items())
    )
    if files:
        blocks += [Heading(text="Files, relative to the run directory"), Bullets(items=files)]
    blocks += place_blocks(directory)
    return Page(title="perfkit profile", blocks=tuple(blocks))


def capture_table(captures: Sequence[Capture]) -> Table:
    """What each profiler saw and what it cost, without the files: for other reports."""
    return Table(
        columns=columns("<profiler", "size", "samples", "unresolved", "slowdown", "<used"),
        rows=tuple(
            (row[0], *row[2:3], *row[4:]) for row in (_capture_row(capture) for capture in captures)
        ),
        caption="Unresolved: share of samples without a name. Slowdown: profiled over bare time, "
        "minus one.",
    )


def _profile_verdict(captures: Sequence[Capture]) -> Verdict:
    used = [capture for capture in captures if capture.accepted]
    if not captures:
        return Verdict(word="nothing", tone=Tone.BAD, sentence="No profiler could be started.")
    if not used:
        sentence = "No capture can be believed; no table is made from them."
        return Verdict(word="withheld", tone=Tone.BAD, sentence=sentence)
    names = joined(dict.fromkeys(capture.profiler for capture in used))
    unknown = [capture for capture in used if _cost_unknown(capture)]
    cost = " What it cost is not known for each of them." if unknown else ""
    all_unknown = len(unknown) == len(used)
    return Verdict(
        word="cost unknown" if all_unknown else "profiled",
        tone=Tone.CAUTION if unknown or len(used) < len(captures) else Tone.GOOD,
        sentence=f"{len(used)} of {len(captures)} captures are used, by {names}.{cost}",
    )


def _cost_unknown(capture: Capture) -> bool:
    """Whether a capture's times may be any times those of the call alone."""
    return capture.slowdown is None and capture.clock != COUNTS


def _capture_row(capture: Capture) -> tuple[str, ...]:
    return (
        capture.profiler,
        capture.workload,
        format_count(capture.size) if capture.size is not None else UNKNOWN,
        f"{capture.rate_hz:g} Hz\n{capture.clock} clock" if capture.rate_hz else UNKNOWN,
        str(capture.samples),
        percent(capture.unresolved_share),
        percent_interval(capture.slowdown),
        _used(capture),
    )


def _place(capture: Capture) -> str:
    if capture.size is None:
        return capture.workload
    return f"{capture.workload} at {format_count(capture.size)}"


def _used(capture: Capture) -> str:
    if not capture.accepted:
        return "no"
    return "cost unknown" if _cost_unknown(capture) else "yes"

"""What `perfkit profile` reports, as blocks: each capture, its cost, and how wide shares are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.report.endings import ending
from perfkit.report.page import Block, Heading, Page, Tone, Verdict, points, table
from perfkit.report.words import UNKNOWN, joined, percent, percent_interval, share_interval
from perfkit.stacks import bounds
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from perfkit.records import Capture, HotLine, ProfileReport


COUNTS = "instructions"
"""The clock of a capture that counts: what counting costs changes no count."""


_CELLS: Mapping[str, Callable[[Capture], str]] = {
    "<profiler": lambda capture: capture.profiler,
    "<workload": lambda capture: capture.workload,
    "size": lambda capture: UNKNOWN if capture.size is None else format_count(capture.size),
    "rate": lambda capture: (
        f"{capture.rate_hz:g} Hz\n{capture.clock} clock" if capture.rate_hz else UNKNOWN
    ),
    "samples": lambda capture: str(capture.samples),
    "unresolved": lambda capture: percent(capture.unresolved_share),
    "slowdown": lambda capture: percent_interval(capture.slowdown),
    "<shares hold": lambda capture: _holds(capture),
}
_CAPTION = (
    "Unresolved: share of the samples whose innermost frame has no name. Slowdown: profiled time "
    "over bare time, minus one, with its 95 % interval; – means not measured. Shares hold: by how "
    "many points a share may be off at most, beside counting."
)


LINES = 3
"""Of each capture; its record has a few more."""
SMALL_PART = 0.01
_LINE_CELLS: Mapping[str, Callable[[tuple[Capture, HotLine]], str]] = {
    "<call": lambda row: _place(row[0]),
    "share": lambda row: share_interval(row[1].share),
    "<line": lambda row: f"{row[1].file}:{row[1].line}\n{row[1].text}",
    "<made of": lambda row: _made_of(row[1]),
}
_LINE_CAPTION = (
    "Share: of the CPU time of all threads that is spent on this line of the extension and in all "
    "that it calls, unless another of its own lines is nearer. A sample may be late by some "
    "instructions, so a neighbouring line may be the one."
)


def profile_page(report: ProfileReport) -> Page:
    """The report of `perfkit profile`."""
    captures = report.captures
    blocks: list[Block] = [_profile_verdict(report), table(captures, _CELLS, caption=_CAPTION)]
    blocks += [*hot_line_blocks(captures), *_wide(captures)]
    blocks += points(
        "Files, relative to the run directory",
        (
            f"{kind}: {path.as_posix()}"
            for capture in captures
            for kind, path in sorted(capture.files.items())
        ),
    )
    blocks += ending([note for one in captures for note in one.notes], report.build)
    return Page(title="perfkit profile", blocks=tuple(blocks))


def capture_blocks(captures: Sequence[Capture]) -> list[Block]:
    """What each profiler saw and what it cost: for a report that names its workload elsewhere."""
    cells = {title: cell for title, cell in _CELLS.items() if title not in {"<workload", "rate"}}
    return [table(captures, cells, caption=_CAPTION), *_wide(captures)]


def hot_line_blocks(captures: Sequence[Capture]) -> list[Block]:
    """The lines of the subject's own sources with the most time below them, at each size."""
    rows = [(capture, line) for capture in captures for line in capture.hot_lines[:LINES]]
    if not rows:
        return []
    return [Heading(text="Hot lines"), table(rows, _LINE_CELLS, caption=_LINE_CAPTION)]


def _made_of(line: HotLine) -> str:
    """`31.0 % allocation, 22.1 % compute`."""
    worth = [(layer, part) for layer, part in line.layers.items() if part >= SMALL_PART]
    return ", ".join(f"{percent(part)} {layer}" for layer, part in worth)


def _wide(captures: Sequence[Capture]) -> list[Block]:
    return points("How wide shares are beside counting", filter(None, map(_doubts, captures)))


def _profile_verdict(report: ProfileReport) -> Verdict:
    captures = report.captures
    telling = [capture for capture in captures if bounds.tells(capture)]
    if not captures:
        return Verdict(word="nothing", tone=Tone.BAD, sentence="No profiler could be started.")
    if not telling:
        sentence = (
            "No capture bounds where the time goes: the profiler cost too much, or there is no "
            "stack. What each of them saw is below."
        )
        return Verdict(word="nothing told", tone=Tone.BAD, sentence=sentence)
    names = joined(dict.fromkeys(capture.profiler for capture in telling))
    unknown = [capture for capture in telling if _cost_unknown(capture)]
    more = " What profiling cost is not known for all of them." if unknown else ""
    if report.build:  # a workload of the config, which can be diagnosed
        workloads = dict.fromkeys(f"`perfkit diagnose -w {one.workload}`" for one in telling)
        more += f" For what is slow, why, and what to do: {joined(workloads)}."
    return Verdict(
        word="cost unknown" if len(unknown) == len(telling) else "profiled",
        tone=Tone.CAUTION if unknown or len(telling) < len(captures) else Tone.GOOD,
        sentence=f"{len(telling)} of {len(captures)} captures tell where the time goes, by {names}."
        f"{more}",
    )


def _cost_unknown(capture: Capture) -> bool:
    """Whether a capture's times may be any times those of the call alone."""
    return capture.slowdown is None and capture.clock != COUNTS


def _place(capture: Capture) -> str:
    if capture.size is None:
        return capture.workload
    return f"{capture.workload} at {format_count(capture.size)}"


def _holds(capture: Capture) -> str:
    if not bounds.tells(capture):
        return "say nothing"
    if _cost_unknown(capture):
        return "cost unknown"
    return f"± {percent(sum(amount for _, amount in bounds.named(capture.doubts)))}"


def _doubts(capture: Capture) -> str:
    """Every doubt of a capture that is worth a word, the largest first."""
    found = [f"{percent(amount)} by {what}" for what, amount in bounds.named(capture.doubts)]
    if not found:
        return ""
    return f"{capture.profiler}, {_place(capture)}: up to {joined(found)}"

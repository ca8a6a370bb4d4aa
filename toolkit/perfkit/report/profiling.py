"""What `perfkit profile` reports, as blocks: each capture, its cost, and why one is not used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.report.endings import ending
from perfkit.report.page import Block, Page, Table, Tone, Verdict, points, table
from perfkit.report.words import UNKNOWN, joined, percent, percent_interval
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from perfkit.records import Capture, ProfileReport


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
    "<used": lambda capture: _used(capture),
}
_CAPTION = (
    "Unresolved: share of the samples whose innermost frame has no name. Slowdown: profiled time "
    "over bare time, minus one, with its 95 % interval; – means not measured."
)


def profile_page(report: ProfileReport) -> Page:
    """The report of `perfkit profile`."""
    captures = report.captures
    blocks: list[Block] = [_profile_verdict(report), table(captures, _CELLS, caption=_CAPTION)]
    blocks += points(
        "Not used, and why",
        (f"{one.profiler}, {_place(one)}: {one.reason}" for one in captures if not one.accepted),
    )
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


def capture_table(captures: Sequence[Capture]) -> Table:
    """What each profiler saw and what it cost: for a report that names its workload elsewhere."""
    cells = {title: cell for title, cell in _CELLS.items() if title not in {"<workload", "rate"}}
    return table(captures, cells, caption=_CAPTION)


def _profile_verdict(report: ProfileReport) -> Verdict:
    captures = report.captures
    used = [capture for capture in captures if capture.accepted]
    if not captures:
        return Verdict(word="nothing", tone=Tone.BAD, sentence="No profiler could be started.")
    if not used:
        sentence = "No capture can be trusted, so there are no tables."
        return Verdict(word="withheld", tone=Tone.BAD, sentence=sentence)
    names = joined(dict.fromkeys(capture.profiler for capture in used))
    unknown = [capture for capture in used if _cost_unknown(capture)]
    cost = " What profiling cost is not known for all of them." if unknown else ""
    all_unknown = len(unknown) == len(used)
    if report.build:  # a workload of the config, which can be diagnosed
        workloads = dict.fromkeys(f"`perfkit diagnose -w {capture.workload}`" for capture in used)
        cost += f" For what is slow, why, and what to do: {joined(workloads)}."
    return Verdict(
        word="cost unknown" if all_unknown else "profiled",
        tone=Tone.CAUTION if unknown or len(used) < len(captures) else Tone.GOOD,
        sentence=f"{len(used)} of {len(captures)} captures are used, by {names}.{cost}",
    )


def _cost_unknown(capture: Capture) -> bool:
    """Whether a capture's times may be any times those of the call alone."""
    return capture.slowdown is None and capture.clock != COUNTS


def _place(capture: Capture) -> str:
    if capture.size is None:
        return capture.workload
    return f"{capture.workload} at {format_count(capture.size)}"


def _used(capture: Capture) -> str:
    if not capture.accepted:
        return "no"
    return "cost unknown" if _cost_unknown(capture) else "yes"

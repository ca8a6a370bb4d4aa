"""The end that all profilers share: what one took is drawn, and becomes a capture with its doubts
and its files inside the run. Each profiler writes its own raw output.
"""

from __future__ import annotations

import gzip
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perfkit import _engine
from perfkit.profile import quality
from perfkit.records import Capture, Doubts, Note, NoteId
from perfkit.stacks import bounds, engine_errors
from perfkit.stacks.folded import write_stacks
from perfkit.units import format_bytes, format_share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from perfkit.profile.request import Sight
    from perfkit.records import HotLine, Interval
    from perfkit.store import Run

RAW_LIMIT_BYTES = 64 * 1024 * 1024
"""A raw file above this is not kept: stack copies grow with rate, duration and threads."""
COST_UNKNOWN = "cost unknown"
"""Of something that ran once: there is nothing to compare it with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """The part of a workload's loop that was sampled; see `records.Capture` for the fields."""

    calls: int | None = None
    seconds: float | None = None
    windows: int = 1
    design_effect: float = 1.0
    pace: Mapping[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What one profiler brought.

    Attributes:
        rate_hz: samples per second; zero if every event is counted.
        stacks: root first, with the thread's root frame.
        quality: what it is made of, and what it cost.
        files: raw output by kind. `text` is compressed; `raw` is removed if it is too large.
        has_cost: whether there was a run without the profiler to compare with.
        hot_lines: see `records.Capture`.
        notes: everything else that must be said.
        count_name: what the stacks count.
    """

    profiler: str
    sight: Sight
    rate_hz: float
    stacks: Sequence[tuple[Sequence[str], int]]
    quality: quality.Quality
    files: Mapping[str, Path]
    has_cost: bool = True
    region: Region = field(default_factory=Region)
    hot_lines: tuple[HotLine, ...] = ()
    notes: tuple[Note, ...] = ()
    count_name: str = "samples"

    @property
    def name(self) -> str:
        """What its files are called, without a suffix."""
        return f"{self.sight.stem}.{self.profiler}"

    @property
    def doubts(self) -> Doubts:
        """What may be wrong with its shares; counts are exact, whatever else the machine does."""
        return self.quality.doubts if self.rate_hz else Doubts()


def publish(taken: Taken, run: Run) -> Capture:
    """Write the folded stacks, draw the flame graph, limit what is kept."""
    notes = list(dict.fromkeys((*taken.notes, *quality.notes(taken.quality))))
    files = dict(taken.files)
    if "text" in files:
        files["text"] = compress(files["text"])
    if {"text", "raw"} <= files.keys():
        dropped = bound_raw(files["raw"])
        if dropped is not None:
            del files["raw"]
            notes.append(dropped)
    files["folded"] = write_stacks(taken.stacks, run.path(f"stacks/{taken.name}.folded"))
    files["flame"] = _draw_flame(run, taken, files["folded"])
    return _capture(taken, run, files, notes)


def without_stacks(taken: Taken, run: Run, fault: Note) -> Capture:
    """The capture of a profiler that left nothing but its raw files."""
    return _capture(taken, run, taken.files, [fault])


def _capture(taken: Taken, run: Run, files: Mapping[str, Path], notes: Sequence[Note]) -> Capture:
    return Capture(
        profiler=taken.profiler,
        workload=taken.sight.workload,
        size=taken.sight.size,
        clock="cpu" if taken.rate_hz else "instructions",
        rate_hz=taken.rate_hz,
        samples=taken.quality.samples,
        calls=taken.region.calls,
        region_s=taken.region.seconds,
        windows=taken.region.windows,
        design_effect=taken.region.design_effect,
        pace=taken.region.pace,
        unresolved_share=taken.quality.unresolved_share,
        slowdown=taken.quality.slowdown,
        doubts=taken.doubts,
        files={kind: run.relative(path) for kind, path in files.items()},
        hot_lines=taken.hot_lines,
        notes=tuple(notes),
    )


@engine_errors.named()
def _draw_flame(run: Run, taken: Taken, folded: Path) -> Path:
    """Draw `flame/<stem>.<profiler>.svg`; its subtitle names the largest doubt."""
    path = run.path(f"flame/{taken.name}.svg")
    subtitle = describe(taken)
    doubts = bounds.named(taken.doubts)
    if not taken.has_cost and taken.rate_hz:
        subtitle += f" — {COST_UNKNOWN}"
    elif doubts:
        what, amount = doubts[0]
        subtitle += f" — shares may be off by up to {format_share(amount)}: {what}"
    _engine.flamegraph(
        folded, path, title=taken.sight.title, subtitle=subtitle, count_name=taken.count_name
    )
    return path


def describe(taken: Taken) -> str:
    """Rate, samples and slowdown in one line: what every picture of a capture must carry."""
    parts = [taken.profiler]
    if taken.rate_hz:
        parts.append(f"{taken.rate_hz:g} samples/s")
    parts.append(f"{taken.quality.samples:,} {taken.count_name}".replace(",", "\u202f"))
    slowdown = taken.quality.slowdown
    if slowdown is None:
        parts.append("slowdown not measured")
    else:
        shown = f"{format_share(slowdown.low)} to {format_share(slowdown.high)}"
        parts.append(f"slowdown {format_share(slowdown.estimate)} ({shown})")
    return ", ".join(parts)


def bound_raw(path: Path) -> Note | None:
    """Remove a raw file above the limit, and say so."""
    size = path.stat().st_size
    if size <= RAW_LIMIT_BYTES:
        return None
    path.unlink()
    return Note(
        id=NoteId.RAW_NOT_KEPT,
        text=f"{path.name} was not kept, because it had {format_bytes(size)}; its text was kept",
        remedy="a lower rate or a shorter duration makes it smaller",
    )


def compress(path: Path) -> Path:
    """Replace a text by its gzip, and return that."""
    packed = path.with_name(path.name + ".gz")
    with path.open("rb") as source, gzip.open(packed, "wb", compresslevel=5) as sink:
        shutil.copyfileobj(source, sink)
    path.unlink()
    return packed

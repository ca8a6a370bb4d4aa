"""The end that all profilers share: what one took is judged, drawn, and becomes a capture with its
files inside the run. Raw output is written by each profiler itself.
"""

from __future__ import annotations

import gzip
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perfkit import _engine
from perfkit.profile import engine_errors, quality
from perfkit.records import Capture, Note
from perfkit.units import format_bytes, format_share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from perfkit.config import Profiling
    from perfkit.records import Interval
    from perfkit.store import Run

RAW_LIMIT_BYTES = 64 * 1024 * 1024
"""A raw file above this is not kept: stack copies grow with rate, duration and threads."""
NOT_BELIEVED = "NOT BELIEVED: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """The part of a workload's loop that was looked at; see `records.Capture` for the fields."""

    calls: int
    seconds: float | None = None
    windows: int = 1
    design_effect: float = 1.0
    pace: Mapping[str, Interval] = field(default_factory=dict)
    main_tid: int | None = None
    pid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What one profiler brought, before it is judged.

    Attributes:
        stem: what names its files.
        title: of the flame graph.
        stacks: root first, with the thread's root frame.
        quality: what it is made of, and what it cost.
        rate_hz: samples per second; zero where every event is counted.
        has_cost: whether there was a run without the profiler to compare with.
        files: raw output by kind. `text` is compressed; `raw` is removed where it is too large.
        region: of a workload; None where the calls are not known.
        faults: why the profiler itself says that it cannot be believed.
        notes: everything else that must be said.
        count_name: what the stacks count.
    """

    profiler: str
    workload: str
    size: int | None
    stem: str
    title: str
    rate_hz: float
    stacks: Sequence[tuple[Sequence[str], int]]
    quality: quality.Quality
    files: Mapping[str, Path]
    has_cost: bool = True
    region: Region | None = None
    main_tid: int | None = None
    pid: int | None = None
    faults: tuple[Note, ...] = ()
    notes: tuple[Note, ...] = ()
    count_name: str = "samples"


def publish(taken: Taken, limits: Profiling, run: Run) -> Capture:
    """Judge, write the folded stacks, draw the flame graph, bound what is kept."""
    found = taken.quality
    verdict = quality.BELIEVED  # counts are exact, whatever else the machine does
    if taken.rate_hz:
        verdict = quality.judge(found, limits, needs_slowdown=taken.has_cost).but(taken.faults)
    notes = list(dict.fromkeys((*taken.notes, *verdict.notes)))
    files = dict(taken.files)
    if "text" in files:
        files["text"] = compress(files["text"])
        dropped = bound_raw(files["raw"])
        if dropped is not None:
            del files["raw"]
            notes.append(dropped)
    files["folded"] = write_folded(run, taken)
    files["flame"] = _draw_flame(run, taken, files["folded"], verdict)
    region = taken.region
    return Capture(
        profiler=taken.profiler,
        workload=taken.workload,
        size=taken.size,
        clock="cpu" if taken.rate_hz else "instructions",
        rate_hz=taken.rate_hz,
        samples=found.samples,
        calls=region.calls if region else None,
        region_s=region.seconds if region else None,
        windows=region.windows if region else 1,
        design_effect=region.design_effect if region else 1.0,
        pace=region.pace if region else {},
        unresolved_share=found.unresolved_share,
        slowdown=found.slowdown,
        accepted=verdict.accepted,
        reason=verdict.reason or ("" if taken.has_cost else quality.COST_UNKNOWN),
        files={kind: run.relative(path) for kind, path in files.items()},
        main_tid=region.main_tid if region else taken.main_tid,
        pid=region.pid if region else taken.pid,
        notes=tuple(notes),
    )


@engine_errors.named()
def write_folded(run: Run, taken: Taken) -> Path:
    """Write `stacks/<stem>.<profiler>.folded` and return its place."""
    path = run.path(f"stacks/{taken.stem}.{taken.profiler}.folded")
    _engine.Folded.from_stacks([(list(stack), count) for stack, count in taken.stacks]).write(path)
    return path


@engine_errors.named()
def _draw_flame(run: Run, taken: Taken, folded: Path, verdict: quality.Belief) -> Path:
    """Draw `flame/<stem>.<profiler>.svg`; one that failed the gate says so in its title."""
    path = run.path(f"flame/{taken.stem}.{taken.profiler}.svg")
    mark = "" if verdict.accepted else NOT_BELIEVED
    found = taken.quality
    subtitle = describe(
        taken.profiler, taken.rate_hz, found.samples, found.slowdown, taken.count_name
    )
    if verdict.notes:  # the first fault: a picture has one line for it, the report has them all
        subtitle += f" — {verdict.notes[0].text}"
    elif not taken.has_cost and taken.rate_hz:
        subtitle += f" — {quality.COST_UNKNOWN}"
    _engine.flamegraph(
        folded, path, title=f"{mark}{taken.title}", subtitle=subtitle, count_name=taken.count_name
    )
    return path


def describe(
    profiler: str,
    rate_hz: float,
    samples: int,
    slowdown: Interval | None,
    count_name: str = "samples",
) -> str:
    """Rate, samples and slowdown in one line: what every picture of a capture must carry."""
    parts = [profiler]
    if rate_hz:
        parts.append(f"{rate_hz:g} samples/s")
    parts.append(f"{samples:,} {count_name}".replace(",", "\u202f"))
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
        id="raw_not_kept",
        text=f"{path.name} had {format_bytes(size)} and was not kept; its text was",
        remedy="a lower rate or a shorter duration gives a smaller one",
    )


def compress(path: Path) -> Path:
    """Replace a text by its gzip, and return that."""
    packed = path.with_name(path.name + ".gz")
    with path.open("rb") as source, gzip.open(packed, "wb", compresslevel=5) as sink:
        shutil.copyfileobj(source, sink)
    path.unlink()
    return packed

"""The files of a capture inside its run: folded stacks and the flame graph, with what must stand in
its title. Raw output is written by each profiler itself.
"""

from __future__ import annotations

import gzip
import shutil
from typing import TYPE_CHECKING

from perfkit import _engine
from perfkit.profile import engine_errors
from perfkit.records import Note
from perfkit.units import format_bytes, format_share

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from perfkit.profile.quality import Verdict
    from perfkit.records import Interval
    from perfkit.store import Run

RAW_LIMIT_BYTES = 64 * 1024 * 1024
"""A raw file above this is not kept: stack copies grow with rate, duration and threads."""
NOT_BELIEVED = "NOT BELIEVED: "


@engine_errors.named()
def write_folded(
    run: Run, stem: str, profiler: str, stacks: Iterable[tuple[Sequence[str], int]]
) -> Path:
    """Write `stacks/<stem>.<profiler>.folded` and return its place."""
    path = run.path(f"stacks/{stem}.{profiler}.folded")
    _engine.Folded.from_stacks([(list(stack), count) for stack, count in stacks]).write(path)
    return path


@engine_errors.named()
def draw_flame(
    run: Run,
    folded: Path,
    *,
    stem: str,
    profiler: str,
    what: str,
    rate_hz: float,
    samples: int,
    slowdown: Interval | None,
    verdict: Verdict,
    count_name: str = "samples",
) -> Path:
    """Draw `flame/<stem>.<profiler>.svg`; one that failed the gate says so in its title."""
    path = run.path(f"flame/{stem}.{profiler}.svg")
    mark = "" if verdict.accepted else NOT_BELIEVED
    subtitle = describe(profiler, rate_hz, samples, slowdown, count_name)
    if verdict.notes:  # the first fault: a picture has one line for it, the report has them all
        subtitle += f" — {verdict.notes[0].text}"
    elif verdict.reason:
        subtitle += f" — {verdict.reason}"
    _engine.flamegraph(
        folded, path, title=f"{mark}{what}", subtitle=subtitle, count_name=count_name
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

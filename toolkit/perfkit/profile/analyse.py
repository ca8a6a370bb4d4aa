"""From a capture on disk back to stacks, layers and tables: each analysis runs again from the run
directory. Nothing is started here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from perfkit.errors import CaptureError, UsageError
from perfkit.stacks import export, tables
from perfkit.stacks.folded import read_stacks
from perfkit.stacks.layers import Layers, crate_names
from perfkit.stacks.split import Split, split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.config import LayerRule
    from perfkit.records import Build, Capture
    from perfkit.store import Run

EXPORTS = {".svg": "flame", ".folded": "folded", ".json": "speedscope", ".csv": "csv"}
"""What `--output` asks for by its suffix."""


def layers_for(build: Build, extra: Sequence[LayerRule] = ()) -> Layers:
    """The layer rules for a build's own crates."""
    return Layers(crate_names(build.rustc, build.module), extra)


def stacks_of(capture: Capture, run: Run) -> list[tuple[tuple[str, ...], int]]:
    """The folded stacks of a capture, root first.

    Raises:
        CaptureError: the capture has none.
        UnreadableOutputError: its file is damaged, with file and line.
    """
    folded = capture.files.get("folded")
    if folded is None:
        message = f"the capture of {capture.profiler} has no stacks"
        raise CaptureError(message, where=str(run.directory))
    return read_stacks(run.directory / folded)


def split_of(capture: Capture, run: Run, layers: Layers) -> Split:
    """Where the time of a call goes, from an accepted capture that knows its region.

    Raises:
        CaptureError: the capture cannot be believed, or its region and calls are not known, or its
            stacks stop at Python.
    """
    if not capture.accepted:
        message = f"the capture of {capture.profiler} is not believed: {capture.reason}"
        raise CaptureError(message, where=str(run.directory))
    return split_unchecked(capture, run, layers)


def split_unchecked(
    capture: Capture,
    run: Run,
    layers: Layers,
    stacks: Sequence[tuple[tuple[str, ...], int]] | None = None,
) -> Split:
    """Like `split_of` for a capture that failed the gate: for showing, never for a verdict.

    Args:
        stacks: of the capture, where they have been read already.
    """
    known = capture.region_s is not None and capture.calls is not None
    if capture.profiler != "perf" or not known or not capture.rate_hz:
        message = f"a split by layer needs perf's native stacks of a call, not {capture.profiler}'s"
        raise CaptureError(message, where=str(run.directory), remedy="profile with perf")
    assert capture.region_s is not None and capture.calls is not None  # noqa: PT018
    return split(
        stacks_of(capture, run) if stacks is None else stacks,
        layers=layers,
        rate_hz=capture.rate_hz,
        region_s=capture.region_s,
        calls=capture.calls,
        windows=capture.windows,
        design_effect=capture.design_effect,
    )


def write_tables(capture: Capture, run: Run, layers: Layers) -> dict[str, Path]:
    """Write `tables/<label>.<profiler>.{frames,stacks,layers}.csv` of a capture; layers of
    an accepted one alone.

    Returns:
        Places by kind, relative to the run.
    """
    stacks = stacks_of(capture, run)
    stem = Path(capture.files["folded"]).name.removesuffix(".folded")
    base, call_s = None, None
    clumped = capture.design_effect
    written = {}
    if capture.region_s is not None and capture.calls and capture.rate_hz:
        base = capture.region_s * capture.rate_hz
        call_s = capture.region_s / capture.calls
    frames = tables.frame_table(
        stacks, layers=layers, base=base, call_s=call_s, design_effect=clumped
    )
    path = run.write(f"tables/{stem}.frames.csv", export.table_csv(frames))
    written["frames"] = run.relative(path)
    whole = tables.stack_table(stacks, layers, base=base, design_effect=clumped)
    path = run.write(f"tables/{stem}.stacks.csv", export.table_csv(whole))
    written["stacks"] = run.relative(path)
    if capture.profiler == "perf" and capture.accepted and base is not None:
        found = split_of(capture, run, layers)
        table = tables.layer_table(found.layers, found.workers)
        path = run.write(f"tables/{stem}.layers.csv", export.table_csv(table))
        written["layers"] = run.relative(path)
    return written


def export_capture(capture: Capture, run: Run, suffix: str) -> bytes:
    """A capture in the format that a file's suffix names.

    Raises:
        UsageError: there is no such format.
    """
    if suffix not in EXPORTS:
        message = f"there is no export for {suffix!r}"
        raise UsageError(message, remedy=f"choose one of: {', '.join(EXPORTS)}")
    if suffix in {".svg", ".folded"}:
        return (run.directory / capture.files[EXPORTS[suffix]]).read_bytes()
    stacks = stacks_of(capture, run)
    if suffix == ".json":
        name = f"{capture.workload} n={capture.size} ({capture.profiler})"
        return export.speedscope(stacks, name=name, rate_hz=capture.rate_hz).encode()
    return export.stacks_csv(stacks).encode()

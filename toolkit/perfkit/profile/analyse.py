"""From a capture on disk back to stacks, layers and tables: each analysis runs again from the run
directory. Nothing is started here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from perfkit.errors import CaptureError
from perfkit.stacks import bounds, export, tables
from perfkit.stacks.folded import read_stacks
from perfkit.stacks.layers import Layers, crate_names
from perfkit.stacks.split import Split, split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.config import LayerRule
    from perfkit.records import Build, Capture
    from perfkit.stacks.folded import Stack
    from perfkit.store import Run

NATIVE = frozenset({"perf", "sigprof"})
"""The profilers whose stacks give a split by layer: samples of the CPU clock, with native frames of
every thread."""
EXPORTS = {"speedscope": "speedscope.json", "csv": "stacks.csv", "folded": None, "svg": None}
"""What a file of each kind of export ends with; None if every capture has it anyway."""


def layers_for(build: Build, extra: Sequence[LayerRule] = ()) -> Layers:
    """The layer rules for a build's own crates."""
    return Layers(crate_names(build.rustc, build.module), extra)


def stacks_of(capture: Capture, run: Run) -> list[tuple[Stack, int]]:
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


def split_of(
    capture: Capture,
    run: Run,
    layers: Layers,
    stacks: Sequence[tuple[Stack, int]] | None = None,
) -> Split:
    """Where the time of a call goes, with the capture's doubts in every interval.

    Args:
        stacks: of the capture, if they have been read already.

    Raises:
        CaptureError: the region and its calls are not known, or the stacks are not native.
    """
    known = capture.region_s is not None and capture.calls is not None
    if capture.profiler not in NATIVE or not known or not capture.rate_hz:
        message = f"a split by layer needs native stacks of a call, not {capture.profiler}'s"
        remedy = "profile with perf or sigprof"
        raise CaptureError(message, where=str(run.directory), remedy=remedy)
    assert capture.region_s is not None and capture.calls is not None  # noqa: PT018
    counted = split(
        stacks_of(capture, run) if stacks is None else stacks,
        layers=layers,
        rate_hz=capture.rate_hz,
        region_s=capture.region_s,
        calls=capture.calls,
        windows=capture.windows,
        design_effect=capture.design_effect,
    )
    return bounds.of_split(counted, capture.doubts)


def write_tables(capture: Capture, run: Run, layers: Layers) -> dict[str, Path]:
    """Write `tables/<label>.<profiler>.{frames,stacks,layers}.csv` of a capture; layers only of
    native stacks.

    Returns:
        Places by kind, relative to the run.
    """
    stacks = stacks_of(capture, run)
    stem = Path(capture.files["folded"]).name.removesuffix(".folded")
    base, call_s, clumped = None, None, capture.design_effect
    if capture.region_s is not None and capture.calls and capture.rate_hz:
        base = capture.region_s * capture.rate_hz
        call_s = capture.region_s / capture.calls
    found = {
        "frames": tables.frame_table(
            stacks, layers=layers, base=base, call_s=call_s, design_effect=clumped
        ),
        "stacks": tables.stack_table(stacks, layers, base=base, design_effect=clumped),
    }
    if capture.profiler in NATIVE and base is not None:
        split_ = split_of(capture, run, layers, stacks)
        found["layers"] = tables.layer_table(split_.layers, split_.workers)
    written = {}
    for kind, table in found.items():
        text = table.to_csv(index=False, lineterminator="\n")
        written[kind] = run.relative(run.write(f"tables/{stem}.{kind}.csv", text))
    return written


def export_capture(capture: Capture, run: Run, kind: str) -> str:
    """A capture as `speedscope` or `csv`."""
    stacks = stacks_of(capture, run)
    if kind == "csv":
        return export.stacks_csv(stacks)
    name = f"{capture.workload} n={capture.size} ({capture.profiler})"
    return export.speedscope(stacks, name=name, rate_hz=capture.rate_hz)

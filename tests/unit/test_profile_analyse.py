"""From a capture on disk back to splits and differences: nothing is started, files are small."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from perfkit import _engine
from perfkit.profile import analyse
from perfkit.records import Capture, Layer
from perfkit.stacks.intervals import Z
from perfkit.stacks.layers import Layers
from perfkit.stacks.split import CALLING_THREAD
from perfkit.store import Run

LAYERS = Layers(["my_crate"])
Stacks = dict[tuple[str, ...], int]


def kept(run: Run, stacks: Stacks, **changes: object) -> Capture:
    """A capture whose folded stacks lie in the run."""
    size = changes.get("size", 1000)
    path = run.path(f"stacks/price-{size}.perf.folded")
    rows = [([CALLING_THREAD, *stack], count) for stack, count in stacks.items()]
    _engine.Folded.from_stacks(rows).write(path)
    fields: dict[str, object] = {
        "profiler": "perf",
        "workload": "price",
        "size": size,
        "clock": "cpu",
        "rate_hz": 1000.0,
        "samples": sum(stacks.values()),
        "calls": 100,
        "region_s": 1.0,
        "unresolved_share": 0.0,
        "slowdown": None,
        "accepted": True,
        "reason": "",
        "files": {"folded": run.relative(path)},
        **changes,
    }
    return Capture(**fields)  # type: ignore[arg-type]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(directory=tmp_path / "run")


def test_waiting_knows_into_how_many_windows_its_region_was_cut(run: Run) -> None:
    """A thread that never waits: nothing but the windows' ends leaves room round zero."""
    capture = kept(run, {("my_crate::price",): 1000}, windows=75)
    (waiting,) = (
        row
        for row in analyse.split_of(capture, run, LAYERS).layers
        if row.layer is Layer.WAITING
    )
    assert waiting.share == 0.0
    assert waiting.high == pytest.approx(Z * math.sqrt(2 * 75 / 12) / 1000)

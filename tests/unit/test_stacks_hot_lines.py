"""Hot lines: which line of the subject's own sources a sample belongs to."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from perfkit import _engine
from perfkit.records import Doubts, Layer
from perfkit.stacks import inline
from perfkit.stacks.hot_lines import MOST, hot_lines
from perfkit.stacks.inline import AT, Sources
from perfkit.stacks.intervals import wilson
from perfkit.stacks.layers import Layers
from perfkit.stacks.split import CALLING_THREAD, OTHER_THREADS

LAYERS = Layers(("mine",))
CORE = "/rustc/59807616/library/core/src/slice/iter.rs"
RAYON = "/root/.cargo/registry/src/index-1949cf8c/rayon-1.11.0/src/iter.rs"


def frame(function: str, file: str, line: int | None) -> SimpleNamespace:
    return SimpleNamespace(function=function, file=file, line=line)


def test_each_own_function_of_a_chain_has_its_place_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chains = [
        # A closure of the subject inside rayon's loop, with core's iterator in it.
        [
            frame("next<f64>", CORE, 12),
            frame("{closure#0}", "/home/me/fast/src/lib.rs", 74),
            frame("consume_iter<f64>", RAYON, 9),
        ],
        # Not inlined: the frame's own name comes from perf, its place from here.
        [frame("_ZN4mine3sumE", "/home/me/fast/src/lib.rs", 80)],
        [frame("next<f64>", CORE, 13)],
        [frame("{closure#1}", "/home/me/fast/src/lib.rs", None)],
    ]
    monkeypatch.setattr(_engine, "source_frames", lambda *_: chains)
    found = inline.resolve(Path("mine.so"), [1, 2, 3, 4], Sources(crate="mine"))
    assert found is not None
    assert found.chains == {
        1: ("core::slice::iter::next", f"{AT}/home/me/fast/src/lib.rs:74", "mine::{closure#0}"),
        2: (f"{AT}/home/me/fast/src/lib.rs:80",),
    }


def test_a_sample_belongs_to_the_innermost_own_line_with_all_that_it_asks_for(
    tmp_path: Path,
) -> None:
    source = tmp_path / "shadow" / "tree" / "src" / "lib.rs"
    source.parent.mkdir(parents=True)
    source.write_text("one\n    let v = row.to_vec();\nthree\n", encoding="utf-8")
    inner, outer, gone = f"{AT}{source}:2", f"{AT}{source}:1", f"{AT}/gone/src/a.rs:7"
    placed = [
        ((CALLING_THREAD, "mine::call", outer, "mine::rows", inner, "malloc"), 30),
        ((CALLING_THREAD, "mine::call", outer, "mine::rows", inner), 20),
        ((CALLING_THREAD, "mine::call", outer), 10),
        ((OTHER_THREADS, "mine::work", gone), 20),
        ((CALLING_THREAD, "_PyEval_EvalFrameDefault"), 20),
    ]
    first, second, third = hot_lines(
        placed, LAYERS, Doubts(slowdown=0.0), region_samples=80.0, design_effect=1.0
    )
    assert (first.file, first.line, first.text) == ("src/lib.rs", 2, "let v = row.to_vec();")
    assert first.share.estimate == 0.5
    assert first.share.low < 0.5 < first.share.high
    assert sum(first.layers.values()) == pytest.approx(0.5)
    assert first.layers == {Layer.COMPUTE: 0.5}  # memory that compute asks for is compute's
    assert (second.file, second.line, second.text) == ("/gone/src/a.rs", 7, "")
    assert (third.file, third.line, third.share.estimate) == ("src/lib.rs", 1, 0.1)


def test_doubts_of_the_capture_are_in_the_share() -> None:
    placed = [((CALLING_THREAD, f"{AT}/a/b.rs:{line}", "mine::f"), 100) for line in range(1, 9)]
    known = {"region_samples": 800.0, "design_effect": 1.0}
    sure = hot_lines(placed, LAYERS, Doubts(slowdown=0.0), **known)
    wide = hot_lines(placed, LAYERS, Doubts(slowdown=0.1, missing=0.05), **known)
    assert len(sure) == len(wide) == MOST
    assert wide[0].share.low < sure[0].share.low - 0.05
    assert wide[0].share.high > sure[0].share.high + 0.05


def test_a_stack_that_was_cut_may_be_of_any_line_and_a_whole_one_of_none() -> None:
    """Two threads compute, so their time is twice the wall clock."""
    rooted = "clone3"
    placed = [
        ((OTHER_THREADS, rooted, f"{AT}/a/b.rs:1", "mine::f"), 1000),
        ((OTHER_THREADS, rooted, "rayon_core::sleep"), 600),
        ((OTHER_THREADS, "memcpy"), 400),
    ]
    (line,) = hot_lines(
        placed, LAYERS, Doubts(unnamed=0.9), region_samples=1000.0, design_effect=1.0
    )
    counted = wilson(1000, 2000)
    assert line.share.estimate == 0.5
    assert line.share.low == counted.low
    assert line.share.high == pytest.approx(counted.high + 0.2)


def test_without_line_tables_there_are_none() -> None:
    placed = [((CALLING_THREAD, "mine::call"), 30)]
    assert not hot_lines(placed, LAYERS, Doubts(), region_samples=30.0, design_effect=1.0)
    assert not hot_lines([], LAYERS, Doubts(), region_samples=0.0, design_effect=1.0)

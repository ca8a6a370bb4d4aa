"""The formats that stacks come in and go out by; golden inputs are real outputs of the tools."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.errors import UnreadableOutputError, UsageError
from perfkit.records import Layer
from perfkit.stacks import export, inline, perf_script, py_spy_raw, tables
from perfkit.stacks.diff import Sampled, compare, discoveries, per_call_nanoseconds
from perfkit.stacks.layers import Layers
from perfkit.stacks.split import CALLING_THREAD, OTHER_THREADS

DATA = Path(__file__).resolve().parents[1] / "data"
PERF = DATA / "perf-profile"
STACKS = (
    ((CALLING_THREAD, "_PyEval_EvalFrameDefault", "my_crate::price"), 60),
    ((CALLING_THREAD, "_PyEval_EvalFrameDefault", "my_crate::price", "my_crate::price"), 20),
    ((OTHER_THREADS, "clone3", "my_crate::price"), 40),
)


# -- perf script -----------------------------------------------------------------------------------


def test_a_capture_is_cut_to_its_process_and_windows(tmp_path: Path) -> None:
    source = PERF / "threads-dwarf.txt"
    heads = [head for head, _ in perf_script.read_samples(source)]
    assert len(heads) == 60
    middle = heads[20].time
    windows = [perf_script.Window(begin=0.0, end=middle)]
    found = perf_script.select(source, tmp_path / "kept", pid=heads[0].pid, windows=windows)
    assert found.samples == sum(head.time <= middle for head in heads)
    assert found.outside == 60 - found.samples
    assert sum(found.by_thread.values()) == found.samples
    assert len(found.by_thread) == 2
    assert found.unrooted == 0
    again = perf_script.select(tmp_path / "kept", tmp_path / "again", pid=None, windows=None)
    assert again.samples == found.samples
    assert (tmp_path / "again").read_text() == (tmp_path / "kept").read_text()


def test_another_process_is_left_out(tmp_path: Path) -> None:
    source = PERF / "list-dwarf.txt"
    found = perf_script.select(source, tmp_path / "kept", pid=1, windows=None)
    assert (found.samples, found.foreign) == (0, 90)


def test_frames_are_replaced_by_the_chain_of_inlined_ones(tmp_path: Path) -> None:
    source = PERF / "list-dwarf.txt"

    def expand(frame: perf_script.Frame) -> tuple[str, ...] | None:
        return ("inner", frame.symbol) if frame.symbol.endswith("call_price_list") else None

    perf_script.select(source, tmp_path / "kept", pid=None, windows=None, expand=expand)
    text = (tmp_path / "kept").read_text()
    assert text.count(" inner (") == source.read_text().count("__pyfunction_call_price_list (")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\t 28042 price (x.so)\n", 1),
        ("python 1/1  1.5: cpu-clock:\n\t 2 f (x)\n\nnonsense\n", 4),
        ("\x00\x01\x02PERFILE2\n", 1),
    ],
)
def test_garbage_is_refused_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    source = tmp_path / "script.txt"
    source.write_text(text)
    with pytest.raises(UnreadableOutputError) as caught:
        list(perf_script.read_samples(source))
    assert caught.value.where == f"{source}:{line}"


def test_a_thread_name_may_hold_blanks_and_a_module_parentheses() -> None:
    frame = perf_script.parse_frame("\t     28042 exp+0x12 (/a b/x (1).so)\n")
    assert frame == perf_script.Frame(ip=0x28042, symbol="exp", dso="/a b/x (1).so")


@given(st.text(max_size=300))
def test_no_text_breaks_the_reader_otherwise(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    source = tmp_path_factory.mktemp("fuzz") / "script.txt"
    source.write_text(text, encoding="utf-8", errors="replace")
    with contextlib.suppress(UnreadableOutputError):
        list(perf_script.read_samples(source))


# -- py-spy ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "lines"), [("python", 25), ("native", 25), ("threads", 25)])
def test_real_py_spy_files_are_read_whole(name: str, lines: int) -> None:
    source = DATA / "py-spy" / f"{name}.raw"
    found = py_spy_raw.read_raw(source)
    told = [int(line.rpartition(" ")[2]) for line in source.read_text().splitlines()]
    assert len(told) == lines
    assert sum(count for _, count in found) == sum(told)
    assert all(all(frame for frame in stack) for stack, _ in found)


def test_a_semicolon_inside_a_rust_type_stays_in_its_frame() -> None:
    assert py_spy_raw.frames("a (x.py:1);f<[f64; 4]> (b.rs:2);;c") == (
        "a (x.py:1)",
        "f<[f64: 4]> (b.rs:2)",
        "[unknown]",
        "c",
    )


@pytest.mark.parametrize("text", ["a;b\n", "a;b 1.5\n", "a;b -1\n", "a;b 0\n", "12\n"])
def test_a_line_without_a_count_is_refused(tmp_path: Path, text: str) -> None:
    source = tmp_path / "x.raw"
    source.write_text("ok 1\n" + text)
    with pytest.raises(UnreadableOutputError) as caught:
        py_spy_raw.read_raw(source)
    assert caught.value.where.endswith(":2")


# -- inlined frames --------------------------------------------------------------------------------

ADDR2LINE = """\
0x0000000000039820
_ZN4pyo35impl_5extractE
/home/u/.cargo/registry/src/mirror-19/pyo3-0.30.1/src/conversions/std/vec.rs:270
push<f64, alloc::alloc::Global>
/rustc/5980/library/alloc/src/vec/mod.rs:2600
build_info
/home/u/project/src/python.rs:260
__pyfunction_build_info
/home/u/project/src/python.rs:256
0x000000000003492f
price
/home/u/project/src/plain.rs:10 (discriminator 2)
"""


def test_an_inlined_function_gets_the_crate_of_its_file() -> None:
    found = inline.parse(ADDR2LINE, "kernel")
    assert found[0x39820] == (
        "pyo3::conversions::std::vec::{inlined}",
        "alloc::vec::push",
        "kernel::build_info",
        "kernel::__pyfunction_build_info",
    )
    assert len(found[0x3492F]) == 1


def test_a_frame_of_another_module_is_left_alone() -> None:
    inlined = inline.Inlined(module="/a.so", chains={1: ("inner",)})
    assert inlined.expand(perf_script.Frame(ip=1, symbol="f", dso="/b.so")) is None
    assert inlined.expand(perf_script.Frame(ip=2, symbol="f", dso="/a.so")) is None
    assert inlined.expand(perf_script.Frame(ip=1, symbol="f", dso="/a.so")) == ("inner", "f")


@pytest.mark.parametrize("head", [b"", b"MZ" + bytes(100), b"\x7fELF\x01\x01" + bytes(100)])
def test_a_file_that_is_no_elf_is_refused(head: bytes) -> None:
    with pytest.raises(UnreadableOutputError):
        inline.executable_segments(head)


def test_places_in_the_file_become_addresses() -> None:
    segments = [inline.Segment(offset=0x1000, address=0x2000, size=0x100)]
    assert inline.to_address(0x1010, segments) == 0x2010
    assert inline.to_address(0x1100, segments) is None


# -- tables, exports and differences ---------------------------------------------------------------


def test_a_recursive_frame_counts_once_in_its_total() -> None:
    table = tables.frame_table(STACKS, layers=Layers(["my_crate"]), base=200.0, call_s=0.01)
    assert tuple(table.columns) == tables.FRAME_COLUMNS
    row = table.set_index("frame").loc["my_crate::price"]
    assert (row["self_samples"], row["total_samples"], row["layer"]) == (120, 120, "compute")
    assert row["self_share"] == pytest.approx(0.6)
    assert row["self_s_per_call"] == pytest.approx(0.006)
    assert row["self_low"] < 0.6 < row["self_high"]
    python = table.set_index("frame").loc["_PyEval_EvalFrameDefault"]
    assert (python["self_samples"], python["total_samples"]) == (0, 80)
    assert python["layer"] == str(Layer.INTERPRETER)


def test_without_calls_there_are_no_seconds_per_call() -> None:
    table = tables.frame_table(STACKS, layers=Layers(["my_crate"]))
    assert table["self_s_per_call"].isna().all()
    assert table["self_share"].sum() == pytest.approx(1.0)


def test_speedscope_holds_each_thread_in_seconds() -> None:
    document = json.loads(export.speedscope(STACKS, name="x", rate_hz=100.0))
    calling, others = document["profiles"]
    assert calling["name"] == CALLING_THREAD
    assert (calling["endValue"], others["endValue"]) == (0.8, 0.4)
    frames = document["shared"]["frames"]
    assert [frames[i]["name"] for i in others["samples"][0]] == ["clone3", "my_crate::price"]


def test_csv_keeps_stacks_whole() -> None:
    assert export.stacks_csv(STACKS).splitlines()[3] == f"{OTHER_THREADS},clone3;my_crate::price,40"


def test_a_difference_is_in_seconds_per_call_and_knows_chance() -> None:
    def side(price: int, calls: int) -> Sampled:
        stacks = (((CALLING_THREAD, "price"), price), ((CALLING_THREAD, "same"), 1000))
        return Sampled(stacks=stacks, rate_hz=1000.0, calls=calls)

    # Twice the calls in the second capture: `same` takes half as long per call.
    rows = {row.frame: row for row in compare(side(1000, 100), side(2000, 200))}
    assert rows["price"].change.estimate == pytest.approx(0.0)
    assert not rows["price"].significant
    assert rows["same"].change.estimate == pytest.approx(-0.005)
    assert rows["same"].significant
    assert rows["same"].change.low < -0.005 < rows["same"].change.high
    assert per_call_nanoseconds(side(1000, 100))[0][1] == 10_000_000
    with pytest.raises(UsageError):
        compare(side(1, 0), side(1, 1))


def test_false_discoveries_are_bounded() -> None:
    assert discoveries([0.001, 0.04, 0.03, 0.9], rate=0.1) == [True, True, True, False]
    assert discoveries([0.2, 0.5], rate=0.1) == [False, False]

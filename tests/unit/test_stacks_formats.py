"""The formats that stacks come in and go out by; golden inputs are real outputs of the tools."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from perfkit import _engine
from perfkit.errors import CaptureError, UnreadableOutputError, UsageError
from perfkit.records import Interval, Layer
from perfkit.stacks import export, inline, perf_script, py_spy_raw, tables
from perfkit.stacks.diff import Sampled, compare, discoveries, scaled, whole
from perfkit.stacks.layers import Layers
from perfkit.stacks.split import CALLING_THREAD, OTHER_THREADS

if TYPE_CHECKING:
    from collections.abc import Sequence

DATA = Path(__file__).resolve().parents[1] / "data"
PERF = DATA / "perf-profile"
STACKS = (
    ((CALLING_THREAD, "_PyEval_EvalFrameDefault", "my_crate::price"), 60),
    ((CALLING_THREAD, "_PyEval_EvalFrameDefault", "my_crate::price", "my_crate::price"), 20),
    ((OTHER_THREADS, "clone3", "my_crate::price"), 40),
)


# -- perf script -----------------------------------------------------------------------------------

TIME = re.compile(r"^python (\d+)/(\d+) +(\d+\.\d+): cpu-clock", re.MULTILINE)


def test_a_capture_is_cut_to_its_process_and_windows(tmp_path: Path) -> None:
    source = Path(shutil.copy(PERF / "threads-dwarf.txt", tmp_path))
    heads = [(int(p), int(t), float(s)) for p, t, s in TIME.findall(source.read_text())]
    assert len(heads) == 60
    pid, main, _ = heads[0]
    middle = heads[20][2]
    windows = [perf_script.Window(begin=0.0, end=middle)]
    found = perf_script.fold(source, pid=pid, windows=windows, main_tid=main)
    inside = [tid for _, tid, time in heads if time <= middle]
    assert (found.samples, found.outside) == (len(inside), 60 - len(inside))
    assert (found.unrooted, found.unresolved) == (0, 0)
    by_root = Counter[str]()
    for stack, count in found.stacks:
        by_root[stack[0]] += count
    own = sum(tid == main for tid in inside)
    assert by_root == +Counter({CALLING_THREAD: own, OTHER_THREADS: len(inside) - own})
    assert len(set(inside)) == 2


def test_a_capture_of_another_process_is_no_capture(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="none of its 90 samples"):
        perf_script.fold(Path(shutil.copy(PERF / "list-dwarf.txt", tmp_path)), pid=1)
    assert [path.name for path in tmp_path.iterdir()] == ["list-dwarf.txt"]


def test_frames_have_the_chain_of_inlined_ones_above_them(tmp_path: Path) -> None:
    source = Path(shutil.copy(PERF / "list-dwarf.txt", tmp_path))
    lines = re.findall(r"^\s+([0-9a-f]+) (\S+call_price_list) \((.*)\)$", source.read_text(), re.M)
    place, name, module = lines[0]
    call = int(place, 16) - 1  # a caller's address is the one after its call
    assert call in perf_script.places(source, module)
    assert perf_script.places(source, module[1:]) == []
    chains = {call: ("innermost", "inner")}
    inlined = inline.Inlined(module=module, chains=chains)
    seen = sum(
        count
        for stack, count in perf_script.fold(source, inlined=inlined).stacks
        if any(stack[at : at + 3] == (name, "inner", "innermost") for at in range(len(stack)))
    )
    assert seen == sum(line[0] == place for line in lines) > 0


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\t 28042 price (x.so)\n", 1),
        ("python 1/1  1.5: cpu-clock:\n\t 2 f (x)\n\nnonsense\n", 4),
        ("\x00\x01\x02PERFILE2\n", 1),
        ("python 1/1  1.5: cpu-clock:\n\t 2 f (x)\n\t 2 cut sho", 3),
    ],
)
def test_garbage_is_refused_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    source = tmp_path / "script.txt"
    source.write_text(text)
    with pytest.raises(UnreadableOutputError) as caught:
        perf_script.fold(source, pid=1)
    assert caught.value.where == f"{source}:{line}"


# -- py-spy ----------------------------------------------------------------------------------------


def test_a_semicolon_inside_a_rust_type_stays_in_its_frame() -> None:
    assert py_spy_raw.frames("a (x.py:1);f<[f64; 4]> (b.rs:2);;c") == (
        "a (x.py:1)",
        "f<[f64: 4]> (b.rs:2)",
        "[unknown]",
        "c",
    )
    assert py_spy_raw.frames("pool; of [one;a (x.py:1)") == ("pool", "of [one", "a (x.py:1)")


@pytest.mark.parametrize("text", ["a;b\n", "a;b 1.5\n", "a;b -1\n", "a;b 0\n", "12\n"])
def test_a_line_without_a_count_is_refused(tmp_path: Path, text: str) -> None:
    source = tmp_path / "x.raw"
    source.write_text("ok 1\n" + text)
    with pytest.raises(UnreadableOutputError) as caught:
        py_spy_raw.read_raw(source)
    assert caught.value.where.endswith(":2")


# -- inlined frames --------------------------------------------------------------------------------

REGISTRY = "/home/u/.cargo/registry/src/mirror-19"
GIT = "/home/u/.cargo/git/checkouts/rayon-0123456789abcdef/abc1234"
OWN = inline.Sources(crate="kernel", folders={"src": "kernel", "crates/core/src": "kernel_core"})


@pytest.mark.parametrize(
    ("line", "folders"),
    [
        (
            "rustc --crate-name core_part --edition=2024 crates/core/src/lib.rs --crate-type lib",
            {"crates/core/src": "core_part"},
        ),
        (
            "rustc '--crate-name' core_part '--cfg' 'feature=\"a b\"' '/my dir/src/lib.rs' -O",
            {"/my dir/src": "core_part"},
        ),
        ("rustc --crate-name=flat --crate-type lib lib.rs", {}),
        ("rustc - --crate-name ___", {}),
    ],
)
def test_the_folder_of_a_crate_is_on_its_rustc_line(line: str, folders: dict[str, str]) -> None:
    found = inline.sources([line], "package._native")
    assert found == inline.Sources(crate="_native", folders=folders)


def test_arrows_close_no_generic_arguments() -> None:
    name = "{closure#0}<a::Map<fn(&[f64]) -> f64>, b::{closure_env#1}<u8>>::call"
    assert inline.without_generics(name) == "{closure#0}::call"
    assert inline.without_generics("a > b") == "a  b"


@pytest.mark.parametrize(
    ("function", "file", "name"),
    [
        (
            "extract<f64>",
            f"{REGISTRY}/pyo3-0.30.1/src/conversions/std/vec.rs",
            "pyo3::conversions::std::vec::extract",
        ),
        (
            "push<f64, alloc::alloc::Global>",
            "/rustc/5980/library/alloc/src/vec/mod.rs",
            "alloc::vec::push",
        ),
        ("build_info", "/home/u/project/src/python.rs", "kernel::build_info"),
        # Full debug information has mangled names.
        (
            "_ZN65_$LT$alloc..vec..Vec$LT$f64$GT$$u20$as$u20$pyo3..FromPyObject$GT$7extract"
            "17h0123456789abcdefE",
            f"{REGISTRY}/pyo3-0.30.1/src/conversions/std/vec.rs",
            "pyo3::conversions::std::vec::extract",
        ),
        (None, f"{REGISTRY}/pyo3-0.30.1/src/lib.rs", "pyo3::{inlined}"),
        ("f", f"{REGISTRY}/some_fork/build/x.rs", "f"),
        ("{closure#0}<u8>", "/home/u/project/src/lib.rs", "kernel::{closure#0}"),
        ("count<2>", "/home/u/project/crates/core/src/a.rs", "kernel_core::count"),
        ("f", "/home/u/project/extra/a.rs", "kernel::f"),
        ("helper", f"{GIT}/src/iter/mod.rs", "rayon::iter::helper"),
        ("join", f"{GIT}/rayon-core/src/join/mod.rs", "rayon_core::join::join"),
        ("f", f"{GIT}/build.rs", "f"),
        ("f", "/home/u/project/vendor/rayon-core/src/lib.rs", "rayon_core::f"),
        ("f", "/home/u/project/vendor/regex-1.10.2/src/a/b.rs", "regex::a::b::f"),
        ("f", "/t/release/build/tables-sys-0123456789abcdef/out/t.rs", "tables_sys::t::f"),
        ("insert", "/rust/deps/hashbrown-0.15.4/src/map.rs", "hashbrown::map::insert"),
        (
            "_mm256_add_pd",
            "/rustc/5980/library/stdarch/crates/core_arch/src/x86/avx.rs",
            "core_arch::x86::avx::_mm256_add_pd",
        ),
        (
            "{closure#0}<rayon::Map<fn(&[f64]) -> f64>, u8>",
            f"{REGISTRY}/rayon-core-1.13.0/src/join/mod.rs",
            "rayon_core::join::{closure#0}",
        ),
        ("memcpy", "/build/glibc/string/memcpy.c", "memcpy"),
        ("f", "", "f"),
    ],
)
def test_an_inlined_function_gets_the_crate_of_its_file(
    function: str | None, file: str, name: str
) -> None:
    assert inline.qualified(function, file, OWN) == name


@pytest.mark.parametrize("content", [b"", b"MZ" + bytes(100), b"\x7fELF\x01\x01" + bytes(100)])
def test_a_file_that_is_no_elf_is_refused(content: bytes, tmp_path: Path) -> None:
    module = tmp_path / "module.so"
    module.write_bytes(content)
    with pytest.raises(UnreadableOutputError) as caught:
        inline.resolve(module, [1], OWN)
    assert caught.value.where == str(module)
    assert caught.value.remedy


def test_a_module_without_debug_information_has_no_chains() -> None:
    assert inline.resolve(Path(_engine.__file__), [0x1000], OWN) is None


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


def test_each_stacks_share_has_an_interval() -> None:
    table = tables.stack_table(STACKS, Layers(["my_crate"]), base=200.0)
    assert tuple(table.columns) == tables.STACK_COLUMNS
    first = table.iloc[0]
    assert (first["samples"], first["layer"], first["share"]) == (60, "compute", 0.3)
    assert first["low"] < 0.3 < first["high"]
    assert tables.stack_table(STACKS, Layers([]))["share"].sum() == pytest.approx(1.0)


def test_speedscope_holds_each_thread_in_seconds() -> None:
    document = json.loads(export.speedscope(STACKS, name="x", rate_hz=100.0))
    calling, others = document["profiles"]
    assert calling["name"] == CALLING_THREAD
    assert (calling["endValue"], others["endValue"]) == (0.8, 0.4)
    frames = document["shared"]["frames"]
    assert [frames[i]["name"] for i in others["samples"][0]] == ["clone3", "my_crate::price"]


def test_csv_keeps_stacks_whole() -> None:
    assert export.stacks_csv(STACKS).splitlines()[3] == f"{OTHER_THREADS},clone3;my_crate::price,40"


def side(price: int, calls: int, same: int = 1000) -> Sampled:
    stacks = (((CALLING_THREAD, "price"), price), ((OTHER_THREADS, "same"), same))
    return Sampled(stacks=stacks, rate_hz=1000.0, calls=calls, call_s=0.02)


def test_a_difference_is_in_seconds_per_call_and_knows_chance() -> None:
    # Twice the calls in the second capture: `same` takes half as long per call.
    rows = {row.frame: row for row in compare(side(1000, 100), side(2000, 200))}
    assert rows["price"].change.estimate == pytest.approx(0.0)
    assert not rows["price"].significant
    assert rows["same"].change.estimate == pytest.approx(-0.005)
    assert rows["same"].significant
    assert rows["same"].change.low < -0.005 < rows["same"].change.high
    every = whole(side(1000, 100), side(2000, 200), "all")
    assert every.change.estimate == pytest.approx(-0.005)
    assert every.significant
    with pytest.raises(UsageError):
        compare(side(1, 0), side(1, 1))


def test_a_time_below_half_a_unit_is_no_unit() -> None:
    assert [count for _, count in scaled(side(1000, 100), 1e-9)] == [10_000_000, 10_000_000]
    per_element = replace(side(1000, 100, same=1), elements=1000)
    assert [count for _, count in scaled(per_element, 1e-6)] == [10]


def noisy(chance: np.random.Generator, times: Sequence[float]) -> Sampled:
    """A second at 2000 samples a second, of which each frame gets what chance gives it."""
    counts = chance.poisson([2000 * time for time in times])
    stacks = [((CALLING_THREAD, f"f{n}"), int(count)) for n, count in enumerate(counts) if count]
    return Sampled(stacks=tuple(stacks), rate_hz=2000.0, calls=1000, call_s=1e-3)


TIMES = (0.4, 0.2, *[0.01] * 30, *[0.0005] * 100)


def test_two_captures_of_the_same_have_no_marked_frame_but_for_the_promised_rate() -> None:
    chance = np.random.default_rng(1)
    marked = [
        any(row.significant for row in compare(noisy(chance, TIMES), noisy(chance, TIMES)))
        for _ in range(200)
    ]
    assert sum(marked) <= 10


def test_a_machine_that_ran_slower_for_everybody_is_no_change() -> None:
    """Half as fast again in the later capture, by fixed work: only what exceeds it is a change."""
    pace = Interval(estimate=1.5, low=1.4, high=1.6)
    rows = {row.frame: row for row in compare(side(1000, 100), side(1500, 100, same=6000), pace)}
    assert rows["price"].change.estimate == pytest.approx(0.0)
    assert not rows["price"].significant
    assert rows["same"].significant
    assert rows["same"].change.low < 6.0 / 1.6 / 100 * 1000 / 1000 - 0.01
    assert whole(side(1000, 100), side(1500, 100, same=1500), "all", pace).significant is False


def test_frames_of_a_few_samples_do_not_hide_one_that_changed() -> None:
    """Fifty frames that were hit by chance: with each of them the limit would be a fiftieth."""
    rare = [(("python", f"rare{number}"), 1 + number % 4) for number in range(50)]
    # Enough for one frame at 5 %, not for one of fifty.
    before, after = (
        Sampled(
            stacks=((("python", "turns"), count), *rare), rate_hz=1000.0, calls=1000, call_s=1e-3
        )
        for count in (1000, 1220)
    )
    rows = {row.frame: row for row in compare(before, after)}
    assert rows["turns"].change.low > 0
    assert rows["turns"].significant
    assert not any(row.significant for name, row in rows.items() if name.startswith("rare"))


def test_a_frame_that_takes_twice_as_long_is_marked_and_comes_first() -> None:
    chance = np.random.default_rng(2)
    slower = (TIMES[0], TIMES[1] * 2, *TIMES[2:])
    for _ in range(50):
        first = compare(noisy(chance, TIMES), noisy(chance, slower))[0]
        assert (first.frame, first.significant) == ("f1", True)
        assert first.change.low < 0.2e-3 < first.change.high


def test_false_discoveries_are_bounded() -> None:
    assert discoveries([0.001, 0.04, 0.03, 0.9], rate=0.1) == [True, True, True, False]
    assert discoveries([0.2, 0.5], rate=0.1) == [False, False]

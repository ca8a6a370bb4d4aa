"""The engine's collapse of `perf script` text: golden files of real captures, and refusals."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit import _engine

if TYPE_CHECKING:
    from collections.abc import Mapping

DATA = Path(__file__).parents[1] / "data" / "perf"
GOLDEN = (
    "python-fp",
    "python-default-fields",
    "python-flat",
    "rust-fp",
    "rust-fp-mangled-legacy",
    "rust-dwarf-mangled-v0",
    "rust-dwarf-inline",
    "rust-flat",
)
STATS = (
    "event",
    "events",
    "samples",
    "stacks",
    "frames",
    "unresolved_frames",
    "unresolved_leaf",
    "no_stack",
    "truncated",
    "bytes",
)
GOOD = (
    "main 7/8 1.0: cpu-clock: \n\t10 leaf (/bin/x)\n\t20 root (/bin/x)\n\n"
    "main 7/8 1.1: cpu-clock: \n\t11 leaf (/bin/x)\n\t20 root (/bin/x)\n\n"
)


def collapse(
    folder: Path, text: str | bytes, **options: object
) -> tuple[str, Mapping[str, object]]:
    script, output = folder / "script.txt", folder / "out.folded"
    script.write_bytes(text.encode() if isinstance(text, str) else text)
    stats = _engine.collapse_perf(script, output, **options)  # type: ignore[arg-type]
    return output.read_text(encoding="utf-8"), {name: getattr(stats, name) for name in STATS}


@pytest.mark.parametrize("case", GOLDEN)
def test_golden(case: str, tmp_path: Path) -> None:
    folded, stats = collapse(tmp_path, (DATA / case / "script.txt").read_bytes())
    if os.environ.get("PERFKIT_BLESS") == "1":
        (DATA / case / "expected.folded").write_text(folded, encoding="utf-8")
        text = json.dumps(stats, indent=1) + "\n"
        (DATA / case / "expected.json").write_text(text, encoding="utf-8")
    assert folded == (DATA / case / "expected.folded").read_text(encoding="utf-8")
    assert stats == json.loads((DATA / case / "expected.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", GOLDEN)
def test_no_sample_is_lost(case: str, tmp_path: Path) -> None:
    """Independent of the parser: perf names the event once per sample."""
    text = (DATA / case / "script.txt").read_text(encoding="utf-8")
    folded, stats = collapse(tmp_path, text)
    samples = text.count(" cpu-clock:")
    assert stats["samples"] == samples
    assert sum(int(line.rpartition(" ")[2]) for line in folded.splitlines()) == samples


def test_mangled_and_demangled_text_of_one_capture_are_the_same(tmp_path: Path) -> None:
    by_perf, _ = collapse(tmp_path, (DATA / "rust-fp" / "script.txt").read_bytes())
    mangled = (DATA / "rust-fp-mangled-legacy" / "script.txt").read_bytes()
    assert b"_ZN" in mangled
    assert collapse(tmp_path, mangled)[0] == by_perf


def test_periods_and_offsets_do_not_change_the_counts(tmp_path: Path) -> None:
    plain, _ = collapse(tmp_path, (DATA / "python-fp" / "script.txt").read_bytes())
    default, _ = collapse(tmp_path, (DATA / "python-default-fields" / "script.txt").read_bytes())
    assert default.replace("python-?/8628", "python-8628/8628") == plain


def test_threads_with_a_number_in_their_name_keep_their_identity(tmp_path: Path) -> None:
    folded, _ = collapse(tmp_path, (DATA / "rust-fp" / "script.txt").read_bytes())
    roots = {line.split(";")[0] for line in folded.splitlines()}
    assert roots == {
        "threads-legacy-29822/29822",
        "worker_1-29822/29824",
        "worker_2-29822/29825",
    }


def test_names_stay_whole_and_safe(tmp_path: Path) -> None:
    frames = [
        "<fn(u8) -> u32 as Work>::go (/bin/x)",
        "<[f64; 3] as Work>::go (/bin/x)",
        "py::run:/home/u/my project (1)/a.py (/tmp/perf-7.map)",
        "(anonymous namespace)::grow(int) (/bin/x)",
        "std::vector<int>::push_back(int const&) (/opt/my lib/x (old).so (deleted))",
        "[unknown] (/opt/my lib/x.so)",
        "[unknown] ([unknown])",
        "do_read+0x1f ([kernel.kallsyms])",
        "_RNvC6_123foo3bar (/bin/x)",
    ]
    text = "a;b c 7/8 1.0: cycles:u: \n" + "".join(f"\t1f {frame}\n" for frame in frames) + "\n"
    folded, stats = collapse(tmp_path, text)
    root, *names = folded.strip().removesuffix(" 1").split(";")
    assert root == "a:b_c-7/8"
    assert names == [
        "123foo::bar",
        "do_read_[k]",
        "[unknown]",
        "[x.so]",
        "std::vector<int>::push_back",
        "(anonymous namespace)::grow",
        "py::run:/home/u/my project (1)/a.py",
        "<[f64: 3] as Work>::go",
        "<fn(u8) -> u32 as Work>::go",
    ]
    assert (stats["frames"], stats["unresolved_frames"], stats["unresolved_leaf"]) == (9, 2, 0)


def test_equal_samples_are_counted_whatever_their_addresses(tmp_path: Path) -> None:
    folded, stats = collapse(tmp_path, GOOD)
    assert folded == "main-7/8;root;leaf 2\n"
    assert (stats["samples"], stats["stacks"], stats["bytes"]) == (2, 1, len(GOOD))


def test_several_kinds_of_event_are_not_added_up(tmp_path: Path) -> None:
    text = (DATA / "two-events" / "script.txt").read_bytes()
    with pytest.raises(_engine.EngineInputError, match=r"cpu-clock \(9 .*page-faults \(6 "):
        collapse(tmp_path, text)
    for event, samples in (("cpu-clock", 9), ("page-faults", 6)):
        _, stats = collapse(tmp_path, text, event=event)
        assert (stats["event"], stats["samples"]) == (event, samples)
        assert stats["events"] == {"cpu-clock": 9, "page-faults": 6}
    with pytest.raises(_engine.EngineInputError, match=r"no sample of the event `cycles`"):
        collapse(tmp_path, text, event="cycles")


def test_samples_without_a_stack_are_told_and_left_out(tmp_path: Path) -> None:
    text = "main 7/8 0.9: cpu-clock: \n\nmain 7/8 0.9: cpu-clock: \n" + GOOD
    folded, stats = collapse(tmp_path, text)
    assert folded == "main-7/8;root;leaf 2\n"
    assert (stats["samples"], stats["no_stack"], stats["events"]) == (2, 2, {"cpu-clock": 4})
    with pytest.raises(_engine.EngineInputError, match=r"none of the 1 samples has a stack"):
        collapse(tmp_path, "main 7/8 0.9: cpu-clock: \n\n")


def test_a_cut_off_sample_is_told_and_left_out(tmp_path: Path) -> None:
    """Its callers may be missing: it would be drawn below the wrong root."""
    folded, stats = collapse(tmp_path, GOOD.removesuffix("\t20 root (/bin/x)\n\n"))
    assert folded == "main-7/8;root;leaf 1\n"
    assert (stats["samples"], stats["truncated"]) == (1, 1)
    with pytest.raises(_engine.EngineInputError, match="ends in the middle of a line") as caught:
        collapse(tmp_path, GOOD.removesuffix("t (/bin/x)\n\n"))
    assert caught.value.line == 7


@pytest.mark.parametrize(
    ("text", "told", "line"),
    [
        ("", "capture is empty", None),
        ("# only a header\n\n", "capture is empty", None),
        ("hello world\n", "neither a sample nor a stack frame", 1),
        ("main 7/8 1.0: \n\t1 f (/x)\n\n", "without an event field", 1),
        ("main 7/8 cycles: \n\t1 f (/x)\n\n", "without a time field", 1),
        (GOOD + "\t1f f (/bin/x)\n", "neither a sample nor a stack frame", 9),
        (GOOD.replace("\t11 leaf (/bin/x)", "rubbish"), "not a stack frame", 6),
        (GOOD.replace("\t11 leaf (/bin/x)", "\t11 leaf"), "not a stack frame", 6),
        (GOOD.replace("cpu-clock: \n", "cpu-clock: what\n", 1), "text after the event", 1),
        (b"\x7fELF\x02\x01\x01\x00\x00\n\xff\xfe", "neither a sample", 1),
    ],
)
def test_what_is_not_perf_text_is_refused_with_its_line(
    text: str | bytes, told: str, line: int | None, tmp_path: Path
) -> None:
    with pytest.raises(_engine.EngineInputError, match=told) as caught:
        collapse(tmp_path, text)
    place = tmp_path / "script.txt"
    assert caught.value.line == line
    assert caught.value.path == place
    assert str(caught.value).startswith(f"{place}:{line}:" if line else f"{place}:")
    assert [path.name for path in tmp_path.iterdir()] == ["script.txt"]


def test_an_unreadable_file_and_a_missing_folder_are_told(tmp_path: Path) -> None:
    missing = tmp_path / "none.txt"
    with pytest.raises(_engine.EngineInputError, match="cannot read") as caught:
        _engine.collapse_perf(missing, tmp_path / "out.folded")
    assert (caught.value.path, caught.value.line) == (missing, None)
    script = tmp_path / "script.txt"
    script.write_text(GOOD, encoding="utf-8")
    with pytest.raises(_engine.EngineError, match="cannot write") as refused:
        _engine.collapse_perf(script, tmp_path / "nowhere" / "out.folded")
    assert not isinstance(refused.value, _engine.EngineInputError)


def test_text_that_makes_inferno_panic_is_refused_with_its_line(tmp_path: Path) -> None:
    text = (DATA / "no-event-field" / "script.txt").read_bytes()
    with pytest.raises(_engine.EngineInputError, match="without a time field") as caught:
        collapse(tmp_path, text)
    assert caught.value.line == 1
    assert [path.name for path in tmp_path.iterdir()] == ["script.txt"]


def test_a_control_character_in_a_name_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(_engine.EngineInputError, match="control character 0x01") as caught:
        collapse(tmp_path, GOOD.replace("11 leaf", "11 le\x01af"))
    assert caught.value.line == 6


words = st.sampled_from(
    ("main", "7/8", "8", "[001]", "1.0:", "250 ", "cycles:", "cycles:u:", "x:", " ", "\n", "\n\n")
) | st.sampled_from(
    ("\t1f ", "f(int)", "[unknown]", "(/bin/x)", "(a b)", "->", ";", "#", "\r", "\0", "é")
)


@given(st.lists(words | st.text(max_size=4)).map(" ".join) | st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_collapsed_whole_or_refused(tmp_path: Path, text: str | bytes) -> None:
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    try:
        folded, stats = collapse(tmp_path, data)
    except _engine.EngineInputError:
        return
    counts = [int(line.rpartition(" ")[2]) for line in folded.splitlines()]
    assert sum(counts) == stats["samples"] != 0

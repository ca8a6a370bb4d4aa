"""Every reader of another program's output, on texts that are nearly right: a result that is whole,
or a named error, and nothing else. The grammars reach inside; what they found stays as an example.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from perfkit import _engine
from perfkit.errors import CaptureError, UnreadableOutputError
from perfkit.profile import scalene
from perfkit.stacks import callgrind_out, inline, perf_script, py_spy_raw
from perfkit.stacks.folded import read_stacks
from perfkit.stacks.split import CALLING_THREAD, OTHER_THREADS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hypothesis.strategies import SearchStrategy

T = TypeVar("T")
own_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
"""Each example writes the one file of its test anew."""

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=12)
COUNTS = st.one_of(
    st.integers(-2, 10**6).map(str),
    st.sampled_from(["", "0", "1.5", "1e3", "٣", "+1", "0x1f", "9" * 20, "9" * 5000]),
)


def lines(line: SearchStrategy[str]) -> SearchStrategy[str]:
    """A text of such lines, now and then cut in the middle of one."""
    text = st.lists(line, max_size=12).map(lambda rows: "".join(f"{row}\n" for row in rows))
    return st.tuples(text, st.integers(0, 20)).map(lambda both: both[0][: -both[1] or None])


def read_or_refused(read: Callable[[], T], where: str) -> T | None:
    """What was read; None for a refusal, which must name the place, or a capture of nothing."""
    try:
        return read()
    except CaptureError:
        return None
    except UnreadableOutputError as error:
        refused = error
    assert refused.where.startswith(where), refused
    return None


def writable(stacks: list[tuple[tuple[str, ...], int]], path: Path) -> None:
    """What was read can be written as a folded file, and comes back with the same counts."""
    if not stacks:
        return
    _engine.Folded.from_stacks([(list(stack), count) for stack, count in stacks]).write(path)
    assert sum(count for _, count in read_stacks(path)) == sum(count for _, count in stacks)


# -- py-spy ----------------------------------------------------------------------------------------

PY_SPY_FRAME = st.one_of(
    WORDS,
    st.sampled_from(
        ["", " ", "f<[f64; 4]> (x.rs:2)", "thread (7): a", "<module> (a b.py:1)", "[["]
    ),
)
PY_SPY = lines(st.tuples(st.lists(PY_SPY_FRAME, max_size=5).map(";".join), COUNTS).map(" ".join))


@own_file
@given(text=PY_SPY)
@example(text="a;b " + "9" * 5000)
@example(text="a\x00b;c 3\n")
@example(text=" 5\n")
@example(text="a\x85b 1\n")
def test_py_spys_file(tmp_path: Path, text: str) -> None:
    source = tmp_path / "x.raw"
    source.write_text(text, encoding="utf-8")
    found = read_or_refused(lambda: py_spy_raw.read_raw(source), f"{source}:")
    if found is None:
        return
    assert all(stack and all(stack) for stack, _ in found)
    writable([((CALLING_THREAD, *stack), count) for stack, count in found], tmp_path / "folded")


@own_file
@given(content=st.binary(max_size=200))
def test_py_spys_file_of_any_bytes(tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "x.raw"
    source.write_bytes(content)
    read_or_refused(lambda: py_spy_raw.read_raw(source), f"{source}:")


# -- scalene ---------------------------------------------------------------------------------------

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
NUMBER = st.one_of(st.integers(-1, 10**6), st.floats(), st.just(10**400), ANY_JSON)
SCALENE_FRAME = st.one_of(
    st.sampled_from(
        [
            "/a/worker.py Worker.loop:3;",
            "/a/worker.py run_batch:6;",
            "/a b/x.py f:12;",
            "\ud800 f:1;",
            "a\nb f:1;",
            "",
            ";",
        ]
    ),
    ANY_JSON,
)
SCALENE_ROW = st.tuples(
    st.lists(SCALENE_FRAME, max_size=4),
    st.fixed_dictionaries(
        {"count": NUMBER}, optional={"c_time": NUMBER, "python_time": NUMBER, "x": NUMBER}
    ),
)
SCALENE = st.one_of(
    ANY_JSON, st.fixed_dictionaries({"stacks": st.lists(SCALENE_ROW | ANY_JSON, max_size=4)})
)


def of_scalene(count: object) -> dict[str, object]:
    return {"stacks": [[["/a/x.py f:1;"], {"count": count, "c_time": 0, "python_time": 0}]]}


@own_file
@given(document=SCALENE)
@example(document=of_scalene(float("inf")))
@example(document=of_scalene(float("nan")))
@example(document=of_scalene(10**400))
@example(document=of_scalene(-1))
def test_scalenes_file(tmp_path: Path, document: object) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    found = read_or_refused(lambda: scalene.read(path), str(path))
    if found is None:
        return
    assert min(found.native_s, found.python_s) >= 0
    stacks = [((CALLING_THREAD, *stack), count) for stack, count in found.stacks if count]
    writable(stacks, tmp_path / "folded")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"\xff\xfe{}", ""),
        (b"[" * 100_000, ""),
        (b'{"stacks":\n [[', ":2"),
        (b'{"a":' * 100_000, ""),
    ],
)
def test_scalenes_file_of_other_bytes(tmp_path: Path, content: bytes, line: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(UnreadableOutputError) as caught:
        scalene.read(path)
    assert caught.value.where == f"{path}{line}"


# -- callgrind -------------------------------------------------------------------------------------

NAMED = st.tuples(
    st.sampled_from(["fn=", "cfn=", "ob=", "cob=", "fl="]),
    st.sampled_from(["(1) f", "(1)", "(2) g;h", "(3)", "plain", "(x", "(1) ", ""]),
).map("".join)
COST = st.tuples(
    st.sampled_from(["0 ", "12 ", "+3 ", "-2 ", "* ", "0x40 12 ", "0x40 ", ""]), COUNTS
).map("".join)
HEADS = st.sampled_from(
    ["events: Ir", "events: Ir Dr", "events:", "positions: line", "positions: instr line",
     "positions:", "calls=1 2", "part: 1", "", "version: 1"]
)  # fmt: skip
TOTALS = st.tuples(st.sampled_from(["totals:", "summary:"]), COUNTS).map(" ".join)
CALLGRIND = lines(st.one_of(NAMED, COST, COST, HEADS, TOTALS))


@own_file
@given(text=CALLGRIND)
@example(text="totals:\n")
@example(text="totals: x\n")
@example(text="totals: " + "9" * 5000 + "\n")
@example(text="fn=f\n0 " + "9" * 5000 + "\ntotals: 1\n")
@example(text="positions:\nfn=f\n5\ntotals: 5\n")
def test_callgrinds_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.out"
    path.write_text(text, encoding="utf-8")
    found = read_or_refused(lambda: callgrind_out.read(path), str(path))
    if found is None:
        return
    assert sum(sum(functions.values()) for functions in found.objects.values()) == found.total


# -- the subject's module -------------------------------------------------------------------------


@own_file
@given(head=st.binary(max_size=200), places=st.lists(st.integers(0, 2**64 - 1), max_size=3))
@example(head=b"\x7fELF\x02\x01" + b"\xff" * 100, places=[0])
def test_a_module_of_any_bytes(tmp_path: Path, head: bytes, places: list[int]) -> None:
    module = tmp_path / "module.so"
    for content in (head, b"\x7fELF\x02\x01" + head):
        module.write_bytes(content)
        read_or_refused(
            lambda: inline.resolve(module, places, inline.Sources(crate="kernel")), str(module)
        )


# -- perf script -----------------------------------------------------------------------------------

HEAD = st.tuples(
    st.sampled_from(["python", "rayon 1", "a;b", "", "["]),
    st.sampled_from(["7/7", "7/8", "8/9", "7", "-1/-1", "7/", "9" * 30 + "/1"]),
    st.sampled_from(["1.5:", "2.000000:", "9.0:", "1:", ":", "9" * 400 + ".5:"]),
    st.sampled_from(["cpu-clock:", "cycles:u:", "10 cpu-clock:", "", "a:b: text"]),
).map(" ".join)
FRAME = st.tuples(
    st.sampled_from(["\t 28042", "\t 1f", " " * 8 + "f" * 30, "\t zz", "28042"]),
    st.one_of(WORDS, st.sampled_from(["price+0x1", "[unknown]", "f(int)", "a -> b", "clone3"])),
    st.sampled_from(["(/a/m.so)", "([unknown])", "(inlined)", "(/a (1).so)", "()", "("]),
).map(" ".join)
SCRIPT = lines(st.one_of(HEAD, FRAME, FRAME, st.just(""), st.just("# comment")))


@own_file
@given(text=SCRIPT)
@example(text="python 7/7 1.5: cpu-clock:\n\t 28042 a\x00b (/a/m.so)\n\n")
@example(text="python 7/7 1.5: cpu-clock:\n\n")
def test_perfs_text(tmp_path: Path, text: str) -> None:
    script = tmp_path / "script.txt"
    script.write_text(text, encoding="utf-8")
    perf_script.places(script, "/a/m.so")
    inlined = inline.Inlined(module="/a/m.so", chains={0x28042: ("inner <x>", "i;j")})
    windows = [perf_script.Window(begin=1.0, end=2.0)]
    found = read_or_refused(
        lambda: perf_script.fold(script, pid=7, windows=windows, inlined=inlined),
        str(script),
    )
    if found is None:
        return
    assert sum(count for _, count in found.stacks) == found.samples
    assert {stack[0] for stack, _ in found.stacks} <= {CALLING_THREAD, OTHER_THREADS}


# -- folded files ----------------------------------------------------------------------------------

FOLDED_NAMES = st.lists(WORDS | st.sampled_from(["a", "[T; 3]", ""]), max_size=4).map(";".join)
FOLDED = lines(st.tuples(FOLDED_NAMES, COUNTS).map(" ".join))


@own_file
@given(text=FOLDED)
@example(text="a;b\n")
@example(text="a;b 1 2\n")
@example(text="a " + "9" * 5000 + "\n")
def test_a_folded_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.folded"
    path.write_text(text, encoding="utf-8")
    found = read_or_refused(lambda: read_stacks(path), str(path))
    if found is None:
        return
    writable(found, tmp_path / "again.folded")

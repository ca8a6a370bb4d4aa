"""The engine's folded stacks: reading, adding up, writing, and what it refuses."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit import _engine

if TYPE_CHECKING:
    from pathlib import Path

ANY_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

Stacks = list[tuple[tuple[str, ...], int]]


def read(folder: Path, text: str | bytes) -> _engine.Folded:
    path = folder / "some.folded"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return _engine.read_folded(path)


def test_stacks_frames_and_total(tmp_path: Path) -> None:
    folded = read(tmp_path, "main;f;g 3\nmain;f 2\n\nmain;f;g 4\nmain;f;main 1\r\n")
    assert folded.total == 10
    assert len(folded) == 3
    assert folded.stacks() == [
        (("main", "f", "g"), 7),
        (("main", "f"), 2),
        (("main", "f", "main"), 1),
    ]
    assert folded.frames() == [("g", 7, 7), ("f", 2, 10), ("main", 1, 10)]


@pytest.mark.parametrize(
    ("line", "stack"),
    [
        ("a b;c d 1", ("a b", "c d")),
        ("<module> (x.py:3);f (<frozen os>:1) 1", ("<module> (x.py:3)", "f (<frozen os>:1)")),
        # py-spy writes Rust's array types as they are
        ("m;<[f64; 3] as T>::go;n 1", ("m", "<[f64: 3] as T>::go", "n")),
        ("m;<[[u8; 4]; 2] as T>::go 1", ("m", "<[[u8: 4]: 2] as T>::go")),
        ("[unknown]; spaced 1", ("[unknown]", " spaced")),
        ("naïve;日本 1", ("naïve", "日本")),
        ("worker 3 1", ("worker 3",)),
    ],
)
def test_names_are_read_as_each_producer_writes_them(
    line: str, stack: tuple[str, ...], tmp_path: Path
) -> None:
    assert read(tmp_path, line).stacks() == [(stack, 1)]


@pytest.mark.parametrize(
    ("text", "told", "line"),
    [
        ("a 1\nb\n", "no count after the last space: `b`", 2),
        ("a;b \n", "no count", 1),
        ("a x1\n", "no count", 1),
        ("a 1.5\n", "not a whole number", 1),
        ("a 1e3\n", "not a whole number", 1),
        ("a -3\n", "not a whole number", 1),
        ("a 18446744073709551616\n", "larger than 2", 1),
        ("a 18446744073709551615\na 1\n", "add up to more", 2),
        (";a 1\n", "without a name", 1),
        ("a;;b 1\n", "without a name", 1),
        (" 1\n", "without a name", 1),
        (b"\xff\xfe 1\n", "not UTF-8", 1),
        (b"a\x00b 1\n", "control character 0x00", 1),
        ("a 1 2\nb 3 4\n", "differential", None),
    ],
)
def test_what_is_not_folded_is_refused_with_its_line(
    text: str | bytes, told: str, line: int | None, tmp_path: Path
) -> None:
    with pytest.raises(_engine.EngineInputError, match=told) as caught:
        read(tmp_path, text)
    assert caught.value.line == line
    assert caught.value.path == tmp_path / "some.folded"


def test_an_empty_file_has_no_stacks(tmp_path: Path) -> None:
    assert read(tmp_path, "\n \n").total == 0


@pytest.mark.parametrize("stack", [[], [""], ["a", "b\n"], ["\0"]])
def test_stacks_that_no_file_could_hold_are_refused(stack: list[str]) -> None:
    with pytest.raises(_engine.EngineInputError):
        _engine.Folded.from_stacks([(stack, 1)])


names = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters=";["), min_size=1
)
stacks = st.lists(
    st.tuples(st.lists(names, min_size=1).map(tuple), st.integers(0, 2**40)), min_size=1
).filter(lambda rows: not any(row[0][-1].rpartition(" ")[2].isdecimal() for row in rows))


@given(stacks)
@ANY_FOLDER
def test_what_is_written_is_read_back(tmp_path: Path, rows: Stacks) -> None:
    expected: Counter[tuple[str, ...]] = Counter()
    for stack, count in rows:
        expected[stack] += count
    path = tmp_path / "round.folded"
    _engine.Folded.from_stacks(rows).write(path)
    folded = _engine.read_folded(path)
    assert dict(folded.stacks()) == expected
    assert folded.total == sum(expected.values())
    again = tmp_path / "again.folded"
    folded.write(again)
    assert again.read_bytes() == path.read_bytes()


@given(stacks)
def test_shares_follow_from_the_definition(rows: Stacks) -> None:
    folded = _engine.Folded.from_stacks(rows)
    frames = {name: (own, total) for name, own, total in folded.frames()}
    for name, (own, total) in frames.items():
        assert own == sum(count for stack, count in rows if stack[-1] == name)
        assert total == sum(count for stack, count in rows if name in stack)
    assert sum(own for own, _ in frames.values()) == folded.total


@given(st.binary(max_size=300) | st.text("ab;[] 0123.\n\r\t-", max_size=100).map(str.encode))
@ANY_FOLDER
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes) -> None:
    try:
        folded = read(tmp_path, data)
    except _engine.EngineInputError:
        return
    assert folded.total == sum(count for _, count in folded.stacks())


def test_demangling() -> None:
    legacy = "_ZN4core9panicking9panic_fmt17h0123456789abcdefE"
    assert _engine.demangle(legacy) == "core::panicking::panic_fmt"
    assert _engine.demangle("_RNvC6_123foo3bar") == "123foo::bar"
    assert _engine.demangle("a::b::h0123456789abcdef") == "a::b"
    assert _engine.demangle("_ZNSt6vectorIiE9push_backERKi") == "_ZNSt6vectorIiE9push_backERKi"


@given(st.text() | st.from_regex(r"_(R|ZN)[A-Za-z0-9_$.]*", fullmatch=True))
def test_demangling_takes_any_text(symbol: str) -> None:
    assert isinstance(_engine.demangle(symbol), str)

"""The engine's flame graphs: what they show, and that the same stacks give the same bytes."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit import _engine

if TYPE_CHECKING:
    from pathlib import Path

TITLE = {"title": "call_price"}


def folded(folder: Path, text: str, name: str = "some.folded") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def boxes(picture: Path) -> dict[str, list[int]]:
    """Samples of every box by the function's name, read from the picture's tooltips."""
    found: dict[str, list[int]] = {}
    for element in ET.fromstring(picture.read_text(encoding="utf-8")).iter():
        if element.tag.endswith("title") and element.text:
            match = re.fullmatch(r"(.*) \(([\d,]+) \w+, [^()]*\)", element.text)
            if match:
                found.setdefault(match[1], []).append(int(match[2].replace(",", "")))
    return found


def draw(folder: Path, text: str, **options: object) -> dict[str, list[int]]:
    output = folder / "out.svg"
    _engine.flamegraph(folded(folder, text), output, **TITLE | options)  # type: ignore[arg-type]
    return boxes(output)


def test_boxes_hold_the_samples(tmp_path: Path) -> None:
    assert draw(tmp_path, "main;f;g 3\nmain;f 2\nmain;h 1000\n") == {
        "all": [1005],
        "main": [1005],
        "f": [5],
        "g": [3],
        "h": [1000],
    }


def test_a_function_is_one_box_also_beside_names_that_begin_alike(tmp_path: Path) -> None:
    """By the bytes of its lines, `a;f2` sorts between `a;f` and `a;f;g`."""
    text = "a;f 3\na;f;g 1\na;f2;g 1\na;f b 1\na;f::h 1\n"
    assert draw(tmp_path, text)["f"] == [4]
    _engine.diff_flamegraph(
        tmp_path / "some.folded",
        folded(tmp_path, text, "after.folded"),
        tmp_path / "diff.svg",
        title="t",
        normalize=False,
    )
    found = {name: len(same) for name, same in boxes(tmp_path / "diff.svg").items()}
    assert found == {"all": 1, "a": 1, "f": 1, "f2": 1, "f b": 1, "f::h": 1, "g": 2}


def test_the_same_stacks_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "1.svg", tmp_path / "2.svg"
    for text, output in (("a;b 1\na;c 2\n", first), ("a;c 1\na;b 1\na;c 1\n", second)):
        _engine.flamegraph(folded(tmp_path, text), output, title="t")
    assert first.read_bytes() == second.read_bytes()


def test_options_reach_the_picture(tmp_path: Path) -> None:
    assert "b" not in draw(tmp_path, "a 9999\nb 1\n", min_width=5)
    draw(tmp_path, "a 1\n", title="A < B & C", subtitle="499 Hz", count_name="calls")
    text = (tmp_path / "out.svg").read_text(encoding="utf-8")
    assert "A &lt; B &amp; C" in text
    assert "499 Hz" in text
    assert "1 calls" in text


stacks = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=5), min_size=1)


@given(stacks, st.sampled_from([0.0, 1.0, 10.0, 40.0]))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_boxes_are_the_samples_of_every_wide_enough_path(
    tmp_path: Path, rows: list[list[str]], min_width: float
) -> None:
    paths: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        paths.update(tuple(row[:depth]) for depth in range(1, len(row) + 1))
    expected = {"all": [len(rows)]}
    for path, count in paths.items():
        if count >= min_width / 100 * len(rows):
            expected.setdefault(path[-1], []).append(count)
    found = draw(tmp_path, "".join(f"{';'.join(row)} 1\n" for row in rows), min_width=min_width)
    assert {name: sorted(counts) for name, counts in found.items()} == {
        name: sorted(counts) for name, counts in expected.items()
    }


def test_names_that_look_like_counts_or_markup_are_drawn_as_names(tmp_path: Path) -> None:
    text = "main;worker 3 5\n# note;<b>&amp 1\n"
    assert draw(tmp_path, text) == {
        "all": [6],
        "main": [5],
        "worker\u00a03": [5],
        "#\u00a0note": [1],
        "<b>&amp": [1],
    }


def test_differences_are_coloured(tmp_path: Path) -> None:
    before = folded(tmp_path, "a;more 10\na;less 30\na;gone 5\n", "before")
    after = folded(tmp_path, "a;more 30\na;less 10\na;same 40\n", "after")
    output = tmp_path / "diff.svg"

    def colours(**options: bool) -> dict[str, tuple[int, ...]]:
        options = {"normalize": False} | options
        _engine.diff_flamegraph(before, after, output, **TITLE, **options)  # type: ignore[arg-type]
        pattern = r"<title>(\w+) \(.*?fill=\"rgb\((\d+),(\d+),(\d+)\)\""
        found = re.findall(pattern, output.read_text(encoding="utf-8"))
        return {name: tuple(int(part) for part in rgb) for name, *rgb in found}

    red, green, blue = colours()["more"]
    assert red > blue == green
    red, green, blue = colours()["less"]
    assert blue > red == green
    assert "gone" not in colours()
    assert colours() == colours()
    folded(tmp_path, "a;more 20\na;less 20\na;same 80\n", "after")
    folded(tmp_path, "a;more 10\na;less 10\na;same 40\n", "before")
    assert len(set(colours(normalize=True).values())) == 1
    assert len(set(colours().values())) > 1


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        ("", {}, "no samples"),
        ("a 0\n", {}, "no samples"),
        ("a\n", {}, "no count"),
        ("a 1\n", {"min_width": -1.0}, "min_width"),
        ("a 1\n", {"title": "bell \a"}, "control character"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    text: str, options: dict[str, object], told: str, tmp_path: Path
) -> None:
    with pytest.raises(_engine.EngineInputError, match=told):
        draw(tmp_path, text, **options)
    assert not (tmp_path / "out.svg").exists()


def test_an_empty_side_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "out.svg"
    empty, full = folded(tmp_path, "", "empty"), folded(tmp_path, "a 1\n", "full")
    for before, after in ((empty, full), (full, empty)):
        with pytest.raises(_engine.EngineInputError, match="empty: no samples"):
            _engine.diff_flamegraph(before, after, output, normalize=True, **TITLE)

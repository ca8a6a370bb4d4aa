"""Finding and editing constants in a tree of Rust sources."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.errors import SourceError
from perfkit.sources import ConstantPlace, Edit, find_constant, format_value, set_constant

if TYPE_CHECKING:
    from pathlib import Path

OLD = 1_000_000_000  # seconds since 1970


def tree(root: Path, **files: str) -> Path:
    """Write Rust sources; `__` in a name stands for `/`."""
    for name, text in files.items():
        path = root / f"{name.replace('__', '/')}.rs"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    return root


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (8000, "8_000"),
        (30_000, "30_000"),
        (1_000_000, "1_000_000"),
        (512, "512"),
        (999, "999"),
        (0, "0"),
        (-8000, "-8_000"),
        (True, "true"),
        (False, "false"),
        (0.5, "0.5"),
        (2.0, "2.0"),
        (1e-9, "1e-09"),
        (" L1 / 8 ", "L1 / 8"),
    ],
)
def test_values_are_written_as_rust_does(value: float | str, text: str) -> None:
    assert format_value(value) == text


@given(st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_keep_their_value(value: float) -> None:
    written = format_value(value)
    assert type(value)(written) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "", " "])
def test_values_without_a_literal_are_refused(value: float | str) -> None:
    with pytest.raises(SourceError):
        format_value(value)


def test_a_constant_is_found_wherever_it_is(tmp_path: Path) -> None:
    tree(
        tmp_path,
        src__lib="mod a; // const CHUNK: usize = 1;\n",
        crates__core__src__a="mod b {\n    pub const CHUNK: usize = L1 / 8;\n}\n",
    )
    (tmp_path / "notes.md").write_text("const CHUNK: usize = 1;", encoding="utf-8")
    file = tmp_path / "crates" / "core" / "src" / "a.rs"
    place = ConstantPlace(
        file=file, name="CHUNK", path="b::CHUNK", type="usize", value="L1 / 8", line=2
    )
    assert find_constant(tmp_path, "CHUNK") == place
    assert find_constant(tmp_path, "b::CHUNK") == place
    assert find_constant(tmp_path, "CHUNK", file.relative_to(tmp_path)) == place
    assert place.where == f"{file}:2"


def test_what_git_ignores_is_not_searched(tmp_path: Path) -> None:
    tree(
        tmp_path,
        src__a="const N: u8 = 1;",
        target__a="const N: u8 = 2;",
        src__generated="const N: u8 = 3;",
        src__deep__x="const N: u8 = 4;",
    )
    (tmp_path / ".gitignore").write_text("/target\ngenerated.rs\n", encoding="utf-8")
    (tmp_path / "src" / "deep" / ".gitignore").write_text("*.rs\n", encoding="utf-8")
    assert find_constant(tmp_path, "N").value == "1"


def test_several_definitions_are_all_listed(tmp_path: Path) -> None:
    tree(
        tmp_path,
        a="#[cfg(x)]\nconst N: u8 = 1;\n#[cfg(not(x))]\nconst N: u8 = 2;",
        b="cfg_if! { if #[cfg(y)] { const N: u8 = 3; } }",
    )
    with pytest.raises(SourceError) as caught:
        find_constant(tmp_path, "N")
    places = [f"{tmp_path}/a.rs:2", f"{tmp_path}/a.rs:4", f"{tmp_path}/b.rs:1 (inside a macro"]
    assert "3 definitions" in caught.value.message
    assert all(place in caught.value.message for place in places)
    assert caught.value.exit_code == 2
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "no constant or static `N`"),
        ({"a": "// N\nfn n() { N }"}, "no constant or static `N`"),
        ({"a": "m! { const N: u8 = 1; }"}, "inside a macro call"),
        ({"a": "const N: u8 = 1;", "b": "const N u8;"}, "not Rust"),
        ({"a": "const N: u8 = 1;\nfn ("}, "not Rust"),
    ],
)
def test_what_is_not_found_for_sure_is_refused(
    files: dict[str, str], told: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=told):
        find_constant(tree(tmp_path, **files), "N")


def test_a_broken_file_that_does_not_mention_the_name_does_not_matter(tmp_path: Path) -> None:
    tree(tmp_path, a="const N: u8 = 1;", b="fn (")
    assert find_constant(tmp_path, "N").line == 1


def test_missing_and_unreadable_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.rs").write_bytes(b"const N: u8 = 1; // \xff")
    for file, told in (("none.rs", "cannot be read"), ("a.rs", "no UTF-8 text")):
        with pytest.raises(SourceError, match=told):
            find_constant(tmp_path, "N", tmp_path / file)
    with pytest.raises(SourceError, match="not a folder"):
        find_constant(tmp_path / "none", "N")


def test_an_edit_changes_one_value_and_the_time(tmp_path: Path) -> None:
    text = "\ufeff// N = 1\r\npub const N: usize = 30_000; // keep\r\nstatic M: u8 = 1;\r\n"
    file = tree(tmp_path, a=text) / "a.rs"
    file.chmod(0o640)
    os.utime(file, (OLD, OLD))
    edit = set_constant(file, "N", 8000)
    assert edit == Edit(before="30_000", after="8_000", line=2)
    assert edit.changed
    assert file.read_bytes().decode() == text.replace("30_000", "8_000")
    assert file.stat().st_mtime > OLD
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["a.rs"]


def test_an_edit_never_reaches_through_a_hard_link(tmp_path: Path) -> None:
    """A copied tree whose files were linked must not change the tree that they came from."""
    original = tree(tmp_path, a="const N: u8 = 1;") / "a.rs"
    copy = tmp_path / "copy.rs"
    copy.hardlink_to(original)
    set_constant(copy, "N", 2)
    assert original.read_text(encoding="utf-8") == "const N: u8 = 1;"


def test_an_edit_to_what_is_there_leaves_the_file_alone(tmp_path: Path) -> None:
    file = tree(tmp_path, a="const N: u8 = 8_000;") / "a.rs"
    os.utime(file, (OLD, OLD))
    edit = set_constant(file, "N", 8_000)
    assert not edit.changed
    assert edit == Edit(before="8_000", after="8_000", line=1)
    assert file.stat().st_mtime == OLD


def test_a_line_chooses_between_two_of_a_name(tmp_path: Path) -> None:
    file = tree(tmp_path, a="#[cfg(x)] const N: u8 = 1;\n#[cfg(y)] const N: u8 = 2;\n") / "a.rs"
    with pytest.raises(SourceError, match="2 definitions, at lines 1, 2") as caught:
        set_constant(file, "N", 3)
    assert caught.value.where == str(file)
    assert set_constant(file, "N", 3, line=2) == Edit(before="2", after="3", line=2)
    assert file.read_text(encoding="utf-8").endswith("= 3;\n")


@pytest.mark.parametrize("value", ["1; const M: u8 = 2", "1 //", "fn"])
def test_a_value_that_is_no_expression_is_refused(value: str, tmp_path: Path) -> None:
    file = tree(tmp_path, a="const N: u8 = 1;") / "a.rs"
    with pytest.raises(SourceError) as caught:
        set_constant(file, "N", value)
    assert caught.value.remedy
    assert file.read_text(encoding="utf-8") == "const N: u8 = 1;"

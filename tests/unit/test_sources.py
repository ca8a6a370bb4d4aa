"""Finding and editing constants in a tree of Rust sources."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit import sources
from perfkit.errors import SourceError
from perfkit.sources import Found, format_value


def tree(root: Path, **files: str) -> Path:
    """Write Rust sources; `__` in a name stands for `/`."""
    for name, text in files.items():
        path = root / f"{name.replace('__', '/')}.rs"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    return root


def find_constant(root: Path, name: str) -> Found:
    return sources.find_in_tree(sources.rust_files(root), name, searched=root)


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
    in_file = sources.find_in_file(file, sources.read(file), "CHUNK")
    for found in (find_constant(tmp_path, "CHUNK"), find_constant(tmp_path, "b::CHUNK"), in_file):
        site = found.site
        assert (site.name, site.path, site.type) == ("CHUNK", "b::CHUNK", "usize")
        assert (found.file, found.where, site.value) == (file, f"{file}:2", "L1 / 8")


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
    assert find_constant(tmp_path, "N").site.value == "1"


def test_several_definitions_are_all_listed(tmp_path: Path) -> None:
    tree(
        tmp_path,
        a="#[cfg(x)]\nconst N: u8 = 1;\n#[cfg(not(x))]\nconst N: u8 = 2;",
        b="cfg_if! { if #[cfg(y)] { const N: u8 = 3; } }",
    )
    with pytest.raises(SourceError) as caught:
        find_constant(tmp_path, "N")
    places = [f"{tmp_path}/a.rs:2", f"{tmp_path}/a.rs:4", f"{tmp_path}/b.rs:1 (inside a macro"]
    assert "defined 3 times" in caught.value.message
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
    assert find_constant(tmp_path, "N").site.line == 1


def test_missing_and_unreadable_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.rs").write_bytes(b"const N: u8 = 1; // \xff")
    for file, told in (("none.rs", "cannot be read"), ("a.rs", "not UTF-8 text")):
        with pytest.raises(SourceError, match=told):
            sources.find_in_file(tmp_path / file, sources.read(tmp_path / file), "N")
    with pytest.raises(SourceError, match="not a folder"):
        find_constant(tmp_path / "none", "N")


def test_an_edit_changes_one_value() -> None:
    text = "\ufeff// N = 1\r\npub const N: usize = 30_000; // keep\r\nstatic M: u8 = 1;\r\n"
    edited = sources.replace(Path("a.rs"), text, "N", format_value(8000))
    assert edited == text.replace("30_000", "8_000")
    assert sources.replace(Path("a.rs"), edited, "N", "8_000") == edited


@pytest.mark.parametrize(
    ("value", "told"),
    [("1; const M: u8 = 2", "not a Rust"), ("1 //", "change more"), ("fn", "not a Rust")],
)
def test_a_value_that_is_no_expression_is_refused(value: str, told: str) -> None:
    with pytest.raises(SourceError, match=told) as caught:
        sources.replace(Path("a.rs"), "const N: u8 = 1;", "N", value)
    assert caught.value.where.startswith("a.rs")
    assert caught.value.remedy


def test_two_of_a_name_are_not_edited() -> None:
    text = "#[cfg(x)] const N: u8 = 1;\n#[cfg(y)] const N: u8 = 2;\n"
    with pytest.raises(SourceError, match="2 definitions, at lines 1, 2") as caught:
        sources.replace(Path("a.rs"), text, "N", "3")
    assert caught.value.where == "a.rs"


def test_what_refers_to_itself_is_no_number() -> None:
    """Worked out without a bound, this would take 2^64 steps."""
    rows = [f"const A{n}: u64 = A{n - 1} + A{n - 1};" for n in range(1, 64)]
    text = "\n".join(["const A0: u64 = 1;", *rows, "const LOOP: u64 = LOOP + 1;"])
    for name, value in (("A3", 8), ("A63", "A62 + A62"), ("LOOP", "LOOP + 1")):
        assert sources.read_value(sources.find_in_file(Path("a.rs"), text.encode(), name)) == value

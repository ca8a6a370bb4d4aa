"""The engine's editing of Rust constants: golden edits, and what must never happen."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit import _engine

SOURCE = (Path(__file__).parents[1] / "data" / "rust" / "constants.rs").read_bytes().decode()


def test_every_constant_is_listed() -> None:
    sites = [(site.path, site.value, site.kind) for site in _engine.list_constants(SOURCE)]
    assert sites == [
        ("CHUNK", "L1_CACHE_SIZE / 8 / 4", "const"),
        ("L1_CACHE_SIZE", "32 * 1024", "const"),
        ("TEXT", '"const CHUNK: usize = 1;"', "static"),
        ("RAW", 'r#"static CHUNK: usize = 2;"#', "const"),
        ("BLOCK", "{\r\n\tlet a = 3; // const CHUNK: usize = 4;\r\n\ta * 2\r\n}", "const"),
        ("WIDE", "8", "const"),
        ("WIDE", "4", "const"),
        ("small::CHUNK", "64", "const"),
        ("small::inner::CHUNK", "32_usize", "const"),
        ("Table<'_, T>::ROWS", "[0; 4]", "const"),
        ("Limit::MOST", "9", "const"),
        ("run::LOCAL", "-1", "const"),
        ("MUTABLE", "1", "static"),
        ("IN_MACRO", "", "macro"),
    ]


def test_spans_are_bytes_of_the_text_as_it_is() -> None:
    data = SOURCE.encode()
    assert data.startswith(b"\xef\xbb\xbf")
    for site in _engine.list_constants(SOURCE):
        first, last = site.span
        assert data[first:last].decode() == site.value
        if site.kind != "macro":
            assert site.name in SOURCE.split("\n")[site.line - 1]


def test_a_script_is_read_too() -> None:
    text = "\ufeff#!/usr/bin/env run-cargo-script\r\npub const A: u8 = 1;\r\n"
    (site,) = _engine.list_constants(text)
    first, last = site.span
    assert (text.encode()[first:last], site.line) == (b"1", 2)
    assert _engine.replace_constant(text, "A", "2") == text.replace("= 1", "= 2")


@pytest.mark.parametrize(
    ("name", "value", "old", "new"),
    [
        ("L1_CACHE_SIZE", "48 * 1024", "= 32 * 1024;", "= 48 * 1024;"),
        ("small::CHUNK", "{ 1 + 1 }", "= 64;", "= { 1 + 1 };"),
        ("inner::CHUNK", "16", "= 32_usize;", "= 16;"),
        ("small::inner::CHUNK", "16", "= 32_usize;", "= 16;"),
        ("ROWS", "[0; 8]", "= [0; 4];", "= [0; 8];"),
        ("TEXT", '"é; \\" //"', '= "const CHUNK: usize = 1;";', '= "é; \\" //";'),
        ("LOCAL", "if true { 1 } else { 2 }", "= -1;", "= if true { 1 } else { 2 };"),
        ("MUTABLE", "30_000", "= 1 ;", "= 30_000 ;"),
    ],
)
def test_an_edit_changes_the_initialiser_and_no_other_byte(
    name: str, value: str, old: str, new: str
) -> None:
    assert SOURCE.count(old) == 1
    edited = _engine.replace_constant(SOURCE, name, value)
    assert edited == SOURCE.replace(old, new)


def test_an_edit_to_what_is_there_changes_nothing() -> None:
    assert _engine.replace_constant(SOURCE, "ROWS", " [0; 4] ") == SOURCE


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("NOT_THERE", "1", "no constant or static `NOT_THERE`"),
        ("NO_VALUE", "1", "no constant or static `NO_VALUE`"),
        ("ll::CHUNK", "1", "no constant or static `ll::CHUNK`"),
        ("_", "()", "no constant or static `_`"),
        ("CHUNK", "1", r"3 definitions, at lines 4, 21, 24"),
        ("WIDE", "1", r"2 definitions, at lines 16, 18"),
        ("IN_MACRO", "1", r"line 40: .*inside a macro call"),
        ("ROWS", "", "not a Rust expression"),
        ("ROWS", "1 +", "not a Rust expression"),
        ("ROWS", "1; const X: u8 = 2", "not a Rust expression"),
        ("ROWS", "1 // comment", "would change more than ROWS"),
        ("ROWS", "1 /* comment */", "would change more than ROWS"),
        ("ROWS", "(" * 50_000 + ")" * 50_000, "nested too deep"),
    ],
)
def test_a_doubtful_edit_is_refused(name: str, value: str, told: str) -> None:
    with pytest.raises(_engine.EngineInputError, match=told):
        _engine.replace_constant(SOURCE, name, value)


@pytest.mark.parametrize(
    ("source", "line"),
    [("const A: u8 = 1;\nconst B u8 = 2;\n", 2), ('const A: &str = "open', 1), ("}", 1)],
)
def test_text_that_is_not_rust_is_refused_with_its_line(source: str, line: int) -> None:
    with pytest.raises(_engine.EngineInputError, match="not Rust") as caught:
        _engine.list_constants(source)
    assert (caught.value.line, caught.value.path) == (line, None)


@pytest.mark.parametrize(
    "nested",
    [
        *(
            "A<A<A<",
            "A<'a, A<'a, ",
            "return return ",
            "|a, b| |a, b| ",
            "if a {} else if a {} else ",
        ),
        *("(((", "[[[", "{{{", "!!!", "&&&", "-> -> ", "*const *const ", "a + a + ", "= a "),
    ],
)
@pytest.mark.parametrize("before", ["const A: ", "const A: u8 = ", "", "fn f() { "])
def test_a_text_that_only_nests_is_refused_with_its_line(nested: str, before: str) -> None:
    text = f"\n{before}{nested * (300_000 // len(nested))}"
    with pytest.raises(_engine.EngineInputError, match="not Rust") as caught:
        _engine.list_constants(text)
    assert caught.value.line is not None


def test_long_sources_that_do_not_nest_are_read() -> None:
    rows = "".join(f"    {n} if n < 9 => f(n, 1),\n" for n in range(15_000))
    items = "".join(f"fn f{n}() {{ g({n}) }}\nconst A{n}: u64 = {n};\n" for n in range(15_000))
    table = ", ".join("-1" for _ in range(50_000))
    text = f"fn f() {{ match n {{\n{rows} }} }}\n{items}const T: [i8; 50_000] = [{table}];\n"
    assert len(_engine.list_constants(text)) == 15_001


expressions = st.recursive(
    st.integers(0, 2**64 - 1).map(str)
    | st.sampled_from(["A", "a::B", '"s;\\n"', "'\\''", "0x_ff_u8", "1.5e3", "true", 'r#"""#'])
    | st.sampled_from(["b'x'", "f(1, 2)", "m![a; = ]", "|x| x", "&[1; 3]", "..", "r#fn"]),
    lambda inner: (
        inner.map("({})".format)
        | inner.map("-{}".format)
        | inner.map("{{ {} }}".format)
        | st.tuples(inner, st.sampled_from("+*/<"), inner).map(" ".join)
        | inner.map("if c {{ {} }} else {{ 0 }}".format)
    ),
    max_leaves=8,
)
gaps = st.sampled_from(["", " ", "\t", "\r\n", " /* = 1; */ ", " // = 2;\n", "/* /* é */ */"])


@given(expressions, expressions, gaps, gaps, st.booleans())
def test_an_edit_is_undone_by_its_reverse(
    old: str, new: str, before: str, after: str, mark: bool
) -> None:
    start = "\ufeff" if mark else ""
    source = f"{start}// é\r\nmod m {{ const X: T ={before}{old}{after}; }}\n// const X: T = 3;\n"
    try:
        (site,) = _engine.list_constants(source)
        _engine.list_constants(f"const X: T = {new};")
        edited = _engine.replace_constant(source, "X", new)
    except _engine.EngineInputError:
        return  # what the grammar above makes is not always Rust, such as `a < b < c`
    assert (site.value, site.path) == (old, "m::X")
    assert edited == source.replace(f"={before}{old}{after};", f"={before}{new}{after};", 1)
    assert _engine.replace_constant(edited, "X", old) == source


@given(
    st.text(max_size=60), st.text(st.sampled_from("const X:=1;{}()\"'#!/*\n \ufeff"), max_size=40)
)
def test_any_text_is_read_or_refused(value: str, source: str) -> None:
    for text in (source, f"const X: T = {value};", source + value):
        try:
            sites = _engine.list_constants(text)
        except _engine.EngineInputError:
            continue
        for site in sites:
            first, last = site.span
            assert text.encode()[first:last].decode() == site.value

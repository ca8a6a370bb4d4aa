"""rustc's command lines as cargo makes them and as the wrapper records them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from perfkit.subject import rustc

if TYPE_CHECKING:
    from pathlib import Path

RELEASE = (
    "rustc --crate-name my_ext --edition=2021 src/lib.rs --error-format=json "
    "--json=diagnostic-rendered-ansi --crate-type cdylib --crate-type rlib --emit=dep-info,link "
    "-C opt-level=3 -C lto=thin -C codegen-units=1 --cfg 'feature=\"python\"' "
    "--cfg 'feature=\"simd\"' -C metadata=5ff --out-dir target/release/deps -C strip=debuginfo"
)
DEBUG = (
    "rustc --crate-name my_ext --edition=2021 src/lib.rs --crate-type cdylib "
    "--emit=dep-info,link -C embed-bitcode=no -C debuginfo=2 -C incremental=target/debug"
)


def test_a_release_line_is_read() -> None:
    line = rustc.parse_line(RELEASE)
    assert line.crate == "my_ext"
    assert line.crate_types == ("cdylib", "rlib")
    assert (line.opt_level, line.lto, line.codegen_units) == ("3", "thin", 1)
    assert line.features == ("python", "simd")
    assert not line.debug_assertions


def test_a_debug_line_has_rustcs_own_defaults() -> None:
    line = rustc.parse_line(DEBUG)
    assert (line.opt_level, line.lto, line.codegen_units) == ("0", "off", 16)
    assert line.debug_assertions
    assert line.overflow_checks


@pytest.mark.parametrize(
    ("flags", "lto"),
    [
        ("-C lto", "fat"),
        ("-C lto=fat", "fat"),
        ("-Clto=thin", "thin"),
        ("-C lto=off", "off"),
        ("-C lto=no", "off"),
        ("-C linker-plugin-lto", "plugin"),
        ("--codegen lto=thin -C lto=off", "off"),
        ("", "off"),
    ],
)
def test_every_way_to_write_lto(flags: str, lto: str) -> None:
    assert rustc.parse_line(f"rustc --crate-name=x {flags} src/lib.rs").lto == lto


def test_a_line_without_crate_is_refused() -> None:
    with pytest.raises(ValueError, match="crate-name"):
        rustc.parse_line("rustc -vV")


@pytest.mark.parametrize(
    ("words", "level"),
    [
        (("-C", "opt-level=3"), "3"),
        (("-Copt-level=s",), "s"),
        (("--codegen", "opt-level=2"), "2"),
        (("-O",), "3"),
        ((), "0"),
        (("-C", "opt-level=3", "-C", "opt-level=0"), "0"),
    ],
)
def test_the_last_opt_level_of_a_line_is_in_force(words: tuple[str, ...], level: str) -> None:
    assert rustc.read_line(("rustc", "--crate-name", "demo", *words)).opt_level == level


def test_lines_come_back_from_the_wrapper_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "11").write_bytes(b"rustc\0--crate-name\0___\0--print=cfg\0")
    (tmp_path / "12").write_bytes(b'rustc\0--crate-name\0a\0--cfg\0feature="x y"\0')
    (tmp_path / "13").write_bytes(b"rustc\0-vV\0")
    (found,) = rustc.newest_lines(tmp_path)
    assert found.words == ("rustc", "--crate-name", "a", "--cfg", 'feature="x y"')
    assert rustc.parse_line(found.show()) == found


def test_the_newest_line_of_each_crate_stays(tmp_path: Path) -> None:
    for number, words in enumerate(("a old", "b same", "a new")):
        crate, level = words.split()
        file = tmp_path / f"{9 - number}"
        file.write_bytes(f"rustc\0--crate-name\0{crate}\0--cfg\0{level}\0".encode())
        os.utime(file, (number, number))
    for _ in range(2):
        found = rustc.newest_lines(tmp_path)
        assert [(line.crate, line.words[-1]) for line in found] == [("b", "same"), ("a", "new")]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["7", "8"]


@pytest.mark.parametrize("words", [b"rustc\0--crate-name\0a\0-C\0", b"rustc\0", b""])
def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path: Path, words: bytes) -> None:
    (tmp_path / "1").write_bytes(words)
    assert rustc.newest_lines(tmp_path) == []

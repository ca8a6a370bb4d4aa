"""Which settings a build went without, and how they reach cargo."""

from __future__ import annotations

import pytest

from perfkit.diagnose.flags import missing, named
from perfkit.records import Profile
from perfkit.subject.recipe import extra_flags
from perfkit.subject.rustc import parse_line

LINE = "rustc --crate-name my_ext --crate-type cdylib -C opt-level=3"


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ("", {"lto": '"thin"', "codegen-units": "1"}),
        ("-C lto=fat", {"codegen-units": "1"}),
        ("-C codegen-units=1", {"lto": '"thin"'}),
        ("-C lto=thin -C codegen-units=1", {}),
        ("-C linker-plugin-lto -C codegen-units=1", {}),
    ],
)
def test_only_what_is_missing_is_tried(options: str, wanted: dict[str, str]) -> None:
    assert missing(parse_line(f"{LINE} {options}")) == wanted


def test_settings_are_named_as_cargo_toml_has_them() -> None:
    assert named({"lto": '"thin"', "codegen-units": "1"}) == 'lto = "thin" and codegen-units = 1'


def test_settings_replace_those_of_the_profile_that_is_built() -> None:
    words, variables = extra_flags(
        Profile.RELEASE, "dist", [], "x86_64-unknown-linux-gnu", {}, {"lto": '"thin"'}
    )
    assert words == ["--config", 'profile.dist.lto="thin"']
    assert variables == {}
    assert extra_flags(Profile.RELEASE, "dist", [], "x86_64-unknown-linux-gnu", {}) == ([], {})

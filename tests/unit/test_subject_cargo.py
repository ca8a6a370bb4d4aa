"""Cargo's configuration and messages, without cargo."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfkit.errors import ConfigError, UnreadableOutputError
from perfkit.subject import cargo

DATA = Path(__file__).parents[1] / "data" / "cargo"
HOST = "x86_64-unknown-linux-gnu"
FACTS = (
    "debug_assertions",
    'panic="unwind"',
    'target_arch="x86_64"',
    'target_family="unix"',
    'target_os="linux"',
    "unix",
)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("cfg(unix)", True),
        ("cfg(windows)", False),
        ('cfg(target_arch = "x86_64")', True),
        ('cfg(target_arch="aarch64")', False),
        ("cfg(all())", True),
        ("cfg(any())", False),
        ('cfg(all(unix, not(target_os = "macos")))', True),
        ('cfg(any(windows, target_os = "linux",))', True),
        ("cfg(not(unix))", False),
    ],
)
def test_cfg_expressions_hold_as_cargo_says(expression: str, expected: bool) -> None:
    assert cargo.cfg_holds(expression, FACTS) is expected


@pytest.mark.parametrize(
    "expression",
    [
        *("cfg(", "cfg()", "cfg(unix windows)", "cfg(all(unix)", "unix", "cfg(unix))"),
        *("cfg(a = b)", f"cfg({'not(' * 100_000}unix{')' * 100_000})"),
    ],
)
def test_a_broken_cfg_expression_is_refused(expression: str) -> None:
    with pytest.raises(ConfigError, match="not a cfg expression"):
        cargo.cfg_holds(expression, FACTS)


@pytest.fixture
def known_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cargo, "cfg_facts", lambda _triple, _environment: FACTS)


@pytest.mark.usefixtures("known_facts")
@pytest.mark.parametrize(
    ("configs", "key"),
    [
        ([], "build"),
        ([{"build": {"rustflags": ["-Ctarget-cpu=native"]}}], "build"),
        ([{"target": {HOST: {"rustflags": ["-Ctarget-cpu=native"]}}}], f"target.{HOST}"),
        ([{"target": {HOST: {"linker": "clang"}}}], "build"),
        ([{"target": {HOST: {"rustflags": []}}}], "build"),
        ([{"target": {"aarch64-apple-darwin": {"rustflags": ["-Cx"]}}}], "build"),
        ([{"target": {"cfg(unix)": {"rustflags": ["-Cx"]}}}], f"target.{HOST}"),
        ([{"target": {"cfg(windows)": {"rustflags": ["-Cx"]}}}], "build"),
        ([{}, {"target": {"cfg(unix)": {"rustflags": ["-Cx"]}}}], f"target.{HOST}"),
        (
            [{"build": {"target": "aarch64-unknown-linux-gnu", "rustflags": ["-Cx"]}}],
            "build",
        ),
    ],
)
def test_added_flags_go_where_the_users_own_are(configs: list[dict[str, object]], key: str) -> None:
    words, variables = cargo.flag_arguments(
        ["-Ca", "-Cb"], configs=configs, host=HOST, environment={}
    )
    assert words == ["--config", f'{key}.rustflags=["-Ca", "-Cb"]']
    assert variables == {}


def test_flags_from_the_environment_are_extended_there() -> None:
    given = {"RUSTFLAGS": "-Ctarget-cpu=native"}
    words, variables = cargo.flag_arguments(["-Ca"], configs=[], host=HOST, environment=given)
    assert (words, variables) == ([], {"RUSTFLAGS": "-Ctarget-cpu=native -Ca"})
    given = {"CARGO_ENCODED_RUSTFLAGS": "-C\x1fx y", "RUSTFLAGS": "ignored"}
    words, variables = cargo.flag_arguments(["-Ca"], configs=[], host=HOST, environment=given)
    assert (words, variables) == ([], {"CARGO_ENCODED_RUSTFLAGS": "-C\x1fx y\x1f-Ca"})


def test_no_flags_add_nothing() -> None:
    assert cargo.flag_arguments([], configs=[], host=HOST, environment={}) == ([], {})


def test_messages_of_a_real_build() -> None:
    found = cargo.read_artifacts((DATA / "workspace-messages.json").read_text(encoding="utf-8"))
    own = {item.target.name: item for item in found if "textstats" in item.package_id}
    assert {name: item.fresh for name, item in own.items()} == {
        "textstats_core": False,
        "_native": False,
    }
    assert own["_native"].target.crate_types == ("cdylib",)
    assert own["_native"].filenames[0].name == "lib_native.so"


@pytest.mark.parametrize(
    "text", ['{"reason":"compiler-artifact"', '{"reason":"compiler-artifact"}', "{}"]
)
def test_a_message_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(UnreadableOutputError, match="line 1"):
        cargo.read_artifacts(text)


def test_what_a_build_script_prints_is_no_message() -> None:
    assert cargo.read_artifacts("hello\n") == []


def test_configurations_are_read_nearest_first_and_home_last(tmp_path: Path) -> None:
    places = [tmp_path / "a" / "b", tmp_path / "a", tmp_path / "home"]
    for place in places:
        (place / ".cargo").mkdir(parents=True)
        (place / ".cargo" / "config.toml").write_text("", encoding="utf-8")
    environment = {"HOME": str(tmp_path / "home")}
    found = cargo.config_files(tmp_path / "a" / "b" / "c", environment)
    assert [file.parents[1] for file in found if file.is_relative_to(tmp_path)] == places

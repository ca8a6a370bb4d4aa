"""Cargo's flags, messages and rustc lines, without cargo."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfkit.errors import BuildError, ConfigError, UnreadableOutputError
from perfkit.subject import cargo, cfg

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


def line(*words: str) -> cargo.RustcLine:
    return cargo.RustcLine(words=("rustc", "--crate-name", "demo", *words))


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
    assert cfg.holds(expression, FACTS) is expected


@pytest.mark.parametrize(
    "expression",
    [
        *("cfg(", "cfg()", "cfg(unix windows)", "cfg(all(unix)", "unix", "cfg(unix))"),
        *("cfg(a = b)", f"cfg({'not(' * 100_000}unix{')' * 100_000})"),
    ],
)
def test_a_broken_cfg_expression_is_refused(expression: str) -> None:
    with pytest.raises(ConfigError, match="no cfg expression"):
        cfg.holds(expression, FACTS)


@pytest.fixture
def known_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cfg, "facts", lambda _triple, _environment: FACTS)


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
    own = {item.target: item for item in found if "textstats" in item.package_id}
    assert {name: item.fresh for name, item in own.items()} == {
        "textstats_core": False,
        "_native": False,
    }
    assert own["_native"].crate_types == ("cdylib",)
    assert own["_native"].filenames[0].name == "lib_native.so"


@pytest.mark.parametrize(
    "text", ['{"reason":"compiler-artifact"', '{"reason":"compiler-artifact"}', "{}"]
)
def test_a_message_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(UnreadableOutputError, match="line 1"):
        cargo.read_artifacts(text)


def test_what_a_build_script_prints_is_no_message() -> None:
    assert cargo.read_artifacts("hello\n") == []


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
    assert line(*words).opt_level == level


def test_a_release_build_without_optimisation_is_refused() -> None:
    with pytest.raises(BuildError, match="without optimisation") as caught:
        cargo.refuse_debug(line(), "release")
    assert "opt-level" in caught.value.remedy


def test_a_profile_that_the_user_named_may_be_unoptimised() -> None:
    cargo.refuse_debug(line(), "dev")
    cargo.refuse_debug(line("-Copt-level=1"), "release")


RELEASE = (
    "-C opt-level=3 -C metadata=aaaaaaaaaaaaaaaa --out-dir /c/p/target/0123456789ab/release/deps "
    "-C strip=debuginfo "
    "--extern core=/c/p/target/0123456789ab/release/deps/libcore-0123456789abcdef.rlib"
)
PROFILING = (
    "-C opt-level=3 -C debuginfo=line-tables-only -C metadata=bbbbbbbbbbbbbbbb "
    "--out-dir /c/p/target/ba9876543210/release/deps "
    "--extern core=/c/p/target/ba9876543210/release/deps/libcore-fedcba9876543210.rlib "
    "-Cforce-frame-pointers=yes -Cllvm-args=-enable-shrink-wrap=false"
)


def differences(left: str, right: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return cargo.only_added(
        cargo.normalised(line(*left.split())), cargo.normalised(line(*right.split()))
    )


def test_a_profiling_line_differs_only_in_what_was_added() -> None:
    assert differences(RELEASE, PROFILING) == ((), ())
    assert cargo.profiling_lacks(line(*PROFILING.split())) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("opt-level=3", "opt-level=2"), (("-Copt-level=3",), ("-Copt-level=2",))),
        (("-C opt-level=3", "-C opt-level=3 -C lto=fat"), ((), ("-Clto=fat",))),
        (("-C opt-level=3", "-C opt-level=3 --cfg other"), ((), ("--cfg", "other"))),
        (("libcore-", "libmore-"), None),
        (("release/deps/libcore", "other/libcore"), None),
    ],
)
def test_any_other_difference_is_seen(
    change: tuple[str, str], expected: tuple[tuple[str, ...], tuple[str, ...]] | None
) -> None:
    found = differences(RELEASE, PROFILING.replace(*change))
    assert found != ((), ())
    if expected is not None:
        assert found == expected


@pytest.mark.parametrize(
    ("change", "lack"),
    [
        (("-Cforce-frame-pointers=yes", ""), "force-frame-pointers"),
        (("-Cllvm-args=-enable-shrink-wrap=false", ""), "shrink-wrap"),
        (("line-tables-only", "0"), "debuginfo"),
        (
            ("-Cforce-frame-pointers=yes", "-Cforce-frame-pointers=yes -Cforce-frame-pointers=no"),
            "no",
        ),
        (("-C opt-level=3", "-C strip=symbols"), "strip"),
    ],
)
def test_a_profiling_line_without_its_flags_is_seen(change: tuple[str, str], lack: str) -> None:
    lacks = cargo.profiling_lacks(line(*PROFILING.replace(*change).split()))
    assert len(lacks) == 1
    assert lack in lacks[0]


def test_lines_come_back_from_the_wrapper_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "11").write_bytes(b"rustc\0--crate-name\0___\0--print=cfg\0")
    (tmp_path / "12").write_bytes(b'rustc\0--crate-name\0a\0--cfg\0feature="x y"\0')
    (tmp_path / "13").write_bytes(b"rustc\0-vV\0")
    (found,) = cargo.collect_lines(tmp_path)
    assert found.words == ("rustc", "--crate-name", "a", "--cfg", 'feature="x y"')
    assert cargo.parse_line(found.show()) == found


def test_configurations_are_read_nearest_first_and_home_last(tmp_path: Path) -> None:
    places = [tmp_path / "a" / "b", tmp_path / "a", tmp_path / "home"]
    for place in places:
        (place / ".cargo").mkdir(parents=True)
        (place / ".cargo" / "config.toml").write_text("", encoding="utf-8")
    environment = {"HOME": str(tmp_path / "home")}
    found = cargo.config_files(tmp_path / "a" / "b" / "c", environment)
    assert [file.parents[1] for file in found if file.is_relative_to(tmp_path)] == places


def test_a_broken_cargo_configuration_is_named(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[build\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="no TOML") as caught:
        cargo.read_config(file)
    assert caught.value.where == str(file)

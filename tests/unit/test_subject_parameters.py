"""Parameters: start values, edits, how values reach the subject, and what proves them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perfkit import _engine, sources
from perfkit.config import Backend, Config, Kind, Parameter, Project
from perfkit.errors import BuildError, SourceError, SubjectMismatchError, UsageError
from perfkit.records import Build, LoadedModule, Profile, Proof
from perfkit.subject import parameters, shadow
from perfkit.subject.proof import prove

if TYPE_CHECKING:
    from perfkit.records import Value

SOURCE = """\
pub const SMALL: usize = 30_000;
pub const CACHE: usize = 32 * 1024;
pub const CHUNK: usize = CACHE / 8 / 4; // SMALL: usize = 1;
pub const FAST: bool = true;
pub const RATE: f64 = 0.5;
pub const MASK: u64 = 0xff_u64;
pub const SIZE: usize = std::mem::size_of::<f64>();
mod inner {
    pub const SMALL: usize = 7;
}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "Cargo.toml").write_text("", encoding="utf-8")
    (tmp_path / "src" / "tuning.rs").write_text(SOURCE, encoding="utf-8")
    return tmp_path


def project(root: Path, manifest: str = "Cargo.toml", **named: Parameter) -> Project:
    config = Config.model_validate(
        {
            "subject": {"module": "demo", "manifest": manifest},
            "workloads": {
                name: {"call": "demo:f", "setup": "w.py:s", "sizes": [1]}
                for name in ("w", "another")
            },
            "parameters": {name: item.model_dump() for name, item in named.items()},
        }
    )
    return Project(root=root, file=root / "perfkit.toml", config=config, origins={}, environ={})


def const(name: str | None = None, *, file: str | None = "src/tuning.rs") -> Parameter:
    return Parameter(kind=Kind.INTEGER, name=name, file=Path(file) if file else None)


def edited(root: Path, known: Project, **params: Value) -> parameters.Edits:
    tree = shadow.working_tree(root, is_git=False, environment={})
    return parameters.edit(known, tree, root, params)


def test_start_values_are_read_from_the_sources(root: Path) -> None:
    known = project(
        root,
        chunk=const("CHUNK"),
        FAST=const(),
        RATE=const(),
        MASK=const(),
        SIZE=const(file=None),
        small=const("inner::SMALL"),
        tables=Parameter(kind=Kind.INTEGER, backend=Backend.ENV, start=4),
    )
    assert parameters.start_values(known, "w") == {
        "chunk": 1024,
        "FAST": True,
        "RATE": 0.5,
        "MASK": 255,
        "SIZE": "std::mem::size_of::<f64>()",
        "small": 7,
        "tables": 4,
    }


def test_what_decides_other_workloads_alone_has_no_start_here(root: Path) -> None:
    known = project(
        root,
        chunk=const("CHUNK"),
        other=Parameter(
            kind=Kind.INTEGER, backend=Backend.ARGUMENT, start=4, workloads=("another",)
        ),
    )
    assert parameters.start_values(known, "w") == {"chunk": 1024}


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("CHUNK", 512, "pub const CHUNK: usize = 512; // SMALL: usize = 1;"),
        ("CHUNK", "CACHE / 16", "pub const CHUNK: usize = CACHE / 16; // SMALL: usize = 1;"),
        ("FAST", False, "pub const FAST: bool = false;"),
        ("RATE", 2, "pub const RATE: f64 = 2.0;"),
        ("RATE", 0.25, "pub const RATE: f64 = 0.25;"),
        ("MASK", 4096, "pub const MASK: u64 = 4_096;"),
        ("inner::SMALL", 9, "    pub const SMALL: usize = 9;"),
    ],
)
def test_an_edit_changes_one_initialiser(root: Path, name: str, value: Value, line: str) -> None:
    edits = edited(root, project(root, p=const(name)), p=value)
    (content,) = edits.contents.values()
    changed = [
        after
        for before, after in zip(SOURCE.splitlines(), content.decode().splitlines(), strict=True)
        if before != after
    ]
    assert changed == [line]
    assert edits.changed == {"p": value}
    assert (root / "src" / "tuning.rs").read_text(encoding="utf-8") == SOURCE


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0x1f32", 0x1F32),
        ("0xff_u8", 255),
        ("0b1010", 10),
        ("0o17usize", 15),
        ("1_000_i64", 1000),
        ("-5", -5),
        ("2.5f32", 2.5),
        ("1_f64", 1),
        ("1e3", 1000.0),
        ("0x10 + 4usize", 20),
        ("1 << 20", 1 << 20),
        ("7 / 2 % 2", 1),
        ("1 - 2", "1 - 2"),
        ("8 / 0", "8 / 0"),
        ("NOWHERE", "NOWHERE"),
        ("f(3)", "f(3)"),
        ("A", 3),
        ("LOOP", "LOOP"),
    ],
)
def test_only_what_is_surely_a_number_is_read_as_one(text: str, value: Value) -> None:
    source = f"const X: i64 = {text}; const A: i64 = 3; const LOOP: i64 = LOOP;"
    found = sources.read_value(sources.find_in_file(Path("x.rs"), source.encode(), "X"))
    assert found == value
    assert type(found) is type(value)


def test_two_edits_of_one_file_are_both_made(root: Path) -> None:
    edits = edited(root, project(root, CHUNK=const(), RATE=const()), CHUNK=1, RATE=1.5)
    (content,) = edits.contents.values()
    assert b"CHUNK: usize = 1;" in content
    assert b"RATE: f64 = 1.5;" in content


@pytest.mark.parametrize(
    ("name", "value"),
    [("CHUNK", 1024), ("CHUNK", "CACHE/8/4"), ("FAST", True), ("MASK", 255), ("RATE", 0.5)],
)
def test_the_value_that_is_there_is_no_edit(root: Path, name: str, value: Value) -> None:
    edits = edited(root, project(root, p=const(name)), p=value)
    assert edits.contents == {}
    assert edits.unchanged == {"p": value}


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        (const("NOSUCH"), "no constant or static `NOSUCH`"),
        (const("NOSUCH", file=None), "no constant or static `NOSUCH`"),
        (const("SMALL"), "more than once: lines 1, 9"),
        (const("CHUNK", file="src/other.rs"), "is not in the working tree"),
    ],
)
def test_a_constant_that_is_not_surely_the_one_is_refused(
    root: Path, parameter: Parameter, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        edited(root, project(root, p=parameter), p=5)


def test_a_constant_in_two_files_is_refused(root: Path) -> None:
    (root / "src" / "more.rs").write_text("const CHUNK: u8 = 1;", encoding="utf-8")
    with pytest.raises(SourceError, match=r"more than one file: .*more\.rs.*tuning\.rs"):
        edited(root, project(root, CHUNK=const(file=None)), CHUNK=5)


@pytest.mark.parametrize("file", ["src/tuning.rs", None])
@pytest.mark.parametrize(
    ("content", "line", "told"),
    [(b"const A: u8 = 1;\npub cnst CHUNK;", 2, "not Rust"), (b"\n\n// CHUNK \xff", 3, "UTF-8")],
)
def test_a_source_that_is_no_rust_is_a_failed_build(
    root: Path, content: bytes, line: int, told: str, file: str | None
) -> None:
    (root / "src" / "tuning.rs").write_bytes(content)
    known = project(root, CHUNK=const(file=file))
    for read in (lambda: edited(root, known), lambda: parameters.start_values(known, "w")):
        with pytest.raises(BuildError, match=told) as caught:
            read()
        assert caught.value.exit_code == 5
        assert caught.value.where == f"{root}/src/tuning.rs:{line}"
        assert caught.value.remedy


def test_a_constant_that_is_missing_is_no_failed_build(root: Path) -> None:
    known = project(root, NOSUCH=const(file=None))
    for read in (lambda: edited(root, known), lambda: parameters.start_values(known, "w")):
        with pytest.raises(SourceError, match="no constant or static") as caught:
            read()
        assert caught.value.exit_code == 2
    with pytest.raises(SourceError, match="there is no file here"):
        parameters.start_values(project(root, CHUNK=const(file="src/other.rs")), "w")


@pytest.mark.parametrize("file", ["src/tuning.rs", None])
def test_another_tree_is_read_and_not_the_users_own(
    root: Path, tmp_path_factory: pytest.TempPathFactory, file: str | None
) -> None:
    revision = tmp_path_factory.mktemp("revision")
    (revision / "src").mkdir()
    earlier = SOURCE.replace("CACHE / 8 / 4", "64")
    (revision / "src" / "tuning.rs").write_text(earlier, encoding="utf-8")
    (root / "src" / "tuning.rs").write_text("pub cnst CHUNK", encoding="utf-8")
    tree = shadow.working_tree(revision, is_git=False, environment={})
    edits = parameters.edit(project(root, CHUNK=const(file=file)), tree, root, {"CHUNK": 65})
    assert edits.initialisers == {"CHUNK": "64"}
    assert b"CHUNK: usize = 65;" in edits.contents["src/tuning.rs"]


def test_a_config_inside_the_crate_finds_a_constant_once(root: Path) -> None:
    (root / "src" / "perf").mkdir()
    (root / "src" / "perf" / "more.rs").write_text("const NEAR: u8 = 1;", encoding="utf-8")
    place = root / "src" / "perf"
    known = project(place, "../../Cargo.toml", NEAR=const(file=None), MASK=const(file=None))
    assert parameters.start_values(known, "w") == {"NEAR": 1, "MASK": 255}


def test_values_are_sorted_by_how_they_reach_the_subject(root: Path) -> None:
    known = project(
        root,
        CHUNK=const(),
        tables=Parameter(kind=Kind.INTEGER, backend=Backend.ENV, name="TABLES", start=1),
        fast=Parameter(kind=Kind.CATEGORICAL, backend=Backend.ENV, start=True),
        limit=Parameter(
            kind=Kind.THRESHOLD, backend=Backend.CALL, setter="demo:set_limit", start=1
        ),
        grain=Parameter(kind=Kind.GRAIN, backend=Backend.ARGUMENT, name="chunk_size", start=1),
    )
    given: dict[str, Value] = {"CHUNK": 1, "tables": 2, "fast": False, "limit": 3, "grain": 4}
    assert parameters.assign(known, given) == parameters.Assignment(
        consts={"CHUNK": 1},
        environment={"TABLES": "2", "fast": "false"},
        calls={"demo:set_limit": 3},
        arguments={"chunk_size": 4},
    )
    with pytest.raises(UsageError, match="did you mean 'grain'"):
        parameters.assign(known, {"grian": 1})


def test_short_names_are_safe_in_file_names(root: Path) -> None:
    known = project(
        root,
        PARALLEL_THRESHOLD=const("SMALL"),
        CHUNK=const().model_copy(update={"short": "chunk"}),
    )
    named: dict[str, Value] = {"CHUNK": "CACHE / 8", "PARALLEL_THRESHOLD": 8000}
    assert parameters.short_name(known, named) == "pt8000-chunkCACHE_8"
    assert parameters.short_name(known, {}) == "start"


START = Build(
    key="start",
    root=Path("/b"),
    module="demo",
    module_file=Path("/b/demo.so"),
    file_sha256="f",
    text_sha256="text",
    profile=Profile.RELEASE,
    params={},
    proofs=(),
    opt_level="3",
    rustc=(),
    build_s=1.0,
    cached=False,
    data_sha256="data",
    initialisers={"A": "10", "B": "20", "E": "A / 2"},
)


def built(params: dict[str, Value], *, text: str = "text", data: str = "data") -> Build:
    return replace(START, params=params, text_sha256=text, data_sha256=data)


def proved(
    build: Build, getter: dict[str, Value] | None = None, *known: Build, **params: Value
) -> list[Proof]:
    loaded = LoadedModule(
        module="demo",
        path=Path("/b/demo.so"),
        sha256="f",
        parameters=getter,
        python="3.11",
        executable=Path("/python"),
        pid=1,
    )
    wanted = params or build.params
    return [item.proof for item in prove(build, loaded, START, wanted, known=known)]


def test_the_getter_comes_first() -> None:
    assert proved(built({"A": 5}, text="other"), {"A": 5}) == [Proof.GETTER]
    assert proved(built({"A": 5}, text="other"), {"B": 20}) == [Proof.TEXT]


def test_a_getter_that_disagrees_is_an_error() -> None:
    with pytest.raises(SubjectMismatchError, match="set to 5, but the module has 10"):
        proved(built({"A": 5}, text="other"), {"A": 10})
    with pytest.raises(SubjectMismatchError):
        proved(built({"A": True}, text="other"), {"A": 1})


def test_equal_code_and_data_for_another_value_is_dead() -> None:
    assert proved(built({"A": 5})) == [Proof.DEAD]


def test_a_value_that_is_in_the_data_alone_is_not_called_dead() -> None:
    assert proved(built({"A": 5}, data="other")) == [Proof.UNPROVED]
    assert proved(built({"A": 5}, data="other"), {"A": 5}) == [Proof.GETTER]


def test_a_value_that_might_be_the_same_is_not_called_dead() -> None:
    assert proved(built({"E": 5})) == [Proof.UNPROVED]
    assert proved(built({"A": "B / 2"})) == [Proof.UNPROVED]


def test_of_several_edits_the_code_proves_none_alone() -> None:
    both = built({"A": 5, "B": 6}, text="other")
    assert proved(both) == [Proof.UNPROVED, Proof.UNPROVED]
    alone = (built({"A": 5}, text="third"), built({"B": 6}))
    assert proved(both, None, *alone) == [Proof.TEXT, Proof.DEAD]
    other_values = (built({"A": 4}, text="third"), built({"B": 7}))
    assert proved(both, None, *other_values) == [Proof.UNPROVED, Proof.UNPROVED]


def test_what_was_not_edited_is_the_users_own() -> None:
    assert proved(START, None, A=10) == [Proof.DEFAULT]
    assert proved(START, {"A": 10}, A=10) == [Proof.GETTER]


def test_what_is_handed_over_is_passed_or_confirmed() -> None:
    assert proved(START, None, tables=4) == [Proof.PASSED]
    assert proved(START, {"tables": 4}, tables=4) == [Proof.GETTER]


def test_the_engine_finds_the_sites_that_this_module_relies_on() -> None:
    site = _engine.list_constants("mod m { const X: u8 = 1; }")[0]
    assert (site.path, site.type, site.value, site.kind) == ("m::X", "u8", "1", "const")

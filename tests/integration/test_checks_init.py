"""`perfkit init` on projects of several shapes."""

from __future__ import annotations

import compileall
import os
from pathlib import Path

import pytest

from perfkit.checks.discover import Discovery
from perfkit.checks.discover import discover as discover_in
from perfkit.checks.init import initialise as initialise_in
from perfkit.config import Kind, Project, load_project
from perfkit.errors import ConfigError, UsageError

pytestmark = pytest.mark.beside

LIB = """
use pyo3::prelude::*;
pub const PARALLEL_THRESHOLD: usize = 30_000;
pub const CHUNK: usize = L1 / 8;
const L1: usize = 32 * 1024;
pub const NAME: &str = "const UNROLL: usize = 4;";

/// Adds.
#[pyfunction]
#[pyo3(name = "total", signature = (values, *, scale=1.0))]
pub fn sum_impl(values: Vec<f64>, scale: f64) -> f64 {
    values.iter().sum::<f64>() * scale
}

#[pyfunction]
fn other(py: Python<'_>) {}
"""

CARGO = """
[package]
name = "my-ext"
version = "0.1.0"
edition = "2021"
[lib]
name = "my_ext"
crate-type = ["cdylib"]
[dependencies]
pyo3 = "0.30"
"""


OUTSIDE = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_rs", ".rs").replace("_toml", ".toml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def initialise(folder: Path, *, force: bool = False, **environ: str) -> list[Path]:
    return initialise_in(folder, environ={**OUTSIDE, **environ}, force=force)


def discover(folder: Path) -> Discovery:
    return discover_in(folder, OUTSIDE)


def loaded(folder: Path) -> Project:
    return load_project(start=folder, environ={})


def test_a_plain_project_gets_a_config_that_loads(tmp_path: Path) -> None:
    write(
        tmp_path,
        Cargo_toml=CARGO,
        src__lib_rs=LIB,
        pyproject_toml='[tool.maturin]\nmodule-name = "pkg._native"\nfeatures = ["fast"]\n',
    )
    written = initialise(tmp_path)
    assert [path.name for path in written] == ["perfkit.toml", "workloads.py"]
    config = loaded(tmp_path).config
    assert config.subject.module == "pkg._native"
    assert config.subject.features == ("fast",)
    assert config.workloads["main"].call == "pkg._native:total"
    assert config.parameters["PARALLEL_THRESHOLD"].kind is Kind.THRESHOLD
    assert config.parameters["CHUNK"].kind is Kind.GRAIN
    # A name inside a string literal is no constant, and L1 has no tuning constant's name.
    assert set(config.parameters) == {"PARALLEL_THRESHOLD", "CHUNK"}
    text = written[0].read_text(encoding="utf-8")
    assert "L1 = 32 * 1024, src/lib.rs:5" in text
    assert "no criterion bench was found" in text
    assert compileall.compile_file(written[1], quiet=1)


def test_without_module_name_maturins_own_rules_hold(tmp_path: Path) -> None:
    write(tmp_path, Cargo_toml=CARGO, src__lib_rs=LIB)
    assert discover(tmp_path).module == "my_ext"
    (tmp_path / "python" / "my_ext").mkdir(parents=True)
    (tmp_path / "python" / "my_ext" / "__init__.py").touch()
    write(tmp_path, pyproject_toml='[tool.maturin]\npython-source = "python"\n')
    assert discover(tmp_path).module == "my_ext.my_ext"


BY_PATH = 'fast-core = { path = "../core" }\n'
BY_WORKSPACE = "fast-core = { workspace = true }\n"
ON_A_TARGET = "[target.'cfg(unix)'.dependencies]\n" + BY_PATH


@pytest.fixture(params=[BY_PATH, BY_WORKSPACE, "fast-core.workspace = true\n", ON_A_TARGET])
def workspace(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return write(
        tmp_path,
        Cargo_toml=(
            '[workspace]\nmembers = ["crates/*", "bench"]\n'
            '[workspace.dependencies]\nfast-core = { path = "crates/core" }\n'
        ),
        crates__bind__Cargo_toml=CARGO + request.param,
        crates__bind__src__lib_rs="#[pyfunction]\nfn go(x: f64) -> f64 { x }\n",
        crates__core__Cargo_toml='[package]\nname = "fast-core"\nversion = "0.1.0"\n',
        crates__core__src__lib_rs="pub const TILE: u32 = 64;\n",
        crates__tool__Cargo_toml='[package]\nname = "tool"\nversion = "0.1.0"\n',
        crates__tool__src__main_rs="const BATCH: usize = 3;\nfn main() {}\n",
        bench__Cargo_toml=(
            '[package]\nname = "bench"\nversion = "0.1.0"\n'
            '[dependencies]\nfast-core = { path = "../crates/core" }\n'
            '[dev-dependencies]\ncriterion = "0.8"\n'
            '[[bench]]\nname = "speed"\nharness = false\n[[bench]]\nname = "libtest"\n'
        ),
        bench__benches__libtest_rs="",
        bench__benches__speed_rs='c.benchmark_group("go"); BenchmarkId::new("plain", n);\n',
        pyproject_toml='[tool.maturin]\nmanifest-path = "crates/bind/Cargo.toml"\nstrip = true\n',
    )


def test_a_workspace_is_walked_to_the_crates_that_the_extension_is_made_of(
    workspace: Path,
) -> None:
    initialise(workspace)
    config = loaded(workspace).config
    assert config.subject.manifest == Path("crates/bind/Cargo.toml")
    assert config.parameters["TILE"].file == Path("crates/core/src/lib.rs")
    assert "BATCH" not in config.parameters
    text = (workspace / "perfkit.toml").read_text(encoding="utf-8")
    assert "speed in bench: go, plain" in text
    assert "libtest" not in text
    assert "strips the wheel" in text


def test_the_example_lines_of_a_bench_can_be_switched_on(workspace: Path) -> None:
    initialise(workspace)
    path = workspace / "perfkit.toml"
    lines = path.read_text(encoding="utf-8").splitlines()
    start = lines.index("# [workloads.main.bench]")
    lines[start : start + 5] = [line[2:] for line in lines[start : start + 5]]
    path.write_text("\n".join(lines), encoding="utf-8")
    bench = loaded(workspace).config.workloads["main"].bench
    assert bench is not None
    assert bench.manifest == Path("bench/Cargo.toml")
    assert (bench.target, bench.id) == ("speed", "go/{size}")


def test_a_member_of_a_workspace_finds_the_benches_beside_it(workspace: Path) -> None:
    found = discover(workspace / "crates" / "bind")
    assert found.subject.name == "my-ext"
    assert [bench.target for bench in found.benches] == ["speed"]


def test_existing_files_are_kept_without_force(tmp_path: Path) -> None:
    write(tmp_path, Cargo_toml=CARGO, src__lib_rs=LIB, perfkit_toml="mine\n")
    with pytest.raises(UsageError, match=r"perfkit\.toml exists already") as caught:
        initialise(tmp_path)
    assert "--force" in caught.value.remedy
    assert (tmp_path / "perfkit.toml").read_text() == "mine\n"
    assert not (tmp_path / "workloads.py").exists()
    initialise(tmp_path, environ={}, force=True)
    assert loaded(tmp_path).config.subject.module == "my_ext"


def test_a_folder_without_extension_is_no_maturin_project(tmp_path: Path) -> None:
    manifest = '[package]\nname = "cli"\nversion = "0.1.0"\n'
    write(tmp_path, Cargo_toml=manifest, src__main_rs="fn main() {}\n")
    with pytest.raises(ConfigError, match="no crate here makes a Python extension"):
        initialise(tmp_path)


def test_two_extensions_are_not_chosen_between(tmp_path: Path) -> None:
    write(
        tmp_path,
        Cargo_toml='[workspace]\nmembers = ["a", "b"]\n',
        a__Cargo_toml=CARGO.replace("my-ext", "a"),
        a__src__lib_rs="",
        b__src__lib_rs="",
        b__Cargo_toml=CARGO.replace("my-ext", "b"),
    )
    with pytest.raises(ConfigError, match="several crates make an extension: a, b"):
        discover(tmp_path)


def test_a_broken_manifest_is_named(tmp_path: Path) -> None:
    write(tmp_path, Cargo_toml="[package\n")
    with pytest.raises(ConfigError, match="cargo cannot read this manifest") as caught:
        discover(tmp_path)
    assert caught.value.where == str(tmp_path / "Cargo.toml")
    assert "unclosed table" in caught.value.details


def test_a_manifest_path_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    write(
        tmp_path,
        Cargo_toml=CARGO,
        src__lib_rs=LIB,
        pyproject_toml='[tool.maturin]\nmanifest-path = "gone/Cargo.toml"\n',
    )
    with pytest.raises(ConfigError, match="which is not a crate"):
        discover(tmp_path)


def test_what_was_not_found_is_said(tmp_path: Path) -> None:
    write(tmp_path, Cargo_toml=CARGO, src__lib_rs="// nothing\n")
    initialise(tmp_path)
    text = (tmp_path / "perfkit.toml").read_text(encoding="utf-8")
    assert "no #[pyfunction] was found" in text
    assert "no integer constant was found" in text
    assert "no virtual environment was found" in text
    assert loaded(tmp_path).config.workloads["main"].call == "my_ext:TODO"


def test_a_rust_file_that_does_not_parse_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, Cargo_toml=CARGO, src__lib_rs=LIB, src__template_rs="{{ not rust }}")
    assert {c.name for c in discover(tmp_path).constants} == {"PARALLEL_THRESHOLD", "CHUNK", "L1"}


def test_a_name_that_is_there_twice_is_listed_but_no_parameter(tmp_path: Path) -> None:
    write(tmp_path, Cargo_toml=CARGO, src__lib_rs=LIB, src__b_rs="pub const CHUNK: usize = 1;\n")
    initialise(tmp_path)
    assert "CHUNK" not in loaded(tmp_path).config.parameters
    text = (tmp_path / "perfkit.toml").read_text(encoding="utf-8")
    assert text.count("its name is there more than once") == 2


def test_the_projects_own_interpreter_is_used(tmp_path: Path) -> None:
    write(tmp_path, Cargo_toml=CARGO, src__lib_rs=LIB)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch(mode=0o755)
    initialise(tmp_path, VIRTUAL_ENV="/elsewhere")
    assert loaded(tmp_path).config.subject.python == Path(".venv/bin/python")

"""The closed configuration: what it accepts, and how it says what is wrong, where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from perfkit import config
from perfkit.errors import ConfigError, ExitCode, UsageError

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
schema_version = 1

[subject]
module = "ext"
manifest = "Cargo.toml"

[workloads.sum]
call = "ext:sum"
setup = "workloads.py:arrays"
reference = "workloads.py:reference"
sizes = ["1k", 10_000]
targets = { 10k = 1.5 }

[parameters.LIMIT]
kind = "threshold"
"""


def load(folder: Path, text: str = GOOD, **options: object) -> config.Project:
    (folder / "perfkit.toml").write_text(text, encoding="utf-8")
    return config.load_project(start=folder, environ={}, **options)  # type: ignore[arg-type]


def failure(folder: Path, old: str, new: str) -> ConfigError:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        load(folder, GOOD.replace(old, new))
    assert caught.value.exit_code is ExitCode.USAGE
    return caught.value


def test_sizes_and_targets_are_read_as_people_write_them(tmp_path: Path) -> None:
    workload = load(tmp_path).config.workloads["sum"]
    assert workload.sizes == (1_000, 10_000)
    assert workload.targets == {10_000: 1.5}
    assert workload.first_size == 1_000


def test_every_value_says_where_it_comes_from(tmp_path: Path) -> None:
    project = load(tmp_path, overrides={"measure.width": 0.5})
    origins = {one.key: one.origin for one in config.resolved_values(project)}
    assert origins["subject.module"] == f"{tmp_path / 'perfkit.toml'}:4"
    assert origins["workloads.sum.sizes"] == f"{tmp_path / 'perfkit.toml'}:11"
    assert origins["workloads.sum.targets.10000"] == f"{tmp_path / 'perfkit.toml'}:12"
    assert origins["measure.width"] == "command line"
    assert origins["measure.min_blocks"] == "default"
    assert project.config.measure.width == 0.5


def test_a_wrong_key_gets_its_line_and_a_suggestion(tmp_path: Path) -> None:
    error = failure(tmp_path, "reference =", "refernce =")
    assert error.where == f"{tmp_path / 'perfkit.toml'}:10"
    assert "did you mean 'reference'?" in str(error)


def test_a_wrong_table_gets_its_line_and_a_suggestion(tmp_path: Path) -> None:
    error = failure(tmp_path, "[parameters.LIMIT]", "[paramters.LIMIT]")
    assert error.where.endswith(":14")
    assert "did you mean 'parameters'?" in str(error)


def test_a_missing_key_is_named_with_the_line_of_its_table(tmp_path: Path) -> None:
    error = failure(tmp_path, 'setup = "workloads.py:arrays"\n', "")
    assert error.where.endswith(":7")
    assert "`setup` is missing" in str(error)


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ('"1k", 10_000', '"1k", "tenk"', 11, "is not a valid size"),
        ('"1k", 10_000', "10_000, 10_000", 7, "twice"),
        ("{ 10k = 1.5 }", "{ 20k = 1.5 }", 7, "not among sizes"),
        ("{ 10k = 1.5 }", "{ 10k = -1.0 }", 7, "not above zero"),
        ('"ext:sum"', '"ext.sum"', 8, "is neither `module:function`"),
        ('"threshold"', '"treshold"', 15, "threshold"),
        ('reference = "workloads.py:reference"\n', "", 7, "no `reference`"),
        ('kind = "threshold"', 'kind = "threshold"\nbackend = "env"', 14, "needs `start`"),
        ("schema_version = 1", "schema_version = 2", 1, "1"),
        ('manifest = "Cargo.toml"\n', "", 3, "either `manifest`"),
        ('manifest = "Cargo.toml"', 'manifest = "Cargo.toml"\nwheel = "e.whl"', 3, "either"),
    ],
)
def test_wrong_values_are_named_with_file_and_line(
    tmp_path: Path, old: str, new: str, line: int, says: str
) -> None:
    error = failure(tmp_path, old, new)
    assert error.where == f"{tmp_path / 'perfkit.toml'}:{line}"
    assert says in error.message


def test_all_faults_are_shown_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("module =", "modul =").replace('"threshold"', '"x"')
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert "did you mean 'module'?" in str(caught.value)
    assert "parameters.LIMIT.kind" in str(caught.value)


def test_grids_may_only_name_parameters(tmp_path: Path) -> None:
    error = failure(
        tmp_path, "[parameters.LIMIT]", "[tune.base_grid]\nLIMT = [1]\n\n[parameters.LIMIT]"
    )
    assert "did you mean 'LIMIT'?" in str(error)


def test_broken_toml_names_its_line(tmp_path: Path) -> None:
    error = failure(tmp_path, 'module = "ext"', "module = = 1")
    assert error.where == f"{tmp_path / 'perfkit.toml'}:4"


def test_what_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "perfkit.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        config.load_project(start=tmp_path, environ={})


def test_no_config_names_init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "embedded_default", lambda: None)
    (tmp_path / ".git").mkdir()
    with pytest.raises(ConfigError) as caught:
        config.load_project(start=tmp_path, environ={})
    assert caught.value.exit_code is ExitCode.USAGE
    assert "perfkit init" in caught.value.remedy


def test_a_clone_has_its_own_kernel_as_default(repository: Path, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert config.find_config(tmp_path) is None
    assert config.embedded_default() == repository / "perfkit.toml"


def test_a_named_config_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such config"):
        config.load_project(start=tmp_path, environ={}, path=tmp_path / "other.toml")


def test_pyproject_serves_too_and_lines_are_its_own(tmp_path: Path) -> None:
    text = "[project]\nname = 'x'\n\n[tool.perfkit.subject]\nmodule = 'ext'\nmanifst = 'C'\n"
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        config.load_project(start=tmp_path, environ={})
    assert f"{tmp_path / 'pyproject.toml'}:6: subject.manifst" in str(caught.value)


def test_the_search_goes_upward_to_the_git_root_and_no_further(tmp_path: Path) -> None:
    (tmp_path / "perfkit.toml").write_text(GOOD, encoding="utf-8")
    inner = tmp_path / "repo" / "src"
    inner.mkdir(parents=True)
    assert config.find_config(inner) == tmp_path / "perfkit.toml"
    (tmp_path / "repo" / ".git").mkdir()
    assert config.find_config(inner) is None


def test_an_unknown_workload_is_a_usage_error_with_a_suggestion(tmp_path: Path) -> None:
    project = load(tmp_path)
    assert project.workload(None)[0] == "sum"
    with pytest.raises(UsageError, match="did you mean 'sum'"):
        project.workload("sun")


def test_every_key_is_described() -> None:
    keys = config.describe_keys()
    names = [key.name for key in keys]
    assert len(set(names)) == len(names)
    assert {"subject.module", "workloads.NAME.bench.id", "layers[].frame"} <= set(names)
    assert [key.name for key in keys if not key.description or key.type == "value"] == []


def test_the_bundled_config_is_good(repository: Path) -> None:
    project = config.load_project(start=repository, environ={})
    assert project.root == repository
    assert set(project.config.tune.base_grid) <= set(project.config.parameters)


def test_a_parameter_may_belong_to_some_workloads_only(tmp_path: Path) -> None:
    text = GOOD + 'workloads = ["sum"]\n\n[parameters.OTHER]\nkind = "grain"\n'
    parameters = load(tmp_path, text).config
    assert list(parameters.parameters_of("sum")) == ["LIMIT", "OTHER"]
    assert list(parameters.parameters_of("product")) == ["OTHER"]
    error = failure(tmp_path, 'kind = "threshold"', 'kind = "threshold"\nworkloads = ["sun"]')
    assert "did you mean 'sum'?" in str(error)


def test_a_wheel_takes_the_place_of_the_sources(tmp_path: Path) -> None:
    text = GOOD.replace('manifest = "Cargo.toml"', 'wheel = "dist/ext.whl"')
    text = text.partition("[parameters.LIMIT]")[0]
    project = load(tmp_path, text)
    assert project.config.subject.wheel is not None
    with pytest.raises(ConfigError, match="the subject is a finished wheel"):
        _ = project.manifest
    error = failure(tmp_path, 'manifest = "Cargo.toml"', 'wheel = "dist/ext.whl"')
    assert "LIMIT cannot be a constant" in str(error)

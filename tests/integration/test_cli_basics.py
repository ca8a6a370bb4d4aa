"""The command line as a user meets it: help, configs, locks and exit codes, in real processes."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from perfkit import process, store
from perfkit.cli.context import working
from perfkit.errors import ExitCode, StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = pytest.mark.beside

HEAVY = ("pandas", "numpy", "scipy", "matplotlib", "perfkit._engine")
COMMANDS = (
    "doctor",
    "init",
    "measure",
    "profile",
    "diagnose",
    "tune",
    "report",
    "compare",
    "history",
    "config show",
    "cache clean",
)


def perfkit(
    *words: str | Path, cwd: Path, environ: Mapping[str, str] | None = None
) -> process.Completed:
    """Run perfkit in a folder; any exit code is fine."""
    argv = [sys.executable, "-m", "perfkit", *words]
    env = {**os.environ, **(environ or {})}
    return process.run(argv, env=env, cwd=cwd, ok_codes=None, timeout_s=300)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_loads_nothing_heavy(command: str, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['perfkit', *{command.split()!r}, '--help']\n"
        "from perfkit.cli.app import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as leaving:\n"
        "    assert not leaving.code\n"
        f"print('loaded:', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = process.run([sys.executable, "-c", code], env=dict(os.environ), cwd=tmp_path)
    assert "Usage: perfkit" in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"import sys, perfkit; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert process.run([sys.executable, "-c", code], env=dict(os.environ)).stdout.strip() == "[]"


def test_a_broken_config_ends_with_2_and_its_line(tmp_path: Path) -> None:
    (tmp_path / "perfkit.toml").write_text("[subject]\nmodul = 'x'\n", encoding="utf-8")
    done = perfkit("measure", cwd=tmp_path)
    assert done.returncode == ExitCode.USAGE
    assert f"{tmp_path / 'perfkit.toml'}:2" in done.stderr
    assert "did you mean 'module'?" in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "profiles").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("measure", "--workload", "call_pric_plain"), "did you mean 'call_price_plain'?"),
        (("measure", "--sizes", "ten"), "is not a valid size"),
        (("measure", "--sizes", "1k,1000"), "twice"),
        (("tune", "--time-limit", "soon"), "is not a valid duration"),
        (("profile", "--rate", "fast"), "is not a valid sampling rate"),
        (("profile", "--profiler", "prf"), "perf"),
        (("measure", "--against", "HEAD", "--baseline", "x"), "--baseline"),
        (("measure", "--baseline", "x", "--against-workload", "y"), "--against-workload"),
        (("measure", "--output", "report.pdf"), ".json"),
        (("measure", "--output", "nowhere/report.json"), "folder"),
        (("report", "no-such-run"), "no-such-run"),
        (("mesure",), "measure"),
    ],
)
def test_wrong_usage_is_named_before_anything_is_built(
    words: tuple[str, ...], says: str, repository: Path, tmp_path: Path
) -> None:
    done = perfkit(*words, cwd=repository, environ={"PERFKIT_CACHE_DIR": str(tmp_path)})
    expected = ExitCode.ERROR if words[0] == "report" else ExitCode.USAGE
    assert (done.returncode, done.stdout) == (expected, "")
    assert says in done.stderr
    assert not list(tmp_path.glob("builds*"))


def test_a_second_perfkit_in_the_project_is_refused(repository: Path, tmp_path: Path) -> None:
    with store.project_lock(tmp_path, repository, "tune"):
        done = perfkit("measure", cwd=repository, environ={"PERFKIT_CACHE_DIR": str(tmp_path)})
    assert done.returncode == ExitCode.ERROR
    assert "perfkit tune" in done.stderr
    assert "To do: wait" in done.stderr


def test_a_dry_run_leaves_no_run(workspace_subject: Path, tmp_path: Path) -> None:
    profiles = workspace_subject / "profiles"
    before = store.list_runs(profiles)
    done = perfkit(
        "tune",
        "--dry-run",
        "--format",
        "json",
        cwd=workspace_subject,
        environ={"PERFKIT_CACHE_DIR": str(tmp_path)},
    )
    assert done.returncode == ExitCode.GOOD, done.stderr
    assert json.loads(done.stdout)["candidates"]
    assert store.list_runs(profiles) == before
    assert not list(tmp_path.iterdir())


def test_another_commands_run_is_not_resumed_and_stays_as_it_was(
    editable_subject: Path, tmp_path: Path
) -> None:
    """Before anything is built, and before a word of it is written over."""
    profiles = editable_subject / "profiles"
    run = store.create_run(profiles, "measure", {"command": "measure"})
    before = {path: path.read_bytes() for path in run.directory.rglob("*") if path.is_file()}
    environ = {"PERFKIT_CACHE_DIR": str(tmp_path)}
    done = perfkit("tune", "--resume", run.id, cwd=editable_subject, environ=environ)
    assert (done.returncode, done.stdout) == (ExitCode.ERROR, "")
    assert "holds no journal of `perfkit tune`" in done.stderr
    after = {path: path.read_bytes() for path in run.directory.rglob("*") if path.is_file()}
    assert after == before
    assert store.list_runs(profiles) == [run]
    assert not list(tmp_path.glob("builds*"))


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ZeroDivisionError("a fault"), 1, "internal error: ZeroDivisionError('a fault')"),
        (SystemExit(143), 143, "ended from outside"),
        (StoreError("the disk is full"), 1, "the disk is full"),
    ],
)
def test_a_run_is_closed_whatever_ends_it(
    error: BaseException,
    code: int,
    says: str,
    editable_subject: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(editable_subject)
    monkeypatch.setenv("PERFKIT_CACHE_DIR", str(tmp_path))
    with pytest.raises(type(error)), working("measure", config=None) as context:
        raise error
    document = store.read_json(context.run.directory / store.RUN_FILE)
    assert (document["exit_code"], document["error"]) == (code, says)
    assert document["ended"]


def test_a_run_that_is_not_resumed_keeps_its_end(
    editable_subject: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(editable_subject)
    monkeypatch.setenv("PERFKIT_CACHE_DIR", str(tmp_path))
    ended = {"command": "tune", "exit_code": 3, "error": None}
    run = store.create_run(editable_subject / "profiles", "tune", ended)
    with pytest.raises(UsageError), working("tune", config=None, resume=lambda _profiles: run):
        raise UsageError("cannot be resumed")  # noqa: EM101
    assert store.read_json(run.directory / store.RUN_FILE)["exit_code"] == 3


def test_config_show_as_json_names_origins(repository: Path) -> None:
    done = perfkit("config", "show", "--format", "json", cwd=repository)
    document = json.loads(done.stdout)
    values = {item["key"]: item for item in document["values"]}
    assert values["subject.module"]["origin"].endswith("perfkit.toml:6")
    assert values["measure.width"]["origin"] == "default"


def test_the_reference_page_is_what_the_program_says(repository: Path) -> None:
    page = repository / "docs" / "reference.md"
    env = {**os.environ, "PYTHONPATH": str(repository / "docs")}
    code = "import make_reference; print(make_reference.reference(), end='')"
    made = process.run([sys.executable, "-c", code], env=env).stdout
    assert page.read_text(encoding="utf-8") == made, "run `make docs`"

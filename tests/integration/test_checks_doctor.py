"""Doctor with the real tools, and with tools that are missing or refuse."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perfkit import _engine, process
from perfkit.checks.audit import subject_line
from perfkit.checks.doctor import all_required_ok, doctor, machine
from perfkit.checks.permissions import probe_perf, probe_py_spy, probe_sigprof
from perfkit.checks.system import read_facts
from perfkit.config import load_project
from perfkit.subject.builder import Builder

if TYPE_CHECKING:
    from perfkit.records import Check

pytestmark = pytest.mark.beside

DATA = Path(__file__).parents[1] / "data" / "diagnose"


def by_id(checks: tuple[Check, ...]) -> dict[str, Check]:
    return {check.id: check for check in checks}


def fake_program(path: Path, stderr: str, code: int) -> Path:
    """A program that only refuses, in a real tool's words."""
    words = path.with_suffix(".txt")
    words.write_text(stderr, encoding="utf-8")
    path.write_text(f"#!/bin/sh\n/bin/cat {words} >&2\nexit {code}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_here_everything_required_is_there() -> None:
    checks = doctor(None, os.environ)
    failing = [check for check in checks if check.required and not check.ok]
    assert failing == []
    assert all_required_ok(checks)
    assert len({check.id for check in checks}) == len(checks)
    for check in checks:
        assert check.found
        assert check.ok or check.remedy


def test_a_perf_that_is_not_there_leaves_the_workers_own_sampler(tmp_path: Path) -> None:
    checks = by_id(doctor(None, {"PATH": str(tmp_path)}))
    assert checks["sigprof"].ok
    assert "without any permission" in checks["sigprof"].found
    assert "sigprof" in checks["profiler"].found


def test_a_sampler_that_a_worker_cannot_load_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_engine, "sampler_library", lambda: b"not a library")
    refused = probe_sigprof(dict(os.environ))
    assert refused is not None
    assert "cannot load" in refused.message
    assert refused.remedy


def test_another_system_is_told_plainly_what_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    checks = by_id(doctor(None, os.environ))
    assert not checks["perf"].ok
    assert "Darwin" in checks["perf"].found
    assert "py-spy" in checks["perf"].found
    assert "Linux" in checks["perf"].remedy
    assert not any(name.startswith("perf.") for name in checks)  # no probe of what is not there
    assert checks["profiler"].ok


def test_an_empty_path_misses_rust_and_says_how_to_install_it(tmp_path: Path) -> None:
    checks = by_id(doctor(None, {"PATH": str(tmp_path)}))
    assert not checks["rustc"].ok
    assert checks["rustc"].required
    assert "rustup" in checks["rustc"].remedy
    assert checks["perf"].found == "not installed"
    assert checks["profiler"].ok  # py-spy lies beside perfkit's own interpreter
    assert not all_required_ok(tuple(checks.values()))


def test_a_tool_that_does_not_start_is_not_there(tmp_path: Path) -> None:
    fake_program(tmp_path / "valgrind", "cannot open shared object\n", 127)
    check = by_id(doctor(None, {"PATH": str(tmp_path)}))["valgrind"]
    assert not check.ok
    assert "cannot open shared object" in check.found


@pytest.mark.parametrize("recording", ["mlock", "seccomp"])
def test_a_perf_that_refuses_is_installed_but_not_permitted(tmp_path: Path, recording: str) -> None:
    text = (DATA / "perf" / f"{recording}.stderr").read_text(encoding="utf-8")
    program = fake_program(tmp_path / "perf", text, 255)
    refused = probe_perf(program, {}, read_facts())
    assert refused is not None
    assert refused.id == recording
    assert refused.said


def test_a_perf_that_leaves_no_file_did_not_work(tmp_path: Path) -> None:
    program = fake_program(tmp_path / "perf", "", 0)
    refused = probe_perf(program, {}, read_facts())
    assert refused is not None
    assert refused.id == ""


def test_a_py_spy_that_refuses_is_explained(tmp_path: Path) -> None:
    text = (DATA / "py-spy" / "user.stderr").read_text(encoding="utf-8")
    program = fake_program(tmp_path / "py-spy", text, 1)
    refused = probe_py_spy(program, dict(os.environ), read_facts())
    assert refused is not None
    assert "Permission Denied" in refused.said


def test_a_busy_machine_is_named() -> None:
    checks = {check.id: check for check in machine({}, read_facts(), load=64.0)}
    assert not checks["load"].ok
    assert "64.00" in checks["load"].found


def test_thread_variables_of_the_environment_are_shown() -> None:
    checks = {c.id: c for c in machine({"OMP_NUM_THREADS": "7"}, read_facts(), load=0.0)}
    assert "OMP_NUM_THREADS=7" in checks["thread-variables"].found
    assert checks["load"].ok


def test_a_cargo_subcommand_is_asked_for_its_version_by_its_name(tmp_path: Path) -> None:
    program = tmp_path / "cargo-flamegraph"
    program.write_text('#!/bin/sh\n[ "$1" = flamegraph ] && echo "flamegraph 0.6.15"\n')
    program.chmod(0o755)
    check = by_id(doctor(None, {"PATH": str(tmp_path)}))["cargo-flamegraph"]
    assert check.ok
    assert check.found == "flamegraph 0.6.15"


def test_the_last_build_is_audited_and_none_is_made(
    workspace_subject: Path, shared_cache: Path, tmp_path: Path, environ: dict[str, str]
) -> None:
    def asked(cache: Path) -> dict[str, str]:
        words = [sys.executable, "-m", "perfkit", "doctor", "--format", "json"]
        variables = {**environ, "PERFKIT_CACHE_DIR": str(cache)}
        done = process.run(words, env=variables, cwd=workspace_subject, timeout_s=120)
        return {check["id"]: check["found"] for check in json.loads(done.stdout)["checks"]}

    found = asked(tmp_path)
    assert "not built anything" in found["build.last"]
    assert "build.lto" not in found
    assert list(tmp_path.iterdir()) == []
    project = load_project(start=workspace_subject, environ=environ)
    build = Builder(project, cache=shared_cache).build()
    found = asked(shared_cache)
    line = subject_line(build.rustc, build.module)
    assert line is not None
    assert found["build.optimised"] == f"opt-level {line.opt_level}"
    assert found["build.lto"] == f"LTO {line.lto}"
    assert found["build.codegen_units"].startswith(f"{line.codegen_units} codegen unit")
    # What the file says, asked of another reader of ELF files than perfkit's own.
    sections = process.run(
        [process.require_program("readelf", environ), "-SW", build.module_file], env=environ
    ).stdout
    assert ("stripped" in found["build.symbols"]) == (".symtab" not in sections)
    assert ("are there" in found["build.debug_info"]) == (".debug_line" in sections)
    assert "rayon" in found["build.threads"]
    assert found["build.quota"].startswith("CPU quota")

"""Each cause of a profiler's refusal, from what the tools really write."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfkit.checks.permissions import (
    Refusal,
    classify_perf,
    classify_py_spy,
    counts_instructions,
    explain,
    telling_line,
)
from perfkit.checks.system import SystemFacts, read_facts

DATA = Path(__file__).parents[1] / "data" / "diagnose"


def facts(
    *,
    paranoid: int | None = 2,
    scope: int | None = None,
    seccomp: bool = False,
    capabilities: int = 0,
) -> SystemFacts:
    return SystemFacts(
        perf_event_paranoid=paranoid,
        ptrace_scope=scope,
        seccomp=seccomp,
        capabilities=capabilities,
        container=False,
    )


def recorded(name: str) -> str:
    return (DATA / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "system", "cause"),
    [
        (recorded("perf/paranoid.stderr"), facts(paranoid=4), Refusal.PARANOID),
        (recorded("perf/paranoid.stderr"), facts(paranoid=2, seccomp=True), Refusal.SECCOMP),
        (recorded("perf/seccomp.stderr"), facts(paranoid=2), Refusal.SECCOMP),
        (recorded("perf/seccomp.stderr"), facts(paranoid=3), Refusal.PARANOID),
        (recorded("perf/mlock.stderr"), facts(), Refusal.MLOCK),
        (
            "WARNING: perf not found for kernel 5.15.90.1-microsoft\n",
            facts(),
            Refusal.WRONG_KERNEL,
        ),
        (
            "The sys_perf_event_open() syscall returned with 22 (Invalid argument) for event "
            "(cycles).\n",
            facts(),
            Refusal.NO_COUNTER,
        ),
        ("perf: Segmentation fault\n", facts(), Refusal.UNKNOWN),
        ("", facts(), Refusal.UNKNOWN),
    ],
)
def test_perf_refusals(text: str, system: SystemFacts, cause: Refusal) -> None:
    assert classify_perf(text, system) is cause


@pytest.mark.parametrize(
    ("text", "system", "cause"),
    [
        (recorded("py-spy/user.stderr"), facts(), Refusal.PTRACE_CAPABILITY),
        (recorded("py-spy/user.stderr"), facts(scope=1), Refusal.PTRACE_SCOPE),
        (recorded("py-spy/seccomp.stderr"), facts(seccomp=True), Refusal.SECCOMP),
        (
            recorded("py-spy/seccomp.stderr"),
            facts(scope=1, seccomp=True, capabilities=1 << 19),
            Refusal.SECCOMP,
        ),
        (
            "Error: Failed to find python version from target process\n",
            facts(),
            Refusal.PYTHON_UNKNOWN,
        ),
        ("", facts(), Refusal.UNKNOWN),
    ],
)
def test_py_spy_refusals(text: str, system: SystemFacts, cause: Refusal) -> None:
    assert classify_py_spy(text, system) is cause


@pytest.mark.parametrize("refusal", list(Refusal))
def test_every_refusal_has_a_meaning_and_a_remedy(refusal: Refusal) -> None:
    meaning, remedy = explain(refusal, facts(paranoid=4, scope=1))
    assert meaning
    assert remedy


def test_the_paranoid_value_is_named() -> None:
    assert "4" in explain(Refusal.PARANOID, facts(paranoid=4))[0]


def test_counters_are_there_only_when_a_number_was_counted() -> None:
    assert not counts_instructions(recorded("perf/no-counters.csv"))
    assert counts_instructions("# started\n\n5123,,instructions:u,400000,100.00,,\n")
    assert not counts_instructions("")


def test_the_first_line_that_says_something_is_shown() -> None:
    assert telling_line("Error:\n\nAccess is limited.\nmore\n") == "Access is limited."
    assert telling_line("\n\n") == ""


def test_facts_are_read_from_files(tmp_path: Path) -> None:
    (tmp_path / "proc/sys/kernel/yama").mkdir(parents=True)
    (tmp_path / "proc/self").mkdir()
    (tmp_path / "proc/sys/kernel/perf_event_paranoid").write_text("4\n")
    (tmp_path / "proc/sys/kernel/yama/ptrace_scope").write_text("1\n")
    (tmp_path / "proc/self/status").write_text("Name:\tx\nCapEff:\t0000004000000000\nSeccomp:\t2\n")
    (tmp_path / ".dockerenv").touch()
    found = read_facts(tmp_path)
    assert found.perf_event_paranoid == 4
    assert found.ptrace_scope == 1
    assert found.seccomp
    assert found.container
    assert found.sees_kernel  # by CAP_PERFMON
    assert not found.may_trace


def test_facts_that_cannot_be_read_are_unknown(tmp_path: Path) -> None:
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/perf_event_paranoid").write_text("garbage\n")
    found = read_facts(tmp_path)
    assert found.perf_event_paranoid is None
    assert found.ptrace_scope is None
    assert not found.sees_kernel

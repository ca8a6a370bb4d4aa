"""Each cause of a profiler's refusal, from what the tools really write."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfkit.checks.permissions import (
    counts_instructions,
    refusal,
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
        (recorded("perf/paranoid.stderr"), facts(paranoid=4), "paranoid"),
        (recorded("perf/paranoid.stderr"), facts(paranoid=2, seccomp=True), "seccomp"),
        (recorded("perf/seccomp.stderr"), facts(paranoid=2), "seccomp"),
        (recorded("perf/seccomp.stderr"), facts(paranoid=3), "paranoid"),
        (recorded("perf/mlock.stderr"), facts(), "mlock"),
        (
            "WARNING: perf not found for kernel 5.15.90.1-microsoft\n",
            facts(),
            "wrong_kernel",
        ),
        (
            "The sys_perf_event_open() syscall returned with 22 (Invalid argument) for event "
            "(cycles).\n",
            facts(),
            "no_event",
        ),
        ("perf: something new\n", facts(), ""),
        ("", facts(), ""),
    ],
)
def test_perf_refusals(text: str, system: SystemFacts, cause: str) -> None:
    assert refusal("perf", text, system).id == cause


@pytest.mark.parametrize(
    ("text", "system", "cause"),
    [
        (recorded("py-spy/user.stderr"), facts(), "ptrace_capability"),
        (recorded("py-spy/user.stderr"), facts(scope=1), "ptrace_scope"),
        (recorded("py-spy/seccomp.stderr"), facts(seccomp=True), "ptrace_filtered"),
        (
            recorded("py-spy/seccomp.stderr"),
            facts(scope=1, seccomp=True, capabilities=1 << 19),
            "ptrace_filtered",
        ),
        (
            "Error: Failed to find python version from target process\n",
            facts(),
            "no_python",
        ),
        ("", facts(), ""),
    ],
)
def test_py_spy_refusals(text: str, system: SystemFacts, cause: str) -> None:
    assert refusal("py-spy", text, system).id == cause


def test_a_refusal_has_a_meaning_a_remedy_and_the_setting_that_decides() -> None:
    found = refusal("perf", recorded("perf/paranoid.stderr"), facts(paranoid=4))
    assert found.meaning == "the system refuses perf events: kernel.perf_event_paranoid is 4"
    assert "sysctl kernel.perf_event_paranoid=1" in found.remedy
    assert found.said.startswith("Access to performance monitoring")
    found = refusal("py-spy", recorded("py-spy/user.stderr"), facts(scope=1))
    assert found.meaning.endswith("kernel.yama.ptrace_scope is 1")
    assert "sysctl kernel.yama.ptrace_scope=0" in found.remedy
    unknown = refusal("perf", "perf: something new\n", facts())
    assert (unknown.id, unknown.said) == ("", "perf: something new")
    assert unknown.meaning
    assert unknown.remedy


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

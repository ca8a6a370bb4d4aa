"""What is installed, what is permitted, what is missing and the one line that fixes it.

Only looks and tries: nothing is installed, no setting is changed, nothing is timed. The audit of a
build is in `audit`; the build that perfkit made last is looked at, none is made.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit import environment, process
from perfkit.checks import permissions
from perfkit.checks.built import last_build
from perfkit.checks.system import SystemFacts, read_facts
from perfkit.errors import ToolError, ToolMissingError
from perfkit.records import Check

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.config import Project

_VERSION_LIMIT_S = 30.0
_OLDEST_PYTHON = (3, 9)
"""What the worker, a file of the standard library alone, runs on."""
_QUIET_LOAD = 0.25
"""Load average per usable core above which measuring will often answer `busy`."""


def doctor(project: Project | None, environ: Mapping[str, str]) -> tuple[Check, ...]:
    """Look at everything a perfkit command may need.

    Args:
        project: the configuration, when there is one: its interpreter and manifest are looked at.
        environ: perfkit's own environment.

    Returns:
        One check per line; those with `required` must be `ok` for perfkit to do its main job.
    """
    facts = read_facts(system=platform.system())
    perf = _perf(environ, facts)
    py_spy = _py_spy(environ, facts)
    checks = [
        _python(),
        *_toolchain(environ),
        *perf,
        *py_spy,
        _any_profiler([*perf, *py_spy]),
        *_optional_tools(environ),
        *machine(environ, facts),
    ]
    if project is not None:
        checks += [*_subject(project), *last_build(project)]
    return tuple(checks)


def find_beside(name: str, environ: Mapping[str, str]) -> Path | None:
    """A program of perfkit's own environment, which need not be on PATH, else the one on PATH."""
    beside = Path(sys.executable).parent / name
    if beside.is_file() and os.access(beside, os.X_OK):
        return beside
    return process.find_program(name, environ)


def all_required_ok(checks: tuple[Check, ...]) -> bool:
    """Whether nothing that is required is missing: the exit code of `perfkit doctor`."""
    return all(check.ok for check in checks if check.required)


def _check(
    identifier: str, found: str, *, ok: bool = True, remedy: str = "", required: bool = False
) -> Check:
    return Check(id=identifier, ok=ok, required=required, found=found, remedy="" if ok else remedy)


def _python() -> Check:
    name = f"{platform.python_implementation()} {platform.python_version()}"
    return _check("python", f"{name}, {sys.executable}", required=True)


_VERSION_WORDS = {"cargo-flamegraph": ("flamegraph", "--version")}
"""How a program is asked for its version where `--version` alone is not understood: cargo's
subcommands are called with their own name first.
"""


def _version(program: Path, environ: Mapping[str, str]) -> tuple[bool, str]:
    """Whether a program starts at all, and the first line of what it says about itself."""
    words = _VERSION_WORDS.get(program.name, ("--version",))
    try:
        done = process.run([program, *words], env=dict(environ), timeout_s=_VERSION_LIMIT_S)
    except (ToolError, ToolMissingError) as error:
        detail = permissions.telling_line(error.details)
        return False, f"{program} does not start: {detail or error.message}"
    said = permissions.telling_line(done.stdout) or permissions.telling_line(done.stderr)
    return True, said


def _tool(
    identifier: str, program: Path | None, environ: Mapping[str, str], *, required: bool = False
) -> Check:
    install = process.INSTALL_LINES.get(identifier, f"install {identifier}")
    if program is None:
        return _check(identifier, "not installed", ok=False, remedy=install, required=required)
    ok, said = _version(program, environ)
    return _check(identifier, said, ok=ok, remedy=install, required=required)


def _toolchain(environ: Mapping[str, str]) -> list[Check]:
    rust = [
        _tool(name, process.find_program(name, environ), environ, required=True)
        for name in ("rustc", "cargo")
    ]
    maturin = _tool("maturin", find_beside("maturin", environ), environ, required=True)
    git = _tool("git", process.find_program("git", environ), environ)
    return [*rust, maturin, git]


def _perf(environ: Mapping[str, str], facts: SystemFacts) -> list[Check]:
    if facts.system != "Linux":
        text = f"perf is a Linux tool; this is {facts.system}: py-spy profiles here"
        return [_check("perf", text, ok=False, remedy="use a Linux machine for Rust frames")]
    program = process.find_program("perf", environ)
    installed = _tool("perf", program, environ)
    if program is None or not installed.ok:
        return [installed]
    refused = permissions.probe_perf(program, environ, facts)
    if refused is not None:
        return [installed, _refused("perf.permitted", refused)]
    permitted = _check("perf.permitted", "samples by the software clock (cpu-clock)")
    kernel = _check(
        "perf.kernel",
        "frames of the kernel are visible"
        if facts.sees_kernel
        else "frames of the kernel are hidden: page faults appear where they happen, unnamed",
        ok=facts.sees_kernel,
        remedy="sudo sysctl kernel.perf_event_paranoid=1",
    )
    counts = permissions.probe_counters(program, environ)
    counters = _check(
        "perf.counters",
        "hardware counters are there"
        if counts
        else "no hardware counters, as in most virtual machines; cpu-clock serves for sampling",
        ok=counts,
        remedy="nothing needs them; a host can hand them on to its virtual machine",
    )
    return [installed, permitted, kernel, counters]


def _py_spy(environ: Mapping[str, str], facts: SystemFacts) -> list[Check]:
    program = find_beside("py-spy", environ)
    installed = _tool("py-spy", program, environ)
    if program is None or not installed.ok:
        return [installed]
    refused = permissions.probe_py_spy(program, environ, facts)
    if refused is None:
        return [installed, _check("py-spy.permitted", "reads the stacks of another process")]
    if refused.id == "ptrace_scope" and facts.ptrace_scope == 1:
        more = "; a program launched under it can be read all the same"
        return [installed, _refused("py-spy.attach", refused, more)]
    return [installed, _refused("py-spy.permitted", refused)]


def _refused(identifier: str, why: permissions.NotPermitted, more: str = "") -> Check:
    said = f" ({why.said})" if why.said else ""
    return _check(identifier, f"{why.meaning}{said}{more}", ok=False, remedy=why.remedy)


def _any_profiler(checks: list[Check]) -> Check:
    """At least one profiler must work; the default one is perf."""
    by_id = {check.id: check for check in checks}
    working = []
    if by_id.get("perf.permitted", _MISSING).ok:
        working.append("perf")
    # Refused attaching (`py-spy.attach`) still leaves launching, which is what perfkit does.
    if by_id.get("py-spy.permitted", _MISSING).ok or "py-spy.attach" in by_id:
        working.append("py-spy")
    return _check(
        "profiler",
        f"{' and '.join(working)} can be used" if working else "no profiler can be used",
        ok=bool(working),
        remedy="follow the line of perf or of py-spy above; one of them is enough",
        required=True,
    )


_MISSING = Check(id="", ok=False, required=False, found="", remedy="")


def _optional_tools(environ: Mapping[str, str]) -> list[Check]:
    return [
        _tool("cargo-flamegraph", process.find_program("cargo-flamegraph", environ), environ),
        _tool("scalene", find_beside("scalene", environ), environ),
        _tool("valgrind", process.find_program("valgrind", environ), environ),
    ]


def machine(
    environ: Mapping[str, str], facts: SystemFacts, *, load: float | None = None
) -> list[Check]:
    """How many cores there really are, how busy they were, and what could let them drift.

    Args:
        environ: perfkit's own environment.
        facts: what the kernel permits.
        load: load average of the last minute; read from the system when None.
    """
    cores = environment.usable_cores()
    quota = environment.quota_cores()
    limited = quota is not None and quota < cores
    where = "container" if facts.container else "machine"
    text = f"{cores} usable of {os.cpu_count()} in this {where}"
    checks = [
        _check(
            "cores",
            text if quota is None else f"{text}; the control group allows {quota:g}",
            ok=not limited,
            remedy="give the container whole cores (docker: --cpus), or set subject.threads",
        )
    ]
    busy = os.getloadavg()[0] if load is None else load
    checks.append(
        _check(
            "load",
            f"{busy:.2f} over the last minute on {cores} cores",
            ok=busy <= _QUIET_LOAD * cores,
            remedy="stop what else runs; `perfkit measure` says `busy` rather than guess",
        )
    )
    governor = _governor()
    checks.append(
        _check(
            "governor",
            governor if governor is not None else "not visible, as in most virtual machines",
            ok=governor in {None, "performance"},
            remedy="sudo cpupower frequency-set -g performance",
        )
    )
    pools = {name: environ[name] for name in environment.THREAD_VARIABLES if name in environ}
    shown = ", ".join(f"{name}={value}" for name, value in pools.items())
    threads = f"set in the environment: {shown}; perfkit sets its own" if pools else "none is set"
    return [*checks, _check("thread-variables", threads)]


def _governor() -> str | None:
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return None


def _subject(project: Project) -> list[Check]:
    """The parts of the project that a build needs, before anything is built."""
    subject = project.config.subject
    key = "subject.manifest" if subject.wheel is None else "subject.wheel"
    origin = project.manifest if subject.wheel is None else project.resolve(subject.wheel)
    checks = [
        _check(
            key,
            str(origin),
            ok=origin.is_file(),
            remedy=f"{origin} does not exist: correct {key} in {project.file.name}",
            required=True,
        )
    ]
    if subject.python is not None:
        checks.append(_interpreter(project.resolve(subject.python), project))
    if subject.profile in {"dev", "debug", "test"}:
        checks.append(
            _check(
                "subject.profile",
                f"the cargo profile `{subject.profile}` is not optimised",
                ok=False,
                remedy='set subject.profile = "release" to measure what users get',
            )
        )
    return checks


def _interpreter(python: Path, project: Project) -> Check:
    identifier = "subject.python"
    remedy = f"correct subject.python in {project.file.name}"
    if not python.is_file():
        found = f"{python} does not exist"
        return _check(identifier, found, ok=False, remedy=remedy, required=True)
    ok, said = _version(python, project.environ)
    match = re.search(r"(\d+)\.(\d+)", said) if ok else None
    new_enough = match is not None and (int(match[1]), int(match[2])) >= _OLDEST_PYTHON
    return _check(
        identifier, f"{said}, {python}", ok=ok and new_enough, remedy=remedy, required=True
    )

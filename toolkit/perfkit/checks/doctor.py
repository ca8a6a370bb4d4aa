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
from perfkit.checks.audit import stated
from perfkit.checks.built import last_build
from perfkit.checks.system import SystemFacts, read_facts
from perfkit.errors import ToolError, ToolMissingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.config import Project
    from perfkit.records import Check

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
    sigprof = _sigprof(environ, facts)
    py_spy = _py_spy(environ, facts)
    name = f"{platform.python_implementation()} {platform.python_version()}"
    checks = [
        stated("python", f"{name}, {sys.executable}", required=True),
        *(_tool(tool, environ, required=True) for tool in ("rustc", "cargo", "maturin")),
        _tool("git", environ),
        *perf,
        sigprof,
        *py_spy,
        _any_profiler([*perf, sigprof, *py_spy]),
        *(_tool(tool, environ) for tool in ("cargo-flamegraph", "scalene", "valgrind")),
        *machine(environ, facts),
    ]
    if project is not None:
        checks += [*_subject(project), *last_build(project)]
    return tuple(checks)


_BESIDE = ("maturin", "py-spy", "scalene")
"""Programs that are installed with perfkit, so they need not be on PATH."""


def _find(name: str, environ: Mapping[str, str]) -> Path | None:
    beside = Path(sys.executable).parent / name
    if name in _BESIDE and os.access(beside, os.X_OK):
        return beside
    return process.find_program(name, environ)


def all_required_ok(checks: tuple[Check, ...]) -> bool:
    """Whether nothing that is required is missing: the exit code of `perfkit doctor`."""
    return all(check.ok for check in checks if check.required)


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


def _tool(name: str, environ: Mapping[str, str], *, required: bool = False) -> Check:
    program = _find(name, environ)
    ok, found = (False, "not installed") if program is None else _version(program, environ)
    install = process.INSTALL_LINES.get(name, f"install {name}")
    return stated(name, found, ok=ok, remedy=install, required=required)


def _perf(environ: Mapping[str, str], facts: SystemFacts) -> list[Check]:
    if facts.system != "Linux":
        text = f"perf is a Linux tool; this is {facts.system}: py-spy profiles here"
        return [stated("perf", text, ok=False, remedy="use a Linux machine for Rust frames")]
    program, installed = _find("perf", environ), _tool("perf", environ)
    if program is None or not installed.ok:
        return [installed]
    refused = permissions.probe_perf(program, environ, facts)
    if refused is not None:
        return [installed, _refused("perf.permitted", refused)]
    permitted = stated("perf.permitted", "can sample by the software clock (cpu-clock)")
    kernel = stated(
        "perf.kernel",
        "kernel frames are visible"
        if facts.sees_kernel
        else "kernel frames are hidden: page faults are counted where they happen, without a name",
        ok=facts.sees_kernel,
        remedy="sudo sysctl kernel.perf_event_paranoid=1",
    )
    counts = permissions.probe_counters(program, environ)
    counters = stated(
        "perf.counters",
        "hardware counters are available"
        if counts
        else "no hardware counters, as in most virtual machines; cpu-clock is used for sampling",
        ok=counts,
        remedy="perfkit does not need them; a host can pass them to its virtual machine",
    )
    return [installed, permitted, kernel, counters]


def _sigprof(environ: Mapping[str, str], facts: SystemFacts) -> Check:
    """perfkit's own sampler needs no permission, but a system that it knows."""
    if facts.system != "Linux":
        text = f"perfkit's own sampler is for Linux; this is {facts.system}"
        return stated("sigprof", text, ok=False, remedy="py-spy shows the Python side here")
    refused = permissions.probe_sigprof(environ)
    if refused is not None:
        return stated("sigprof", refused.message, ok=False, remedy=refused.remedy)
    return stated("sigprof", "a worker can sample itself, without any permission")


def _py_spy(environ: Mapping[str, str], facts: SystemFacts) -> list[Check]:
    program, installed = _find("py-spy", environ), _tool("py-spy", environ)
    if program is None or not installed.ok:
        return [installed]
    refused = permissions.probe_py_spy(program, environ, facts)
    if refused is None:
        return [installed, stated("py-spy.permitted", "can read the stacks of another process")]
    if refused.id == "ptrace_scope" and facts.ptrace_scope == 1:
        more = "; py-spy can still read a program that it starts"
        return [installed, _refused("py-spy.attach", refused, more)]
    return [installed, _refused("py-spy.permitted", refused)]


def _refused(identifier: str, why: permissions.NotPermitted, more: str = "") -> Check:
    said = f" ({why.said})" if why.said else ""
    return stated(identifier, f"{why.meaning}{said}{more}", ok=False, remedy=why.remedy)


def _any_profiler(checks: list[Check]) -> Check:
    """At least one profiler must work; the default one is perf, and sigprof where it is refused."""
    found = {check.id for check in checks if check.ok or check.id == "py-spy.attach"}
    # Refused attaching (`py-spy.attach`) still leaves launching, which is what perfkit does.
    py_spy = found & {"py-spy.permitted", "py-spy.attach"}
    possible = {"perf": "perf.permitted" in found, "sigprof": "sigprof" in found, "py-spy": py_spy}
    working = [name for name, works in possible.items() if works]
    return stated(
        "profiler",
        f"{' and '.join(working)} can be used" if working else "no profiler can be used",
        ok=bool(working),
        remedy="fix one of them as described above",
        required=True,
    )


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
    where = "container" if facts.container else "machine"
    text = f"{cores} usable of {os.cpu_count()} on this {where}"
    busy = os.getloadavg()[0] if load is None else load
    governor = environment.governor()
    pools = {name: environ[name] for name in environment.THREAD_VARIABLES if name in environ}
    shown = ", ".join(f"{name}={value}" for name, value in pools.items())
    return [
        stated(
            "cores",
            text if quota is None else f"{text}; the control group allows {quota:g}",
            ok=quota is None or quota >= cores,
            remedy="give the container whole cores (docker: --cpus), or set subject.threads",
        ),
        stated(
            "load",
            f"{busy:.2f} over the last minute on {cores} cores",
            ok=busy <= _QUIET_LOAD * cores,
            remedy="stop other programs; `perfkit measure` answers `busy` instead of guessing",
        ),
        stated(
            "governor",
            governor if governor is not None else "not visible, as in most virtual machines",
            ok=governor in {None, "performance"},
            remedy="sudo cpupower frequency-set -g performance",
        ),
        stated(
            "thread-variables",
            f"set in the environment: {shown}; perfkit sets its own" if pools else "none is set",
        ),
    ]


def _subject(project: Project) -> list[Check]:
    """The parts of the project that a build needs, before anything is built."""
    subject = project.config.subject
    key = "subject.manifest" if subject.wheel is None else "subject.wheel"
    origin = project.manifest if subject.wheel is None else project.resolve(subject.wheel)
    checks = [
        stated(
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
            stated(
                "subject.profile",
                f"the cargo profile `{subject.profile}` is not optimised",
                ok=False,
                remedy='set subject.profile = "release" to measure what users get',
            )
        )
    return checks


def _interpreter(python: Path, project: Project) -> Check:
    ok, said = (False, "")
    if python.is_file():
        ok, said = _version(python, project.environ)
    match = re.search(r"(\d+)\.(\d+)", said) if ok else None
    return stated(
        "subject.python",
        f"{said}, {python}" if python.is_file() else f"{python} does not exist",
        ok=match is not None and (int(match[1]), int(match[2])) >= _OLDEST_PYTHON,
        remedy=f"correct subject.python in {project.file.name}",
        required=True,
    )

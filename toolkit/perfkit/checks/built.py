"""The audit of a build that exists: what its file and the machine say, beside its rustc lines.

Reads only. What each fact means is in `audit.py`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from perfkit import _engine, environment, store
from perfkit.checks.audit import BinaryFacts, audit, stated
from perfkit.subject import cache as builds

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.config import Project
    from perfkit.records import Build, Check


def audit_build(build: Build, project: Project) -> tuple[Check, ...]:
    """What a build really is, with the threads its pools get from perfkit."""
    threads = environment.worker_threads(project.config.subject.threads)
    variables = environment.thread_environment(threads)
    return audit(
        build,
        binary_facts(build.module_file),
        threads={**variables, **project.config.subject.environment},
        quota_cores=environment.quota_cores(),
    )


def binary_facts(module_file: Path) -> BinaryFacts | None:
    """What an extension's file says; None for one that is not an ELF file or cannot be read."""
    try:
        info = _engine.elf_info(module_file)
    except (_engine.EngineError, OSError):
        return None
    return BinaryFacts(stripped=not info.has_symtab, debug_info=info.has_debug_line)


def last_build(project: Project) -> tuple[Check, ...]:
    """The audit of the build that perfkit made last; nothing is built for it."""
    cache = store.cache_directory(project.environ)
    found = builds.newest(builds.project_folder(project, cache) / "builds")
    if found is None:
        text = "perfkit has not built anything here yet; `perfkit measure` does"
        return (stated("build.last", text),)
    build, seconds = found
    made = datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
    text = f"{made}; the checks below describe it, not later edits"
    return (stated("build.last", text), *audit_build(build, project))

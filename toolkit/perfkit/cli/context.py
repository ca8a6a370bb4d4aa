"""What a command works with: project, lock, run directory, builder, progress on stderr.

Also how a report leaves a command: on stdout in the form asked for, or in a file.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from perfkit import environment, run_files, store
from perfkit.cli.options import Format
from perfkit.config import Project, load_project, resolved_values
from perfkit.errors import ExitCode, PerfkitError, UsageError

if TYPE_CHECKING:
    from perfkit.report.page import Report
    from perfkit.subject.builder import Builder
    from perfkit.subject.job import Progress

PLAIN_WIDTH = 100
"""Columns of a report that goes to a file or a pipe."""

QUIET_S = 10.0
"""Seconds between two lines about one step that goes on, where stderr is no terminal."""

_SUFFIXES: Mapping[str, Format] = {
    ".json": Format.JSON,
    ".md": Format.MARKDOWN,
    ".txt": Format.HUMAN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The place one command works at."""

    project: Project
    cache: Path
    run: store.Run
    builder: Builder
    progress: Progress


def open_project(config: Path | None, overrides: Mapping[str, object] | None = None) -> Project:
    """The project that applies to the current folder.

    Args:
        overrides: dotted config keys from the command line; None where an option is not given.
    """
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    return load_project(start=Path.cwd(), environ=dict(os.environ), path=config, overrides=given)


@contextlib.contextmanager
def working(
    command: str,
    *,
    config: Path | None,
    workload: str | None = None,
    overrides: Mapping[str, object] | None = None,
    resume: Callable[[Path], store.Run] | None = None,
) -> Iterator[Context]:
    """Hold the project and a run directory while a command works on them.

    Args:
        command: its name; part of the run directory's.
        config: the file that the user named, if any.
        workload: the one that the user named: an unknown one is refused before anything starts.
        overrides: see `open_project`.
        resume: finds the run to resume in the folder of all runs, or refuses it before anything is
            written; None starts a new one.

    Raises:
        typer.Exit: with code 130 after Ctrl-C; what was collected stays in the run directory.
    """
    from perfkit.subject.builder import Builder

    project = open_project(config, overrides)
    project.workload(workload)
    cache = store.cache_directory(project.environ)
    with store.project_lock(cache, project.root, command), showing_progress() as progress:
        run = (
            resume(project.profiles)
            if resume is not None
            else store.create_run(project.profiles, command, header(project))
        )
        builder = Builder(project, cache=cache, progress=lambda text: progress(text, None))
        context = Context(project=project, cache=cache, run=run, builder=builder, progress=progress)
        try:
            yield context
        except BaseException as failure:
            refused = isinstance(failure, PerfkitError) and failure.exit_code is ExitCode.USAGE
            if resume is None or not refused:  # a run that was not resumed keeps its own end
                _close(run, *_ending(failure))
            if isinstance(failure, KeyboardInterrupt):
                tell(f"Interrupted. What was collected is in {run.directory}")
                raise typer.Exit(int(ExitCode.INTERRUPTED)) from None
            raise
        else:
            _close(run, ExitCode.GOOD, "")


def _ending(failure: BaseException) -> tuple[int, str]:
    """The exit code of a command that ended early, and what `run.json` says about it."""
    match failure:
        case KeyboardInterrupt():
            return ExitCode.INTERRUPTED, "interrupted"
        case PerfkitError():
            return failure.exit_code, str(failure)
        case typer.Exit():
            return failure.exit_code, ""
        case SystemExit():  # SIGTERM, by `cli.app`
            code = failure.code
            return code if isinstance(code, int) else ExitCode.ERROR, "ended from outside"
        case _:
            return ExitCode.ERROR, f"internal error: {failure!r}"


def header(project: Project) -> dict[str, object]:
    """What `run.json` says about a run before it starts, see `run_files.RunHeader`."""
    from perfkit.subject.workloads import workload_files

    fingerprint = environment.fingerprint(project.environ)
    return {
        "argv": sys.argv[1:],
        "project": project.root,
        "config_file": project.file,
        "config": resolved_values(project),
        "workload_files": workload_files(project, project.config.workloads.values()),
        "fingerprint": {"key": fingerprint.key, **store.to_json(fingerprint)},
        "load_average": list(os.getloadavg()),
    }


def _close(run: store.Run, code: int, error: str) -> None:
    """Say in `run.json` how the run ended, and drop the folders that stayed empty."""
    run_files.close(run, code, error)
    store.prune_empty(run)


def tell(text: str) -> None:
    """A line for a person, on stderr."""
    print(text, file=sys.stderr)


@contextlib.contextmanager
def showing_progress() -> Iterator[Progress]:
    """Progress on stderr: a live line on a terminal, otherwise each new step once.

    Off a terminal a step that tells how far it is speaks at most every `QUIET_S` seconds.
    """
    if not sys.stderr.isatty():
        last, spoken = "", 0.0

        def announce(text: str, fraction: float | None) -> None:
            nonlocal last, spoken
            now = time.monotonic()
            if text != last and (fraction is None or now - spoken >= QUIET_S):
                last, spoken = text, now
                tell(text)

        yield announce
        return

    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=None)

        def update(text: str, fraction: float | None) -> None:
            if fraction is None:
                bar.update(task, description=text, total=None)
            else:
                bar.update(task, description=text, total=1.0, completed=fraction)

        yield update


def check_output(output: Path | None, allowed: tuple[str, ...] = tuple(_SUFFIXES)) -> None:
    """Refuse an unusable `--output` before anything slow starts.

    Raises:
        UsageError: its suffix says nothing, or its folder does not exist.
    """
    if output is None or str(output) == "-":
        return
    if output.suffix not in allowed:
        message = f"the suffix of --output must be one of {', '.join(allowed)}"
        raise UsageError(message, where=str(output))
    if not output.absolute().parent.is_dir():
        message = "the folder of --output does not exist"
        raise UsageError(message, where=str(output.parent), remedy="make it, or name another")


def emit(report: Report, *, form: Format, output: Path | None) -> None:
    """Print a report in the form asked for, or write it to a file whose suffix chooses the form."""
    from perfkit.report import console, markdown

    to_file = output is not None and str(output) != "-"
    if output is not None and to_file:
        form = _SUFFIXES[output.suffix]
    match form:
        case Format.HUMAN:
            terminal = sys.stdout.isatty() and not to_file
            width = os.get_terminal_size(1).columns if terminal else PLAIN_WIDTH
            text = console.render(report.page, width=width, colour=terminal)
        case Format.MARKDOWN:
            text = markdown.render(report.page)
        case Format.JSON:
            text = store.dump_json(report.document)
    text = text.rstrip("\n") + "\n"
    if output is not None and to_file:
        store.write_whole(output, text)
        tell(f"Wrote {output}")
    else:
        print(text, end="")

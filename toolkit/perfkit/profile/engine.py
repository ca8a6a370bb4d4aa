"""Profile a workload of the config: which profilers, in which order, and what was tried.

Each profiler is in its own file. A profiler that is missing or refused is not the end as long as
another one can look; what was tried is in the notes of the capture that came instead.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from perfkit.config import did_you_mean
from perfkit.errors import (
    CaptureError,
    PerfkitError,
    PermissionRefusedError,
    ToolError,
    ToolMissingError,
    UsageError,
)
from perfkit.profile.callgrind import Callgrind
from perfkit.profile.cargo_flamegraph import CargoFlamegraph
from perfkit.profile.perf import Perf
from perfkit.profile.py_spy import PySpy
from perfkit.profile.request import CaptureRequest, quiet
from perfkit.profile.scalene import Scalene
from perfkit.records import Note
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from perfkit.config import Project
    from perfkit.profile.request import Profiler
    from perfkit.records import Build, Capture
    from perfkit.store import Run
    from perfkit.subject.builder import Builder
    from perfkit.subject.parameters import Assignment

_ALL: tuple[Profiler, ...] = (Perf(), PySpy(), CargoFlamegraph(), Scalene(), Callgrind())
profilers: Mapping[str, Profiler] = {profiler.name: profiler for profiler in _ALL}
"""Every profiler by name, in the order of trying: the one that tells most comes first."""

FALLBACK = ("perf", "py-spy")
"""When nothing is named: the first of these that leaves an accepted capture."""


def profile_workload(
    project: Project,
    workload: str | None,
    size: int,
    *,
    build: Build,
    run: Run,
    names: Sequence[str] | None = None,
    rate: float | None = None,
    duration: float | None = None,
    builder: Builder | None = None,
    assignment: Assignment | None = None,
    threads: int | None = None,
    python_frames: bool = False,
    split_only: bool = False,
    progress: Callable[[str, float | None], None] = quiet,
) -> tuple[Capture, ...]:
    """Profile one workload at one size.

    Args:
        workload: its name in the config; the first one when None.
        build: the profiling build.
        names: profilers to use, all of them; the fallback order until one is accepted when None.
        rate: samples per second; the config's by default.
        duration: seconds under the profiler; the config's by default.
        builder: for the profilers that need a criterion bench.
        python_frames: see `CaptureRequest`.
        split_only: what is wanted is a split by layer, which only the first of the fallback order
            gives: when its capture is not believed, the next one would tell nothing more.

    Returns:
        One capture for each profiler that left one, accepted or not.

    Raises:
        UsageError: there is no such profiler or workload.
        ToolMissingError: none of the profilers is installed and permitted.
    """
    request = request_for(
        project,
        workload,
        size,
        build=build,
        rate=rate,
        duration=duration,
        builder=builder,
        assignment=assignment,
        threads=threads,
        python_frames=python_frames,
        progress=progress,
    )
    if names is not None:
        return tuple(choose(wanted).capture(request, run) for wanted in names)
    return _fall_back(request, run, split_only=split_only)


def request_for(
    project: Project,
    workload: str | None,
    size: int,
    *,
    build: Build,
    rate: float | None = None,
    duration: float | None = None,
    builder: Builder | None = None,
    assignment: Assignment | None = None,
    threads: int | None = None,
    python_frames: bool = False,
    progress: Callable[[str, float | None], None] = quiet,
) -> CaptureRequest:
    """What is asked of a profiler; see `profile_workload`."""
    name, config = project.workload(workload)
    settings = project.config.profiling
    return CaptureRequest(
        project=project,
        build=build,
        builder=builder,
        name=name,
        workload=config,
        size=size,
        rate_hz=float(rate if rate is not None else settings.rate_hz),
        duration_s=duration if duration is not None else settings.duration_s,
        label=label_of(name, size),
        assignment=assignment,
        threads=threads,
        python_frames=python_frames,
        progress=progress,
    )


def choose(name: str) -> Profiler:
    """A profiler by name.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in profilers:
        message = f"there is no profiler {name!r}{did_you_mean(name, list(profilers))}"
        raise UsageError(message, remedy=f"choose among: {', '.join(profilers)}")
    return profilers[name]


def label_of(workload: str, size: int) -> str:
    """What the files of a capture are named after."""
    return f"{workload}-{format_count(size)}"


def _fall_back(request: CaptureRequest, run: Run, *, split_only: bool) -> tuple[Capture, ...]:
    captures: list[Capture] = []
    tried: list[Note] = []
    refused: PerfkitError | None = None
    for name in FALLBACK:
        if name not in profilers:
            continue
        try:
            capture = profilers[name].capture(request, run)
        except (ToolMissingError, PermissionRefusedError, ToolError, CaptureError) as error:
            refused = refused or error
            text = f"{name}: {error.message}"
            tried.append(Note(id="tried", text=text, where=error.where, remedy=error.remedy))
            continue
        captures.append(dataclasses.replace(capture, notes=(*tried, *capture.notes)))
        if capture.accepted or split_only:
            break
        tried.append(Note(id="tried", text=f"{name}: {capture.reason}"))
    if not captures and refused is not None:
        others = [f"{note.text} {note.remedy}".strip() for note in tried[1:]]
        refused.details = "\n".join([refused.details, *others]).strip()
        raise refused
    return tuple(captures)

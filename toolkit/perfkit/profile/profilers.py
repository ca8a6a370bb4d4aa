"""Profile a workload of the config: which profilers, in which order, and what was tried.

Each profiler has its own file. If one is missing or refused, another one may still work; the notes
of its capture say what was tried.
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
from perfkit.profile import callgrind, cargo_flamegraph, perf, py_spy, scalene, sigprof
from perfkit.profile.request import CaptureRequest
from perfkit.records import Note, NoteId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.profile.request import Profiler
    from perfkit.records import Capture
    from perfkit.subject.job import Job

profilers: Mapping[str, Profiler] = {
    perf.NAME: perf.capture,
    sigprof.NAME: sigprof.capture,
    py_spy.NAME: py_spy.capture,
    cargo_flamegraph.NAME: cargo_flamegraph.capture,
    scalene.NAME: scalene.capture,
    callgrind.NAME: callgrind.capture,
}
"""Every profiler by name; the one that shows most comes first."""

FALLBACK = (perf.NAME, sigprof.NAME, py_spy.NAME)
"""Without a choice: the first of these that is installed and permitted."""


def profile(
    job: Job,
    size: int,
    *,
    names: Sequence[str] | None = None,
    rate: float | None = None,
    duration: float | None = None,
    python_frames: bool = False,
) -> tuple[Capture, ...]:
    """Profile the workload of a job of the profiling build at one size.

    Args:
        names: profilers to use, all of them; when None, the first possible one of `FALLBACK`.
        rate: samples per second; the config's by default.
        duration: seconds under the profiler; the config's by default.
        python_frames: see `CaptureRequest`.

    Returns:
        One capture for each profiler that left one.

    Raises:
        UsageError: there is no such profiler.
        ToolMissingError: none of the profilers is installed and permitted.
    """
    request = request_for(job, size, rate=rate, duration=duration, python_frames=python_frames)
    if names is not None:
        return tuple(choose(wanted)(request) for wanted in names)
    return (_fall_back(request),)


def request_for(
    job: Job,
    size: int,
    *,
    rate: float | None = None,
    duration: float | None = None,
    python_frames: bool = False,
) -> CaptureRequest:
    """What is asked of a profiler; see `profile`."""
    settings = job.project.config.profiling
    return CaptureRequest(
        job=job,
        size=size,
        rate_hz=float(rate if rate is not None else settings.rate_hz),
        duration_s=duration if duration is not None else settings.duration_s,
        python_frames=python_frames,
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


def _fall_back(request: CaptureRequest) -> Capture:
    tried: list[Note] = []
    refused: list[PerfkitError] = []
    for name in FALLBACK:
        try:
            capture = profilers[name](request)
        except (ToolMissingError, PermissionRefusedError, ToolError, CaptureError) as error:
            refused.append(error)
            text = f"{name}: {error.message}"
            tried.append(Note(id=NoteId.TRIED, text=text, where=error.where, remedy=error.remedy))
            continue
        return dataclasses.replace(capture, notes=(*tried, *capture.notes))
    first = refused[0]
    others = [f"{note.text} {note.remedy}".strip() for note in tried[1:]]
    first.details = "\n".join([first.details, *others]).strip()
    raise first

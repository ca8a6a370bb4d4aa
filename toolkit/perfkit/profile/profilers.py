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
from perfkit.profile import callgrind, cargo_flamegraph, perf, py_spy, scalene
from perfkit.profile.request import CaptureRequest
from perfkit.records import Note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.profile.request import Profiler
    from perfkit.records import Capture
    from perfkit.subject.job import Job

profilers: Mapping[str, Profiler] = {
    perf.NAME: perf.capture,
    py_spy.NAME: py_spy.capture,
    cargo_flamegraph.NAME: cargo_flamegraph.capture,
    scalene.NAME: scalene.capture,
    callgrind.NAME: callgrind.capture,
}
"""Every profiler by name; the one that shows most comes first."""

FALLBACK = (perf.NAME, py_spy.NAME)
"""Without a choice: the first of these that leaves an accepted capture."""


def profile(
    job: Job,
    size: int,
    *,
    names: Sequence[str] | None = None,
    rate: float | None = None,
    duration: float | None = None,
    python_frames: bool = False,
    split_only: bool = False,
) -> tuple[Capture, ...]:
    """Profile the workload of a job of the profiling build at one size.

    Args:
        names: profilers to use, all of them; the fallback order until one is accepted when None.
        rate: samples per second; the config's by default.
        duration: seconds under the profiler; the config's by default.
        python_frames: see `CaptureRequest`.
        split_only: only a split by layer is wanted, which the first of the fallback order alone
            gives: if its capture is not believed, the next one would not help.

    Returns:
        One capture for each profiler that left one, accepted or not.

    Raises:
        UsageError: there is no such profiler.
        ToolMissingError: none of the profilers is installed and permitted.
    """
    request = request_for(job, size, rate=rate, duration=duration, python_frames=python_frames)
    if names is not None:
        return tuple(choose(wanted)(request) for wanted in names)
    return _fall_back(request, split_only=split_only)


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


def _fall_back(request: CaptureRequest, *, split_only: bool) -> tuple[Capture, ...]:
    captures: list[Capture] = []
    tried: list[Note] = []
    refused: PerfkitError | None = None
    for name in FALLBACK:
        try:
            capture = profilers[name](request)
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

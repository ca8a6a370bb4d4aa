"""Whether the profiling build is as fast as the build that users get: what is profiled must be what
is meant. Both are timed in pairs of processes, their windows in turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.profile.paired import compare
from perfkit.records import Interval, Note
from perfkit.store import read_journal
from perfkit.units import format_share

if TYPE_CHECKING:
    from perfkit.profile.request import CaptureRequest
    from perfkit.records import Build

JOURNAL = "raw/profiling-build.jsonl"
DURATION_S = 1.0


def against_release(request: CaptureRequest, release: Build) -> Interval:
    """The profiling build's time over the release build's, minus one; once per build and run."""
    run = request.job.run
    for line in read_journal(run.directory / JOURNAL):
        if line["build"] == request.job.build.key:
            return Interval(**line["slower"])

    found = compare(
        request,
        request.job.spec(release),
        lambda _: request.job.spec(),
        stage="the profiling build beside the release build",
        duration_s=min(DURATION_S, request.duration_s),
    ).slowdown
    run.append(JOURNAL, {"build": request.job.build.key, "release": release.key, "slower": found})
    return found


def note(slower: Interval) -> Note:
    """What to say about it: a difference is one when the interval leaves zero out."""
    shown = f"{format_share(slower.low)} to {format_share(slower.high)} (95 %, pairs of processes)"
    if slower.low <= 0 <= slower.high:
        text = f"the profiling build is as fast as the release build within {shown}"
        return Note(id="build_equal", text=text)
    word = "slower" if slower.estimate > 0 else "faster"
    text = f"the profiling build is {word} than the release build: by {shown}"
    remedy = "read the shares as those of the profiling build; measure times the release build"
    return Note(id="build_differs", text=text, remedy=remedy)

"""Whether the profiling build is as fast as the build that users get: what is profiled must behave
like it. Both are timed in pairs of processes, their windows in turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.profile.paired import compare, once_per_build
from perfkit.records import Interval, Note
from perfkit.units import format_share

if TYPE_CHECKING:
    from perfkit.profile.request import CaptureRequest
    from perfkit.records import Build

JOURNAL = "raw/profiling-build.jsonl"
DURATION_S = 1.0


def against_release(request: CaptureRequest, release: Build) -> Interval:
    """The profiling build's time over the release build's, minus one; once per build and run."""

    def compared() -> Interval:
        return compare(
            request,
            request.job.spec(release),
            lambda _: request.job.spec(),
            stage="the profiling build beside the release build",
            duration_s=min(DURATION_S, request.duration_s),
        ).slowdown

    return once_per_build(request, JOURNAL, compared)


def note(slower: Interval) -> Note:
    """What to say about it: they differ if the interval does not include zero."""
    shown = f"{format_share(slower.low)} to {format_share(slower.high)} (95 %, pairs of processes)"
    if slower.low <= 0 <= slower.high:
        text = f"the profiling build is as fast as the release build within {shown}"
        return Note(id="build_equal", text=text)
    word = "slower" if slower.estimate > 0 else "faster"
    text = f"the profiling build is {word} than the release build by {shown}"
    remedy = "the shares are those of the profiling build; measure times the release build"
    return Note(id="build_differs", text=text, remedy=remedy)

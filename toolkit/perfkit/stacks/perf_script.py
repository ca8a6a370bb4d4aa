"""The text of `perf script` as stacks: the samples inside the measured region, by thread. The
engine reads the text; what a stack means is decided elsewhere.

No sample is lost. One without any frame stays a sample, with an unknown leaf: if it were dropped,
its time would look like waiting.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit import _engine
from perfkit.errors import CaptureError
from perfkit.stacks import engine_errors
from perfkit.stacks.folded import UNKNOWN, cut, read_stacks
from perfkit.stacks.inline import without_places
from perfkit.stacks.split import CALLING_THREAD, OTHER_THREADS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from perfkit.stacks.folded import Stack
    from perfkit.stacks.inline import Inlined

_REMEDY = "perfkit asks for the fields comm,pid,tid,time,event,ip,sym,dso; try another perf"
_EVENT = re.compile(r"\s\d+\.\d+:\s+(?:\d+\s+)?(?P<event>\S+?):\s*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A span of the monotonic clock, seconds: the region a profiler looked at, or a part of it."""

    begin: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """The kept samples of one text.

    Attributes:
        stacks: root first; the root is the calling thread or the others.
        placed: the same with the places of the subject's own functions, see `inline.AT`.
        clusters: the same by window, if there are windows.
        samples: those that were kept.
        outside: samples of the process outside every window.
        unrooted: kept samples whose outermost frame is not a thread's entry.
        unresolved: kept samples whose leaf has no name, or that have no frame at all.
        event: the event that perf really counted: it falls back to `cpu-clock:u` if the system does
            not let it see the kernel. None if the text does not say.
    """

    stacks: list[tuple[Stack, int]]
    placed: list[tuple[Stack, int]]
    clusters: list[list[tuple[Stack, int]]]
    samples: int
    outside: int
    unrooted: int
    unresolved: int
    event: str | None

    @property
    def cut_share(self) -> float:
        """Share of the stacks that do not reach a thread's entry."""
        return self.unrooted / max(self.samples, 1)

    @property
    def unresolved_share(self) -> float:
        """Share of the samples whose leaf has no name."""
        return self.unresolved / max(self.samples, 1)


@engine_errors.named(_REMEDY)
def places(script: Path, module: str) -> list[int]:
    """Every instruction in a module that a stack of the text is at, in order: the one sampled, and
    the calls of its callers.

    Raises:
        UnreadableOutputError: the file is not a text.
    """
    return _engine.perf_places(script, module)


def fold(
    script: Path,
    *,
    pid: int | None = None,
    windows: Sequence[Window] | None = None,
    inlined: Inlined | None = None,
    main_tid: int | None = None,
) -> Folded:
    """Fold the samples of one process inside the windows.

    Args:
        script: text of `perf script`.
        pid: the process to keep; all of them when None.
        windows: spans of the clock that the samples carry, in order; the whole text when None.
        inlined: functions to write above the frames that they were inlined into.
        main_tid: the calling thread; the first kept sample's process when None.

    Raises:
        UnreadableOutputError: a line is not text of `perf script`; with file and line.
        CaptureError: no sample is kept.
    """
    folded = script.with_suffix(".kept.folded")
    try:
        stats = _collapse(script, folded, pid, windows, inlined, main_tid)
        found = read_stacks(folded)
    finally:
        folded.unlink(missing_ok=True)
    clusters: defaultdict[str, Counter[Stack]] = defaultdict(Counter)
    placed: Counter[Stack] = Counter()
    for (window, *stack), count in found:
        clusters[window][without_places(stack)] += count
        placed[tuple(stack)] += count
    if stats.no_stack:
        # The text does not say whose they are. The calling thread's part must not look too small.
        placed[CALLING_THREAD, UNKNOWN] += stats.no_stack
    return Folded(
        stacks=cut(placed.items(), without_places)[0],
        placed=list(placed.items()),
        clusters=[list(cluster.items()) for cluster in clusters.values()],
        samples=stats.samples + stats.no_stack,
        outside=stats.outside,
        unrooted=stats.unrooted,
        unresolved=stats.unresolved_leaf + stats.no_stack,
        event=event_of(script),
    )


@engine_errors.named(_REMEDY)
def _collapse(
    script: Path,
    output: Path,
    pid: int | None,
    windows: Sequence[Window] | None,
    inlined: Inlined | None,
    main_tid: int | None,
) -> _engine.CollapseStats:
    """Write the folded file, each stack below the number of its window, from 0."""
    try:
        return _engine.collapse_perf(
            script,
            output,
            pid=pid,
            windows=None if windows is None else [(span.begin, span.end) for span in windows],
            by_window=True,
            chains=(inlined.module, inlined.chains) if inlined is not None else None,
            roots=(CALLING_THREAD, OTHER_THREADS),
            main_tid=main_tid,
        )
    except _engine.EngineInputError as error:
        if error.line is None:  # about the capture as a whole
            raise CaptureError(str(error), remedy="profile for longer") from error
        raise


def event_of(script: Path) -> str | None:
    """The event of the first sample, as perf names it."""
    with script.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            if line.strip() and not line.startswith("#"):
                found = _EVENT.search(line)
                return found["event"] if found is not None else None
    return None

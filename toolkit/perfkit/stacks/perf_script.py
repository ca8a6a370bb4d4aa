"""The text of `perf script` to folded stacks: which samples lie inside the measured region, and of
which thread. Reading is the engine's work; what a stack means is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit import _engine
from perfkit.errors import CaptureError
from perfkit.stacks.folded import unreadable
from perfkit.stacks.split import CALLING_THREAD, OTHER_THREADS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from perfkit.stacks.inline import Inlined

_REMEDY = "the fields asked for are comm,pid,tid,time,event,ip,sym,dso; another perf may help"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A span of the monotonic clock, seconds: the region a profiler looked at, or a part of it."""

    begin: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What was found in the text of one capture.

    Attributes:
        samples: those that were kept.
        outside: samples of the process that lie outside every window.
        foreign: samples of other processes.
        empty: kept samples without any frame.
        unrooted: kept samples whose outermost frame is no thread entry.
        unresolved: kept samples whose innermost frame has no name.
        first_pid: process of the first kept sample.
    """

    samples: int
    outside: int
    foreign: int
    empty: int
    unrooted: int
    unresolved: int
    first_pid: int | None = None


def places(script: Path, module: str) -> list[int]:
    """Every address in a module that a stack of the text holds, in order.

    Raises:
        UnreadableOutputError: the text is no text.
    """
    try:
        return _engine.perf_places(script, module)
    except _engine.EngineInputError as error:
        raise unreadable(error, remedy=_REMEDY) from error


def fold(
    script: Path,
    output: Path,
    *,
    pid: int | None = None,
    windows: Sequence[Window] | None = None,
    by_window: bool = False,
    inlined: Inlined | None = None,
    main_tid: int | None = None,
) -> Selection:
    """Fold the samples of one process inside the windows, as a stream. The roots of the stacks are
    the calling thread and the others.

    Args:
        script: text of `perf script`.
        output: the folded file.
        pid: the process to keep; all of them when None.
        windows: spans of the clock that the samples carry, in order; the whole text when None.
        by_window: each stack begins with the number of its window, from 0, before its thread.
        inlined: functions to write above the frames that they were inlined into.
        main_tid: the calling thread; the first kept sample's process when None.

    Raises:
        UnreadableOutputError: a line is no text of perf script; with file and line.
        CaptureError: no sample is kept.
    """
    spans = [(window.begin, window.end) for window in windows] if windows is not None else None
    try:
        stats = _engine.collapse_perf(
            script,
            output,
            pid=pid,
            windows=spans,
            by_window=by_window,
            chains=(inlined.module, inlined.chains) if inlined is not None else None,
            roots=(CALLING_THREAD, OTHER_THREADS),
            main_tid=main_tid,
        )
    except _engine.EngineInputError as error:
        if error.line is None:  # about the capture as a whole
            raise CaptureError(str(error), remedy="profile for longer") from error
        raise unreadable(error, remedy=_REMEDY) from error
    return Selection(
        samples=stats.samples + stats.no_stack,
        outside=stats.outside,
        foreign=stats.foreign,
        empty=stats.no_stack,
        unrooted=stats.unrooted,
        unresolved=stats.unresolved_leaf,
        first_pid=stats.first_pid,
    )

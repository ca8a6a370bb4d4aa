"""The text of `perf script`: which samples lie inside the measured region, and of which thread.

The samples that are kept are handed on unchanged; folding them is the engine's work. The grammar,
as perf 6.1 writes it with `-F comm,pid,tid,time,event,ip,sym,dso`:

    python 13079/13082  1362.887417: cpu-clock:
                28042 libm::math::exp::exp (/path/kernel.abi3.so)
                109 8eb clone3 (/usr/lib/x86_64-linux-gnu/libc.so.6)
    <blank line>

The first frame is the leaf, the last one the root. The name of a thread may hold blanks.
"""

from __future__ import annotations

import bisect
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.errors import UnreadableOutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_HEADER = re.compile(
    r"^(?P<comm>\S.*?)\s+(?P<pid>-?\d+)/(?P<tid>-?\d+)\s+(?:\[\d+\]\s+)?(?P<time>\d+\.\d+):\s"
)
# A module begins with `/` or `[`; names before it may hold parentheses of their own.
_FRAME = re.compile(r"^\s+(?P<ip>[0-9a-f]+)\s(?P<symbol>.*?)\s\((?P<dso>[/\[].*|[^()]*)\)$")
_OFFSET = re.compile(r"\+0x[0-9a-f]+$")
THREAD_ENTRIES = re.compile(
    r"^(_start|__libc_start_main.*|__libc_start_call_main|start_thread|__?clone3?|clone3?|"
    r"__GI___clone3?|ret_from_fork(_asm)?|_dl_start_user|thread_start|main)(_\[k\])?$"
)
"""Where a whole stack begins: a stack with another root was cut by the unwinder."""


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
        by_thread: kept samples by thread id.
        names: the name of each thread.
        by_window: kept samples of each (window, thread id).
        first_pid: process of the first kept sample.
    """

    samples: int
    outside: int
    foreign: int
    empty: int
    unrooted: int
    by_thread: Mapping[int, int]
    names: Mapping[int, str]
    by_window: Mapping[tuple[int, int], int]
    first_pid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One line of a stack: where it is in which file, and what perf calls it."""

    ip: int
    symbol: str
    dso: str


Expand = "Callable[[Frame], Sequence[str] | None]"
"""Names to write instead of a frame, innermost first; None leaves the line as it is."""


def select(
    script: Path,
    output: Path,
    *,
    pid: int | None,
    windows: Sequence[Window] | None,
    expand: Callable[[Frame], Sequence[str] | None] | None = None,
) -> Selection:
    """Copy the samples of one process inside the windows to another file.

    Args:
        script: text of `perf script`.
        output: where the kept samples go, in the same format.
        pid: the process to keep; all of them when None.
        windows: spans of the clock that the samples carry, in order; the whole text when None.
        expand: see `Expand`.

    Raises:
        UnreadableOutputError: a line is neither a sample's head nor a frame; with file and line.
    """
    begins = [window.begin for window in windows] if windows is not None else []
    counts: Counter[str] = Counter()
    by_thread: Counter[int] = Counter()
    by_window: Counter[tuple[int, int]] = Counter()
    names: dict[int, str] = {}
    first_pid: int | None = None
    with output.open("w", encoding="utf-8") as sink:
        for head, frames in read_samples(script):
            if pid is not None and head.pid != pid:
                counts["foreign"] += 1
                continue
            index = 0
            if windows is not None:
                index = bisect.bisect_right(begins, head.time) - 1
                if index < 0 or head.time > windows[index].end:
                    counts["outside"] += 1
                    continue
            counts["samples"] += 1
            first_pid = head.pid if first_pid is None else first_pid
            by_thread[head.tid] += 1
            by_window[index, head.tid] += 1
            names.setdefault(head.tid, head.comm)
            if not frames:
                counts["empty"] += 1
            elif not is_rooted(frames[-1]):
                counts["unrooted"] += 1
            sink.write(head.line)
            for line in frames:
                sink.writelines(_expanded(line, expand) if expand is not None else (line,))
            sink.write("\n")
    return Selection(
        samples=counts["samples"],
        outside=counts["outside"],
        foreign=counts["foreign"],
        empty=counts["empty"],
        unrooted=counts["unrooted"],
        by_thread=dict(by_thread),
        names=names,
        by_window=dict(by_window),
        first_pid=first_pid,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The first line of a sample."""

    comm: str
    pid: int
    tid: int
    time: float
    line: str


def read_samples(script: Path) -> Iterator[tuple[Head, list[str]]]:
    """Each sample as its head and the lines of its frames, leaf first.

    Raises:
        UnreadableOutputError: the text is none of perf's, with file and line.
    """
    head: Head | None = None
    frames: list[str] = []
    with script.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                if head is not None:
                    yield head, frames
                head, frames = None, []
            elif line[0].isspace():
                if head is None:
                    message = "a stack line without a sample above it"
                    raise _unreadable(message, script, number, line)
                frames.append(line)
            elif not line.startswith("#"):
                if head is not None:
                    yield head, frames
                head, frames = _head(line, script, number), []
    if head is not None:
        yield head, frames


def parse_frame(line: str) -> Frame | None:
    """One stack line; None when it has another shape (such as an inlined frame)."""
    match = _FRAME.match(line.rstrip("\n"))
    if match is None:
        return None
    return Frame(ip=int(match["ip"], 16), symbol=_OFFSET.sub("", match["symbol"]), dso=match["dso"])


def is_rooted(line: str) -> bool:
    """Whether the outermost line of a stack is the entry of a thread."""
    frame = parse_frame(line)
    return frame is not None and THREAD_ENTRIES.match(frame.symbol.partition("@@")[0]) is not None


def _expanded(line: str, expand: Callable[[Frame], Sequence[str] | None]) -> list[str]:
    frame = parse_frame(line)
    names = expand(frame) if frame is not None else None
    if frame is None or names is None:
        return [line]
    return [f"\t{frame.ip:16x} {name} ({frame.dso})\n" for name in names]


def _head(line: str, script: Path, number: int) -> Head:
    match = _HEADER.match(line)
    if match is None:
        message = "is no head of a sample of perf script"
        raise _unreadable(message, script, number, line)
    return Head(
        comm=match["comm"],
        pid=int(match["pid"]),
        tid=int(match["tid"]),
        time=float(match["time"]),
        line=line,
    )


def _unreadable(message: str, script: Path, number: int, line: str) -> UnreadableOutputError:
    return UnreadableOutputError(
        message,
        where=f"{script}:{number}",
        details=repr(line[:160]),
        remedy="the fields asked for are comm,pid,tid,time,event,ip,sym,dso; another perf may help",
    )

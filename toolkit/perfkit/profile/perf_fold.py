"""From perf's text to stacks, none lost. A sample without any frame stays a sample, of something
without a name: dropped, its time would look like waiting.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.stacks import perf_script
from perfkit.stacks.folded import UNKNOWN, read_stacks
from perfkit.stacks.split import CALLING_THREAD

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from perfkit.stacks.inline import Inlined

_EVENT = re.compile(r"\s\d+\.\d+:\s+(?:\d+\s+)?(?P<event>\S+?):\s*$")


Stack = tuple[tuple[str, ...], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """The kept samples of one text.

    Attributes:
        stacks: root first, from the calling thread's name or the others'.
        clusters: the same by window, where there are windows.
        unresolved: samples whose leaf has no name, or that have no frame at all.
        event: what perf counted in truth: it takes `cpu-clock:u` by itself where the system does
            not let it see the kernel; None where the text does not tell.
    """

    selection: perf_script.Selection
    stacks: list[Stack]
    clusters: list[list[Stack]]
    unresolved: int
    event: str | None


def fold(
    script: Path,
    *,
    pid: int | None = None,
    windows: Sequence[perf_script.Window] | None = None,
    inlined: Inlined | None = None,
    main_tid: int | None = None,
) -> Folded:
    """Fold the samples of one process inside the windows; of everything where None.

    Raises:
        UnreadableOutputError: the text is none of perf's; with file and line.
        CaptureError: no sample is kept.
    """
    folded = script.with_suffix(".kept.folded")
    try:
        selection = perf_script.fold(
            script,
            folded,
            pid=pid,
            windows=windows,
            by_window=True,
            inlined=inlined,
            main_tid=main_tid,
        )
        found = read_stacks(folded)
    finally:
        folded.unlink(missing_ok=True)
    clusters: dict[str, list[Stack]] = {}
    together: Counter[tuple[str, ...]] = Counter()
    for (window, *stack), count in found:
        clusters.setdefault(window, []).append((tuple(stack), count))
        together[tuple(stack)] += count
    stacks = list(together.items())
    if selection.empty:
        # Whose they are is not told. The calling thread's part is what must not look too small.
        stacks.append(((CALLING_THREAD, UNKNOWN), selection.empty))
    return Folded(
        selection=selection,
        stacks=stacks,
        clusters=list(clusters.values()),
        unresolved=selection.unresolved + selection.empty,
        event=event_of(script),
    )


def event_of(script: Path) -> str | None:
    """The event of the first sample, as perf names it."""
    with script.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            if line.strip() and not line.startswith("#"):
                found = _EVENT.search(line)
                return found["event"] if found is not None else None
    return None

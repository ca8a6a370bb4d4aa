"""The table of hot frames that goes into a profiled trial, from folded stacks by plain counting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit import _engine
from perfkit.errors import UnreadableOutputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FRAMES = 15
"""Rows that a trial carries; the folded file beside it has them all."""


def hottest(folded: Path, profiler: str, limit: int = FRAMES) -> list[Mapping[str, object]]:
    """The frames with the most self samples.

    Returns:
        Rows of `profiler`, and of columns as in the tables of `perfkit profile`: `frame`,
        `self_samples` (it was the innermost one), `total_samples` (it was on the stack) and
        `self_share` (of all samples of the file).

    Raises:
        UnreadableOutputError: it is not a folded file.
    """
    try:
        stacks = _engine.read_folded(folded)
    except _engine.EngineError as error:
        message = f"no folded stacks: {error}"
        raise UnreadableOutputError(message, where=str(folded)) from error
    return [
        {
            "profiler": profiler,
            "frame": frame,
            "self_samples": own,
            "total_samples": total,
            "self_share": own / stacks.total,
        }
        for frame, own, total in stacks.frames()[:limit]
        if own
    ]

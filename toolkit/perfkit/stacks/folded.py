"""Folded files as perfkit reads them: by the engine, with its refusals in perfkit's own words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from perfkit import _engine
from perfkit.errors import UnreadableOutputError

if TYPE_CHECKING:
    from pathlib import Path

UNKNOWN = "[unknown]"


_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f]")
MOST_SAMPLES = 10**15
"""More than any profile has; sums of such counts still fit the engine's 64 bits."""


def safe_name(text: str) -> str:
    """A frame's name as a folded file can hold it: no `;`, no control character, no lone surrogate;
    `[unknown]` where nothing is left.
    """
    name = text.encode("utf-8", "replace").decode("utf-8").replace(";", ":")
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", name).strip() or UNKNOWN


def read_stacks(path: Path) -> list[tuple[tuple[str, ...], int]]:
    """The stacks of a folded file, root first, with their counts.

    Raises:
        UnreadableOutputError: it is missing, or a line is no folded stack; with file and line.
    """
    try:
        return list(_engine.read_folded(path).stacks())
    except _engine.EngineInputError as error:
        raise unreadable(error, remedy="the file was cut or edited: profile again") from error


def unreadable(error: _engine.EngineInputError, *, remedy: str) -> UnreadableOutputError:
    """The engine's refusal of a file, which begins with its `file:line`."""
    where, _, message = str(error).partition(": ")
    return UnreadableOutputError(message or where, where=where if message else "", remedy=remedy)

"""Folded files as perfkit reads and writes them, through the engine."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from perfkit import _engine
from perfkit.stacks import engine_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

Stack = tuple[str, ...]
"""Frames from the root to the leaf."""
UNKNOWN = "[unknown]"
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f]")
MOST_SAMPLES = 10**15
"""More than any profile has; sums of such counts still fit the engine's 64 bits."""


def safe_name(text: str) -> str:
    """A frame's name as a folded file can hold it: no `;`, no control character, no lone surrogate;
    `[unknown]` if nothing is left.
    """
    name = text.encode("utf-8", "replace").decode("utf-8").replace(";", ":")
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", name).strip() or UNKNOWN


@engine_errors.named("the file was cut or edited: profile again")
def read_stacks(path: Path) -> list[tuple[Stack, int]]:
    """The stacks of a folded file with their counts.

    Raises:
        UnreadableOutputError: it is missing, or a line is not a folded stack; with file and line.
    """
    return list(_engine.read_folded(path).stacks())


@engine_errors.named()
def write_stacks(stacks: Iterable[tuple[Sequence[str], int]], path: Path) -> Path:
    """Write a folded file and return its path.

    Raises:
        StoreError: the file cannot be written.
    """
    _engine.Folded.from_stacks([(list(stack), count) for stack, count in stacks]).write(path)
    return path


def cut(
    stacks: Iterable[tuple[Sequence[str], int]], keep: Callable[[Sequence[str]], Stack | None]
) -> tuple[list[tuple[Stack, int]], int]:
    """What `keep` leaves of each stack, equal ones added up, and the samples it left nothing of."""
    kept: Counter[Stack] = Counter()
    outside = 0
    for stack, count in stacks:
        left = keep(stack)
        if left is None:
            outside += count
        else:
            kept[left] += count
    return sorted(kept.items()), outside

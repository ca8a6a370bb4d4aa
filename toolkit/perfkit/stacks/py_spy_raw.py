"""The `raw` format of py-spy: folded stacks with two habits of its own.

    <module> (loop.py:8);run_batch (loop.py:6);price<[f64; 4]> (plain.rs:12);;malloc (libc.so.6) 12

A native frame may have no name at all, and names are not made safe: a `;` may belong to a Rust
array type. The count is after the last blank.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from perfkit.errors import UnreadableOutputError
from perfkit.stacks.folded import MOST_SAMPLES, safe_name

if TYPE_CHECKING:
    from pathlib import Path


def read_raw(path: Path) -> list[tuple[tuple[str, ...], int]]:
    """Stacks with their counts, root first; equal ones are added up.

    Raises:
        UnreadableOutputError: a line has no whole count above zero, with file and line.
    """
    found: Counter[tuple[str, ...]] = Counter()
    with path.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            text, _, count = line.rstrip("\n").rpartition(" ")
            samples = _samples(count)
            if samples is None or " " not in line:
                message = "a stack without a whole count above zero"
                raise UnreadableOutputError(
                    message,
                    where=f"{path}:{number}",
                    details=repr(line[:160]),
                    remedy="profile again; the file is cut short or not py-spy's",
                )
            found[frames(text)] += samples
    return sorted(found.items())


def _samples(text: str) -> int | None:
    """A whole count above zero, of no more digits than samples can have."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MOST_SAMPLES))):
        return None
    count = int(text)
    return count if 0 < count <= MOST_SAMPLES else None


def frames(text: str) -> tuple[str, ...]:
    """The frames of one line: `;` inside square brackets belongs to a name, where they close."""
    parts: list[str] = []
    open_parts: list[str] = []
    for part in text.split(";"):
        open_parts.append(part)
        name = ":".join(open_parts)
        if name.count("[") <= name.count("]"):
            parts.append(safe_name(name))
            open_parts = []
    # A bracket that never closes is part of a thread's name, not of a Rust type.
    return tuple(parts + [safe_name(part) for part in open_parts])

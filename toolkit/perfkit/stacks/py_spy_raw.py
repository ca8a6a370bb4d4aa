"""The `raw` format of py-spy: folded stacks with two habits of its own.

    <module> (loop.py:8);run_batch (loop.py:6);price<[f64; 4]> (plain.rs:12);;malloc (libc.so.6) 12

A native frame may have no name at all, and names are not made safe: a `;` may belong to a Rust
array type. The count is after the last blank.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from perfkit.errors import UnreadableOutputError

if TYPE_CHECKING:
    from pathlib import Path

UNKNOWN = "[unknown]"


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
            if not (count.isascii() and count.isdigit() and int(count) > 0 and " " in line):
                message = "a stack without a whole count above zero"
                raise UnreadableOutputError(
                    message,
                    where=f"{path}:{number}",
                    details=repr(line[:160]),
                    remedy="profile again; the file is cut short or not py-spy's",
                )
            found[frames(text)] += int(count)
    return sorted(found.items())


def frames(text: str) -> tuple[str, ...]:
    """The frames of one line: `;` inside square brackets belongs to a name."""
    parts: list[str] = []
    open_name = ""
    for part in text.split(";"):
        name = f"{open_name}:{part}" if open_name else part
        if name.count("[") > name.count("]"):
            open_name = name
            continue
        open_name = ""
        parts.append(name.strip() or UNKNOWN)
    if open_name:
        parts.append(open_name)
    return tuple(parts)

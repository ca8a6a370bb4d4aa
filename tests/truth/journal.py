"""Rows that a long measurement writes as it runs, so that it can resume; and how it counts."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfkit.stacks.intervals import wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGE = Path(__file__).resolve().parents[2] / "toolkit" / "perfkit"


def counted(hits: int, trials: int) -> str:
    """`20 of 20 [84 %, 100 %]`: no count of truth without its 95 % Wilson interval."""
    if not trials:
        return "0 of 0"
    share = wilson(hits, trials)
    return f"{hits} of {trials} [{100 * share.low:.0f} %, {100 * share.high:.0f} %]"


def rows(path: Path) -> list[dict[str, Any]]:
    """Everything measured so far. A line that was cut short is ignored, and so measured again."""
    if not path.is_file():
        return []
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            kept.append(json.loads(line))
    return kept


def decided_by(sources: Sequence[str]) -> str:
    """A hash of the sources of perfkit that decide what a row holds."""
    whole = b"".join((PACKAGE / name).read_bytes() for name in sources)
    return hashlib.sha256(whole).hexdigest()[:12]


def of_these(path: Path, cpu: str, sources: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of one CPU model and of the sources as they are."""
    now = (cpu, decided_by(sources))
    return [row for row in rows(path) if (row["cpu"], row["decided_by"]) == now]


def append(path: Path, row: dict[str, Any]) -> None:
    """Add one row, on a new line if the last one was cut short."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = not path.is_file() or path.read_bytes()[-1:] in (b"", b"\n")
    with path.open("a", encoding="utf-8") as stream:
        stream.write(("" if whole else "\n") + json.dumps(row) + "\n")

"""Rows that a long measurement writes as it runs, so that it can resume; and how it counts."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfkit.environment import fingerprint
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


def _here(sources: Sequence[str]) -> dict[str, str]:
    """What rows must have in common to be combined: the CPU model, and the sources."""
    return {"cpu": fingerprint(os.environ).cpu, "decided_by": decided_by(sources)}


def rows_here(path: Path, sources: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of this CPU model and of the sources as they are."""
    here = _here(sources).items()
    return [row for row in rows(path) if here <= row.items()]


def append_here(path: Path, sources: Sequence[str], row: dict[str, Any]) -> None:
    """Add one row, with what it may be combined by."""
    append(path, {**_here(sources), **row})


def append(path: Path, row: dict[str, Any]) -> None:
    """Add one row, on a new line if the last one was cut short."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = not path.is_file() or path.read_bytes()[-1:] in (b"", b"\n")
    with path.open("a", encoding="utf-8") as stream:
        stream.write(("" if whole else "\n") + json.dumps(row) + "\n")

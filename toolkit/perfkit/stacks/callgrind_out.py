"""The file callgrind writes: instructions by function. Exclusive cost alone is read; what callees
cost is theirs. The part of the grammar that is used:

    events: Ir
    fl=(1) /a/b.c
    fn=(7) price              a name is told once, then `fn=(7)` alone
    12 345                    line, cost of this function itself
    cfn=(8) helper            the called function,
    calls=2 30                and the line below holds its inclusive cost
    12 999
    totals: 1344
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.errors import UnreadableOutputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NAME = re.compile(r"^\((?P<id>\d+)\)(?: (?P<name>.*))?$")
_COST = re.compile(r"^[+\-*]?\d*(?:0x[0-9a-f]+)? (?P<cost>\d+)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Instructions of one dump: all of them, and by function (its own alone)."""

    total: int
    functions: Mapping[str, int]


def read(path: Path) -> Counts:
    """Read one dump.

    Raises:
        UnreadableOutputError: it counts other events, holds no total, or its parts do not add up.
    """
    names: dict[str, str] = {}
    found: Counter[str] = Counter()
    current, skip = "", False
    total: int | None = None
    with path.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, start=1):
            text = line.rstrip("\n")
            if text.startswith("events:") and text.split()[1:2] != ["Ir"]:
                message = f"counts {text.removeprefix('events:').strip()!r}, not instructions"
                raise UnreadableOutputError(message, where=f"{path}:{number}")
            if text.startswith("fn="):
                current = _named(text[3:], names)
            elif text.startswith("cfn="):
                _named(text[4:], names)
            elif text.startswith("calls="):
                skip = True
            elif text.startswith(("totals:", "summary:")):
                total = int(text.split()[1])
            elif current and (cost := _COST.match(text)) is not None:
                if not skip:
                    found[current] += int(cost["cost"])
                skip = False
    if total is None or sum(found.values()) != total:
        message = f"callgrind's parts add up to {sum(found.values())}, its total is {total}"
        remedy = "profile again: the file is cut short, or of another version"
        raise UnreadableOutputError(message, where=str(path), remedy=remedy)
    return Counts(total=total, functions=dict(found))


def _named(text: str, names: dict[str, str]) -> str:
    match = _NAME.match(text)
    if match is None:
        return text
    if match["name"] is not None:
        names[match["id"]] = match["name"]
    return names.get(match["id"], f"({match['id']})")

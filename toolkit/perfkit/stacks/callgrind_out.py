"""The file callgrind writes: instructions by function. Exclusive cost alone is read; what callees
cost is theirs. The part of the grammar that is used:

    events: Ir
    ob=(3) /build/kernel.so   the object that the functions below are in
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
    """Instructions of one dump: all of them, and by object and function (its own alone)."""

    total: int
    objects: Mapping[str, Mapping[str, int]]

    def of_object(self, path: str) -> Mapping[str, int]:
        """The functions of one object; none when nothing of it ran."""
        return self.objects.get(path, {})


def read(path: Path) -> Counts:
    """Read one dump.

    Raises:
        UnreadableOutputError: it counts other events, holds no total, or its parts do not add up.
    """
    names: dict[str, str] = {}
    objects: dict[str, str] = {}
    found: dict[str, Counter[str]] = {}
    current, place, skip = "", "", False
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
            elif text.startswith("ob="):
                place = _named(text[3:], objects)
            elif text.startswith("cob="):
                _named(text[4:], objects)
            elif text.startswith("calls="):
                skip = True
            elif text.startswith(("totals:", "summary:")):
                total = int(text.split()[1])
            elif current and (cost := _COST.match(text)) is not None:
                if not skip:
                    found.setdefault(place, Counter())[current] += int(cost["cost"])
                skip = False
    parts = sum(sum(functions.values()) for functions in found.values())
    if total is None or parts != total:
        message = f"callgrind's parts add up to {parts}, its total is {total}"
        remedy = "profile again: the file is cut short, or of another version"
        raise UnreadableOutputError(message, where=str(path), remedy=remedy)
    return Counts(total=total, objects=found)


def _named(text: str, names: dict[str, str]) -> str:
    match = _NAME.match(text)
    if match is None:
        return text
    if match["name"] is not None:
        names[match["id"]] = match["name"]
    return names.get(match["id"], f"({match['id']})")

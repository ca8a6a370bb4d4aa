"""The file callgrind writes: instructions by function. Exclusive cost alone is read; what callees
cost is theirs. The part of the grammar that is used:

    positions: line           `instr line` with --dump-instr=yes: two columns before the cost
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
_PLACE = r"(?:\*|[+-]?(?:0x[0-9a-f]+|\d+)) "
_DIGITS = 20
"""Of the largest count that callgrind can hold (64 bits)."""


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
        UnreadableOutputError: it counts other events, holds no total, or its parts do not add up;
        with file, and line where it has one.
    """
    names: dict[str, str] = {}
    objects: dict[str, str] = {}
    found: dict[str, Counter[str]] = {}
    current, place, skip = "", "", False
    total: int | None = None
    cost_line = _cost_line(1)
    with path.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, start=1):
            text = line.rstrip("\n")
            if text.startswith("events:") and text.split()[1:2] != ["Ir"]:
                message = f"counts {text.removeprefix('events:').strip()!r}, not instructions"
                raise UnreadableOutputError(message, where=f"{path}:{number}")
            if text.startswith("positions:"):
                cost_line = _cost_line(len(text.split()) - 1)
            elif text.startswith(("fn=", "cfn=")):
                named = _named(text, names)
                current = current if text[0] == "c" else named
            elif text.startswith(("ob=", "cob=")):
                named = _named(text, objects)
                place = place if text[0] == "c" else named
            elif text.startswith("calls="):
                skip = True
            elif text.startswith(("totals:", "summary:")):
                total = _total(text, f"{path}:{number}")
            elif current and (cost := cost_line.match(text)) is not None:
                if not skip:
                    found.setdefault(place, Counter())[current] += int(cost["cost"])
                skip = False
    parts = sum(sum(functions.values()) for functions in found.values())
    if total is None or parts != total:
        message = f"callgrind's parts add up to {parts}, its total is {total}"
        remedy = "profile again: the file is cut short, or of another version"
        raise UnreadableOutputError(message, where=str(path), remedy=remedy)
    return Counts(total=total, objects=found)


def _cost_line(positions: int) -> re.Pattern[str]:
    """A line of cost behind so many columns of places."""
    return re.compile(f"^{_PLACE * positions}(?P<cost>\\d{{1,{_DIGITS}}})\\b")


def _total(text: str, where: str) -> int:
    words = text.split()
    if len(words) < 2 or not (words[1].isascii() and words[1].isdigit()) or len(words[1]) > _DIGITS:
        message = "a total without a whole number"
        remedy = "profile again: the file is cut short, or of another version"
        raise UnreadableOutputError(message, where=where, details=repr(text[:160]), remedy=remedy)
    return int(words[1])


def _named(text: str, names: dict[str, str]) -> str:
    """The name behind the `=`; it is given once, then by its number alone."""
    text = text.partition("=")[2]
    match = _NAME.match(text)
    if match is None:
        return text
    if match["name"] is not None:
        names[match["id"]] = match["name"]
    return names.get(match["id"], f"({match['id']})")

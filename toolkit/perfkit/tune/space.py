"""What can be tried: complete assignments of values, and the points of a grid.

Which one is tried next is the search's business.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from perfkit.records import Value


class Stage(StrEnum):
    """Where a candidate came from."""

    START = "start"
    RECOMMENDED = "recommended"
    BASE_GRID = "base_grid"
    EXTENDED_GRID = "extended_grid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One complete assignment: a value for every parameter, and why it is tried."""

    params: Mapping[str, Value]
    stage: Stage
    reason: str


def key(params: Mapping[str, Value]) -> str:
    """Equal for equal assignments, whatever the order; `1`, `1.0` and `true` stay apart."""
    return json.dumps(dict(params), sort_keys=True)


def difference(params: Mapping[str, Value], other: Mapping[str, Value]) -> tuple[str, ...]:
    """The names whose values are not the same in both."""
    names = dict.fromkeys((*params, *other))
    return tuple(name for name in names if _typed(params.get(name)) != _typed(other.get(name)))


def grid_points(
    start: Mapping[str, Value], grid: Mapping[str, Sequence[Value]]
) -> Iterator[dict[str, Value]]:
    """All combinations of a grid on top of the start, the last parameter running fastest."""
    if not grid:
        return
    for values in itertools.product(*grid.values()):
        yield {**start, **dict(zip(grid, values, strict=True))}


def _typed(value: Value | None) -> tuple[type, Value | None]:
    return type(value), value

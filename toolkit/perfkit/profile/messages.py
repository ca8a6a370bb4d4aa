"""What profilers say when something is wrong, turned into a named error or a note.

The texts are in `messages.toml`; they come from users' reports and from the tools themselves. The
caller knows which tool ran and what it left behind; nothing is started here.
"""

from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from perfkit.errors import (
    CaptureError,
    PerfkitError,
    PermissionRefusedError,
    ToolError,
    ToolFailedError,
    ToolMissingError,
    UnreadableOutputError,
    UsageError,
)
from perfkit.records import Note

if TYPE_CHECKING:
    from collections.abc import Mapping


_ERRORS: Mapping[str, type[PerfkitError] | None] = {
    "refused": PermissionRefusedError,
    "missing": ToolMissingError,  # a program or an event
    "unsupported": ToolError,  # this tool cannot look at this target
    "empty": CaptureError,
    "unusable": CaptureError,  # there is a capture, and it is wrong
    "unreadable": UnreadableOutputError,
    "target": ToolError,  # the profiled program's own fault
    "usage": UsageError,
    "crashed": ToolError,
    "harmless": None,
}
"""The error of each kind of message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One text of a tool and what it means; it is harmless without an error."""

    id: str
    error: type[PerfkitError] | None
    pattern: re.Pattern[str]
    message: str
    remedy: str
    profilers: tuple[str, ...]


@functools.cache
def _entries() -> tuple[Known, ...]:
    text = resources.files("perfkit.profile").joinpath("messages.toml").read_text(encoding="utf-8")
    return tuple(
        Known(
            id=item["id"],
            error=_ERRORS[item["kind"]],
            pattern=re.compile(item.get("pattern", "(?!)")),  # without one: matches nothing
            message=item["message"],
            remedy=item.get("remedy", ""),
            profilers=tuple(item["profilers"]),
        )
        for item in tomllib.loads(text)["known"]
    )


def known(profiler: str) -> tuple[Known, ...]:
    """The texts of one profiler, in the order they are tried: what explains most comes first."""
    return tuple(item for item in _entries() if profiler in item.profilers)


def entry(profiler: str, id_: str) -> Known:
    """A profiler's text by its id, such as a cause that its output alone does not tell."""
    return next(item for item in known(profiler) if item.id == id_)


def find(profiler: str, text: str) -> Known | None:
    """The first known text in a tool's output that is not harmless."""
    found = (item for item in known(profiler) if item.error and item.pattern.search(text))
    return next(found, None)


def notes(profiler: str, text: str) -> tuple[Note, ...]:
    """Every known text in the output of a run that left a capture."""
    return tuple(
        Note(
            id=f"{profiler}.{item.id}",
            text=item.message,
            where=_line_of(text, match),
            remedy=item.remedy,
        )
        for item in known(profiler)
        if (match := item.pattern.search(text)) is not None
    )


def failure(
    profiler: str, text: str, *, where: str = "", returncode: int | None = None
) -> PerfkitError:
    """The error for a run that left no capture: a named one if its words are known."""
    item = find(profiler, text)
    details = text.strip()[-2_000:]
    if item is not None and item.error is not None:
        return item.error(item.message, where=where, remedy=item.remedy, details=details)
    message = f"{profiler} left no capture"
    remedy = "run the command above by itself"
    if returncode is not None and returncode != 0:
        message = f"{profiler} ended with exit code {returncode} and left no capture"
        return ToolFailedError(message, where=where, remedy=remedy, details=details)
    return CaptureError(message, where=where, remedy=remedy, details=details)


def lost_samples(text: str, samples: int) -> int:
    """How many samples a tool says that it lost; a chunk counts as one sample at least.

    Both of perf's lines may come with a decimal comma, whatever the locale asked for.
    """
    lost = 0
    for item in _entries():
        for match in item.pattern.finditer(text):
            told = match.groupdict()
            if "lost" in told:
                lost = max(lost, int(told["lost"]))
            elif "percent" in told:
                share = float(told["percent"].replace(",", ".")) / 100
                lost = max(lost, round(samples * share / (1 - share)) if share < 1 else samples)
    return lost


def _line_of(text: str, match: re.Match[str]) -> str:
    begin = text.rfind("\n", 0, match.start()) + 1
    end = text.find("\n", match.end())
    return text[begin : end if end >= 0 else len(text)].strip()[:200]

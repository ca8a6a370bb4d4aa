"""What maturin, cargo, rustc and the linker say when they fail, and what to do about it.

The known texts are in `remedies.toml`.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from importlib import resources

_MOST_CHARACTERS = 8_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One known failure: a pattern of its text, what it means, and what to do."""

    pattern: str
    means: str
    remedy: str


TABLE = tuple(
    Remedy(**item)
    for item in tomllib.loads(
        resources.files("perfkit.subject").joinpath("remedies.toml").read_text(encoding="utf-8")
    )["known"]
)
"""All known failures, in the order of trying."""

WAITING_TEXT = "Blocking waiting for file lock"
"""What cargo prints, and then nothing, while another cargo works in the same folder."""


def explain(output: str) -> Remedy | None:
    """The first known failure in a build's output."""
    return next((entry for entry in TABLE if re.search(entry.pattern, output)), None)


def error_text(output: str) -> str:
    """The part of a build's output that says what is wrong: from the first error on.

    Of a long text it keeps the beginning: the first error causes the others.
    """
    lines = output.strip().splitlines()
    starts = (
        index
        for index, line in enumerate(lines)
        if re.match(r"error(?:\[E\d+\])?:|💥|Error:|\s*Caused by:", line.lstrip())
    )
    text = "\n".join(lines[next(starts, 0) :])
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "\n…"

"""Make docs/report.svg, the picture of a report in README.md, from the run in profiles/examples.

Run by `make docs`; a test fails when the picture is older than what the program shows.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console

from perfkit.report import console, finished
from perfkit.store import Run, list_runs

PICTURE = Path(__file__).with_name("report.svg")
EXAMPLES = Path(__file__).parents[1] / "profiles" / "examples"
WIDTH = 92
_FETCHED_FONT = re.compile(r"\s*@font-face \{.*?\n\s*\}", re.DOTALL)
"""rich names fonts on the network; any monospaced font does."""


def example() -> Run:
    """The run that is shown."""
    (run,) = list_runs(EXAMPLES)
    return run


def picture() -> str:
    """What `perfkit report` shows on a terminal, as SVG."""
    recorder = Console(
        width=WIDTH,
        file=io.StringIO(),
        record=True,
        force_terminal=True,
        color_system="standard",
        highlight=False,
        legacy_windows=False,
    )
    console.show(finished.load(example()).page, recorder)
    drawn = recorder.export_svg(title="perfkit profile --workload call_price_plain --sizes 10k")
    return _FETCHED_FONT.sub("", drawn)


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")

"""Make docs/reference.md from the command line and the config model, so that it cannot be wrong.

Run by `make docs`; a test fails when the page is older than what it describes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from typer.main import get_command

from perfkit import process
from perfkit.cli.app import app
from perfkit.config import describe_keys
from perfkit.errors import ExitCode
from perfkit.report import markdown, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).with_name("reference.md")
MEANINGS = {
    ExitCode.GOOD: "judged, and good",
    ExitCode.ERROR: "the run failed, or an internal error",
    ExitCode.USAGE: "usage or configuration",
    ExitCode.GATE: "judged: a gate is not met (a target missed, a regression)",
    ExitCode.NO_VERDICT: "measured, but no verdict: busy machine, "
    "estimators that disagree, copies of a build that differ",
    ExitCode.BUILD_FAILED: "the build failed",
    ExitCode.MISSING: "a tool or a permission is missing",
    ExitCode.INTERRUPTED: "interrupted; what was collected is written",
}


def commands(command: object, words: tuple[str, ...] = ()) -> Iterator[str]:
    """Every command below one, by its words, in the order of registration."""
    inner = getattr(command, "commands", {})
    if not inner:
        yield " ".join(words)
    for name in inner:
        yield from commands(inner[name], (*words, name))


def help_text(command: str) -> str:
    """What `perfkit COMMAND --help` prints, 80 columns wide."""
    env = {"PATH": os.environ["PATH"], "COLUMNS": "80", "TERMINAL_WIDTH": "80", "LC_ALL": "C.UTF-8"}
    argv = [sys.executable, "-m", "perfkit", *command.split(), "--help"]
    return process.run(argv, env=env).stdout.rstrip()


def reference() -> str:
    """The whole page."""
    parts = [
        "# Reference",
        "Made by `make docs` from the program itself.",
        "## Exit codes",
        "| code | meaning |\n|---|---|\n"
        + "\n".join(f"| {int(code)} | {MEANINGS[code]} |" for code in ExitCode),
        "## Commands",
    ]
    for command in commands(get_command(app)):
        parts += [f"### `perfkit {command}`", f"```text\n{help_text(command)}\n```"]
    parts += [
        "## Configuration",
        markdown.render(settings.keys_report(describe_keys()).page).strip(),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")

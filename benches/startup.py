"""How long perfkit's help takes compared with `import typer`, as ratios.

The limits are 1.5 for `perfkit --help` and 3 for the help of each command; only the slowest command
is printed. It exits with 1 if a limit is exceeded. The order within a round is random, and each
result is the median of per-round ratios.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from typer.main import get_command

from perfkit.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 15
BASE = "import typer"
WHOLE, WHOLE_LIMIT = "perfkit --help", 1.5
COMMAND_LIMIT = 3.0


def commands(command: object, words: tuple[str, ...] = ("perfkit",)) -> Iterator[str]:
    """The `--help` of every command and group below one."""
    for name, inner in getattr(command, "commands", {}).items():
        yield " ".join((*words, name, "--help"))
        yield from commands(inner, (*words, name))


def start(name: str) -> list[str]:
    """The command line for a name."""
    if name == BASE:
        return [sys.executable, "-c", BASE]
    words = name.split()[1:]
    code = (
        f"import sys; sys.argv = ['perfkit', *{words!r}]; from perfkit.cli.app import main; main()"
    )
    return [sys.executable, "-c", code]


def seconds(name: str) -> float:
    """Wall clock of one run, which must succeed."""
    begin = time.perf_counter()
    subprocess.run(start(name), check=True, capture_output=True)
    return time.perf_counter() - begin


def main() -> int:
    """Measure, print, judge."""
    each = list(commands(get_command(app)))
    names = [BASE, WHOLE, *each]
    for name in names:
        seconds(name)  # warms compiled files and the page cache
    rounds = []
    for _ in range(ROUNDS):
        random.shuffle(names)
        rounds.append({name: seconds(name) for name in names})
    ratios = {
        name: statistics.median(one[name] / one[BASE] for one in rounds) for name in (WHOLE, *each)
    }
    worst = max(each, key=lambda name: ratios[name])
    print(f"`{BASE}`: {statistics.median(one[BASE] for one in rounds) * 1e3:.0f} ms")
    print(f"`{WHOLE}`: {ratios[WHOLE]:.2f} times as long (limit {WHOLE_LIMIT})")
    print(
        f"`{worst}`, the slowest of {len(each)}: {ratios[worst]:.2f} times as long "
        f"(limit {COMMAND_LIMIT})"
    )
    return 1 if ratios[WHOLE] > WHOLE_LIMIT or ratios[worst] > COMMAND_LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())

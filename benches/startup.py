"""How long `perfkit --help` takes beside `import typer`: run side by side, printed as ratios.

The limits are 1.5 for `perfkit --help` and 3 for `perfkit COMMAND --help`; it ends with 1 when one
of them is exceeded. The order within a round is random, and the figure is the median of per-round
ratios.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time

ROUNDS = 25
LIMITS = {"perfkit --help": 1.5, "perfkit measure --help": 3.0}
BASE = "import typer"


def command(name: str) -> list[str]:
    """What is started for a name."""
    if name == BASE:
        return [sys.executable, "-c", BASE]
    words = name.split()[1:]
    code = (
        f"import sys; sys.argv = ['perfkit', *{words!r}]; from perfkit.cli.app import main; main()"
    )
    return [sys.executable, "-c", code]


def seconds(name: str) -> float:
    """Wall clock of one start, which must succeed."""
    begin = time.perf_counter()
    subprocess.run(command(name), check=True, capture_output=True)
    return time.perf_counter() - begin


def main() -> int:
    """Measure, print, judge."""
    names = [BASE, *LIMITS]
    for name in names:
        seconds(name)  # compiled files and the page cache
    rounds = []
    for _ in range(ROUNDS):
        random.shuffle(names)
        rounds.append({name: seconds(name) for name in names})
    exceeded = 0
    print(f"`{BASE}`: {statistics.median(each[BASE] for each in rounds) * 1e3:.0f} ms")
    for name, limit in LIMITS.items():
        ratio = statistics.median(each[name] / each[BASE] for each in rounds)
        print(f"`{name}`: {ratio:.2f} times as long (limit {limit})")
        exceeded += ratio > limit
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())

"""How fast the engine reads profiles, and in how much memory, compared with inferno's commands.

    python benches/engine_parse.py                 # 50 MB of each text
    python benches/engine_parse.py --mb 1024

This script makes each text from a fixed seed. Both sides run as whole processes (ours including the
start of Python), in turn, and must give the same result before anything is timed. The limits are
perfkit's promise: at least 0.9 times the speed of inferno's command, and a peak below 300 MB.

The texts: `perf` is text of `perf script` in which most samples repeat one of 3,000 stacks, as in a
benchmark's loop. In `perf-distinct` every sample has a different stack. `folded` has a different
stack on every line.

`whole path` is what `perfkit profile` does with the text of a capture: it looks up the places of
the subject's module, and folds the samples of the process inside the measured windows. inferno's
command does neither. Reading and writing folded stacks is compared with the inferno command that
does the same and also merges recursion, of which the text has none.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import re
import shutil
import statistics
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SEED = 20261123
LEAST_SPEED = 0.9
MOST_MEMORY = 300e6  # bytes
MODULES = ("/usr/lib/libpython3.13.so.1.0", "/usr/lib/libc.so.6", "/home/user/kernel.abi3.so")

COLLAPSE = (
    "import sys; from pathlib import Path; from perfkit import _engine;"
    "_engine.collapse_perf(Path(sys.argv[1]), Path(sys.argv[2]))"
)
WHOLE_PATH = (
    "import sys; from pathlib import Path; from perfkit import _engine;"
    f"script, module = Path(sys.argv[1]), {MODULES[2]!r};"
    "assert _engine.perf_places(script, module);"
    "windows = [(float(n), n + 1.0) for n in range(1000, 3000)];"
    "_engine.collapse_perf(script, Path(sys.argv[2]), pid=4242, windows=windows,"
    " chains=(module, {1: ('nowhere',)}))"
)
READ = (
    "import sys; from pathlib import Path; from perfkit import _engine;"
    "_engine.read_folded(Path(sys.argv[1])).write(Path(sys.argv[2]))"
)
DRAW = (
    "import sys; from pathlib import Path; from perfkit import _engine;"
    "_engine.flamegraph(Path(sys.argv[1]), Path(sys.argv[2]), title='Flame Graph')"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one process took.

    Attributes:
        seconds: wall clock from start to end.
        peak_bytes: largest resident memory.
    """

    seconds: float
    peak_bytes: int


def run(argv: Sequence[str], output: Path) -> Cost:
    """Run a command with its standard output in a file."""
    with output.open("wb") as stream:
        start = time.perf_counter()
        child = os.posix_spawn(
            argv[0],
            list(argv),
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, stream.fileno(), 1)],
        )
        _, status, usage = os.wait4(child, 0)
        seconds = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status) != 0:
        message = f"{argv[0]} ended with status {status}"
        raise SystemExit(message)
    return Cost(seconds=seconds, peak_bytes=usage.ru_maxrss * 1024)


def apart(work: Callable[[], bool]) -> bool:
    """Do something memory-hungry in a fork.

    The peak memory that the system reports for a child starts at the size of its parent. This
    process must therefore stay small, or the figures would not be those of the commands.
    """
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if work() else 1)
        except BaseException:
            traceback.print_exc()
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def symbols(random_: random.Random) -> list[str]:
    """500 names as perf prints them, of equal length so that none is a prefix of another."""
    letters = "abcdefghijklmnopqrstuvwxyz_"
    return ["".join(random_.choices(letters, k=6)) + "::" + f"{n:03}" * 6 for n in range(500)]


def stacks(random_: random.Random, *, number: int) -> list[list[int]]:
    """Stacks of 15 to 30 frames, by number of symbol, root first."""
    return [[random_.randrange(500) for _ in range(random_.randint(15, 30))] for _ in range(number)]


def perf_text(size: int, *, distinct: bool) -> Iterator[str]:
    """Samples as `perf script` prints them, `size` characters in all."""
    random_ = random.Random(SEED)
    names = symbols(random_)
    frames = [f"{name} ({MODULES[n % 3]})\n" for n, name in enumerate(names)]
    known = stacks(random_, number=3_000)
    clock = 1000.0
    written = 0
    while written < size:
        (stack,) = stacks(random_, number=1) if distinct else random_.choices(known)
        clock += 0.001
        thread = random_.randrange(4)
        lines = [f"python3  4242/{4242 + thread} {clock:.6f}: cpu-clock: \n"]
        lines += [
            f"\t    7f7e{random_.getrandbits(6) + frame * 64:08x} {frames[frame]}"
            for frame in reversed(stack)
        ]
        text = "".join(lines) + "\n"
        written += len(text)
        yield text


def folded_text(size: int) -> Iterator[str]:
    """Folded stacks without recursion, `size` characters in all."""
    random_ = random.Random(SEED)
    names = symbols(random_)
    written = 0
    while written < size:
        (drawn,) = stacks(random_, number=1)
        stack = [frame for frame, above in itertools.pairwise([*drawn, -1]) if frame != above]
        line = ";".join(names[frame] for frame in stack) + f" {random_.randint(1, 99)}\n"
        written += len(line)
        yield line


def folded_stacks(path: Path) -> Counter[str]:
    """The stacks of a folded file, read in the simplest way."""
    counts: Counter[str] = Counter()
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            stack, _, count = line.rpartition(" ")
            counts[stack] += int(count)
    return counts


def boxes(path: Path) -> Counter[str]:
    """The tooltips of a flame graph."""
    return Counter(re.findall(r"<title>(.*?)</title>", path.read_text(encoding="utf-8")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One comparison.

    Attributes:
        text: which of the texts.
        code: what our side runs.
        command: inferno's side, without the input.
        same: gives the part of a result that must be equal on both sides.
        speed_counts: whether the promise about speed covers this case.
        memory_counts: whether the promise about memory covers it.
    """

    name: str
    text: str
    code: str
    command: tuple[str, ...]
    same: Callable[[Path], object]
    speed_counts: bool = True
    memory_counts: bool = True


PERF = ("inferno-collapse-perf", "--pid", "--tid", "--kernel")
CASES = (
    Case(name="collapse", text="perf", code=COLLAPSE, command=PERF, same=folded_stacks),
    Case(name="whole path", text="perf", code=WHOLE_PATH, command=PERF, same=folded_stacks),
    Case(
        name="collapse, all distinct",
        text="perf-distinct",
        code=COLLAPSE,
        command=PERF,
        same=folded_stacks,
    ),
    Case(
        name="whole path, distinct",
        text="perf-distinct",
        code=WHOLE_PATH,
        command=PERF,
        same=folded_stacks,
    ),
    Case(
        name="read folded",
        text="folded",
        code=READ,
        command=("inferno-collapse-recursive",),
        same=folded_stacks,
    ),
    Case(
        name="draw folded",
        text="folded",
        code=DRAW,
        command=("inferno-flamegraph",),
        same=boxes,
        memory_counts=False,  # inferno holds the picture of a gigabyte in memory
    ),
)


def compare(case: Case, source: Path, folder: Path, rounds: int, *, surely: bool) -> bool:
    """Time one case, print its line, and return whether it keeps the promise.

    Args:
        surely: the promise about speed is broken only if every round breaks it.
    """
    ours, theirs = folder / "ours.out", folder / "theirs.out"
    command = shutil.which(case.command[0])
    assert command is not None
    by_us = [sys.executable, "-c", case.code, str(source), str(ours)]
    by_inferno = [command, *case.command[1:], str(source)]
    run(by_us, folder / "unused.out")
    run(by_inferno, theirs)
    same = case.same
    assert apart(lambda: same(ours) == same(theirs)), f"{case.name}: the results differ"
    ratios, own, other = [], [], []
    for number in range(rounds):
        pair = [(own, by_us, folder / "unused.out"), (other, by_inferno, theirs)]
        for costs, argv, output in pair if number % 2 else pair[::-1]:
            costs.append(run(argv, output))
        ratios.append(other[-1].seconds / own[-1].seconds)
    ratio, peak = statistics.median(ratios), max(cost.peak_bytes for cost in own)
    megabytes = source.stat().st_size / 1e6
    print(
        f"{case.name:<22} {megabytes:6.0f} MB  speed {ratio:5.2f}x inferno's "
        f"({min(ratios):.2f} to {max(ratios):.2f})  "
        f"{megabytes / statistics.median(cost.seconds for cost in own):5.0f} MB/s  "
        f"peak {peak / 1e6:5.0f} MB (inferno {max(c.peak_bytes for c in other) / 1e6:.0f} MB)"
    )
    speed = max(ratios) if surely else ratio
    return (speed >= LEAST_SPEED or not case.speed_counts) and (
        peak < MOST_MEMORY or not case.memory_counts
    )


def write(path: Path, text: Callable[[], Iterator[str]]) -> bool:
    """Write a text piece by piece."""
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(text())
    return True


def main() -> int:
    """Run all cases; return 1 if a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mb", type=int, default=50, help="megabytes of each text")
    parser.add_argument("--rounds", type=int, default=5, help="how many times each side is timed")
    parser.add_argument(
        "--surely", action="store_true", help="fail a speed only if every round misses it"
    )
    parser.add_argument("--case", choices=[case.name for case in CASES], help="only this one")
    options = parser.parse_args()
    if shutil.which("inferno-collapse-perf") is None:
        print(
            "inferno's commands are not installed: cargo install inferno --version 0.12.8",
            file=sys.stderr,
        )
        return 1
    size = options.mb * 1_000_000
    texts = {
        "perf": lambda: perf_text(size, distinct=False),
        "perf-distinct": lambda: perf_text(size, distinct=True),
        "folded": lambda: folded_text(size),
    }
    kept = True
    with tempfile.TemporaryDirectory(prefix="perfkit-bench-") as name:
        folder = Path(name)
        for case in CASES:
            if options.case not in (None, case.name):
                continue
            source = folder / case.text
            if not source.exists():
                for old in texts:
                    (folder / old).unlink(missing_ok=True)
                assert apart(partial(write, source, texts[case.text])), "no text was made"
            kept = compare(case, source, folder, options.rounds, surely=options.surely) and kept
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

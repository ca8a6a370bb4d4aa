"""The table of docs/measuring.md: how often perfkit is wrong about work whose cost is known.

    python tests/truth/table.py run --minutes 4       as often as you like; it goes on where it was
    python tests/truth/table.py show                  the table, from everything that was run

Rows are appended to a journal as they are measured. Nothing here is part of perfkit.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent))

import journal
import known_lab

from perfkit.measure import session, statistics
from perfkit.measure.results import Change
from perfkit.records import Interval, MeasureVerdict
from perfkit.subject.child import worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JOURNAL = known_lab.ROOT / "target" / "truth" / "table.jsonl"
OTHERS = {"equal": 0.0, "plus1": 0.01, "plus2": 0.02, "plus5": 0.05}
SHARE_OF_ARMS = 2.0
"""Six arms get twice the time that three would: each pair then has what a comparison alone has."""

SEQUENTIAL_S = 1.0
LEAST_CALLS = 16


@contextlib.contextmanager
def hog(count: int) -> Iterator[None]:
    """Programs that keep a core busy each."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def compare(kernel: known_lab.Kernel, seed: int, *, gated: bool) -> dict[str, Any]:
    """One measurement: equal and slower builds against the subject."""
    begin = time.perf_counter()
    plan = known_lab.plan(
        kernel,
        OTHERS,
        seed=seed,
        gated=gated,
        time_limit_s=SHARE_OF_ARMS * kernel.limit_s,
        width=0.003,
        patience_s=5.0,
    )
    found = session.measure(plan)
    row: dict[str, Any] = {
        "verdict": str(found.verdict),
        "seconds": time.perf_counter() - begin,
        "blocks": found.raw[0].blocks,
        "valid": found.raw[0].valid_blocks,
        "cores": float(np.median(found.effective_cores)),
        "foreign": _foreign(found),
        "floor": None,
        "others": {},
    }
    if found.verdict is MeasureVerdict.BUSY:
        return row
    point = found.points[0]
    row["floor"] = point.noise_floor(known_lab.SUBJECT, known_lab.COPY)
    for name in (known_lab.COPY, *OTHERS):
        ratio = point.log_ratio(known_lab.SUBJECT, name)
        row["others"][name] = {
            "estimate": ratio.estimate,
            "low": ratio.low,
            "high": ratio.high,
            "change": str(point.change(known_lab.SUBJECT, name, row["floor"])),
        }
    return row


def _foreign(found: Any) -> float | None:  # noqa: ANN401
    seen = [
        block.end.foreign_cores
        for part in found.raw[0].sessions
        for block in part
        if block.end.foreign_cores is not None
    ]
    return float(np.median(seen)) if seen else None


def refuse(kernel: known_lab.Kernel, seed: int) -> dict[str, Any]:
    """A measurement beside a program that keeps a core busy, without patience."""
    plan = known_lab.plan(kernel, {"equal": 0.0}, seed=seed, patience_s=0.0, time_limit_s=5.0)
    found = session.measure(plan)
    change = None
    if found.points:
        point = found.points[0]
        floor = point.noise_floor(known_lab.SUBJECT, known_lab.COPY)
        change = str(point.change(known_lab.SUBJECT, "equal", floor))
    return {"verdict": str(found.verdict), "change": change}


def one_after_the_other(kernel: known_lab.Kernel, seed: int) -> dict[str, Any]:
    """What others do: all of A, then all of B, in two processes; equal builds.

    `stored` follows criterion's rule (95 % bootstrap interval of the change of the mean beyond its
    noise threshold of 1 %), `means` pyperf's (Student's t at 95 % on the two samples).
    """
    samples = []
    work = known_lab.workload(kernel)
    for _ in range(2):
        with worker(known_lab.spec(0.0)) as one:
            arm = one.prepare(work, kernel.units, which="call", seed=seed)
            one.calibrate(arm, batch_s=5e-4)
            end = time.perf_counter() + SEQUENTIAL_S
            taken = []
            while time.perf_counter() < end:
                taken.append(one.time(arm, LEAST_CALLS, untimed=0).per_call_s)
            samples.append(np.array(taken))
    first, second = samples
    chance = np.random.default_rng(seed)
    changes = [
        chance.choice(second, len(second)).mean() / chance.choice(first, len(first)).mean() - 1
        for _ in range(2_000)
    ]
    low, high = np.quantile(changes, [0.025, 0.975])
    t_test = stats.ttest_ind(first, second)
    return {
        "stored": bool(low > 0.01 or high < -0.01),
        "means": bool(t_test.pvalue < 0.05),
        "log_ratio_of_means": math.log(second.mean() / first.mean()),
        "seconds": 2 * SEQUENTIAL_S,
    }


def paired(kernel: known_lab.Kernel, seed: int) -> dict[str, Any]:
    """perfkit's estimate for equal builds in the same seconds as `one_after_the_other`."""
    plan = known_lab.plan(
        kernel, {}, seed=seed, gated=False, time_limit_s=2 * SEQUENTIAL_S, width=1e-9
    )
    point = session.measure(plan).points[0]
    ratio = point.log_ratio(known_lab.SUBJECT, known_lab.COPY)
    return {"estimate": ratio.estimate, "low": ratio.low, "high": ratio.high}


def beside(kernel: known_lab.Kernel, seed: int) -> dict[str, Any]:
    """Both ways in turn, so that they see the same machine."""
    if seed % 2:
        return {"paired": paired(kernel, seed), "others": one_after_the_other(kernel, seed)}
    others = one_after_the_other(kernel, seed)
    return {"paired": paired(kernel, seed), "others": others}


CELLS: dict[str, tuple[int, int, Callable[[known_lab.Kernel, int], dict[str, Any]]]] = {
    # name: programs that keep a core busy, rows wanted, what is done
    "quiet": (0, 150, lambda kernel, seed: compare(kernel, seed, gated=True)),
    "neighbour, gate off": (1, 50, lambda kernel, seed: compare(kernel, seed, gated=False)),
    "hogged": (1, 75, refuse),
    "beside": (0, 50, beside),
}


def run(minutes: float, only: str | None) -> None:
    """Measure what is missing, the emptiest cell first, until the time is over."""
    known_lab.build_library(dict(os.environ))
    end = time.monotonic() + 60 * minutes
    have: dict[tuple[str, str], int] = {}
    for row in journal.rows(JOURNAL):
        key = row["cell"], row["kernel"]
        have[key] = max(have.get(key, 0), row["seed"] + 1)
    while time.monotonic() < end:
        open_cells = [
            (have.get((cell, name), 0) / CELLS[cell][1], cell, name)
            for cell in CELLS
            for name in known_lab.KERNELS
            if only in (None, cell) and have.get((cell, name), 0) < CELLS[cell][1]
        ]
        if not open_cells:
            return
        _, cell, name = min(open_cells)
        hogs, _, measure = CELLS[cell]
        seed = have.get((cell, name), 0)
        with hog(hogs):
            found = measure(known_lab.KERNELS[name], seed)
        line = {"cell": cell, "kernel": name, "seed": seed, **found}
        journal.append(JOURNAL, line)
        have[cell, name] = seed + 1


def share(hits: int, trials: int) -> str:
    """A share with Wilson's interval, or nothing where there was no trial."""
    if not trials:
        return "–"
    found = statistics.wilson(hits, trials)
    return (
        f"{hits} of {trials} = {100 * found.estimate:.1f} % "
        f"[{100 * found.low:.1f}, {100 * found.high:.1f}]"
    )


def show() -> str:
    """The table as Markdown."""
    lines = ["| what | kernel | machine | result |", "|---|---|---|---|"]
    done = journal.rows(JOURNAL)
    for cell in ("quiet", "neighbour, gate off"):
        for name in known_lab.KERNELS:
            part = [row for row in done if (row["cell"], row["kernel"]) == (cell, name)]
            lines += _compared(part, name, cell)
    for name in known_lab.KERNELS:
        part = [row for row in done if (row["cell"], row["kernel"]) == ("hogged", name)]
        busy = sum(row["verdict"] == "busy" for row in part)
        wrong = sum(row["change"] not in (None, str(Change.NONE)) for row in part)
        lines.append(f"| refused (M7) | {name} | hogged core | {share(busy, len(part))} |")
        lines.append(f"| wrong verdicts | {name} | hogged core | {wrong} of {len(part)} |")
    for name in known_lab.KERNELS:
        part = [row for row in done if (row["cell"], row["kernel"]) == ("beside", name)]
        lines += _beside(part, name)
    return "\n".join(lines) + "\n"


def _compared(part: list[dict[str, Any]], name: str, cell: str) -> list[str]:
    judged = [row for row in part if row["verdict"] in ("ok", "unchecked")]
    alarms = sum(row["others"]["equal"]["change"] != str(Change.NONE) for row in judged)
    withheld = {
        verdict: sum(row["verdict"] == verdict for row in part) for verdict in ("busy", "untrusted")
    }
    text = f"{share(alarms, len(judged))}; withheld: {withheld['busy']} busy, "
    text += f"{withheld['untrusted']} untrusted"
    lines = [f"| false alarms (M1) | {name} | {cell} | {text} |"]
    for other, extra in OTHERS.items():
        if extra:
            hits = sum(row["others"][other]["change"] == str(Change.FASTER) for row in judged)
            what = f"+{100 * extra:.0f} % found (M2)"
            lines.append(f"| {what} | {name} | {cell} | {share(hits, len(judged))} |")
    covered = trials = 0
    for row in judged:
        for other, extra in OTHERS.items():
            found = Interval(**{k: row["others"][other][k] for k in ("estimate", "low", "high")})
            covered += found.low <= math.log1p(extra) <= found.high
            trials += 1
    lines.append(f"| coverage (M3) | {name} | {cell} | {share(covered, trials)} |")
    return lines


def _beside(part: list[dict[str, Any]], name: str) -> list[str]:
    count = len(part)
    lines = [
        f"| false alarms, criterion's rule | {name} | quiet | "
        f"{share(sum(row['others']['stored'] for row in part), count)} |",
        f"| false alarms, pyperf's rule | {name} | quiet | "
        f"{share(sum(row['others']['means'] for row in part), count)} |",
    ]
    if count >= LEAST_CALLS:
        ours = np.quantile([abs(row["paired"]["estimate"]) for row in part], 0.95)
        theirs = np.quantile([abs(row["others"]["log_ratio_of_means"]) for row in part], 0.95)
        text = f"{100 * ours:.3f} % against {100 * theirs:.2f} %: {theirs / ours:.0f} times tighter"
        lines.append(f"| error at p95, same seconds (n = {count}) | {name} | quiet | {text} |")
    return lines


def main() -> None:
    """Run or show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["run", "show"])
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--cell", choices=sorted(CELLS))
    arguments = parser.parse_args()
    if arguments.action == "run":
        run(arguments.minutes, arguments.cell)
    sys.stdout.write(show())


if __name__ == "__main__":
    main()

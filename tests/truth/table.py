"""The table of docs/measuring.md: how often perfkit is wrong about work of known cost.

    python tests/truth/table.py run --rows 1     repeat as often as you like; it resumes
    python tests/truth/table.py show             the table, from the newest revision's rows
    python tests/truth/table.py check            each promise against its figure; exit 3 if missed

Rows are appended to a journal as they are measured (`table_rows.py`). Only rows of one state of the
code and one machine are combined. Nothing here is part of perfkit.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent))

import journal
import known_lab
import table_rows
from known_lab import SUBJECT, Change
from table_rows import CELLS, COVERED, OTHERS, PAIRS

from perfkit.records import Interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Row = dict[str, Any]

KERNELS = tuple(known_lab.KERNELS)
GATE_MISSED = 3
RESAMPLES = 2_000


def share(parts: Iterable[tuple[int, int]]) -> Interval | None:
    """The share of hits over runs of (hits, trials), with an interval.

    The trials of one run depend on each other. So the interval is Wilson's for the number of
    independent trials that they are worth. If nothing or everything was hit, the dependence is
    unknown, and a run counts as one trial.
    """
    counts = np.array([part for part in parts if part[1]], dtype=float).reshape(-1, 2)
    hits, trials = counts.sum(axis=0)
    if not trials:
        return None
    rate, runs = hits / trials, len(counts)
    worth = float(runs)
    if 0 < rate < 1 and runs > 1:
        spread = ((counts[:, 0] - rate * counts[:, 1]) ** 2).sum() * runs / (runs - 1)
        inflation = max(1.0, spread / (trials * rate * (1 - rate)))
        worth = trials / inflation
    share = stats.binomtest(round(rate * worth), max(1, round(worth)))
    found = share.proportion_ci(method="wilson")
    return Interval(estimate=rate, low=min(found.low, rate), high=max(found.high, rate))


def tighter(rows: Sequence[Row]) -> Interval | None:
    """How many times smaller the paired estimate's root mean square error is."""
    if len(rows) < 2:
        return None
    errors = np.array([(row["paired"], row["log_ratio_of_means"]) for row in rows])
    chance = np.random.default_rng(0)

    def times(part: np.ndarray) -> float:
        ours, theirs = np.sqrt((part**2).mean(axis=0))
        return float(theirs / ours)

    again = [times(errors[chance.integers(len(rows), size=len(rows))]) for _ in range(RESAMPLES)]
    low, high = np.quantile(again, [0.025, 0.975])
    return Interval(estimate=times(errors), low=float(low), high=float(high))


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The rows of one revision on one machine."""

    rows: tuple[Row, ...]

    def part(self, cell: str, *kernels: str) -> list[Row]:
        """The rows of a cell."""
        return [r for r in self.rows if r["cell"] == cell and r["kernel"] in (kernels or KERNELS)]

    def judged(self, cell: str, *kernels: str) -> list[Row]:
        """The rows of a cell that got a verdict."""
        return [row for row in self.part(cell, *kernels) if row["verdict"] == "ok"]

    def alarms(self, cell: str, *kernels: str) -> list[tuple[int, int]]:
        """Changes claimed between equal builds, by run."""
        return [
            (sum(_claimed(row, *pair) != Change.NONE for pair in PAIRS), len(PAIRS))
            for row in self.judged(cell, *kernels)
        ]

    def found(self, cell: str, more: str, *kernels: str) -> list[tuple[int, int]]:
        """Runs that found the subject faster than the build that does that much more."""
        return [
            (_claimed(row, SUBJECT, more) == Change.FASTER, 1)
            for row in self.judged(cell, *kernels)
        ]

    def covered(self, cell: str, *kernels: str) -> list[tuple[int, int]]:
        """Known ratios that are inside their intervals, by run."""
        counts = []
        for row in self.judged(cell, *kernels):
            hits = 0
            for one, other in COVERED:
                ratio = row["ratios"][f"{one}/{other}"]
                hits += ratio["low"] <= math.log1p(OTHERS[other]) <= ratio["high"]
            counts.append((hits, len(COVERED)))
        return counts

    def refused(self, *kernels: str) -> list[tuple[int, int]]:
        """Runs next to a hogged core that ended with `busy`."""
        return [(row["verdict"] == "busy", 1) for row in self.part("hogged", *kernels)]

    def wrong(self, *kernels: str) -> list[tuple[int, int]]:
        """Changes claimed between equal builds next to a hogged core."""
        part = self.part("hogged", *kernels)
        return [(row["change"] not in (None, Change.NONE), 1) for row in part]


def _claimed(row: Row, one: str, other: str) -> str:
    return str(row["ratios"][f"{one}/{other}"]["change"])


def newest(rows: Sequence[Row]) -> Table:
    """The rows with the same revision and machine as the last one."""
    stamps = [(row.get("revision"), row.get("machine")) for row in rows]
    return Table(
        rows=tuple(r for r, stamp in zip(rows, stamps, strict=True) if stamp == stamps[-1])
    )


def _said(parts: Sequence[tuple[int, int]]) -> str:
    found = share(parts)
    if found is None:
        return "–"
    hits, trials = (sum(column) for column in zip(*parts, strict=True))
    return (
        f"{hits} of {trials} = {100 * found.estimate:.1f} % "
        f"[{100 * found.low:.1f}, {100 * found.high:.1f}]"
    )


def show(table: Table) -> str:
    """The table as Markdown."""
    if not table.rows:
        return "nothing measured yet\n"
    stamp = table.rows[-1]
    lines = [f"Revision {stamp['revision']} on {stamp['machine']}."]
    if stamp["revision"] != table_rows.revision():
        lines.append("The files that decide a row have changed since then.")
    lines += ["", "| what | kernel | machine | result |", "|---|---|---|---|"]
    for cell in ("quiet", "neighbour"):
        for name in KERNELS:
            lines += _compared(table, cell, name)
    for name in KERNELS:
        lines.append(f"| refused (M7) | {name} | hogged | {_said(table.refused(name))} |")
        lines.append(f"| wrong verdicts | {name} | hogged | {_said(table.wrong(name))} |")
    for name in KERNELS:
        lines += _beside(table, name)
    return "\n".join(lines) + "\n"


def _compared(table: Table, cell: str, name: str) -> list[str]:
    part, judged = table.part(cell, name), table.judged(cell, name)
    if not part:
        return []
    withheld = ", ".join(
        f"{sum(row['verdict'] == verdict for row in part)} {verdict}"
        for verdict in ("busy", "untrusted")
    )
    twice = sum(row["twice"] for row in part)
    lines = [
        f"| runs | {name} | {cell} | {len(part)}: {len(judged)} with a verdict, {withheld}; "
        f"{twice} measured twice |"
    ]
    if not judged:
        return lines
    seconds = np.median([row["measuring_s"] for row in judged]) / table_rows.SHARE_OF_ARMS
    lines.append(
        f"| measuring, for three of the seven builds | {name} | {cell} | {seconds:.1f} s |"
    )
    lines.append(f"| false alarms (M1) | {name} | {cell} | {_said(table.alarms(cell, name))} |")
    for more, extra in OTHERS.items():
        if extra:
            hits = table.found(cell, more, name)
            everything = [*hits, *[(0, 1)] * (len(part) - len(judged))]
            text = f"{_said(hits)}; of all runs {_said(everything)}"
            lines.append(f"| +{100 * extra:.0f} % found (M2) | {name} | {cell} | {text} |")
    lines.append(f"| coverage (M3) | {name} | {cell} | {_said(table.covered(cell, name))} |")
    return lines


def _beside(table: Table, name: str) -> list[str]:
    part = table.part("beside", name)
    lines = [
        f"| false alarms, {rule} rule | {name} | quiet | {_said([(r[key], 1) for r in part])} |"
        for rule, key in (("criterion's", "stored"), ("pyperf's", "means"))
    ]
    found = tighter(part)
    if found is not None:
        text = f"{found.estimate:.0f} times [{found.low:.0f}, {found.high:.0f}]"
        what = f"paired estimate tighter than two means in the same seconds (n = {len(part)})"
        lines.append(f"| {what} | {name} | quiet | {text} |")
    return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A promise: the figure is in [low, high]."""

    what: str
    low: float
    high: float
    figure: Callable[[Table], Interval | None]


def _wrong(table: Table) -> Interval | None:
    parts = table.wrong()
    wrong = float(sum(hits for hits, _ in parts))
    return Interval(estimate=wrong, low=wrong, high=wrong) if parts else None


PROMISES = (
    *(
        Promise(
            what=f"M1, {name}: false alarms at most 5 %",
            low=0.0,
            high=0.05,
            figure=lambda table, name=name: share(table.alarms("quiet", name)),
        )
        for name in KERNELS
    ),
    *(
        Promise(
            what=f"M2, {name}: +2 % found in at least 90 % within {kernel.limit_s:g} s",
            low=0.9,
            high=1.0,
            figure=lambda table, name=name: share(table.found("quiet", "plus2", name)),
        )
        for name, kernel in known_lab.KERNELS.items()
    ),
    Promise(
        what="M3: coverage 93 to 97 %",
        low=0.93,
        high=0.97,
        figure=lambda table: share(table.covered("quiet")),
    ),
    Promise(
        what="M7: at least 95 % busy next to a hogged core",
        low=0.95,
        high=1.0,
        figure=lambda table: share(table.refused()),
    ),
    Promise(what="M7: no wrong verdict next to a hogged core", low=0.0, high=0.0, figure=_wrong),
    Promise(
        what="two_threads: paired at least 20 times tighter than sequential means",
        low=20.0,
        high=math.inf,
        figure=lambda table: tighter(table.part("beside", "two_threads")),
    ),
)


def check(table: Table) -> tuple[str, bool]:
    """Each promise with its figure, and whether all are kept."""
    lines, kept = [], True
    for promise in PROMISES:
        found = promise.figure(table)
        if found is None:
            kept = False
            lines.append(f"not measured   {promise.what}")
            continue
        good = promise.low <= found.estimate <= promise.high
        sure = promise.low <= found.low and found.high <= promise.high
        kept = kept and good
        word = ("kept" if sure else "kept, not sure") if good else "MISSED"
        figure = f"{found.estimate:.3g} [{found.low:.3g}, {found.high:.3g}]"
        lines.append(f"{word:14} {promise.what}: {figure}")
    wanted = {cell: 2 * CELLS[cell].rows for cell in CELLS}
    have = {cell: len(table.part(cell)) for cell in CELLS}
    lines.append("rows: " + ", ".join(f"{cell} {have[cell]} of {wanted[cell]}" for cell in CELLS))
    return "\n".join(lines) + "\n", kept


def main() -> None:
    """Run, show or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["run", "show", "check"])
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--rows", type=int, help="stop after this many rows")
    parser.add_argument("--cell", choices=sorted(CELLS))
    arguments = parser.parse_args()
    if arguments.action == "run":
        left = table_rows.run(arguments.minutes, arguments.rows, arguments.cell)
        sys.stdout.write(f"{left} rows still missing\n")
        return
    table = newest(journal.rows(table_rows.JOURNAL))
    if arguments.action == "show":
        sys.stdout.write(show(table))
        return
    text, kept = check(table)
    sys.stdout.write(text)
    raise SystemExit(0 if kept else GATE_MISSED)


if __name__ == "__main__":
    main()

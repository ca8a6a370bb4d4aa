"""The measurements behind the table of docs/measuring.md, one row each, and their journal.

`table.py` combines the rows. Nothing here is part of perfkit.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent))

import journal
import known_lab
from known_lab import COPY, SUBJECT, called

from perfkit import environment
from perfkit.measure import session
from perfkit.records import MeasureVerdict
from perfkit.subject.child import worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JOURNAL = known_lab.ROOT / ".truth" / "table.jsonl"

OTHERS = {"equalA": 0.0, "equalB": 0.0, "plus1": 0.01, "plus2": 0.02, "plus5": 0.05}
PAIRS = ((SUBJECT, "equalA"), (COPY, "equalB"))
"""Equal builds that are compared. No build is in two pairs; they share the noise floor."""

COVERED = (
    *PAIRS,
    *((one, more) for more in ("plus1", "plus2", "plus5") for one in (SUBJECT, COPY)),
)
"""The ratios whose true value is known."""

SHARE_OF_ARMS = (2 + len(OTHERS)) / 3
"""A plain comparison has three arms; a run with more arms gets proportionally more time."""

WIDTH = 0.003
SEQUENTIAL_S = 1.0
SHORT_PROCESSES = 5

SOURCES = (
    *(
        f"toolkit/perfkit/measure/{name}.py"
        for name in (
            "blocks", "lab", "plan", "ratios", "results", "sentinels", "session", "statistics",
            "stop",
        )
    ),
    "toolkit/perfkit/subject/worker.py",
    "tests/truth/kernel.rs",
    "tests/truth/known_lab.py",
    "tests/truth/known_work.py",
    "tests/truth/table_rows.py",
)  # fmt: skip
"""The files that decide a row: the table leaves out rows of any other state of them."""


def revision() -> str:
    """A hash over the files that decide a row."""
    state = hashlib.sha256()
    for name in SOURCES:
        state.update((known_lab.ROOT / name).read_bytes())
    return state.hexdigest()[:12]


def machine() -> str:
    """A description that stays the same as long as the machine does."""
    found = environment.fingerprint(dict(os.environ))
    return f"{found.usable_cores} cores of {found.cpu}, {platform.system()} {platform.release()}"


@contextlib.contextmanager
def hog(count: int) -> Iterator[None]:
    """Run programs that each keep a core busy."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def compare(kernel: known_lab.Kernel, seed: int, *, patience_s: float) -> dict[str, Any]:
    """One measurement of equal and slower builds against the subject and its copy."""
    plan = known_lab.plan(
        kernel,
        OTHERS,
        seed=seed,
        time_limit_s=SHARE_OF_ARMS * kernel.limit_s,
        width=WIDTH,
        patience_s=patience_s,
    )
    found = session.measure_plan(plan)
    row: dict[str, Any] = {
        "verdict": str(found.report.verdict),
        "twice": any(note.id == "measured_twice" for note in found.report.notes),
        "measuring_s": found.report.seconds,
        "blocks": found.points[0].blocks,
        "valid": found.points[0].valid_blocks,
        "sessions": len(found.points[0].usable),
        "floor": None,
        "ratios": {},
    }
    if found.report.verdict is MeasureVerdict.BUSY:
        return row
    point = found.points[0]
    row["floor"] = floor = point.noise_floor(SUBJECT, COPY)
    for one, other in COVERED:
        ratio = point.log_ratio(one, other)
        row["ratios"][f"{one}/{other}"] = {
            "estimate": ratio.estimate,
            "low": ratio.low,
            "high": ratio.high,
            "change": str(called(point, one, other, floor)),
        }
    return row


def refuse(kernel: known_lab.Kernel, seed: int) -> dict[str, Any]:
    """A measurement next to a program that keeps a core busy, without patience."""
    plan = known_lab.plan(kernel, {"equalA": 0.0}, seed=seed, patience_s=0.0, time_limit_s=5.0)
    found = session.measure_plan(plan)
    change = None
    if found.report.verdict is MeasureVerdict.OK:
        point = found.points[0]
        change = str(called(point, SUBJECT, "equalA", point.noise_floor(SUBJECT, COPY)))
    report = found.report
    return {"verdict": str(report.verdict), "change": change, "measuring_s": report.seconds}


def paired(kernel: known_lab.Kernel, seed: int) -> float:
    """perfkit's estimate for equal builds, in as many seconds as `one_after_the_other` gets."""
    plan = known_lab.plan(
        kernel, {}, seed=seed, gated=False, time_limit_s=2 * SEQUENTIAL_S, width=1e-9
    )
    return session.measure_plan(plan).points[0].log_ratio(SUBJECT, COPY).estimate


def _sample(kernel: known_lab.Kernel, name: str, seed: int, seconds: float) -> np.ndarray:
    """Seconds per call of one process, batch after batch."""
    with worker(known_lab.spec(name)) as one:
        arm = one.prepare(known_lab.workload(kernel), kernel.units, which="call", seed=seed)
        calls = one.calibrate(arm, batch_s=5e-4)
        end = time.perf_counter() + seconds
        taken = []
        while time.perf_counter() < end:
            taken.append(one.time(arm, calls, untimed=0).per_call_s)
    return np.array(taken)


def one_after_the_other(kernel: known_lab.Kernel, seed: int) -> dict[str, Any]:
    """All of A in one process, then all of B in another: equal builds, judged by criterion's rule.

    The rule: a 95 % bootstrap interval of the change in the mean exceeds a noise threshold of 1 %.
    """
    first, second = (_sample(kernel, name, seed, SEQUENTIAL_S) for name in (SUBJECT, COPY))
    chance = np.random.default_rng(seed)
    changes = [
        chance.choice(second, len(second)).mean() / chance.choice(first, len(first)).mean() - 1
        for _ in range(2_000)
    ]
    low, high = np.quantile(changes, [0.025, 0.975])
    return {
        "stored": bool(low > 0.01 or high < -0.01),
        "log_ratio_of_means": math.log(second.mean() / first.mean()),
    }


def several_processes(kernel: known_lab.Kernel, seed: int) -> bool:
    """Several short processes of A, then as many of B: equal builds, judged by pyperf's rule.

    The rule: Student's t test at 95 % on the means of the processes.
    """
    first, second = (
        [
            _sample(kernel, name, seed, SEQUENTIAL_S / SHORT_PROCESSES).mean()
            for _ in range(SHORT_PROCESSES)
        ]
        for name in (SUBJECT, COPY)
    )
    return bool(stats.ttest_ind(first, second).pvalue < 0.05)


def beside(kernel: known_lab.Kernel, seed: int) -> dict[str, Any]:
    """All three methods in random order, so that they see the same machine."""
    found: dict[str, Any] = {}
    ways: list[Callable[[], None]] = [
        lambda: found.update(paired=paired(kernel, seed)),
        lambda: found.update(one_after_the_other(kernel, seed)),
        lambda: found.update(means=several_processes(kernel, seed)),
    ]
    np.random.default_rng(seed).shuffle(ways)  # type: ignore[arg-type]
    for way in ways:
        way()
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One condition.

    Attributes:
        hogs: number of programs that keep a core busy meanwhile.
        rows: number of rows the table needs, per kernel.
        measure: measures one row.
    """

    hogs: int
    rows: int
    measure: Callable[[known_lab.Kernel, int], dict[str, Any]]


CELLS = {
    "quiet": Cell(hogs=0, rows=75, measure=lambda k, seed: compare(k, seed, patience_s=5.0)),
    "neighbour": Cell(hogs=1, rows=15, measure=lambda k, seed: compare(k, seed, patience_s=0.0)),
    "hogged": Cell(hogs=1, rows=75, measure=refuse),
    "beside": Cell(hogs=0, rows=25, measure=beside),
}


def run(minutes: float, count: int | None, only: str | None) -> int:
    """Measure what is missing, the emptiest cell first; return how many rows are still missing."""
    known_lab.build_library(dict(os.environ))
    stamp = {"revision": revision(), "machine": machine()}
    have: dict[tuple[str, str], int] = {}
    for row in journal.rows(JOURNAL):
        if all(row.get(key) == value for key, value in stamp.items()):
            key = row["cell"], row["kernel"]
            have[key] = max(have.get(key, 0), row["seed"] + 1)
    wanted = [(c, k) for c in CELLS if only in (None, c) for k in known_lab.KERNELS]
    end, done = time.monotonic() + 60 * minutes, 0
    while True:
        missing = {at: CELLS[at[0]].rows - have.get(at, 0) for at in wanted}
        left = sum(max(rows, 0) for rows in missing.values())
        if not left or time.monotonic() >= end or done == count:
            return left
        cell, name = max(wanted, key=lambda at: missing[at] / CELLS[at[0]].rows)
        seed = have.get((cell, name), 0)
        begin = time.perf_counter()
        with hog(CELLS[cell].hogs):
            found = CELLS[cell].measure(known_lab.KERNELS[name], seed)
        wall_s = time.perf_counter() - begin
        line = {"cell": cell, "kernel": name, "seed": seed, **stamp, "wall_s": wall_s, **found}
        journal.append(JOURNAL, line)
        have[cell, name] = seed + 1
        done += 1

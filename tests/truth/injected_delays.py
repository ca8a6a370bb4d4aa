"""Known delays at the boundary of the bundled kernel: what `perfkit diagnose` reports of them.

    python tests/truth/injected_delays.py run --minutes 4    resumes where it stopped
    python tests/truth/injected_delays.py show               the table, from everything that was run

The kernel spins for a given number of nanoseconds in each call. There are two questions. Whole
diagnoses answer them, and the sentinels decide which blocks count:

- *cost*: a call whose work is a fraction of a microsecond is diagnosed with and without 200, 1,000
  and 5,000 ns. The truth is the time the spins took. A spin ends up to one reading of the clock
  late, so the clock that ends it also adds up how long it took. What an estimator reports with a
  delay minus what it reports without one may differ from the truth by a tenth of it or by 30 ns.
- *share*: a delay takes 5, 20, 40, 60 or 80 % of a call. The truth is the delay divided by the time
  of the whole call. The boundary's own time is below a hundredth of that call and counts as error.
  The agreement is right if the share is known and within two points of the truth.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))

import journal
import numpy as np
import perfkit_kernel

from perfkit import store
from perfkit.config import Backend, Kind, LayerRule, Parameter, Project, load_project
from perfkit.diagnose.conclude import diagnose, job_of
from perfkit.records import DiagnoseVerdict, Layer, MeasureVerdict
from perfkit.subject.builder import Builder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.records import SizeSplit

ROOT = Path(__file__).resolve().parents[2]
JOURNAL = ROOT / "target" / "truth" / "delays.jsonl"
CACHE = ROOT / "target" / "perfkit-test-cache"
WORKLOAD = "call_price_plain"
HOOK = "perfkit_kernel:set_boundary_delay_ns"

SMALL, DELAYS_NS = 4, (200, 1_000, 5_000)
BASE_NS = 100
"""A spin takes longer than it reports, by its calls and one reading of the clock. Compared with
another spin, that cancels; compared with no spin, it would not.
"""
COST_ROUNDS = 2
LARGE, SHARES = 4_000, (0.05, 0.20, 0.40, 0.60, 0.80)
SHARE_ROUNDS = 4
SHARE_OFF, COST_OFF, COST_OFF_S = 0.02, 0.10, 30e-9
WANTED = 0.95
TIMES = {"width": 0.01, "min_blocks": 8, "patience_s": 10.0}
COST_SETTINGS = {"time_limit_s": 4.0, "profile_s": 8.0, "rate_hz": 997}
SHARE_SETTINGS = {"time_limit_s": 1.0, "profile_s": 2.0, "rate_hz": 997}


def project_with(delay_ns: int, size: int, settings: dict[str, float]) -> Project:
    """The repository's project with a delay in each call of one workload at one size."""
    project = load_project(start=ROOT, environ=dict(os.environ))
    config = project.config
    workload = config.workloads[WORKLOAD].model_copy(
        update={
            "reference": None,
            "targets": {},
            "bench": None,
            "sizes": (size,),
            "main_size": None,
        }
    )
    delay = Parameter(
        kind=Kind.INTEGER, backend=Backend.CALL, setter=HOOK, start=delay_ns, sizes=(size,)
    )
    measure = config.measure.model_copy(update={**TIMES, "time_limit_s": settings["time_limit_s"]})
    profiling = config.profiling.model_copy(
        update={"duration_s": settings["profile_s"], "rate_hz": settings["rate_hz"]}
    )
    changed = config.model_copy(
        update={
            "workloads": {WORKLOAD: workload},
            "parameters": {"BOUNDARY_DELAY": delay},
            "measure": measure,
            "profiling": profiling,
            # By construction: the spin plays the part of the binding's time.
            "layers": (*config.layers, LayerRule(layer=Layer.GLUE, frame="::boundary_delay$")),
        }
    )
    return dataclasses.replace(project, config=changed)


def spent_s(delay_ns: int) -> float:
    """How long a delay in a small call takes, by the clock that ends it."""
    one = np.ones(SMALL)
    perfkit_kernel.set_boundary_delay_ns(delay_ns)
    batches = []
    for _ in range(400):
        before = perfkit_kernel.boundary_delay_spent_ns()
        for _ in range(50):
            perfkit_kernel.call_price_plain(one, one, one, 0.01, one)
        batches.append((perfkit_kernel.boundary_delay_spent_ns() - before) / 50)
    perfkit_kernel.set_boundary_delay_ns(0)
    return statistics.median(batches) * 1e-9


def look(delay_ns: int, size: int, settings: dict[str, float]) -> dict[str, Any] | None:
    """One diagnosis, or None if the machine had no room or its times cannot be trusted."""
    begin = time.perf_counter()
    project = project_with(delay_ns, size, settings)
    builder = Builder(project, cache=CACHE)
    run = store.create_run(JOURNAL.parent / "delays", "diagnose", {})
    found = diagnose(job_of(project, WORKLOAD, builder, run), (size,))
    if found.verdict is DiagnoseVerdict.BUSY or found.measured is None:
        return None
    if found.measured.verdict is not MeasureVerdict.OK:
        return None
    (split,) = found.sizes
    return {**_reported(split), "took_s": time.perf_counter() - begin}


def _reported(split: SizeSplit) -> dict[str, Any]:
    return {
        "call_s": split.call_s.estimate,
        "share": split.ffi.share.estimate if split.ffi.share is not None else None,
        "agree": split.ffi.agree,
        "estimators": {
            one.name: one.seconds.estimate
            for one in split.ffi.estimators
            if one.seconds is not None
        },
        "reasons": {one.name: one.reason for one in split.ffi.estimators if one.reason},
    }


def wanted() -> Iterator[tuple[str, int, float]]:
    """What to diagnose, in order: the question, the round, the delay in ns or the share."""
    for number in range(SHARE_ROUNDS):
        for share in SHARES:
            yield "share", number, share
        if number < COST_ROUNDS:
            for delay in (0, *DELAYS_NS):
                yield "cost", number, float(delay)


def run(minutes: float) -> None:
    """Measure what is missing until the time is up; try again what was busy."""
    end = time.monotonic() + 60 * minutes
    have = {(row["what"], row["round"], row["value"]) for row in journal.rows(JOURNAL)}
    plain_s: float | None = None
    for what, number, value in wanted():
        if (what, number, value) in have:
            continue
        if time.monotonic() > end:
            return
        if what == "cost":
            delay = BASE_NS + round(value)
            found = look(delay, SMALL, COST_SETTINGS)
            if found is not None:
                found["spent_s"] = spent_s(delay)
        else:
            plain_s = plain_s or _plain()
            if plain_s is None:
                continue
            delay = round(value * plain_s / (1 - value) * 1e9)
            found = look(delay, LARGE, SHARE_SETTINGS)
        sys.stderr.write(f"{what} {value:g}: {found}\n")
        if found is not None:
            row = {"what": what, "round": number, "value": value, "delay_ns": delay, **found}
            journal.append(JOURNAL, row)


def _plain() -> float | None:
    """The large call without a delay. It sets how long delays are; it is not part of any truth."""
    for row in journal.rows(JOURNAL):
        if row["what"] == "plain":
            return float(row["call_s"])
    found = look(0, LARGE, SHARE_SETTINGS)
    if found is None:
        return None
    journal.append(JOURNAL, {"what": "plain", "round": 0, "value": 0.0, **found})
    return float(found["call_s"])


def costs() -> tuple[list[str], bool]:
    """What each estimator reports for each delay, as rows of the table."""
    done = [row for row in journal.rows(JOURNAL) if row["what"] == "cost"]
    errors: dict[tuple[str, float], list[float]] = {}
    for number in range(COST_ROUNDS):
        by_delay = {row["value"]: row for row in done if row["round"] == number}
        base = by_delay.pop(0.0, {"estimators": {}})
        for delay, row in by_delay.items():
            for name in row["estimators"].keys() & base["estimators"].keys():
                found_s = row["estimators"][name] - base["estimators"][name]
                error = found_s - (row["spent_s"] - base["spent_s"])
                errors.setdefault((name, delay), []).append(error)
    # An estimator that gave no answer, such as refused samples, is not wrong.
    lines, good = [], len(done) == COST_ROUNDS * (1 + len(DELAYS_NS))
    for (name, delay), found in sorted(errors.items()):
        allowed = max(COST_OFF * delay * 1e-9, COST_OFF_S)
        right = sum(abs(error) <= allowed for error in found)
        good &= right == len(found)
        shown = ", ".join(f"{error * 1e9:+.0f}" for error in found)
        what = f"{delay:.0f} ns by {name}"
        lines.append(f"| {what} | off by {shown} ns | {journal.counted(right, len(found))} |")
    return lines, good


def shares() -> tuple[list[str], bool]:
    """What was reported for each share, as rows of the table."""
    done = [row for row in journal.rows(JOURNAL) if row["what"] == "share"]
    lines, right = [], 0
    for share in SHARES:
        errors, fine = [], 0
        for row in (row for row in done if row["value"] == share):
            truth = row["delay_ns"] * 1e-9 / row["call_s"]
            if row["share"] is None:
                errors.append("not known")
                continue
            errors.append(f"{100 * (row['share'] - truth):+.1f}")
            fine += row["agree"] and abs(row["share"] - truth) <= SHARE_OFF
        right += fine
        what = f"{100 * share:.0f} % by construction"
        counted = journal.counted(fine, len(errors))
        lines.append(f"| {what} | off by {', '.join(errors)} points | {counted} |")
    count = len(done)
    counted = journal.counted(right, count)
    lines.append(f"| agreement | known, and within two points | {counted} |")
    return lines, count >= len(SHARES) * SHARE_ROUNDS and right >= WANTED * count


def show() -> tuple[str, bool]:
    """The table as Markdown, and whether all of it is within its limits."""
    by_cost, cost_good = costs()
    by_share, share_good = shares()
    lines = ["| injected | reported | right |", "|---|---|---|", *by_cost, *by_share]
    return "\n".join(lines) + "\n", cost_good and share_good


def main() -> int:
    """Run or show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["run", "show"])
    parser.add_argument("--minutes", type=float, default=8.0)
    arguments = parser.parse_args()
    if arguments.action == "run":
        run(arguments.minutes)
    table, good = show()
    sys.stdout.write(table)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

"""What the truth table says about given rows, and its journal."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "truth"))

import journal
import known_lab
import table
import table_rows
from known_lab import KERNELS

if TYPE_CHECKING:
    from collections.abc import Callable

STAMP = {"revision": "one", "machine": "here"}


def compared(kernel: str, seed: int, **changes: object) -> dict[str, Any]:
    ratios = {}
    for one, other in table_rows.COVERED:
        truth = math.log1p(table_rows.OTHERS[other])
        change = "faster" if truth else "no difference detectable"
        ratios[f"{one}/{other}"] = {
            "estimate": truth,
            "low": truth - 0.001,
            "high": truth + 0.001,
            "change": change,
        }
    row = {"cell": "quiet", "kernel": kernel, "seed": seed, **STAMP, "verdict": "ok"}
    return {**row, "twice": False, "measuring_s": 7.0, "ratios": ratios, **changes}


def whole() -> list[dict[str, Any]]:
    """A perfkit that is wrong in three of a hundred intervals."""
    rows = []
    for kernel in KERNELS:
        for seed in range(60):
            row = compared(kernel, seed)
            if seed % 5 == 0:
                row["ratios"]["subject/plus1"]["low"] = 0.0101
                row["ratios"]["copy/plus1"]["high"] = 0.0099
            rows.append(row)
        for seed in range(100):
            base = {"kernel": kernel, "seed": seed, **STAMP}
            rows.append({"cell": "hogged", **base, "verdict": "busy", "change": None})
            if seed < 25:
                errors = {"paired": 1e-3 * (-1) ** seed, "log_ratio_of_means": 3e-2}
                rows.append({"cell": "beside", **base, **errors, "stored": True, "means": False})
    return rows


def test_a_perfkit_that_keeps_its_promises_passes_the_check() -> None:
    text, kept = table.check(table.newest(whole()))
    assert kept, text
    assert "MISSED" not in text
    shown = table.show(table.newest(whole()))
    assert "| false alarms (M1) | sequential | quiet | 0 of 120 = 0.0 % [" in shown
    assert "30 times [30, 30]" in shown


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (lambda row: row["ratios"]["copy/equalB"].update(change="faster"), "M1"),
        (lambda row: row["ratios"]["subject/plus2"].update(change="slower"), "M2"),
        (lambda row: row["ratios"]["subject/plus5"].update(low=1.0), "M3"),
    ],
)
def test_one_run_in_four_that_breaks_a_promise_fails_the_check(
    broken: Callable[[dict[str, Any]], None], what: str
) -> None:
    rows = whole()
    for row in rows:
        if row["cell"] == "quiet" and row["seed"] % 4 == 0:
            broken(row)
    text, kept = table.check(table.newest(rows))
    assert not kept
    missed = [line for line in text.splitlines() if line.startswith("MISSED")]
    assert missed
    assert all(what in line for line in missed)


def test_a_wrong_verdict_beside_a_hogged_core_fails_the_check() -> None:
    rows = whole()
    next(row for row in rows if row["cell"] == "hogged")["change"] = "faster"
    assert not table.check(table.newest(rows))[1]


def test_what_was_not_measured_is_no_promise_kept() -> None:
    text, kept = table.check(table.newest([row for row in whole() if row["cell"] != "hogged"]))
    assert not kept
    assert "not measured   M7" in text


def test_rows_of_another_revision_or_machine_are_left_out() -> None:
    old = [{**compared("sequential", 0), "revision": "zero"}, compared("sequential", 0)]
    found = table.newest([*old, {**compared("sequential", 1), "machine": "here"}])
    assert len(found.rows) == 2


def test_withheld_runs_are_shown_beside_the_power() -> None:
    rows = [compared("sequential", seed) for seed in range(3)]
    rows[1]["verdict"] = "untrusted"
    shown = table.show(table.newest(rows))
    assert "2 of 2 = 100.0 %" in shown
    assert "of all runs 2 of 3 = 66.7 %" in shown


def test_trials_of_one_run_that_agree_are_worth_less() -> None:
    together = table.share([(8, 8)] * 9 + [(0, 8)])
    alone = table.share([(9, 10)] * 8)
    assert together is not None
    assert alone is not None
    assert together.estimate == alone.estimate == 0.9
    assert together.high - together.low > 2 * (alone.high - alone.low)
    nothing = table.share([(0, 2)] * 50)
    assert nothing is not None
    assert nothing.high == pytest.approx(0.071, abs=0.001)  # Wilson for 0 of 50, not of 100
    assert table.share([]) is None


def test_a_line_that_was_cut_short_does_not_swallow_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "table.jsonl"
    journal.append(path, {"seed": 0})
    with path.open("a", encoding="utf-8") as stream:
        stream.write('{"seed": 1, "ver')
    journal.append(path, {"seed": 2})
    assert [row["seed"] for row in journal.rows(path)] == [0, 2]


def test_the_files_that_decide_a_row_are_there() -> None:
    """A file that has moved would stop every measurement of the table, hours into a run."""
    missing = [name for name in table_rows.SOURCES if not (known_lab.ROOT / name).is_file()]
    assert len(table_rows.SOURCES) > 10
    assert not missing

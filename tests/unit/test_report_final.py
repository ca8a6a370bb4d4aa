"""The final report of a tuning run: one table of all iterations, figures as in the journal."""

from __future__ import annotations

import dataclasses

import pytest
import report_records as records

from perfkit.records import TuneStatus
from perfkit.report.final import PICTURE_FILE, final_report, iterations_frame


def test_every_iteration_is_a_row_with_its_ratios() -> None:
    frame = iterations_frame(records.TUNED)
    assert list(frame["iteration"]) == [0, 1, 2, 3]
    assert list(frame["SMALL"]) == [30_000, 8_000, 9_000, 10_000]
    assert frame["change 10k"][1] == pytest.approx(1.52)
    assert frame["change 10k"].isna().tolist() == [False, False, True, False]
    assert list(frame.columns[-2:]) == ["build_s", "bench_s"]


def test_the_report_holds_the_table_the_picture_and_the_verdict() -> None:
    text = final_report(records.TUNED)
    assert text.startswith("# perfkit tune\n\n**success.**")
    assert f"]({PICTURE_FILE})" in text
    assert "## All iterations" in text
    row = next(line for line in text.splitlines() if line.strip().startswith("2 base_grid"))
    assert "build_failed" in row
    assert "nan" not in text.lower().split("```text")[1]


def test_a_run_without_trials_has_a_report_without_a_table() -> None:
    empty = dataclasses.replace(
        records.TUNED, status=TuneStatus.FAILED, trials=(), best_params=None, confirmed=()
    )
    assert "All iterations" not in final_report(empty)

"""The report over several runs: what it says where figures carry it, and where they do not."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest
import story_records as told
from test_report_pages import golden

from perfkit.diagnose.promises import tell
from perfkit.errors import UsageError
from perfkit.records import DiagnoseVerdict, Diagnosis
from perfkit.report import console, finished, machine, markdown
from perfkit.report.story import story_page
from perfkit.store import create_run

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.diagnose.promises import Chapter
    from perfkit.store import Run

STORIES = {
    "story_inside": tell((told.BEFORE, told.AFTER, told.INSIDE, told.TUNED)),
    "story_outside": tell((told.BEFORE, told.AFTER, told.OUTSIDE)),
    "story_withheld": tell((told.BEFORE, told.AFTER)),
}


@pytest.mark.parametrize("name", STORIES)
def test_the_page_is_the_golden_text(name: str) -> None:
    page = story_page(STORIES[name])
    text = console.render(page, width=80, colour=False)
    assert max(map(len, text.splitlines())) <= 80
    golden(f"{name}.txt", text)
    golden(f"{name}.md", markdown.render(page))


def test_without_a_measurement_no_gain_is_on_the_page() -> None:
    text = console.render(story_page(STORIES["story_withheld"]), width=100, colour=False)
    assert text.startswith("withheld. ")
    command = "perfkit measure --workload fast --against-workload price --sizes 10k,100k"
    assert command in " ".join(text.split())
    assert "the promise" not in text


def test_runs_that_have_nothing_to_do_with_each_other_are_only_shown() -> None:
    text = console.render(story_page(tell((told.BEFORE,))), width=100, colour=False)
    assert text.startswith("shown. ")
    assert "Diagnosis of price (one-diagnose)" in text


def test_a_busy_diagnosis_is_shown_as_one_without_a_workload() -> None:
    busy = dataclasses.replace(
        told.BEFORE,
        result=Diagnosis(verdict=DiagnoseVerdict.BUSY, sizes=(), profilers=(), findings=()),
    )
    text = console.render(story_page(tell((busy, told.AFTER))), width=100, colour=False)
    assert text.startswith("shown. ")
    assert "one-diagnose\nbusy. Nothing could be told" in text


def test_the_document_holds_replacements_and_diagnoses() -> None:
    document = json.loads(
        json.dumps(
            machine.story_report(
                story_page(STORIES["story_inside"]), STORIES["story_inside"]
            ).document
        )
    )
    assert [run["command"] for run in document["runs"]] == [
        "diagnose",
        "diagnose",
        "measure",
        "tune",
    ]
    (replacement,) = document["replacements"]
    assert replacement["steps"][0]["saved"]["low"] == pytest.approx(0.36)
    assert replacement["promises"][0]["reading"] == "inside"
    assert document["diagnoses"][0]["sizes"][0]["layers"][0]["name"] == "interpreter"


def written(place: Path, told_by: Chapter, **values: str) -> Run:
    """A run directory as `perfkit report` finds it, with some of its config changed."""
    changed = {f"workloads.price.{key}": value for key, value in values.items()}
    config = {**told_by.values, **changed}
    header = {
        "config": [{"key": key, "value": value} for key, value in config.items()],
        "fingerprint": {"cpu": "A", "rustc": "1.95"},
    }
    run = create_run(place, told_by.command, header)
    finished.keep(run, told_by.result)
    return run


def test_run_directories_are_read_back_and_told(tmp_path: Path) -> None:
    before = written(tmp_path / "before", told.BEFORE)
    after = written(tmp_path / "after", told.AFTER)
    both = written(tmp_path / "both", told.INSIDE)
    shown = finished.load_several((before, after, both))
    (found,) = shown.document["replacements"]
    assert (found["before"], found["after"], found["run"]) == ("price", "fast", both.id)


def test_runs_in_which_a_name_means_other_work_are_refused(tmp_path: Path) -> None:
    before = written(tmp_path / "before", told.BEFORE)
    after = written(tmp_path / "after", told.AFTER, setup="work.py:lists")
    with pytest.raises(UsageError, match="different work"):
        finished.load_several((before, after))

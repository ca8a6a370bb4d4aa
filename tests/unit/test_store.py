"""Run directories, journals and locks: whole files, no lost lines, no wrong schema."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest

from perfkit import store
from perfkit.errors import ProjectLockedError, StoreError
from perfkit.records import RUN_VERSION, Interval, Profile

if TYPE_CHECKING:
    from pathlib import Path


def test_to_json_of_a_record() -> None:
    interval = Interval(estimate=1.0, low=0.5, high=1.5)
    assert store.to_json({"a": (interval, Profile.RELEASE, None)}) == {
        "a": [{"estimate": 1.0, "low": 0.5, "high": 1.5}, "release", None]
    }


@pytest.mark.parametrize("value", [math.nan, math.inf, object()])
def test_to_json_refuses_what_is_no_figure(value: object) -> None:
    with pytest.raises(TypeError):
        store.to_json({"a": value})


def test_a_run_holds_its_header_and_hides_from_git(tmp_path: Path) -> None:
    run = store.create_run(tmp_path / "profiles", "measure", {"command": "measure"})
    header = store.read_json(run.directory / store.RUN_FILE)
    assert header["schema_version"] == RUN_VERSION
    assert header["id"] == run.id
    assert (run.directory / ".gitignore").read_text(encoding="utf-8") == "*\n"
    store.prune_empty(run)
    assert sorted(path.name for path in run.directory.iterdir()) == [".gitignore", "run.json"]


def test_the_newest_run_is_found_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    first = store.create_run(tmp_path, "measure", {})
    assert store.open_run(tmp_path, None).id == first.id
    assert store.open_run(tmp_path, str(first.directory)).directory == first.directory
    with pytest.raises(StoreError, match="there is no run 'nothing'") as caught:
        store.open_run(tmp_path, "nothing")
    assert first.id in str(caught.value)
    assert [run.id for run in store.list_runs(tmp_path, "tune")] == []


def test_no_run_yet_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no run yet") as caught:
        store.open_run(tmp_path / "profiles", None)
    assert "perfkit measure" in caught.value.remedy


def test_a_journal_survives_a_cut_last_line(tmp_path: Path) -> None:
    journal = tmp_path / "trials.jsonl"
    store.append_line(journal, {"iteration": 1})
    store.append_line(journal, {"iteration": 2})
    with journal.open("a", encoding="utf-8") as stream:
        stream.write('{"iteration": 3, "par')
    assert [record["iteration"] for record in store.read_journal(journal)] == [1, 2]


def test_a_journal_broken_in_the_middle_is_refused_with_its_line(tmp_path: Path) -> None:
    journal = tmp_path / "trials.jsonl"
    journal.write_text('{"iteration": 1}\nnot json\n{"iteration": 3}\n', encoding="utf-8")
    with pytest.raises(StoreError) as caught:
        store.read_journal(journal)
    assert caught.value.where == f"{journal}:2"


def test_a_file_of_another_schema_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(json.dumps({"schema_version": 99}), encoding="utf-8")
    with pytest.raises(StoreError, match="schema version 99"):
        store.read_json(file)


def test_broken_json_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text('{\n"a": 1,\n', encoding="utf-8")
    with pytest.raises(StoreError) as caught:
        store.read_json(file)
    assert caught.value.where.startswith(f"{file}:")


def test_a_write_leaves_no_part_behind_when_it_fails(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "kept").write_text("old", encoding="utf-8")
    with pytest.raises(StoreError):
        store.write_whole(target, "text")  # a folder is in the way
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "kept"]


def test_a_second_perfkit_in_the_project_is_told_who_holds_it(tmp_path: Path) -> None:
    with (
        store.project_lock(tmp_path / "cache", tmp_path, "tune"),
        pytest.raises(ProjectLockedError, match="perfkit tune"),
        store.project_lock(tmp_path / "cache", tmp_path, "measure"),
    ):
        pass
    with store.project_lock(tmp_path / "cache", tmp_path, "measure"):
        pass  # it was given back


def test_the_cache_is_not_emptied_under_a_running_perfkit(tmp_path: Path) -> None:
    with (
        store.project_lock(tmp_path, tmp_path, "tune"),
        pytest.raises(ProjectLockedError),
        store.every_project_lock(tmp_path),
    ):
        pass
    with store.every_project_lock(tmp_path):
        pass


def test_two_projects_of_one_name_do_not_share_a_place(tmp_path: Path) -> None:
    assert store.project_key(tmp_path / "a" / "x") != store.project_key(tmp_path / "b" / "x")


def test_a_cache_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.write_text("no folder", encoding="utf-8")
    with (
        pytest.raises(StoreError, match="the cache cannot be used: Not a directory") as caught,
        store.project_lock(cache, tmp_path, "measure"),
    ):
        pass
    assert "PERFKIT_CACHE_DIR" in caught.value.remedy

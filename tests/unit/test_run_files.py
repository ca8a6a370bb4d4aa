"""What a command wrote into a run directory is read by every command that reads it.

The records are made up; each goes through the file that the program writes. The integration tests
do the same with runs that the commands left themselves.
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
import json
import os
import shutil
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import report_records as records
from tune_tables import bench, row

from perfkit import environment, run_files, store
from perfkit.cli.compare import compare
from perfkit.cli.context import header
from perfkit.cli.history import history
from perfkit.cli.options import Format, Sizes
from perfkit.cli.report import report
from perfkit.config import load_project
from perfkit.errors import StoreError, UsageError
from perfkit.records import RUN_VERSION, ProfileReport, Result
from perfkit.report import console, finished, machine, markdown
from perfkit.tune.log import resumable

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.store import Run

    Make = Callable[..., Run]

LOSES = {10_000: 1.525, 100_000: 0.79, 1_000_000: 0.98}
STACKS = "calling thread;_PyEval;price {}\ncalling thread;_PyEval 100\n"


def profile_of(run: Run, *, count: int) -> ProfileReport:
    """Two sizes of one workload, with the stacks that belong to them."""
    captures = []
    for size in (1_000, 4_000):
        folded = Path(f"stacks/price-{size}.perf.folded")
        run.write(folded, STACKS.format(count))
        files = {"folded": folded}
        pace = {"adds": records.around(2e-3)}
        captures.append(dataclasses.replace(records.PERF, size=size, files=files, pace=pace))
    return ProfileReport(captures=tuple(captures), build=records.BUILD)


RESULTS: dict[str, Result] = {
    "measure": records.MEASURED,
    "profile": records.PROFILED,
    "diagnose": records.DIAGNOSIS,
    "tune": records.TUNED,
}


@pytest.fixture
def make(
    tmp_path: Path, repository: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Make:
    """Runs as the command line leaves them, in a project of their own: header, result, end."""
    subject = repository / "tests" / "subjects" / "spins"
    shutil.copy(subject / "perfkit.toml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(environment, "rustc_version", lambda _environ: "rustc 1.95.0")
    project = load_project(start=tmp_path, environ=environ)

    def made(command: str, result: Result | None = None, *, count: int = 500) -> Run:
        run = store.create_run(project.profiles, command, header(project))
        if command == "profile" and result is None:
            result = profile_of(run, count=count)
        finished.keep(run, result if result is not None else RESULTS[command])
        run_files.close(run, 0, "")
        store.prune_empty(run)
        return run

    return made


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[[], dict[str, Any]]:
    def read() -> dict[str, Any]:
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    return read


@pytest.mark.parametrize("command", RESULTS)
def test_report_shows_every_kind_of_run_as_it_was_first_shown(
    make: Make, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make(command, RESULTS[command])
    report([run.id], form=Format.JSON)
    kind = next(kind for kind in finished.KINDS if kind.file.command == command)
    kept_document = json.loads(json.dumps(machine.document(RESULTS[command])))
    assert json.loads(capsys.readouterr().out) == kept_document
    report([run.id], form=Format.MARKDOWN)
    shown = capsys.readouterr().out
    kept = (run.directory / run_files.REPORT_FILE).read_text(encoding="utf-8")
    assert kept.startswith(shown)
    assert shown == markdown.render(kind.page(RESULTS[command]))
    report([run.id])
    assert capsys.readouterr().out
    report([run.id], path=True)
    assert capsys.readouterr().out.strip().endswith(f"{run.id}/{run_files.REPORT_FILE}")


@pytest.mark.parametrize("command", RESULTS)
def test_a_command_says_where_the_files_of_its_run_are(make: Make, command: str) -> None:
    run = make(command)
    page = finished.keep(run, RESULTS[command]).page
    said = f"All files are in {run.directory}"
    assert said in console.render(page, width=500, colour=False)
    assert said not in console.render(finished.load(run).page, width=500, colour=False)


def test_one_report_over_runs_of_every_kind(
    make: Make, printed: Callable[[], dict[str, Any]]
) -> None:
    runs = [make(command).id for command in RESULTS]
    report(runs, form=Format.JSON)
    document = printed()
    assert [run["run"] for run in document["runs"]] == runs
    assert [run["command"] for run in document["runs"]] == list(RESULTS)


def test_history_lists_runs_of_every_kind(
    make: Make, printed: Callable[[], dict[str, Any]]
) -> None:
    made = {make(command).id: command for command in RESULTS}
    history(form=Format.JSON)
    lines = printed()["runs"]
    assert {line["id"]: line["command"] for line in lines} == made
    assert {line["exit_code"] for line in lines} == {0}


def test_history_says_why_a_run_cannot_be_read_and_lists_the_others(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = make("measure"), make("measure")
    of_another_version(old, run_files.HEADER.name)
    history(form=Format.MARKDOWN)
    text = capsys.readouterr().out
    assert "has schema version 99" in text
    assert new.id in text


def test_measured_runs_compare(make: Make, printed: Callable[[], dict[str, Any]]) -> None:
    before, after = make("measure"), make("measure")
    compare(before.id, after.id, form=Format.JSON)
    assert {size["size"] for size in printed()["sizes"]} == set(records.TIMES)


def test_profiled_runs_compare_and_are_drawn(
    make: Make, tmp_path: Path, printed: Callable[[], dict[str, Any]]
) -> None:
    before, after = make("profile"), make("profile", count=900)
    compare(before.id, after.id, form=Format.JSON)
    assert [pair["frames"][0]["frame"] for pair in printed()["captures"]] == ["price"] * 2
    compare(before.id, after.id, output=tmp_path / "x.svg")
    drawn = sorted(path.name for path in tmp_path.glob("*.svg"))
    assert drawn == ["x.price-1k.perf.svg", "x.price-4k.perf.svg"]


def test_two_sizes_of_a_profiled_run_compare_and_are_drawn(
    make: Make, tmp_path: Path, printed: Callable[[], dict[str, Any]]
) -> None:
    run = make("profile")
    compare(run.id, sizes=Sizes([1_000, 4_000]), form=Format.JSON)
    assert [pair["per"] for pair in printed()["captures"]] == ["element"]
    compare(run.id, sizes=Sizes([1_000, 4_000]), output=tmp_path / "x.svg")
    assert (tmp_path / "x.svg").is_file()


def test_other_pairs_are_refused_by_what_they_hold(make: Make) -> None:
    firsts, seconds = ({command: make(command) for command in RESULTS} for _ in range(2))
    refused = 0
    for first, second in itertools.product(RESULTS, RESULTS):
        if first == second and first in {"measure", "profile"}:
            continue
        before, after = firsts[first], seconds[second]
        with pytest.raises(UsageError, match="compare with each other") as caught:
            compare(before.id, after.id)
        for run in (before, after):
            held = run_files.result_file(run)
            assert held is not None
            assert f"{run.id} holds a {held.what}" in caught.value.message
        refused += 1
    assert refused == len(RESULTS) ** 2 - 2


def test_a_run_without_a_result_is_refused_by_every_reader(make: Make) -> None:
    ended, good = make("measure"), make("measure")
    (ended.directory / run_files.MEASUREMENT.name).unlink()
    with pytest.raises(UsageError, match=f"{ended.id} holds no result"):
        compare(ended.id, good.id)
    with pytest.raises(StoreError, match="ended before it had a result"):
        report([ended.id])


def test_the_options_of_profiles_are_refused_for_measured_runs(make: Make, tmp_path: Path) -> None:
    run = make("measure")
    for words in (
        {"sizes": Sizes([1_000, 4_000])},
        {"after": run.id, "output": tmp_path / "x.svg"},
    ):
        with pytest.raises(StoreError, match="holds no profile"):
            compare(run.id, **words)  # type: ignore[arg-type]


def test_a_tuning_run_is_resumed_from_its_journals(tmp_path: Path) -> None:
    made = bench(tmp_path, [row({}, 1.0), row({"SMALL": 8_000}, LOSES)])
    made.loop.run()
    store.create_run(tmp_path / "profiles", "tune", {})
    (place,) = (tmp_path / "profiles").glob("*/run.json")
    for file in (run_files.TUNE_HEADER, run_files.TRIALS, run_files.REMEASURED):
        shutil.copy(tmp_path / file.name, place.parent)
    run = resumable(tmp_path / "profiles", place.parent.name)
    trials = run_files.TRIALS.load(run)
    kept = run_files.TUNE_HEADER.load(run)
    assert made.journal.resume(kept) == trials == run_files.TRIALS.load(made.run)
    assert [line["iteration"] for line in run_files.TRIAL_SUMMARY.load(made.run)] == [0, 1]
    for trial in trials:
        (path,) = (tmp_path / "iterations").glob(f"iter_{trial.iteration:03d}_*.json")
        assert run_files.trial_file(path.stem).load(made.run) == trial


def test_the_committed_example_is_read_by_every_command(
    make: Make,
    repository: Path,
    capsys: pytest.CaptureFixture[str],
    printed: Callable[[], dict[str, Any]],
) -> None:
    (place,) = (repository / "profiles" / "examples").glob("*/run.json")
    copy = make("measure").directory.parent / place.parent.name
    shutil.copytree(place.parent, copy)
    report([copy.name], form=Format.JSON)
    assert printed()["captures"]
    with pytest.raises(UsageError, match="no two captures to compare") as refused:
        compare(copy.name, copy.name)  # it is older than the figure by which captures compare
    assert "does not say how fast the machine ran: profile it again" in refused.value.details
    history(form=Format.MARKDOWN)
    assert "exit code 0" in capsys.readouterr().out
    with pytest.raises(StoreError, match="holds no journal of `perfkit tune`"):
        resumable(copy.parent, copy.name)


# -- versions --------------------------------------------------------------------------------------


def of_another_version(run: Run, name: str) -> None:
    path = run.directory / name
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**document, "schema_version": 99}), encoding="utf-8")


@pytest.mark.parametrize("command", RESULTS)
def test_a_result_of_another_version_is_refused_by_its_version(make: Make, command: str) -> None:
    run = make(command)
    held = run_files.result_file(run)
    assert held is not None
    of_another_version(run, held.name)
    with pytest.raises(
        StoreError, match=f"has schema version 99; this perfkit reads {RUN_VERSION}"
    ):
        report([run.id])


def test_a_key_that_came_later_reads_as_not_known_and_a_guess_is_refused(make: Make) -> None:
    run = make("profile")
    path = run.directory / run_files.PROFILE.name
    whole = store.read_json(path)
    older = json.loads(json.dumps(whole))
    for capture in older["captures"]:
        del capture["notes"]
    path.write_text(json.dumps(older), encoding="utf-8")
    assert run_files.PROFILE.load(run).captures[0].notes == ()
    del older["captures"][1]["design_effect"]  # its default, 1, would narrow every interval
    path.write_text(json.dumps(older), encoding="utf-8")
    with pytest.raises(StoreError, match=f"not schema version {RUN_VERSION}") as caught:
        run_files.PROFILE.load(run)
    assert caught.value.where == f"{path}.captures.1.design_effect"
    path.write_text(json.dumps({**whole, "more": 1}), encoding="utf-8")
    with pytest.raises(StoreError, match=f"not schema version {RUN_VERSION}") as caught:
        run_files.PROFILE.load(run)
    assert caught.value.where == f"{path}.more"


def fields_of(record: object, found: dict[str, str]) -> None:
    """Every field below a record, as `Record.field` to its type and default."""
    for part in typing.get_args(record):
        fields_of(part, found)
    if isinstance(record, type) and issubclass(record, enum.Enum):
        found |= {f"{record.__name__}: {member.value}": "" for member in record}
    if not isinstance(record, type) or not dataclasses.is_dataclass(record):
        return
    types = typing.get_type_hints(record)
    for field in dataclasses.fields(record):
        default = field.default_factory() if callable(field.default_factory) else field.default
        known = "required" if default is dataclasses.MISSING else f"{default!r}"
        name = f"{record.__name__}.{field.name}"
        if name not in found:
            found[name] = f"{field.type} = {known}"
            fields_of(types[field.name], found)


def test_a_record_changes_only_with_the_version(repository: Path) -> None:
    """`PERFKIT_BLESS=1 pytest …` adds fields that older runs may lack, or a new version's file."""
    now: dict[str, str] = {}
    journals = (run_files.TRIALS, run_files.REMEASURED)
    for file in (*run_files.RESULTS, run_files.HEADER, run_files.TUNE_HEADER, *journals):
        fields_of(file.record, now)
    path = repository / "tests" / "data" / "run_files" / f"version_{RUN_VERSION}.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else now
    changed = {name: text for name, text in kept.items() if now.get(name) != text}
    assert changed == {}, "raise RUN_VERSION, and say in its history what changed"
    added = {name: text for name, text in now.items() if name not in kept}
    unknown = ("= None", "= ()", "= {}", "= ''")
    older = {name.partition(".")[0] for name in kept}  # a new record may have any fields
    assert all(
        text.endswith(unknown) or not text
        for name, text in added.items()
        if name.partition(".")[0] in older
    ), added
    if os.environ.get("PERFKIT_BLESS") == "1":
        store.write_whole(path, json.dumps(now, indent=2) + "\n")
    assert json.loads(path.read_text(encoding="utf-8")) == now

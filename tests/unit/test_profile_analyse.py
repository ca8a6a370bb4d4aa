"""From captures on disk back to splits and comparisons: nothing is started, files are small."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest

from perfkit import _engine
from perfkit.cli.compare import compare as command
from perfkit.cli.options import Format, Sizes
from perfkit.errors import StoreError, UnreadableOutputError, UsageError
from perfkit.profile import analyse
from perfkit.profile import compare_captures as compare
from perfkit.records import Capture, Doubts, Interval, Layer, ProfileReport
from perfkit.report import console
from perfkit.report.comparing import compare_profiles_page
from perfkit.run_files import PROFILE
from perfkit.stacks.intervals import Z
from perfkit.stacks.layers import Layers
from perfkit.stacks.split import CALLING_THREAD
from perfkit.store import Run, create_run

if TYPE_CHECKING:
    from pathlib import Path

LAYERS = Layers(["my_crate"])
Stacks = dict[tuple[str, ...], int]


def kept(run: Run, stacks: Stacks, **changes: object) -> Capture:
    """A capture whose folded stacks lie in the run."""
    size = changes.get("size", 1000)
    path = run.path(f"stacks/price-{size}.perf.folded")
    rows = [([CALLING_THREAD, *stack], count) for stack, count in stacks.items()]
    _engine.Folded.from_stacks(rows).write(path)
    fields: dict[str, object] = {
        "profiler": "perf",
        "workload": "price",
        "size": size,
        "clock": "cpu",
        "rate_hz": 1000.0,
        "samples": sum(stacks.values()),
        "calls": 100,
        "region_s": 1.0,
        "unresolved_share": 0.0,
        "slowdown": None,
        "doubts": Doubts(),
        "files": {"folded": run.relative(path)},
        "pace": {"interpreter": Interval(estimate=1e-3, low=0.99e-3, high=1.01e-3)},
        **changes,
    }
    return Capture(**fields)  # type: ignore[arg-type]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(directory=tmp_path / "run")


def test_waiting_knows_into_how_many_windows_its_region_was_cut(run: Run) -> None:
    """A thread that never waits: nothing but the windows' ends leaves room round zero."""
    capture = kept(run, {("my_crate::price",): 1000}, windows=75)
    (waiting,) = (
        row for row in analyse.split_of(capture, run, LAYERS).layers if row.layer is Layer.WAITING
    )
    assert waiting.share.estimate == 0.0
    assert waiting.share.high == pytest.approx(Z * math.sqrt(2 * 75 / 12) / 1000)


def test_a_damaged_folded_file_is_named_with_its_line(run: Run) -> None:
    capture = kept(run, {("a",): 3})
    path = run.directory / capture.files["folded"]
    path.write_text("a;b 3\na;c\n")
    with pytest.raises(UnreadableOutputError) as caught:
        analyse.write_tables(capture, run, LAYERS)
    assert caught.value.where == f"{path}:2"
    path.unlink()
    with pytest.raises(UnreadableOutputError, match="folded"):
        analyse.stacks_of(capture, run)


# -- comparisons -----------------------------------------------------------------------------------


def profiled(folder: Path, *sizes: tuple[int, Stacks], machine: str = "a", **more: object) -> Run:
    """A finished run of `perfkit profile`, one capture for each size."""
    run = create_run(folder, "profile", {"fingerprint": {"machine": machine}, "config": []})
    captures = tuple(kept(run, stacks, size=size, **more) for size, stacks in sizes)
    PROFILE.save(run, ProfileReport(captures=captures))
    return run


BEFORE: Stacks = {("_PyEval", "price"): 500, ("_PyEval", "convert"): 300, ("_PyEval",): 100}
AFTER: Stacks = {("_PyEval", "price"): 500, ("_PyEval", "convert"): 450, ("_PyEval",): 100}


def test_the_frame_that_changed_between_two_runs_is_marked_and_comes_first(
    tmp_path: Path,
) -> None:
    before, after = (profiled(tmp_path, (1000, rows)) for rows in (BEFORE, AFTER))
    pairs, notes = compare.pair_runs(before, after)
    found = compare.compare_pairs(pairs, notes, before.id, after.id)
    (pair,) = found.captures
    assert [row.frame for row in pair.frames if row.significant] == ["convert"]
    first = pair.frames[0]
    assert first.frame == "convert"
    assert first.change.estimate == pytest.approx(0.0015)
    assert pair.whole.change.estimate == pytest.approx(0.0015)
    text = console.render(compare_profiles_page(found), width=100, colour=False)
    assert "most of all `convert`: more by 1.50 ms" in text
    picture = compare.draw(pairs[0], tmp_path / "difference.svg").read_text()
    assert "ns per call" in picture
    assert sorted(tmp_path.glob("*.folded")) == []


def test_two_runs_of_the_same_have_no_marked_frame(tmp_path: Path) -> None:
    runs = [profiled(tmp_path, (1000, BEFORE)) for _ in range(2)]
    pairs, notes = compare.pair_runs(*runs)
    found = compare.compare_pairs(pairs, notes, "a", "b")
    assert not any(row.significant for row in (found.captures[0].whole, *found.captures[0].frames))
    assert "No frame changed" in console.render(
        compare_profiles_page(found), width=100, colour=False
    )


def test_two_sizes_of_one_run_are_compared_per_element(tmp_path: Path) -> None:
    """`convert` does the same whatever the size, `price` its part for each element."""
    small = {("price",): 400, ("convert",): 400}
    run = profiled(tmp_path, (1000, small), (4000, {("price",): 1600, ("convert",): 400}))
    pairs, notes = compare.pair_sizes(run, 1000, 4000)
    (pair,) = compare.compare_pairs(pairs, notes, run.id, run.id).captures
    rows = {row.frame: row for row in pair.frames}
    assert pair.per == "element"
    assert not rows["price"].significant
    assert rows["convert"].significant
    assert rows["convert"].change.estimate == pytest.approx(-3e-6)
    assert "ps per element" in compare.draw(pairs[0], tmp_path / "sizes.svg").read_text()
    with pytest.raises(UsageError, match="no two captures"):
        compare.pair_sizes(run, 1000, 9000)


def test_what_cannot_be_compared_is_refused_by_name(tmp_path: Path) -> None:
    good = profiled(tmp_path, (1000, BEFORE))
    with pytest.raises(UsageError, match="different machines"):
        compare.pair_runs(good, profiled(tmp_path, (1000, BEFORE), machine="b"))
    with pytest.raises(UsageError) as caught:
        compare.pair_runs(good, profiled(tmp_path, (1000, BEFORE), calls=None))
    assert "how many calls" in caught.value.details
    with pytest.raises(UsageError) as caught:
        compare.pair_runs(good, profiled(tmp_path, (2000, BEFORE)))
    assert "only one of the runs" in caught.value.details
    with pytest.raises(StoreError, match="no profile"):
        compare.pair_runs(good, create_run(tmp_path, "measure", {}))


@pytest.fixture
def at_a_project(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository / "tests" / "subjects" / "spins")


@pytest.mark.usefixtures("at_a_project")
def test_the_command_tells_what_changed_and_draws_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = (
        str(profiled(tmp_path, (1000, rows), (4000, rows)).directory) for rows in (BEFORE, AFTER)
    )
    command(before, after, form=Format.JSON)
    document = json.loads(capsys.readouterr().out)
    assert [pair["frames"][0]["frame"] for pair in document["captures"]] == ["convert"] * 2
    command(before, sizes=Sizes([4000, 1000]), form=Format.MARKDOWN)
    assert "price, n = 4k (perf) against n = 1k (perf)" in capsys.readouterr().out
    command(before, after, output=tmp_path / "change.svg")
    drawn = sorted(path.name for path in tmp_path.glob("*.svg"))
    assert drawn == ["change.price-1k.perf.svg", "change.price-4k.perf.svg"]
    for words in ({"after": after, "sizes": Sizes([1, 2])}, {"sizes": Sizes([1])}, {}):
        with pytest.raises(UsageError, match="nothing to compare with"):
            command(before, **words)  # type: ignore[arg-type]


@pytest.mark.usefixtures("at_a_project")
def test_the_command_names_file_and_line_of_a_damaged_capture(tmp_path: Path) -> None:
    before, after = (profiled(tmp_path, (1000, BEFORE)) for _ in range(2))
    path = after.directory / "stacks" / "price-1000.perf.folded"
    path.write_text(path.read_text() + "a;b\n")
    with pytest.raises(UnreadableOutputError) as caught:
        command(str(before.directory), str(after.directory))
    assert str(caught.value).startswith(f"{path}:4: ")

"""`perfkit measure` from options to report, on an extension that is there: nothing is built.

The subject is a copy of the standard library's `_decimal`, loaded from a folder of its own, so that
proof, copies, baselines and other files are the real ones.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from perfkit.config import Project, load_project
from perfkit.errors import StoreError, SubjectMismatchError, UsageError, WrongResultError
from perfkit.measure import baseline, sentinels
from perfkit.measure.report import MeasureOptions, measure_command, settings_for
from perfkit.records import Build, MeasureReport, MeasureVerdict, Pattern, Profile
from perfkit.store import Run

if TYPE_CHECKING:
    from perfkit.subject.builder import Builder

MODULE = "_decimal"

CONFIG = """
    [subject]
    module = "_decimal"
    manifest = "Cargo.toml"

    [workloads.sum]
    call = "workloads.py:decimals"
    setup = "workloads.py:setup"
    reference = "workloads.py:{reference}"
    sizes = [50, 200]
    targets = {{ 50 = 1e-6, 200 = 1e6 }}

    [workloads.slow]
    call = "workloads.py:reference"
    setup = "workloads.py:setup"
    reference = "workloads.py:{reference}"
    sizes = [50]

    [workloads.other]
    call = "workloads.py:reference"
    setup = "workloads.py:other_setup"
    reference = "workloads.py:{reference}"
    sizes = [50]

    [measure]
    sessions = 2
    min_blocks = 8
    max_blocks = 8
    time_limit_s = 60
    patience_s = 0
"""

WORKLOADS = """
    from fractions import Fraction
    import _decimal


    def setup(n, seed):
        return (list(range(seed, seed + n)),)


    def other_setup(n, seed):
        return (list(range(n)),)


    def decimals(values):
        return float(sum(_decimal.Decimal(value) for value in values))


    def reference(values):
        return float(sum(Fraction(value) for value in values))


    def wrong(values):
        return reference(values) + 1
"""


class NoBuilder:
    """Hands out what lies there; counts as a builder for measuring."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def build(self, params: object = None, **_options: object) -> Build:
        return self._at(self.root / "build")

    def copy(self, build: Build) -> Build:
        return self._at(self.root / "copy")

    def _at(self, root: Path) -> Build:
        spec = find_spec(MODULE)
        assert spec is not None
        assert spec.origin is not None
        file = root / Path(spec.origin).name
        if not file.exists():
            root.mkdir(parents=True)
            shutil.copyfile(spec.origin, file)
        return Build(
            key=root.name,
            root=root,
            module=MODULE,
            module_file=file,
            file_sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            text_sha256="",
            profile=Profile.RELEASE,
            params={},
            proofs=(),
            opt_level="3",
            rustc=("rustc",),
            build_s=0.0,
            cached=True,
        )


@dataclasses.dataclass
class Place:
    """A project with its builder, cache and run."""

    project: Project
    builder: NoBuilder
    cache: Path
    run: Run

    def measure(self, **options: object) -> MeasureReport:
        chosen = MeasureOptions(**{"workload": "sum", **options})  # type: ignore[arg-type]
        return measure_command(
            self.project,
            chosen,
            builder=cast("Builder", self.builder),
            cache=self.cache,
            run=self.run,
            progress=lambda _text, _share: None,
        )


def make_place(tmp_path: Path, environ: dict[str, str], reference: str = "reference") -> Place:
    root = tmp_path / "project"
    root.mkdir()
    (root / "perfkit.toml").write_text(textwrap.dedent(CONFIG.format(reference=reference)))
    (root / "workloads.py").write_text(textwrap.dedent(WORKLOADS))
    return Place(
        project=load_project(start=root, environ=environ),
        builder=NoBuilder(tmp_path / "builds"),
        cache=tmp_path / "cache",
        run=Run(directory=tmp_path / "run"),
    )


@pytest.fixture
def place(tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Place:
    """The machine counts as free: what is tested here does not depend on its load."""
    monkeypatch.setattr(sentinels.Gate, "reason_against", lambda *_args, **_options: "")
    return make_place(tmp_path, environ)


def test_it_measures_every_size_against_the_reference(place: Place) -> None:
    report = place.measure()
    assert report.verdict in (MeasureVerdict.OK, MeasureVerdict.UNTRUSTED)
    assert [result.size for result in report.results] == [50, 200]
    small, large = report.results
    for result in (small, large):
        assert result.speedup is not None
        assert result.speedup.low <= result.speedup.estimate <= result.speedup.high
        assert result.reference_s is not None
        assert result.noise_floor is not None
        assert result.noise_floor >= 0.005
        assert result.change is None
    if report.verdict is MeasureVerdict.OK:
        assert (small.met, large.met) == (True, False)
    # Subject, copy and reference: each file and process is told.
    assert [module.module for module in report.loaded] == [MODULE] * 3
    assert len({module.path for module in report.loaded}) == 2
    assert (place.run.directory / "raw" / "blocks.jsonl").is_file()


def test_one_size_in_both_patterns(place: Place) -> None:
    report = place.measure(sizes=(50,), idle=True)
    assert [result.pattern for result in report.results] == [Pattern.HOT, Pattern.IDLE]


def test_a_baseline_is_kept_and_measured_again_in_the_same_blocks(place: Place) -> None:
    place.measure(sizes=(50,), save_baseline="before")
    kept = baseline.load(place.project, place.cache, "before")
    assert kept.root != place.builder.build().root
    report = place.measure(sizes=(50,), baseline="before")
    (result,) = report.results
    assert result.change is not None
    assert {module.path for module in report.loaded} >= {kept.module_file}


def test_another_extension_file_is_measured_beside_the_present_one(
    place: Place, tmp_path: Path
) -> None:
    other = tmp_path / "other.so"
    # Another file with the same code: bytes behind the last section change nothing but the hash.
    other.write_bytes(place.builder.build().module_file.read_bytes() + b"\0")
    report = place.measure(sizes=(50,), against=str(other))
    (result,) = report.results
    assert result.change is not None
    assert len({module.sha256 for module in report.loaded}) == 2


def test_another_workload_of_the_same_work_is_measured_in_the_same_blocks(place: Place) -> None:
    report = place.measure(sizes=(50,), against_workload="slow", idle=True)
    assert [result.workload for result in report.results] == ["sum", "sum"]
    for result in report.results:
        assert result.against_workload == "slow"
        assert result.baseline_s is not None
        # `slow` is the reference itself: fractions, which are many times slower than decimals.
        assert result.change is not None
        assert result.change.low > 2
    journal = (place.run.directory / "raw" / "blocks.jsonl").read_text()
    assert '"baseline"' in journal


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("other", "sum and other do different work"),
        ("sum", "sum would be measured against itself"),
        ("slwo", "did you mean 'slow'"),
    ],
)
def test_only_the_same_work_is_compared(place: Place, other: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        place.measure(against_workload=other)


def test_a_missing_baseline_never_looks_like_a_pass(place: Place) -> None:
    with pytest.raises(UsageError, match="there is no baseline 'before'"):
        place.measure(baseline="before")
    place.measure(sizes=(50,), save_baseline="before")
    with pytest.raises(UsageError, match=r"did you mean 'before'\?"):
        place.measure(baseline="befor")
    with pytest.raises(UsageError, match="not a valid name for a baseline"):
        baseline.save(place.project, place.cache, "../up", place.builder.build())


def test_a_damaged_baseline_is_refused(place: Place) -> None:
    folder = baseline.save(place.project, place.cache, "b", place.builder.build())
    kept = baseline.load(place.project, place.cache, "b")
    kept.module_file.write_bytes(b"other")
    with pytest.raises(StoreError, match="is damaged"):
        baseline.load(place.project, place.cache, "b")
    (folder / "build.json").write_text("{")
    with pytest.raises(StoreError):
        baseline.load(place.project, place.cache, "b")


def test_saving_again_replaces(place: Place) -> None:
    build = place.builder.build()
    baseline.save(place.project, place.cache, "b", build)
    build.module_file.write_bytes(build.module_file.read_bytes() + b"\0")
    newer = place.builder.build()
    baseline.save(place.project, place.cache, "b", newer)
    assert baseline.load(place.project, place.cache, "b").file_sha256 == newer.file_sha256
    assert baseline.names(place.project, place.cache) == ["b"]


def test_a_missing_file_to_compare_with_is_named(place: Place) -> None:
    with pytest.raises(UsageError, match="no such extension file"):
        place.measure(against="nowhere.so")


def test_a_build_that_was_replaced_on_disk_is_refused(place: Place) -> None:
    copy = place.builder.copy(place.builder.build())
    changed = dataclasses.replace(copy, file_sha256="0" * 64)
    place.builder.copy = lambda _build: changed  # type: ignore[method-assign]
    with pytest.raises(SubjectMismatchError):
        place.measure(sizes=(50,))


def test_a_wrong_result_is_refused_before_anything_is_timed(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    with pytest.raises(WrongResultError, match="largest absolute difference 1"):
        make_place(tmp_path, environ, "wrong").measure()
    assert not (tmp_path / "run" / "raw").exists()


def test_without_room_there_is_no_figure(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sentinels.Gate, "reason_against", lambda *_args, **_options: "others use 1.00 cores"
    )
    report = place.measure(sizes=(50,))
    assert report.verdict is MeasureVerdict.BUSY
    assert report.results == ()
    assert report.noise_floor is None
    assert report.effective_cores
    (note,) = [note for note in report.notes if note.id == "no_room"]
    assert "had room for 0 of " in note.text
    assert "others use 1.00 cores" in note.text


def test_the_command_line_wins_over_the_config(place: Place) -> None:
    options = MeasureOptions(time_limit_s=7.0, patience_s=3.0)
    settings = settings_for(place.project, options)
    assert (settings.time_limit_s, settings.patience_s) == (7.0, 3.0)
    fast = settings_for(place.project, MeasureOptions(quick=True, time_limit_s=7.0))
    assert fast.time_limit_s == 7.0
    assert fast.width >= 0.03

"""Two finished runs: compared where machine and work are the same, refused otherwise."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from perfkit.errors import StoreError, UsageError
from perfkit.measure.compare import compare_runs
from perfkit.records import (
    ConfigValue,
    Interval,
    LoadedModule,
    MeasureReport,
    MeasureVerdict,
    SizeResult,
)
from perfkit.run_files import HEADER, MEASUREMENT, RunHeader
from perfkit.store import Run

FINGERPRINT = {"key": "k", "cpu": "A", "cores": 2, "rustc": "1.95"}


def interval(estimate: float, half: float = 0.01) -> Interval:
    return Interval(estimate=estimate, low=estimate * (1 - half), high=estimate * (1 + half))


def result(size: int, speedup: float | None) -> SizeResult:
    return SizeResult(
        workload="work",
        size=size,
        time_s=interval(1e-3),
        reference_s=interval(2e-3),
        speedup=interval(speedup) if speedup else None,
        target=None,
        met=None,
        valid_blocks=30,
        blocks=40,
        noise_floor=0.005,
    )


def run(
    place: Path,
    *sizes: SizeResult,
    verdict: MeasureVerdict = MeasureVerdict.OK,
    fingerprint: dict[str, Any] | None = None,
    reference: str = "w.py:r",
    files: dict[str, str] | None = None,
    **report_fields: Any,  # noqa: ANN401
) -> Run:
    made = Run(directory=place)
    header = RunHeader(
        id=made.id,
        command="measure",
        started="2030-01-02T03:04:05+00:00",
        fingerprint=fingerprint or FINGERPRINT,
        workload_files=files or {"w.py": "1" * 64, "other.py": "2" * 64},
        config=(ConfigValue(key="workloads.work.reference", value=reference, origin="default"),),
    )
    HEADER.save(made, header)
    report = MeasureReport(verdict=verdict, noise_floor=0.005, results=sizes, **report_fields)
    MEASUREMENT.save(made, report)
    return made


def test_a_change_takes_both_intervals_and_the_noise_floor_in(tmp_path: Path) -> None:
    found = compare_runs(
        run(tmp_path / "a", result(100, 2.0), result(200, 2.0)),
        run(tmp_path / "b", result(100, 2.02), result(200, 2.2)),
    )
    small, large = found.sizes
    assert small.change.estimate == pytest.approx(1.01)
    # Half widths of 1 % each and a floor of 0.5 %: sqrt(2) + 0.5 = 1.9 %.
    assert small.change.low == pytest.approx(1.01 * 0.981, abs=2e-3)
    assert not small.differ
    assert large.differ
    assert large.change.low > 1


def test_another_machine_is_refused_with_what_differs(tmp_path: Path) -> None:
    other = {**FINGERPRINT, "key": "x", "cpu": "B"}
    with pytest.raises(UsageError, match="different machines") as caught:
        compare_runs(
            run(tmp_path / "a", result(100, 2.0)),
            run(tmp_path / "b", result(100, 2.0), fingerprint=other),
        )
    assert caught.value.details == "cpu: A | B"
    assert "--against" in caught.value.remedy


def test_other_work_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="different work") as caught:
        compare_runs(
            run(tmp_path / "a", result(100, 2.0)),
            run(tmp_path / "b", result(100, 2.0), reference="w.py:other"),
        )
    assert caught.value.details == "workloads.work.reference: w.py:r | w.py:other"


def test_a_workload_file_that_was_edited_is_refused(tmp_path: Path) -> None:
    edited = {"w.py": "3" * 64, "other.py": "4" * 64}
    with pytest.raises(UsageError, match="different work") as caught:
        compare_runs(
            run(tmp_path / "a", result(100, 2.0)),
            run(tmp_path / "b", result(100, 2.0), files=edited),
        )
    # The file of another workload does not matter.
    assert caught.value.details == "w.py: 111111111111 | 333333333333"


def test_another_library_or_interpreter_is_refused(tmp_path: Path) -> None:
    first = LoadedModule(
        module="m",
        path=Path("m.so"),
        sha256="0",
        parameters=None,
        python="3.11.9",
        executable=Path("python"),
        pid=1,
    )
    second = dataclasses.replace(first, python="3.13.1")
    before = run(
        tmp_path / "a", result(100, 2.0), libraries={"numpy": "2.1", "a": "1"}, loaded=(first,)
    )
    after = run(tmp_path / "b", result(100, 2.0), libraries={"numpy": "2.2"}, loaded=(second,))
    with pytest.raises(UsageError, match="interpreters or libraries") as caught:
        compare_runs(before, after)
    assert caught.value.details.splitlines() == [
        "Python: 3.11.9 | 3.13.1",
        "a: 1 | not loaded",
        "numpy: 2.1 | 2.2",
    ]
    assert compare_runs(before, before).sizes


@pytest.mark.parametrize(
    "verdict", [MeasureVerdict.BUSY, MeasureVerdict.UNTRUSTED, MeasureVerdict.UNCHECKED]
)
def test_a_run_without_a_verdict_is_refused(tmp_path: Path, verdict: MeasureVerdict) -> None:
    with pytest.raises(UsageError, match=f"its verdict is `{verdict}`"):
        compare_runs(
            run(tmp_path / "a", result(100, 2.0), verdict=verdict),
            run(tmp_path / "b", result(100, 2.0)),
        )


def test_sizes_of_one_run_alone_are_notes(tmp_path: Path) -> None:
    found = compare_runs(
        run(tmp_path / "a", result(100, 2.0), result(300, 2.0)),
        run(tmp_path / "b", result(100, 2.0), result(200, 2.0)),
    )
    assert [note.id for note in found.notes] == ["only_after", "only_before"]
    assert len(found.sizes) == 1


def test_without_a_common_speedup_there_is_no_comparison(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no size with a speed-up in common"):
        compare_runs(run(tmp_path / "a", result(100, None)), run(tmp_path / "b", result(100, None)))


def test_a_run_of_another_command_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "a", result(100, 2.0))
    (tmp_path / "a" / MEASUREMENT.name).unlink()
    with pytest.raises(StoreError, match="holds no measurement"):
        compare_runs(Run(directory=tmp_path / "a"), run(tmp_path / "b", result(100, 2.0)))


def test_a_header_without_a_machine_is_refused(tmp_path: Path) -> None:
    first = run(tmp_path / "a", result(100, 2.0))
    HEADER.save(first, dataclasses.replace(HEADER.load(first), fingerprint=None))
    with pytest.raises(StoreError, match="which machine"):
        compare_runs(first, run(tmp_path / "b", result(100, 2.0)))


def test_records_are_frozen(tmp_path: Path) -> None:
    found = compare_runs(
        run(tmp_path / "a", result(100, 2.0)), run(tmp_path / "b", result(100, 2.0))
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.before = "other"  # type: ignore[misc]

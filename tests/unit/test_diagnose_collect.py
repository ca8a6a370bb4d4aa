"""What fails beside the main measurement costs one answer, and never ends the diagnosis."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from perfkit.config import Backend, Kind, Measure, Parameter
from perfkit.diagnose import branches, collect, probes, times
from perfkit.errors import (
    BuildError,
    CaptureError,
    ConfigError,
    MachineBusyError,
    PerfkitError,
    ToolMissingError,
    WorkerError,
    WorkloadError,
)
from perfkit.records import Capture, Doubts, Interval, Note, Outcome, Place
from perfkit.subject.job import Job

if TYPE_CHECKING:
    from collections.abc import Callable

ONE = Interval(estimate=1.0, low=0.99, high=1.01)
AT_10 = Place(workload="w", sizes=(10,))
FAILURES = (
    BuildError("it does not compile"),
    CaptureError("nothing came"),
    ConfigError("there is no function `set_dealy_ns`"),
    MachineBusyError("no room"),
    ToolMissingError("perf is not installed"),
    WorkerError("the process died"),
    WorkloadError("it raised"),
)


def failing(error: PerfkitError) -> Callable[..., NoReturn]:
    def fail(*_arguments: object, **_keywords: object) -> NoReturn:
        raise error

    return fail


def job(**changes: object) -> Any:  # noqa: ANN401  # its parts are made up
    config = SimpleNamespace(
        subject=SimpleNamespace(delay_hook="ext:set_dealy_ns", module="ext"),
        parameters_of=lambda _name: {"SMALL": Parameter(kind="threshold", file="a.rs")},
    )
    base: dict[str, Any] = {
        "name": "w",
        "project": SimpleNamespace(config=config),
        "workload": SimpleNamespace(
            twin=None, reference="ref:call", bench=SimpleNamespace(allocates_output=True)
        ),
        "builder": None,
        "build": None,
        "run": SimpleNamespace(path=Path),
        "settings": Measure(),
        "threads": 2,
    }
    return Job(**{**base, **changes})


def builder(error: PerfkitError) -> Any:  # noqa: ANN401  # stands for Builder
    return SimpleNamespace(build=failing(error), bench=failing(error))


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_every_part_may_fail_by_itself(
    error: PerfkitError, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, name in (
        (times, "measure_small"),
        (probes, "measure_delays"),
        (probes, "probe_gil"),
        (times, "sizes_taken"),
        (collect, "profile"),
    ):
        monkeypatch.setattr(place, name, failing(error))
    monkeypatch.setattr(collect, "start_values", lambda _project, _workload: {"SMALL": 30_000})
    monkeypatch.setattr(collect, "worker_threads", lambda _configured: 2)
    notes: list[Note] = []
    taken = job(builder=builder(error))
    assert error.message in collect._small(taken).reason
    reading = collect._bench(taken, 10, Any, 0.0)  # type: ignore[arg-type]
    assert error.message in reading.reason
    assert list(collect._profile(taken, [10], notes)) == []
    building = job(builder=SimpleNamespace(build=lambda **_keywords: "a build"))
    assert list(collect._profile(building, [10], notes)) == [((), {})]
    assert collect._delays(taken, [10], Any, 0.0, notes) == ()  # type: ignore[arg-type]
    results: Any = [SimpleNamespace(size=10, time_s=ONE)]
    assert collect._gil(taken, results, notes) == {}
    (forced,) = collect._thresholds(taken, [10], verify=True)
    assert forced.crossings[0].crossover.outcome is Outcome.NOT_MEASURED
    assert error.message in forced.crossings[0].reason
    assert [note.id for note in notes] == [
        "not_profiled",
        "not_profiled",
        "no_delays",
        "gil_not_probed",
    ]
    assert all(error.message in note.text for note in notes)
    assert notes[1].place == AT_10


def test_a_capture_that_cannot_be_read_leaves_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = capture()
    monkeypatch.setattr(collect, "profile", lambda *_a, **_k: (taken,))
    monkeypatch.setattr(collect.profiles, "can_split", lambda _capture: True)
    monkeypatch.setattr(collect, "_read", failing(CaptureError("the region is empty")))
    notes: list[Note] = []
    building = job(builder=SimpleNamespace(build=lambda **_keywords: "a build"))
    assert list(collect._profile(building, [10], notes)) == [((taken,), {})]
    assert [(note.id, note.place) for note in notes] == [
        ("not_split", AT_10),
        ("kernel_unseen", AT_10),
    ]


def capture() -> Capture:
    return Capture(
        profiler="perf",
        workload="w",
        size=10,
        clock="cpu",
        rate_hz=997,
        samples=1,
        calls=1,
        region_s=1.0,
        unresolved_share=0.0,
        slowdown=None,
        doubts=Doubts(),
        files={},
        notes=(
            Note(id="tried", text="py-spy: too few samples"),
            Note(id="kernel_unseen", text="the kernel's own time was not visible"),
        ),
    )


def test_what_a_capture_says_of_how_to_read_it_is_carried_on() -> None:
    found = collect.capture_notes([capture()], AT_10)
    assert [(note.id, note.place) for note in found] == [("kernel_unseen", AT_10)]


def test_on_one_core_the_lock_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "worker_threads", lambda _configured: 1)
    monkeypatch.setattr(probes, "probe_gil", failing(WorkerError("asked all the same")))
    notes: list[Note] = []
    results: Any = [SimpleNamespace(size=10, time_s=ONE)]
    assert collect._gil(job(), results, notes) == {}
    assert "one core" in notes[0].text


def test_a_call_shorter_than_the_hand_over_is_not_probed() -> None:
    short = Interval(estimate=9e-4, low=9e-4, high=9e-4)
    notes: list[Note] = []
    results: Any = [SimpleNamespace(size=10, time_s=short)]
    assert collect._gil(job(), results, notes) == {}
    assert notes == []


@pytest.mark.parametrize(
    ("backend", "verify", "forced"),
    [
        (Backend.CONST, False, False),
        (Backend.CONST, True, True),
        (Backend.ENV, False, True),
        (Backend.ARGUMENT, False, True),
    ],
)
def test_a_threshold_that_takes_no_build_is_always_forced(
    backend: Backend, verify: bool, forced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameter = SimpleNamespace(kind=Kind.THRESHOLD, backend=backend, sizes=(), priority=1)
    config = SimpleNamespace(parameters_of=lambda _name: {"SMALL": parameter})
    answer = branches.not_measured("SMALL", 30_000, "asked")
    monkeypatch.setattr(collect, "_force", lambda *_arguments: answer)
    monkeypatch.setattr(collect, "start_values", lambda _project, _workload: {"SMALL": 30_000})
    taken = job(project=SimpleNamespace(config=config))
    (found,) = collect._thresholds(taken, [10], verify=verify)
    (crossing,) = found.crossings
    assert (crossing.reason == "asked") is forced
    assert forced or "--verify does it" in crossing.reason


def test_the_reference_is_profiled_where_it_wins_by_most() -> None:
    def result(size: int, high: float) -> Any:  # noqa: ANN401
        speedup = Interval(estimate=high - 0.01, low=high - 0.02, high=high)
        return SimpleNamespace(size=size, speedup=speedup)

    results = [result(1, 0.9), result(10, 0.5), result(100, 1.5)]
    assert collect._lost_at(job(), results) == 10
    results = [result(100, 1.5), SimpleNamespace(size=1, speedup=None)]
    assert collect._lost_at(job(), results) is None

"""The worker process: what it answers, what it names, and that it ends."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path

import pytest

from perfkit import environment
from perfkit.config import Tolerance, Workload
from perfkit.errors import (
    ConfigError,
    SubjectMismatchError,
    ToolTimedOutError,
    WorkerError,
    WorkloadError,
    WrongResultError,
)
from perfkit.records import Pattern
from perfkit.subject import child, workloads
from perfkit.subject.child import WorkerSpec, worker

FILE = Path(__file__).with_name("measure_workloads.py")


def workload(call: str = "call", **changes: object) -> Workload:
    values: dict[str, object] = {
        "call": f"{FILE.name}:{call}",
        "setup": f"{FILE.name}:setup",
        "reference": f"{FILE.name}:reference",
        "sizes": (10, 100),
        **changes,
    }
    return Workload.model_validate(values)


def open_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir() if path.exists()}


@pytest.fixture
def spec(environ: dict[str, str]) -> WorkerSpec:
    extra = {**environment.thread_environment(2), "PYTHONHASHSEED": "0"}
    return WorkerSpec(
        python=Path(sys.executable),
        environment=environment.base_environment(environ, extra=extra),
        cwd=FILE.parent,
    )


def test_it_times_and_compares(spec: WorkerSpec) -> None:
    with worker(spec) as one:
        arm = one.prepare(workload(), 100, which="call", seed=1, data_sets=3)
        other = one.prepare(workload(), 100, which="reference", seed=1, data_sets=3)
        assert one.inputs[arm] == one.inputs[other] is not None
        calls = one.calibrate(arm, batch_s=1e-3)
        assert calls & (calls - 1) == 0
        timing = one.time(arm, calls)
        assert timing.calls == calls
        assert 0 < timing.per_call_s < 1e-2
        assert 0 < timing.own_s <= 1.1 * timing.cpu_s
        idle = one.time(arm, 2, pattern=Pattern.IDLE)
        assert idle.calls == 2
        checked = one.check(arm, other, tolerance=Tolerance(relative=1e-12, absolute=0.0))
        assert checked.reference is not None
        assert checked.reference.agree
        assert checked.same_bits is True
        looped = one.loop(arm, 0.1)
        assert 0.1 <= looped.seconds < 1.0
        assert looped.tid == one.main_tid in one.native_thread_ids()


def test_it_is_gone_afterwards_and_leaves_no_descriptor_open(spec: WorkerSpec) -> None:
    before = open_descriptors()
    with worker(spec) as one:
        pid = one.pid
    assert not Path(f"/proc/{pid}").exists()
    assert open_descriptors() == before


def test_it_ends_when_perfkit_is_killed(spec: WorkerSpec) -> None:
    with worker(spec) as one:
        one._channels.close()
        deadline = time.monotonic() + 10
        while one._child.returncode is None:
            assert time.monotonic() < deadline
        assert one._child.returncode == 0


def test_a_launcher_gets_named_pipes_and_the_worker_tells_its_own_pid(spec: WorkerSpec) -> None:
    launched = dataclasses.replace(spec, launcher=("sh", "-c", '"$@"; exit 7', "sh"))
    with worker(launched) as one:
        assert one.pid != one._child.pid
        arm = one.prepare(workload(), 10, which="call")
        assert one.calibrate(arm) > 0
        assert one.finish() == 7


def test_a_launcher_that_fails_is_an_error_and_not_a_wait(spec: WorkerSpec) -> None:
    begin = time.monotonic()
    failing = dataclasses.replace(spec, launcher=("sh", "-c", "echo refused >&2; exit 3", "sh"))
    with pytest.raises(WorkerError, match="refused"), worker(failing):
        pass
    assert time.monotonic() - begin < 10


def test_arguments_reach_the_call_and_not_the_reference(spec: WorkerSpec) -> None:
    with worker(dataclasses.replace(spec, arguments={"extra": 5})) as one:
        arm = one.prepare(workload(), 10, which="call")
        other = one.prepare(workload(), 10, which="reference")
        found = one.check(arm, other, tolerance=Tolerance(relative=0.0, absolute=4.999)).reference
        assert found is not None
        assert not found.agree
        assert found.max_absolute == pytest.approx(5.0)


def test_an_inner_timer_is_summed(spec: WorkerSpec) -> None:
    timed = workload(inner_timer=f"{FILE.name}:inner")
    with worker(spec) as one:
        arm = one.prepare(timed, 100, which="inner_timer")
        timing = one.time(arm, 8)
        assert timing.inner_s is not None
        assert 0 < timing.inner_s < timing.seconds


@pytest.mark.parametrize("call", ["raises", "leaves"])
def test_what_a_workload_raises_is_named_with_its_place(spec: WorkerSpec, call: str) -> None:
    with worker(spec) as one:
        arm = one.prepare(workload(call), 10, which="call", name="square")
        with pytest.raises(WorkloadError) as caught:
            one.calibrate(arm)
        assert "workload `square` at size 10" in caught.value.message
        assert caught.value.where.startswith(f"{FILE}:")
        assert "Traceback" in caught.value.details
        # The worker lives on: one bad call does not end a run of many.
        assert one.calibrate(one.prepare(workload(), 10, which="call")) > 0


def test_a_crash_is_named_by_its_signal(spec: WorkerSpec) -> None:
    with worker(spec) as one:
        arm = one.prepare(workload("dies"), 10, which="call")
        with pytest.raises(WorkerError, match="signal 11"):
            one.calibrate(arm)


def test_a_call_that_does_not_return_is_ended(spec: WorkerSpec) -> None:
    with worker(spec) as one:
        arm = one.prepare(workload("hangs"), 10, which="call")
        with pytest.raises(ToolTimedOutError, match="did not answer within 1 s"):
            one.time(arm, 1, timeout_s=1.0)


def test_a_call_over_the_limit_is_named(spec: WorkerSpec) -> None:
    with worker(spec) as one:
        arm = one.prepare(workload("slow"), 10, which="call")
        with pytest.raises(WorkloadError, match=r"takes 0\.4.* s; the limit is 0\.1 s"):
            one.calibrate(arm, limit_s=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"call": "nothing"}, "has no `nothing`"),
        ({"setup": "no_such_file.py:f"}, "there is no such file"),
        ({"setup": f"{FILE.name}:no_tuple"}, "must return the call's arguments as a tuple"),
    ],
)
def test_a_wrong_reference_in_the_config_is_a_config_error(
    spec: WorkerSpec, changes: dict[str, str], message: str
) -> None:
    with worker(spec) as one, pytest.raises(ConfigError, match=message):
        one.prepare(workload(**changes), 10, which="call")


def test_a_module_that_is_not_there_is_named(spec: WorkerSpec) -> None:
    missing = dataclasses.replace(spec, module="no_such_module")
    with pytest.raises(WorkloadError, match="importing `no_such_module`"), worker(missing):
        pass


def test_another_module_than_the_build_is_refused(spec: WorkerSpec) -> None:
    """The wrong installation of a module must never be what is measured."""
    other = dataclasses.replace(spec, module="_decimal", expected_sha256="0" * 64)
    refused = pytest.raises(SubjectMismatchError, match="not the build that was asked for")
    with refused, worker(other):
        pass
    plain = dataclasses.replace(spec, module="json", expected_sha256="0" * 64)
    with pytest.raises(SubjectMismatchError, match="no extension module"), worker(plain):
        pass


def test_the_loaded_extension_is_proved_by_its_hash(spec: WorkerSpec) -> None:
    with worker(dataclasses.replace(spec, module="_decimal")) as one:
        assert one.loaded.path.name.startswith("_decimal")
        digest = one.loaded.sha256
    with worker(dataclasses.replace(spec, module="_decimal", expected_sha256=digest)) as one:
        assert one.loaded.sha256 == digest


def test_verify_passes_what_is_right(spec: WorkerSpec) -> None:
    found, notes = workloads.verify(spec, ("w", workload()), 100, threads=2)
    assert found.reference is not None
    assert found.reference.agree
    assert notes == ()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ("wrong", WrongResultError, r"disagree: .* at \[3\], largest absolute difference 0\.5"),
        ("shorter", WrongResultError, "9 elements against 10"),
        ("fickle", WorkloadError, "returns a different result each time"),
        ("greedy", WorkloadError, "changes its own arguments"),
    ],
)
def test_verify_names_what_is_wrong(
    spec: WorkerSpec, call: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        workloads.verify(spec, ("w", workload(call)), 10)


def test_a_call_beyond_the_time_limit_is_named_before_anything_is_timed(
    spec: WorkerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        WorkloadError, match=r"`w` at size 10: .* longer than the time limit of 0.1"
    ):
        workloads.verify(spec, ("w", workload("slow")), 10, limit_s=0.1)
    monkeypatch.setattr(child, "CHECK_TIMEOUT_S", 1.0)
    with pytest.raises(WorkloadError, match="does not return within the time limit") as caught:
        workloads.verify(spec, ("w", workload("hangs")), 10, limit_s=0.1)
    assert caught.value.where == "workload `w` at size 10"


def into(call: str, reference: str = "beside") -> Workload:
    names = {"setup": f"{FILE.name}:with_output", "reference": f"{FILE.name}:{reference}"}
    return workload(call, **names)


@pytest.mark.parametrize("reference", ["beside", "fills"])
def test_an_output_among_the_arguments_may_be_filled(spec: WorkerSpec, reference: str) -> None:
    found, notes = workloads.verify(spec, ("w", into("fills", reference)), 100)
    assert found.reference is not None
    assert found.reference.agree
    assert not found.changes_arguments
    assert notes == ()


@pytest.mark.parametrize("reference", ["beside", "fills"])
def test_an_output_that_is_not_filled_is_wrong(spec: WorkerSpec, reference: str) -> None:
    # A reference that fills the same array does not make it look filled.
    with pytest.raises(WorkloadError, match="a different result each time"):
        workloads.verify(spec, ("w", into("fills_nothing", reference)), 100)
    with pytest.raises(WorkloadError, match="a different result each time"):
        workloads.verify(spec, ("w", into("adds_up", reference)), 100)


def test_results_that_vary_within_the_tolerance_are_a_note(spec: WorkerSpec) -> None:
    alone = workload("almost", reference=None)
    _, notes = workloads.verify(spec, ("w", alone), 20_000)
    assert [note.id for note in notes] == ["results_vary"]


def test_equal_results_whose_bytes_differ_are_no_note(spec: WorkerSpec) -> None:
    alone = workload("keys_in_any_order", reference=None)
    found, notes = workloads.verify(spec, ("w", alone), 1_000)
    assert found.same_bits is False
    assert notes == ()


def test_results_that_depend_on_threads_are_a_note(spec: WorkerSpec) -> None:
    alone = workload("one_thread_differs", reference=None)
    _, notes = workloads.verify(spec, ("w", alone), 10, threads=2)
    assert [note.id for note in notes] == ["results_depend_on_threads"]


def test_the_overhead_of_the_loop_is_known(spec: WorkerSpec) -> None:
    with worker(spec) as one:
        assert 1e-9 < one.loop_overhead() < 1e-5


def test_sentinels_do_equal_work(spec: WorkerSpec) -> None:
    with worker(spec) as one:
        looks = [one.sentinels(2) for _ in range(20)]
    alone, together = (min(times) for times in zip(*looks, strict=True))
    assert 0.3 < 2 * alone / together < 3.0


def test_region_frames_are_the_functions_of_the_worker() -> None:
    source = child.WORKER_FILE.read_text(encoding="utf-8")
    assert all(f"def {name}(" in source for name in child.REGION_FRAMES)

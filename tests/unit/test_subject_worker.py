"""Which data sets the worker's calls see, without a process."""

from __future__ import annotations

import numpy as np  # noqa: F401  # so that it is loaded
import pytest

from perfkit.subject import worker as worker_file
from perfkit.subject.worker import Call, Commands, Refused


def worker_with(sets: int) -> tuple[Commands, list[int]]:
    one, seen = Commands(), []
    one.arms["arm"] = Call(seen.append, [(index,) for index in range(sets)], False, "arm")
    return one, seen


@pytest.mark.parametrize(
    ("sets", "untimed", "calls", "pattern"),
    [(2, 1, 1, "hot"), (8, 0, 1, "hot"), (8, 8, 12, "hot"), (8, 0, 2, "idle"), (3, 3, 2, "idle")],
)
def test_every_data_set_is_timed_and_two_arms_see_the_same_ones(
    monkeypatch: pytest.MonkeyPatch, sets: int, untimed: int, calls: int, pattern: str
) -> None:
    monkeypatch.setattr(worker_file.time, "sleep", lambda _seconds: None)
    (one, seen), (other, others) = worker_with(sets), worker_with(sets)
    other.calibrate("arm", batch_s=0.0, warm_s=0.0, limit_s=60.0)  # the other one has a past
    timed = []
    for first in range(sets):
        for worker, list_ in ((one, seen), (other, others)):
            list_.clear()
            worker.time("arm", calls, pattern, untimed, None, first)
        assert seen == others
        expected = [(first + index) % sets for index in range(calls)]
        assert seen[-calls:] == expected
        timed += seen[-calls:]
    assert set(timed) == set(range(sets))


def test_calls_go_on_where_they_stopped_when_nobody_says_where_to_begin() -> None:
    one, seen = worker_with(3)
    for _ in range(3):
        one.time("arm", 1, "hot", 0, None, None)
    assert seen == [0, 1, 2]
    one.time("arm", 6, "hot", 0, None, None)
    one.time("arm", 6, "hot", 0, None, None)
    assert seen[3:] == [0, 1, 2] * 4


def test_a_call_over_the_limit_is_refused_after_the_first_one() -> None:
    one, seen = worker_with(2)
    one.check("arm", None, 0.0, 0.0, 3, limit_s=60.0)
    assert len(seen) == 3
    with pytest.raises(Refused, match=r"arm: one call takes .* s, longer than the time limit"):
        one.check("arm", None, 0.0, 0.0, 3, limit_s=-1.0)
    assert len(seen) == 4


def test_libraries_are_the_versions_of_what_is_neither_python_nor_the_subject() -> None:
    one, _ = worker_with(1)
    one.subject = "numpy"
    found = one.libraries()
    assert found["pytest"] == pytest.__version__
    assert not {"numpy", "json", "re"} & set(found)
    one.subject = ""
    assert "numpy" in one.libraries()

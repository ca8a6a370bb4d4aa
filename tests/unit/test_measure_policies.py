"""Which blocks count, when measuring stops, when it is given up: rules, without a clock."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import psutil
import pytest
from measure_fakes import calibrated

from perfkit.measure import blocks, sentinels
from perfkit.measure.sentinels import Gate, Look
from perfkit.measure.stop import Ended, Looks, Patience, Room
from perfkit.records import Pattern

if TYPE_CHECKING:
    from pathlib import Path

FREE = Look(one_s=2e-3, all_s=2.1e-3, threads=2, foreign_cores=0.0)
SHARED = Look(one_s=2e-3, all_s=4e-3, threads=2, foreign_cores=0.0)
CROWDED = Look(one_s=2e-3, all_s=2.1e-3, threads=2, foreign_cores=1.0)
SLOW = Look(one_s=9e-3, all_s=9e-3, threads=2, foreign_cores=0.0)

GATE = Gate(threads=2, cores=2)


def test_effective_cores() -> None:
    assert SHARED.effective_cores == pytest.approx(1.0)
    assert FREE.effective_cores == pytest.approx(2 / 1.05)


@pytest.mark.parametrize(
    ("begin", "end", "parallel", "reason"),
    [
        (FREE, FREE, True, ""),
        (FREE, SHARED, True, "1.00 of 2 cores"),
        (SHARED, FREE, True, "1.00 of 2 cores"),
        (SHARED, SHARED, False, ""),  # one core is enough for calls that use one
        (FREE, CROWDED, False, "others use 1.00 cores"),
        (CROWDED, FREE, True, "others use 1.00 cores"),
        (FREE, SLOW, False, "4.50 times slower than usual"),
    ],
)
def test_the_gate(begin: Look, end: Look, parallel: bool, reason: str) -> None:
    assert GATE.reason_against((begin, end), 2e-3, parallel=parallel) == reason


def test_the_gate_counts_what_is_unknown_as_no_reason() -> None:
    unknown = Look(one_s=2e-3, all_s=2.1e-3, threads=2)
    assert GATE.reason_against((unknown, unknown), 2e-3, parallel=True) == ""


def test_others_may_use_the_cores_that_nobody_needs_but_one() -> None:
    assert Gate(threads=2, cores=2).room == 0.25
    assert Gate(threads=1, cores=2).room == 0.25
    assert Gate(threads=4, cores=16).room == 11


def test_usual_time_is_the_tenth_percentile() -> None:
    usual = sentinels.Usual()
    seen = [usual.see(Look(one_s=t, all_s=t, threads=1)) for t in (3.0, 1.0, 1.0, 1.0, 9.0)]
    assert seen[0] == 3.0
    assert seen[-1] == 1.0


def test_foreign_load_is_what_all_used_less_what_we_used(monkeypatch: pytest.MonkeyPatch) -> None:
    now, total, own = [0.0], [100.0], [5.0]
    monkeypatch.setattr(sentinels.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(sentinels, "processor_seconds", lambda: total[0])
    monkeypatch.setattr(sentinels, "process_seconds", lambda _pid: own[0])
    load = sentinels.ForeignLoad([1])
    assert load.cores() is None  # nothing is known before half a second has passed
    now[0], total[0], own[0] = 0.3, 100.6, 5.3
    assert load.cores() is None
    now[0], total[0], own[0] = 1.0, 102.0, 6.0
    assert load.cores() == pytest.approx(1.0)
    # Only the last half second counts, not the whole past.
    for step in range(1, 21):
        now[0], total[0], own[0] = 1.0 + step / 10, 102.0 + step / 10, 6.0 + step / 10
        last = load.cores()
    assert last == pytest.approx(0.0, abs=1e-9)


def test_processes_that_come_and_go_are_not_foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    now, total, ended, used = [0.0], [100.0], [0.0], {1: 5.0}
    monkeypatch.setattr(sentinels.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(sentinels, "processor_seconds", lambda: total[0])
    monkeypatch.setattr(sentinels, "process_seconds", used.__getitem__)
    monkeypatch.setattr(sentinels, "ended_seconds", lambda: ended[0])
    load = sentinels.ForeignLoad([1])
    load.cores()
    used[2] = 0.6  # it has used this much since it was started
    now[0], total[0] = 0.6, 100.6
    with load.ours([2]):
        assert load.cores() == pytest.approx(0.0, abs=1e-9)
    ended[0] = used.pop(2)
    now[0], total[0], ended[0] = 1.2, 100.7, 0.7
    assert load.cores() == pytest.approx(0.0, abs=1e-9)
    now[0], total[0] = 1.8, 101.3
    assert load.cores() == pytest.approx(1.0)


def test_a_process_that_is_gone_leaves_the_load_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentinels, "process_seconds", lambda _pid: None)
    assert sentinels.ForeignLoad([1]).cores() is None


def test_the_processor_seconds_are_those_of_programs_and_the_kernel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 20 30 4000 50 6 7 8 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    ticks = 100 + 20 + 30 + 6 + 7
    assert sentinels.processor_seconds() == pytest.approx(ticks / os.sysconf("SC_CLK_TCK"))
    stat.write_text("cpu one two\n")
    assert sentinels.processor_seconds() is None
    stat.unlink()
    assert sentinels.processor_seconds() is None


def test_the_histogram_shows_every_block() -> None:
    text = sentinels.histogram([1.0, 1.0, 1.9, 7.0], most=2.5)
    assert text.splitlines()[4].endswith(" 2")
    assert sum(int(line.split()[-1]) for line in text.splitlines()) == 4
    assert sentinels.histogram([], 2.0) == "no block was measured"


def looks(**changes: float) -> Looks:
    values = {"first": 20, "most": 100, "time_limit_s": 10.0, "width": 0.01, **changes}
    return Looks(**values)  # type: ignore[arg-type]


def test_looks_come_at_growing_counts() -> None:
    one = looks()
    taken = [valid for valid in range(1, 80) if one.due(valid)]
    assert taken == [20, 26, 34, 44, 57, 74]


def test_measuring_stops_by_width_blocks_or_time_and_nothing_else() -> None:
    one = looks()
    assert one.decide(valid=20, blocks=20, spent_s=1, widest=0.011) is None
    assert one.decide(valid=20, blocks=20, spent_s=1, widest=0.01) is Ended.WIDTH
    assert one.decide(valid=20, blocks=100, spent_s=1, widest=None) is Ended.BLOCKS
    assert one.decide(valid=20, blocks=50, spent_s=10, widest=None) is Ended.TIME


def test_too_few_valid_blocks_get_the_patience_on_top() -> None:
    one = looks(patience_s=30.0)
    assert one.decide(valid=19, blocks=50, spent_s=39, widest=None) is None
    assert one.decide(valid=19, blocks=50, spent_s=40, widest=None) is Ended.TIME
    assert one.decide(valid=20, blocks=50, spent_s=11, widest=None) is Ended.TIME
    assert one.decide(valid=19, blocks=19, spent_s=99, widest=None) is None


def test_patience_pauses_longer_each_time_and_ends() -> None:
    patience = Patience(limit_s=30.0)
    assert [patience.pause() for _ in range(4)] == [5.0, 10.0, 15.0, None]
    assert Patience(limit_s=0.0).pause() is None


def test_room_is_lacking_below_a_fifth_of_the_blocks() -> None:
    room = Room(recent=[])
    for index in range(40):
        room.see(index * 0.05, valid=index % 5 == 0)
    assert not room.lacking()
    room.see(2.0, valid=False)
    room.see(2.05, valid=False)
    assert room.lacking()
    room.forget()
    room.see(3.0, valid=False)
    assert not room.lacking()  # one block says nothing


def test_one_long_block_without_room_does_not_end_a_session_that_had_it() -> None:
    room = Room(recent=[])
    for index in range(5):
        room.see(20.0 * index, valid=index < 4)
        assert not room.lacking()
    assert not room.lacking(ended=True)
    for index in range(5, 9):
        room.see(20.0 * index, valid=False)
    assert room.lacking()


def test_at_the_end_of_a_session_the_blocks_seen_have_to_be_enough() -> None:
    room = Room(recent=[])
    assert not room.lacking(ended=True)  # nothing seen since the last pause
    room.see(0.0, valid=False)
    assert not room.lacking()
    assert room.lacking(ended=True)


def test_room_looks_back_ten_seconds_only() -> None:
    room = Room(recent=[])
    for second in range(12):
        room.see(float(second), valid=False)
    for second in range(12, 30):
        room.see(float(second), valid=True)
    assert not room.lacking()


def test_pace_repeats_short_rounds_an_odd_number_of_times() -> None:
    short = blocks.pace(
        100, Pattern.HOT, calibrated({"a": 8, "b": 8}, {"a": 5e-5, "b": 5e-5}), data_sets=8
    )
    assert short.rounds % 2 == 1
    assert 0.03 < short.rounds * short.round_s <= 0.04
    long = blocks.pace(
        10**6,
        Pattern.HOT,
        calibrated({"a": 1, "b": 1}, {"a": 0.2, "b": 0.2}, helpers=0.5),
        data_sets=8,
    )
    assert long.rounds == 1
    assert long.too_long
    assert long.parallel


def test_an_idle_arm_has_single_calls_and_no_untimed_ones() -> None:
    idle = blocks.pace(100, Pattern.IDLE, calibrated({"a": 512}, {"a": 1e-6}), data_sets=8)
    assert idle.calls == {"a": blocks.IDLE_CALLS}
    assert idle.untimed == 0


def pace_of(**per_call_s: float) -> blocks.Pace:
    """As it comes out when each arm's own calibration is the smallest power of two for 0.5 ms."""
    calls = {name: 1 << max(0, math.ceil(math.log2(5e-4 / t))) for name, t in per_call_s.items()}
    return blocks.pace(100, Pattern.HOT, calibrated(calls, per_call_s), data_sets=8)


def test_variants_alike_get_equal_batches_whatever_their_calibration_said() -> None:
    """Caches are cold at the start of a batch: a longer one would look faster."""
    pace = pace_of(subject=6.3e-5, copy=6.2e-5, baseline=7e-5)
    assert set(pace.calls.values()) == {16}
    edge = pace_of(subject=4.9e-4, copy=5.1e-4)
    assert set(edge.calls.values()) == {2}


def test_a_far_slower_variant_gets_no_endless_batch() -> None:
    pace = pace_of(subject=1e-6, reference=1e-3)
    assert pace.calls["subject"] == 512
    assert pace.calls["reference"] == 8


@pytest.mark.parametrize(
    ("fastest", "untimed"), [(1e-6, 8), (2.9e-4, 8), (3.1e-4, 1), (1e-3, 1), (0.5, 0)]
)
def test_untimed_calls_are_the_same_for_all(fastest: float, untimed: int) -> None:
    assert pace_of(subject=fastest, copy=1.2 * fastest).untimed == untimed

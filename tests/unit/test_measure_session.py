"""The measuring loop in a laboratory without a world: order, validity, stopping, refusal."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import random
from typing import TYPE_CHECKING

import pytest
from measure_fakes import FakeLab, calibrated, make_plan

from perfkit.errors import MachineBusyError, UsageError, WorkloadError
from perfkit.measure import blocks, remarks, results, session
from perfkit.measure.plan import Arm, quick
from perfkit.measure.ratios import is_faster, is_slower
from perfkit.measure.sentinels import Gate
from perfkit.measure.stop import Ended, Patience
from perfkit.records import MeasureReport, MeasureVerdict, Pattern, Place
from perfkit.store import Run

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.measure.plan import Plan
    from perfkit.measure.results import Measurement
    from perfkit.measure.sentinels import Look
    from perfkit.measure.session import SessionResult
    from perfkit.subject.child import Timing


def machine_for(plan: Plan) -> session.Machine:
    return session.Machine(
        gate=Gate(threads=2, cores=2),
        cores=(),
        patience=Patience(limit_s=plan.settings.patience_s),
    )


def run(
    plan: Plan, hands: FakeLab, *, number: int = 0, machine: session.Machine | None = None
) -> SessionResult:
    paces = [
        blocks.pace(
            size,
            Pattern.HOT,
            calibrated(dict.fromkeys(hands.cost_s, 16), hands.cost_s, helpers=0.5),
            data_sets=8,
        )
        for size in plan.sizes
    ]
    return session.run_session(
        plan,
        hands,
        paces,
        machine or machine_for(plan),
        session=number,
        journal=session.BlockLog(plan),
    )


def judge(plan: Plan, *found: SessionResult) -> Measurement:
    points = tuple(
        results.joined(parts, plan.settings.sessions)
        for parts in zip(*(one.points for one in found), strict=True)
    )
    seen = MeasureReport(verdict=MeasureVerdict.BUSY, noise_floor=None, results=(), seconds=1.0)
    return results.judge(plan, points, seen)


def test_each_round_has_every_arm_once_in_random_order() -> None:
    hands = FakeLab(cost_s={"a": 1e-4, "b": 1e-4, "c": 1e-4})
    arms = [Arm(variant=name, size=1, pattern=Pattern.HOT) for name in "abc"]
    pace = blocks.pace(
        1, Pattern.HOT, calibrated(dict.fromkeys("abc", 4), hands.cost_s), data_sets=8
    )
    rounds = blocks.run_block(hands, arms, pace, random.Random(1), [0, 1], hands.look())
    assert all(sorted(turn) == ["a", "b", "c"] for turn in rounds.order)
    assert len({turn for turn in rounds.order}) > 3
    assert [entry[0] for entry in hands.log] == list(itertools.chain(*rounds.order))
    # All arms of a round begin on the core that was drawn for it.
    assert {cpu for *_, cpu, _ in hands.log} == {0, 1}
    for index, cpu in enumerate(rounds.cores):
        assert {entry[3] for entry in hands.log[3 * index : 3 * index + 3]} == {cpu}
    assert all(len(times) == pace.rounds for times in rounds.per_call_s.values())


def test_all_arms_of_a_round_begin_with_the_same_data_set_and_rounds_go_through_them() -> None:
    hands = FakeLab(cost_s={"subject": 1e-2, "copy": 1e-2})  # one round per block
    found = run(make_plan("subject", "copy"), hands)
    assert {len(block.order) for block in found.points[0].sessions[0]} == {1}
    pairs = [{first for _, first in hands.firsts[i : i + 2]} for i in range(0, 16, 2)]
    assert pairs == [{number} for number in range(8)]


def test_a_block_has_looks_at_both_ends_and_shares_them_with_its_neighbours() -> None:
    hands = FakeLab(cost_s={"subject": 1e-4, "copy": 1e-4})
    found = run(make_plan("subject", "copy"), hands)
    done = found.points[0].sessions[0]
    assert hands.looks == len(done) + 1
    assert all(one.end == two.begin for one, two in itertools.pairwise(done))


def test_it_stops_at_the_first_look_where_the_width_is_reached() -> None:
    found = run(make_plan("subject", "copy"), FakeLab(cost_s={"subject": 1e-4, "copy": 1e-4}))
    assert found.points[0].stop is Ended.WIDTH
    assert found.points[0].valid_blocks == 20


def test_it_stops_by_time_when_the_width_is_out_of_reach() -> None:
    hands = FakeLab(cost_s={"subject": 1e-4, "copy": 1e-4}, noise=0.5)
    found = run(make_plan("subject", "copy", time_limit_s=3.0, width=1e-6), hands)
    assert found.points[0].stop is Ended.TIME
    assert hands.clock == pytest.approx(3.0, abs=0.1)


def test_a_difference_never_stops_it() -> None:
    """Two clearly different variants take as many blocks as two equal ones."""
    counts = []
    for factor in (1.0, 1.5):
        hands = FakeLab(cost_s={"subject": 1e-4, "copy": 1e-4 * factor}, noise=0.05)
        counts.append(run(make_plan("subject", "copy", width=0.004), hands).points[0].blocks)
    assert 0.5 <= counts[0] / counts[1] <= 2.0


def test_the_machines_swings_cancel_in_the_ratio() -> None:
    hands = FakeLab(
        cost_s={"subject": 1e-4, "copy": 1e-4, "baseline": 1.1e-4}, noise=0.01, swing=0.5
    )
    plan = make_plan("subject", "copy", "baseline")
    measured = judge(plan, run(plan, hands))
    assert measured.report.verdict is MeasureVerdict.OK
    ratio = measured.at(100).ratio("subject", "baseline")
    assert ratio.low < 1.1 < ratio.high
    assert ratio.high - ratio.low < 0.02
    floor = measured.report.noise_floor
    assert floor is not None
    assert is_faster(ratio, floor)
    assert is_slower(measured.at(100).ratio("baseline", "subject"), floor)
    same = measured.at(100).ratio("subject", "copy")
    assert not is_faster(same, floor)
    assert not is_slower(same, floor)


def test_invalid_blocks_are_kept_and_do_not_count() -> None:
    hands = FakeLab(
        cost_s={"subject": 1e-4, "copy": 1e-4},
        free=lambda now: int(now / 0.5) % 2 == 0,
        noise=0.01,
    )
    found = run(make_plan("subject", "copy", width=1e-9, time_limit_s=8.0), hands)
    point = found.points[0]
    assert 0.3 < point.valid_blocks / point.blocks < 0.6
    assert not found.busy
    assert point.contended_ratio("subject", "copy") is not None


def test_validity_never_looks_at_an_arm() -> None:
    """The same machine gives the same valid blocks, however the arms behave."""
    reasons = []
    for noise in (0.0, 1.0):
        hands = FakeLab(cost_s={"subject": 1e-4, "copy": 1e-4}, noise=noise)
        calls = itertools.count()
        hands.free = lambda _now, calls=calls: next(calls) % 3 != 0  # type: ignore[misc]
        found = run(make_plan("subject", "copy", max_blocks=30, width=1e-9), hands)
        reasons.append([block.reason for block in found.points[0].sessions[0]])
    assert reasons[0] == reasons[1]


def test_without_room_and_patience_it_refuses_quickly() -> None:
    hands = FakeLab(cost_s={"subject": 1e-4, "copy": 1e-4}, free=lambda _now: False)
    plan = make_plan("subject", "copy", patience_s=0.0)
    found = run(plan, hands)
    assert found.busy
    assert hands.rests == []
    assert hands.clock < 3.0
    measured = judge(plan, found)
    assert measured.report.verdict is MeasureVerdict.BUSY
    assert measured.report.results == ()
    assert measured.report.noise_floor is None
    with pytest.raises(MachineBusyError, match="no room") as caught:
        measured.at(100)
    assert caught.value.exit_code == 4
    assert str(len(measured.report.effective_cores)) in caught.value.details
    assert "cores that were free" in caught.value.details
    hands = FakeLab(cost_s=hands.cost_s, free=hands.free, threads=1)
    alone = judge(plan, run(plan, hands))
    assert set(alone.report.foreign_cores) == {1.0}
    assert "other programs used" in alone.refusal().details
    # What others used is a difference of two clocks: nothing may come out as less than nothing.
    quiet = dataclasses.replace(
        alone, report=dataclasses.replace(alone.report, foreign_cores=(-0.04, -0.01))
    )
    assert "0.0 to  0.1 cores ############################## 2" in quiet.refusal().details


def sessions_of(plan: Plan, room: str) -> list[SessionResult]:
    """Sessions one after the other on a machine that is free (`+`) or not (`-`) in each."""
    machine = machine_for(plan)
    found = []
    for number, free in enumerate(room):
        hands = FakeLab(
            cost_s={"subject": 1e-4, "copy": 1e-4},
            free=lambda _now, free=free: free == "+",  # type: ignore[misc]
            noise=0.003,
        )
        found.append(run(plan, hands, number=number, machine=machine))
    return found


def test_a_session_without_room_and_no_patience_is_the_end_at_once() -> None:
    plan = make_plan("subject", "copy", sessions=5, time_limit_s=2.0, patience_s=0.0)
    (found,) = sessions_of(plan, "-")
    assert found.points[0].blocks < 20  # fewer than the rule over a longer time waits for
    assert found.busy


@pytest.mark.parametrize(
    ("room", "verdict", "told"),
    [
        ("+++++", MeasureVerdict.OK, []),
        ("+++--", MeasureVerdict.OK, ["lost_sessions"]),
        ("++---", MeasureVerdict.BUSY, []),
        ("+----", MeasureVerdict.BUSY, []),
        ("+", MeasureVerdict.BUSY, []),  # given up after the first one
    ],
)
def test_one_pair_of_processes_is_no_answer_to_five(
    room: str, verdict: MeasureVerdict, told: list[str]
) -> None:
    plan = make_plan("subject", "copy", sessions=5, time_limit_s=2.0, patience_s=0.0)
    measured = judge(plan, *sessions_of(plan, room))
    assert measured.report.verdict is verdict
    assert [note.id for note in measured.report.notes] == told


def test_what_was_measured_without_room_says_nothing_even_if_a_few_blocks_count() -> None:
    """A tenth of the blocks valid in every session: fewer than a fifth over the whole run."""
    plan = make_plan("subject", "copy", sessions=5, time_limit_s=5.0, patience_s=0.0)
    machine = machine_for(plan)
    counter = itertools.count()
    hands = FakeLab(cost_s={"subject": 1e-4, "copy": 1e-4}, noise=0.003)
    hands.free = lambda _now: next(counter) % 20 < 3
    found = [run(plan, hands, number=number, machine=machine) for number in range(5)]
    assert found[0].busy


def test_a_tight_time_limit_is_not_a_busy_machine() -> None:
    plan = make_plan("subject", "copy", sessions=5, time_limit_s=0.8, patience_s=0.0)
    measured = judge(plan, *sessions_of(plan, "+++++"))
    assert measured.report.verdict is MeasureVerdict.OK


def test_patience_waits_for_room() -> None:
    hands = FakeLab(cost_s={"subject": 1e-4, "copy": 1e-4}, free=lambda now: now > 12.0)
    plan = make_plan("subject", "copy", patience_s=30.0)
    found = run(plan, hands)
    assert hands.rests == [5.0, 10.0]
    assert judge(plan, found).report.verdict is MeasureVerdict.OK


def test_copies_that_differ_make_a_run_untrusted() -> None:
    hands = FakeLab(cost_s={"subject": 1e-4, "copy": 1.02e-4}, noise=0.001)
    plan = make_plan("subject", "copy")
    measured = judge(plan, run(plan, hands))
    assert measured.report.verdict is MeasureVerdict.UNTRUSTED
    assert [note.id for note in measured.report.notes] == ["copies_differ"]
    assert "+2.0" in measured.report.notes[0].text


def test_without_a_copy_a_run_is_unchecked() -> None:
    plan = make_plan("subject", "reference")
    measured = judge(plan, run(plan, FakeLab(cost_s={"subject": 1e-4, "reference": 1e-4})))
    assert measured.report.verdict is MeasureVerdict.UNCHECKED
    assert measured.report.noise_floor is None


def test_a_target_is_met_by_the_lower_bound_alone() -> None:
    for factor, met in ((2.2, True), (2.005, False)):
        hands = FakeLab(
            cost_s={"subject": 1e-4, "copy": 1e-4, "reference": factor * 1e-4}, noise=0.05
        )
        plan = make_plan("subject", "copy", "reference", width=0.01)
        (row,) = judge(plan, run(plan, hands)).report.results
        assert row.speedup is not None
        assert row.speedup.estimate > 1.98
        assert row.met is met
        assert row.target == 2.0


def test_no_claim_about_a_target_without_a_verdict() -> None:
    hands = FakeLab(cost_s={"subject": 1e-4, "copy": 1.1e-4, "reference": 1e-3})
    plan = make_plan("subject", "copy", "reference")
    (row,) = judge(plan, run(plan, hands)).report.results
    assert row.met is None


def test_sizes_are_measured_in_turn() -> None:
    plan = make_plan("subject", "copy", sizes=(100, 200))
    hands = FakeLab(cost_s={"subject": 1e-4, "copy": 1e-4})
    found = run(plan, hands)
    assert [point.size for point in found.points] == [100, 200]
    assert {point.blocks for point in found.points} == {20}


def test_the_same_seed_gives_the_same_order() -> None:
    logs = []
    for _ in range(2):
        hands = FakeLab(cost_s={"subject": 1e-4, "copy": 1e-4})
        run(make_plan("subject", "copy"), hands)
        logs.append([entry[0] for entry in hands.log])
    assert logs[0] == logs[1]
    other = FakeLab(cost_s={"subject": 1e-4, "copy": 1e-4})
    run(make_plan("subject", "copy"), other, number=1)
    assert [entry[0] for entry in other.log] != logs[0]


def test_a_call_too_slow_for_the_time_limit_is_named() -> None:
    hands = FakeLab(cost_s={"subject": 1.0, "copy": 1.0})
    plan = make_plan("subject", "copy", time_limit_s=20.0)
    paces = [
        blocks.pace(
            100, Pattern.HOT, calibrated(dict.fromkeys(hands.cost_s, 2), hands.cost_s), data_sets=8
        )
    ]
    with pytest.raises(WorkloadError, match="too slow for the time limit of 20 s"):
        session.run_session(
            plan,
            hands,
            paces,
            machine_for(plan),
            session=0,
            journal=session.BlockLog(plan),
        )


def test_a_variant_that_slows_down_is_named() -> None:
    hands = FakeLab(
        cost_s={"subject": 1e-4, "copy": 1e-4}, noise=0.01, swing=0.1, leak={"subject": 5e-4}
    )
    plan = make_plan("subject", "copy", width=1e-9, time_limit_s=5.0)
    found = run(plan, hands)
    told = list(remarks.drifts(plan, found.points))
    assert [note.id for note in told] == ["slows_down"]
    assert "`subject` gets slower" in told[0].text
    assert told[0].place == Place(workload="work", sizes=(100,), pattern=Pattern.HOT)
    steady = FakeLab(cost_s={"subject": 1e-4, "copy": 1e-4}, noise=0.01, swing=0.1)
    assert list(remarks.drifts(plan, run(plan, steady).points)) == []


def test_a_leak_in_every_build_is_named_with_the_default_settings() -> None:
    """The ratio is narrow at once, so each set of processes has a few blocks only."""
    plan = make_plan("subject", "copy", sessions=5)
    leak = {"subject": 4e-3, "copy": 4e-3}
    for steady in (False, True):
        found = [
            run(
                plan,
                FakeLab(
                    cost_s={"subject": 1e-4, "copy": 1e-4},
                    noise=0.01,
                    leak={} if steady else leak,
                    seed=number,
                ),
                number=number,
            )
            for number in range(5)
        ]
        points = judge(plan, *found).points
        assert all(len(part) < 20 for part in points[0].sessions)
        told = remarks.drifts(plan, points)
        assert [note.id for note in told] == ([] if steady else ["slows_down"] * 2)


def test_a_reference_that_is_threaded_at_large_sizes_alone_is_named_there() -> None:
    plan = make_plan("subject", "copy", "reference", sizes=(100, 200, 300))

    class Threaded(FakeLab):
        def time(
            self, arm: Arm, calls: int, *, untimed: int, cpu: int | None, first: int
        ) -> Timing:
            timing = super().time(arm, calls, untimed=untimed, cpu=cpu, first=first)
            if arm.variant == "reference" and arm.size == 300:
                return dataclasses.replace(timing, cpu_s=1.8 * timing.cpu_s)
            return timing

    found = run(plan, Threaded(cost_s={"subject": 1e-4, "copy": 1e-4, "reference": 1e-4}))
    (note,) = remarks.reference_threads(plan, judge(plan, found).points)
    assert note.place == Place(workload="work", sizes=(300,), pattern=Pattern.HOT)
    assert "used 1.8 cores, 44 %" in note.text


def test_memory_that_stays_behind_is_named_once() -> None:
    plan = make_plan("subject", "copy")
    (note,) = remarks.growth(plan, {"subject": (0, 64 << 20), "copy": (1 << 30, (1 << 30) + 64)})
    assert "`subject` grew by 64 MiB" in note.text


def test_raw_blocks_are_in_the_journal_with_their_reason(tmp_path: Path) -> None:
    plan = make_plan("subject", "copy")
    plan = dataclasses.replace(plan, job=dataclasses.replace(plan.job, run=Run(directory=tmp_path)))
    hands = FakeLab(cost_s={"subject": 1e-4, "copy": 1e-4}, free=lambda now: now > 0.5)
    found = run(plan, hands)
    lines = (tmp_path / session.JOURNAL).read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == found.points[0].blocks
    assert [row["valid"] for row in rows] == [b.valid for b in found.points[0].sessions[0]]
    first = rows[0]
    assert first["reason"] == "1.00 of 2 cores"
    assert first["workload"] == "work"
    assert len(first["per_call_s"]["copy"]) == len(first["order"])
    assert first["begin"]["one_s"] > 0


def test_an_interrupt_leaves_the_journal_behind(tmp_path: Path) -> None:
    plan = make_plan("subject", "copy", width=1e-9)
    plan = dataclasses.replace(plan, job=dataclasses.replace(plan.job, run=Run(directory=tmp_path)))

    class Interrupted(FakeLab):
        def look(self) -> Look:
            if self.clock > 3.0:
                raise KeyboardInterrupt
            return super().look()

    with pytest.raises(KeyboardInterrupt):
        run(plan, Interrupted(cost_s={"subject": 1e-4, "copy": 1e-4}, noise=0.01))
    assert len((tmp_path / session.JOURNAL).read_text().splitlines()) > 20


def test_coverage_of_a_known_ratio() -> None:
    """Of 200 simulated measurements about 95 % hold the true ratio."""
    hits = 0
    for seed in range(200):
        hands = FakeLab(
            cost_s={"subject": 1e-4, "copy": 1e-4, "baseline": 1.03e-4},
            noise=0.03,
            swing=0.3,
            seed=seed,
        )
        plan = make_plan("subject", "copy", "baseline", time_limit_s=2.0, width=1e-9)
        point = run(plan, hands, number=seed).points[0]
        found = point.log_ratio("subject", "baseline")
        hits += found.low <= math.log(1.03) <= found.high
    assert 183 <= hits <= 199  # binomial(200, 0.95): below 183 or above 199 less than 1 in 1000


def test_a_size_that_was_not_measured_is_refused() -> None:
    plan = make_plan("subject", "copy")
    measured = judge(plan, run(plan, FakeLab(cost_s={"subject": 1e-4, "copy": 1e-4})))
    with pytest.raises(UsageError, match="200"):
        measured.at(200)


def test_processes_that_differ_for_life_widen_the_interval_and_the_floor() -> None:
    """Each process is fast or slow from its start on, as layouts of code and data make it."""
    chance = random.Random(3)
    plan = make_plan("subject", "copy", "baseline", sessions=5, time_limit_s=10.0)
    found = []
    for number in range(5):
        cost = {name: 1e-4 * chance.choice([1.0, 1.14]) for name in ("subject", "copy", "baseline")}
        found.append(run(plan, FakeLab(cost_s=cost, noise=0.01, seed=number), number=number))
    measured = judge(plan, *found)
    point = measured.at(100)
    assert len(point.sessions) == 5
    ratio = point.log_ratio("subject", "baseline")
    assert ratio.low < 0 < ratio.high
    floor = point.noise_floor("subject", "copy")
    assert floor > 0.05
    ratio = point.ratio("subject", "baseline")
    assert not is_faster(ratio, floor)
    assert not is_slower(ratio, floor)


def test_progress_goes_up_to_one_over_all_sessions() -> None:
    told: list[tuple[str, float | None]] = []
    plan = make_plan(
        "subject",
        "copy",
        progress=lambda text, share: told.append((text, share)),
        sessions=2,
        time_limit_s=2.0,
        width=1e-9,
    )
    for number in (2, 3):  # a repeated run counts its sessions on
        hands = FakeLab(cost_s={"subject": 1e-4, "copy": 1e-4}, noise=0.01)
        paces = [
            blocks.pace(
                100, Pattern.HOT, calibrated({"subject": 4, "copy": 4}, hands.cost_s), data_sets=8
            )
        ]
        session.run_session(
            plan,
            hands,
            paces,
            machine_for(plan),
            session=number,
            journal=session.BlockLog(plan),
        )
    shares = [share for _, share in told if share is not None]
    assert shares == sorted(shares)
    assert shares[0] < 0.1
    assert shares[-1] == pytest.approx(1.0)
    assert told[0][0] == "work 100: 1 of 1 blocks count"


def test_two_variants_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="one name"):
        make_plan("subject", "subject")


def test_quick_never_asks_for_more_than_the_config() -> None:
    settings = make_plan("subject", width=0.05, time_limit_s=1.0, sessions=5).settings
    fast = quick(settings)
    assert fast.width == 0.05
    assert fast.time_limit_s == 1.0
    assert fast.sessions == 3

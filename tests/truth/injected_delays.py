"""Known delays at the boundary of the bundled kernel: every timed estimator must find them.

The kernel spins for a given number of nanoseconds in each call, so the FFI cost is known by
construction but for what the boundary takes anyway, which is measured in the same blocks without a
delay. Needs a machine with room, so it belongs to `make truth` and not to `make test`: a busy one
fails here by name.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from perfkit.config import load_project
from perfkit.diagnose import estimators, times
from perfkit.diagnose.agree import judge
from perfkit.diagnose.estimators import Covers, Reading
from perfkit.environment import worker_threads
from perfkit.measure.plan import Plan, Variant
from perfkit.measure.session import measure
from perfkit.measure.subject import SUBJECT
from perfkit.records import Interval, MeasureVerdict, Role
from perfkit.store import create_run
from perfkit.subject.build import Builder
from perfkit.subject.parameters import Assignment

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.measure.results import Point
    from perfkit.subject.child import Which

pytestmark = pytest.mark.truth

WORKLOAD = "call_price_plain"
SIZE = 1_000
HOOK = "perfkit_kernel:set_boundary_delay_ns"
BASE_NS = 100
"""The spin ends after the clock has passed its end, so it is longer than asked for by one reading
of the clock. Against another spin that cancels; against no spin at all it would not.
"""
DELAYS_NS = (200, 1_000, 5_000)
SHARES = (0.05, 0.20, 0.40, 0.60, 0.80)
POINTS = 0.02


@pytest.fixture(scope="module")
def subject(
    repository: Path, shared_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> times.Subject:
    project = load_project(start=repository, environ=dict(os.environ))
    build = Builder(project, cache=shared_cache).build()
    return times.Subject(
        project=project,
        name=WORKLOAD,
        workload=project.config.workloads[WORKLOAD],
        build=build,
        copy=None,
        assignment=Assignment(),
        threads=worker_threads(project.config.subject.threads),
        seed=1,
        run=create_run(tmp_path_factory.mktemp("profiles"), "diagnose", {}),
        patience_s=120.0,
        progress=lambda _message, _fraction: None,
    )


def timed(subject: times.Subject, delays_ns: tuple[int, ...]) -> Point:
    """Call, twin and inner timer under each delay, all in the same blocks."""
    arms: tuple[tuple[str, Which], ...] = (
        (SUBJECT, "call"),
        (times.TWIN, "twin"),
        (times.INNER, "inner_timer"),
    )
    variants = tuple(
        Variant(
            name=f"{name}+{delay}",
            role=Role.SUBJECT if which == "call" else Role.TWIN,
            spec=subject.spec(calls={HOOK: delay}),
            which=which,
        )
        for name, which in arms
        for delay in delays_ns
    )
    plan = Plan(
        workload_name=subject.name,
        workload=subject.workload,
        sizes=(SIZE,),
        variants=variants,
        threads=1,  # below every threshold: the call runs on one thread
        settings=subject.settings(limit_s=20.0, width=0.005, blocks=40),
        seed=1,
    )
    found = measure(plan)
    assert found.verdict is not MeasureVerdict.BUSY, found.refusal()
    return found.at(SIZE)


def outside(point: Point, delay: int) -> Interval:
    found = times.inner_outside(point, f"{times.INNER}+{delay}")
    assert found is not None
    return found


def test_injected_delays_are_found_within_a_tenth_or_thirty_nanoseconds(
    subject: times.Subject,
) -> None:
    point = timed(subject, (BASE_NS, *(BASE_NS + delay for delay in DELAYS_NS)))
    base = point.absolute(f"{SUBJECT}+{BASE_NS}").estimate
    base_twin = point.absolute(f"{times.TWIN}+{BASE_NS}").estimate
    for delay in DELAYS_NS:
        known, total = delay * 1e-9, BASE_NS + delay
        # By the ratio of neighbours in time: the medians of two processes drift apart by more than
        # a short delay is long.
        by_call = base * (point.ratio(f"{SUBJECT}+{BASE_NS}", f"{SUBJECT}+{total}").estimate - 1)
        by_twin = point.absolute(f"{times.TWIN}+{total}").estimate - base_twin
        by_timer = outside(point, total).estimate - outside(point, BASE_NS).estimate
        allowed = max(0.1 * known, 30e-9)
        assert abs(by_twin - known) <= allowed, f"{delay} ns injected, the twin shows {by_twin}"
        # These two are differences of figures as large as the whole call, some 17 µs of arithmetic:
        # they are held to two points of it, which is what a share may be off by.
        rough = max(allowed, POINTS * base)
        found = {"call": by_call, "inner timer": by_timer}
        wrong = {name: value for name, value in found.items() if abs(value - known) > rough}
        assert not wrong, f"{delay} ns injected, found {found}"


def test_shares_by_construction_are_known_within_two_points(subject: times.Subject) -> None:
    plain = timed(subject, (0,))
    call_s = plain.absolute(f"{SUBJECT}+0").estimate
    loop_s = times.loop_overhead(subject).estimate
    fixed_s = plain.absolute(f"{times.TWIN}+0").estimate - loop_s
    delays = {
        share: max(0, round((share * call_s - fixed_s) / (1 - share) * 1e9)) for share in SHARES
    }
    point = timed(subject, tuple(delays.values()))
    for delay in delays.values():
        true = (fixed_s + delay * 1e-9) / (call_s + delay * 1e-9)
        whole = point.absolute(f"{SUBJECT}+{delay}")
        readings: list[Reading] = [
            estimators.twin(point.absolute(f"{times.TWIN}+{delay}"), loop_s, call_s=whole),
            estimators.inner_timer(outside(point, delay), loop_s),
        ]
        found = judge(readings, whole)
        assert found.ffi.agree, f"{true:.3f} by construction: {found.ffi.estimators}"
        assert found.covers is Covers.BOUNDARY
        assert found.ffi.share == pytest.approx(true, abs=POINTS)

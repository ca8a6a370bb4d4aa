"""When estimators agree, and what is said when they do not."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit.diagnose.agree import Code, differences, judge
from perfkit.diagnose.estimators import Method, Response, SampledCall, unavailable
from perfkit.records import Covers, Doubts, Estimate, Interval, Layer

CALL = Interval(estimate=100e-6, low=99.5e-6, high=100.5e-6)


def reading(
    method: Method, seconds: float, *, half: float = 0.3e-6, covers: Covers = Covers.BOUNDARY
) -> Estimate:
    interval = Interval(estimate=seconds, low=seconds - half, high=seconds + half)
    return Estimate(name=method, seconds=interval, covers=covers)


def samples(
    ffi: float, *, output: float = 0.0, interpreter: float = 0.0, call: float = 100e-6
) -> SampledCall:
    return SampledCall(
        layers={
            Layer.CONVERT_IN: ffi,
            Layer.ALLOCATION: output,
            Layer.INTERPRETER: interpreter,
            Layer.COMPUTE: call - ffi - output - interpreter,
        },
        samples=6_000,
        sample_s=call / 6_000,
        boundary_allocation_s=output,
        loop_s=0.0,
    )


def sampled_reading(split: SampledCall) -> Estimate:
    return Estimate(
        name=Method.SAMPLES, seconds=split.covering(Covers.FFI), covers=Covers.FFI, reason="6000"
    )


def test_two_independent_answers_within_two_points_are_known() -> None:
    found = judge([reading(Method.TWIN, 20e-6), reading(Method.BENCH, 21.5e-6)], CALL)
    assert found.ffi.agree
    assert not found.ffi.disagree
    assert found.ffi.share is not None
    assert found.ffi.share.estimate == pytest.approx(0.2075)
    assert found.ffi.share.low <= 0.197
    assert found.covers is Covers.BOUNDARY
    assert found.ffi.agreeing == (Method.TWIN, Method.BENCH)


@pytest.mark.parametrize(
    ("call_s", "apart_s", "agree"),
    [(300e-9, 15e-9, True), (300e-9, 31e-9, False), (100e-9, 11e-9, False), (10e-6, 25e-9, True)],
)
def test_answers_of_a_call_of_nanoseconds_may_differ_by_some_of_them(
    call_s: float, apart_s: float, agree: bool
) -> None:
    call = Interval(estimate=call_s, low=0.99 * call_s, high=1.01 * call_s)
    one, other = (
        reading(method, 0.3 * call_s + more, half=2e-9)
        for method, more in ((Method.TWIN, 0.0), (Method.BENCH, apart_s))
    )
    found = judge([one, other], call).ffi
    assert found.agree is agree
    if agree:
        assert found.share is not None
        assert found.share.low <= 0.3 < 0.3 + apart_s / call_s <= found.share.high


def test_one_answer_alone_is_not_known() -> None:
    found = judge([reading(Method.TWIN, 20e-6), unavailable(Method.BENCH, "no bench")], CALL)
    assert not found.ffi.agree
    assert found.ffi.share is None
    reasons = {e.name: e.reason for e in found.ffi.estimators}
    assert reasons["call_minus_bench"] == "not available: no bench"


def test_two_subtractions_from_one_call_do_not_confirm_each_other() -> None:
    found = judge([reading(Method.INNER_TIMER, 20e-6), reading(Method.BENCH, 20e-6)], CALL)
    assert not found.ffi.agree


def test_three_points_apart_disagree() -> None:
    found = judge([reading(Method.TWIN, 20e-6), reading(Method.BENCH, 23.1e-6)], CALL)
    assert not found.ffi.agree
    assert found.ffi.disagree
    assert found.ffi.share is None
    assert found.codes[Method.TWIN] is Code.UNEXPLAINED


def test_an_answer_too_wide_confirms_nothing() -> None:
    found = judge([reading(Method.TWIN, 20e-6), reading(Method.BENCH, 20e-6, half=10e-6)], CALL)
    assert not found.ffi.agree
    assert not found.ffi.disagree
    assert found.codes == {Method.BENCH: Code.TOO_WIDE}


def test_a_wide_answer_contradicts_what_it_excludes() -> None:
    found = judge([reading(Method.TWIN, 20e-6), reading(Method.BENCH, 60e-6, half=10e-6)], CALL)
    assert found.ffi.disagree
    assert found.ffi.share is None


def test_samples_alone_bound_the_share() -> None:
    split = samples(30e-6)
    found = judge([sampled_reading(split)], CALL, sampled=split)
    assert not found.ffi.agree
    assert not found.ffi.disagree
    assert found.ffi.share is not None
    assert found.ffi.share.low < 0.30 < found.ffi.share.high


def test_an_intercept_below_the_samples_contradicts_nothing() -> None:
    """It cannot see a conversion that grows with the size."""
    split = samples(30e-6)
    found = judge(
        [reading(Method.INTERCEPT, 1e-6), sampled_reading(split)], CALL, sampled=split
    ).ffi
    assert not found.disagree
    assert found.share is not None
    above = judge([reading(Method.INTERCEPT, 60e-6), sampled_reading(split)], CALL, sampled=split)
    assert above.ffi.disagree


def test_samples_and_twin_are_compared_over_what_the_twin_covers() -> None:
    split = samples(30e-6, output=15e-6)
    found = judge([reading(Method.TWIN, 45e-6), sampled_reading(split)], CALL, sampled=split)
    assert found.ffi.agree
    # The share is the FFI alone: the output's allocation is never part of it.
    assert found.ffi.share is not None
    assert found.ffi.share.estimate == pytest.approx(0.30)
    assert found.covers is Covers.FFI


def test_the_narrower_of_two_ways_to_the_ffi_alone_gives_the_share() -> None:
    # A timed reading of what is nearly all FFI is narrower than a count of the same in samples.
    split = samples(60.5e-6, output=0.5e-6)
    found = judge([reading(Method.TWIN, 60e-6), sampled_reading(split)], CALL, sampled=split)
    share = found.ffi.share
    assert share is not None
    assert share.estimate == pytest.approx(0.595)
    assert (share.low, share.high) == pytest.approx((0.595, 0.595), abs=0.005)
    assert found.covers is Covers.FFI
    # A wide one is not, and an inner timer holds a reading of the clock.
    for other in (reading(Method.TWIN, 60e-6, half=4e-6), reading(Method.INNER_TIMER, 60e-6)):
        found = judge([other, sampled_reading(split)], CALL, sampled=split)
        assert found.ffi.share is not None
        assert found.ffi.share.estimate == pytest.approx(0.605)


def test_an_interval_holds_both_ways_where_they_differ_by_more_than_they_leave_open() -> None:
    split = samples(31.5e-6)
    found = judge([reading(Method.TWIN, 30e-6), sampled_reading(split)], CALL, sampled=split)
    assert found.ffi.share is not None
    assert found.ffi.share.estimate == pytest.approx(0.30)
    assert found.ffi.share.high == pytest.approx(0.315)


def test_an_intercept_below_agreeing_others_names_the_growing_conversion() -> None:
    split = samples(45e-6)
    found = judge(
        [
            reading(Method.TWIN, 45e-6),
            sampled_reading(split),
            reading(Method.INTERCEPT, 0.4e-6, half=0.05e-6),
        ],
        CALL,
        sampled=split,
    )
    assert found.ffi.agree
    assert found.codes == {Method.INTERCEPT: Code.SIZE_DEPENDENT_CONVERSION}


@pytest.mark.parametrize("half_s", [0.05e-6, 0.3e-6])
def test_samples_contradict_a_twin_and_an_intercept_with_one_blind_spot(half_s: float) -> None:
    """A twin that ignores its argument, and an intercept: both miss a conversion that grows."""
    split = samples(60e-6)
    answers = [
        reading(Method.TWIN, 0.40e-6, half=half_s),
        reading(Method.INTERCEPT, 0.38e-6, half=half_s),
    ]
    found = judge([*answers, sampled_reading(split)], CALL, sampled=split)
    assert not found.ffi.agree
    assert found.ffi.disagree
    assert found.ffi.share is None
    assert found.codes[Method.TWIN] is found.codes[Method.INTERCEPT] is Code.UNSEEN
    alone = judge(answers, CALL)
    assert not alone.ffi.agree
    assert not alone.ffi.disagree
    assert set(alone.codes.values()) == {Code.BLIND_SPOT}
    # Samples that are too wide to confirm anything still show it.
    wide = dataclasses.replace(split, doubts=Doubts(slowdown=0.2))
    found = judge([*answers, sampled_reading(wide)], CALL, sampled=wide)
    assert found.codes[Method.SAMPLES] is Code.TOO_WIDE
    assert found.ffi.disagree
    # Where they show nothing more, the two confirm each other.
    small = samples(0.4e-6)
    assert judge([*answers, sampled_reading(small)], CALL, sampled=small).ffi.agree


def test_an_inner_timer_above_the_twin_names_the_output() -> None:
    found = judge(
        [
            reading(Method.TWIN, 2e-6),
            reading(Method.INTERCEPT, 2e-6),
            reading(Method.INNER_TIMER, 12e-6),
        ],
        CALL,
    )
    assert found.codes[Method.INNER_TIMER] is Code.OUTPUT_LIFECYCLE


def test_an_estimator_that_ignores_a_delay_confirms_nothing() -> None:
    deaf = Response(of="twin", slope=Interval(estimate=0.5, low=0.4, high=0.6))
    found = judge(
        [reading(Method.TWIN, 20e-6), reading(Method.INTERCEPT, 20e-6)], CALL, responses=[deaf]
    )
    assert not found.ffi.agree
    assert found.codes == {Method.TWIN: Code.ESTIMATOR_BROKEN}
    assert any("0.500" in e.reason for e in found.ffi.estimators)


def test_an_estimator_whose_answer_to_a_delay_is_not_decided_still_counts() -> None:
    vague = Response(of="twin", slope=Interval(estimate=0.9, low=0.7, high=1.1))
    found = judge(
        [reading(Method.TWIN, 20e-6), reading(Method.BENCH, 20e-6)], CALL, responses=[vague]
    )
    assert found.ffi.agree
    assert found.ffi.agreeing == ("twin", "call_minus_bench")
    assert any("not decided" in e.reason for e in found.ffi.estimators)


def test_two_subtractions_cannot_disagree() -> None:
    both = judge([reading(Method.INNER_TIMER, 20e-6), reading(Method.BENCH, 70e-6)], CALL)
    assert not both.ffi.disagree
    other = judge([reading(Method.INNER_TIMER, 20e-6), reading(Method.TWIN, 70e-6)], CALL)
    assert other.ffi.disagree


def test_two_camps_are_no_agreement() -> None:
    found = judge(
        [
            reading(Method.TWIN, 20e-6),
            reading(Method.BENCH, 20e-6),
            reading(Method.INTERCEPT, 60e-6),
            reading(Method.INNER_TIMER, 60e-6),
        ],
        CALL,
    )
    assert not found.ffi.agree
    assert found.ffi.disagree
    assert found.ffi.share is None
    assert set(found.codes.values()) == {Code.TWO_CAMPS}


def test_the_disagreement_is_shown_with_its_base() -> None:
    texts = differences([reading(Method.BENCH, 20e-6), reading(Method.SAMPLES, 24e-6)], CALL)
    assert texts == ["call_minus_bench and sampled_stacks differ by 4 µs, 4.0 % of the call"]


def test_a_call_without_time_has_no_share() -> None:
    nothing = Interval(estimate=0.0, low=0.0, high=0.0)
    with pytest.raises(ValueError, match="no time"):
        judge([], nothing)

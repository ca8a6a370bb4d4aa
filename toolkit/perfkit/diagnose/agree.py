"""Whether independent estimators agree on the FFI cost of a call, and the reason where they do not.

A share is called known only when two of them agree. Everything here is a pure function of their
readings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations
from typing import TYPE_CHECKING

from perfkit.diagnose.estimators import Answer, Method, Response, SampledCall, difference
from perfkit.measure.ratios import mapped
from perfkit.records import Covers, Estimate, FfiEstimate, Interval
from perfkit.units import format_seconds, format_share

if TYPE_CHECKING:
    from collections.abc import Sequence

SHARE_TOLERANCE = 0.02
"""Two shares agree when they are within two points of the call (methods, Design 3)."""
WIDEST = 0.05
"""An answer whose half width is above this share of the call confirms nothing: it would agree with
anything.
"""
ABSOLUTE_TOLERANCE_S = 30e-9
"""What two answers may differ by in a call of less than 1.5 microseconds, of which two points are
less: processes of one build differ by that much (methods, Design 3, for fixed costs). The interval
that is reported holds both, and may still not be wider than `WIDEST`.
"""

_GROUPS: dict[str, str] = {
    Method.TWIN: "twin",
    Method.INTERCEPT: "sizes",
    Method.INNER_TIMER: "subtraction",
    Method.BENCH: "subtraction",
    Method.SAMPLES: "samples",
}
"""Only answers of different groups are independent: the two subtractions start from the same time
of the call.
"""


class Code(StrEnum):
    """Why two answers differ."""

    OUTPUT_LIFECYCLE = "output_lifecycle"
    SIZE_DEPENDENT_CONVERSION = "size_dependent_conversion"
    PROFILE_CONTAMINATED = "profile_contaminated"
    ESTIMATOR_BROKEN = "estimator_broken"
    TOO_WIDE = "too_wide"
    TWO_CAMPS = "two_camps"
    UNEXPLAINED = "unexplained"


REASONS = {
    Code.OUTPUT_LIFECYCLE: "it includes allocating, touching and releasing the output",
    Code.SIZE_DEPENDENT_CONVERSION: (
        "a conversion grows with the size, which this estimator cannot see"
    ),
    Code.PROFILE_CONTAMINATED: "the samples hold time that is not the boundary's",
    Code.ESTIMATOR_BROKEN: "it does not answer one to one to an injected delay",
    Code.TOO_WIDE: "its interval is too wide to confirm another",
    Code.TWO_CAMPS: "some agree on one figure and others on another",
    Code.UNEXPLAINED: "it differs from the others for a reason that is not known",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What the readings of one size say together.

    Attributes:
        ffi: the record of the report.
        codes: per estimator that stands apart, why.
        covers: what `ffi.share` is the share of; `boundary` where only estimators that cannot
            tell the output's allocation from the conversions agree.
    """

    ffi: FfiEstimate
    codes: dict[str, Code]
    covers: Covers


@dataclass(frozen=True, slots=True, kw_only=True)
class _Agreeing:
    first: Estimate
    second: Estimate
    apart: float


def judge(
    readings: Sequence[Estimate],
    call_s: Interval,
    *,
    sampled: SampledCall | None = None,
    responses: Sequence[Response] = (),
) -> Agreement:
    """Find two independent readings that agree, and explain the others.

    Samples are compared with each timed reading over what that one covers. Where they agree, the
    share is that of the FFI alone, because they tell it from the output's allocation.

    Args:
        readings: one per estimator.
        call_s: time of the call at this size.
        sampled: what stands behind the reading of the samples.
        responses: of `--verify`; an estimator that does not answer to a delay confirms nothing.
    """
    if call_s.estimate <= 0:
        message = "a share of a call that takes no time is not defined"
        raise ValueError(message)
    codes: dict[str, Code] = {}
    broken = {found.of for found in responses if found.answer is Answer.BROKEN}
    usable = []
    for reading in readings:
        if reading.seconds is None or reading.name not in _GROUPS:
            continue
        if reading.name in broken:
            codes[reading.name] = Code.ESTIMATOR_BROKEN
        elif _half_width(reading.seconds) > WIDEST * call_s.estimate:
            codes[reading.name] = Code.TOO_WIDE
        else:
            usable.append(reading)
    pairs = [
        pair
        for first, second in combinations(usable, 2)
        if (pair := _compare(first, second, sampled, call_s)) is not None
    ]
    agreed = {r.name for pair in pairs for r in (pair.first, pair.second)}
    for reading in usable:
        if reading.name not in agreed and len(usable) > 1:
            codes[reading.name] = _explain(reading, usable, sampled)
    best = min(pairs, key=lambda pair: pair.apart) if pairs else None
    if best is not None and not _one_camp(pairs):
        codes |= dict.fromkeys(agreed, Code.TWO_CAMPS)
        best = None
    share, covers = _value(best, pairs, call_s, sampled) if best else (None, Covers.FFI)
    estimators = tuple(_explained(reading, codes.get(reading.name)) for reading in readings)
    estimators += tuple(_response_estimate(found) for found in responses)
    return Agreement(
        ffi=FfiEstimate(
            share=share,
            agree=best is not None,
            estimators=estimators,
            agreeing=(best.first.name, best.second.name) if best else (),
        ),
        codes=codes,
        covers=covers,
    )


def independent(ffi: FfiEstimate) -> int:
    """How many answers there are that could confirm or contradict each other."""
    known = {estimate.name for estimate in ffi.estimators if estimate.seconds is not None}
    return len({group for method, group in _GROUPS.items() if method in known})


def _one_camp(pairs: Sequence[_Agreeing]) -> bool:
    """Whether all agreeing pairs hang together: a agrees with b, b with c."""
    camp = {pairs[0].first.name, pairs[0].second.name}
    rest = list(pairs[1:])
    while joined := [p for p in rest if {p.first.name, p.second.name} & camp]:
        camp |= {r.name for p in joined for r in (p.first, p.second)}
        rest = [p for p in rest if p not in joined]
    return not rest


def _half_width(interval: Interval) -> float:
    return max(interval.high - interval.estimate, interval.estimate - interval.low)


def _compare(
    first: Estimate, second: Estimate, sampled: SampledCall | None, call_s: Interval
) -> _Agreeing | None:
    """The pair when it is independent and agrees, else None."""
    if _GROUPS[first.name] == _GROUPS[second.name]:
        return None
    one, other = _comparable(first, second, sampled), _comparable(second, first, sampled)
    if one is None or other is None:
        return None
    apart = abs(one.estimate - other.estimate)
    joint = math.hypot(_half_width(one), _half_width(other))
    short = min(ABSOLUTE_TOLERANCE_S, 2 * WIDEST * call_s.estimate)
    if apart > max(SHARE_TOLERANCE * call_s.estimate, short, joint):
        return None
    return _Agreeing(first=first, second=second, apart=apart)


def _comparable(reading: Estimate, other: Estimate, sampled: SampledCall | None) -> Interval | None:
    """A reading as the cost of what the other one covers."""
    if reading.name is Method.SAMPLES and sampled is not None:
        return sampled.covering(other.covers)
    return reading.seconds


def _value(
    best: _Agreeing, pairs: Sequence[_Agreeing], call_s: Interval, sampled: SampledCall | None
) -> tuple[Interval, Covers]:
    """The share of the call that the agreeing readings stand for.

    Where samples agree with anybody it is the FFI alone, for they tell it from the output: by their
    own count of it, or by a timed reading less their count of the output, whichever is narrower;
    the interval holds the other one too where they differ by more than both leave open.
    Else it is the mean of the best pair, with an interval that holds both of theirs.
    """
    confirmed = {
        r.name: r for p in pairs if _has_samples(p) for r in (p.first, p.second) if r.seconds
    }
    if confirmed:
        alone = [_ffi_alone(reading, sampled) for reading in confirmed.values()]
        return _share(_narrowest([i for i in alone if i is not None]), call_s), Covers.FFI
    both = [r.seconds for r in (best.first, best.second) if r.seconds is not None]
    mean = Interval(
        estimate=sum(i.estimate for i in both) / len(both),
        low=min(i.low for i in both),
        high=max(i.high for i in both),
    )
    pure = Covers.FFI in (best.first.covers, best.second.covers)
    return _share(mean, call_s), Covers.FFI if pure else Covers.BOUNDARY


def _has_samples(pair: _Agreeing) -> bool:
    return Method.SAMPLES in (pair.first.name, pair.second.name)


def _ffi_alone(reading: Estimate, sampled: SampledCall | None) -> Interval | None:
    """The FFI by one reading; None of one that confirms and is no exact count of it: the intercept
    does not see a conversion that grows, and the inner timer holds a reading of the clock.
    """
    if reading.seconds is None or reading.name in (Method.INTERCEPT, Method.INNER_TIMER):
        return None
    if reading.covers is Covers.FFI or sampled is None:
        return reading.seconds
    return difference(reading.seconds, sampled.output())


def _narrowest(known: Sequence[Interval]) -> Interval:
    chosen = min(known, key=_half_width)
    for other in known:
        joint = math.hypot(_half_width(chosen), _half_width(other))
        if abs(chosen.estimate - other.estimate) > joint:
            low, high = min(chosen.low, other.estimate), max(chosen.high, other.estimate)
            chosen = Interval(estimate=chosen.estimate, low=low, high=high)
    return chosen


def _share(seconds: Interval, call_s: Interval) -> Interval:
    return mapped(seconds, lambda value: value / call_s.estimate)


def _explain(reading: Estimate, usable: Sequence[Estimate], sampled: SampledCall | None) -> Code:
    """Why a reading stands apart from the others."""
    if reading.seconds is None:
        return Code.UNEXPLAINED
    by_method = {r.name: r.seconds for r in usable if r.seconds is not None}
    own = reading.seconds
    if reading.name is Method.INTERCEPT and all(
        other.low > own.high for method, other in by_method.items() if method != reading.name
    ):
        return Code.SIZE_DEPENDENT_CONVERSION
    if reading.name is Method.SAMPLES and all(
        other.high < own.low for method, other in by_method.items() if method != reading.name
    ):
        return Code.PROFILE_CONTAMINATED
    twin = by_method.get(Method.TWIN)
    if reading.name is Method.INNER_TIMER and twin is not None and own.low > twin.high:
        return Code.OUTPUT_LIFECYCLE
    if (
        reading.covers is Covers.BOUNDARY
        and sampled is not None
        and own.low > sampled.covering(Covers.FFI).high
    ):
        return Code.OUTPUT_LIFECYCLE
    return Code.UNEXPLAINED


def _explained(estimate: Estimate, code: Code | None) -> Estimate:
    parts = [part for part in (estimate.reason, REASONS[code] if code else "") if part]
    return replace(estimate, reason="; ".join(parts))


_ANSWERS = {
    Answer.HOLDS: "as it should",
    Answer.BROKEN: "not one to one",
    Answer.UNDECIDED: "whether one to one is not decided, for the interval is too wide",
}


def _response_estimate(found: Response) -> Estimate:
    """The response to a delay is no cost of its own: it has a reason and no seconds."""
    slope = found.slope
    return Estimate(
        name=f"{Method.DELAY}/{found.of}",
        seconds=None,
        reason=(
            f"{found.of} grows by {slope.estimate:.3f} [{slope.low:.3f}, {slope.high:.3f}] of an "
            f"injected delay: {_ANSWERS[found.answer]}"
        ),
    )


def differences(readings: Sequence[Estimate], call_s: Interval) -> list[str]:
    """Each pair of answers with how far they are apart, for the report: `a and b differ by …`."""
    known = [(r.name, r.seconds) for r in readings if r.seconds is not None]
    texts = []
    for (name, first), (other, second) in combinations(known, 2):
        apart = abs(first.estimate - second.estimate)
        share = format_share(apart / call_s.estimate)
        texts.append(f"{name} and {other} differ by {format_seconds(apart)}, {share} of the call")
    return texts

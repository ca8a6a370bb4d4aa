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

from perfkit.diagnose.estimators import Answer, Method, Response, SampledCall
from perfkit.measure.ratios import difference, mapped, reach
from perfkit.records import Covers, Estimate, FfiEstimate, Interval
from perfkit.units import format_seconds, format_share

if TYPE_CHECKING:
    from collections.abc import Sequence

SHARE_TOLERANCE = 0.02
"""Two shares agree when they are within two points of the call (methods, Design 3)."""
WIDEST = 0.05
"""An answer whose half width is above this share of the call confirms nothing: it would agree with
anything. It can still contradict.
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
of the call. Twin and intercept are not independent of each other for what grows with the size: a
twin that ignores its argument and an intercept miss the same conversion, so they confirm each other
only beside samples, which see it.
"""


class Code(StrEnum):
    """Why an answer differs from the others, as the report says it."""

    OUTPUT_LIFECYCLE = "it includes allocating, touching and releasing the output"
    SIZE_DEPENDENT_CONVERSION = "a conversion grows with the size, which this estimator cannot see"
    ESTIMATOR_BROKEN = "it does not answer one to one to an injected delay"
    TOO_WIDE = "its interval is too wide to confirm another"
    BLIND_SPOT = (
        "it agrees with another that cannot see a conversion that grows with the size either"
    )
    UNSEEN = "it agrees with another, but the samples show what both do not see"
    TWO_CAMPS = "some agree on one figure and others on another"
    UNEXPLAINED = "it differs from the others for an unknown reason"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What the readings of one size say together.

    Attributes:
        ffi: the record of the report.
        codes: for each estimator that differs from the others, why.
        covers: what `ffi.share` is the share of; `boundary` where only estimators that cannot
            tell the output's allocation from the conversions agree.
    """

    ffi: FfiEstimate
    codes: dict[str, Code]
    covers: Covers


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """An answer that has a figure; of samples, with what they were counted from."""

    name: str
    seconds: Interval
    covers: Covers
    sampled: SampledCall | None

    def covering(self, covers: Covers) -> Interval:
        """The cost of what another answer covers: only samples can tell."""
        if self.name == Method.SAMPLES and self.sampled is not None:
            return self.sampled.covering(covers)
        return self.seconds

    def ffi_alone(self) -> Interval | None:
        """The FFI by this answer; None where the answer confirms others but is not an exact count:
        the intercept misses a conversion that grows, and the inner timer includes a reading of the
        clock.
        """
        if self.name in (Method.INTERCEPT, Method.INNER_TIMER):
            return None
        if self.covers is Covers.FFI or self.sampled is None:
            return self.seconds
        return difference(self.seconds, self.sampled.beside_ffi())


_Pair = tuple[_Known, _Known]


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
        sampled: what the reading of the samples was counted from.
        responses: of `--verify`; an estimator that does not answer to a delay confirms nothing.
    """
    if call_s.estimate <= 0:
        message = "a share of a call that takes no time is not defined"
        raise ValueError(message)
    broken = {found.of for found in responses if found.answer is Answer.BROKEN}
    codes: dict[str, Code] = {}
    known = []
    for one in readings:
        if one.seconds is None or one.name not in _GROUPS:
            continue
        if one.name in broken:
            codes[one.name] = Code.ESTIMATOR_BROKEN
        else:
            known.append(
                _Known(name=one.name, seconds=one.seconds, covers=one.covers, sampled=sampled)
            )
    usable = [one for one in known if reach(one.seconds) <= WIDEST * call_s.estimate]
    codes |= {one.name: Code.TOO_WIDE for one in known if one not in usable}
    samples = next((one for one in known if one.name == Method.SAMPLES), None)
    pairs = []
    for pair in combinations(usable, 2):
        if _is_independent(pair) and not _exclude(pair, call_s):
            flaw = _flaw(pair, samples, call_s)
            if flaw is None:
                pairs.append(pair)
            else:
                codes |= {one.name: flaw for one in pair}
    agreed = {one.name for pair in pairs for one in pair}
    if len(usable) > 1:
        alone = (one for one in usable if one.name not in agreed | codes.keys())
        codes |= {one.name: _explain(one, usable) for one in alone}
    camps = _camps(pairs)
    if camps > 1:
        codes |= dict.fromkeys(agreed, Code.TWO_CAMPS)
    best = min(pairs, key=_apart) if camps == 1 else None
    disagree = best is None and any(
        _is_independent(pair) and _exclude(pair, call_s) and not _misses_growth(pair)
        for pair in combinations(known, 2)
    )
    share, covers = None, Covers.FFI
    if best is not None:
        share, covers = _value(best, pairs, call_s)
    elif samples is not None and not disagree:
        share = _share(samples.seconds, call_s)
    estimators = [_explained(reading, codes.get(reading.name)) for reading in readings]
    estimators += [_response_estimate(found) for found in responses]
    return Agreement(
        ffi=FfiEstimate(
            share=share,
            agree=best is not None,
            estimators=tuple(estimators),
            agreeing=tuple(one.name for one in best) if best else (),
            disagree=disagree,
        ),
        codes=codes,
        covers=covers,
    )


def _camps(pairs: Sequence[_Pair]) -> int:
    """How many groups the agreeing pairs form: a agrees with b, b with c is one."""
    camps: list[set[str]] = []
    for pair in pairs:
        names = {one.name for one in pair}
        joined = [camp for camp in camps if camp & names]
        camps = [camp for camp in camps if not camp & names] + [names.union(*joined)]
    return len(camps)


def _comparable(pair: _Pair) -> tuple[Interval, Interval]:
    """Both answers as the cost of what both cover."""
    first, second = pair
    return first.covering(second.covers), second.covering(first.covers)


def _apart(pair: _Pair) -> float:
    one, other = _comparable(pair)
    return abs(one.estimate - other.estimate)


def _is_independent(pair: _Pair) -> bool:
    return _GROUPS[pair[0].name] != _GROUPS[pair[1].name]


def _exclude(pair: _Pair, call_s: Interval) -> bool:
    """Whether two answers are further apart than their intervals and the tolerance allow."""
    joint = math.hypot(*map(reach, _comparable(pair)))
    short = min(ABSOLUTE_TOLERANCE_S, 2 * WIDEST * call_s.estimate)
    return _apart(pair) > max(SHARE_TOLERANCE * call_s.estimate, short, joint)


def _flaw(pair: _Pair, samples: _Known | None, call_s: Interval) -> Code | None:
    """Why two answers that are equal confirm nothing; None where they do."""
    names = {one.name for one in pair}
    if samples is None:
        blind = names == {Method.TWIN, Method.INTERCEPT}
        return Code.BLIND_SPOT if blind else None
    if Method.SAMPLES not in names and all(_exclude((samples, one), call_s) for one in pair):
        return Code.UNSEEN
    return None


def _misses_growth(pair: _Pair) -> bool:
    """Whether one is the intercept, and less: it cannot see a conversion that grows."""
    first, second = pair
    if Method.INTERCEPT not in (first.name, second.name):
        return False
    one, other = _comparable(pair)
    less = one if first.name == Method.INTERCEPT else other
    return less.estimate < (other if less is one else one).estimate


def _value(best: _Pair, pairs: Sequence[_Pair], call_s: Interval) -> tuple[Interval, Covers]:
    """The share of the call on which the answers agree.

    If samples agree with any other answer it is the FFI alone, because they tell it from the
    output: by their own count, or by a timed answer minus their count of the output, whichever is
    narrower. If the two differ by more than their errors allow, the interval includes both.
    Otherwise it is the mean of the best pair, with an interval that includes both.
    """
    confirmed = [
        alone
        for pair in pairs
        if Method.SAMPLES in (pair[0].name, pair[1].name)
        for one in pair
        if (alone := one.ffi_alone()) is not None
    ]
    if confirmed:
        return _share(_narrowest(confirmed), call_s), Covers.FFI
    both = [one.seconds for one in best]
    mean = Interval(
        estimate=sum(i.estimate for i in both) / len(both),
        low=min(i.low for i in both),
        high=max(i.high for i in both),
    )
    pure = Covers.FFI in (best[0].covers, best[1].covers)
    return _share(mean, call_s), Covers.FFI if pure else Covers.BOUNDARY


def _narrowest(known: Sequence[Interval]) -> Interval:
    chosen = min(known, key=reach)
    for other in known:
        if abs(chosen.estimate - other.estimate) > math.hypot(reach(chosen), reach(other)):
            low, high = min(chosen.low, other.estimate), max(chosen.high, other.estimate)
            chosen = Interval(estimate=chosen.estimate, low=low, high=high)
    return chosen


def _share(seconds: Interval, call_s: Interval) -> Interval:
    return mapped(seconds, lambda value: value / call_s.estimate)


def _explain(one: _Known, usable: Sequence[_Known]) -> Code:
    """Why an answer differs from the others."""
    own, others = one.seconds, {o.name: o.seconds for o in usable if o.name != one.name}
    if one.name == Method.INTERCEPT and all(o.low > own.high for o in others.values()):
        return Code.SIZE_DEPENDENT_CONVERSION
    twin = others.get(Method.TWIN)
    if one.name == Method.INNER_TIMER and twin is not None and own.low > twin.high:
        return Code.OUTPUT_LIFECYCLE
    if (
        one.covers is Covers.BOUNDARY
        and one.sampled is not None
        and own.low > one.sampled.covering(Covers.FFI).high
    ):
        return Code.OUTPUT_LIFECYCLE
    return Code.UNEXPLAINED


def _explained(estimate: Estimate, code: Code | None) -> Estimate:
    return replace(estimate, reason="; ".join(filter(None, (estimate.reason, code))))


def _response_estimate(found: Response) -> Estimate:
    """The response to a delay is not a cost: it has a reason and no seconds."""
    slope = found.slope
    reason = (
        f"{found.of} grows by {slope.estimate:.3f} [{slope.low:.3f}, {slope.high:.3f}] of an "
        f"injected delay: {found.answer}"
    )
    return Estimate(name=f"{Method.DELAY}/{found.of}", seconds=None, reason=reason)


def differences(readings: Sequence[Estimate], call_s: Interval) -> list[str]:
    """Each pair of answers with how far they are apart, for the report: `a and b differ by …`."""
    known = [(r.name, r.seconds) for r in readings if r.seconds is not None]
    texts = []
    for (name, first), (other, second) in combinations(known, 2):
        apart = abs(first.estimate - second.estimate)
        share = format_share(apart / call_s.estimate)
        texts.append(f"{name} and {other} differ by {format_seconds(apart)}, {share} of the call")
    return texts

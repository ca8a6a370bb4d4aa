"""Intervals of shares and of medians; 95 % everywhere. No data is read here."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from perfkit.records import Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

Z = 1.959963984540054
"""The normal distribution's 97.5 % point."""


def wilson(count: float, total: float) -> Interval:
    """A share and its Wilson interval.

    Source: Wilson 1927. Neighbouring samples of one clock are taken as independent.

    Args:
        count: samples of the kind; may be a fraction where samples are an expected number.
        total: all of them; above zero.
    """
    share = count / total
    # A count above the total happens by one sample per window (the clock's phase): the centre is
    # then kept where it is, because moving it would hide the excess.
    inside = min(max(share, 0.0), 1.0)
    scale = 1 + Z * Z / total
    centre = (inside + Z * Z / (2 * total)) / scale
    half = Z * math.sqrt(inside * (1 - inside) / total + Z * Z / (4 * total * total)) / scale
    return Interval(estimate=share, low=min(centre - half, share), high=max(centre + half, share))


def median_interval(values: Sequence[float]) -> Interval:
    """The median and its distribution-free rank interval.

    Below six values no pair of ranks covers 95 %: the interval is then the whole line.

    Args:
        values: at least one.
    """
    ordered = sorted(values)
    n = len(ordered)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    rank = _lower_rank(n)
    if rank < 1:
        return Interval(estimate=middle, low=-math.inf, high=math.inf)
    return Interval(estimate=middle, low=ordered[rank - 1], high=ordered[n - rank])


def _lower_rank(n: int) -> int:
    """The largest rank r with P(Binomial(n, ½) < r) <= 2.5 %; zero when there is none."""
    total, rank = 0.0, 0
    for k in range(n):
        total += math.exp(
            math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2)
        )
        if total > 0.025:
            break
        rank = k + 1
    return rank

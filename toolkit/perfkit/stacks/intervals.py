"""Intervals of shares, 95 % everywhere. Pure functions of counts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from perfkit.records import Interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Z = 1.959963984540054
"""The normal distribution's 97.5 % point."""


def wilson(count: float, total: float, design_effect: float = 1.0) -> Interval:
    """A share and its Wilson interval.

    Source: Wilson 1927; for samples that are not independent, of the number of independent ones
    that would tell as much (Kish 1965).

    Args:
        count: samples of the kind; may be a fraction if samples are an expected number.
        total: all of them; above zero.
        design_effect: how many of them tell as much as one independent one.
    """
    share = count / total
    total /= design_effect
    # A count above the total happens by one sample per window (the clock's phase): the centre is
    # then kept where it is, because moving it would hide the excess.
    inside = min(max(share, 0.0), 1.0)
    scale = 1 + Z * Z / total
    centre = (inside + Z * Z / (2 * total)) / scale
    half = Z * math.sqrt(inside * (1 - inside) / total + Z * Z / (4 * total * total)) / scale
    return Interval(estimate=share, low=min(centre - half, share), high=max(centre + half, share))


def design_effect(clusters: Iterable[Mapping[str, int]]) -> float:
    """How many samples tell as much as one independent one; at least one.

    A sampler's clock that is nearly in step with the calls takes neighbouring samples at nearly the
    same point of the call. Between clusters that began at unrelated points the kinds then vary more
    than counting explains: this is the variance that was seen over that of independent samples.

    Source: Kish 1965, for the ratio estimator of unequal clusters; all kinds pooled.

    Args:
        clusters: samples by kind.
    """
    filled = [cluster for cluster in clusters if sum(cluster.values())]
    sizes = [sum(cluster.values()) for cluster in filled]
    total = sum(sizes)
    seen = explained = 0.0
    for kind in sorted({kind for cluster in filled for kind in cluster}):
        counts = [cluster.get(kind, 0) for cluster in filled]
        share = sum(counts) / total
        explained += total * share * (1 - share)
        seen += sum((n - share * size) ** 2 for n, size in zip(counts, sizes, strict=True))
    if len(filled) < 2 or not explained:
        return 1.0
    return max(1.0, seen / explained * len(filled) / (len(filled) - 1))

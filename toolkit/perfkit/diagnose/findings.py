"""Which findings a report has, and in which order: by the most that fixing each can save.

The rules themselves are in `rules.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.diagnose.rules import RULES
from perfkit.records import Note, Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.diagnose.observed import Observed
    from perfkit.records import Finding


def find(observations: Sequence[Observed]) -> tuple[Finding, ...]:
    """Ask every rule about every size.

    A finding that holds at several sizes is reported once, at the size where fixing it can save
    most: no one reads a page that says the same thing four times.
    """
    best: dict[tuple[str, str], Finding] = {}
    for finding in (found for seen in observations for rule in RULES if (found := rule(seen))):
        other = best.setdefault((finding.id, finding.workload), finding)
        if _rank(finding) > _rank(other):
            best[finding.id, finding.workload] = finding
    return tuple(sorted(best.values(), key=_rank, reverse=True))


WITHOUT_PROFILE = (
    "gil_held",
    "threshold_outside",
    "build_flags",
    "per_call_overhead",
    "reference_faster",
)
"""Rules that do not read the subject's stacks; the others need a profile of it."""


def unasked(observations: Sequence[Observed]) -> list[Note]:
    """Which rules could be checked without a profile: the silence of the others means nothing."""
    text = (
        "there is no profile that can be split, so only these rules could be checked: "
        f"{', '.join(WITHOUT_PROFILE)}"
    )
    places = [
        Place(workload=s.workload, sizes=(s.size,)) for s in observations if s.region_samples <= 0
    ]
    return [Note(id="rules_not_asked", text=text, place=place) for place in places]


_CONDITIONAL = ("pool_not_used",)
"""Findings that come last: whether their remedy can work at all, nothing that was seen shows."""


def _rank(finding: Finding) -> tuple[bool, float, float]:
    """What was saved where the remedy was tried, else what may be at most; then the share."""
    gain = finding.predicted_gain
    saves = 0.0
    if gain is not None:
        saves = gain.tried.estimate if gain.tried is not None else gain.at_most
    return finding.id not in _CONDITIONAL, saves, finding.share

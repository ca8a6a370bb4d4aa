"""What may be said of a ratio of two times: one rule for reports, tuning and exit codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perfkit.records import Interval


def is_faster(ratio: Interval, noise_floor: float | None) -> bool:
    """Whether a ratio is surely above one, and by more than identical code differs."""
    return ratio.low > 1.0 and ratio.estimate > 1.0 + (noise_floor or 0.0)


def is_slower(ratio: Interval, noise_floor: float | None) -> bool:
    """Whether a ratio is surely below one, and by more than identical code differs."""
    return ratio.high < 1.0 and ratio.estimate < 1.0 / (1.0 + (noise_floor or 0.0))

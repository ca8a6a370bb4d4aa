"""When to stop and when to give up: by the width of an interval and by the clock, never by whether
a difference is significant. What the numbers mean is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

LOOK_FACTOR = 1.3
"""Looks at the width come at block counts that grow by this, so that few looks are taken."""

LEAST_SHARE = 0.2
"""Below this share of valid blocks the machine has no room."""

BUSY_WINDOW_S = 10.0
"""How long a look at the share of valid blocks reaches back."""

KEPT_BLOCKS = 6
"""So many blocks are looked at however old they are: where blocks are long, one says nothing."""

BUSY_WINDOW_BLOCKS = 40
"""With this many blocks the share is known without waiting for the whole window."""

BACK_OFF_S = (5.0, 10.0, 20.0)
"""Pauses before trying again, the last one repeated while patience lasts."""


class Ended(StrEnum):
    """Why one size is finished."""

    WIDTH = "width"
    TIME = "time"
    BLOCKS = "blocks"


@dataclass(slots=True, kw_only=True)
class Looks:
    """The block counts at which the width of the intervals is looked at."""

    first: int
    most: int
    time_limit_s: float
    width: float
    patience_s: float = 0.0
    next_look: int = 0

    def __post_init__(self) -> None:
        self.next_look = self.first

    def due(self, valid: int) -> bool:
        """Whether this count of valid blocks is one to look at; the next one moves on."""
        if valid < self.next_look:
            return False
        while self.next_look <= valid:
            self.next_look = max(self.next_look + 1, round(self.next_look * LOOK_FACTOR))
        return True

    def decide(
        self, *, valid: int, blocks: int, spent_s: float, widest: float | None
    ) -> Ended | None:
        """Whether a size is finished.

        Args:
            valid: valid blocks so far.
            blocks: all blocks so far.
            spent_s: seconds in this size's blocks and sentinels.
            widest: the largest half width of its log-ratio intervals; None when not looked at.
        """
        if widest is not None and widest <= self.width:
            return Ended.WIDTH
        if blocks >= self.most:
            return Ended.BLOCKS
        if blocks < self.first:  # however tight the limit: a free machine gets what it needs
            return None
        # A machine that is free only now and then gets its patience as well.
        limit_s = self.time_limit_s + (self.patience_s if valid < self.first else 0.0)
        return Ended.TIME if spent_s >= limit_s else None


@dataclass(slots=True, kw_only=True)
class Patience:
    """When a machine without room is left alone for a while, and when it is given up.

    Pauses are counted against `limit_s` as a whole; with zero there is none.
    """

    limit_s: float
    paused_s: float = 0.0
    pauses: int = 0

    def pause(self) -> float | None:
        """The next pause in seconds, or None when patience is at its end."""
        left = self.limit_s - self.paused_s
        if left <= 0:
            return None
        wanted = BACK_OFF_S[min(self.pauses, len(BACK_OFF_S) - 1)]
        pause = min(wanted, left)
        self.paused_s += pause
        self.pauses += 1
        return pause


@dataclass(slots=True, kw_only=True)
class Room:
    """Whether the machine had room lately: (time, valid) of the blocks since the last pause."""

    recent: list[tuple[float, bool]]

    def see(self, now: float, valid: bool) -> None:
        """Take one block in, and forget those that are too old to count."""
        self.recent.append((now, valid))
        while len(self.recent) > KEPT_BLOCKS and now - self.recent[0][0] > BUSY_WINDOW_S:
            self.recent.pop(0)

    def lacking(self, *, ended: bool = False) -> bool:
        """True when too few of the blocks lately were valid to go on.

        Args:
            ended: nothing follows for now, so that the blocks seen have to be enough.
        """
        if not self.recent:
            return False
        span = self.recent[-1][0] - self.recent[0][0]
        enough = ended or len(self.recent) >= BUSY_WINDOW_BLOCKS or span >= 0.9 * BUSY_WINDOW_S
        share = sum(valid for _, valid in self.recent) / len(self.recent)
        return enough and share < LEAST_SHARE

    def forget(self) -> None:
        """Begin anew after a pause."""
        self.recent.clear()

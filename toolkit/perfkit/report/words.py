"""The cells of reports: every estimate with its interval, in the numbers of `perfkit.units`.

Nothing is computed here beyond rounding; what is not known is `–`, never a number.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from perfkit.units import format_count, format_seconds, format_share, time_unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from perfkit.records import Interval, Note, Value

UNKNOWN = "–"
"""What is shown where there is no figure."""


def time_interval(interval: Interval | None) -> str:
    """`914 µs [902, 926]`, all three in the unit of the estimate."""
    if interval is None:
        return UNKNOWN
    half = (interval.high - interval.low) / 2
    name, scale = time_unit(max(abs(interval.estimate), half))
    return _interval(interval, scale, f" {name}", lowest=0)


def ratio_interval(interval: Interval | None) -> str:
    """`0.934x [0.921, 0.947]`."""
    return UNKNOWN if interval is None else _interval(interval, 1.0, "x", lowest=2)


def percent_interval(interval: Interval | None) -> str:
    """`+0.4 % [-0.2, +1.1]` of something whose base the caption names."""
    if interval is None:
        return UNKNOWN
    return _percents(interval, sign=True)


def share_interval(share: Interval | None) -> str:
    """`41.2 % [40.1, 42.4]`."""
    if share is None:
        return UNKNOWN
    return _percents(share, sign=False)


def _percents(share: Interval, *, sign: bool) -> str:
    values = (share.estimate, share.low, share.high)
    estimate, low, high = (format_share(value, sign=sign) for value in values)
    return f"{estimate}\n[{low.removesuffix(' %')}, {high.removesuffix(' %')}]"


def percent(fraction: float | None) -> str:
    """A fraction of one as a percentage; the caption names its base."""
    return UNKNOWN if fraction is None else format_share(fraction)


def seconds(value: float | None) -> str:
    """A single time for a column: `1.23 ms`, `-45.0 ns`; zero is `0 s`."""
    return UNKNOWN if value is None else format_seconds(value, column=True)


def parameters(params: Mapping[str, Value]) -> str:
    """`NAME=8_000, OTHER=4`, whole numbers with underscores as Rust writes them."""
    return ", ".join(f"{name}={value_text(value)}" for name, value in params.items())


def value_text(value: Value) -> str:
    """One parameter value; `true` and `false` as Rust and TOML write them."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:_}" if isinstance(value, int) else str(value)


def note_place(note: Note) -> str:
    """Where a note is about: `price at 1k, 10k (hot)`, or a file."""
    if note.place is None:
        return note.where
    sizes = ", ".join(map(format_count, note.place.sizes))
    pattern = f" ({note.place.pattern})" if note.place.pattern else ""
    shown = f"{note.place.workload} at {sizes}{pattern}" if sizes else note.place.workload
    return ": ".join(filter(None, (shown, note.where)))


def note_text(note: Note) -> str:
    """A note as one bullet: where, what, and what to do."""
    text = note.text if note.text.endswith((".", "!", "?", ":")) else f"{note.text}."
    remedy = f" To do: {note.remedy}" if note.remedy else ""
    return ": ".join(filter(None, (note_place(note), f"{text}{remedy}")))


def joined(items: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    words = list(items)
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _interval(interval: Interval, scale: float, unit: str, *, lowest: int) -> str:
    """Round so that the half width keeps one digit, two when it begins with 1 or 2."""
    half = (interval.high - interval.low) / (2 * scale)
    digits = 3
    if half > 0:
        power = math.floor(math.log10(half))
        digits = min(4, max(lowest, (1 if half < 3 * 10**power else 0) - power))
    values = (interval.estimate, interval.low, interval.high)
    estimate, low, high = (f"{value / scale:.{digits}f}" for value in values)
    return f"{estimate}{unit}\n[{low}, {high}]"

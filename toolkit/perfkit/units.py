"""Units at the edge: seconds and counts inside, what a person reads outside.

Parsing (`10k`, `1m30s`, `1khz`) and printing live here; nothing is computed here.
"""

from __future__ import annotations

import math
import re

_COUNT_SUFFIX = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_DURATION = re.compile(r"(?P<value>\d+(?:\.\d+)?)(?P<unit>ms|us|µs|ns|s|m|h)?")
_DURATION_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    None: 1.0,
    "m": 60.0,
    "h": 3600.0,
}

_TIME_UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))


def parse_count(text: str) -> int:
    """Read a size such as `1000`, `10_000`, `10k`, `1M` or `1e6` as a whole number.

    Raises:
        ValueError: when the text is not a positive whole number.
    """
    cleaned = text.strip().replace("_", "").replace(",", "")
    match = re.fullmatch(r"(\d+(?:\.\d+)?(?:e\d+)?)([kKmMgG]?)", cleaned)
    if match is None:
        message = f"{text!r} is not a valid size; write 1000, 10_000, 10k, 1M or 1e6"
        raise ValueError(message)
    value = float(match[1]) * _COUNT_SUFFIX[match[2].lower()]
    if value < 1 or value != int(value):
        message = f"{text!r} is not a whole number of at least 1"
        raise ValueError(message)
    return int(value)


def parse_duration(text: str) -> float:
    """Read `60`, `60s`, `1m30s`, `250ms` as seconds.

    Raises:
        ValueError: when the text is not a duration.
    """
    cleaned = text.strip().replace(" ", "")
    matches = list(_DURATION.finditer(cleaned))
    if not matches or "".join(match[0] for match in matches) != cleaned:
        message = f"{text!r} is not a valid duration; write 60s, 1m30s or 250ms"
        raise ValueError(message)
    return sum(float(match["value"]) * _DURATION_SECONDS[match["unit"]] for match in matches)


def parse_rate(text: str) -> int:
    """Read a sampling rate such as `997`, `1khz` or `499Hz` as samples per second.

    Raises:
        ValueError: when the text is not a rate.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(k?)(?:hz)?", text.strip().lower())
    value = float(match[1]) * (1000 if match[2] else 1) if match else 0.0
    if value < 1 or value != int(value):
        message = f"{text!r} is not a valid sampling rate; write 997, 499hz or 1khz"
        raise ValueError(message)
    return int(value)


def time_unit(seconds: float) -> tuple[str, float]:
    """The unit in which a time is a number from 1 to 1000, and that unit in seconds."""
    for unit in _TIME_UNITS:
        if abs(seconds) >= unit[1]:
            return unit
    return _TIME_UNITS[-1]


def format_seconds(seconds: float, *, column: bool = False) -> str:
    """Print a time with three digits and the unit that keeps it readable: `1.23 ms`, `-45 ns`.

    Args:
        column: keep zeros at the end (`-45.0 ns`), so that the figures of a column have one width.
    """
    if not math.isfinite(seconds):
        return str(seconds)
    if seconds == 0:
        return "0 s"
    name, scale = time_unit(seconds)
    value = seconds / scale
    decimals = max(0, 3 - len(str(int(abs(value)))))
    return f"{value:.{decimals}f} {name}" if column else f"{value:.3g} {name}"


def format_count(count: int) -> str:
    """Print a size as people name it: `10k`, `1M`, `30_000` stays `30k`, `12_345` stays."""
    for suffix, scale in (("M", 10**6), ("k", 10**3)):
        if count >= scale and count % scale == 0:
            return f"{count // scale}{suffix}"
    return f"{count:_}"


def format_share(share: float, *, sign: bool = False) -> str:
    """Print a share of one as a percentage with one decimal, with its sign for a change."""
    return f"{100 * share:{'+' if sign else ''}.1f} %"


def format_ratio(ratio: float) -> str:
    """Print a speed-up: `0.93x`, `12.4x`."""
    return f"{ratio:.3g}x" if ratio >= 10 else f"{ratio:.2f}x"


def format_bytes(count: int) -> str:
    """Print a number of bytes in binary units."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"

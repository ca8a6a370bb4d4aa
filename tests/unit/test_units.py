"""Sizes, durations and rates as people write them, and numbers as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit import units


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("10_000", 10_000),
        ("10,000", 10_000),
        ("10k", 10_000),
        ("1.5K", 1_500),
        ("1M", 1_000_000),
        ("1e6", 1_000_000),
        (" 2g ", 2_000_000_000),
    ],
)
def test_parse_count(text: str, value: int) -> None:
    assert units.parse_count(text) == value


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "ten", "1kk", "1e", "0.1k.", "1 000"])
def test_parse_count_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="is not a "):
        units.parse_count(text)


@given(st.integers(min_value=1, max_value=10**12))
def test_a_printed_count_reads_back(count: int) -> None:
    assert units.parse_count(units.format_count(count)) == count


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60", 60.0), ("60s", 60.0), ("1m30s", 90.0), ("250ms", 0.25), ("2h", 7200.0), ("0s", 0.0)],
)
def test_parse_duration(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "1x", "-5s", "1m 30q", "soon"])
def test_parse_duration_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="is not a valid duration"):
        units.parse_duration(text)


@pytest.mark.parametrize(("text", "rate"), [("997", 997), ("1khz", 1000), ("499Hz", 499)])
def test_parse_rate(text: str, rate: int) -> None:
    assert units.parse_rate(text) == rate


@pytest.mark.parametrize("text", ["0", "-1", "0.5hz", "fast", "1mhz"])
def test_parse_rate_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="is not a valid sampling rate"):
        units.parse_rate(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (4.5e-8, "45 ns"),
        (-4.5e-8, "-45 ns"),
        (1.234e-3, "1.23 ms"),
        (9.14e-4, "914 µs"),
        (2.0, "2 s"),
    ],
)
def test_format_seconds_keeps_the_sign(seconds: float, text: str) -> None:
    assert units.format_seconds(seconds) == text


def test_the_figures_of_a_column_have_one_width() -> None:
    figures = (-4.5e-8, 1.234e-3, 2.0, 0.0)
    shown = [units.format_seconds(figure, column=True) for figure in figures]
    assert shown == ["-45.0 ns", "1.23 ms", "2.00 s", "0 s"]
    assert [units.format_share(0.0125, sign=sign) for sign in (False, True)] == ["1.2 %", "+1.2 %"]


@pytest.mark.parametrize(("ratio", "text"), [(0.614, "0.61x"), (1.0, "1.00x"), (12.44, "12.4x")])
def test_format_ratio(ratio: float, text: str) -> None:
    assert units.format_ratio(ratio) == text


@pytest.mark.parametrize(
    ("count", "text"), [(12, "12 B"), (2048, "2.0 KiB"), (3 * 1024**3, "3.0 GiB")]
)
def test_format_bytes(count: int, text: str) -> None:
    assert units.format_bytes(count) == text

"""What `perfkit compare` says: a change only where interval and noise floor carry it."""

from __future__ import annotations

import pytest

from perfkit.records import ComparedSize, Interval, Pattern, RunComparison
from perfkit.report import console, machine
from perfkit.report.comparing import compare_page


def comparison(low: float, high: float) -> RunComparison:
    size = ComparedSize(
        workload="sum",
        size=10_000,
        pattern=Pattern.HOT,
        before=Interval(estimate=0.9, low=0.89, high=0.91),
        after=Interval(estimate=0.9 * low, low=0.88 * low, high=0.92 * low),
        change=Interval(estimate=(low + high) / 2, low=low, high=high),
        differ=low > 1 or high < 1,
    )
    return RunComparison(before="one", after="two", sizes=(size,), notes=())


@pytest.mark.parametrize(
    ("low", "high", "word", "cell"),
    [
        (0.97, 1.02, "no difference", "no difference"),
        (1.1, 1.2, "0 of them for the worse", "faster"),
        (0.8, 0.9, "1 of them for the worse", "slower"),
    ],
)
def test_the_verdict_follows_the_interval(low: float, high: float, word: str, cell: str) -> None:
    text = console.render(compare_page(comparison(low, high)), width=100, colour=False)
    assert word in text
    assert cell in text


def test_the_document_names_both_runs() -> None:
    document = machine.document(comparison(1.1, 1.2))
    assert (document["before"], document["after"]) == ("one", "two")
    assert document["sizes"][0]["differ"] is True

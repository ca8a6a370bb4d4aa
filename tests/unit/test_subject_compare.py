"""When two results are equal: what stands between a wrong answer and a figure about its speed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from perfkit.subject.worker import compare

if TYPE_CHECKING:
    from collections.abc import Callable

RELATIVE, ABSOLUTE = 1e-9, 1e-12
NUMBERS = (0.0, 1.0, 1.0 + 1e-10, 1.0 + 1e-8, -1.0, 1e308, -1e308, math.inf, -math.inf, math.nan)


def agree(found: object, expected: object) -> bool:
    return bool(compare(found, expected, RELATIVE, ABSOLUTE)["agree"])


@pytest.mark.parametrize("shape", [float, lambda x: [x], lambda x: {"a": (x,)}, np.float64])
@pytest.mark.parametrize("expected", NUMBERS)
def test_numbers_agree_where_numpy_says_so(expected: float, shape: Callable[[float], Any]) -> None:
    for found in NUMBERS:
        close = np.isclose(found, expected, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True)
        assert agree(shape(found), shape(expected)) == bool(close), (found, expected)


@pytest.mark.parametrize("expected", NUMBERS)
def test_one_number_of_an_array_decides(expected: float) -> None:
    for found in NUMBERS:
        left, right = np.array([[1.0, found], [2.0, 3.0]]), np.array([[1.0, expected], [2.0, 3.0]])
        close = np.isclose(found, expected, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True)
        assert agree(left, right) == bool(close), (found, expected)
        assert agree([left], [right]) == bool(close)
        if not close:
            assert compare(left, right, RELATIVE, ABSOLUTE)["where"] == "[0][1]"


def test_infinite_complex_numbers_agree_with_themselves_alone() -> None:
    infinite = complex(math.inf, 0.0)
    assert agree(infinite, infinite)
    assert not agree(1 + 0j, infinite)
    assert not agree(np.array([1 + 0j]), np.array([infinite]))


def test_a_difference_beside_an_infinite_one_is_no_figure() -> None:
    for found in (1.0, [1.0], np.array([1.0])):
        expected = [math.inf] if isinstance(found, list) else found * math.inf
        reply = compare(found, expected, RELATIVE, ABSOLUTE)
        assert (reply["agree"], reply["max_absolute"]) == (False, None)

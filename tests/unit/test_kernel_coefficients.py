"""The fast kernel's coefficients are what their script generates, and are as good as they say."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

import mpmath as mp
import pytest

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


@pytest.fixture(scope="module")
def generator(request: pytest.FixtureRequest) -> ModuleType:
    """The script, loaded from its file."""
    repository: Path = request.getfixturevalue("repository")
    path = repository / "kernel" / "coefficients" / "generate.py"
    spec = importlib.util.spec_from_file_location("kernel_coefficients", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_committed_file_is_what_the_script_generates(generator: ModuleType) -> None:
    assert generator.TARGET.read_text() == generator.generate()


def test_the_rational_is_levelled_and_below_half_a_unit_in_the_last_place(
    generator: ModuleType,
) -> None:
    mp.mp.dps = generator.DIGITS
    numerator, denominator = generator.fit_mills(9, 10)
    for x in (0, 0.01, 1, 5, 20, 37.6):
        exact = generator.mills(mp.mpf(x))
        fitted = generator.evaluate(numerator.coefficients, mp.mpf(x)) / generator.evaluate(
            denominator.coefficients, mp.mpf(x)
        )
        assert abs(fitted / exact - 1) < mp.mpf("1.1e-16")


def test_a_fit_that_cannot_converge_says_so(generator: ModuleType) -> None:
    mp.mp.dps = generator.DIGITS
    with pytest.raises(ArithmeticError, match="alternates"):
        generator.alternating_extremes([1, 2, 3], [mp.mpf(1), mp.mpf(2), mp.mpf(3)], 3)

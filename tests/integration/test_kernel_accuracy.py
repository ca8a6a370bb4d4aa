"""The prices of both kernels against 40 digits of mpmath, and the laws that prices obey."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import mpmath as mp
import numpy as np
import perfkit_kernel as kernel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

pytestmark = pytest.mark.integration

COUNT = 1500
ABSOLUTE = 1e-14  # of the spot
RELATIVE = 1e-12  # of prices above 1e-12 of the spot


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Options, and their prices in 40 digits rounded once."""

    arguments: tuple[NDArray[np.float64], ...]
    call: NDArray[np.float64]
    put: NDArray[np.float64]


def exact_prices(s: float, k: float, t: float, r: float, v: float) -> tuple[float, float]:
    """Price a call and a put in 40 digits."""
    s_, k_, t_, r_, v_ = (mp.mpf(float(x)) for x in (s, k, t, r, v))
    deviation = v_ * mp.sqrt(t_)
    d1 = (mp.log(s_ / k_) + (r_ + v_ * v_ / 2) * t_) / deviation
    d2 = d1 - deviation
    discounted = k_ * mp.exp(-r_ * t_)

    def cdf(x: mp.mpf) -> mp.mpf:
        return mp.erfc(-x / mp.sqrt(2)) / 2

    call = s_ * cdf(d1) - discounted * cdf(d2)
    put = discounted * cdf(-d2) - s_ * cdf(-d1)
    return float(call), float(put)


def draw(name: str) -> tuple[NDArray[np.float64], ...]:
    """Draw one of the named sets of options."""
    rng = np.random.default_rng(20260101)
    spot = rng.uniform(50.0, 150.0, COUNT)
    match name:
        case "bench":
            strike = rng.uniform(50.0, 150.0, COUNT)
            time, rate = rng.uniform(0.05, 3.0, COUNT), np.full(COUNT, 0.03)
            volatility = rng.uniform(0.1, 0.6, COUNT)
        case "wide":
            strike = spot * np.exp(rng.uniform(-1.5, 1.5, COUNT))
            time = np.exp(rng.uniform(np.log(1 / 365), np.log(30.0), COUNT))
            rate = np.full(COUNT, 0.03)
            volatility = np.exp(rng.uniform(np.log(0.01), np.log(3.0), COUNT))
        case "at the money":
            strike = spot * rng.uniform(0.99, 1.01, COUNT)
            time, rate = rng.uniform(0.05, 3.0, COUNT), np.full(COUNT, 0.03)
            volatility = rng.uniform(0.1, 0.6, COUNT)
        case "negative rates":
            strike = rng.uniform(50.0, 150.0, COUNT)
            time, rate = rng.uniform(0.05, 10.0, COUNT), rng.uniform(-0.2, 0.0, COUNT)
            volatility = rng.uniform(0.1, 0.6, COUNT)
        case "large rates":
            strike = rng.uniform(50.0, 150.0, COUNT)
            time, rate = rng.uniform(0.05, 5.0, COUNT), rng.uniform(-1.0, 1.0, COUNT)
            volatility = rng.uniform(0.1, 1.0, COUNT)
        case "rates beyond the vectors' domain":
            strike = rng.uniform(50.0, 150.0, COUNT)
            time = rng.uniform(4.0, 8.0, COUNT)
            rate = rng.choice([-1.0, 1.0], COUNT) * rng.uniform(4.0, 5.0, COUNT)
            volatility = rng.uniform(0.1, 1.0, COUNT)
        case _:
            raise AssertionError(name)
    return spot, strike, time, rate, volatility


SETS = (
    "bench",
    "wide",
    "at the money",
    "negative rates",
    "large rates",
    "rates beyond the vectors' domain",
)


@pytest.fixture(scope="module", params=SETS)
def sample(request: pytest.FixtureRequest) -> Sample:
    """One set with its exact prices."""
    arguments = draw(request.param)
    with mp.workdps(40):
        exact = [exact_prices(*option) for option in zip(*arguments, strict=True)]
    return Sample(
        arguments=arguments,
        call=np.array([call for call, _ in exact]),
        put=np.array([put for _, put in exact]),
    )


@pytest.fixture(params=kernel.paths())
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set of this processor, and the best one again afterwards."""
    kernel.set_path(request.param)
    yield request.param
    kernel.set_path(None)


@pytest.mark.usefixtures("path")
def test_prices_are_right_to_the_promised_digits(sample: Sample) -> None:
    spot, strike, time, rate, _ = sample.arguments
    discounted = strike * np.exp(-rate * time)
    # The promise is in spots; a discounted strike above the spot is the larger term of the price.
    scale = np.maximum(spot, discounted)
    for price, exact in (
        (kernel.call_price(*sample.arguments), sample.call),
        (kernel.put_price(*sample.arguments), sample.put),
    ):
        error = np.abs(price - exact)
        assert np.max(error / scale) <= ABSOLUTE
        counted = exact > 1e-12 * spot
        assert np.max(error[counted] / exact[counted]) <= RELATIVE


def test_the_promise_in_spots_holds_for_calls(sample: Sample) -> None:
    error = np.abs(kernel.call_price(*sample.arguments) - sample.call)
    assert np.max(error / sample.arguments[0]) <= ABSOLUTE


def test_the_plain_kernel_agrees(sample: Sample) -> None:
    spot, strike, time, rate, volatility = sample.arguments
    if np.ptp(rate) > 0:
        prices = np.concatenate(
            [
                kernel.call_price_plain(*(x[i : i + 1] for x in (spot, strike, time)), r, v)
                for i, (r, v) in enumerate(zip(rate, np.split(volatility, COUNT), strict=True))
            ]
        )
    else:
        prices = kernel.call_price_plain(spot, strike, time, float(rate[0]), volatility)
    assert np.max(np.abs(prices - sample.call) / spot) <= 1e-13


ordinary = st.tuples(
    st.floats(1e-3, 1e6),
    st.floats(1e-3, 1e6),
    st.floats(1e-4, 50.0),
    st.floats(-0.3, 0.3),
    st.floats(1e-3, 5.0),
)


@given(option=ordinary)
def test_call_and_put_differ_by_the_forward(option: tuple[float, ...]) -> None:
    spot, strike, time, rate, _ = option
    discounted = strike * np.exp(-rate * time)
    difference = kernel.call_price(*option) - kernel.put_price(*option)
    assert abs(difference - (spot - discounted)) <= 4e-14 * max(spot, discounted)


@given(option=ordinary)
def test_prices_stay_within_their_bounds(option: tuple[float, ...]) -> None:
    spot, strike, time, rate, _ = option
    discounted = strike * np.exp(-rate * time)
    slack = 4e-14 * max(spot, discounted)
    call, put = kernel.call_price(*option), kernel.put_price(*option)
    assert max(0.0, spot - discounted - slack) <= call <= spot + slack
    assert max(0.0, discounted - spot - slack) <= put <= discounted + slack


@settings(max_examples=60)
@given(option=ordinary, index=st.sampled_from([0, 1, 4]))
def test_prices_rise_with_spot_and_volatility_and_fall_with_the_strike(
    option: tuple[float, ...], index: int
) -> None:
    steps = np.linspace(0.5, 2.0, 101)
    columns = [np.full(101, value) for value in option]
    columns[index] *= steps
    spot, strike, time, rate, _ = columns
    slack = 4e-14 * np.max(np.maximum(spot, strike * np.exp(-rate * time)))
    change = np.diff(kernel.call_price(*columns))
    assert np.all((-change if index == 1 else change) >= -slack)


def test_the_price_of_a_special_option_is_its_limit() -> None:
    inf, nan = np.inf, np.nan
    table = [
        # spot, strike, time, rate, volatility, call, put
        (nan, 90.0, 1.0, 0.0, 0.2, nan, nan),
        (100.0, nan, 1.0, 0.0, 0.2, nan, nan),
        (100.0, 90.0, nan, 0.0, 0.2, nan, nan),
        (100.0, 90.0, 1.0, nan, 0.2, nan, nan),
        (100.0, 90.0, 1.0, 0.0, nan, nan, nan),
        (-1.0, 90.0, 1.0, 0.0, 0.2, nan, nan),
        (100.0, -90.0, 1.0, 0.0, 0.2, nan, nan),
        (100.0, 90.0, -1.0, 0.0, 0.2, nan, nan),
        (100.0, 90.0, 1.0, 0.0, -0.2, nan, nan),
        (100.0, 90.0, 0.0, 0.03, 0.2, 10.0, 0.0),
        (90.0, 100.0, 0.0, 0.03, 0.2, 0.0, 10.0),
        (100.0, 100.0, 0.0, 0.03, 0.2, 0.0, 0.0),
        (100.0, 90.0, 1.0, 0.0, 0.0, 10.0, 0.0),
        (0.0, 90.0, 1.0, 0.0, 0.2, 0.0, 90.0),
        (100.0, 0.0, 1.0, 0.0, 0.2, 100.0, 0.0),
        (0.0, 0.0, 1.0, 0.0, 0.2, 0.0, 0.0),
        (inf, 90.0, 1.0, 0.0, 0.2, inf, 0.0),
        (100.0, inf, 1.0, 0.0, 0.2, 0.0, inf),
        (inf, inf, 1.0, 0.0, 0.2, nan, nan),
        (100.0, 90.0, inf, 0.03, 0.2, 100.0, 0.0),
        (100.0, 90.0, inf, -0.03, 0.2, 100.0, inf),
        (100.0, 90.0, inf, 0.0, 0.2, nan, nan),
        (100.0, 90.0, 1.0, 0.0, inf, 100.0, 90.0),
        (100.0, 90.0, 0.0, 0.0, inf, nan, nan),
        (100.0, 90.0, 1.0, inf, 0.2, 100.0, 0.0),
        (100.0, 90.0, 1.0, -inf, 0.2, 0.0, inf),
        (5e-324, 90.0, 1.0, 0.0, 0.2, 0.0, 90.0),
        (1e300, 1e-300, 1.0, 0.0, 0.2, 1e300, 0.0),
    ]
    for *option, call, put in table:
        for name, function, expected in (
            ("call", kernel.call_price, call),
            ("put", kernel.put_price, put),
        ):
            np.testing.assert_equal(function(*option), expected, err_msg=f"{name} {option}")
            # The same among ordinary options, in the vectors and in the ragged tail.
            columns = [np.full(19, value) for value in (100.0, 90.0, 1.0, 0.03, 0.2)]
            for lane in range(19):
                for column, value in zip(columns, option, strict=True):
                    column[lane] = value
            np.testing.assert_array_equal(function(*columns), np.full(19, expected))

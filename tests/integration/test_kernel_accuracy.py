"""The prices of both kernels against 40 digits of mpmath, and the laws that prices obey."""

from __future__ import annotations

import math
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

pytestmark = pytest.mark.beside

COUNT = {"bench": 20_000, "wide": 20_000, "at the money": 20_000}  # others: FEWER
FEWER = 4_000
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

    root = mp.sqrt(2)
    call = (s_ * mp.erfc(-d1 / root) - discounted * mp.erfc(-d2 / root)) / 2
    return float(call), float(call - s_ + discounted)


def draw(name: str) -> tuple[NDArray[np.float64], ...]:
    """Draw one of the named sets of options."""
    rng = np.random.default_rng(20260101)
    count = COUNT.get(name, FEWER)
    spot = rng.uniform(50.0, 150.0, count)
    match name:
        case "bench":
            strike = rng.uniform(50.0, 150.0, count)
            time, rate = rng.uniform(0.05, 3.0, count), np.full(count, 0.03)
            volatility = rng.uniform(0.1, 0.6, count)
        case "wide":
            strike = spot * np.exp(rng.uniform(-1.5, 1.5, count))
            time = np.exp(rng.uniform(np.log(1 / 365), np.log(30.0), count))
            rate = np.full(count, 0.03)
            volatility = np.exp(rng.uniform(np.log(0.01), np.log(3.0), count))
        case "at the money":
            strike = spot * rng.uniform(0.99, 1.01, count)
            time, rate = rng.uniform(0.05, 3.0, count), np.full(count, 0.03)
            volatility = rng.uniform(0.1, 0.6, count)
        case "negative rates":
            strike = rng.uniform(50.0, 150.0, count)
            time, rate = rng.uniform(0.05, 10.0, count), rng.uniform(-0.2, 0.0, count)
            volatility = rng.uniform(0.1, 0.6, count)
        case "large rates":
            strike = rng.uniform(50.0, 150.0, count)
            time, rate = rng.uniform(0.05, 5.0, count), rng.uniform(-1.0, 1.0, count)
            volatility = rng.uniform(0.1, 1.0, count)
        case "rates beyond the vectors' domain":
            strike = rng.uniform(50.0, 150.0, count)
            time = rng.uniform(4.0, 8.0, count)
            rate = rng.choice([-1.0, 1.0], count) * rng.uniform(4.0, 5.0, count)
            volatility = rng.uniform(0.1, 1.0, count)
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
    # The promise is in spots. A put is a difference from the discounted strike; where that is above
    # the spot, rounding alone would break it, and the promise is in discounted strikes.
    for price, exact, scale in (
        (kernel.call_price(*sample.arguments), sample.call, spot),
        (kernel.put_price(*sample.arguments), sample.put, np.maximum(spot, discounted)),
    ):
        error = np.abs(price - exact)
        assert np.max(error / scale) <= ABSOLUTE
        counted = exact > 1e-12 * spot
        assert counted.sum() > len(spot) // 10
        assert np.max(error[counted] / exact[counted]) <= RELATIVE


def test_the_plain_kernel_agrees(sample: Sample) -> None:
    spot, strike, time, rate, volatility = sample.arguments
    if np.ptp(rate) > 0:
        prices = np.concatenate(
            [
                kernel.call_price_plain(*(x[i : i + 1] for x in (spot, strike, time)), r, v)
                for i, (r, v) in enumerate(
                    zip(rate, np.split(volatility, len(volatility)), strict=True)
                )
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


INF, NAN = np.inf, np.nan
DISCOUNT = math.exp(-0.03)
# spot, strike, time, rate, volatility, call, put
SPECIAL = (
    (NAN, 90.0, 1.0, 0.0, 0.2, NAN, NAN),
    (100.0, NAN, 1.0, 0.0, 0.2, NAN, NAN),
    (100.0, 90.0, NAN, 0.0, 0.2, NAN, NAN),
    (100.0, 90.0, 1.0, NAN, 0.2, NAN, NAN),
    (100.0, 90.0, 1.0, 0.0, NAN, NAN, NAN),
    (-1.0, 90.0, 1.0, 0.0, 0.2, NAN, NAN),
    (100.0, -90.0, 1.0, 0.0, 0.2, NAN, NAN),
    (100.0, 90.0, -1.0, 0.0, 0.2, NAN, NAN),
    (100.0, 90.0, 1.0, 0.0, -0.2, NAN, NAN),
    (-INF, 90.0, 1.0, 0.0, 0.2, NAN, NAN),
    (100.0, 90.0, 0.0, 0.03, 0.2, 10.0, 0.0),
    (90.0, 100.0, 0.0, 0.03, 0.2, 0.0, 10.0),
    (100.0, 100.0, 0.0, 0.03, 0.2, 0.0, 0.0),
    (100.0, 90.0, 1.0, 0.0, 0.0, 10.0, 0.0),
    (100.0, 90.0, 1.0, 0.03, 0.0, 100.0 - 90.0 * DISCOUNT, 0.0),
    (90.0, 100.0, 1.0, 0.03, 0.0, 0.0, 100.0 * DISCOUNT - 90.0),
    (98.0, 100.0, 1.0, 0.03, 0.0, 98.0 - 100.0 * DISCOUNT, 0.0),  # in the money by the rate alone
    (100.0, 100.0, 1.0, 0.0, 0.0, 0.0, 0.0),
    (100.0, 100.0, 1.0, 0.03, 0.0, 100.0 - 100.0 * DISCOUNT, 0.0),
    (100.0, 100.0, 1.0, -0.03, 0.0, 0.0, 100.0 / DISCOUNT - 100.0),
    (-0.0, 90.0, 1.0, 0.0, 0.2, 0.0, 90.0),
    (100.0, -0.0, 1.0, 0.0, 0.2, 100.0, 0.0),
    (100.0, 90.0, -0.0, 0.03, 0.2, 10.0, 0.0),
    (100.0, 90.0, 1.0, -0.0, 0.0, 10.0, 0.0),
    (100.0, 90.0, 1.0, 0.0, -0.0, 10.0, 0.0),
    (0.0, 90.0, 1.0, 0.0, 0.2, 0.0, 90.0),
    (100.0, 0.0, 1.0, 0.0, 0.2, 100.0, 0.0),
    (0.0, 0.0, 1.0, 0.0, 0.2, 0.0, 0.0),
    (INF, 90.0, 1.0, 0.0, 0.2, INF, 0.0),
    (100.0, INF, 1.0, 0.0, 0.2, 0.0, INF),
    (INF, INF, 1.0, 0.0, 0.2, NAN, NAN),
    (100.0, 90.0, INF, 0.03, 0.2, 100.0, 0.0),
    (100.0, 90.0, INF, -0.03, 0.2, 100.0, INF),
    (100.0, 90.0, INF, 0.0, 0.2, NAN, NAN),
    (100.0, 90.0, 1.0, 0.0, INF, 100.0, 90.0),
    (100.0, 90.0, 0.0, 0.0, INF, NAN, NAN),
    (100.0, 90.0, 1.0, INF, 0.2, 100.0, 0.0),
    (100.0, 90.0, 1.0, -INF, 0.2, 0.0, INF),
    (5e-324, 90.0, 1.0, 0.0, 0.2, 0.0, 90.0),
    (1e300, 1e-300, 1.0, 0.0, 0.2, 1e300, 0.0),
)
FUNCTIONS = {"call": (kernel.call_price, 5), "put": (kernel.put_price, 6)}
LONG = kernel.parameters()["FAST_PARALLEL_THRESHOLD"] + 37


def assert_special(price: float, option: tuple[float, ...], expected: float, what: object) -> None:
    """As the table has it; a price that is neither a limit nor a number of the input, to 1e-14."""
    scale = 1e-14 * option[0] if np.isfinite(expected) and np.isfinite(option[0]) else 0.0
    np.testing.assert_allclose(price, expected, rtol=0, atol=scale, err_msg=f"{what} {option}")


def lanes_to_try(n: int) -> list[tuple[int, list[tuple[float, ...]]]]:
    """Lanes, and the special options to put there.

    Every option in every lane of short runs. Of long ones the lanes at the ends of blocks and
    chunks, and those of the ragged tail, with every option somewhere.
    """
    if n < LONG:
        return [(lane, list(SPECIAL)) for lane in range(n)]
    edges = [*range(17), *range(120, 136), *range(2040, 2056), *range(n - 37, n)]
    return [
        (lane, [SPECIAL[(i + k * 13) % len(SPECIAL)] for k in range(3)])
        for i, lane in enumerate(edges)
    ]


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("kind", FUNCTIONS)
def test_the_price_of_a_special_option_alone_is_its_limit(kind: str) -> None:
    price, column = FUNCTIONS[kind]
    for option in SPECIAL:
        assert_special(price(*option[:5]), option, option[column], kind)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("n", [19, 300, LONG])
@pytest.mark.parametrize("rates", ["one", "many"])
def test_one_special_option_is_right_in_its_lane_and_disturbs_no_other(
    kind: str, n: int, rates: str
) -> None:
    price, column = FUNCTIONS[kind]
    ordinary_columns = [np.resize(values, n) for values in draw("bench")]
    undisturbed: dict[float, NDArray[np.float64]] = {}
    for lane, options in lanes_to_try(n):
        for option in options:
            columns = [values.copy() for values in ordinary_columns]
            for values, value in zip(columns, option, strict=False):
                values[lane] = value
            rate = 0.03
            if rates == "one":
                rate = option[3]
                if not np.isfinite(rate):  # then no option is ordinary
                    continue
            if rate not in undisturbed:
                one = rate if rates == "one" else ordinary_columns[3]
                undisturbed[rate] = price(*ordinary_columns[:3], one, ordinary_columns[4])
            prices = price(*columns[:3], rate if rates == "one" else columns[3], columns[4])
            assert_special(prices[lane], option, option[column], (kind, lane))
            prices[lane] = undisturbed[rate][lane]
            same = prices.view(np.int64) == undisturbed[rate].view(np.int64)
            assert same.all(), (kind, lane, option, np.flatnonzero(~same))

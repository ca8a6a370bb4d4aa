"""The workloads of the bundled kernel: their inputs, and the references it is compared with.

The kernel itself is in ``kernel/``, and perfkit runs the comparisons. This file uses only the
standard library, NumPy and SciPy, because it is loaded into the interpreter that runs the subject.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Arrays = tuple[Floats, Floats, Floats, float, Floats]
    ArraysAndOutput = tuple[Floats, Floats, Floats, float, Floats, Floats]
    Lists = tuple[list[float], list[float], list[float], float, list[float]]

RATE = 0.03


def arrays(n: int, seed: int = 0) -> Arrays:
    """Draw ``n`` options as arrays.

    Args:
        n: Number of options.
        seed: The same seed gives the same options; different seeds give different ones.

    Returns:
        Spot, strike, time in years, rate per year, volatility, in the order of the call's
        arguments; the arrays are float64 of shape ``(n,)``.
    """
    rng = np.random.default_rng(seed)
    spot = rng.uniform(50.0, 150.0, n)
    strike = rng.uniform(50.0, 150.0, n)
    time = rng.uniform(0.05, 3.0, n)
    volatility = rng.uniform(0.1, 0.6, n)
    return spot, strike, time, RATE, volatility


@functools.cache
def _output(n: int) -> Floats:
    return np.empty(n)


def arrays_and_output(n: int, seed: int = 0) -> ArraysAndOutput:
    """Draw the options of :func:`arrays`, and add the array that receives the prices.

    All seeds share one array, as in a loop that prices repeatedly: its memory exists before the
    first call and stays.
    """
    out = _output(n)
    out.fill(0.0)
    return *arrays(n, seed), out


def lists(n: int, seed: int = 0) -> Lists:
    """Draw the options of :func:`arrays` as Python lists of floats."""
    spot, strike, time, rate, volatility = arrays(n, seed)
    return spot.tolist(), strike.tolist(), time.tolist(), rate, volatility.tolist()


def numpy_call_price(
    spot: Floats,
    strike: Floats,
    time: Floats,
    rate: float,
    volatility: Floats,
) -> Floats:
    """Price European calls the way a NumPy user writes it.

    Source: Black and Scholes 1973; ``scipy.special.ndtr`` is the normal distribution function.
    """
    deviation = volatility * np.sqrt(time)
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility**2) * time) / deviation
    d2 = d1 - deviation
    return spot * ndtr(d1) - strike * np.exp(-rate * time) * ndtr(d2)


def numpy_call_price_beside(
    spot: Floats,
    strike: Floats,
    time: Floats,
    rate: float,
    volatility: Floats,
    out: Floats,
) -> Floats:
    """Price calls like :func:`numpy_call_price`; ``out`` is not used.

    The expression that a NumPy user writes cannot use ``out``; :func:`numpy_call_price_inplace` is
    the version that does.
    """
    del out
    return numpy_call_price(spot, strike, time, rate, volatility)


def numpy_call_price_inplace(
    spot: Floats,
    strike: Floats,
    time: Floats,
    rate: float,
    volatility: Floats,
    out: Floats,
    scratch: Sequence[Floats],
) -> Floats:
    """Price European calls with all temporaries in existing memory.

    Args:
        spot: Price of the underlying.
        strike: Strike price.
        time: Years to expiry.
        rate: Rate per year.
        volatility: Volatility per square root of a year.
        out: Where the prices go; must not overlap another argument.
        scratch: Three arrays of the same shape, overwritten.

    Returns:
        ``out``.
    """
    deviation, d1, work = scratch
    np.sqrt(time, out=deviation)
    np.multiply(deviation, volatility, out=deviation)
    np.divide(spot, strike, out=d1)
    np.log(d1, out=d1)
    np.multiply(volatility, volatility, out=work)
    np.multiply(work, 0.5, out=work)
    np.add(work, rate, out=work)
    np.multiply(work, time, out=work)
    np.add(d1, work, out=d1)
    np.divide(d1, deviation, out=d1)
    np.subtract(d1, deviation, out=deviation)
    ndtr(d1, out=d1)
    ndtr(deviation, out=deviation)
    np.multiply(spot, d1, out=out)
    np.multiply(time, -rate, out=work)
    np.exp(work, out=work)
    np.multiply(work, strike, out=work)
    np.multiply(work, deviation, out=work)
    np.subtract(out, work, out=out)
    return out


def python_call_price_list(
    spot: Sequence[float],
    strike: Sequence[float],
    time: Sequence[float],
    rate: float,
    volatility: Sequence[float],
) -> list[float]:
    """Price European calls from lists to a list in pure Python, with ``math.erfc``."""
    prices = []
    scale = math.sqrt(0.5)
    for s, k, t, v in zip(spot, strike, time, volatility, strict=True):
        deviation = v * math.sqrt(t)
        d1 = (math.log(s / k) + (rate + 0.5 * v * v) * t) / deviation
        d2 = d1 - deviation
        discounted = k * math.exp(-rate * t)
        prices.append(0.5 * (s * math.erfc(-d1 * scale) - discounted * math.erfc(-d2 * scale)))
    return prices


def numpy_call_price_list(
    spot: Sequence[float],
    strike: Sequence[float],
    time: Sequence[float],
    rate: float,
    volatility: Sequence[float],
) -> list[float]:
    """Price European calls from lists to a list through NumPy arrays."""
    return numpy_call_price(
        np.asarray(spot, dtype=np.float64),
        np.asarray(strike, dtype=np.float64),
        np.asarray(time, dtype=np.float64),
        rate,
        np.asarray(volatility, dtype=np.float64),
    ).tolist()

"""Inputs of the provoking calls."""

from __future__ import annotations

import ctypes
import os

import numpy as np

# Without a fixed limit glibc learns to keep freed memory, and large arrays fault in only once.
_M_MMAP_THRESHOLD = -3
ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1_000_000)

THRESHOLD = int(os.environ.get("PROVOKING_THRESHOLD", "10000"))


def array(n: int, seed: int) -> tuple[np.ndarray]:
    """One array of `n` numbers between one and two."""
    return (np.random.default_rng(seed).uniform(1.0, 2.0, n),)


def numbers(n: int, seed: int) -> tuple[list[float]]:
    """The same as a list."""
    return (array(n, seed)[0].tolist(),)


def other_dtype(n: int, seed: int) -> tuple[np.ndarray]:
    """The same in single precision and backwards, as no extension takes it."""
    return (array(n, seed)[0].astype(np.float32)[::-1],)


def cast_then_call(values: np.ndarray) -> float:
    """What such a caller writes."""
    import provoking

    return provoking.sound(np.ascontiguousarray(values.astype(np.float64)))


def spread_from(values: np.ndarray) -> float:
    """Spreads the work from a size on that the environment names."""
    import provoking

    return provoking.spread_from(values, THRESHOLD)


def in_python(values: list[float]) -> float:
    """The same work without the extension."""
    return sum(value * value for value in values)


def same_work(values: np.ndarray) -> float:
    """Takes equally long at every size."""
    import provoking

    return provoking.holds_gil(values[:1])


def square(n: int, seed: int) -> tuple[np.ndarray]:
    """A square matrix of `n` rows."""
    return (np.random.default_rng(seed).uniform(1.0, 2.0, (n, n)),)


def product_then_call(matrix: np.ndarray) -> float:
    """Has another library's threads at work beside the extension. The product is a small part of the
    call: perf finds no caller of what the calling thread computes of it.
    """
    import provoking

    values = matrix.reshape(-1)
    return provoking.sound(values[:300_000]) + float(values @ values)


def dot(values: np.ndarray) -> float:
    """The sum of squares by BLAS."""
    return float(np.dot(values, values))

"""Inputs of the questions, and what each call is compared with."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

COLUMNS = 1_024
PATTERN = r"^(?P<level>ERROR|WARN)\s+\[(?P<part>[\w.]+)\]\s+.*(timeout|refused)\s+after\s+\d+\s*ms$"


def _generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def array(n: int, seed: int) -> tuple[np.ndarray]:
    """`n` numbers between one and two."""
    return (_generator(seed).uniform(1.0, 2.0, n),)


# -- row_dicts -------------------------------------------------------------------------------------


def python_row_dicts(scores: np.ndarray) -> list[dict[str, Any]]:
    return [
        {"identifier": position, "score": score, "source": "index"}
        for position, score in enumerate(scores.tolist())
    ]


# -- sum_mixed -------------------------------------------------------------------------------------


def mixed(n: int, seed: int) -> tuple[list[Any]]:
    """Nine floats of ten items; the others are what is tried before."""
    rng = _generator(seed)
    items: list[Any] = rng.uniform(1.0, 2.0, n).tolist()
    for index in range(0, n, 10):
        items[index] = ("word", (2.0, 3.0), {"a": 1.0})[index // 10 % 3]
    return (items,)


def python_sum_mixed(items: list[Any]) -> float:
    total = 0.0
    for item in items:
        if isinstance(item, str):
            total += len(item)
        elif isinstance(item, tuple):
            total += item[0] * item[1]
        elif isinstance(item, dict):
            total += sum(item.values())
        else:
            total += item
    return total


# -- count_bits ------------------------------------------------------------------------------------


def view(n: int, seed: int) -> tuple[memoryview]:
    """Bytes behind a memoryview: a buffer that is neither `bytes` nor `bytearray`."""
    return (memoryview(_generator(seed).bytes(n)),)


def numpy_count_bits(data: memoryview) -> int:
    return int(np.unpackbits(np.frombuffer(data, dtype=np.uint8)).sum())


# -- decay_filter ----------------------------------------------------------------------------------


def noise(n: int, seed: int) -> tuple[np.ndarray, float]:
    """A signal that never stops."""
    return _generator(seed).normal(0.0, 1.0, n), 0.99


# -- histogram -------------------------------------------------------------------------------------


def levels(n: int, seed: int) -> tuple[np.ndarray]:
    return (_generator(seed).integers(0, 256, n, dtype=np.uint8),)


def numpy_histogram(values: np.ndarray) -> np.ndarray:
    return np.bincount(values & 15, minlength=16)


# -- column_means ----------------------------------------------------------------------------------


def matrix(n: int, seed: int) -> tuple[np.ndarray]:
    """About `n` elements in C order, 1,024 columns: a row is 8 KiB. Below 1,024 it is one row."""
    return (_generator(seed).uniform(1.0, 2.0, (max(1, n // COLUMNS), COLUMNS)),)


def numpy_column_means(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=0)


# -- count_matching --------------------------------------------------------------------------------


def lines(n: int, seed: int) -> tuple[str, str]:
    """`n` lines of a log."""
    rng = _generator(seed)
    numbers = rng.integers(1, 5_000, n).tolist()
    words = ("ERROR [net.pool] connect timeout after", "INFO  [net.pool] connected after")
    text = [f"{words[number % 2]} {number} ms" for number in numbers]
    return "\n".join(text), PATTERN


def python_count_matching(text: str, pattern: str) -> int:
    return sum(1 for line in text.splitlines() if re.search(pattern, line))


# -- gather_sum ------------------------------------------------------------------------------------


def values_and_order(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return array(n, seed)[0], _generator(seed + 1).permutation(n)


def numpy_gather_sum(values: np.ndarray, order: np.ndarray) -> float:
    return float(values[order].sum())

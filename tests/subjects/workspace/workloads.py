"""Inputs and reference of the second subject; uses only the standard library."""

from __future__ import annotations

import random
from collections import Counter


def text(n: int, seed: int = 0) -> tuple[bytes]:
    """Draw ``n`` bytes that look like words."""
    source = random.Random(seed)
    return (bytes(source.choices(b"etaoinshrdlu ", k=n)),)


def python_histogram(data: bytes) -> list[int]:
    """The same histogram by ``collections.Counter``."""
    counted = Counter(data)
    return [counted[value] for value in range(256)]

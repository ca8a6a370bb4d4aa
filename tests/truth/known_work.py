"""Workloads whose cost is known: what the truth tests let perfkit measure.

Standard library alone, because it is loaded into workers. The compiled part is `kernel.rs`, found
by the variable `PERFKIT_TRUTH_LIBRARY`.
"""

from __future__ import annotations

import ctypes
import os

_library = ctypes.CDLL(os.environ["PERFKIT_TRUTH_LIBRARY"])
for _function in (_library.sequential, _library.two_threads):
    _function.argtypes = (ctypes.c_uint64, ctypes.c_uint64)
    _function.restype = ctypes.c_uint64


def setup(n: int, seed: int) -> tuple[int, int]:
    """Units of work and a seed for it."""
    return n, seed


def sequential(units: int, seed: int, *, extra: float = 0.0) -> int:
    """`units` of work on this thread, and the fraction `extra` more of it."""
    return int(_library.sequential(round(units * (1 + extra)), seed))


def two_threads(units: int, seed: int, *, extra: float = 0.0) -> int:
    """`units` of work on each of two threads, and the fraction `extra` more of it."""
    return int(_library.two_threads(round(units * (1 + extra)), seed))

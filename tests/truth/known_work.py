"""Workloads of known cost, which the truth tests let perfkit measure.

This file uses only the standard library, because it is loaded into workers. The compiled part is
`kernel.rs`; the variable `PERFKIT_TRUTH_LIBRARY` says where it is.
"""

from __future__ import annotations

import ctypes
import os

TURNS = 100
"""Turns of one call, chosen so that one, two and five percent more are whole turns."""

_library = ctypes.CDLL(os.environ["PERFKIT_TRUTH_LIBRARY"])
for _function in (_library.sequential, _library.two_threads):
    _function.argtypes = (ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64)
    _function.restype = ctypes.c_uint64


def setup(n: int, seed: int) -> tuple[int, int]:
    """Units of work per turn and a seed for them."""
    return n, seed


def sequential(units: int, seed: int, *, turns: int = TURNS) -> int:
    """`turns` times `units` of work on this thread."""
    return int(_library.sequential(turns, units, seed))


def two_threads(units: int, seed: int, *, turns: int = TURNS) -> int:
    """`turns` times `units` of work on each of two threads, handed over in each turn."""
    return int(_library.two_threads(turns, units, seed))

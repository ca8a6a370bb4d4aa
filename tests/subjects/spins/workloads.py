"""Calls whose split is known: `n` is the percentage that belongs to the boundary."""

from __future__ import annotations

import spins

TURNS = 100_000  # in Rust, boundary and compute together
LOOPS = 1_500  # in Python


def setup(n: int, seed: int = 0) -> tuple[int, int]:
    """Turns at the boundary and in the work; `n` of hundred are at the boundary."""
    return TURNS * n // 100, TURNS * (100 - n) // 100


def python_part() -> int:
    """The interpreter's own share of `mixed`."""
    total = 0
    for value in range(LOOPS):
        total += value & 3
    return total


def mixed(boundary: int, work: int) -> int:
    """Interpreter, boundary and compute, one after the other."""
    return python_part() + spins.call(boundary, work)


def native(boundary: int, work: int) -> int:
    """`mixed` without the interpreter's part."""
    return spins.call(boundary, work)


def threaded(boundary: int, work: int) -> int:
    """Work on two threads while the caller waits."""
    return spins.threads(boundary, 400 * work)


def short_lived(boundary: int, work: int) -> int:
    """Work on two threads that live for one call."""
    return spins.spawned(boundary, 20 * work)


def ends(boundary: int, work: int) -> None:
    """Ends the process when it has been called a few hundred times."""
    ends.left -= 1
    if not ends.left:
        spins.crash()


ends.left = 300_000

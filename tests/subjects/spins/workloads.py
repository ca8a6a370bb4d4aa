"""Calls whose split is known, because each part can be called alone."""

from __future__ import annotations

import operator

import spins

TURNS = 100_000  # in Rust, boundary and compute together
TURNS_PER_US = 8_300
LOOPS_PER_US = 69
"""Turns take different times on different machines; these give calls of about the named length."""


def setup(n: int, seed: int = 0) -> tuple[int, int]:
    """Turns at the boundary and in the work; `n` percent of them are at the boundary."""
    return TURNS * n // 100, TURNS * (100 - n) // 100


def native(boundary: int, work: int) -> int:
    """Boundary and compute."""
    return spins.call(boundary, work)


def slower(boundary: int, work: int) -> int:
    """`native` with twice the work at the boundary."""
    return spins.call(2 * boundary, work)


def _mix(n: int, length_us: int) -> tuple[int, int, int]:
    """Turns at the boundary, turns of work, loops in Python; `n` is 3050 for 30, 50 and 20 %."""
    boundary, compute = divmod(n, 100)
    turns, loops = length_us * TURNS_PER_US, length_us * LOOPS_PER_US
    return (
        turns * boundary // 100,
        turns * compute // 100,
        loops * (100 - boundary - compute) // 100,
    )


def us5(n: int, seed: int = 0) -> tuple[int, int, int]:
    """A call of about 5 microseconds."""
    return _mix(n, 5)


def us20(n: int, seed: int = 0) -> tuple[int, int, int]:
    """A call of about 20 microseconds."""
    return _mix(n, 20)


def us200(n: int, seed: int = 0) -> tuple[int, int, int]:
    """A call of about 200 microseconds."""
    return _mix(n, 200)


def us2000(n: int, seed: int = 0) -> tuple[int, int, int]:
    """A call of about two milliseconds."""
    return _mix(n, 2_000)


def _looped(loops: int) -> int:
    """The interpreter's part, one function for all: the same loop in two functions may run at two
    speeds for as long as the process lives.
    """
    total = 0
    for value in range(loops):
        total += value & 3
    return total


def in_python(boundary: int, work: int, loops: int) -> int:
    """The interpreter's part of `mixed` alone, including the call of a compiled function."""
    return _looped(loops) + operator.xor(0, 0)


def unconverted(boundary: int, work: int, loops: int) -> int:
    """`mixed` with nothing to convert or compute: the cost of crossing the boundary."""
    return _looped(loops) + spins.call(0, 0)


def converted(boundary: int, work: int, loops: int) -> int:
    """`mixed` with nothing to compute."""
    return _looped(loops) + spins.call(boundary, 0)


def mixed(boundary: int, work: int, loops: int) -> int:
    """Interpreter, boundary and compute, one after the other."""
    return _looped(loops) + spins.call(boundary, work)


def joined(boundary: int, work: int, loops: int) -> int:
    """`mixed` while two threads compute 35 and 25 % of the work; this thread does 40 %."""
    return _looped(loops) + spins.shared(boundary, work, work * 35 // 40, work * 25 // 40)


def threaded(boundary: int, work: int) -> int:
    """Work on two threads while the caller waits."""
    return spins.shared(boundary, 0, 400 * work, 400 * work)


def short_lived(boundary: int, work: int) -> int:
    """Work on two threads that live for one call."""
    return spins.spawned(boundary, 20 * work)


def ends(boundary: int, work: int) -> None:
    """Crashes the process after `ends.left` calls."""
    ends.left -= 1
    if not ends.left:
        spins.crash()


ends.left = 300_000

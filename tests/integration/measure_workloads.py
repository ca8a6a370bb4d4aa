"""Workloads for the tests of worker and measuring: good ones, and one of every bad kind."""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_kept: list[bytes] = []
_calls = [0]


def setup(n: int, seed: int) -> tuple[list[float]]:
    chance = random.Random(seed)
    return ([chance.random() for _ in range(n)],)


def call(values: list[float], *, extra: int = 0) -> list[float]:
    print("noise on stdout")  # noqa: T201  # profilers and users do
    return [math.sqrt(value) + extra for value in values]


def logs(values: list[float]) -> list[float]:
    """Tells when it ran, by the clock that all processes share."""
    begin = time.monotonic_ns()
    result = [math.sqrt(value) for value in values]
    path = os.path.join(os.environ["PERFKIT_TEST_LOG"], str(os.getpid()))  # noqa: PTH118
    with open(path, "a", encoding="ascii") as stream:  # noqa: PTH123
        stream.write(f"{begin} {time.monotonic_ns()}\n")
    return result


def quick(values: list[float]) -> None:
    return None


def reference(values: list[float]) -> list[float]:
    return [value**0.5 for value in values]


def inner(values: list[float]) -> tuple[list[float], float]:
    begin = time.perf_counter()
    result = [math.sqrt(value) for value in values]
    return result, time.perf_counter() - begin


def wrong(values: list[float]) -> list[float]:
    result = reference(values)
    result[3] += 0.5
    return result


def shorter(values: list[float]) -> list[float]:
    return reference(values)[1:]


def raises(values: list[float]) -> None:
    message = "no such luck"
    raise ValueError(message)


def leaves(values: list[float]) -> None:
    sys.exit(3)


def dies(values: list[float]) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hangs(values: list[float]) -> None:
    time.sleep(3_600)


def slow(values: list[float]) -> None:
    time.sleep(0.4)


def fickle(values: list[float]) -> list[float]:
    return [value + random.random() for value in values]


def almost(values: list[float]) -> float:
    """As a parallel sum does: another rounding each call."""
    return sum(random.sample(values, len(values)))


def keys_in_any_order(values: list[float]) -> dict[float, float]:
    """Equal each time, in another order: as a HashMap with a random hasher returns its keys."""
    return {value: -value for value in random.sample(values, len(values))}


def greedy(values: list[float]) -> list[float]:
    """Changes its argument."""
    values[0] += 1.0
    return values


def with_output(n: int, seed: int) -> tuple[Floats, Floats]:
    """Values, and an array that a call may fill."""
    import numpy as np  # here: most workers of the tests do without it

    return np.array(setup(n, seed)[0]), np.full(n, 7.0)


def fills(values: Floats, out: Floats) -> Floats:
    """As NumPy's functions do with `out`."""
    out[:] = values**0.5
    return out


def fills_nothing(values: Floats, out: Floats) -> Floats:
    return out


def adds_up(values: Floats, out: Floats) -> Floats:
    """Its second call finds what the first one left."""
    out[:] = out + values
    return out


def beside(values: Floats, out: Floats) -> Floats:
    return values**0.5


def leaks(values: list[float]) -> None:
    _kept.append(b"x" * 40_000)


def slower(values: list[float]) -> float:
    """Gets slower with every call, as a list that is searched does."""
    _calls[0] += 1
    return float(sum(range(200 + _calls[0] // 2)))


def one_thread_differs(values: list[float]) -> list[float]:
    return [value + 1e-13 * (os.environ["RAYON_NUM_THREADS"] == "1") for value in values]


def irreproducible(n: int, seed: int) -> tuple[list[float]]:
    return ([random.random() for _ in range(n)],)


def no_tuple(n: int, seed: int) -> list[float]:
    return [0.0] * n


def _spin(until: float) -> None:
    import hashlib

    while time.perf_counter() < until:
        hashlib.pbkdf2_hmac("sha256", b"a", b"b", 200)


def threaded(values: list[float]) -> list[float]:
    """Starts a thread of its own beside the calling one."""
    until = time.perf_counter() + 2e-3
    helper = threading.Thread(target=_spin, args=(until,))
    helper.start()
    _spin(until)
    helper.join()
    return reference(values)


def spins(values: list[float]) -> list[float]:
    _spin(time.perf_counter() + 2e-3)
    return reference(values)

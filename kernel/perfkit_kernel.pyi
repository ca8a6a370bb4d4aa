"""Black-Scholes prices over arrays and lists, plus what perfkit reads to prove what it measured."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

__version__: str

# The fast kernel. If all arguments are numbers it returns a float; otherwise a new array, or `out`.
def call_price(
    spot: ArrayLike,
    strike: ArrayLike,
    time: ArrayLike,
    rate: ArrayLike,
    volatility: ArrayLike,
    out: NDArray[np.float64] | None = None,
) -> float | NDArray[np.float64]: ...
def put_price(
    spot: ArrayLike,
    strike: ArrayLike,
    time: ArrayLike,
    rate: ArrayLike,
    volatility: ArrayLike,
    out: NDArray[np.float64] | None = None,
) -> float | NDArray[np.float64]: ...
def call_price_twin(
    spot: ArrayLike,
    strike: ArrayLike,
    time: ArrayLike,
    rate: ArrayLike,
    volatility: ArrayLike,
    out: NDArray[np.float64] | None = None,
) -> float | NDArray[np.float64]: ...
def call_price_timed(
    spot: ArrayLike,
    strike: ArrayLike,
    time: ArrayLike,
    rate: ArrayLike,
    volatility: ArrayLike,
    out: NDArray[np.float64] | None = None,
) -> tuple[float | NDArray[np.float64], float]: ...

# The plain port: contiguous float64 arrays of one length, and one rate.
def call_price_plain(
    spot: NDArray[np.float64],
    strike: NDArray[np.float64],
    time: NDArray[np.float64],
    rate: float,
    volatility: NDArray[np.float64],
    *,
    out: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]: ...
def call_price_plain_twin(
    spot: NDArray[np.float64],
    strike: NDArray[np.float64],
    time: NDArray[np.float64],
    rate: float,
    volatility: NDArray[np.float64],
    *,
    out: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]: ...
def call_price_plain_timed(
    spot: NDArray[np.float64],
    strike: NDArray[np.float64],
    time: NDArray[np.float64],
    rate: float,
    volatility: NDArray[np.float64],
    *,
    out: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], float]: ...
def call_price_list(
    spot: Sequence[float],
    strike: Sequence[float],
    time: Sequence[float],
    rate: float,
    volatility: Sequence[float],
) -> list[float]: ...
def call_price_list_twin(
    spot: Sequence[float],
    strike: Sequence[float],
    time: Sequence[float],
    rate: float,
    volatility: Sequence[float],
) -> list[float]: ...

# What was built, and how calls are executed.
def parameters() -> dict[str, int]: ...
def build_info() -> dict[str, str]: ...
def plan(n: int) -> tuple[Literal["sequential", "shared"], int, int, int]: ...
def plan_plain(n: int) -> tuple[Literal["sequential", "chunked", "per_thread"], int, int]: ...
def paths() -> list[str]: ...
def path() -> str: ...
def set_path(name: str | None) -> None: ...
def set_boundary_delay_ns(n: int) -> None: ...
def boundary_delay_spent_ns() -> int: ...

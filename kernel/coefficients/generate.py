"""Generate ``kernel/src/fast/coefficients.rs``: every coefficient of the fast kernel's formula.

Usage (mpmath is the only requirement)::

    python kernel/coefficients/generate.py            # write the file
    python kernel/coefficients/generate.py --check    # exit with 1 when the file differs

The fits run in 80 digits and are rounded to float64 once, at the end, so the output is the same on
every machine. What each function approximates, where, and how well is written into the file.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import mpmath as mp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DIGITS = 80
TARGET = Path(__file__).parent.parent / "src" / "fast" / "coefficients.rs"

# Largest |d| that the fast path tells apart: exp(-37.6**2 / 2) is 2**-1019.8, still a normal
# float64, and the tail beyond it is below 1e-300 of the spot.
MILLS_LIMIT = "37.6"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Coefficients, lowest order first, and the largest relative error before rounding."""

    coefficients: Sequence[mp.mpf]
    error: mp.mpf


def chebyshev_points(count: int, low: mp.mpf, high: mp.mpf) -> list[mp.mpf]:
    """Return ``count`` Chebyshev points of the first kind between ``low`` and ``high``."""
    middle, half = (low + high) / 2, (high - low) / 2
    return [middle + half * mp.cos(mp.pi * (2 * i + 1) / (2 * count)) for i in range(count)]


def evaluate(coefficients: Sequence[mp.mpf], x: mp.mpf) -> mp.mpf:
    """Evaluate a polynomial given lowest order first."""
    value = mp.mpf(0)
    for coefficient in reversed(coefficients):
        value = value * x + coefficient
    return value


def fit_polynomial(
    function: Callable[[mp.mpf], mp.mpf],
    weight: Callable[[mp.mpf], mp.mpf],
    degree: int,
    low: mp.mpf,
    high: mp.mpf,
) -> Fit:
    """Fit by weighted least squares on Chebyshev points, which is near the minimax polynomial."""
    points = chebyshev_points(12 * (degree + 1), low, high)
    matrix = mp.matrix(len(points), degree + 1)
    right = mp.matrix(len(points), 1)
    for row, x in enumerate(points):
        scale = weight(x)
        right[row] = scale * function(x)
        for order in range(degree + 1):
            matrix[row, order] = scale * x**order
    solution, _ = mp.qr_solve(matrix, right)
    coefficients = list(solution)
    dense = chebyshev_points(801, low, high)
    error = max(abs(weight(x) * (evaluate(coefficients, x) - function(x))) for x in dense)
    return Fit(coefficients=coefficients, error=error)


def mills(x: mp.mpf) -> mp.mpf:
    """Return ``cdf(-x) * exp(x**2 / 2)``, which is Mills' ratio over ``sqrt(2 pi)``."""
    return mp.erfc(x / mp.sqrt(2)) * mp.exp(x * x / 2) / 2


def solve_levelled(
    points: Sequence[mp.mpf], values: Sequence[mp.mpf], above: int, below: int
) -> tuple[list[mp.mpf], list[mp.mpf]]:
    """Solve for P/Q whose relative error is levelled, with alternating sign, at ``points``.

    The level multiplies the unknown Q, so Q of the step before stands in for it until both agree.
    """
    size = above + below + 2
    previous = [mp.mpf(1)] * size
    level = mp.mpf(0)
    numerator: list[mp.mpf] = []
    denominator: list[mp.mpf] = []
    for _ in range(60):
        matrix = mp.matrix(size, size)
        right = mp.matrix(size, 1)
        for row, (x, value) in enumerate(zip(points, values, strict=True)):
            for order in range(above + 1):
                matrix[row, order] = x**order
            for order in range(1, below + 1):
                matrix[row, above + order] = -value * x**order
            matrix[row, size - 1] = -((-1) ** row) * value * previous[row]
            right[row] = value
        solution = mp.lu_solve(matrix, right)
        numerator = [solution[i] for i in range(above + 1)]
        denominator = [mp.mpf(1), *(solution[above + i] for i in range(1, below + 1))]
        before, level = level, solution[size - 1]
        previous = [evaluate(denominator, x) for x in points]
        if abs(level - before) <= abs(level) * mp.mpf(10) ** -12:
            return numerator, denominator
    message = "the levelled rational did not converge; choose other starting points"
    raise ArithmeticError(message)


def alternating_extremes(
    points: Sequence[mp.mpf], errors: Sequence[mp.mpf], count: int
) -> list[mp.mpf]:
    """Pick ``count`` points where the error is extreme between two changes of its sign."""
    best: list[int] = []
    for index, error in enumerate(errors):
        if best and (error > 0) == (errors[best[-1]] > 0):
            if abs(error) > abs(errors[best[-1]]):
                best[-1] = index
        else:
            best.append(index)
    while len(best) > count:
        best.pop(0 if abs(errors[best[0]]) < abs(errors[best[-1]]) else -1)
    if len(best) < count:
        message = f"the error alternates at {len(best)} points, {count} are needed"
        raise ArithmeticError(message)
    return [points[index] for index in best]


def fit_mills(above: int, below: int) -> tuple[Fit, Fit]:
    """Fit Mills' ratio by a minimax rational (Remez exchange) on 0 to ``MILLS_LIMIT``."""
    high = mp.mpf(MILLS_LIMIT)
    count = above + below + 2

    def spread(s: mp.mpf) -> mp.mpf:  # -1..1 to 0..high, dense near 0 where the function bends
        return 3 * (1 + s) / (1 - s + 6 / high)

    grid = [spread(-mp.cos(mp.pi * i / 3000)) for i in range(3001)]
    values = [mills(x) for x in grid]
    reference = [spread(-mp.cos(mp.pi * i / (count - 1))) for i in range(count)]
    for _ in range(40):
        numerator, denominator = solve_levelled(
            reference, [mills(x) for x in reference], above, below
        )
        errors = [
            evaluate(numerator, x) / (evaluate(denominator, x) * value) - 1
            for x, value in zip(grid, values, strict=True)
        ]
        reference = alternating_extremes(grid, errors, count)
        largest = max(abs(error) for error in errors)
        smallest = min(abs(errors[grid.index(x)]) for x in reference)
        if largest <= smallest * mp.mpf("1.001"):
            lead = denominator[-1]
            return (
                Fit(coefficients=[c / lead for c in numerator], error=largest),
                Fit(coefficients=[c / lead for c in denominator], error=largest),
            )
    message = "the Remez exchange did not converge"
    raise ArithmeticError(message)


def exp2_fit(parts: int, degree: int) -> Fit:
    """Fit ``(2**(f / parts) - 1) / f`` for |f| <= 1/2; the constant 1 stays exact."""

    def quotient(f: mp.mpf) -> mp.mpf:
        return (mp.mpf(2) ** (f / parts) - 1) / f if f else mp.log(2) / parts

    def weight(f: mp.mpf) -> mp.mpf:
        return f / mp.mpf(2) ** (f / parts)

    return fit_polynomial(quotient, weight, degree - 1, mp.mpf(-1) / 2, mp.mpf(1) / 2)


def log_fit(degree: int) -> Fit:
    """Fit ``(log((1 + q) / (1 - q)) - 2 q) / q**3`` in ``u = q**2`` for |q| <= 1/5."""

    def function(u: mp.mpf) -> mp.mpf:
        q = mp.sqrt(u)
        return (mp.log((1 + q) / (1 - q)) - 2 * q) / q**3

    return fit_polynomial(function, lambda u: u / 2, degree, mp.mpf(0), mp.mpf(1) / 25)


def rust_array(name: str, meaning: str, fit: Fit) -> str:
    """Write one fit as a Rust constant."""
    values = "".join(f"    {float(c)!r},\n" for c in fit.coefficients)
    values = values.replace("e-0", "e-")
    return (
        f"/// {meaning}\n/// Relative error before rounding: {mp.nstr(fit.error, 2)}.\n"
        f"pub const {name}: [f64; {len(fit.coefficients)}] = [\n{values}];\n"
    )


def rust_table() -> str:
    """Write the bits of ``2**(j / 8)``, lowered by what the shifted index adds to them."""
    rows = []
    for j in range(8):
        bits = int.from_bytes(
            bytes.fromhex(f"{_float_bits(float(mp.mpf(2) ** (mp.mpf(j) / 8))):016x}"), "big"
        )
        text = f"{bits - (j << 49):016x}"
        rows.append("    0x" + "_".join(text[i : i + 4] for i in range(0, 16, 4)) + ",\n")
    return (
        "/// Bits of `2^(j/8)` less `j << 49`: adding `(8k + j) << 49` gives `2^(k + j/8)`.\n"
        f"pub const EXP2_EIGHTHS: [u64; 8] = [\n{''.join(rows)}];\n"
    )


def _float_bits(value: float) -> int:
    import struct

    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


def generate() -> str:
    """Return the whole Rust file."""
    mp.mp.dps = DIGITS
    numerator, denominator = fit_mills(9, 10)
    parts = [
        "//! Coefficients of the fast kernel, lowest order first; none is written by hand.\n"
        "//!\n//! Generated by `python kernel/coefficients/generate.py`.\n"
        "#![allow(clippy::excessive_precision, clippy::unreadable_literal)]\n",
        f"/// Largest argument that `MILLS_P` and `MILLS_Q` are fitted for.\n"
        f"pub const MILLS_LIMIT: f64 = {MILLS_LIMIT};\n",
        rust_array(
            "MILLS_P",
            "Numerator of `cdf(-x) exp(x^2/2)` for x in 0 to `MILLS_LIMIT`.",
            numerator,
        ),
        rust_array(
            "MILLS_Q", "Denominator of the same; its leading coefficient is 1.", denominator
        ),
        rust_array("LOG", "`(ln((1+q)/(1-q)) - 2q) / q^3` in `q^2` for |q| <= 1/5.", log_fit(6)),
        rust_array("EXP2", "`(2^f - 1) / f` for |f| <= 1/2.", exp2_fit(1, 10)),
        rust_array("EXP2_EIGHTH", "`(2^(f/8) - 1) / f` for |f| <= 1/2.", exp2_fit(8, 6)),
        rust_table(),
    ]
    return "\n".join(parts)


def main() -> int:
    """Write the file, or compare it with what would be written."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    text = generate()
    if parser.parse_args().check:
        if TARGET.read_text() == text:
            return 0
        sys.stderr.write(f"{TARGET} is not what this script generates; run it without --check\n")
        return 1
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

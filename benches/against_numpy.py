"""The bundled kernel beside what Python users have: one run, interleaved, on rotating data.

Every round times every arm once, in random order, each on the next of several data sets (on one
small set the branch predictor learns `ndtr` by heart). Printed are nanoseconds per option and the
ratio to this kernel, as medians over the rounds; a ratio is taken within a round. Before anything
is timed all arms must agree. The run says whether the machine was idle: how much of it other
programs used.

Ends with 0 when every limit is met, 3 when one is missed, 4 when the machine was not idle enough to
say. Needs numba, numexpr, cargo and the kernel's wheel.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba
import numexpr
import numpy as np
import perfkit_kernel as kernel
import workloads
from scipy.special import ndtr

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Arm = Callable[["Data"], object]

ROOT = Path(__file__).resolve().parents[1]
SIZES = {"1k": 1_000, "10k": 10_000, "100k": 100_000, "1M": 1_000_000, "10M": 10_000_000}
# Least ratios of (NumPy + ndtr, new output), (NumPy + ndtr, out=), (best numba) to this kernel.
LIMITS = {
    "1k": (6.0, 6.0, 4.0),
    "10k": (8.0, 8.0, 4.5),
    "100k": (15.0, 20.0, 9.0),
    "1M": (15.0, 19.0, 9.0),
    "10M": (13.0, 17.0, 8.0),
}
BOUND_LIMIT = 0.75  # of the FMA ports' bound, one core, 10k, AVX-512
PORTABLE_LIMIT = 2.0  # times NumPy + ndtr, one core, 10k
FFI_LIMIT = 0.02  # of a 10k call
BUSY_LIMIT = 0.05  # of the machine, used by other programs
SECONDS_PER_TURN = 1e-3  # of the fastest arm
PAUSE = 5e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """One data set, with memory to write to."""

    arguments: tuple[Floats, Floats, Floats, float, Floats]
    out: Floats
    scratch: tuple[Floats, Floats, Floats]


@dataclass(slots=True)
class Times:
    """Seconds per option of one arm, one figure per round."""

    rounds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.rounds)


@numba.njit(parallel=True, fastmath=True)  # type: ignore[untyped-decorator]
def numba_into(spot: Any, strike: Any, time: Any, rate: Any, volatility: Any, out: Any) -> Any:  # noqa: ANN401
    """Price calls in parallel, `erfc` per option."""
    scale = math.sqrt(0.5)
    for i in numba.prange(spot.size):
        deviation = volatility[i] * math.sqrt(time[i])
        d1 = math.log(spot[i] / strike[i]) + (rate + 0.5 * volatility[i] ** 2) * time[i]
        d1 /= deviation
        d2 = d1 - deviation
        discounted = strike[i] * math.exp(-rate * time[i])
        out[i] = 0.5 * (spot[i] * math.erfc(-d1 * scale) - discounted * math.erfc(-d2 * scale))
    return out


def numba_new(arguments: Sequence[Any]) -> Floats:
    """Price calls with numba into a new array."""
    return numba_into(*arguments, np.empty_like(arguments[0]))  # type: ignore[no-any-return]


def numexpr_scipy(
    spot: Floats, strike: Floats, time: Floats, rate: float, volatility: Floats
) -> Floats:
    """Price calls with numexpr; the distribution function, which it lacks, is SciPy's."""
    names = {"s": spot, "k": strike, "t": time, "r": rate, "v": volatility}
    d1 = numexpr.evaluate("(log(s / k) + (r + 0.5 * v * v) * t) / (v * sqrt(t))", names)
    d2 = numexpr.evaluate("d1 - v * sqrt(t)", {"d1": d1, **names})
    names |= {"n1": ndtr(d1), "n2": ndtr(d2)}
    return numexpr.evaluate("s * n1 - k * exp(-r * t) * n2", names)  # type: ignore[no-any-return]


ARMS: Mapping[str, Arm] = {
    "kernel": lambda data: kernel.call_price(*data.arguments),
    "kernel out=": lambda data: kernel.call_price(*data.arguments, out=data.out),
    "numpy": lambda data: workloads.numpy_call_price(*data.arguments),
    "numpy in place": lambda data: workloads.numpy_call_price_inplace(
        *data.arguments, data.out, data.scratch
    ),
    "numba": lambda data: numba_new(data.arguments),
    "numba out=": lambda data: numba_into(*data.arguments, data.out),
    "numexpr + scipy": lambda data: numexpr_scipy(*data.arguments),
    "plain kernel": lambda data: kernel.call_price_plain(*data.arguments),
}


def data_sets(n: int) -> list[Data]:
    """Data sets that together exceed what a branch predictor remembers."""
    count = min(max(400_000 // n, 2), 200)
    scratch = (np.empty(n), np.empty(n), np.empty(n))
    out = np.empty(n)
    return [
        Data(arguments=workloads.arrays(n, seed), out=out, scratch=scratch) for seed in range(count)
    ]


def require_equal(arms: Mapping[str, Arm], data: Data) -> None:
    """Stop when an arm does not compute what NumPy computes."""
    expected = workloads.numpy_call_price(*data.arguments)
    for name, arm in arms.items():
        np.testing.assert_allclose(arm(data), expected, rtol=1e-9, atol=1e-10, err_msg=name)


def measure(
    arms: Mapping[str, Arm], sets: Sequence[Data], rounds: int, rng: random.Random
) -> dict[str, Times]:
    """Time every arm once per round, in random order, on data sets in turn.

    Before its turn an arm gets a pause, in which the threads of the arm before stop spinning, and
    one call that does not count, which wakes its own; `idle_pool.py` is about calls without that.
    """
    n = len(sets[0].arguments[0])
    calls = max(1, round(SECONDS_PER_TURN / (n * 4e-9)))
    times = {name: Times() for name in arms}
    turn = 0
    for _ in range(rounds):
        for name in rng.sample(list(arms), len(arms)):
            arm = arms[name]
            chosen = [sets[(turn + i) % len(sets)] for i in range(calls)]
            turn += calls
            time.sleep(PAUSE)
            if n < SIZES["1M"]:
                arm(chosen[-1])
            begin = time.perf_counter()
            for data in chosen:
                arm(data)
            times[name].rounds.append((time.perf_counter() - begin) / (calls * n))
    return times


def ratio(slow: Times, fast: Times) -> float:
    """Median over the rounds of how many times faster the second arm is."""
    return statistics.median(a / b for a, b in zip(slow.rounds, fast.rounds, strict=True))


class Idleness:
    """How much of the machine other programs used since this was made."""

    def __init__(self) -> None:
        self._begin = (time.perf_counter(), self._all_busy(), self._own())

    @staticmethod
    def _all_busy() -> float:
        ticks = [int(word) for word in Path("/proc/stat").read_text().split()[1:9]]
        user, nice, system, _idle, _wait, irq, softirq, steal = ticks
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def _own() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(each.ru_utime + each.ru_stime for each in used)

    def others_share(self) -> float:
        """Share of all cores' time."""
        begin, busy, own = self._begin
        capacity = (time.perf_counter() - begin) * (os.cpu_count() or 1)
        return (self._all_busy() - busy - (self._own() - own)) / capacity


def machine_bound() -> dict[str, float]:
    """The machine's own bounds, from the kernel crate's example."""
    done = subprocess.run(
        [
            *("cargo", "run", "--quiet", "--release", "--package", "perfkit-kernel"),
            *("--example", "machine_bound"),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    bounds: dict[str, float] = json.loads(done.stdout)
    return bounds


def one_core() -> int:
    """Print seconds per option at 10k on one core by instruction set, and NumPy's; as JSON."""

    def on_path(path: str) -> Arm:
        def price(data: Data) -> object:
            kernel.set_path(path)
            return kernel.call_price(*data.arguments, out=data.out)

        return price

    arms: dict[str, Arm] = {path: on_path(path) for path in kernel.paths()}
    arms["numpy"] = ARMS["numpy"]
    sets = data_sets(SIZES["10k"])
    require_equal(arms, sets[0])
    times = measure(arms, sets, 40, random.Random(1))
    figures = {name: {"median": t.median, "least": min(t.rounds)} for name, t in times.items()}
    figures["portable ratio"] = {"median": ratio(times["numpy"], times["portable"])}
    sys.stdout.write(json.dumps(figures))
    return 0


class Judge:
    """Prints lines, and remembers the limits that were missed."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def say(self, text: str) -> None:
        """Print one line."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def hold(self, what: str, value: float, limit: float, *, most: bool = False) -> str:
        """Compare with a limit, remember a miss, and return the mark to print."""
        if (value <= limit) if most else (value >= limit):
            return ""
        self.missed.append(f"{what}: {value:.3g}, limit {limit:.3g}")
        return "!"


def compare_size(judge: Judge, label: str, rounds: int, rng: random.Random) -> None:
    """Measure one size and print its table."""
    sets = data_sets(SIZES[label])
    require_equal(ARMS, sets[0])
    times = measure(ARMS, sets, rounds, rng)
    numba_best = min((times["numba"], times["numba out="]), key=lambda arm: arm.median)
    judge.say(f"\n{label}: ns per option, and how many times the kernel's (new output | out=)")
    for name, arm in times.items():
        new, into = ratio(arm, times["kernel"]), ratio(arm, times["kernel out="])
        judge.say(f"  {name:16} {arm.median * 1e9:8.2f}   {new:6.2f} | {into:6.2f}")
    least_new, least_into, least_numba = LIMITS[label]
    numpy_new = ratio(times["numpy"], times["kernel"])
    numpy_into = ratio(times["numpy"], times["kernel out="])
    numba_into_ratio = ratio(numba_best, times["kernel out="])
    marks = (
        f"  limits: numpy {numpy_new:.1f} of {least_new:g}"
        f"{judge.hold(f'{label} numpy', numpy_new, least_new)}, "
        f"numpy to out= {numpy_into:.1f} of {least_into:g}"
        f"{judge.hold(f'{label} numpy to out=', numpy_into, least_into)}, "
        f"best numba to out= {numba_into_ratio:.1f} of {least_numba:g}"
        f"{judge.hold(f'{label} numba', numba_into_ratio, least_numba)}"
    )
    judge.say(marks)


def compare_bound(judge: Judge, rounds_10m: Times | None) -> None:
    """Print the fraction of the machine's own bounds that is reached."""
    before = machine_bound()
    environment = {**os.environ, "RAYON_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, "--one-core"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    core = json.loads(done.stdout)
    after = machine_bound()
    judge.say("\none core, 10k, out=, whole Python call: ns per option (median | least)")
    for name, figures in core.items():
        if name != "portable ratio":
            judge.say(f"  {name:16} {figures['median'] * 1e9:6.2f} | {figures['least'] * 1e9:6.2f}")
    portable = core["portable ratio"]["median"]
    mark = judge.hold("portable path", portable, PORTABLE_LIMIT)
    judge.say(f"  portable path: {portable:.2f} times numpy{mark}")
    for key, what in (
        ("fma_ports_per_option_s", "FMA ports, products alone"),
        ("fma_and_divider_per_option_s", "FMA ports with the divider's share"),
    ):
        if key in before and "avx512" in core:
            bound = min(before[key], after[key])
            reached = bound / core["avx512"]["least"]  # the bound is a least too
            mark = ""
            if key == "fma_and_divider_per_option_s":
                mark = judge.hold("share of the FMA bound", reached, BOUND_LIMIT)
            judge.say(f"  {what}: bound {bound * 1e9:.2f} ns, reached {reached:.0%}{mark}")
    if rounds_10m is not None:
        stream = min(
            before["stream_all_threads_per_option_s"], after["stream_all_threads_per_option_s"]
        )
        share = stream / rounds_10m.median
        judge.say(
            f"\n10M, out=: memory stream of all threads {stream * 1e9:.2f} ns per option, "
            f"reached {share:.0%}"
        )


def compare_boundary(judge: Judge, rng: random.Random) -> None:
    """Print the boundary's share of a 10k call: the twin converts, releases, and prices nothing."""
    calls = [(data.arguments, data.out) for data in data_sets(SIZES["10k"])] * 5
    seconds: dict[str, list[float]] = {"call": [], "twin": []}
    functions = {"call": kernel.call_price, "twin": kernel.call_price_twin}
    for _ in range(40):
        for name in rng.sample(list(functions), 2):
            function = functions[name]
            begin = time.perf_counter()
            for arguments, out in calls:
                function(*arguments, out=out)
            seconds[name].append((time.perf_counter() - begin) / len(calls))
    call, twin = statistics.median(seconds["call"]), statistics.median(seconds["twin"])
    mark = judge.hold("FFI share at 10k", twin / call, FFI_LIMIT, most=True)
    judge.say(
        f"\nFFI at 10k, by the twin with out=: {twin * 1e9:.0f} ns of {call * 1e6:.1f} us, "
        f"{twin / call:.2%} of the call{mark}"
    )


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one-core", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and no 10M")
    arguments = parser.parse_args()
    if arguments.one_core:
        return one_core()
    judge = Judge()
    rng = random.Random(7)
    judge.say(f"kernel {kernel.__version__}, path {kernel.path()}, {os.cpu_count()} cores")
    machine_bound()  # builds it before the clock runs
    idleness = Idleness()
    for label in SIZES:
        if not (arguments.quick and label == "10M"):
            rounds = {"10M": 5, "1M": 15}.get(label, 12 if arguments.quick else 30)
            compare_size(judge, label, rounds, rng)
    compare_boundary(judge, rng)
    into_10m = None
    if not arguments.quick:
        arms = {"kernel out=": ARMS["kernel out="]}
        into_10m = measure(arms, data_sets(SIZES["10M"]), 7, rng)["kernel out="]
    compare_bound(judge, into_10m)
    others = idleness.others_share()
    # Clearly below zero, the two clocks disagree, and nothing is known.
    idle = -BUSY_LIMIT <= others <= BUSY_LIMIT
    state = "idle" if idle else "NOT known to be idle"
    judge.say(f"\nThe machine was {state}: other programs used {others:.1%} of its cores' time.")
    for miss in judge.missed:
        judge.say(f"missed: {miss}")
    if not idle:
        return 4
    return 3 if judge.missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Compare the bundled kernel with what Python users have: one run, interleaved, on rotating data.

Every round times every arm once, in random order, each on the next of several data sets (on one
small set the branch predictor learns `ndtr` by heart). It prints nanoseconds per option and the
ratio to this kernel, as medians over the rounds; each ratio is taken within a round. Each size runs
in a separate process, and ten million in several, because the place where an allocator puts such
arrays stays the same for the life of a process. All arms must agree before anything is timed. The
run says how much of the machine other programs used, and so whether it was idle.

Exits with 0 if every limit is met, 3 if one is missed, and 4 if the run cannot tell: the machine
was not idle or has no AVX-512, or `--quick` left something out. Needs numba, numexpr, cargo and the
kernel's wheel.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
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
from judging import Judge
from scipy.special import ndtr

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Arm = Callable[["Data"], object]

ROOT = Path(__file__).resolve().parents[1]
SIZES = {"1k": 1_000, "10k": 10_000, "100k": 100_000, "1M": 1_000_000, "10M": 10_000_000}
# Minimum ratios to this kernel: NumPy + ndtr (new output, out=), and the best numba (out=).
LIMITS = {
    "1k": (6.0, 6.0, 4.0),
    "10k": (8.0, 8.0, 4.5),
    "100k": (15.0, 20.0, 9.0),
    "1M": (15.0, 19.0, 9.0),
    "10M": (13.0, 17.0, 8.0),
}
AIMS = {"1k": 9.0, "10k": 13.0, "100k": 25.0, "1M": 23.0, "10M": 22.0}  # against NumPy + ndtr
# Share of the bound by the FMA ports and the divider together, one core, 10k, AVX-512.
BOUND_LIMIT, BOUND_AIM = 0.75, 0.85
PORTABLE_LIMIT = 2.0  # times NumPy + ndtr, one core, 10k
FFI_LIMIT, FFI_AIM = 0.02, 0.01  # of a 10k call
PROCESSES = {"10M": 3}  # processes that share the rounds of a size; one if not listed
CORE_PROCESSES = 5  # on one core: a process's speed depends on where its arrays are
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
    """Seconds per option of one arm, one value per round."""

    rounds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.rounds)


def price_in_numba(spot: Any, strike: Any, time: Any, rate: Any, volatility: Any, out: Any) -> Any:  # noqa: ANN401
    """Price calls, `erfc` per option; without threads, numba treats `prange` as `range`."""
    scale = math.sqrt(0.5)
    for i in numba.prange(spot.size):
        deviation = volatility[i] * math.sqrt(time[i])
        d1 = math.log(spot[i] / strike[i]) + (rate + 0.5 * volatility[i] ** 2) * time[i]
        d1 /= deviation
        d2 = d1 - deviation
        discounted = strike[i] * math.exp(-rate * time[i])
        out[i] = 0.5 * (spot[i] * math.erfc(-d1 * scale) - discounted * math.erfc(-d2 * scale))
    return out


numba_into = numba.njit(price_in_numba, parallel=True, fastmath=True)
numba_alone = numba.njit(price_in_numba, fastmath=True)


def numba_new(arguments: Sequence[Any]) -> Floats:
    """Price calls with numba into a new array."""
    return numba_into(*arguments, np.empty_like(arguments[0]))  # type: ignore[no-any-return]


def numexpr_scipy(
    spot: Floats, strike: Floats, time: Floats, rate: float, volatility: Floats
) -> Floats:
    """Price calls with numexpr, which has no distribution function: that one is SciPy's."""
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
    "numba 1 thread": lambda data: numba_alone(*data.arguments, data.out),
    "numexpr + scipy": lambda data: numexpr_scipy(*data.arguments),
    "plain kernel": lambda data: kernel.call_price_plain(*data.arguments),
}


def data_sets(n: int) -> list[Data]:
    """Data sets, together larger than what a branch predictor remembers."""
    count = min(max(400_000 // n, 2), 200)
    scratch = (np.empty(n), np.empty(n), np.empty(n))
    out = np.empty(n)
    return [
        Data(arguments=workloads.arrays(n, seed), out=out, scratch=scratch) for seed in range(count)
    ]


def require_equal(arms: Mapping[str, Arm], data: Data) -> None:
    """Stop if an arm does not compute what NumPy computes."""
    expected = workloads.numpy_call_price(*data.arguments)
    for name, arm in arms.items():
        np.testing.assert_allclose(arm(data), expected, rtol=1e-9, atol=1e-10, err_msg=name)


def measure(
    arms: Mapping[str, Arm],
    sets: Sequence[Data],
    rounds: int,
    rng: random.Random,
    pause: float = PAUSE,
    before_turn: Callable[[str], object] = lambda _: None,
) -> dict[str, Times]:
    """Time every arm once per round, in random order, on data sets in turn.

    Before each turn, `before_turn` is called with the arm's name. Then there is a pause, in which
    the previous arm's threads stop spinning, and one untimed call that wakes the arm's own threads.
    `idle_pool.py` measures calls without that.
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
            before_turn(name)
            if pause:
                time.sleep(pause)
            if n < SIZES["1M"]:
                arm(chosen[-1])
            begin = time.perf_counter()
            for data in chosen:
                arm(data)
            times[name].rounds.append((time.perf_counter() - begin) / (calls * n))
    return times


def ratio(slow: Times, fast: Times) -> float:
    """How many times faster the second arm is, as the median over the rounds."""
    return statistics.median(a / b for a, b in zip(slow.rounds, fast.rounds, strict=True))


def measure_size(label: str, rounds: int, seed: int) -> dict[str, list[float]]:
    """Seconds per option of every arm at a size, one value per round."""
    sets = data_sets(SIZES[label])
    require_equal(ARMS, sets[0])
    times = measure(ARMS, sets, rounds, random.Random(seed))
    return {name: each.rounds for name, each in times.items()}


def measure_apart(label: str, rounds: int) -> dict[str, Times]:
    """The same in separate processes, with their rounds combined."""
    together = {name: Times() for name in ARMS}
    processes = PROCESSES.get(label, 1)
    for seed in range(processes):
        child = run_self("--size", label, str(-(-rounds // processes)), str(seed))
        for name, seconds in child.items():
            together[name].rounds += seconds
    return together


def run_self(*arguments: str, threads: int = 0) -> dict[str, Any]:
    """Run this file with so many Rayon threads (0: one per core); return the JSON it prints."""
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        env={**os.environ, "RAYON_NUM_THREADS": str(threads)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def build_machine_bound() -> None:
    """Build the kernel crate's example before anything is timed."""
    cargo = ("cargo", "build", "--quiet", "--release", "--target-dir", "target")
    example = ("--package", "perfkit-kernel", "--example", "machine_bound")
    subprocess.run([*cargo, *example], cwd=ROOT, check=True)


def machine_bound(*options: str) -> dict[str, float]:
    """The machine's bounds from that example, in seconds per option."""
    example = ROOT / "target" / "release" / "examples" / "machine_bound"
    done = subprocess.run([example, *options], check=True, capture_output=True, text=True)
    bounds: dict[str, float] = json.loads(done.stdout)
    return bounds


def one_core() -> dict[str, Any]:
    """Seconds per option at 10k on one core, for each instruction set and for NumPy.

    The best path is also timed alone, for its share of the machine's bound: other arms would take
    the caches in between, and the bound's loop needs none. There are no pauses, because there are
    no threads to wait for and the bound's loop does not pause either. The path is chosen outside
    the timed calls, so that they do not pay for it.
    """
    paths = kernel.paths()
    arms: dict[str, Arm] = {path: ARMS["kernel out="] for path in paths}
    arms["numpy"] = ARMS["numpy"]

    def choose(name: str) -> None:
        if name in paths:
            kernel.set_path(name)

    sets = data_sets(SIZES["10k"])
    for path in paths:
        kernel.set_path(path)
        require_equal({path: arms[path]}, sets[0])
    rng = random.Random(1)
    best = {paths[0]: arms[paths[0]]}
    alone = measure(best, sets, 40, rng, pause=0.0, before_turn=choose)[paths[0]]
    times = measure(arms, sets, 40, rng, pause=0.0, before_turn=choose)
    return {
        "medians": {name: each.median for name, each in times.items()},
        "alone": {paths[0]: alone.median},
        "portable_ratio": ratio(times["numpy"], times["portable"]),
    }


def compare_size(judge: Judge, label: str, rounds: int) -> Times:
    """Measure one size, print its table, and return the times of `kernel out=`."""
    times = measure_apart(label, rounds)
    numba_arms = ("numba", "numba out=", "numba 1 thread")
    numba_best = min((times[name] for name in numba_arms), key=lambda arm: arm.median)
    judge.say(f"\n{label}: ns per option, and its ratio to the kernel (new output | out=)")
    for name, arm in times.items():
        new, into = ratio(arm, times["kernel"]), ratio(arm, times["kernel out="])
        judge.say(f"  {name:16} {arm.median * 1e9:8.2f}   {new:6.2f} | {into:6.2f}")
    least_new, least_into, least_numba = LIMITS[label]
    aim = f", aim {AIMS[label]:g}"
    for what, slow, fast, least, wish in (
        ("numpy / kernel", times["numpy"], times["kernel"], least_new, aim),
        ("numpy / kernel out=", times["numpy"], times["kernel out="], least_into, aim),
        ("best numba / kernel out=", numba_best, times["kernel out="], least_numba, ""),
    ):
        value = ratio(slow, fast)
        mark = judge.hold(f"{label} {what}", value, least)
        judge.say(f"  {what}: {value:.1f}, limit {least:g}{wish}{mark}")
    return times["kernel out="]


def compare_bound(judge: Judge, into_10m: Times | None) -> None:
    """Print the share of the machine's bounds that the kernel reaches, as medians over processes.

    The bounds are measured before and after each process, because the processor's clock drifts.
    """
    bounds = [machine_bound("--quick")]
    cores = []
    for _ in range(CORE_PROCESSES):
        cores.append(run_self("--one-core", threads=1))
        bounds.append(machine_bound("--quick"))
    judge.say(
        f"\none core, 10k, out=, whole Python call: ns per option, median of {CORE_PROCESSES} "
        "processes (least to most)"
    )
    for name in cores[0]["medians"]:
        each = sorted(core["medians"][name] * 1e9 for core in cores)
        judge.say(f"  {name:16} {statistics.median(each):6.2f} ({each[0]:.2f} to {each[-1]:.2f})")
    portable = statistics.median(core["portable_ratio"] for core in cores)
    mark = judge.hold("portable path", portable, PORTABLE_LIMIT)
    judge.say(f"  portable path: {portable:.2f} times numpy, limit {PORTABLE_LIMIT:g}{mark}")
    if "avx512" not in cores[0]["alone"]:
        judge.leave_open("share of the FMA bound: this processor has no AVX-512")
    else:
        for bound, beside in (
            ("fma_ports", "alone"),
            ("fma_and_divider", "medians"),
            ("fma_and_divider", "alone"),
        ):
            around = [each[f"{bound}_per_option_s"] for each in bounds]
            shares = sorted(
                (before + after) / 2 / core[beside]["avx512"]
                for before, after, core in zip(around, around[1:], cores, strict=False)
            )
            share, said = statistics.median(shares), ""
            if (bound, beside) == ("fma_and_divider", "alone"):
                mark = judge.hold("share of the FMA and divider bound", share, BOUND_LIMIT)
                said = f", limit {BOUND_LIMIT:.0%}, aim {BOUND_AIM:.0%}{mark}"
            ports = "FMA ports" if bound == "fma_ports" else "FMA ports and the divider"
            company = "alone" if beside == "alone" else "next to the other arms"
            judge.say(
                f"  avx512 {company}: {share:.1%} ({shares[0]:.1%} to {shares[-1]:.1%}) of the "
                f"bound by the {ports}, {statistics.median(around) * 1e9:.2f} ns{said}"
            )
    if into_10m is not None:
        stream = machine_bound()["stream_all_threads_per_option_s"]
        judge.say(
            f"\n10M, out=: memory stream of all threads {stream * 1e9:.2f} ns per option, "
            f"kernel reaches {stream / into_10m.median:.0%}"
        )


def compare_boundary(judge: Judge, rng: random.Random) -> None:
    """Print the boundary's share of a 10k call, by the twin, which does all but the pricing."""
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
        f"{twin / call:.2%} of the call, limit {FFI_LIMIT:.0%}, aim {FFI_AIM:.0%}{mark}"
    )


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one-core", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--size", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument(
        "--quick", action="store_true", help="fewer rounds, and no 10M; exits with 4"
    )
    arguments = parser.parse_args()
    if arguments.one_core:
        sys.stdout.write(json.dumps(one_core()))
        return 0
    if arguments.size:
        label, rounds, seed = arguments.size
        sys.stdout.write(json.dumps(measure_size(label, int(rounds), int(seed))))
        return 0
    build_machine_bound()
    judge = Judge()
    judge.say(f"kernel {kernel.__version__}, path {kernel.path()}, {os.cpu_count()} cores")
    into_10m = None
    for label in SIZES:
        if label == "10M" and arguments.quick:
            judge.leave_open("10M: left out by --quick")
            continue
        rounds = {"10M": 6, "1M": 15}.get(label, 12 if arguments.quick else 30)
        times = compare_size(judge, label, rounds)
        into_10m = times if label == "10M" else None
    compare_boundary(judge, random.Random(7))
    compare_bound(judge, into_10m)
    return judge.verdict()


if __name__ == "__main__":
    sys.exit(main())

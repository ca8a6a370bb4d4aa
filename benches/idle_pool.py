"""What a sleeping thread pool costs a call of the fast kernel, which no loop of calls shows.

Prints microseconds per call (least, median) on one thread and on all, back to back and with a
pause before each call in which the pool falls asleep. The two are separate processes, run in turn,
because the size of the pool is fixed when it starts. `FAST_PARALLEL_THRESHOLD` belongs where all
threads, after a pause, are not more than a tenth slower than one.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np
import perfkit_kernel as kernel
import workloads

THRESHOLD = kernel.parameters()["FAST_PARALLEL_THRESHOLD"]
SIZES = (THRESHOLD, 2 * THRESHOLD, 4 * THRESHOLD, 10 * THRESHOLD)
PAUSES = (0.0, 400e-6)
CALLS = 400
TURNS = 3


def time_calls() -> dict[str, list[float]]:
    """Seconds of each call, by size and pause."""
    seconds: dict[str, list[float]] = {}
    for n in SIZES:
        sets = [workloads.arrays(n, seed) for seed in range(4)]
        out = np.empty(n)
        for pause in PAUSES:
            times = seconds.setdefault(f"{n} after {pause * 1e6:.0f} us", [])
            for call in range(CALLS):
                resume = time.perf_counter() + pause
                while time.perf_counter() < resume:
                    pass
                begin = time.perf_counter()
                kernel.call_price(*sets[call % len(sets)], out=out)
                times.append(time.perf_counter() - begin)
    return seconds


def main() -> int:
    """Run one thread and all in turn, and print both."""
    if sys.argv[1:] == ["--child"]:
        sys.stdout.write(json.dumps(time_calls()))
        return 0
    everything: dict[str, dict[str, list[float]]] = {"1": {}, "0": {}}  # 0: as many as cores
    for _ in range(TURNS):
        for threads, collected in everything.items():
            done = subprocess.run(
                [sys.executable, __file__, "--child"],
                env={**os.environ, "RAYON_NUM_THREADS": threads},
                check=True,
                capture_output=True,
                text=True,
            )
            for name, times in json.loads(done.stdout).items():
                collected.setdefault(name, []).extend(times)
    sys.stdout.write("us per call, least | median: one thread, all threads, ratio of medians\n")
    for name, one in everything["1"].items():
        many = everything["0"][name]
        middle_one, middle_many = statistics.median(one), statistics.median(many)
        sys.stdout.write(
            f"{name:22} {min(one) * 1e6:7.1f} | {middle_one * 1e6:7.1f}   "
            f"{min(many) * 1e6:7.1f} | {middle_many * 1e6:7.1f}   {middle_many / middle_one:.2f}\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

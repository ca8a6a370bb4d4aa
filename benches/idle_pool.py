"""What a thread pool, asleep or awake, costs a call of the fast kernel compared with one thread.

Prints microseconds per call on one thread and on all: back to back, after 400 us in which the
caller computes and the pool falls asleep, and after 2 ms in which the caller sleeps too. The
promise is that all threads are never more than a tenth slower than one, at any size. Both run in
separate processes, in turn and in random order, because the size of the pool is fixed when it
starts. A ratio is between medians within a turn; the verdict uses the median over the turns with
its interval. `FAST_PARALLEL_THRESHOLD` must be high enough for this to hold.

Exits with 0 if the promise is kept, 3 if it is broken, and 4 if it cannot tell because the machine
was not idle enough or the interval is too wide.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time

import numpy as np
import perfkit_kernel as kernel
import workloads
from judging import Judge

from perfkit.measure.statistics import rank_interval

LIMIT = 1.10
THRESHOLD = kernel.parameters()["FAST_PARALLEL_THRESHOLD"]
SIZES = sorted({THRESHOLD, THRESHOLD + 1, 20_000, 24_000, 32_000, 64_000, 100_000, 1_000_000})
PAUSES = {"back to back": 0.0, "after 400 us": 400e-6, "after 2 ms asleep": 2e-3}
CALLS = 60
TURNS = 31
ONE, ALL = "1", "0"  # Rayon's threads; 0 means one per core


def wait(pause: float) -> None:
    """Compute for a short pause, sleep for a long one."""
    if pause >= 1e-3:
        time.sleep(pause)
        return
    resume = time.perf_counter() + pause
    while time.perf_counter() < resume:
        pass


def time_calls() -> dict[str, float]:
    """Median seconds of a call, by size and pause."""
    seconds: dict[str, float] = {}
    for n in SIZES:
        sets = [workloads.arrays(n, seed) for seed in range(2)]
        out = np.empty(n)
        for name, pause in PAUSES.items():
            times = []
            for call in range(CALLS):
                wait(pause)
                begin = time.perf_counter()
                kernel.call_price(*sets[call % len(sets)], out=out)
                times.append(time.perf_counter() - begin)
            seconds[f"{n:9,} {name}"] = statistics.median(times)
    return seconds


def time_apart(threads: str) -> dict[str, float]:
    """The same in a separate process with a pool of that many threads."""
    done = subprocess.run(
        [sys.executable, __file__, "--child"],
        env={**os.environ, "RAYON_NUM_THREADS": threads},
        check=True,
        capture_output=True,
        text=True,
    )
    seconds: dict[str, float] = json.loads(done.stdout)
    return seconds


def main() -> int:
    """Run one thread and all in turn, print both, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    if parser.parse_args().child:
        sys.stdout.write(json.dumps(time_calls()))
        return 0
    judge = Judge()
    judge.say(f"path {kernel.path()}, {os.cpu_count()} cores, threshold {THRESHOLD:,}")
    rng = random.Random(7)
    turns = []
    for _ in range(TURNS):
        both = rng.sample((ONE, ALL), 2)
        turns.append({threads: time_apart(threads) for threads in both})
    judge.say("us per call: one thread, all threads, ratio (interval of the median)")
    for name in turns[0][ONE]:
        one, many = (statistics.median(turn[x][name] for turn in turns) for x in (ONE, ALL))
        found = rank_interval([turn[ALL][name] / turn[ONE][name] for turn in turns])
        shown = f"{found.estimate:.3f} ({found.low:.3f} to {found.high:.3f})"
        if found.low <= LIMIT < found.high:
            mark = judge.leave_open(f"{name.strip()}: {shown} spans the limit {LIMIT:g}")
        else:
            mark = judge.hold(name.strip(), found.estimate, LIMIT, most=True)
        judge.say(f"{name:28} {one * 1e6:8.1f} {many * 1e6:8.1f}   {shown}{mark}")
    return judge.verdict()


if __name__ == "__main__":
    sys.exit(main())

"""Measure again, on this machine, the data behind the rules of measuring (docs/measuring.md).

    python tests/truth/conditions.py sentinels     what sentinels see next to busy programs
    python tests/truth/conditions.py processes     how much equal processes of the kernel differ

Each line is one condition. Nothing here is part of perfkit.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import known_lab
from table_rows import hog

from perfkit import environment, store
from perfkit.config import Measure, load_project
from perfkit.measure import sentinels, session
from perfkit.measure.variants import COPY, SUBJECT, variants_for
from perfkit.subject import child
from perfkit.subject.builder import Builder
from perfkit.subject.child import worker
from perfkit.subject.job import job_for

LOOKS = 100
BETWEEN_S = 0.04
PAIRS = 8
SHUFFLE = "        self._shuffle_heap()\n        if pattern"


def run_delay_s(pid: int) -> float:
    """Seconds that the threads of a process were ready to run but did not run (Linux)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text(encoding="ascii").split()[1])
    return total * 1e-9


def look(hogs: int) -> str:
    """Sentinels every 40 ms of one busy thread, next to that many busy programs."""
    threads = environment.worker_threads(0)
    plain = dataclasses.replace(known_lab.spec(), arguments={})
    readings, delays = [], []
    with hog(hogs), worker(plain) as one:
        load = sentinels.ForeignLoad([os.getpid(), one.pid])
        for _ in range(LOOKS):
            end = time.perf_counter() + BETWEEN_S
            while time.perf_counter() < end:
                pass
            begin, delay_s = time.perf_counter(), run_delay_s(one.pid)
            one_s, all_s = one.sentinels(threads)
            delays.append((run_delay_s(one.pid) - delay_s) / (time.perf_counter() - begin))
            readings.append(
                sentinels.Look(
                    one_s=one_s, all_s=all_s, threads=threads, foreign_cores=load.cores()
                )
            )
    cores = np.array([reading.effective_cores for reading in readings])
    alone = np.array([reading.one_s for reading in readings])
    foreign = [r.foreign_cores for r in readings if r.foreign_cores is not None]
    gate = sentinels.Gate(threads=threads, cores=environment.usable_cores())
    usual = float(np.quantile(alone, 0.1))
    passed = [not gate.reason_against([r], usual, parallel=True) for r in readings]
    single = [not gate.reason_against([r], usual, parallel=False) for r in readings]
    return (
        f"{hogs} busy programs: effective cores at 10/50/90 % "
        f"{np.quantile(cores, [0.1, 0.5, 0.9]).round(2)}, one thread relative to its fastest tenth "
        f"{(np.quantile(alone, [0.5, 0.9]) / usual).round(2)}, at most 1.05 times it "
        f"{np.mean(alone <= 1.05 * usual):.0%}, at most 2 times {np.mean(alone <= 2 * usual):.0%}, "
        f"run delay at 50/90 % {np.quantile(delays, [0.5, 0.9]).round(3)}, below 2 % "
        f"{np.mean(np.array(delays) < 0.02):.0%}, foreign cores at 10/90 % "
        f"{np.quantile(foreign, [0.1, 0.9]).round(2)}; the gate passes {np.mean(passed):.0%} for "
        f"several threads, {np.mean(single):.0%} for one"
    )


def processes(size: int, *, shuffled: bool) -> str:
    """A/A of fresh pairs of processes, one session each: how far off a single pair can be."""
    project = load_project(start=known_lab.ROOT, environ=dict(os.environ))
    builder = Builder(project, cache=store.cache_directory(project.environ))
    name, _ = project.workload(None)
    found = []
    original = child.WORKER_FILE
    with tempfile.TemporaryDirectory() as folder:
        if not shuffled:
            source = original.read_text(encoding="utf-8")
            if SHUFFLE not in source:
                message = "worker.py no longer contains the line that this test removes"
                raise SystemExit(message)
            child.WORKER_FILE = Path(folder) / "worker.py"
            child.WORKER_FILE.write_text(source.replace(SHUFFLE, "        if pattern"))
        for seed in range(PAIRS):
            job = job_for(
                project,
                None,
                builder,
                known_lab.Nowhere(directory=known_lab.ROOT),
                threads=environment.worker_threads(0),
                settings=Measure().model_copy(
                    update={"sessions": 1, "time_limit_s": 2.0, "width": 1e-4, "patience_s": 0.0}
                ),
                seed=seed,
                gated=False,
            )
            workload = job.workload.model_copy(update={"reference": None})
            job = dataclasses.replace(job, workload=workload)
            point = session.measure(job, (size,), variants_for(job)).points[0]
            ratio = point.log_ratio(SUBJECT, COPY)
            found.append(100 * ratio.estimate)
    child.WORKER_FILE = original
    how = "results moved between batches" if shuffled else "results left where they are"
    return f"{name} at {size}, {how}: {np.round(found, 2)} %"


def main() -> None:
    """Print one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["sentinels", "processes"])
    arguments = parser.parse_args()
    if arguments.part == "sentinels":
        known_lab.build_library(dict(os.environ))
        for hogs in (0, 1, 2):
            sys.stdout.write(look(hogs) + "\n")
        return
    for size in (1_000, 10_000):
        for shuffled in (True, False):
            sys.stdout.write(processes(size, shuffled=shuffled) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()

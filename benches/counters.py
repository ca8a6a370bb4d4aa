"""What perf costs a call with its counters per thread and per CPU, side by side in one process.

    python benches/counters.py [--rate HZ] [--rounds K]

The calls are tests/subjects/spins: `mixed_200us` on one thread, and `joined_…`, which hand 60 % of
their work to two threads. Each round records once in either way, in random order; each recording
has windows with perf switched on and off. Needs the permission for counters per CPU
(`perf_event_paranoid` of 0 or less, or root). Takes about 15 s for each call and round.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import tempfile
from pathlib import Path

from perfkit.config import load_project
from perfkit.measure.statistics import rank_interval
from perfkit.profile import slowdown
from perfkit.profile.paired import PairArm
from perfkit.profile.perf_record import RecordSettings, Scope
from perfkit.profile.perf_session import Session
from perfkit.profile.profilers import request_for
from perfkit.records import Profile
from perfkit.store import create_run
from perfkit.subject.builder import Builder
from perfkit.subject.child import spec_for, worker
from perfkit.subject.job import job_for

ROOT = Path(__file__).resolve().parents[1]
CALLS = (("mixed_200us", 6020), ("joined_200us", 3050), ("joined_2000us", 1070))
"""Workloads and their sizes, which are shares of the parts here and scale nothing."""
SECONDS = 1.2


def main() -> None:
    """Print the slowdown of each call in both ways."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=int, default=997, help="samples per second")
    parser.add_argument("--rounds", type=int, default=6, help="recordings of each kind")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        subject = Path(place) / "spins"
        ignored = shutil.ignore_patterns("target", "profiles", "__pycache__")
        shutil.copytree(ROOT / "tests" / "subjects" / "spins", subject, ignore=ignored)
        project = load_project(start=subject, environ=dict(os.environ))
        cache = ROOT / "target" / "perfkit-test-cache"
        build = Builder(project, cache=cache).build(profile=Profile.PROFILING)
        run = create_run(Path(place), "profile", {})
        for name, size in CALLS:
            job = job_for(project, name, None, run, build=build)
            request = request_for(job, size, rate=options.rate, duration=SECONDS)
            blocks: dict[Scope, list[float]] = {scope: [] for scope in Scope}
            with worker(spec_for(project, build)) as running:
                session = Session(request=request, arm=PairArm(running, request), stem=name)
                for number in range(options.rounds):
                    for scope in random.Random(number).sample(list(Scope), k=len(Scope)):
                        settings = RecordSettings(rate_hz=options.rate, scope=scope)
                        data = run.path(f"raw/{name}.{scope}.data")
                        blocks[scope] += session.windows(settings, data).blocks
            for scope, found in blocks.items():
                cost = slowdown.of_logs(rank_interval(found))
                print(
                    f"{name:<14} {options.rate} Hz, counters of {scope:<7} "
                    f"{100 * cost.estimate:+5.1f} % [{100 * cost.low:+.1f}, {100 * cost.high:+.1f}]"
                    f"  {len(found)} blocks",
                    flush=True,
                )


if __name__ == "__main__":
    main()

"""Whether the slowdown that perfkit states for perf covers the independently timed one.

    python benches/slowdown_coverage.py [--cases K] [--journal FILE]

A case is one stated interval, measured as `perfkit profile` does it: perf attached, its events
switched on and off. The true slowdown comes from separate blocks in two equal processes. perf is
attached to one and *absent* from the other, then the other way round, so that the difference
between the processes cancels. Cases differ in rate, call length and threads. Each case is appended
to the journal, and a run resumes where an earlier one ended; delete the file to start over.

Exits with 3 if fewer than 93 % of the intervals cover the true slowdown.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scipy import stats

from perfkit.config import load_project
from perfkit.profile import perf_record, slowdown
from perfkit.profile.paired import PairArm
from perfkit.profile.perf_record import RecordSettings
from perfkit.profile.perf_session import Session
from perfkit.profile.request import CaptureRequest
from perfkit.records import Profile
from perfkit.stacks.intervals import wilson
from perfkit.store import create_run
from perfkit.subject.builder import Builder
from perfkit.subject.child import spec_for, worker
from perfkit.subject.job import job_for

if TYPE_CHECKING:
    from perfkit.config import Project
    from perfkit.records import Build

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 0.93
CASES = 104
DURATION_S = 0.7
"""Duration of a stated measurement, which may take up to twice as long to become narrow enough."""
TRUTH_WINDOW_S = 0.04
TRUTH_BLOCKS = 7  # each way, for each case; all cases of a kind together give its true slowdown
RATES = (251, 997)
CALLS = (("alone", 40_000), ("alone", 1_250_000), ("alone", 12_500_000), ("pool", 12_500_000))
"""Workloads and their turns: about 5 µs, 150 µs and 1.5 ms on one thread, and on a pool of two."""
CONFIG = """\
schema_version = 1

[subject]
module = "spins"
manifest = "Cargo.toml"

[workloads.alone]
call = "cases.py:alone"
setup = "cases.py:setup"
sizes = [40_000, 1_250_000, 12_500_000]

[workloads.pool]
call = "cases.py:pool"
setup = "cases.py:setup"
sizes = [12_500_000]
"""
WORKLOADS = '''\
"""Calls of `n` turns of a spin."""

import spins


def setup(n: int, seed: int = 0) -> tuple[int]:
    return (n,)


def alone(n: int) -> int:
    return spins.call(0, n)


def pool(n: int) -> int:
    return spins.shared(0, 0, n, n)
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """The conditions of a case."""

    workload: str
    size: int
    rate_hz: int

    @property
    def name(self) -> str:
        """The name used in the journal."""
        return f"{self.workload} {self.size} at {self.rate_hz} Hz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One stated interval with its part of the true slowdown, as ln(profiled / bare)."""

    kind: str
    truth: float
    low: float
    estimate: float
    high: float


KINDS = [Kind(workload=w, size=n, rate_hz=rate) for rate in RATES for w, n in CALLS]


def subject() -> Project:
    """The tests' spins subject, with calls of other lengths."""
    place = ROOT / "target" / "slowdown-coverage-subject"
    shutil.rmtree(place, ignore_errors=True)
    ignored = shutil.ignore_patterns("target", "profiles", "__pycache__", "workloads.py")
    shutil.copytree(ROOT / "tests" / "subjects" / "spins", place, ignore=ignored)
    (place / "perfkit.toml").write_text(CONFIG, encoding="utf-8")
    (place / "cases.py").write_text(WORKLOADS, encoding="utf-8")
    subprocess.run(["git", "init", "--quiet"], cwd=place, check=True)
    return load_project(start=place, environ=dict(os.environ))


def true_ratio(
    arms: tuple[PairArm, PairArm], settings: RecordSettings, data: Path, environ: dict[str, str]
) -> float:
    """ln(profiled / bare), averaged over both ways round; the bare process has no perf."""
    ways: list[float] = []
    for on, bare in (arms, arms[::-1]):
        ratios = []
        with perf_record.attached(on.running.pid, settings, data, environ) as recorder:
            recorder.enable()
            for order in itertools.islice(slowdown.orders(len(ways)), TRUTH_BLOCKS):
                block = [(way, (on if way else bare).loop(TRUTH_WINDOW_S)) for way in order]
                ratios.append(slowdown.log_ratio(block))
            recorder.disable()
            recorder.finish()
        ways.append(statistics.median(ratios))
    return statistics.fmean(ways)


def take(project: Project, build: Build, kind: Kind, cases: int, journal: Path) -> None:
    """Measure cases of one kind, each with its part of the true slowdown."""
    settings = RecordSettings(rate_hz=kind.rate_hz)
    with tempfile.TemporaryDirectory(prefix="perfkit-bench-") as folder:
        run = create_run(Path(folder), "profile", {})
        job = job_for(
            project, kind.workload, Builder(project, cache=Path(folder)), run, build=build
        )
        request = CaptureRequest(
            job=job, size=kind.size, rate_hz=kind.rate_hz, duration_s=DURATION_S
        )
        spec = spec_for(project, build)
        with worker(spec) as first, worker(spec) as second:
            arms = (PairArm(first, request), PairArm(second, request))
            session = Session(request=request, arm=arms[0], stem="case")
            data = run.path("raw/truth.data")
            for _ in range(cases):
                truth = true_ratio(arms, settings, data, session.environ)
                stated = session.windows(settings, give_up=False).slowdown
                assert stated is not None
                case = Case(kind=kind.name, truth=truth, **dataclasses.asdict(stated))
                with journal.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(dataclasses.asdict(case)) + "\n")


def read(journal: Path) -> dict[str, list[Case]]:
    """The cases so far, by kind. Removes a last line that a kill cut short."""
    found: dict[str, list[Case]] = {kind.name: [] for kind in KINDS}
    if journal.exists():
        text = journal.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            journal.write_text(whole, encoding="utf-8")
        for line in whole.splitlines():
            case = Case(**json.loads(line))
            found[case.kind].append(case)
    return found


def show(found: dict[str, list[Case]]) -> float:
    """Print each kind's true slowdown and how many cases cover it; return the overall share."""
    covered = total = 0
    print(f"{'case':28} {'true':>7} {'stated: middle, half width':>27} {'covered':>9}")
    for name, cases in found.items():
        if not cases:
            continue
        truth = math.expm1(stats.trim_mean([case.truth for case in cases], 0.1))
        hits = sum(case.low <= truth <= case.high for case in cases)
        middle = statistics.median(case.estimate for case in cases)
        half = statistics.median((case.high - case.low) / 2 for case in cases)
        print(
            f"{name:28} {truth:7.2%} {middle:14.2%} ± {half:9.2%} {hits:6} of {len(cases)}",
            flush=True,
        )
        covered += hits
        total += len(cases)
    share = wilson(covered, total)
    print(
        f"{covered} of {total} stated intervals cover the true slowdown: {share.estimate:.1%} "
        f"({share.low:.1%} to {share.high:.1%}); limit {LIMIT:.0%}"
    )
    return share.estimate


def main() -> int:
    """Measure what is missing, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=CASES, help="minimum number of cases in total")
    parser.add_argument("--journal", type=Path, default=ROOT / "target" / "slowdown-coverage.jsonl")
    options = parser.parse_args()
    quota = math.ceil(options.cases / len(KINDS))
    options.journal.parent.mkdir(parents=True, exist_ok=True)
    project = subject()
    cache = ROOT / "target" / "perfkit-test-cache"
    build = Builder(project, cache=cache).build(profile=Profile.PROFILING)
    for kind in KINDS:
        missing = quota - len(read(options.journal)[kind.name])
        if missing > 0:
            print(f"{kind.name}: {missing} cases", file=sys.stderr, flush=True)
            take(project, build, kind, missing, options.journal)
    return 0 if show(read(options.journal)) >= LIMIT else 3


if __name__ == "__main__":
    sys.exit(main())

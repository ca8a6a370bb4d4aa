"""How often `perfkit compare` marks a change between two captures of the same code, and how often
it finds twice the work.

    python tests/truth/compared_captures.py run --pairs 40    resumes where it stopped
    python tests/truth/compared_captures.py show              the table; exit code 1 if missed

Every pair is two perf captures of one build in two processes, one after the other, like those of
two runs of `perfkit profile`. Only rows of the same CPU model and sources are combined.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import journal
from conftest import copy_subject

from perfkit.config import Project, load_project
from perfkit.profile import compare_captures as compare
from perfkit.profile.profilers import profile
from perfkit.records import Build, Profile
from perfkit.stacks.intervals import wilson
from perfkit.store import create_run
from perfkit.subject.builder import Builder
from perfkit.subject.job import job_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.records import Capture
    from perfkit.store import Run

ROOT = Path(__file__).resolve().parents[2]
JOURNAL = Path(__file__).with_name("journals") / "compared_captures.jsonl"
CACHE = Path(os.environ.get("PERFKIT_CACHE_DIR", ROOT / "target" / "perfkit-test-cache"))
DECIDING = (
    "stacks/diff.py",
    "profile/pace.py",
    "profile/compare_captures.py",
    "profile/perf_session.py",
    "profile/quality.py",
    "subject/worker.py",
)
CALLS = (("native", 37), ("mixed_20us", 3050), ("joined_2000us", 3050))
"""Arithmetic on one thread, a share of interpreter time, and threads; each in turn."""
SLOWER = {"native": "slower"}
SECONDS = 1.5
RATE_HZ = 499
FALSE_LIMIT = 0.05


def capture(
    project: Project, build: Build, folder: Path, name: str, size: int, call: str
) -> tuple[Run, Capture]:
    """A finished run of one capture; `call` is the function that the workload calls."""
    workload = project.config.workloads[name]
    changed = workload.model_copy(update={"call": f"workloads.py:{call}"})
    workloads = {**project.config.workloads, name: changed}
    config = project.config.model_copy(update={"workloads": workloads})
    named = dataclasses.replace(project, config=config)
    run = create_run(folder, "profile", {"fingerprint": {}, "config": []})
    (found,) = profile(
        job_for(named, name, None, run, build=build),
        size,
        names=["perf"],
        rate=RATE_HZ,
        duration=SECONDS,
    )
    return run, found


def pair_row(project: Project, build: Build, number: int) -> dict[str, Any]:
    """One pair of the same code; if the call has a slower twin, also a pair that differs."""
    name, size = CALLS[number % len(CALLS)]
    own = project.config.workloads[name].call.rpartition(":")[2]
    row: dict[str, Any] = {"call": name, "size": size}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        first = capture(project, build, folder, name, size, own)
        row["same"] = compared(first, capture(project, build, folder, name, size, own))
        if name in SLOWER:
            row["slower"] = compared(
                first, capture(project, build, folder, name, size, SLOWER[name])
            )
    return row


def compared(first: tuple[Run, Capture], second: tuple[Run, Capture]) -> dict[str, Any]:
    """What the comparison reported, and the range of machine speeds it allowed for."""
    before, after = (compare.RunCapture(run=run, capture=taken) for run, taken in (first, second))
    pair = compare.CapturePair(before=before, after=after, per=compare.PER_CALL)
    (found,) = compare.compare_pairs([pair], (), before.run.id, after.run.id).captures
    return {
        "marked": [row.frame for row in found.frames if row.significant],
        "whole": found.whole.significant,
        "pace": [found.pace.low, found.pace.high],
    }


def run(pairs: int) -> None:
    place = copy_subject("spins-compared", "subjects/spins")
    project = load_project(start=place, environ=dict(os.environ))
    build = Builder(project, cache=CACHE).build(profile=Profile.PROFILING)
    for number in range(len(journal.rows_here(JOURNAL, DECIDING)), pairs):
        row = pair_row(project, build, number)
        journal.append_here(JOURNAL, DECIDING, row)
        print(f"{number + 1}/{pairs} {row['call']}: {row['same']}", flush=True)


def show() -> bool:
    """Print the table; return whether the promise is kept."""
    found = journal.rows_here(JOURNAL, DECIDING)
    if not found:
        print("no measurements yet on this CPU model with these sources")
        return False
    wrong = sum(bool(row["same"]["marked"]) for row in found)
    right = [bool(row["slower"]["marked"]) for row in found if "slower" in row]
    for text, count, total in (
        ("pairs of the same code with a marked frame", wrong, len(found)),
        ("pairs with twice the work that were found", sum(right), len(right)),
    ):
        share = wilson(count, total)
        print(f"{text}: {count} of {total} ({share.low:.1%} to {share.high:.1%})")
    return wrong <= FALSE_LIMIT * len(found)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run").add_argument("--pairs", type=int, default=40)
    commands.add_parser("show")
    asked = parser.parse_args(words)
    if asked.command == "run":
        run(asked.pairs)
    return 0 if show() else 1


if __name__ == "__main__":
    sys.exit(main())

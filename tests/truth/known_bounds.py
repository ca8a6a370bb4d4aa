"""How often the bounds of a share hold the truth, with a profiler that is made dear on purpose, and
how much wider they are than counting.

    python tests/truth/known_bounds.py run --captures 200    resumes where it stopped
    python tests/truth/known_bounds.py show                  the table; exit code 1 if missed

Each capture is of a call whose parts are timed alongside it (`known_split.py`), under one fixed
rate and kind of stack; every other set of them has counters per thread for the calls that perfkit
would count per CPU. Only rows of the same CPU model and sources are combined.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import random
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import journal
import known_split
from conftest import copy_subject

from perfkit.config import Project, load_project
from perfkit.profile.perf_record import FRAME_POINTERS, PERF, STACK_COPIES, Scope
from perfkit.profile.perf_session import Session, Settled
from perfkit.records import Build, Interval, Profile
from perfkit.stacks.intervals import wilson
from perfkit.store import create_run, to_json
from perfkit.subject.builder import Builder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).resolve().parents[2]
JOURNAL = Path(__file__).with_name("journals") / "known_bounds.jsonl"
CACHE = Path(os.environ.get("PERFKIT_CACHE_DIR", ROOT / "target" / "perfkit-test-cache"))
DECIDING = (
    "stacks/bounds.py",
    "stacks/intervals.py",
    "stacks/layers.toml",
    "profile/perf_record.py",
    "profile/perf_session.py",
    "profile/quality.py",
    "profile/slowdown.py",
)
CALLS = (
    ("mixed_5us", 3050),
    ("mixed_20us", 1070),
    ("mixed_200us", 6020),
    ("joined_200us", 3050),
    ("joined_2000us", 1070),
)
RATES = (251, 997, 2503, 4999)
GRAPHS = (FRAME_POINTERS, *STACK_COPIES[:2])
SECONDS = 0.8
COVERAGE = 0.95
CHEAP = 0.02
"""Slowdowns below which bounds must be little wider than counting."""
WIDER = 0.01
"""How much wider than counting and the slowdown's upper end they may be, in the median."""


def under(rate: int, call_graph: str) -> Callable[[Session], Settled]:
    """perf at one rate with one kind of stacks, whatever that costs."""

    def settle(session: Session) -> Settled:
        recorded = session.record((rate,), call_graph)
        return Settled(recorded=recorded, read=session.read(recorded), shift=0.0, notes=())

    return settle


def one(project: Project, build: Build, number: int) -> dict[str, Any]:
    """One capture; every combination is drawn once before any is drawn again."""
    combinations = list(itertools.product(CALLS, RATES, GRAPHS))
    turn, index = divmod(number, len(combinations))
    random.Random(turn).shuffle(combinations)
    (name, size), rate, graph = combinations[index]
    dear = dataclasses.replace(PERF, scopes=(Scope.THREADS,))
    with tempfile.TemporaryDirectory() as place:
        run = create_run(Path(place), "profile", {})
        known = known_split.asked(
            lambda: known_split.take_known(
                project,
                build,
                run,
                name,
                size,
                seconds=SECONDS,
                rate=rate,
                settle=under(rate, graph),
                tool=PERF if turn % 2 == 0 else dear,
            )
        )
    return {
        "call": name,
        "size": size,
        "rate_hz": rate,
        "stacks": graph,
        "dear": turn % 2 == 1,
        "slowdown": to_json(known.capture.slowdown),
        "doubts": to_json(known.split.doubts),
        "samples": known.capture.samples,
        "parts": {
            part: {"truth": truth, "counted": to_json(counted), "bounds": to_json(bounds)}
            for part, (truth, counted, bounds) in known_split.bounds_of(known).items()
        },
    }


def run(captures: int) -> None:
    project = load_project(
        start=copy_subject("spins-bounds", "subjects/spins"), environ=dict(os.environ)
    )
    build = Builder(project, cache=CACHE).build(profile=Profile.PROFILING)
    for number in range(len(journal.rows_here(JOURNAL, DECIDING)), captures):
        row = one(project, build, number)
        journal.append_here(JOURNAL, DECIDING, row)
        missed = [part for part, found in row["parts"].items() if not held(found)]
        print(
            f"{number + 1}/{captures} {row['call']} {row['rate_hz']} {row['stacks']}: "
            f"slowdown up to {row['doubts']['slowdown']:.1%}; outside: {missed or 'none'}",
            flush=True,
        )


def held(part: dict[str, Any]) -> bool:
    return known_split.holds(part["truth"], Interval(**part["bounds"]))


def show() -> bool:
    """Print the table; return whether both promises are kept."""
    found = journal.rows_here(JOURNAL, DECIDING)
    if not found:
        print("no measurements yet on this CPU model with these sources")
        return False
    classes = [("under 2 %", 0.0, CHEAP), ("2 to 10 %", CHEAP, 0.1), ("above 10 %", 0.1, 99.0)]
    print(f"{found[0]['cpu']}; {len(found)} captures, four parts each")
    good = True
    for name, low, high in [*classes, ("all", 0.0, 99.0)]:
        own = [row for row in found if low <= row["doubts"]["slowdown"] < high]
        parts = [part for row in own for part in row["parts"].values()]
        if not parts:
            continue
        hits = sum(map(held, parts))
        share = wilson(hits, len(parts))
        print(
            f"slowdown {name}: {len(own)} captures; bounds hold {hits} of {len(parts)} parts: "
            f"{share.estimate:.1%} [{share.low:.1%}, {share.high:.1%}]"
        )
        good = good and (name != "all" or share.estimate >= COVERAGE)
    cheap = [row for row in found if row["doubts"]["slowdown"] < CHEAP]
    wider = [
        width(part["bounds"]) - width(part["counted"]) - row["doubts"]["slowdown"]
        for row in cheap
        for part in row["parts"].values()
    ]
    if wider:
        middle = statistics.median(wider)
        print(f"slowdown under 2 %: wider than counting and the slowdown by {middle:.2%} (median)")
        good = good and middle <= WIDER
    return good


def width(interval: dict[str, float]) -> float:
    return interval["high"] - interval["low"]


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run").add_argument("--captures", type=int, default=200)
    commands.add_parser("show")
    asked = parser.parse_args(words)
    if asked.command == "run":
        run(asked.captures)
    return 0 if show() else 1


if __name__ == "__main__":
    sys.exit(main())

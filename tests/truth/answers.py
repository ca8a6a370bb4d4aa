"""How often a diagnosis answers: for every call and size, whether its largest layer is told,
bounded or unknown, and how long the first word and the whole report take.

    python tests/truth/answers.py run --rounds 1    resumes where it stopped
    python tests/truth/answers.py show              the table; exit code 1 if missed

The calls are those of tests/subjects/questions, of the bundled kernel and of
tests/subjects/workspace, each diagnosed with `--quick` from the command line, builds made. Those of
questions are asked again with perf events refused (`refused.py`). Only rows of the same CPU model
and sources are combined.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import journal
from conftest import copy_subject

from perfkit.config import load_project
from perfkit.records import Interval, Profile
from perfkit.stacks import bounds
from perfkit.subject.builder import Builder

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
JOURNAL = Path(__file__).with_name("journals") / "answers.jsonl"
CACHE = Path(os.environ.get("PERFKIT_CACHE_DIR", ROOT / "target" / "perfkit-test-cache"))
DECIDING = (
    "diagnose/collect.py",
    "diagnose/conclude.py",
    "profile/perf_session.py",
    "profile/quality.py",
    "profile/sigprof.py",
    "profile/slowdown.py",
    "stacks/bounds.py",
    "stacks/layers.toml",
)
REFUSED = "questions without perf"
KERNEL = ("call_price_plain", "call_price", "call_price_into", "call_price_list")
ANSWERED, TOLD = 0.95, 0.5


def places() -> dict[str, Path]:
    return {
        "questions": (questions := copy_subject("questions", "subjects/questions")),
        REFUSED: questions,
        "kernel": ROOT,
        "workspace": copy_subject("workspace-answers"),
    }


def asked(project: str, place: Path) -> list[str]:
    """The workloads of a project that are asked about."""
    found = load_project(start=place, environ=dict(os.environ)).config.workloads
    return list(KERNEL if project == "kernel" else found)


def diagnose(project: str, place: Path, workload: str) -> dict[str, Any]:
    """One diagnosis from the command line: when it spoke first, and what it said."""
    argv = [sys.executable, "-m", "perfkit", "diagnose", "--quick", "-w", workload]
    if project == REFUSED:
        argv = [sys.executable, str(ROOT / "tests" / "truth" / "refused.py"), *argv]
    environ = {**os.environ, "PERFKIT_CACHE_DIR": str(CACHE)}
    begin, first_s = time.perf_counter(), None
    with subprocess.Popen(
        [*argv, "--format", "json"],
        cwd=place,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        assert running.stdout is not None
        said = []
        for line in running.stderr:
            said.append(line)
            if first_s is None and "first look" in line:
                first_s = time.perf_counter() - begin
        document = running.stdout.read()
        code = running.wait()
    if not document:
        message = f"{workload} ended with {code}: {''.join(said[-20:])}"
        raise AssertionError(message)
    found = json.loads(document)
    return {
        "code": code,
        "verdict": found["verdict"],
        "first_s": first_s,
        "seconds": time.perf_counter() - begin,
        "profilers": sorted({one["profiler"] for one in found["profilers"]}),
        "findings": [finding["id"] for finding in found["findings"]],
        "sizes": [
            {"size": split["size"], "largest": largest(split["layers"])} for split in found["sizes"]
        ],
    }


def largest(layers: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The largest layer with its bounds; None without a split."""
    if not layers:
        return None
    most = max(layers, key=lambda layer: layer["share"])
    return {name: most[name] for name in ("name", "share", "low", "high")}


def run(rounds: int) -> None:
    done = Counter(
        (row["project"], row["workload"]) for row in journal.rows_here(JOURNAL, DECIDING)
    )
    for project, place in places().items():
        loaded = load_project(start=place, environ=dict(os.environ))
        builder = Builder(loaded, cache=CACHE)
        for profile in (Profile.RELEASE, Profile.PROFILING):
            builder.build(profile=profile)
        for workload in asked(project, place):
            for _ in range(rounds - done[project, workload]):
                found = diagnose(project, place, workload)
                row = {"project": project, "workload": workload, **found}
                journal.append_here(JOURNAL, DECIDING, row)
                print(said(row), flush=True)


def how(size: dict[str, Any]) -> str:
    """`told`, `bounded` or `unknown` of a size's largest layer."""
    most = size["largest"]
    if most is None:
        return str(bounds.Telling.UNKNOWN)
    return str(bounds.telling(Interval(estimate=most["share"], low=most["low"], high=most["high"])))


def said(row: dict[str, Any]) -> str:
    shown = "; ".join(
        f"{size['size']}: {how(size)}"
        + (
            f", {size['largest']['name']} {size['largest']['low']:.0%} to "
            f"{size['largest']['high']:.0%}"
            if size["largest"]
            else ""
        )
        for size in row["sizes"]
    )
    first = "–" if row["first_s"] is None else f"{row['first_s']:.0f} s"
    return (
        f"{row['project']} {row['workload']}: {row['verdict']} ({row['code']}), first word after "
        f"{first}, all after {row['seconds']:.0f} s; {shown or 'no size'}; {row['findings']}"
    )


def show() -> bool:
    """Print the table; return whether the promises are kept."""
    found = journal.rows_here(JOURNAL, DECIDING)
    if not found:
        print("no measurements yet on this CPU model with these sources")
        return False
    print(found[0]["cpu"])
    for row in found:
        print(said(row))
    tellings = [how(size) for row in found for size in row["sizes"]]
    told = tellings.count("told")
    answered = told + tellings.count("bounded")
    silent = [row for row in found if not {"told", "bounded"} & set(map(how, row["sizes"]))]
    print(f"largest layer told or bounded: {journal.counted(answered, len(tellings))}")
    print(f"told: {journal.counted(told, len(tellings))}")
    print(f"diagnoses that are unknown at every size: {journal.counted(len(silent), len(found))}")
    return answered >= ANSWERED * len(tellings) and told >= TOLD * len(tellings) and not silent


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run").add_argument("--rounds", type=int, default=1)
    commands.add_parser("show")
    chosen = parser.parse_args(words)
    if chosen.command == "run":
        run(chosen.rounds)
    return 0 if show() else 1


if __name__ == "__main__":
    sys.exit(main())

"""Whether every rule of the diagnosis fires where it must and nowhere else, on real runs.

    python tests/truth/live_rules.py run --minutes 4      repeat as often as you like; it resumes
    python tests/truth/live_rules.py show                 the table, from everything that was run
    python tests/truth/live_rules.py record               save what was seen for the unit tests

One crate has a call for each rule and some calls that have nothing wrong. Each is diagnosed as in
`perfkit diagnose`, with short settings; the sentinels decide which blocks count. A round is
measured again if the machine had no room for it or its times cannot be trusted.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

import diagnose_recordings
import journal
from diagnose_recordings import CASES, Case

from perfkit import store
from perfkit.config import Project, load_project
from perfkit.diagnose import conclude
from perfkit.records import DiagnoseVerdict
from perfkit.subject.builder import Builder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.diagnose.observed import Observed
    from perfkit.records import Finding

ROUNDS = 3
ROOT = Path(__file__).resolve().parents[2]
SUBJECT = ROOT / "tests" / "data" / "diagnose" / "provoking"
JOURNAL = ROOT / "target" / "truth" / "rules.jsonl"
SEEN = ROOT / "target" / "truth" / "rules"
CACHE = Path(os.environ.get("PERFKIT_CACHE_DIR", ROOT / "target" / "perfkit-test-cache"))
WITHHELD = {str(DiagnoseVerdict.BUSY), str(DiagnoseVerdict.UNTRUSTED)}
SHORT = {"time_limit_s": 1.5, "min_blocks": 8, "width": 0.05, "patience_s": 10.0}


def subject() -> Project:
    """A git repository that contains the provoking crate, with short settings."""
    place = ROOT / "target" / "perfkit-test-subjects" / "provoking"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(SUBJECT, place, ignore=shutil.ignore_patterns("target", "__pycache__"))
    subprocess.run(["git", "init", "--quiet"], cwd=place, check=True)
    project = load_project(start=place, environ=dict(os.environ))
    measure = project.config.measure.model_copy(update=SHORT)
    return _with(project, measure=measure)


def _with(project: Project, **changes: object) -> Project:
    return dataclasses.replace(project, config=project.config.model_copy(update=changes))


def examine(project: Project, case: Case, place: Path) -> dict[str, Any]:
    """One diagnosis. Saves what the rules were given, next to the result."""
    begin = time.perf_counter()
    own = project.config.subject.model_copy(update={"profile": case.profile})
    project = _with(project, subject=own)
    kept: list[Observed] = []
    ask = conclude.find

    def find(observations: Sequence[Observed]) -> tuple[Finding, ...]:
        kept.extend(observations)
        return ask(observations)

    conclude.find = find  # type: ignore[attr-defined]
    try:
        builder = Builder(project, cache=CACHE)
        run = store.create_run(SEEN / "runs", "diagnose", {})
        job = conclude.job_of(project, case.workload, builder, run)
        sizes = project.sizes(case.workload, None)
        found = conclude.diagnose(job, sizes, verify=case.verify)
    finally:
        conclude.find = ask  # type: ignore[attr-defined]
    for seen in kept:
        store.write_whole(place, diagnose_recordings.dump(seen))
    # Rules that need extra builds are measured separately, and may have had no room.
    done = not case.verify or any(seen.branches or seen.flags for seen in kept)
    return {
        "verdict": str(found.verdict if done else DiagnoseVerdict.BUSY),
        "found": [finding.id for finding in found.findings],
        "doubts": [store.to_json(c.doubts) for c in found.profilers],
        "estimators": [
            {
                one.name: one.seconds.estimate if one.seconds and not one.reason else one.reason
                for one in ffi.estimators
            }
            for ffi in (split.ffi for split in found.sizes)
        ],
        "notes": [note.text for note in found.notes],
        "seconds": time.perf_counter() - begin,
    }


def wrong(name: str, row: dict[str, Any]) -> list[str]:
    """Missing findings, with `-`, and findings that must not be there, with `+`."""
    case, found = CASES[name], row["found"]
    allowed = {*case.must, *case.may}
    missing = [f"-{rule}" for rule in case.must if rule not in found]
    return missing + [f"+{rule}" for rule in found if rule not in allowed]


def judged(name: str) -> list[dict[str, Any]]:
    """The rounds of a case that were judged: without those that had no room."""
    return [
        row
        for row in journal.rows(JOURNAL)
        if row["case"] == name and row["verdict"] not in WITHHELD
    ]


def run(minutes: float, only: Sequence[str]) -> None:
    """Examine what is missing, round by round, until the time is up."""
    project = subject()
    end = time.monotonic() + 60 * minutes
    for number in range(1, ROUNDS + 1):
        for name in only or CASES:
            if time.monotonic() > end:
                return
            if len(judged(name)) >= number:
                continue
            row = examine(project, CASES[name], SEEN / f"{name}-{number}.json")
            sys.stderr.write(f"{name}: {row['found']} in {row['seconds']:.0f} s\n")
            journal.append(JOURNAL, {"case": name, "round": number, **row})


def show() -> tuple[str, bool]:
    """The table as Markdown, and whether every case was right in every round."""
    lines = [
        "| call | must be found | right | wrong | withheld | seconds |",
        "|---|---|---|---|---|---|",
    ]
    good = True
    for name, case in CASES.items():
        done = judged(name)[:ROUNDS]
        faults = [", ".join(wrong(name, row)) for row in done]
        right = sum(not fault for fault in faults)
        good &= right == ROUNDS
        busy = sum(row["case"] == name for row in journal.rows(JOURNAL)) - len(judged(name))
        seconds = max((row["seconds"] for row in done), default=0.0)
        said = "; ".join(dict.fromkeys(fault for fault in faults if fault)) or "–"
        must = ", ".join(case.must) or "nothing"
        fine = journal.counted(right, len(done))
        lines.append(f"| {name} | {must} | {fine} | {said} | {busy} | {seconds:.0f} |")
    return "\n".join(lines) + "\n", good


def record() -> None:
    """Save each case's first round that found what it must, as data for the unit tests."""
    diagnose_recordings.FOLDER.mkdir(parents=True, exist_ok=True)
    for name in CASES:
        must = set(CASES[name].must)
        rounds = (r for r in judged(name) if must <= set(r["found"]) and not wrong(name, r))
        if (first := next(rounds, None)) is not None:
            seen = SEEN / f"{name}-{first['round']}.json"
            shutil.copyfile(seen, diagnose_recordings.FOLDER / f"{name}.json")


def main() -> int:
    """Run, show or record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["run", "show", "record"])
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--only", nargs="*", choices=sorted(CASES), default=[])
    arguments = parser.parse_args()
    if arguments.action == "run":
        run(arguments.minutes, arguments.only)
    if arguments.action == "record":
        record()
        return 0
    table, good = show()
    sys.stdout.write(table)
    return 0 if good or arguments.only else 1


if __name__ == "__main__":
    sys.exit(main())

"""Each rule on what real diagnoses saw of the calls that provoke it, and of all the others.

The recordings are written by `tests/truth/live_rules.py record`.
"""

from __future__ import annotations

import diagnose_recordings
import pytest
from diagnose_recordings import CASES, FOLDER

from perfkit.diagnose.rules import RULES

RECORDED = sorted(path.stem for path in FOLDER.glob("*.json"))
LIVE_ONLY: frozenset[str] = frozenset({"pool_for_too_little"})
"""Rules that no recording provokes: perf's capture of a pool that is woken for microseconds was
refused where these were made. They are tested on made-up counts.
"""


def fired(name: str) -> set[str]:
    seen = diagnose_recordings.load(FOLDER / f"{name}.json")
    return {finding.id for rule in RULES if (finding := rule(seen)) is not None}


@pytest.mark.parametrize("name", RECORDED)
def test_what_was_provoked_is_found_and_nothing_else(name: str) -> None:
    found = fired(name)
    assert set(CASES[name].must) <= found
    assert found <= {*CASES[name].must, *CASES[name].may}


def test_every_rule_has_a_call_that_provokes_it() -> None:
    named = {rule.__name__ for rule in RULES}
    assert named == {identifier for case in CASES.values() for identifier in case.must}
    recorded = {identifier for name in RECORDED for identifier in CASES[name].must}
    assert recorded == named - LIVE_ONLY


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_is_read_as_it_was_written(name: str) -> None:
    path = FOLDER / f"{name}.json"
    assert diagnose_recordings.dump(diagnose_recordings.load(path)) == path.read_text("utf-8")

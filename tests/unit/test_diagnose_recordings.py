"""Each rule on what real diagnoses saw of the calls that provoke it, and of all the others.

The recordings are written by `tests/truth/live_rules.py record`.
"""

from __future__ import annotations

import diagnose_recordings
import pytest
from diagnose_recordings import CASES, FOLDER

from perfkit.diagnose.rules import RULES


def fired(name: str) -> set[str]:
    seen = diagnose_recordings.load(FOLDER / f"{name}.json")
    return {finding.id for rule in RULES if (finding := rule(seen)) is not None}


@pytest.mark.parametrize("name", CASES)
def test_what_was_provoked_is_found_and_nothing_else(name: str) -> None:
    found = fired(name)
    assert set(CASES[name].must) <= found
    assert found <= {*CASES[name].must, *CASES[name].may}


def test_every_rule_has_a_recording_that_provokes_it() -> None:
    named = {rule.__name__ for rule in RULES}
    assert named == {identifier for case in CASES.values() for identifier in case.must}


def test_a_recording_is_read_as_it_was_written() -> None:
    for name in CASES:
        seen = diagnose_recordings.load(FOLDER / f"{name}.json")
        text = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
        assert diagnose_recordings.dump(seen) == text

"""What every test needs: the environment as a command gets it, and the repository's root."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_NO_RESULTS = shutil.ignore_patterns("target", "profiles", "__pycache__", ".pytest_cache")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of perfkit's own repository."""
    return ROOT


@pytest.fixture(scope="session")
def environ() -> dict[str, str]:
    """The environment that perfkit was started in, as the command line hands it on."""
    return dict(os.environ)


@pytest.fixture(scope="session")
def shared_cache() -> Path:
    """One cache of builds for all tests, kept between runs: a build is made once, then found."""
    cache = ROOT / "target" / "perfkit-test-cache"
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def copy_subject(name: str, source: str = "workspace") -> Path:
    """A git repository with a subject as it is in tests/subjects, nothing else in it.

    Its place is the same in every run, so that builds of it are found in the shared cache.
    """
    place = ROOT / "target" / "perfkit-test-subjects" / name
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(ROOT / "tests" / "subjects" / source, place, ignore=_NO_RESULTS)
    for words in (
        ["init", "--quiet"],
        ["add", "--all"],
        ["-c", "user.name=perfkit", "-c", "user.email=perfkit@localhost", "commit", "-qm", "start"],
    ):
        subprocess.run(["git", *words], cwd=place, check=True)
    return place


@pytest.fixture(scope="session")
def workspace_subject() -> Path:
    """The second subject: a cargo workspace, mixed with Python; not to be edited."""
    return copy_subject("workspace")


@pytest.fixture(scope="session")
def spins_subject() -> Path:
    """The subject of known splits; not to be edited."""
    return copy_subject("spins", "spins")


@pytest.fixture
def editable_subject() -> Path:
    """The second subject once more, fresh for each test, to be edited."""
    return copy_subject("editable")


TIMED = {
    "test_cli_job",
    "test_diagnose_kernel",
    "test_diagnose_live",
    "test_measure_claims",
    "test_measure_command",
    "test_measure_for_real",
    "test_measure_worker",
    "test_profile_commands",
    "test_profile_for_real",
    "test_profile_pythons",
    "test_profile_split",
    "test_tune_live",
}
"""Modules that time or profile something, and so need the machine to themselves."""
EDITED_SUBJECTS = {"workspace_subject", "editable_subject"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder, and those that must run alone; keep together what shares a place.

    With `--dist loadgroup` one process runs all tests of a group: those that copy the second
    subject to its place would otherwise remove it under each other.
    """
    for item in items:
        for folder in ("integration", "truth"):
            if (ROOT / "tests" / folder) in item.path.parents:
                item.add_marker(folder)
        if item.path.stem in TIMED:
            item.add_marker("timed")
        names = set(getattr(item, "fixturenames", ()))
        group = "second subject" if names & EDITED_SUBJECTS else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))

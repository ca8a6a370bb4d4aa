"""What every test needs: the environment as a command gets it, and the repository's root."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("perfkit", deadline=None)  # no test asserts an absolute time
settings.load_profile("perfkit")

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder, so that none is forgotten."""
    for item in items:
        for folder in ("integration", "truth"):
            if (ROOT / "tests" / folder) in item.path.parents:
                item.add_marker(folder)

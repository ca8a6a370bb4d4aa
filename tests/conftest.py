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


@pytest.fixture
def workspace_subject(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository of its own with the second subject: a workspace, mixed with Python."""
    place = tmp_path_factory.mktemp("subject") / "textstats"
    shutil.copytree(ROOT / "tests" / "subjects" / "workspace", place, ignore=_NO_RESULTS)
    for words in (
        ["init", "--quiet"],
        ["add", "--all"],
        ["-c", "user.name=perfkit", "-c", "user.email=perfkit@localhost", "commit", "-qm", "start"],
    ):
        subprocess.run(["git", *words], cwd=place, check=True)
    return place


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder, so that nobody forgets to."""
    for item in items:
        for folder in ("integration", "truth"):
            if (ROOT / "tests" / folder) in item.path.parents:
                item.add_marker(folder)

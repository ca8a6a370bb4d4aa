"""What every test needs: the environment as a command gets it, and the repository's root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder, so that nobody forgets to."""
    for item in items:
        for folder in ("integration", "truth"):
            if (ROOT / "tests" / folder) in item.path.parents:
                item.add_marker(folder)

"""What every test needs: the environment as a command gets it, and the repository's root."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import settings

from perfkit.measure import sentinels

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def copy_subject(name: str, source: str = "subjects/workspace") -> Path:
    """A git repository with a subject as it is in tests/, nothing else in it.

    Its place is the same in every run, so that builds of it are found in the shared cache.
    """
    place = ROOT / "target" / "perfkit-test-subjects" / name
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(ROOT / "tests" / source, place, ignore=_NO_RESULTS)
    for words in (
        ["init", "--quiet"],
        ["add", "--all"],
        ["-c", "user.name=perfkit", "-c", "user.email=perfkit@localhost", "commit", "-qm", "start"],
    ):
        subprocess.run(["git", *words], cwd=place, check=True)
    return place


def copied_once(name: str, source: str, run: str) -> Path:
    """Like `copy_subject`, for a subject that no test edits: copied by the first process of a run
    of tests that asks for it.
    """
    made_by = ROOT / "target" / "perfkit-test-subjects" / f"{name}.run"
    made_by.parent.mkdir(parents=True, exist_ok=True)
    with made_by.open("a+", encoding="ascii") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.seek(0)
        if stream.read() != run:
            copy_subject(name, source)
            stream.truncate(0)
            stream.write(run)
    return made_by.with_name(name)


@pytest.fixture(scope="session")
def workspace_subject(testrun_uid: str) -> Path:
    """The second subject: a cargo workspace, mixed with Python; not to be edited."""
    return copied_once("workspace", "subjects/workspace", testrun_uid)


@pytest.fixture(scope="session")
def spins_subject(testrun_uid: str) -> Path:
    """The subject of known splits; not to be edited."""
    return copied_once("spins", "subjects/spins", testrun_uid)


@pytest.fixture(scope="session")
def provoking_subject(testrun_uid: str) -> Path:
    """The subject whose calls are slow for one known reason each; not to be edited."""
    return copied_once("provoking", "data/diagnose/provoking", testrun_uid)


@pytest.fixture
def editable_subject() -> Path:
    """The second subject once more, fresh for each test, to be edited."""
    return copy_subject("editable")


@pytest.fixture(autouse=True)
def nobody_asks_for_a_free_machine(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside other tests the machine is not free, and to ask whether it is would be a mistake."""

    def refuse(*_: object, **__: object) -> NoReturn:
        message = "a test that is marked `beside` measures, and lets sentinels decide what counts"
        raise AssertionError(message)

    if request.node.get_closest_marker("beside"):
        monkeypatch.setattr(sentinels.Gate, "reason_against", refuse)


IN_TURN = ("editable_subject", "workspace_subject")
"""Subjects whose copy, or whose builds in the cache, some tests change."""


@pytest.fixture(autouse=True)
def one_at_a_time(request: pytest.FixtureRequest) -> Iterator[None]:
    """Of the tests of such a subject one runs at a time, also when several processes run tests."""
    with contextlib.ExitStack() as stack:
        for subject in IN_TURN:
            if subject in request.fixturenames:
                file = ROOT / "target" / "perfkit-test-subjects" / f"{subject}.lock"
                file.parent.mkdir(parents=True, exist_ok=True)
                stream = stack.enter_context(file.open("ab"))
                fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder, so that none is forgotten."""
    for item in items:
        for folder in ("integration", "truth"):
            if (ROOT / "tests" / folder) in item.path.parents:
                item.add_marker(folder)

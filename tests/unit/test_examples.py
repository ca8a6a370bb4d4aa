"""The finished run in the repository: everything in it follows from its own files.

`PERFKIT_BLESS=1 pytest …` writes anew what follows: the report and the tables.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from perfkit import run_files, store
from perfkit.profile import analyse
from perfkit.report import console, finished, markdown
from perfkit.stacks.layers import Layers

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_BYTES = 300_000


@pytest.fixture
def example(repository: Path) -> store.Run:
    (place,) = (path.parent for path in (repository / "profiles" / "examples").glob("*/run.json"))
    return store.Run(directory=place)


def follows(kept: Path, text: str) -> None:
    if os.environ.get("PERFKIT_BLESS") == "1":
        kept.write_text(text, encoding="utf-8")
    assert text == kept.read_text(encoding="utf-8")


def test_its_report_comes_again_from_the_directory(example: store.Run) -> None:
    shown = markdown.render(finished.load(example).page)
    follows(example.directory / run_files.REPORT_FILE, shown)


def test_the_picture_in_the_readme_shows_its_report(example: store.Run, repository: Path) -> None:
    """By its words: how rich draws them is rich's."""
    svg = ElementTree.parse(repository / "docs" / "report.svg")
    shown = "".join(
        "".join(text.itertext()) for text in svg.iter("{http://www.w3.org/2000/svg}text")
    )
    page = console.render(finished.load(example).page, width=92, colour=False)
    drawn = "".join(shown.split())
    missing = [line for line in page.splitlines() if "".join(line.split()) not in drawn]
    assert page.strip()
    assert missing == [], "run `make docs`"


def test_its_tables_come_again_from_the_stacks(example: store.Run, tmp_path: Path) -> None:
    run = store.Run(directory=tmp_path / "again")
    shutil.copytree(example.directory / "stacks", run.directory / "stacks")
    for capture in run_files.PROFILE.load(example).captures:
        written = analyse.write_tables(capture, run, Layers(("perfkit_kernel",), ()))
        assert set(written) == {"frames", "layers", "stacks"}
        for kind, path in written.items():
            assert path == capture.files[kind]
            again = (run.directory / path).read_text(encoding="utf-8")
            follows(example.directory / path, again)


def test_it_is_small_and_names_no_other_place(example: store.Run) -> None:
    assert store.folder_size(example.directory) < LIMIT_BYTES
    assert run_files.HEADER.load(example).project == "/home/user/perfkit"

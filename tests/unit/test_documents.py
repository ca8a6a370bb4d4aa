"""What the documents name is there: commands, options, files, links."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from test_words import options_of
from typer.main import get_command

from perfkit.cli.app import app

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "profiles/examples/README.md")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
COMMAND = re.compile(r"^\$ perfkit ([a-z]+)(.*?)(?:#.*)?$", re.MULTILINE)
FILE = re.compile(r"`([a-z_/-]+\.(?:py|toml|md))`")
FOLDERS = ("", "toolkit/perfkit", "toolkit/perfkit/diagnose")
"""Where a file that CONTRIBUTING.md names may be."""


COUNT = re.compile(
    r"(?<![\d.,])(\d+) of (\d+)\b(?! (?:cores|threads|blocks))(?!:? =? ?[\d.]* ?%? ?\[)"
)
"""A count of trials without an interval in brackets behind it."""


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("20 of 20 were right", 1),
        ("right in 3 of 3\nrounds", 1),
        ("20 of 20 [84 %, 100 %] were right", 0),
        ("3 of 3\n[44 %, 100 %]", 0),
        ("0 of 150 = 0.0 % [0.0, 4.9]", 0),
        ("100 of 104: 96.2 % [90.5, 98.5 %]", 0),
        ("1.0 of 2 threads, 2 of 8 cores", 0),
    ],
)
def test_a_count_without_an_interval_is_seen(text: str, counts: int) -> None:
    assert len(COUNT.findall(" ".join(text.split()))) == counts


def test_no_document_counts_without_an_interval(repository: Path) -> None:
    documents = [*repository.glob("*.md"), *repository.glob("docs/*.md")]
    assert len(documents) > 6
    bare = {
        file.name: found
        for file in documents
        if (found := COUNT.findall(" ".join(file.read_text(encoding="utf-8").split())))
    }
    assert bare == {}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(repository: Path, document: str) -> None:
    file = repository / document
    links = LINK.findall(file.read_text(encoding="utf-8"))
    assert [link for link in links if not (file.parent / link).exists()] == []


def test_the_commands_of_the_readme_are_there(repository: Path) -> None:
    known = getattr(get_command(app), "commands", {})
    shown = COMMAND.findall((repository / "README.md").read_text(encoding="utf-8"))
    assert len(shown) > 5
    for name, words in shown:
        options = {word for word in words.split() if word.startswith("--")}
        assert options <= {*options_of(known[name])}, (name, options)


def test_the_files_that_contributing_names_are_there(repository: Path) -> None:
    text = (repository / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = {name for name in FILE.findall(text) if "<" not in name}
    assert len(named) > 15
    missing = [
        name
        for name in sorted(named)
        if not any((repository / folder / name).is_file() for folder in FOLDERS)
    ]
    assert missing == []

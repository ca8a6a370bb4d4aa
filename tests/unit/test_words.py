"""What the repository's words promise: options and commands that exist, no subject by name, and
plain English.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest
from typer.main import get_command

from perfkit.cli.app import app
from perfkit.config import load_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OTHERS = {
    "--cap-add": "container|docker",
    "--cpus": "container",
    "--crate-name": "rustc",
    "--include-debuginfo": "--strip",  # maturin's own words, recognised
    "--init": "git submodule",
    "--recursive": "git submodule",
    "--native": "py-spy",
    "--nonblocking": "py-spy",
    "--release": "maturin|cargo",
    "--strip": "--include-debuginfo",
    "--subprocesses": "py-spy",
    "--upgrade": "pip install",
}
"""Options of other programs in what a person reads, with what the text must name beside them."""

BANNED = (
    "agrees with nobody",
    "answers for the pointer",
    "by short settings",
    "by their luck",
    "confirms nobody",
    "go on where it was",
    "goes on where it was",
    "is asked after",
    "is asked for only",
    "is held against",
    "is not foreseen",
    "is to cost",
    "keeps the contract",
    "lay above",
    "of their moments",
    "the time is over",
    "to no end",
    "what came of the limits",
    "what is meant by",
    "what they differ by",
)
"""Phrases that read like a translation, in lower case: they were replaced and may not come back."""

PROSE = ("*.md", "*.py", "*.pyi", "*.rs", "*.toml")
FOLDERS = ("benches", "docs", "kernel", "profiles/examples", "tests", "toolkit")

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
COMMAND = re.compile(r"`perfkit ([a-z][a-z-]*)")


def options_of(command: object) -> Iterator[str]:
    """Every option of a command and of those below it."""
    for parameter in getattr(command, "params", ()):
        yield from (*parameter.opts, *parameter.secondary_opts)
    for inner in getattr(command, "commands", {}).values():
        yield from options_of(inner)


def texts(repository: Path) -> Iterator[tuple[str, str]]:
    """Every string of the package that is no docstring, an f-string as one, with its place."""
    package = repository / "toolkit" / "perfkit"
    for file in sorted(package.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        own = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            found = [
                part.value
                for part in parts
                if isinstance(part, ast.Constant)
                and isinstance(part.value, str)
                and id(part) not in own
            ]
            if found:
                where = f"{file.relative_to(package)}:{getattr(node, 'lineno', 0)}"
                yield where, "{}".join(found)
    for file in sorted(package.rglob("*.toml")):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            if not line.startswith(("pattern", "#")):
                yield f"{file.relative_to(package)}:{number}", line


@pytest.fixture(scope="module")
def sentences(repository: Path) -> list[tuple[str, str]]:
    """What a person may read: a single word is an argument for a program, and some are patterns."""
    return [
        (where, text)
        for where, text in texts(repository)
        if " " in text.strip() and "(?:" not in text and "\\w" not in text
    ]


def test_every_option_that_a_text_names_is_there(sentences: list[tuple[str, str]]) -> None:
    known = {*options_of(get_command(app)), "--help", "--version"}
    wrong = [
        (where, word)
        for where, text in sentences
        for word in OPTION.findall(text)
        if word not in known and not (word in OTHERS and re.search(OTHERS[word], text))
    ]
    assert not wrong


def test_every_command_that_a_text_names_is_there(sentences: list[tuple[str, str]]) -> None:
    known = set(getattr(get_command(app), "commands", {}))
    wrong = [
        (where, word)
        for where, text in sentences
        for word in COMMAND.findall(text)
        if word not in known
    ]
    assert not wrong


def test_nothing_in_the_package_names_the_bundled_kernel(
    repository: Path, environ: dict[str, str]
) -> None:
    """What perfkit knows of a subject comes from a config."""
    config = load_project(start=repository, environ=environ).config
    names = {config.subject.module}
    names |= {parameter.name or name for name, parameter in config.parameters.items()}
    assert len(names) > len(config.parameters)
    toolkit = repository / "toolkit"
    files = [
        path
        for suffix in ("py", "pyi", "rs", "toml", "html", "jinja")
        for path in toolkit.rglob(f"*.{suffix}")
        if "target" not in path.parts
    ]
    wrong = [
        (path.relative_to(toolkit).as_posix(), name)
        for path in files
        for name in sorted(names)
        if re.search(rf"\b{re.escape(name)}\b", path.read_text(encoding="utf-8"))
    ]
    assert not wrong


def test_no_phrase_that_was_replaced_is_back(repository: Path) -> None:
    """A phrase may run across lines, so comment markers, quotes and line breaks are ignored."""
    files = list(repository.glob("*.md"))
    for folder in FOLDERS:
        files += [path for kind in PROSE for path in (repository / folder).rglob(kind)]
    own = repository / "tests" / "unit" / "test_words.py"
    wrong = []
    for path in files:
        if path == own or "target" in path.relative_to(repository).parts:
            continue
        text = re.sub(r"[\s/#!\"']+", " ", path.read_text(encoding="utf-8").lower())
        wrong += [(path.relative_to(repository), phrase) for phrase in BANNED if phrase in text]
    assert files
    assert not wrong

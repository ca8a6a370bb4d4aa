"""Which files decide a build."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from perfkit.subject import inputs, shadow

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (
        "Cargo.toml",
        "Cargo.lock",
        ".cargo/config.toml",
        "core/src/lib.rs",
        "core/Cargo.toml",
        "core/tests/t.rs",
        "data/words.txt",
        "docs/index.md",
        "pyproject.toml",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    return tmp_path


def chosen(root: Path) -> inputs.Inputs:
    tree = shadow.working_tree(root, is_git=False, environment={})
    folders, files = ("core/src",), ("data/words.txt",)
    return inputs.Inputs(folders=folders, files=files, hashes=inputs.select(tree, folders, files))


def matches(known: inputs.Inputs, root: Path) -> bool:
    return known.match(shadow.working_tree(root, is_git=False, environment={}))


def test_the_same_tree_matches(root: Path) -> None:
    assert matches(chosen(root), root)


@pytest.mark.parametrize(
    "name", ["docs/index.md", "core/tests/t.rs", "docs/new.md", "core/srcs.rs"]
)
def test_what_does_not_count_may_change(root: Path, name: str) -> None:
    known = chosen(root)
    (root / name).write_text("changed", encoding="utf-8")
    assert matches(known, root)


@pytest.mark.parametrize(
    "name",
    [
        "Cargo.toml",
        "Cargo.lock",
        ".cargo/config.toml",
        "core/Cargo.toml",
        "core/src/lib.rs",
        "core/src/added.rs",
        "core/build.rs",
        "data/words.txt",
        "pyproject.toml",
        "rust-toolchain.toml",
    ],
)
def test_what_counts_may_not(root: Path, name: str) -> None:
    known = chosen(root)
    (root / name).write_text("changed", encoding="utf-8")
    assert not matches(known, root)


def test_a_file_that_counts_and_vanished_is_seen(root: Path) -> None:
    known = chosen(root)
    (root / "data" / "words.txt").unlink()
    assert not matches(known, root)


def test_a_mode_counts(root: Path) -> None:
    known = chosen(root)
    (root / "core" / "src" / "lib.rs").chmod(0o755)
    assert not matches(known, root)

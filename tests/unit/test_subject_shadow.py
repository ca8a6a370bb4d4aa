"""The copy of a tree: what is written, what is left alone, and what never happens to the user's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from perfkit.errors import TreeChangedError
from perfkit.subject import shadow

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.subject.shadow import SourceTree

OLD = 1_000_000_000  # 2001: a modification time that cargo would take for up to date


@pytest.fixture
def user(tmp_path: Path) -> Path:
    root = tmp_path / "user"
    for name, text in {
        "Cargo.toml": "[package]",
        "src/lib.rs": "pub const A: usize = 1;",
        "src/deep/x.rs": "// x",
        "run.sh": "#!/bin/sh",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    (root / "run.sh").chmod(0o755)
    return root


def listed(root: Path) -> SourceTree:
    return shadow.working_tree(root, is_git=False, environment={})


def synced(root: Path, tmp_path: Path, edits: dict[str, bytes] | None = None) -> list[str]:
    return shadow.sync(listed(root), tmp_path / "copy", edits or {}, tmp_path / "state.json")


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_the_copy_equals_the_tree(user: Path, tmp_path: Path) -> None:
    written = synced(user, tmp_path)
    assert contents(tmp_path / "copy") == contents(user)
    assert sorted(written) == sorted(contents(user))
    assert (tmp_path / "copy" / "run.sh").stat().st_mode & 0o111
    assert not (tmp_path / "copy" / "Cargo.toml").stat().st_mode & 0o111


def test_only_changed_files_are_written_again(user: Path, tmp_path: Path) -> None:
    synced(user, tmp_path)
    untouched = tmp_path / "copy" / "src" / "deep" / "x.rs"
    os.utime(untouched, (OLD, OLD))
    (user / "src" / "lib.rs").write_text("pub const A: usize = 2;", encoding="utf-8")
    assert synced(user, tmp_path) == ["src/lib.rs"]
    assert untouched.stat().st_mtime == OLD


def test_a_changed_file_has_a_fresh_time_even_when_the_users_is_old(
    user: Path, tmp_path: Path
) -> None:
    synced(user, tmp_path)
    source = user / "src" / "lib.rs"
    source.write_text("pub const A: usize = 2;", encoding="utf-8")
    os.utime(source, (OLD, OLD))
    before = (tmp_path / "copy" / "src" / "lib.rs").stat().st_mtime_ns
    synced(user, tmp_path)
    after = (tmp_path / "copy" / "src" / "lib.rs").stat().st_mtime_ns
    assert after > before


def test_an_edit_replaces_the_content_in_the_copy_alone(user: Path, tmp_path: Path) -> None:
    before = contents(user)
    assert "src/lib.rs" in synced(user, tmp_path, {"src/lib.rs": b"edited"})
    assert (tmp_path / "copy" / "src" / "lib.rs").read_bytes() == b"edited"
    assert contents(user) == before
    assert synced(user, tmp_path) == ["src/lib.rs"]
    assert contents(tmp_path / "copy") == before


def test_what_vanished_is_removed_with_its_folder(user: Path, tmp_path: Path) -> None:
    synced(user, tmp_path)
    (user / "src" / "deep" / "x.rs").unlink()
    synced(user, tmp_path)
    assert not (tmp_path / "copy" / "src" / "deep").exists()


def test_a_lock_file_that_cargo_made_in_the_copy_stays(user: Path, tmp_path: Path) -> None:
    synced(user, tmp_path)
    lock = tmp_path / "copy" / "Cargo.lock"
    lock.write_text("made here", encoding="utf-8")
    (tmp_path / "state.json").unlink()
    synced(user, tmp_path)
    assert lock.read_text(encoding="utf-8") == "made here"


def test_a_copy_that_was_cut_short_is_completed(user: Path, tmp_path: Path) -> None:
    synced(user, tmp_path)
    (tmp_path / "copy" / "src" / "lib.rs").write_bytes(b"pub con")
    (tmp_path / "copy" / "stray.rs").write_bytes(b"")
    (tmp_path / "state.json").unlink()
    synced(user, tmp_path)
    assert contents(tmp_path / "copy") == contents(user)


def test_a_file_in_the_place_of_a_folder_and_back(user: Path, tmp_path: Path) -> None:
    synced(user, tmp_path)
    (user / "src" / "deep" / "x.rs").unlink()
    (user / "src" / "deep").rmdir()
    (user / "src" / "deep").write_text("now a file", encoding="utf-8")
    synced(user, tmp_path)
    assert contents(tmp_path / "copy") == contents(user)
    (user / "src" / "deep").unlink()
    (user / "src" / "deep").mkdir()
    (user / "src" / "deep" / "y.rs").write_text("// y", encoding="utf-8")
    synced(user, tmp_path)
    assert contents(tmp_path / "copy") == contents(user)


def test_links_stay_inside_the_copy(user: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "data.txt").write_text("data", encoding="utf-8")
    (user / "relative").symlink_to("src/lib.rs")
    (user / "absolute").symlink_to(user / "src")
    (user / "file").symlink_to(outside / "data.txt")
    (user / "folder").symlink_to(outside)
    tree = listed(user)
    shadow.sync(tree, tmp_path / "copy", {}, tmp_path / "state.json")
    copy = tmp_path / "copy"
    assert (copy / "relative").resolve() == copy / "src" / "lib.rs"
    assert (copy / "absolute").resolve() == copy / "src"
    assert not (copy / "file").is_symlink()
    assert (copy / "file").read_text(encoding="utf-8") == "data"
    assert not (copy / "folder").exists()
    assert [note.id for note in tree.notes] == ["no-git", "link-outside"]


def test_a_link_that_became_a_folder_is_not_written_through(user: Path, tmp_path: Path) -> None:
    (user / "alias").symlink_to("src")
    synced(user, tmp_path)
    (user / "alias").unlink()
    (user / "alias").mkdir()
    (user / "alias" / "lib.rs").write_text("other", encoding="utf-8")
    synced(user, tmp_path)
    copy = tmp_path / "copy"
    assert (copy / "src" / "lib.rs").read_bytes() == (user / "src" / "lib.rs").read_bytes()
    assert (copy / "alias" / "lib.rs").read_text(encoding="utf-8") == "other"


def test_folders_without_sources_are_left_out_without_git(user: Path, tmp_path: Path) -> None:
    for name in ("target/x", ".venv/x", "env/pyvenv.cfg", "build/CACHEDIR.TAG", "a/__pycache__/x"):
        (user / name).parent.mkdir(parents=True)
        (user / name).write_text("", encoding="utf-8")
    names = set(listed(user).files)
    assert names == {"Cargo.toml", "src/lib.rs", "src/deep/x.rs", "run.sh"}
    assert listed(user).notes[0].id == "no-git"


def test_a_file_that_changes_while_it_is_copied_is_refused(user: Path, tmp_path: Path) -> None:
    tree = listed(user)
    (user / "src" / "lib.rs").write_text("changed", encoding="utf-8")
    with pytest.raises(TreeChangedError, match="was changed while"):
        shadow.sync(tree, tmp_path / "copy", {}, tmp_path / "state.json")

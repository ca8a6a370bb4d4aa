"""Which files of a tree decide what a build is, so that an edit elsewhere costs no build.

What counts is told by the compiler and cargo after a build (their dep-info files) and by rules on
names and folders before the next one. Where neither can tell, the whole folder counts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping  # noqa: TC003  # `from_json` reads the annotations
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from perfkit.config import read_toml
from perfkit.subject.cargo import closure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from perfkit.subject.cargo import Artifact, Package, Workspace
    from perfkit.subject.recipe import Recipe
    from perfkit.subject.rustc import RustcLine
    from perfkit.subject.shadow import SourceTree

_OF_CARGO = {"Cargo.toml", "Cargo.lock", "build.rs", "rust-toolchain", "rust-toolchain.toml"}
_OF_PYTHON = {"pyproject.toml", "setup.py", "setup.cfg"}
_BY_NAME = frozenset(_OF_CARGO | _OF_PYTHON)
"""Files that can decide a build wherever they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What decided one build.

    Attributes:
        folders: everything below these counts, also what is added later.
        files: what else counts, by path relative to the tree.
        hashes: of everything that counts, by path.
    """

    folders: tuple[str, ...]
    files: tuple[str, ...]
    hashes: Mapping[str, str]

    def match(self, tree: SourceTree) -> bool:
        """Whether a tree would give the same build."""
        return select(tree, self.folders, self.files) == dict(self.hashes)


def select(tree: SourceTree, folders: Sequence[str], files: Sequence[str]) -> dict[str, str]:
    """What counts in a tree, with a hash of content, mode and link."""
    wanted = frozenset(files)
    below = tuple("" if folder == "." else f"{folder}/" for folder in folders)
    return {
        name: f"{file.sha256}:{file.executable:d}:{file.link or ''}"
        for name, file in tree.files.items()
        if name in wanted or name.startswith(below) or _counts_by_name(name)
    }


def _counts_by_name(name: str) -> bool:
    path = PurePosixPath(name)
    return path.name in _BY_NAME or path.parent.name == ".cargo"


def of_build(
    recipe: Recipe,
    module: str,
    copy: Path,
    workspace: Workspace,
    package: Package,
    artifacts: Iterable[Artifact],
    lines: Iterable[RustcLine],
) -> Inputs:
    """Gather what decided a build that has just been made.

    Args:
        recipe: what was built.
        module: the Python module in it.
        copy: the shadow copy.
        workspace: of the crate.
        package: the crate.
        artifacts: cargo's messages.
        lines: the rustc lines of the workspace's own crates.
    """
    folders = python_files(recipe.tree, copy, recipe.cwd, module)
    for item in closure(workspace.packages, package):
        folder = item.folder
        # A build script may read whatever is in its crate, and cargo looks at all of it.
        if not item.has_build_script and item.library is not None:
            folder = item.library.src_path.parent
        folders.add(folder.relative_to(copy).as_posix())
    own = {item.id for item in workspace.packages}
    dep_info = {
        file.with_suffix(".d")
        for artifact in artifacts
        if artifact.package_id in own
        for file in artifact.filenames
    }
    dep_info |= {Path(line.out_dir) / f"{line.file_stem}.d" for line in lines}
    read = {path for file in dep_info for path in _dep_info(file, workspace.workspace_root)}
    files = sorted(path.relative_to(copy).as_posix() for path in read if path.is_relative_to(copy))
    chosen = tuple(sorted(folders))
    return Inputs(folders=chosen, files=tuple(files), hashes=select(recipe.tree, chosen, files))


def python_files(tree: SourceTree, copy: Path, folder: PurePosixPath, module: str) -> set[str]:
    """Where the Python files of the wheel come from, as maturin looks for them.

    Args:
        tree: the sources.
        copy: the shadow copy.
        folder: that of pyproject.toml, relative to the tree.
        module: the Python module that is built.
    """
    file = folder / "pyproject.toml"
    if file.as_posix() not in tree.files:
        return set()
    settings = read_toml(copy / file).get("tool", {}).get("maturin", {})
    if settings.get("include"):
        return {folder.as_posix()}
    source = folder / settings.get("python-source", ".")
    named = settings.get("module-name", module).partition(".")[0]
    packages = [named, *settings.get("python-packages", [])]
    return {(source / f"{name}{end}").as_posix() for name in packages for end in ("", ".pyi")}


def _dep_info(file: Path, folder: Path) -> set[Path]:
    """The files named in make's format, `result: source source`; a space in a name is `\\\\ `."""
    if not file.is_file():
        return set()
    found: set[Path] = set()
    for line in file.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        _, colon, sources = line.partition(": ")
        if colon and not line.startswith("#"):
            words = re.split(r"(?<!\\) +", sources.strip())
            # `include_str!("../x")` is named with its dots.
            found |= {
                Path(os.path.normpath(folder / word.replace("\\ ", " "))) for word in words if word
            }
    return found

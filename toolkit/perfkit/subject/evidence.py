"""What is proved round a build: that all its sources are in the copy, that the edited crates were
compiled afresh, by which rustc lines, and that two profiles differ in nothing but what was asked.

The words are read in `cargo.py`; what proves a parameter in a loaded module is in `parameters.py`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from perfkit import store
from perfkit.errors import BuildError
from perfkit.records import Build, Note, ParameterProof, Proof
from perfkit.subject import cargo

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from perfkit.subject.plan import Recipe


def refuse_outside(recipe: Recipe) -> None:
    """See that every path dependency is in the tree; asked where they still are, in the sources.

    Raises:
        BuildError: one is not.
    """
    root = recipe.tree.root.resolve()
    workspace = cargo.workspace(root / recipe.manifest, recipe.environment)
    for package in workspace.packages:
        for dependency in package.path_dependencies:
            if not dependency.resolve().is_relative_to(root):
                message = f"the path dependency {dependency} lies outside of the copied tree"
                remedy = f"move it into {root}, or depend on a version or a git revision of it"
                raise BuildError(message, where=str(package.manifest), remedy=remedy)


def check_fresh(
    artifacts: Sequence[cargo.Artifact],
    workspace: cargo.Workspace,
    package: cargo.Package,
    recipe: Recipe,
    copy: Path,
) -> None:
    """See that the crate, and each crate with an edited file, was compiled and not taken as it was.

    Raises:
        BuildError: cargo found one of them up to date.
    """
    must = {package.id: package.name}
    for name in recipe.edits:
        owner = workspace.owner(copy / name)
        if owner is None:
            message = f"{name} was edited, but belongs to no crate of the workspace"
            raise BuildError(message, remedy="tune constants of the workspace's own crates")
        must[owner.id] = owner.name
    for identity, name in must.items():
        own = [
            artifact
            for artifact in artifacts
            if artifact.package_id == identity and "custom-build" not in artifact.kinds
        ]
        if not own:
            message = f"the crate `{name}` was not part of the build"
            remedy = "see that the extension depends on it; an edit there changes nothing"
            raise BuildError(message, remedy=remedy)
        if any(artifact.fresh for artifact in own):
            message = f"cargo took the crate `{name}` as it was instead of compiling the edit"
            remedy = "`perfkit cache clean`; see that the system's clock does not go backwards"
            raise BuildError(message, remedy=remedy)


def own_lines(
    artifacts: Sequence[cargo.Artifact], workspace: cargo.Workspace, recipe: Recipe
) -> dict[str, cargo.RustcLine]:
    """The rustc line of each of the workspace's own libraries in a build, by package.

    Raises:
        BuildError: one was not seen, so that nothing can be said about how it was compiled.
    """
    lines = known_lines(recipe.log)
    packages = {package.id: package for package in workspace.packages}
    found: dict[str, cargo.RustcLine] = {}
    for artifact in artifacts:
        package = packages.get(artifact.package_id)
        if package is None or {"custom-build", "bench", "bin", "example"} & set(artifact.kinds):
            continue
        line = cargo.crate_line(lines, artifact)
        if line is None:
            message = f"how the crate `{package.name}` was compiled was not seen"
            raise BuildError(message, remedy="`perfkit cache clean`, then run this again")
        found[package.name] = line
    return found


def keep_lines(log: Path) -> None:
    """Move what the rustc wrapper left behind into the folder's record, also after a kill."""
    folder = log / "lines"
    folder.mkdir(parents=True, exist_ok=True)
    lines = known_lines(log)
    store.write_whole(log / "rustc.json", json.dumps([line.words for line in lines]))
    for file in folder.iterdir():
        file.unlink()


def known_lines(log: Path) -> list[cargo.RustcLine]:
    """Every rustc line of a target folder, the newest of each crate last."""
    kept_lines: dict[tuple[str, ...], cargo.RustcLine] = {}
    earlier = log / "rustc.json"
    if earlier.is_file():
        for words in json.loads(earlier.read_text(encoding="utf-8")):
            line = cargo.RustcLine(words=tuple(words))
            kept_lines[line.identity] = line
    if (log / "lines").is_dir():
        for line in cargo.collect_lines(log / "lines"):
            kept_lines.pop(line.identity, None)
            kept_lines[line.identity] = line
    return list(kept_lines.values())


def first_proofs(recipe: Recipe) -> tuple[ParameterProof, ...]:
    """What is known before the build is loaded: `proving.prove` says more."""
    return (
        *(
            ParameterProof(name=name, value=value, proof=Proof.DEFAULT)
            for name, value in recipe.unchanged.items()
        ),
        *(
            ParameterProof(name=name, value=value, proof=Proof.UNPROVED)
            for name, value in recipe.params.items()
        ),
    )


def notes(line: cargo.RustcLine) -> tuple[Note, ...]:
    """What is to be said of how the crate was compiled."""
    if line.opt_level != "0":
        return ()
    text = f"the crate `{line.crate}` was compiled without optimisation (opt-level 0)"
    remedy = "set subject.profile to a profile with optimisation"
    return (Note(id="debug-build", text=text, remedy=remedy),)


def line_differences(release: Build, profiling: Build) -> list[str]:
    """What the rustc lines of two builds differ in besides the flags added on purpose."""
    left, right = (
        {line.crate: line for line in map(cargo.parse_line, build.rustc)}
        for build in (release, profiling)
    )
    problems = [f"{crate}: compiled in one of the two only" for crate in left.keys() ^ right.keys()]
    for crate in left.keys() & right.keys():
        missing, foreign = cargo.only_added(
            cargo.normalised(left[crate]), cargo.normalised(right[crate])
        )
        problems += [f"{crate}: only in the release build: {word}" for word in missing]
        problems += [f"{crate}: only in the profiling build: {word}" for word in foreign]
        problems += [f"{crate}: {lack}" for lack in cargo.profiling_lacks(right[crate])]
    return problems

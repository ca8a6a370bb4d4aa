"""What is proved about a build: that all its sources are in the copy, that the edited crates were
compiled afresh, by which rustc lines, that two profiles differ in nothing but what was asked, and
that each parameter is in force in the loaded module.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from perfkit import sources
from perfkit.errors import BuildError, SubjectMismatchError
from perfkit.records import Build, LoadedModule, Note, ParameterProof, Proof, Value
from perfkit.subject import cargo, rustc
from perfkit.subject.parameters import source_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from perfkit.config import Project
    from perfkit.subject.recipe import Recipe
    from perfkit.subject.rustc import RustcLine

_LINKED_ALONE = {"custom-build", "bench", "bin", "example"}
"""Kinds of targets that no extension is made of."""


def refuse_outside(recipe: Recipe) -> None:
    """Check in the sources that every path dependency is in the tree.

    Raises:
        BuildError: one is not.
    """
    root = recipe.tree.root.resolve()
    workspace = cargo.workspace(root / recipe.manifest, recipe.environment)
    for package in workspace.packages:
        for dependency in package.path_dependencies:
            if not dependency.resolve().is_relative_to(root):
                message = f"the path dependency {dependency} is outside the copied tree"
                remedy = f"move it into {root}, or depend on a version or a git revision of it"
                raise BuildError(message, where=str(package.manifest_path), remedy=remedy)


def check_fresh(
    artifacts: Sequence[cargo.Artifact],
    workspace: cargo.Workspace,
    package: cargo.Package,
    recipe: Recipe,
    copy: Path,
) -> None:
    """Check that the crate, and each crate with an edited file, was compiled and not reused.

    Raises:
        BuildError: cargo found one of them up to date.
    """
    must = {package.id: package.name}
    for name in recipe.edits.contents:
        owner = workspace.owner(copy / name)
        if owner is None:
            message = f"{name} was edited, but belongs to no crate of the workspace"
            raise BuildError(message, remedy="tune constants of the workspace's own crates")
        must[owner.id] = owner.name
    for identity, name in must.items():
        own = [
            artifact
            for artifact in artifacts
            if artifact.package_id == identity and "custom-build" not in artifact.target.kind
        ]
        if not own:
            message = f"the crate `{name}` was not part of the build"
            remedy = "make the extension depend on it; an edit there changes nothing now"
            raise BuildError(message, remedy=remedy)
        if any(artifact.fresh for artifact in own):
            message = f"cargo reused the crate `{name}` instead of compiling the edit"
            remedy = "`perfkit cache clean`; check that the system's clock does not go backwards"
            raise BuildError(message, remedy=remedy)


def own_lines(
    artifacts: Sequence[cargo.Artifact],
    workspace: cargo.Workspace,
    lines: Sequence[RustcLine],
    bench: cargo.Artifact | None = None,
) -> dict[str, RustcLine]:
    """The rustc line of each of the workspace's own libraries in a build, by package.

    Args:
        artifacts: of the build.
        workspace: of the crate.
        lines: what the wrapper recorded, oldest first.
        bench: the bench that was built; its line is the last, under its target's name.

    Raises:
        BuildError: one was not seen, so that nothing can be said about how it was compiled.
    """
    names = {package.id: package.name for package in workspace.packages}
    wanted = [
        (names[artifact.package_id], artifact)
        for artifact in artifacts
        if artifact.package_id in names and not _LINKED_ALONE & set(artifact.target.kind)
    ]
    if bench is not None:
        wanted.append((bench.target.name, bench))
    return {name: _line_of(artifact, name, lines) for name, artifact in wanted}


def _line_of(artifact: cargo.Artifact, name: str, lines: Sequence[RustcLine]) -> RustcLine:
    """The newest line that compiled an artifact."""
    crate = artifact.target.name.replace("-", "_")
    folders = {str(file.parent) for file in artifact.filenames}
    folders |= {str(file.parent / "deps") for file in artifact.filenames}
    types = tuple(sorted(artifact.target.crate_types))
    for line in reversed(lines):
        if line.crate != crate or line.out_dir not in folders:
            continue
        program = artifact.executable
        if line.crate_types == types if program is None else line.file_stem == program.name:
            return line
    message = f"the rustc command line of `{name}` was not recorded"
    raise BuildError(message, remedy="`perfkit cache clean`, then run this again")


def first_proofs(recipe: Recipe) -> tuple[ParameterProof, ...]:
    """What is known before the build is loaded: `prove` says more."""
    known = ((Proof.DEFAULT, recipe.edits.unchanged), (Proof.UNPROVED, recipe.edits.changed))
    return tuple(
        ParameterProof(name=name, value=value, proof=proof)
        for proof, values in known
        for name, value in values.items()
    )


def optimisation(line: RustcLine, profile: str) -> tuple[Note, ...]:
    """A note on a crate that was compiled without optimisation.

    Raises:
        BuildError: the profile is one that optimises, so that this was not asked for.
    """
    if line.opt_level != "0":
        return ()
    text = f"the crate `{line.crate}` was compiled without optimisation (opt-level 0)"
    if profile not in ("release", "bench"):
        remedy = "set subject.profile to a profile that optimises"
        return (Note(id="debug-build", text=text, remedy=remedy),)
    remedy = (
        f"set opt-level in [profile.{profile}] of the workspace's Cargo.toml, "
        "or name another profile in subject.profile"
    )
    raise BuildError(text, details=line.show(), remedy=remedy)


def prove_same(release: Build, profiling: Build) -> None:
    """Check that a profiling build is the release build plus what was added on purpose.

    Raises:
        BuildError: the actual rustc lines differ in anything else.
    """
    left, right = (
        {line.crate: line for line in map(rustc.parse_line, build.rustc)}
        for build in (release, profiling)
    )
    problems = [f"{crate}: compiled in only one of the two" for crate in left.keys() ^ right.keys()]
    for crate in left.keys() & right.keys():
        missing, foreign = differences(left[crate], right[crate])
        problems += [f"{crate}: only in the release build: {word}" for word in missing]
        problems += [f"{crate}: only in the profiling build: {word}" for word in foreign]
        problems += [f"{crate}: {lack}" for lack in profiling_lacks(right[crate])]
    if problems:
        message = "the profiling build differs from the release build in more than its flags"
        remedy = "look for profile or flag settings that depend on the environment"
        raise BuildError(message, details="\n".join(problems), remedy=remedy)


def differences(
    release: RustcLine, profiling: RustcLine
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What differs between two lines besides what a profiling build is meant to add.

    Returns:
        Words of the release line that are missing, and words of the profiling line that were not
        asked for; both empty when the two builds are of one kind.
    """

    def only_in(one: RustcLine, other: RustcLine) -> tuple[str, ...]:
        words = (Counter(_normalised(one)) - Counter(_normalised(other))).elements()
        meant = (*cargo.PROFILING_FLAGS, "-Cdebuginfo=", "-Cstrip=")
        return tuple(word for word in words if not word.startswith(meant))

    return only_in(release, profiling), only_in(profiling, release)


def _normalised(line: RustcLine) -> list[str]:
    """A line without what differs between two target directories: their paths and cargo's hashes.

    Source: cargo puts a hash over profile and flags into `-C metadata`, `-C extra-filename` and
    the names of the files it passes on.
    """
    target = re.sub(r"/target/[0-9a-f]{12}(?=/|$).*", "", line.out_dir)
    folder = re.compile(re.escape(target) + r"/target/[0-9a-f]{12}(?=/|$)")
    return [
        re.sub(r"-[0-9a-f]{16}(?=[./]|$)", "", folder.sub("<target>", word))
        for word in line.joined_words
        if not word.startswith(("-Cmetadata=", "-Cextra-filename="))
    ]


def profiling_lacks(line: RustcLine) -> list[str]:
    """What a profiling build's line should say and does not, or takes back further on."""
    wanted = {
        "force-frame-pointers": ("yes", "y", "on", "true", "always"),
        "debuginfo": ("line-tables-only",),
        "strip": (None, "none"),
    }
    lacks = [
        f"-C {name} is {line.codegen.get(name)!r}"
        for name, good in wanted.items()
        if line.codegen.get(name) not in good
    ]
    if cargo.PROFILING_FLAGS[1] not in line.joined_words:
        lacks.append(f"{cargo.PROFILING_FLAGS[1]} is missing")
    return lacks


def prove(
    build: Build,
    loaded: LoadedModule,
    start: Build,
    params: Mapping[str, Value],
    *,
    project: Project | None = None,
    known: Sequence[Build] = (),
) -> tuple[ParameterProof, ...]:
    """Say for each parameter how it is known to be in force.

    In this order: the getter that the config names; the source as compiled, with a changed hash of
    the machine code; else unproved. A value that differs from the start's and changes neither
    machine code nor data reaches nothing: it is dead, whatever a getter says. The reverse does not
    hold: a getter that returns a constant is itself code that holds it, so that a constant which
    nothing else reads changes the machine code too. `Proof.GETTER` says that the value is in the
    binary, and not that it decides anything.

    Args:
        build: the build with the values.
        loaded: what the worker of that build says of itself.
        start: the unedited build of the same profile.
        params: the values asked for, by name in the config.
        project: for the names in the sources where they differ from the config's.
        known: earlier builds. Where several constants were edited at once, a changed hash says
            only that *one* of them is in it; each is proved then by a build with it alone.

    Raises:
        SubjectMismatchError: the getter reports another value than was asked for.
    """
    proofs = []
    for name, value in params.items():
        reported = _reported(name, loaded, project)
        if reported is not None and not _equal(reported, value) and _is_literal(value):
            message = f"the parameter {name} was set to {value!r}, but the module has {reported!r}"
            remedy = "make the getter report the constant that the config names"
            raise SubjectMismatchError(message, where=str(loaded.path), remedy=remedy)
        confirmed = reported is not None and _is_literal(value)
        if name in build.params:
            proof = _prove_const(name, build, start, known, confirmed=confirmed)
        elif confirmed:
            proof = Proof.GETTER
        else:
            proof = Proof.DEFAULT if name in build.initialisers else Proof.PASSED
        proofs.append(ParameterProof(name=name, value=value, proof=proof))
    return tuple(proofs)


def _prove_const(
    name: str, build: Build, start: Build, known: Sequence[Build], *, confirmed: bool
) -> Proof:
    alone = _alone(name, build, known)
    if alone is not None and _is_dead(name, alone, start):
        return Proof.DEAD
    if confirmed:
        return Proof.GETTER
    if alone is not None and alone.text_sha256 != start.text_sha256:
        return Proof.TEXT
    return Proof.UNPROVED


def _alone(name: str, build: Build, known: Sequence[Build]) -> Build | None:
    """The build in which a parameter is the only one that was edited, to the same value."""
    wanted = {name: build.params[name]}
    alike = (one for one in (build, *known) if one.profile is build.profile)
    return next((one for one in alike if dict(one.params) == wanted), None)


def _is_dead(name: str, build: Build, start: Build) -> bool:
    """Whether a value that is surely another one than the start's reaches nothing.

    A value that cannot be compared without a compiler might be the start's own, written another
    way; then equal code says nothing.
    """
    before, after = sources.literal(start.initialisers.get(name, "")), build.params[name]
    if before is None or not _is_literal(after) or _equal(before, after):
        return False
    return build.text_sha256 == start.text_sha256 and build.data_sha256 == start.data_sha256


def _reported(name: str, loaded: LoadedModule, project: Project | None) -> Value | None:
    names = [name]
    if project is not None and name in project.config.parameters:
        names.insert(0, source_name(name, project.config.parameters[name]))
    known = loaded.parameters or {}
    return next((known[candidate] for candidate in names if candidate in known), None)


def _is_literal(value: Value) -> bool:
    """Whether a value is itself, and not source text such as `L1_CACHE_SIZE / 32`."""
    return not isinstance(value, str)


def _equal(one: Value, other: Value) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return one == other

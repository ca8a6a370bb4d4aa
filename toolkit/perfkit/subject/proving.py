"""How each parameter of a build is known to be in force: by its getter or its machine code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit import sources
from perfkit.errors import SubjectMismatchError
from perfkit.records import Build, LoadedModule, ParameterProof, Proof, Value
from perfkit.subject.parameters import source_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.config import Project


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
        is_const = name in build.initialisers
        reported = _reported(name, loaded, project)
        if reported is not None and not _equal(reported, value) and _is_literal(value):
            message = f"the parameter {name} was set to {value!r}, but the module has {reported!r}"
            remedy = "see that the getter reports the constant that the config names"
            raise SubjectMismatchError(message, where=str(loaded.path), remedy=remedy)
        confirmed = reported is not None and _is_literal(value)
        if not is_const:
            proof = Proof.GETTER if confirmed else Proof.PASSED
        elif name not in build.params:
            proof = Proof.GETTER if confirmed else Proof.DEFAULT
        else:
            proof = _prove_const(name, build, start, known, confirmed=confirmed)
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
    for candidate in (build, *known):
        if dict(candidate.params) == {name: build.params[name]} and (
            candidate.profile is build.profile
        ):
            return candidate
    return None


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
    if loaded.parameters is None:
        return None
    names = [name]
    if project is not None and name in project.config.parameters:
        names.insert(0, source_name(name, project.config.parameters[name]))
    for candidate in names:
        if candidate in loaded.parameters:
            return loaded.parameters[candidate]
    return None


def _is_literal(value: Value) -> bool:
    """Whether a value says itself, and is no source text such as `L1_CACHE_SIZE / 32`."""
    return not isinstance(value, str)


def _equal(one: Value, other: Value) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return one == other

"""Tuning parameters: where their values come from, and how they reach the subject.

Which values to try is the tuner's business; finding and editing constants is `perfkit.sources`'.
That a value is in force is proved in `proof.py`.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from perfkit import sources
from perfkit.config import Backend, did_you_mean
from perfkit.errors import BuildError, NotRustError, SourceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from perfkit.config import Parameter, Project
    from perfkit.records import Value
    from perfkit.subject.shadow import SourceTree


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Parameter values by the way they reach the subject.

    Attributes:
        consts: by name in the config; the builder edits them.
        environment: variables of the worker.
        calls: setter reference to value, called after the import.
        arguments: keywords of the workload's call.
    """

    consts: Mapping[str, Value] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    calls: Mapping[str, Value] = field(default_factory=dict)
    arguments: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """What to write into the copy for some `const` parameters.

    Attributes:
        contents: whole edited files by path relative to the tree.
        changed: parameters whose text in the sources is another one now.
        unchanged: those whose wanted value the sources already have.
        initialisers: every `const` parameter's text in the unedited sources.
    """

    contents: Mapping[str, bytes]
    changed: Mapping[str, Value]
    unchanged: Mapping[str, Value]
    initialisers: Mapping[str, str]


def source_name(name: str, parameter: Parameter) -> str:
    """A parameter's name in the sources, environment or call."""
    return parameter.name or name


def start_values(project: Project, workload: str) -> dict[str, Value]:
    """The value that each parameter of a workload starts from, by name in the config.

    Parameters that decide the time of other workloads alone are left out: this one's call need not
    take their arguments.

    A constant's is read from the user's sources: as a number or truth value where the initialiser
    is one, or is whole-number arithmetic over constants of the same file; else its text.

    Raises:
        SourceError: a constant is not there, is there twice, or is inside a macro call.
        BuildError: the source that should hold it is not Rust.
    """
    values: dict[str, Value] = {}
    for name, parameter in project.config.parameters_of(workload).items():
        if parameter.start is not None:
            values[name] = parameter.start
            continue
        with _no_build_of_what_is_no_rust():
            found = _in_users_tree(project, parameter, source_name(name, parameter))
        values[name] = sources.read_value(found)
    return values


def assign(project: Project, params: Mapping[str, Value]) -> Assignment:
    """Sort values by how they reach the subject.

    Raises:
        UsageError: the config has no such parameter.
    """
    consts: dict[str, Value] = {}
    variables: dict[str, str] = {}
    calls: dict[str, Value] = {}
    arguments: dict[str, Value] = {}
    known = project.config.parameters
    for name, value in params.items():
        if name not in known:
            message = f"there is no parameter {name!r}{did_you_mean(name, list(known))}"
            raise UsageError(message, where=str(project.file))
        parameter = known[name]
        match parameter.backend:
            case Backend.CONST:
                consts[name] = value
            case Backend.ENV:
                variables[source_name(name, parameter)] = _plain(value)
            case Backend.CALL:
                if parameter.setter is None:  # the config model refuses this
                    message = f"the parameter `{name}` has no setter"
                    raise UsageError(message, where=str(project.file))
                calls[parameter.setter] = value
            case Backend.ARGUMENT:
                arguments[source_name(name, parameter)] = value
            case never:
                assert_never(never)
    return Assignment(consts=consts, environment=variables, calls=calls, arguments=arguments)


def short_name(project: Project, params: Mapping[str, Value]) -> str:
    """Values as a piece of a file name: `small8000-chunk512`; in the order of the config."""
    parts = []
    for name, parameter in project.config.parameters.items():
        if name in params:
            short = parameter.short or _initials(name)
            parts.append(re.sub(r"[^A-Za-z0-9.]+", "_", f"{short}{_plain(params[name])}"))
    return "-".join(parts) or "start"


def edit(project: Project, tree: SourceTree, tree_root: Path, params: Mapping[str, Value]) -> Edits:
    """Edit constants in a tree's contents; no file is written.

    Args:
        project: the configuration in force.
        tree: the sources to build.
        tree_root: the root of the user's own tree, that paths of the config lead into.
        params: `const` parameters by name in the config.

    Raises:
        SourceError: a constant is not there, is there twice, is inside a macro call, or does not
            take the value.
        BuildError: the source that should hold it is not Rust.
    """
    contents: dict[str, bytes] = {}
    changed: dict[str, Value] = {}
    unchanged: dict[str, Value] = {}
    initialisers: dict[str, str] = {}
    for name, parameter in project.config.parameters.items():
        if parameter.backend is not Backend.CONST:
            continue
        constant = source_name(name, parameter)
        with _no_build_of_what_is_no_rust():
            found = _in_tree(project, tree, tree_root, parameter, constant)
        initialisers[name] = found.site.value
        if name not in params:
            continue
        value = params[name]
        if same_value(value, found.site.value) or value == sources.read_value(found):
            unchanged[name] = value
            continue
        file = found.file.relative_to(tree.root).as_posix()
        before = contents.get(file)
        text = found.text if before is None else before.decode("utf-8")
        wanted = sources.format_value(value, found.site.type)
        edited = sources.replace(found.file, text, constant, wanted)
        if edited == text:
            message = f"setting `{constant}` to `{wanted}` changes nothing"
            raise SourceError(message, where=found.where, remedy="choose another value")
        contents[file] = edited.encode("utf-8")
        changed[name] = value
    return Edits(contents=contents, changed=changed, unchanged=unchanged, initialisers=initialisers)


def same_value(value: Value, text: str) -> bool:
    """Whether source text says exactly this value."""
    if isinstance(value, str):
        return "".join(value.split()) == "".join(text.split())
    read = sources.literal(text)
    return read is not None and type(read) is type(value) and read == value


@contextlib.contextmanager
def _no_build_of_what_is_no_rust() -> Iterator[None]:
    """Say of a source that cannot be parsed what it means to a command that is to build it."""
    try:
        yield
    except NotRustError as error:
        message = f"cannot build: this source cannot be parsed: {error.message}"
        raise BuildError(message, where=error.where, remedy=error.remedy) from error


def _in_users_tree(project: Project, parameter: Parameter, constant: str) -> sources.Found:
    """A constant in the user's own files."""
    if parameter.file is not None:
        file = project.resolve(parameter.file)
        if not file.is_file():
            message = f"there is no file here for the constant `{constant}`"
            raise SourceError(message, where=str(file), remedy="correct its `file`")
        return sources.find_in_file(file, sources.read(file), constant)
    files = itertools.chain.from_iterable(map(sources.rust_files, _search_folders(project)))
    return sources.find_in_tree(files, constant, searched=project.root)


def _search_folders(project: Project) -> list[Path]:
    """Where a constant is looked for whose file the config does not name."""
    root = project.root.resolve()
    crate = project.manifest.parent
    if root.is_relative_to(crate):
        return [crate]
    return [root] if crate.is_relative_to(root) else [root, crate]


def _in_tree(
    project: Project, tree: SourceTree, tree_root: Path, parameter: Parameter, constant: str
) -> sources.Found:
    """A constant in the tree to build, which can be another one than the user's own."""
    if parameter.file is not None:
        full = project.resolve(parameter.file)
        name = full.relative_to(tree_root).as_posix() if full.is_relative_to(tree_root) else ""
        if name not in tree.files:
            message = f"the file of the constant `{constant}` is not in the {tree.label}"
            remedy = "correct its `file`, and check that git does not ignore it"
            raise SourceError(message, where=str(full), remedy=remedy)
        return sources.find_in_file(tree.root / name, tree.read(name), constant)
    folders = _search_folders(project)
    files = (
        (tree.root / name, tree.read(name))
        for name in tree.files
        if name.endswith(".rs")
        and any((tree_root / name).is_relative_to(folder) for folder in folders)
    )
    return sources.find_in_tree(files, constant, searched=tree.root)


def _plain(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _initials(name: str) -> str:
    """`COPY_BLOCK_BYTES` is `cbb`; one word keeps its first six letters."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+", name) if word]
    return "".join(word[0] for word in words).lower() if len(words) > 1 else name[:6].lower()

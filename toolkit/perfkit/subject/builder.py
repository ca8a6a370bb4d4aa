"""Building the subject: from a tree and parameter values to an unpacked, proved, cached extension.

Here is the builder that others use. Which build is wanted is in `recipe.py`, how it is compiled in
`compile.py`, what is then proved in `proof.py`, and where it is kept in `cache.py`. Nothing here
runs the subject.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from perfkit import store
from perfkit.errors import BuildError, StoreError, TreeChangedError, UsageError
from perfkit.records import Build, Note, Profile
from perfkit.subject import cache, proof, shadow, wheel
from perfkit.subject.compile import Compiler
from perfkit.subject.recipe import Planner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from perfkit.config import Project
    from perfkit.records import Value
    from perfkit.subject.cache import BenchBuild, BuildPlace, Made
    from perfkit.subject.recipe import Recipe
    from perfkit.subject.shadow import SourceTree

_ATTEMPTS = 4
"""How often a tree is listed and copied when files change in between."""

_AS_IT_IS = Note(
    id="wheel_as_it_is",
    text="perfkit did not build this wheel: its flags are unknown, and a frame has a name only if "
    "the wheel's own symbols give it one",
    remedy="set subject.manifest to its sources, so that perfkit can profile a build with symbols",
)


class Builder:
    """Builds one project's subject; every build goes through the cache.

    Args:
        project: the configuration in force.
        cache: from `store.cache_directory`.
        progress: told in a few words what happens.
    """

    def __init__(
        self, project: Project, *, cache: Path, progress: Callable[[str], None] | None = None
    ) -> None:
        self._project = project
        self._planner = Planner(project, cache.absolute())
        self._progress = progress or (lambda _message: None)

    def build(
        self,
        params: Mapping[str, Value] | None = None,
        *,
        profile: Profile = Profile.RELEASE,
        source: SourceTree | None = None,
        codegen: Mapping[str, str] | None = None,
    ) -> Build:
        """Build the subject with some parameters edited, or take it from the cache.

        A subject that is a wheel is unpacked instead, whatever the profile: it has the symbols that
        it has.

        Args:
            params: values by name in the config; only those of backend `const` decide a build.
            profile: as shipped, or the same with symbols and frame pointers.
            source: another tree than the user's working one, from `revision`.
            codegen: settings of the cargo profile to replace, as TOML; of a release build alone.

        Raises:
            BuildError: it does not compile, or what came out is not what was asked for.
            SourceError: a constant is not there, or is not to be edited.
        """
        given = self._project.config.subject.wheel
        if given is not None and not params and source is None and codegen is None:
            return replace(self.from_wheel(self._project.resolve(given)), notes=(_AS_IT_IS,))
        built = self._made(
            Build,
            lambda: self._planner.recipe(params or {}, profile, source, codegen=codegen),
            Compiler.extension,
        )
        if profile is Profile.PROFILING and not built.cached:
            try:
                proof.prove_same(self.build(params, source=source), built)
            except BuildError:
                store.remove_tree(self._place.builds / built.key)
                raise
        return built

    def revision(self, name: str) -> SourceTree:
        """Take a git revision out into the cache, to be built by `build(source=…)`.

        Raises:
            UsageError: there is no such revision, or the project is not a git repository.
        """
        place = self._place
        if not place.is_git:
            message = f"there is no revision {name!r}, because the project is not a git repository"
            raise UsageError(message, where=str(place.tree_root), remedy="name a wheel instead")
        with self._locked():
            tree = shadow.revision_tree(
                place.tree_root, name, place=place.folder / "revisions", environment=place.base
            )
        return shadow.with_ignored(tree, self._planner.users_tree())

    def bench(
        self, workload: str | None = None, *, profile: Profile = Profile.RELEASE
    ) -> BenchBuild:
        """Build a workload's criterion bench, without running it.

        Args:
            workload: whose bench; that of the first workload when None.
            profile: as in `build`.

        Raises:
            ConfigError: the workload has no bench.
            BuildError: it does not compile.
        """
        chosen = self._planner.bench_of(workload)
        return self._made(
            cache.BenchBuild,
            lambda: self._planner.recipe({}, profile, None, bench=chosen),
            Compiler.bench,
        )

    def copy(self, build: Build) -> Build:
        """A byte copy of a build in another folder: the A/A arm.

        Raises:
            BuildError: the copy is not equal to the original.
        """
        key = f"copy-{build.key}"
        entry = self._place.builds / key
        known = self._load(Build, entry)
        if known is not None and known.file_sha256 == build.file_sha256:
            return known
        with self._locked(), cache.scratch(self._place) as folder:
            copied = replace(cache.copied(build, folder), key=key)
            if wheel.file_hash(copied.module_file) != build.file_sha256:
                message = "the copy of a build differs from the build"
                raise BuildError(message, where=str(build.module_file), remedy="check the disk")
            return cache.keep(entry, folder, copied, {"copy_of": build.key})

    def from_wheel(self, path: Path) -> Build:
        """Unpack a wheel that was not built here; its parameters and flags are not known.

        Raises:
            BuildError: it is not a wheel, or not of this module.
        """
        if not path.is_file():
            message = "there is no such wheel"
            raise BuildError(message, where=str(path), remedy="name an existing .whl file")
        entry = self._place.builds / f"wheel-{wheel.file_hash(path)[:20]}"
        known = self._load(Build, entry)
        if known is not None:
            return known
        with self._locked(), cache.scratch(self._place) as folder:
            module = self._project.config.subject.module
            build = wheel.take(path, folder / "root", entry.name, module)
            return cache.keep(entry, folder, build, {"wheel": path})

    @property
    def _place(self) -> BuildPlace:
        return self._planner.place

    @contextlib.contextmanager
    def _locked(self) -> Iterator[Compiler]:
        """One build at a time in one shadow copy."""
        module = self._project.config.subject.module
        with cache.locked(self._place, self._progress) as lock:
            yield Compiler(module, self._place, self._progress, lock=lock)

    def _made(
        self,
        kind: type[Made],
        plan: Callable[[], Recipe],
        make: Callable[[Compiler, Recipe], Made],
    ) -> Made:
        """A build from the cache, else a new one.

        When an editor writes a file while the tree is copied, this starts over with a new list.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                recipe = plan()
                known = self._find(kind, recipe)
                if known is not None:
                    return known
                with self._locked() as compiler:
                    return self._find(kind, recipe) or make(compiler, recipe)
            except TreeChangedError as error:
                if attempt == _ATTEMPTS:
                    raise
                self._progress(f"{error.where} was just written; copying again")
        raise AssertionError

    def _find(self, kind: type[Made], recipe: Recipe) -> Made | None:
        """The build of a recipe, if one is there whose sources were the same where it counts."""
        entries = sorted(self._place.builds.glob(f"{recipe.base}-*"))
        found = (self._load(kind, entry, recipe.tree) for entry in entries)
        return next(filter(None, found), None)

    def _load(self, kind: type[Made], entry: Path, tree: SourceTree | None = None) -> Made | None:
        """A build from the cache; None if there is none, or it is damaged or of another tree."""
        if not (entry / cache.BUILD_FILE).is_file():
            return None
        try:
            if tree is not None and not cache.inputs_of(entry).match(tree):
                return None
            return cache.load(kind, entry)
        except StoreError:
            self._progress(f"the cached build {entry.name} is damaged and is made again")
            return None

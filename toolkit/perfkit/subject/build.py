"""Building the subject: from a tree and parameter values to an unpacked, proved, cached extension.

Here are the builder that others use and the cache. Which build is wanted is in `plan.py`, where it
goes in `place.py`, how it is made in `compiler.py` and `bench.py`, and what is proved then in
`evidence.py`. Nothing here runs the subject.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from perfkit import store
from perfkit.errors import BuildError, StoreError, TreeChangedError, UsageError
from perfkit.records import Build, Note, Profile
from perfkit.subject import evidence, kept, shadow, wheel
from perfkit.subject import recipe as recipes
from perfkit.subject.bench import compile_bench
from perfkit.subject.compiler import BUILD_TIMEOUT_S, Compiler
from perfkit.subject.kept import BenchBuild
from perfkit.subject.place import locked, new_entry
from perfkit.subject.plan import Planner
from perfkit.subject.shadow import SourceTree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from perfkit.config import Bench, Project
    from perfkit.records import Value
    from perfkit.subject.place import Place
    from perfkit.subject.plan import Recipe

__all__ = ["BUILD_TIMEOUT_S", "BenchBuild", "Builder", "SourceTree"]

_ATTEMPTS = 4
"""How often a tree is listed and copied when files change in between."""

_AS_IT_IS = Note(
    id="wheel_as_it_is",
    text="the subject is a wheel that was not built here: its flags are not known, and frames have "
    "names only where its own symbols give them",
    remedy="name its sources by subject.manifest, so that a build with symbols can be profiled",
)

_Made = TypeVar("_Made", Build, BenchBuild)


class Builder:
    """Builds one project's subject; every build goes through the cache.

    Args:
        project: the configuration in force.
        cache: from `store.cache_directory`.
        progress: told in a few words what is going on.
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
        return self._unless_changed(lambda: self._build(params or {}, profile, source, codegen))

    def _build(
        self,
        params: Mapping[str, Value],
        profile: Profile,
        source: SourceTree | None,
        codegen: Mapping[str, str] | None,
    ) -> Build:
        recipe = self._planner.recipe(params, profile, source, bench=None, codegen=codegen)
        known = self._find(recipe)
        if known is not None:
            return known
        with self._locked() as compiler:
            known = self._find(recipe)
            built = known if known is not None else compiler.extension(recipe)
        if profile is Profile.PROFILING and known is None:
            self._prove_same(built, self.build(params, source=source))
        return built

    def _unless_changed(self, make: Callable[[], _Made]) -> _Made:
        """Start over with a new list of files when an editor writes one while they are copied."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return make()
            except TreeChangedError as error:
                self._progress(f"{error.where} was just written; copying again")
        return make()

    def revision(self, name: str) -> SourceTree:
        """Take a git revision out into the cache, to be built by `build(source=…)`.

        Raises:
            UsageError: there is no such revision, or the project is no git repository.
        """
        place = self._place
        if not place.is_git:
            message = f"there is no revision {name!r}: the project is no git repository"
            raise UsageError(message, where=str(place.tree_root), remedy="name a wheel instead")
        with self._locked():
            tree = shadow.revision_tree(
                place.tree_root, name, place=place.folder / "revisions", environment=place.base
            )
        return self._planner.with_ignored(tree)

    def bench(
        self,
        params: Mapping[str, Value] | None = None,
        *,
        profile: Profile = Profile.RELEASE,
        workload: str | None = None,
        source: SourceTree | None = None,
    ) -> BenchBuild:
        """Build a workload's criterion bench, without running it.

        Args:
            params: as in `build`.
            profile: as in `build`.
            workload: whose bench; of the first workload that has one when None.
            source: as in `build`.

        Raises:
            ConfigError: the workload has no bench.
            BuildError: it does not compile.
        """
        chosen = self._planner.bench_of(workload)
        return self._unless_changed(lambda: self._bench(params or {}, profile, source, chosen))

    def _bench(
        self,
        params: Mapping[str, Value],
        profile: Profile,
        source: SourceTree | None,
        chosen: Bench,
    ) -> BenchBuild:
        recipe = self._planner.recipe(params, profile, source, bench=chosen)
        known = self._find_bench(recipe)
        if known is not None:
            return known
        with self._locked() as compiler:
            known = self._find_bench(recipe)
            return known if known is not None else compile_bench(compiler, recipe, self._place)

    def copy(self, build: Build) -> Build:
        """A byte copy of a build in a folder of its own: the A/A arm.

        Raises:
            BuildError: the copy is not equal to the original.
        """
        key = f"{build.key}-copy"
        entry = self._place.builds / key
        known = self._load(entry)
        if known is not None and known.file_sha256 == build.file_sha256:
            return known
        with self._locked(), new_entry(self._place) as (temporary, name):
            name(entry.name)
            shutil.copytree(build.root, temporary / "root")
            module_file = temporary / "root" / build.module_file.relative_to(build.root)
            if wheel.file_hash(module_file) != build.file_sha256:
                message = "the copy of a build differs from the build"
                raise BuildError(message, where=str(build.module_file), remedy="check the disk")
            made = replace(
                build,
                key=key,
                root=entry / "root",
                module_file=entry / "root" / build.module_file.relative_to(build.root),
            )
            kept.save(temporary, made, {"copy_of": build.key})
        return made

    def from_wheel(self, path: Path) -> Build:
        """Unpack a wheel that somebody else built; its parameters and flags are not known.

        Raises:
            BuildError: it is no wheel, or not of this module.
        """
        if not path.is_file():
            message = "there is no such wheel"
            raise BuildError(message, where=str(path), remedy="name an existing .whl file")
        key = f"wheel-{wheel.file_hash(path)[:20]}"
        entry = self._place.builds / key
        known = self._load(entry)
        if known is not None:
            return known
        with self._locked(), new_entry(self._place) as (temporary, name):
            name(entry.name)
            wheel.unpack(path, temporary / "root")
            module = self._project.config.subject.module
            found = kept.describe_root(temporary / "root", entry / "root", module)
            build = Build(
                key=key,
                module=module,
                profile=Profile.RELEASE,
                params={},
                proofs=(),
                opt_level="",
                rustc=(),
                build_s=0.0,
                cached=False,
                **kept.fields_of(found),
            )
            kept.save(temporary, build, {"wheel": str(path)})
        return build

    @property
    def _place(self) -> Place:
        return self._planner.place

    @contextlib.contextmanager
    def _locked(self) -> Iterator[Compiler]:
        """One build at a time in one shadow copy."""
        with locked(self._place, self._progress) as lock:
            yield Compiler(self._project, self._place, self._progress, lock=lock)

    def _find(self, recipe: Recipe) -> Build | None:
        """The build of a recipe, if one is there whose sources were the same where it counts."""
        for entry in self._candidates(recipe):
            found = self._load(entry)
            if found is not None:
                return found
        return None

    def _find_bench(self, recipe: Recipe) -> BenchBuild | None:
        for entry in self._candidates(recipe):
            found = self._load_bench(entry)
            if found is not None:
                return found
        return None

    def _candidates(self, recipe: Recipe) -> Iterator[Path]:
        for entry in sorted(self._place.builds.glob(f"{recipe.base}-*")):
            document = self._read(entry)
            if document is not None and recipes.read_inputs(document).match(recipe.tree):
                yield entry

    def _load(self, entry: Path) -> Build | None:
        """A build from the cache; None when it is not there or damaged."""
        document = self._read(entry)
        if document is None:
            return None
        try:
            build = kept.read_build(document["build"])
            whole = wheel.file_hash(build.module_file) == build.file_sha256
        except (KeyError, TypeError, ValueError, OSError):
            whole = False
            build = None
        if build is None or not whole:
            self._progress(f"the cached build {entry.name} is damaged and is made again")
            return None
        return build

    def _load_bench(self, entry: Path) -> BenchBuild | None:
        document = self._read(entry)
        if document is None:
            return None
        try:
            build = kept.read_bench(document["build"])
            whole = wheel.file_hash(build.executable) == build.file_sha256
        except (KeyError, TypeError, ValueError, OSError):
            whole = False
            build = None
        if build is None or not whole:
            self._progress(f"the cached bench {entry.name} is damaged and is made again")
            return None
        return build

    def _read(self, entry: Path) -> Any:  # noqa: ANN401  # the JSON types
        if not (entry / kept.BUILD_FILE).is_file():
            return None
        try:
            return store.read_json(entry / kept.BUILD_FILE)
        except StoreError:
            self._progress(f"the cached build {entry.name} is damaged and is made again")
            return None

    def _prove_same(self, profiling: Build, release: Build) -> None:
        """See that a profiling build is the release build plus what was added on purpose.

        Raises:
            BuildError: the actual rustc lines differ in anything else.
        """
        problems = evidence.line_differences(release, profiling)
        if problems:
            store.remove_tree(self._place.builds / profiling.key)
            message = "the profiling build differs from the release build in more than its flags"
            remedy = "look for profile or flag settings that depend on the environment"
            raise BuildError(message, details="\n".join(problems), remedy=remedy)

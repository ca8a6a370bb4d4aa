"""Building the subject: from a tree and parameter values to an unpacked, proved, cached extension.

What is copied is in `shadow.py`, what cargo says in `cargo.py`, what a wheel holds in `wheel.py`.
Nothing here runs the subject.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import re
import secrets
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

import filelock

from perfkit import environment, process, store
from perfkit.config import Backend, Bench, did_you_mean
from perfkit.errors import (
    BuildError,
    ConfigError,
    StoreError,
    ToolTimedOutError,
    TreeChangedError,
    UsageError,
)
from perfkit.records import Build, Note, ParameterProof, Profile, Proof
from perfkit.subject import cargo, inputs, kept, parameters, remedies, shadow, wheel
from perfkit.subject import recipe as recipes
from perfkit.subject.kept import BenchBuild

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from perfkit.config import Project
    from perfkit.records import Value
    from perfkit.subject.shadow import SourceTree

BUILD_TIMEOUT_S = 3600.0
"""A build that takes longer hangs, most likely on another cargo's lock."""

_ATTEMPTS = 4
"""How often a tree is listed and copied when files change in between."""

_LAYOUT = 2
"""Part of every key: another number when what is kept of a build changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a project's copy and builds are, and what holds for all its builds."""

    tree_root: Path
    is_git: bool
    folder: Path
    shadow: Path
    base: Mapping[str, str]

    @property
    def builds(self) -> Path:
        return self.folder / "builds"

    @property
    def state(self) -> Path:
        return self.folder / "shadow.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipe:
    """Everything that decides what one build is.

    Attributes:
        base: hash over everything but the sources, whose part in it `inputs.py` finds out.
        edits: edited contents by relative path.
        params: the `const` parameters whose text was changed.
        unchanged: those asked for with the value that the sources have.
        initialisers: every `const` parameter's text in the unedited sources.
        cwd: where maturin runs, relative to the tree.
        manifest: the crate's Cargo.toml, relative to the tree.
        flags: arguments that add rustc flags and profile settings.
        target: cargo's folder for its results.
    """

    base: str
    tree: SourceTree
    edits: Mapping[str, bytes]
    params: Mapping[str, Value]
    unchanged: Mapping[str, Value]
    initialisers: Mapping[str, str]
    profile: Profile
    cargo_profile: str
    features: tuple[str, ...]
    cwd: PurePosixPath
    manifest: PurePosixPath
    python: Path
    flags: tuple[str, ...]
    environment: Mapping[str, str]
    target: Path
    toolchain: str
    bench: Bench | None = None

    @property
    def log(self) -> Path:
        """Where perfkit's own records of a target folder are."""
        return self.target / "perfkit"


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
        self._cache = cache.absolute()
        self._progress = progress or (lambda _message: None)
        self._known_place: _Place | None = None
        self._toolchains: dict[Path, cargo.Toolchain] = {}
        self._roots: dict[Path, Path] = {}

    def build(
        self,
        params: Mapping[str, Value] | None = None,
        *,
        profile: Profile = Profile.RELEASE,
        source: SourceTree | None = None,
    ) -> Build:
        """Build the subject with some parameters edited, or take it from the cache.

        Args:
            params: values by name in the config; only those of backend `const` decide a build.
            profile: as shipped, or the same with symbols and frame pointers.
            source: another tree than the user's working one, from `revision`.

        Raises:
            BuildError: it does not compile, or what came out is not what was asked for.
            SourceError: a constant is not there, or is not to be edited.
        """
        return self._unless_changed(lambda: self._build(params or {}, profile, source))

    def _build(
        self, params: Mapping[str, Value], profile: Profile, source: SourceTree | None
    ) -> Build:
        recipe = self._recipe(params, profile, source, bench=None)
        known = self._find(recipe)
        if known is not None:
            return known
        with self._locked():
            known = self._find(recipe)
            built = known if known is not None else self._compile(recipe)
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
        lock = self._lock_name(self._project.resolve(self._project.config.subject.manifest))
        if lock in tree.files or not (place.tree_root / lock).is_file():
            return tree
        # The revision does not track a lock file: the user's own keeps the dependencies equal.
        (tree.root / lock).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(place.tree_root / lock, tree.root / lock)
        return shadow.add_file(tree, lock)

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
        chosen = self._bench_of(workload)
        return self._unless_changed(lambda: self._bench(params or {}, profile, source, chosen))

    def _bench(
        self,
        params: Mapping[str, Value],
        profile: Profile,
        source: SourceTree | None,
        chosen: Bench,
    ) -> BenchBuild:
        recipe = self._recipe(params, profile, source, bench=chosen)
        known = self._find_bench(recipe)
        if known is not None:
            return known
        with self._locked():
            known = self._find_bench(recipe)
            return known if known is not None else self._compile_bench(recipe)

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
        with self._locked(), self._entry() as (temporary, name):
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
        with self._locked(), self._entry() as (temporary, name):
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
                **_of(found),
            )
            kept.save(temporary, build, {"wheel": str(path)})
        return build

    # What holds for the project --------------------------------------------------------------

    @property
    def _place(self) -> _Place:
        if self._known_place is None:
            self._known_place = self._find_place()
        return self._known_place

    def _find_place(self) -> _Place:
        project = self._project
        subject = project.config.subject
        base = environment.base_environment(
            project.environ, extra=subject.environment, passed=subject.pass_environment
        )
        manifest = project.resolve(subject.manifest)
        members = cargo.workspace_root(manifest, base)
        root, is_git = shadow.tree_root(members, base)
        if not is_git:
            root = project.root.resolve()
            if root.is_relative_to(members):
                root = members
        for needed in (members, manifest.parent, project.root.resolve()):
            if not needed.is_relative_to(root):
                message = f"{needed} lies outside of the tree to copy, {root}"
                remedy = "put perfkit.toml at the root of the repository that holds the crate"
                raise ConfigError(message, where=str(project.file), remedy=remedy)
        folder = self._cache / "projects" / store.project_key(project.root)
        return _Place(
            tree_root=root,
            is_git=is_git,
            folder=folder,
            shadow=recipes.shadow_folder(folder / "shadow", root, base),
            base=base,
        )

    def _working_tree(self) -> SourceTree:
        place = self._place
        tree = shadow.working_tree(
            place.tree_root,
            is_git=place.is_git,
            environment=place.base,
            skip=(self._project.profiles,),
        )
        manifests = [self._project.config.subject.manifest]
        manifests += [
            workload.bench.manifest
            for workload in self._project.config.workloads.values()
            if workload.bench is not None and workload.bench.manifest is not None
        ]
        for manifest in manifests:
            tree = shadow.add_file(tree, self._lock_name(self._project.resolve(manifest)))
        return tree

    def _lock_name(self, manifest: Path) -> str:
        """The Cargo.lock of a manifest's workspace, relative to the tree."""
        if manifest not in self._roots:
            self._roots[manifest] = cargo.workspace_root(manifest, self._place.base)
        members = self._roots[manifest]
        if not members.is_relative_to(self._place.tree_root):
            return shadow.LOCK_FILE
        return (members.relative_to(self._place.tree_root) / shadow.LOCK_FILE).as_posix()

    def _toolchain(self, tree: SourceTree) -> cargo.Toolchain:
        # A tree that names its toolchain is asked itself; else what holds in the user's folder.
        named = any(name in tree.files for name in ("rust-toolchain", "rust-toolchain.toml"))
        folder = tree.root if named else self._place.tree_root
        if folder not in self._toolchains:
            outside = self._place.folder
            outside.mkdir(parents=True, exist_ok=True)
            self._toolchains[folder] = cargo.toolchain(folder, outside, self._place.base)
        return self._toolchains[folder]

    def _bench_of(self, workload: str | None) -> Bench:
        workloads = self._project.config.workloads
        if workload is not None:
            name, chosen = self._project.workload(workload)
            if chosen.bench is None:
                message = f"the workload `{name}` has no criterion bench"
                remedy = f"add [workloads.{name}.bench] to the config"
                raise ConfigError(message, where=str(self._project.file), remedy=remedy)
            return chosen.bench
        for entry in workloads.values():
            if entry.bench is not None:
                return entry.bench
        message = "no workload has a criterion bench"
        remedy = "add [workloads.<name>.bench] to the config"
        raise ConfigError(message, where=str(self._project.file), remedy=remedy)

    # What one build is -----------------------------------------------------------------------

    def _recipe(
        self,
        params: Mapping[str, Value],
        profile: Profile,
        source: SourceTree | None,
        *,
        bench: Bench | None,
    ) -> _Recipe:
        place, subject = self._place, self._project.config.subject
        tree = source if source is not None else self._working_tree()
        edits = self._edits(tree, params)
        toolchain = self._toolchain(tree)
        manifest = self._relative(subject.manifest if bench is None else bench.manifest)
        cwd = recipes.project_folder(tree, manifest) if bench is None else manifest.parent
        configs = [cargo.read_config(file) for file in self._config_files(tree, cwd)]
        python = recipes.interpreter(self._project)
        flags, added = recipes.extra_flags(
            profile, subject.profile, configs, toolchain.host, place.base
        )
        target = recipes.digest([toolchain.version, flags, added, str(python), bench is not None])[
            :12
        ]
        log = place.folder / "target" / target / "perfkit"
        tools = cargo.write_tools(self._cache / "tools")
        inner = cargo.inner_wrapper(configs, place.base)
        variables = {
            **place.base,
            **toolchain.environment,
            **added,
            "PYO3_PYTHON": str(python),
            "PERFKIT_CARGO": str(process.require_program("cargo", place.base)),
            "PERFKIT_MESSAGES": str(log / "messages.json"),
            "PERFKIT_RUSTC_LINES": str(log / "lines"),
            "RUSTC_WORKSPACE_WRAPPER": str(tools[1]),
        }
        if bench is None:
            variables["CARGO"] = str(tools[0])
        if inner is not None:
            variables["PERFKIT_INNER_WRAPPER"] = inner
        features = subject.features if bench is None else bench.features
        ingredients = [
            _LAYOUT,
            dict(edits.changed),
            configs,
            toolchain.version,
            importlib.metadata.version("maturin"),
            [profile, subject.profile, features, str(cwd), str(manifest), flags, subject.module],
            [bench.target, bench.manifest] if bench is not None else None,
            variables,
            str(place.shadow),
        ]
        return _Recipe(
            base=recipes.digest(ingredients)[:20],
            tree=tree,
            edits=edits.contents,
            params=edits.changed,
            unchanged=edits.unchanged,
            initialisers=edits.initialisers,
            profile=profile,
            cargo_profile=subject.profile,
            features=features,
            cwd=cwd,
            manifest=manifest,
            python=python,
            flags=tuple(flags),
            environment=variables,
            target=place.folder / "target" / target,
            toolchain=toolchain.version,
            bench=bench,
        )

    def _edits(self, tree: SourceTree, params: Mapping[str, Value]) -> parameters.Edits:
        known = self._project.config.parameters
        for name in params:
            if name not in known:
                message = f"there is no parameter {name!r}{did_you_mean(name, list(known))}"
                raise UsageError(message, where=str(self._project.file))
        consts = {
            name: value for name, value in params.items() if known[name].backend is Backend.CONST
        }
        return parameters.edit(self._project, tree, self._place.tree_root, consts)

    def _relative(self, path: Path | None) -> PurePosixPath:
        """A path of the config relative to the tree; the subject's manifest for None."""
        full = self._project.resolve(path or self._project.config.subject.manifest)
        if not full.is_relative_to(self._place.tree_root):
            message = f"{full} lies outside of the tree to copy, {self._place.tree_root}"
            raise ConfigError(message, where=str(self._project.file), remedy="move it inside")
        return PurePosixPath(full.relative_to(self._place.tree_root).as_posix())

    def _config_files(self, tree: SourceTree, cwd: PurePosixPath) -> list[Path]:
        """The cargo configurations that hold in the shadow copy, nearest first."""
        inside = [
            file
            for file in cargo.config_files(tree.root / cwd, {})
            if file.is_relative_to(tree.root)
        ]
        return inside + cargo.config_files(self._place.tree_root.parent, self._place.base)

    # Compiling -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One build at a time in one shadow copy."""
        self._place.folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self._place.folder / "build.lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            self._progress("waiting for another perfkit that builds the same project")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def _entry(self) -> Iterator[tuple[Path, Callable[[str], Path]]]:
        """A folder that becomes a cache entry when the block ends well, and vanishes when not.

        The block names the entry by calling the second value, which returns the entry's place.
        """
        builds = self._place.builds
        builds.mkdir(parents=True, exist_ok=True)
        for left in builds.glob(".*.tmp"):  # of builds that were killed
            shutil.rmtree(left, ignore_errors=True)
        temporary = builds / f".{secrets.token_hex(8)}.tmp"
        temporary.mkdir()
        named: list[Path] = []

        def name(text: str) -> Path:
            named.append(builds / text)
            return named[-1]

        try:
            yield temporary, name
            store.remove_tree(named[-1])
            temporary.rename(named[-1])
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _inputs(
        self,
        recipe: _Recipe,
        workspace: cargo.Workspace,
        package: cargo.Package,
        artifacts: Sequence[cargo.Artifact],
        lines: Iterable[cargo.RustcLine],
    ) -> inputs.Inputs:
        """What of the tree decided the build that has just been made."""
        own = {item.id for item in workspace.packages}
        return inputs.of_build(
            recipe.tree,
            copy=self._place.shadow,
            workspace=workspace,
            package=package,
            artifacts=[artifact for artifact in artifacts if artifact.package_id in own],
            lines=lines,
            pyproject=recipe.cwd,
            module=self._project.config.subject.module,
        )

    def _prepare(self, recipe: _Recipe) -> tuple[cargo.Workspace, cargo.Package]:
        """Bring the shadow up to date, and make sure that the crate is compiled afresh."""
        place = self._place
        _refuse_outside(recipe)
        self._progress(f"copying the sources ({recipe.tree.label})")
        shadow.sync(recipe.tree, place.shadow, recipe.edits, place.state)
        manifest = place.shadow / recipe.manifest
        workspace = cargo.workspace(manifest, recipe.environment)
        package = workspace.package(manifest)
        if not (workspace.root / shadow.LOCK_FILE).is_file():
            self._progress("making a Cargo.lock in the copy: the project has none")
            self._run_cargo(recipe, "generate-lockfile", "--manifest-path", manifest)
        _keep_lines(recipe.log)
        now = time.time()
        for touched in (package.lib_source, *(place.shadow / name for name in recipe.edits)):
            if touched is not None:
                os.utime(touched, (now, now))
        return workspace, package

    def _run_cargo(self, recipe: _Recipe, *words: str | Path) -> None:
        program = recipe.environment["PERFKIT_CARGO"]
        done = process.run(
            [program, *words],
            env={k: v for k, v in recipe.environment.items() if k != "CARGO"},
            cwd=self._place.shadow / recipe.cwd,
            timeout_s=BUILD_TIMEOUT_S,
            ok_codes=None,
        )
        if done.returncode != 0:
            raise _failure(done, "cargo")

    def _compile(self, recipe: _Recipe) -> Build:
        workspace, package = self._prepare(recipe)
        with self._entry() as (temporary, name):
            out = temporary / "wheel"
            words = recipes.maturin_words(
                manifest=self._place.shadow / recipe.manifest,
                out=out,
                target=recipe.target,
                cargo_profile=recipe.cargo_profile,
                features=recipe.features,
                python=recipe.python,
                flags=recipe.flags,
                profile=recipe.profile,
            )
            argv = [*recipes.maturin(), *words]
            done = self._run_build(recipe, argv, "maturin")
            messages = (recipe.log / "messages.json").read_text(encoding="utf-8")
            artifacts = cargo.read_artifacts(messages)
            _check_fresh(artifacts, workspace, package, recipe, self._place.shadow)
            lines = _own_lines(artifacts, workspace, recipe)
            own = lines[package.name]
            decisive = self._inputs(recipe, workspace, package, artifacts, lines.values())
            entry = name(recipes.entry_name(recipe.base, decisive))
            cargo.refuse_debug(own, recipe.cargo_profile)
            wheels = sorted(out.glob("*.whl"))
            if len(wheels) != 1:
                message = f"maturin wrote {len(wheels)} wheels where one was asked for"
                raise BuildError(message, details=", ".join(path.name for path in wheels))
            wheel.check_name(
                wheels[0], recipes.distribution(self._place.shadow / recipe.cwd, package)
            )
            wheel.unpack(wheels[0], temporary / "root")
            wheels[0].unlink()
            out.rmdir()
            module = self._project.config.subject.module
            found = kept.describe_root(temporary / "root", entry / "root", module)
            build = Build(
                key=entry.name,
                module=module,
                profile=recipe.profile,
                params=dict(recipe.params),
                proofs=_first_proofs(recipe),
                opt_level=own.opt_level,
                rustc=tuple(line.show() for line in lines.values()),
                build_s=done.wall_s,
                cached=False,
                initialisers=dict(recipe.initialisers),
                notes=(*recipe.tree.notes, *_notes(own)),
                **_of(found),
            )
            kept.save(temporary, build, _circumstances(recipe, done, decisive))
            (temporary / "messages.json").write_text(messages, encoding="utf-8")
            (temporary / "output.txt").write_text(done.stderr, encoding="utf-8")
        return build

    def _compile_bench(self, recipe: _Recipe) -> BenchBuild:
        if recipe.bench is None:
            raise AssertionError
        workspace, package = self._prepare(recipe)
        arguments = recipes.bench_words(
            manifest=package.manifest,
            bench=recipe.bench.target,
            target=recipe.target,
            cargo_profile=recipe.cargo_profile,
            features=recipe.features,
            flags=recipe.flags,
        )
        with self._entry() as (temporary, name):
            argv = [recipe.environment["PERFKIT_CARGO"], "bench", "--no-run", *arguments]
            argv.append("--message-format=json-render-diagnostics")
            done = self._run_build(recipe, argv, "cargo")
            artifacts = cargo.read_artifacts(done.stdout)
            found = [
                artifact
                for artifact in artifacts
                if artifact.executable is not None
                and artifact.target == recipe.bench.target
                and "bench" in artifact.kinds
            ]
            if len(found) != 1 or found[0].executable is None:
                message = f"cargo built no bench `{recipe.bench.target}`"
                raise BuildError(message, remedy="correct [workloads.*.bench] target")
            executable = temporary / recipe.bench.target
            shutil.copy2(found[0].executable, executable)
            lines = _own_lines(artifacts, workspace, recipe)
            own = cargo.crate_line(_known_lines(recipe.log), found[0])
            if own is None:
                message = f"the rustc line of the bench `{recipe.bench.target}` was not seen"
                raise BuildError(message, remedy="`perfkit cache clean`, then run this again")
            every = [*lines.values(), own]
            decisive = self._inputs(recipe, workspace, package, artifacts, every)
            entry = name(recipes.entry_name(recipe.base, decisive))
            build = BenchBuild(
                key=entry.name,
                executable=entry / recipe.bench.target,
                file_sha256=wheel.file_hash(executable),
                profile=recipe.profile,
                params=dict(recipe.params),
                opt_level=own.opt_level,
                rustc=tuple(line.show() for line in every),
                directory=package.folder,
                manifest=package.manifest,
                environment=self._bench_environment(recipe, executable),
                arguments=tuple(arguments),
                cargo_environment=dict(recipe.environment),
                build_s=done.wall_s,
                cached=False,
            )
            kept.save(temporary, build, _circumstances(recipe, done, decisive))
        return build

    def _bench_environment(self, recipe: _Recipe, executable: Path) -> dict[str, str]:
        """What the bench starts with; a bench linked to libpython finds it."""
        variables = dict(self._place.base)
        if b"libpython" not in executable.read_bytes():
            return variables
        code = "import sysconfig; print(sysconfig.get_config_var('LIBDIR') or '')"
        done = process.run([recipe.python, "-I", "-c", code], env=variables, timeout_s=60)
        folders = [done.stdout.strip(), variables.get("LD_LIBRARY_PATH", "")]
        return {**variables, "LD_LIBRARY_PATH": ":".join(filter(None, folders))}

    def _run_build(
        self, recipe: _Recipe, argv: Sequence[str | Path], tool: str
    ) -> process.Completed:
        """Run maturin or cargo, passing on what they compile, and explain a failure."""
        waiting = False

        def hear(line: str) -> None:
            nonlocal waiting
            waiting = remedies.WAITING_TEXT in line
            if waiting or re.match(r"\s*(Compiling|Updating|Downloading|Locking)\b", line):
                self._progress(line.strip())

        self._progress(f"building ({recipe.profile})")
        (recipe.log / "messages.json").unlink(missing_ok=True)
        try:
            done = process.run(
                argv,
                env=recipe.environment,
                cwd=self._place.shadow / recipe.cwd,
                timeout_s=BUILD_TIMEOUT_S,
                ok_codes=None,
                on_stderr_line=hear,
            )
        except ToolTimedOutError as error:
            message = error.message
            if waiting:
                message += "; another cargo holds the lock it waits for"
            raise BuildError(message, where=error.where, remedy="end the other cargo") from error
        if done.returncode != 0:
            raise _failure(done, tool)
        return done

    # The cache -------------------------------------------------------------------------------

    def _find(self, recipe: _Recipe) -> Build | None:
        """The build of a recipe, if one is there whose sources were the same where it counts."""
        for entry in self._candidates(recipe):
            found = self._load(entry)
            if found is not None:
                return found
        return None

    def _find_bench(self, recipe: _Recipe) -> BenchBuild | None:
        for entry in self._candidates(recipe):
            found = self._load_bench(entry)
            if found is not None:
                return found
        return None

    def _candidates(self, recipe: _Recipe) -> Iterator[Path]:
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
        problems = _line_differences(release, profiling)
        if problems:
            store.remove_tree(self._place.builds / profiling.key)
            message = "the profiling build differs from the release build in more than its flags"
            remedy = "look for profile or flag settings that depend on the environment"
            raise BuildError(message, details="\n".join(problems), remedy=remedy)


def _of(found: kept.Unpacked) -> dict[str, Any]:
    """The fields of a build that its files say."""
    return {name: getattr(found, name) for name in kept.Unpacked.__slots__}


def _failure(done: process.Completed, tool: str) -> BuildError:
    """A build that did not succeed, with the compiler's own words."""
    output = f"{done.stderr}\n{done.stdout if tool != 'cargo' else ''}"
    known = remedies.explain(output)
    ended = f"with exit code {done.returncode}"
    if done.returncode < 0:
        ended = f"by signal {-done.returncode}"
    message = f"the build failed: {tool} ended {ended}"
    if known is not None:
        message += f"; {known.means}"
    return BuildError(
        message,
        where=process.show(done.argv),
        details=remedies.error_text(output),
        remedy=known.remedy if known is not None else "correct what the compiler names",
    )


def _refuse_outside(recipe: _Recipe) -> None:
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


def _check_fresh(
    artifacts: Sequence[cargo.Artifact],
    workspace: cargo.Workspace,
    package: cargo.Package,
    recipe: _Recipe,
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


def _keep_lines(log: Path) -> None:
    """Move what the rustc wrapper left behind into the folder's record, also after a kill."""
    folder = log / "lines"
    folder.mkdir(parents=True, exist_ok=True)
    lines = _known_lines(log)
    store.write_whole(log / "rustc.json", json.dumps([line.words for line in lines]))
    for file in folder.iterdir():
        file.unlink()


def _known_lines(log: Path) -> list[cargo.RustcLine]:
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


def _own_lines(
    artifacts: Sequence[cargo.Artifact], workspace: cargo.Workspace, recipe: _Recipe
) -> dict[str, cargo.RustcLine]:
    """The rustc line of each of the workspace's own libraries in a build, by package.

    Raises:
        BuildError: one was not seen, so that nothing can be said about how it was compiled.
    """
    lines = _known_lines(recipe.log)
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


def _first_proofs(recipe: _Recipe) -> tuple[ParameterProof, ...]:
    """What is known before the build is loaded: `parameters.prove` says more."""
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


def _notes(line: cargo.RustcLine) -> tuple[Note, ...]:
    if line.opt_level != "0":
        return ()
    text = f"the crate `{line.crate}` was compiled without optimisation (opt-level 0)"
    remedy = "set subject.profile to a profile with optimisation"
    return (Note(id="debug-build", text=text, remedy=remedy),)


def _circumstances(
    recipe: _Recipe, done: process.Completed, decisive: inputs.Inputs
) -> dict[str, object]:
    """What led to a build, kept beside it."""
    return {
        "inputs": decisive,
        "command": list(done.argv),
        "environment": dict(recipe.environment),
        "toolchain": recipe.toolchain,
        "source": recipe.tree.label,
        "flags": list(recipe.flags),
        "features": list(recipe.features),
        "interpreter": str(recipe.python),
        "edits": {name: hashlib.sha256(text).hexdigest() for name, text in recipe.edits.items()},
    }


def _line_differences(release: Build, profiling: Build) -> list[str]:
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

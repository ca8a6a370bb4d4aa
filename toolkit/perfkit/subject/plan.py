"""What one build is: its tree, edits, toolchain, flags and environment, gathered into a recipe.

Where that leads to is in `place.py`, the words of the command lines are in `recipe.py`. Nothing
here compiles.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from perfkit import process
from perfkit.config import Backend, Bench, did_you_mean
from perfkit.errors import ConfigError, UsageError
from perfkit.subject import cargo, parameters, shadow
from perfkit.subject import recipe as recipes
from perfkit.subject.place import Place, find_place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.config import Project
    from perfkit.records import Profile, Value
    from perfkit.subject.shadow import SourceTree

_LAYOUT = 2
"""Part of every key: another number when what is kept of a build changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
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


class Planner:
    """Makes the recipes of one project's builds; asks cargo and rustc once for what stays.

    Args:
        project: the configuration in force.
        cache: perfkit's cache, as an absolute path.
    """

    def __init__(self, project: Project, cache: Path) -> None:
        self._project = project
        self._cache = cache
        self._known_place: Place | None = None
        self._toolchains: dict[Path, cargo.Toolchain] = {}
        self._roots: dict[Path, Path] = {}

    @property
    def place(self) -> Place:
        """Where the project's builds are."""
        if self._known_place is None:
            self._known_place = find_place(self._project, self._cache)
        return self._known_place

    def recipe(
        self,
        params: Mapping[str, Value],
        profile: Profile,
        source: SourceTree | None,
        *,
        bench: Bench | None,
        codegen: Mapping[str, str] | None = None,
    ) -> Recipe:
        """Everything that decides one build; nothing is written but perfkit's own tools.

        Args:
            params: values by name in the config.
            profile: as shipped, or with symbols and frame pointers.
            source: the tree; the user's working one when None.
            bench: the criterion bench to build instead of the extension.
            codegen: settings of the cargo profile to replace.

        Raises:
            UsageError: a parameter is not in the config.
            SourceError: a constant is not there, or is not to be edited.
            BuildError: a source that should hold a constant cannot be parsed.
            ConfigError: the subject is a wheel.
        """
        crate = self._project.manifest
        place, subject = self.place, self._project.config.subject
        tree = source if source is not None else self._working_tree()
        edits = self._edits(tree, params)
        toolchain = self._toolchain(tree)
        manifest = self._relative(crate if bench is None else bench.manifest)
        cwd = recipes.project_folder(tree, manifest) if bench is None else manifest.parent
        for name in _configs_inside(tree.root, cwd):
            tree = shadow.add_file(tree, name)
        configs = [cargo.read_config(file) for file in self._config_files(tree, cwd)]
        python = recipes.interpreter(self._project)
        flags, added = recipes.extra_flags(
            profile, subject.profile, configs, toolchain.host, place.base, codegen
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
        return Recipe(
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

    def bench_of(self, workload: str | None) -> Bench:
        """A workload's bench; that of the first workload that has one when None.

        Raises:
            ConfigError: there is none.
        """
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

    def with_ignored(self, tree: SourceTree) -> SourceTree:
        """A revision's tree with the user's own files that no revision can hold: the Cargo.lock
        where it tracks none, and the cargo configurations that git ignores.

        They keep dependencies and flags equal on both sides of a comparison.
        """
        root = self.place.tree_root
        crate = self._project.manifest
        lock = self._lock_name(crate)
        if lock not in tree.files and (root / lock).is_file():
            tree = shadow.take_file(tree, lock, root)
        manifest = self._relative(crate)
        listed = self._listed()
        for name in _configs_inside(root, recipes.project_folder(listed, manifest)):
            if name not in listed.files:
                tree = shadow.take_file(tree, name, root)
        return tree

    def _listed(self) -> SourceTree:
        """The user's tree as git lists it."""
        place = self.place
        return shadow.working_tree(
            place.tree_root,
            is_git=place.is_git,
            environment=place.base,
            skip=(self._project.profiles,),
        )

    def _working_tree(self) -> SourceTree:
        tree = self._listed()
        manifests = [self._project.manifest]
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
            self._roots[manifest] = cargo.workspace_root(manifest, self.place.base)
        members = self._roots[manifest]
        if not members.is_relative_to(self.place.tree_root):
            return shadow.LOCK_FILE
        return (members.relative_to(self.place.tree_root) / shadow.LOCK_FILE).as_posix()

    def _toolchain(self, tree: SourceTree) -> cargo.Toolchain:
        # A tree that names its toolchain is asked itself; else what holds in the user's folder.
        named = any(name in tree.files for name in ("rust-toolchain", "rust-toolchain.toml"))
        folder = tree.root if named else self.place.tree_root
        if folder not in self._toolchains:
            outside = self.place.folder
            outside.mkdir(parents=True, exist_ok=True)
            self._toolchains[folder] = cargo.toolchain(folder, outside, self.place.base)
        return self._toolchains[folder]

    def _edits(self, tree: SourceTree, params: Mapping[str, Value]) -> parameters.Edits:
        known = self._project.config.parameters
        for name in params:
            if name not in known:
                message = f"there is no parameter {name!r}{did_you_mean(name, list(known))}"
                raise UsageError(message, where=str(self._project.file))
        consts = {
            name: value for name, value in params.items() if known[name].backend is Backend.CONST
        }
        return parameters.edit(self._project, tree, self.place.tree_root, consts)

    def _relative(self, path: Path | None) -> PurePosixPath:
        """A path of the config relative to the tree; the subject's manifest for None."""
        full = self._project.resolve(path) if path is not None else self._project.manifest
        if not full.is_relative_to(self.place.tree_root):
            message = f"{full} lies outside of the tree to copy, {self.place.tree_root}"
            raise ConfigError(message, where=str(self._project.file), remedy="move it inside")
        return PurePosixPath(full.relative_to(self.place.tree_root).as_posix())

    def _config_files(self, tree: SourceTree, cwd: PurePosixPath) -> list[Path]:
        """The cargo configurations that hold in the shadow copy, nearest first."""
        inside = [tree.root / name for name in _configs_inside(tree.root, cwd)]
        return inside + cargo.config_files(self.place.tree_root.parent, self.place.base)


def _configs_inside(root: Path, cwd: PurePosixPath) -> list[str]:
    """The cargo configurations of a tree that hold in one of its folders, git-ignored ones too."""
    found = cargo.config_files(root / cwd, {})
    return [file.relative_to(root).as_posix() for file in found if file.is_relative_to(root)]

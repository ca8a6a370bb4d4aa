"""What one build is: its tree, edits, toolchain, flags and environment, gathered into a recipe.

Where that leads to is in `cache.py`; how it is compiled is in `compile.py`. Nothing here compiles.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from perfkit import process, store
from perfkit.config import Bench, read_toml
from perfkit.errors import ConfigError
from perfkit.records import Profile
from perfkit.subject import cargo, parameters, shadow
from perfkit.subject.cache import BuildPlace, find_place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.config import Project
    from perfkit.records import Value
    from perfkit.subject.shadow import SourceTree

_LAYOUT = 4
"""Part of every key and target folder: another number when what is kept of a build changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides what one build is.

    Attributes:
        base: hash over everything but the sources, whose part in it `inputs.py` finds out.
        cwd: where maturin runs, relative to the tree.
        manifest: the crate's Cargo.toml, relative to the tree.
        flags: arguments that add rustc flags and profile settings.
        target: cargo's folder for its results.
        toolchain: the whole answer of `rustc -vV`.
        bench: the criterion bench to build instead of the extension.
    """

    base: str
    tree: SourceTree
    edits: parameters.Edits
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
    def messages(self) -> Path:
        """Where cargo's messages to maturin are copied to."""
        return Path(self.environment["PERFKIT_MESSAGES"])

    @property
    def lines(self) -> Path:
        """Where the rustc wrapper records what rustc was told."""
        return Path(self.environment["PERFKIT_RUSTC_LINES"])


class Planner:
    """Makes the recipes of one project's builds; asks cargo and rustc once for what stays.

    Args:
        project: the configuration in force.
        cache: perfkit's cache, as an absolute path.
    """

    def __init__(self, project: Project, cache: Path) -> None:
        self._project = project
        self._cache = cache
        self._toolchains: dict[Path, cargo.Toolchain] = {}

    @functools.cached_property
    def place(self) -> BuildPlace:
        """Where the project's builds are."""
        return find_place(self._project, self._cache)

    def recipe(
        self,
        params: Mapping[str, Value],
        profile: Profile,
        source: SourceTree | None,
        *,
        bench: Bench | None = None,
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
        manifest = self._relative(None if bench is None else bench.manifest)
        place, subject = self.place, self._project.config.subject
        tree = source if source is not None else self.users_tree()
        consts = parameters.assign(self._project, params).consts
        edits = parameters.edit(self._project, tree, place.tree_root, consts)
        toolchain = self._toolchain(tree)
        cwd = _project_folder(tree, manifest) if bench is None else manifest.parent
        configs = self._configs(tree, cwd)
        flags, added = extra_flags(
            profile, subject.profile, configs, toolchain.host, place.base, codegen
        )
        python = self._project.interpreter
        kind = [_LAYOUT, toolchain.version, flags, added, str(python), bench is not None]
        target = place.folder / "target" / digest(kind)[:12]
        environment = {
            **place.base,
            **toolchain.environment,
            **added,
            **self._wrappers(configs, target / "perfkit", shim=bench is None),
            "PYO3_PYTHON": str(python),
        }
        features = subject.features if bench is None else bench.features
        ingredients = [
            _LAYOUT,
            edits.changed,
            configs,
            toolchain.version,
            importlib.metadata.version("maturin"),
            [profile, subject.profile, features, str(cwd), str(manifest), flags, subject.module],
            [bench.target, bench.manifest] if bench is not None else None,
            environment,
            place.shadow,
        ]
        return Recipe(
            base=digest(ingredients)[:20],
            tree=tree,
            edits=edits,
            profile=profile,
            cargo_profile=subject.profile,
            features=features,
            cwd=cwd,
            manifest=manifest,
            python=python,
            flags=tuple(flags),
            environment=environment,
            target=target,
            toolchain=toolchain.version,
            bench=bench,
        )

    def _configs(self, tree: SourceTree, cwd: PurePosixPath) -> list[dict[str, Any]]:
        """The cargo configurations that hold in a folder of the copy, nearest first."""
        inside = cargo.config_files(tree.root / cwd, {})
        files = [file for file in inside if file.is_relative_to(tree.root)]
        files += cargo.config_files(self.place.tree_root.parent, self.place.base)
        return [read_toml(file) for file in files]

    def _wrappers(
        self, configs: Sequence[Mapping[str, Any]], log: Path, *, shim: bool
    ) -> dict[str, str]:
        """The variables by which cargo starts perfkit's wrapper, and maturin its cargo shim."""
        base = self.place.base
        cargo_shim, wrapper = cargo.write_tools(self._cache / "tools")
        variables = {
            "PERFKIT_CARGO": str(process.require_program("cargo", base)),
            "PERFKIT_MESSAGES": str(log / "messages.json"),
            "PERFKIT_RUSTC_LINES": str(log / "lines"),
            "RUSTC_WORKSPACE_WRAPPER": str(wrapper),
        }
        if shim:
            variables["CARGO"] = str(cargo_shim)
        inner = cargo.build_setting(
            "rustc-workspace-wrapper", "RUSTC_WORKSPACE_WRAPPER", configs, base
        )
        if inner is not None:
            variables["PERFKIT_INNER_WRAPPER"] = inner
        return variables

    def bench_of(self, workload: str | None) -> Bench:
        """A workload's bench.

        Raises:
            ConfigError: there is none.
        """
        name, chosen = self._project.workload(workload)
        if chosen.bench is None:
            message = f"the workload `{name}` has no criterion bench"
            remedy = f"add [workloads.{name}.bench] to the config"
            raise ConfigError(message, where=str(self._project.file), remedy=remedy)
        return chosen.bench

    def users_tree(self) -> SourceTree:
        """The user's tree as it is now."""
        place = self.place
        return shadow.working_tree(
            place.tree_root,
            is_git=place.is_git,
            environment=place.base,
            skip=(self._project.profiles,),
        )

    def _toolchain(self, tree: SourceTree) -> cargo.Toolchain:
        # A tree that names its toolchain is asked itself; else what holds in the user's folder.
        named = any(name in tree.files for name in ("rust-toolchain", "rust-toolchain.toml"))
        folder = tree.root if named else self.place.tree_root
        if folder not in self._toolchains:
            outside = self.place.folder
            outside.mkdir(parents=True, exist_ok=True)
            self._toolchains[folder] = cargo.toolchain(folder, outside, self.place.base)
        return self._toolchains[folder]

    def _relative(self, path: Path | None) -> PurePosixPath:
        """A path of the config relative to the tree; the subject's manifest for None."""
        crate = self._project.manifest  # also for a bench: a wheel has none, and builds nothing
        full = self._project.resolve(path) if path is not None else crate
        if not full.is_relative_to(self.place.tree_root):
            message = f"{full} is outside the tree to copy, {self.place.tree_root}"
            raise ConfigError(message, where=str(self._project.file), remedy="move it inside")
        return PurePosixPath(full.relative_to(self.place.tree_root).as_posix())


def digest(value: object) -> str:
    """A hash over anything that has a place in a record."""
    text = json.dumps(store.to_json(value), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def extra_flags(
    profile: Profile,
    cargo_profile: str,
    configs: Sequence[Mapping[str, Any]],
    host: str,
    environment: Mapping[str, str],
    codegen: Mapping[str, str] | None = None,
) -> tuple[list[str], dict[str, str]]:
    """What a build adds, as arguments and variables; nothing for a release build as it is shipped.

    Args:
        codegen: settings of the cargo profile to replace, as TOML: `{"lto": '"thin"'}`.
    """
    settings = dict(codegen or {})
    words: list[str] = []
    variables: dict[str, str] = {}
    if profile is Profile.PROFILING:
        words, variables = cargo.flag_arguments(
            cargo.PROFILING_FLAGS, configs=configs, host=host, environment=environment
        )
        settings = {"debug": '"line-tables-only"', "strip": '"none"', **settings}
    for name, value in settings.items():
        words += ["--config", f"profile.{cargo_profile}.{name}={value}"]
    return words, variables


def _project_folder(tree: SourceTree, manifest: PurePosixPath) -> PurePosixPath:
    """Where to run `maturin build`: next to the pyproject.toml that it takes, relative to the tree.

    Cargo looks for `.cargo/config.toml` from there upward.
    """
    for folder in (manifest.parent, *manifest.parent.parents):
        if (folder / "pyproject.toml").as_posix() in tree.files:
            return folder
    return manifest.parent

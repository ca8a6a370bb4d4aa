"""Running maturin and cargo in the copy: bringing it up to date, building, explaining a failure.

What makes a good build is in `proof.py`. Which build is wanted, and whether there is one, is known
before: `recipe.py` and `builder.py`. Benches are run by `perfkit.measure.criterion`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit import process
from perfkit.config import read_toml
from perfkit.errors import BuildError, ToolTimedOutError
from perfkit.records import Build, Profile
from perfkit.subject import cache, cargo, inputs, proof, remedies, rustc, shadow, wheel
from perfkit.subject.recipe import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from perfkit.subject.recipe import Recipe

BUILD_TIMEOUT_S = 3600.0
"""A build that takes longer hangs, most likely on another cargo's lock."""


class Compiler:
    """Builds recipes of one project, while its caller holds the lock on its place.

    Args:
        module: the Python module to build.
        place: where the copy and the builds are.
        progress: told in a few words what happens.
        lock: the descriptor from `cache.locked`, which everything started in the copy inherits.
    """

    def __init__(
        self, module: str, place: cache.BuildPlace, progress: Callable[[str], None], *, lock: int
    ) -> None:
        self._module = module
        self._place = place
        self._progress = progress
        self._lock = lock

    def extension(self, recipe: Recipe) -> Build:
        """Build the extension with maturin, prove what came out, and keep it.

        Raises:
            BuildError: it does not compile, or what came out is not what was asked for.
        """
        copy = self._place.shadow
        workspace, package = self._prepare(recipe)
        with cache.scratch(self._place) as folder:
            argv = [*_maturin(), *_maturin_words(recipe, copy / recipe.manifest, folder / "wheel")]
            done = self._build(recipe, argv, "maturin")
            messages = recipe.messages.read_text(encoding="utf-8")
            artifacts = cargo.read_artifacts(messages)
            proof.check_fresh(artifacts, workspace, package, recipe, copy)
            lines = proof.own_lines(artifacts, workspace, rustc.newest_lines(recipe.lines))
            own = lines[package.name]
            decisive = inputs.of_build(
                recipe, self._module, copy, workspace, package, artifacts, lines.values()
            )
            file = _only_wheel(folder / "wheel")
            wheel.check_name(file, _distribution(copy / recipe.cwd, package))
            build = dataclasses.replace(
                wheel.take(file, folder / "root", _key(recipe, decisive), self._module),
                profile=recipe.profile,
                params=dict(recipe.edits.changed),
                proofs=proof.first_proofs(recipe),
                opt_level=own.opt_level,
                rustc=tuple(line.show() for line in lines.values()),
                build_s=done.wall_s,
                initialisers=dict(recipe.edits.initialisers),
                notes=(*recipe.tree.notes, *proof.optimisation(own, recipe.cargo_profile)),
            )
            shutil.rmtree(folder / "wheel")
            (folder / "messages.json").write_text(messages, encoding="utf-8")
            (folder / "output.txt").write_text(done.stderr, encoding="utf-8")
            entry = self._place.builds / build.key
            return cache.keep(entry, folder, build, _circumstances(recipe, done, decisive))

    def bench(self, recipe: Recipe) -> cache.BenchBuild:
        """Build a bench without running it, prove what came out, and keep it.

        Raises:
            BuildError: it does not compile, or cargo names no such bench.
        """
        if recipe.bench is None:
            raise AssertionError
        target = recipe.bench.target
        workspace, package = self._prepare(recipe)
        words = ["bench", "--no-run", "--message-format=json-render-diagnostics", "--bench", target]
        cargo_words = _cargo_words(recipe, package.manifest_path)
        argv = [recipe.environment["PERFKIT_CARGO"], *words, *cargo_words]
        done = self._build(recipe, argv, "cargo")
        artifacts = cargo.read_artifacts(done.stdout)
        program, made = _bench_of(artifacts, target)
        lines = proof.own_lines(artifacts, workspace, rustc.newest_lines(recipe.lines), made)
        decisive = inputs.of_build(
            recipe, self._module, self._place.shadow, workspace, package, artifacts, lines.values()
        )
        with cache.scratch(self._place) as folder:
            executable = folder / target
            shutil.copy2(program, executable)
            build = cache.BenchBuild(
                key=_key(recipe, decisive),
                executable=executable,
                file_sha256=wheel.file_hash(executable),
                rustc=tuple(line.show() for line in lines.values()),
                directory=package.folder,
                manifest=package.manifest_path,
                environment=_bench_environment(recipe, executable, self._place.base),
            )
            entry = self._place.builds / build.key
            return cache.keep(entry, folder, build, _circumstances(recipe, done, decisive))

    def _prepare(self, recipe: Recipe) -> tuple[cargo.Workspace, cargo.Package]:
        """Bring the shadow up to date, and make sure that the crate is compiled afresh.

        Raises:
            BuildError: a path dependency is not in the tree, or no Cargo.lock can be made.
        """
        copy = self._place.shadow
        proof.refuse_outside(recipe)
        self._progress(f"copying the sources ({recipe.tree.label})")
        shadow.sync(recipe.tree, copy, recipe.edits.contents, self._place.state)
        manifest = copy / recipe.manifest
        workspace = cargo.workspace(manifest, recipe.environment)
        package = workspace.package(manifest)
        if not (workspace.workspace_root / shadow.LOCK_FILE).is_file():
            self._progress("making a Cargo.lock in the copy: the project has none")
            words: list[str | Path] = ["generate-lockfile", "--manifest-path", manifest]
            plain = {name: v for name, v in recipe.environment.items() if name != "CARGO"}
            _check(self._run(recipe, [plain["PERFKIT_CARGO"], *words], plain), "cargo")
        recipe.lines.mkdir(parents=True, exist_ok=True)
        now = time.time()
        touched = [copy / name for name in recipe.edits.contents]
        if package.library is not None:
            touched.append(package.library.src_path)
        for file in touched:
            os.utime(file, (now, now))
        return workspace, package

    def _build(self, recipe: Recipe, argv: Sequence[str | Path], tool: str) -> process.Completed:
        """Run maturin or cargo, passing on what they compile, and explain a failure.

        Raises:
            BuildError: it did not succeed, or did not end.
        """
        waiting = False

        def hear(line: str) -> None:
            nonlocal waiting
            waiting = remedies.WAITING_TEXT in line
            if waiting or re.match(r"\s*(Compiling|Updating|Downloading|Locking)\b", line):
                self._progress(line.strip())

        self._progress(f"building ({recipe.profile})")
        recipe.messages.unlink(missing_ok=True)
        try:
            return _check(self._run(recipe, argv, recipe.environment, hear), tool)
        except ToolTimedOutError as error:
            blocked = "; another cargo holds the lock that it waits for" if waiting else ""
            message = error.message + blocked
            raise BuildError(message, where=error.where, remedy="end the other cargo") from error

    def _run(
        self,
        recipe: Recipe,
        argv: Sequence[str | Path],
        variables: Mapping[str, str],
        hear: Callable[[str], None] | None = None,
    ) -> process.Completed:
        return process.run(
            argv,
            env=variables,
            cwd=self._place.shadow / recipe.cwd,
            timeout_s=BUILD_TIMEOUT_S,
            ok_codes=None,
            pass_fds=(self._lock,),
            streams=process.Streams(on_stderr_line=hear),
        )


def _check(done: process.Completed, tool: str) -> process.Completed:
    """A run that succeeded.

    Raises:
        BuildError: it did not; with the compiler's own words.
    """
    if done.returncode == 0:
        return done
    output = f"{done.stderr}\n{done.stdout if tool != 'cargo' else ''}"
    known = remedies.explain(output)
    code = done.returncode
    ended = f"exited with code {code}" if code > 0 else f"was ended by signal {-code}"
    message = f"the build failed: {tool} {ended}"
    if known is not None:
        message += f"; {known.means}"
    raise BuildError(
        message,
        where=process.show(done.argv),
        details=remedies.error_text(output),
        remedy=known.remedy if known is not None else "fix what the compiler names",
    )


def _maturin() -> list[str]:
    """The maturin of perfkit's own environment."""
    beside = Path(sys.executable).with_name("maturin")
    return [str(beside)] if beside.is_file() else [sys.executable, "-m", "maturin"]


def _maturin_words(recipe: Recipe, manifest: Path, out: Path) -> list[str | Path]:
    words = ["build", *_cargo_words(recipe, manifest), "--out", out, "--interpreter", recipe.python]
    # The tag of this machine alone: libraries are neither searched nor copied into the wheel.
    words += ["--compatibility", "linux", "--compression-method", "stored"]
    if recipe.profile is Profile.PROFILING:
        words += ["--strip", "false"]  # wins over `strip = true` in [tool.maturin]
    return words


def _cargo_words(recipe: Recipe, manifest: Path) -> list[str | Path]:
    """What maturin and cargo are both told; a bench gets the subject's profile, to be like it."""
    words: list[str | Path] = ["--manifest-path", manifest, "--target-dir", recipe.target]
    words += ["--profile", recipe.cargo_profile]
    if recipe.features:
        words += ["--features", ",".join(recipe.features)]
    return [*words, *recipe.flags]


def _only_wheel(folder: Path) -> Path:
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        message = f"maturin wrote {len(wheels)} wheels instead of one"
        raise BuildError(message, details=", ".join(path.name for path in wheels))
    return wheels[0]


def _distribution(folder: Path, package: cargo.Package) -> str:
    """The name that the wheel must have: the pyproject's, else the crate's."""
    file = folder / "pyproject.toml"
    table = read_toml(file) if file.is_file() else {}
    return str(table.get("project", {}).get("name", package.name))


def _bench_of(artifacts: Sequence[cargo.Artifact], target: str) -> tuple[Path, cargo.Artifact]:
    """The program of a bench, and cargo's message about it."""
    for artifact in artifacts:
        named = artifact.target.name == target and "bench" in artifact.target.kind
        if named and artifact.executable is not None:
            return artifact.executable, artifact
    message = f"cargo built no bench `{target}`"
    raise BuildError(message, remedy="correct [workloads.*.bench] target")


def _bench_environment(recipe: Recipe, executable: Path, base: Mapping[str, str]) -> dict[str, str]:
    """What the bench starts with; a bench linked to libpython finds it."""
    if b"libpython" not in executable.read_bytes():
        return dict(base)
    code = "import sysconfig; print(sysconfig.get_config_var('LIBDIR') or '')"
    done = process.run([recipe.python, "-I", "-c", code], env=base, timeout_s=60)
    folders = [done.stdout.strip(), base.get("LD_LIBRARY_PATH", "")]
    return {**base, "LD_LIBRARY_PATH": ":".join(filter(None, folders))}


def _key(recipe: Recipe, decisive: inputs.Inputs) -> str:
    """The name of a cache entry: everything but the sources, then the sources that count."""
    return f"{recipe.base}-{digest(decisive.hashes)[:12]}"


def _circumstances(
    recipe: Recipe, done: process.Completed, decisive: inputs.Inputs
) -> dict[str, object]:
    """What led to a build; the cache keeps it with the build."""
    contents = recipe.edits.contents
    return {
        "inputs": decisive,
        "command": done.argv,
        "environment": recipe.environment,
        "toolchain": recipe.toolchain,
        "source": recipe.tree.label,
        "flags": recipe.flags,
        "features": recipe.features,
        "interpreter": str(recipe.python),
        "edits": {name: hashlib.sha256(text).hexdigest() for name, text in contents.items()},
    }

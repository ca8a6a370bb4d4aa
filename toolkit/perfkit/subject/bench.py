"""Building a workload's criterion bench with cargo. Running it is the business of
`perfkit.measure.criterion`.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from perfkit import process
from perfkit.errors import BuildError
from perfkit.subject import cargo, evidence, kept, wheel
from perfkit.subject import recipe as recipes
from perfkit.subject.compiler import circumstances
from perfkit.subject.kept import BenchBuild
from perfkit.subject.place import new_entry

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.subject.compiler import Compiler
    from perfkit.subject.place import Place
    from perfkit.subject.plan import Recipe


def compile_bench(compiler: Compiler, recipe: Recipe, place: Place) -> BenchBuild:
    """Build a bench without running it, prove what came out, and keep it.

    Raises:
        BuildError: it does not compile, or cargo names no such bench.
    """
    if recipe.bench is None:
        raise AssertionError
    workspace, package = compiler.prepare(recipe)
    arguments = recipes.bench_words(
        manifest=package.manifest,
        bench=recipe.bench.target,
        target=recipe.target,
        cargo_profile=recipe.cargo_profile,
        features=recipe.features,
        flags=recipe.flags,
    )
    with new_entry(place) as (temporary, name):
        argv = [recipe.environment["PERFKIT_CARGO"], "bench", "--no-run", *arguments]
        argv.append("--message-format=json-render-diagnostics")
        done = compiler.run_build(recipe, argv, "cargo")
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
        lines = evidence.own_lines(artifacts, workspace, recipe)
        own = cargo.crate_line(evidence.known_lines(recipe.log), found[0])
        if own is None:
            message = f"the rustc line of the bench `{recipe.bench.target}` was not seen"
            raise BuildError(message, remedy="`perfkit cache clean`, then run this again")
        every = [*lines.values(), own]
        counting = compiler.inputs(recipe, workspace, package, artifacts, every)
        entry = name(recipes.entry_name(recipe.base, counting))
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
            environment=_environment(recipe, executable, place),
            arguments=tuple(arguments),
            cargo_environment=dict(recipe.environment),
            build_s=done.wall_s,
            cached=False,
        )
        kept.save(temporary, build, circumstances(recipe, done, counting))
    return build


def _environment(recipe: Recipe, executable: Path, place: Place) -> dict[str, str]:
    """What the bench starts with; a bench linked to libpython finds it."""
    variables = dict(place.base)
    if b"libpython" not in executable.read_bytes():
        return variables
    code = "import sysconfig; print(sysconfig.get_config_var('LIBDIR') or '')"
    done = process.run([recipe.python, "-I", "-c", code], env=variables, timeout_s=60)
    folders = [done.stdout.strip(), variables.get("LD_LIBRARY_PATH", "")]
    return {**variables, "LD_LIBRARY_PATH": ":".join(filter(None, folders))}

"""Running maturin and cargo in the copy: bringing it up to date, building, explaining a failure.

What makes a good build is in `evidence.py`. Which build is wanted, and whether there is one, is
known before: `plan.py` and `build.py`. What is particular to a bench is in `bench.py`.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from typing import TYPE_CHECKING

from perfkit import process
from perfkit.errors import BuildError, ToolTimedOutError
from perfkit.records import Build
from perfkit.subject import cargo, evidence, kept, remedies, shadow, wheel
from perfkit.subject import inputs as decisive
from perfkit.subject import recipe as recipes
from perfkit.subject.place import new_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from perfkit.config import Project
    from perfkit.subject.place import Place
    from perfkit.subject.plan import Recipe

BUILD_TIMEOUT_S = 3600.0
"""A build that takes longer hangs, most likely on another cargo's lock."""


class Compiler:
    """Builds recipes of one project, for somebody who holds the lock on its place.

    Args:
        project: the configuration in force.
        place: where the copy and the builds are.
        progress: told in a few words what is going on.
        lock: the descriptor from `place.locked`, which everything started in the copy inherits.
    """

    def __init__(
        self, project: Project, place: Place, progress: Callable[[str], None], *, lock: int
    ) -> None:
        self._project = project
        self._place = place
        self._progress = progress
        self._lock = lock

    def extension(self, recipe: Recipe) -> Build:
        """Build the extension with maturin, prove what came out, and keep it.

        Raises:
            BuildError: it does not compile, or what came out is not what was asked for.
        """
        workspace, package = self.prepare(recipe)
        with new_entry(self._place) as (temporary, name):
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
            done = self.run_build(recipe, argv, "maturin")
            messages = (recipe.log / "messages.json").read_text(encoding="utf-8")
            artifacts = cargo.read_artifacts(messages)
            evidence.check_fresh(artifacts, workspace, package, recipe, self._place.shadow)
            lines = evidence.own_lines(artifacts, workspace, recipe)
            own = lines[package.name]
            counting = self.inputs(recipe, workspace, package, artifacts, lines.values())
            entry = name(recipes.entry_name(recipe.base, counting))
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
                proofs=evidence.first_proofs(recipe),
                opt_level=own.opt_level,
                rustc=tuple(line.show() for line in lines.values()),
                build_s=done.wall_s,
                cached=False,
                initialisers=dict(recipe.initialisers),
                notes=(*recipe.tree.notes, *evidence.notes(own)),
                **kept.fields_of(found),
            )
            kept.save(temporary, build, circumstances(recipe, done, counting))
            (temporary / "messages.json").write_text(messages, encoding="utf-8")
            (temporary / "output.txt").write_text(done.stderr, encoding="utf-8")
        return build

    def prepare(self, recipe: Recipe) -> tuple[cargo.Workspace, cargo.Package]:
        """Bring the shadow up to date, and make sure that the crate is compiled afresh.

        Raises:
            BuildError: a path dependency is not in the tree, or no Cargo.lock can be made.
        """
        place = self._place
        evidence.refuse_outside(recipe)
        self._progress(f"copying the sources ({recipe.tree.label})")
        shadow.sync(recipe.tree, place.shadow, recipe.edits, place.state)
        manifest = place.shadow / recipe.manifest
        workspace = cargo.workspace(manifest, recipe.environment)
        package = workspace.package(manifest)
        if not (workspace.root / shadow.LOCK_FILE).is_file():
            self._progress("making a Cargo.lock in the copy: the project has none")
            self._run_cargo(recipe, "generate-lockfile", "--manifest-path", manifest)
        evidence.keep_lines(recipe.log)
        now = time.time()
        for touched in (package.lib_source, *(place.shadow / name for name in recipe.edits)):
            if touched is not None:
                os.utime(touched, (now, now))
        return workspace, package

    def run_build(self, recipe: Recipe, argv: Sequence[str | Path], tool: str) -> process.Completed:
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
        (recipe.log / "messages.json").unlink(missing_ok=True)
        try:
            done = process.run(
                argv,
                env=recipe.environment,
                cwd=self._place.shadow / recipe.cwd,
                timeout_s=BUILD_TIMEOUT_S,
                ok_codes=None,
                pass_fds=(self._lock,),
                streams=process.Streams(on_stderr_line=hear),
            )
        except ToolTimedOutError as error:
            message = error.message
            if waiting:
                message += "; another cargo holds the lock it waits for"
            raise BuildError(message, where=error.where, remedy="end the other cargo") from error
        if done.returncode != 0:
            raise _failure(done, tool)
        return done

    def inputs(
        self,
        recipe: Recipe,
        workspace: cargo.Workspace,
        package: cargo.Package,
        artifacts: Sequence[cargo.Artifact],
        lines: Iterable[cargo.RustcLine],
    ) -> decisive.Inputs:
        """What of the tree decided the build that has just been made."""
        own = {item.id for item in workspace.packages}
        return decisive.of_build(
            recipe.tree,
            copy=self._place.shadow,
            workspace=workspace,
            package=package,
            artifacts=[artifact for artifact in artifacts if artifact.package_id in own],
            lines=lines,
            pyproject=recipe.cwd,
            module=self._project.config.subject.module,
        )

    def _run_cargo(self, recipe: Recipe, *words: str | Path) -> None:
        program = recipe.environment["PERFKIT_CARGO"]
        done = process.run(
            [program, *words],
            env={k: v for k, v in recipe.environment.items() if k != "CARGO"},
            cwd=self._place.shadow / recipe.cwd,
            timeout_s=BUILD_TIMEOUT_S,
            ok_codes=None,
            pass_fds=(self._lock,),
        )
        if done.returncode != 0:
            raise _failure(done, "cargo")


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


def circumstances(
    recipe: Recipe, done: process.Completed, counting: decisive.Inputs
) -> dict[str, object]:
    """What led to a build, kept beside it."""
    return {
        "inputs": counting,
        "command": list(done.argv),
        "environment": dict(recipe.environment),
        "toolchain": recipe.toolchain,
        "source": recipe.tree.label,
        "flags": list(recipe.flags),
        "features": list(recipe.features),
        "interpreter": str(recipe.python),
        "edits": {name: hashlib.sha256(text).hexdigest() for name, text in recipe.edits.items()},
    }

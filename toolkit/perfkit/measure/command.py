"""The whole of `perfkit measure`: which builds, which settings, in which order.

What is compared is in `subject.py`, how it is timed in `session.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit.errors import UsageError
from perfkit.measure import baseline
from perfkit.measure.plan import quick
from perfkit.measure.subject import measure_subject, same_work
from perfkit.records import Pattern

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.config import Measure, Project
    from perfkit.records import Build, MeasureReport
    from perfkit.store import Run
    from perfkit.subject.builder import Builder


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureOptions:
    """The command line of `perfkit measure`.

    Attributes:
        against: a git revision, a wheel, or another extension file.
        save_baseline: keep the build that was measured under this name.
        baseline: compare with the build kept under this name.
        against_workload: compare with another workload of the same inputs and reference.
        idle: also call after the thread pool went to sleep.
        time_limit_s: seconds per size, in place of the config's.
        patience_s: how long to wait for a machine with room, in place of the config's.
    """

    workload: str | None = None
    sizes: tuple[int, ...] | None = None
    against: str | None = None
    save_baseline: str | None = None
    baseline: str | None = None
    against_workload: str | None = None
    quick: bool = False
    idle: bool = False
    time_limit_s: float | None = None
    patience_s: float | None = None
    seed: int = 1


def settings_for(project: Project, options: MeasureOptions) -> Measure:
    """The config's settings with what the command line replaces; the command line wins."""
    settings = quick(project.config.measure) if options.quick else project.config.measure
    update: dict[str, float] = {}
    if options.time_limit_s is not None:
        update["time_limit_s"] = options.time_limit_s
    if options.patience_s is not None:
        update["patience_s"] = options.patience_s
    return settings.model_copy(update=update)


def measure_command(
    project: Project,
    options: MeasureOptions,
    *,
    builder: Builder,
    cache: Path,
    run: Run,
    progress: Callable[[str, float | None], None],
) -> MeasureReport:
    """Build what is asked for, measure it, and keep the build where that is asked for.

    Raises:
        UsageError: the other build does not exist.
        BuildError: a build failed.
    """
    if options.against_workload is not None:
        name, _ = project.workload(options.workload)
        same_work(project, name, options.against_workload)  # before anything is built
    build = builder.build()
    against = _other(project, options, builder, cache, run)
    report = measure_subject(
        project,
        _names(project, options),
        options.sizes,
        builder=builder,
        run=run,
        against=against,
        against_workload=options.against_workload,
        settings=settings_for(project, options),
        patterns=(Pattern.HOT, Pattern.IDLE) if options.idle else (Pattern.HOT,),
        build=build,
        seed=options.seed,
        progress=progress,
    )
    if options.save_baseline is not None:
        baseline.save(project, cache, options.save_baseline, build)
    return report


def _names(project: Project, options: MeasureOptions) -> tuple[str, ...]:
    """The workloads to measure: all of them, unless one is named or compared with another."""
    if options.workload is None and options.against_workload is None:
        return ()
    return (project.workload(options.workload)[0],)


def _other(
    project: Project, options: MeasureOptions, builder: Builder, cache: Path, run: Run
) -> Build | None:
    """The build to compare with: a kept one, a wheel, an extension file, or a git revision."""
    if options.baseline is not None:
        return baseline.load(project, cache, options.baseline)
    if options.against is None:
        return None
    path = Path(options.against)
    if path.suffix == ".whl":
        return builder.from_wheel(path)
    if path.suffix in {".so", ".pyd"}:
        if not path.is_file():
            message = "there is no such extension file"
            raise UsageError(message, where=str(path), remedy="name an existing file or revision")
        return _from_file(project, path, builder, run)
    return builder.build(source=builder.revision(options.against))


def _from_file(project: Project, path: Path, builder: Builder, run: Run) -> Build:
    """Another extension file in the place of the one in a copy of the present build.

    The Python files around it are those of the working tree: only the extension is compared.
    """
    import dataclasses
    import hashlib
    import shutil

    present = builder.build()
    root = run.path("raw/against/root")
    shutil.copytree(present.root, root)
    module_file = root / present.module_file.relative_to(present.root)
    shutil.copyfile(path, module_file)
    return dataclasses.replace(
        present,
        key=f"file-{path.name}",
        root=root,
        module_file=module_file,
        file_sha256=hashlib.sha256(module_file.read_bytes()).hexdigest(),
        text_sha256="",
        params={},
        proofs=(),
        opt_level="",
        rustc=(),
        build_s=0.0,
    )

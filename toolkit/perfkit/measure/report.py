"""The whole of `perfkit measure`: which builds and settings, in which order, and one report of it.

What is compared is in `variants.py`, how it is timed in `session.py`.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit.errors import UsageError
from perfkit.measure import baseline, session
from perfkit.measure.plan import quick
from perfkit.measure.variants import same_work, variants_for, verify
from perfkit.records import MeasureReport, MeasureVerdict, Note, Pattern, Place
from perfkit.subject import cache as builds
from perfkit.subject import wheel
from perfkit.subject.job import job_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perfkit.config import Measure, Project
    from perfkit.measure.results import Measurement
    from perfkit.records import Build
    from perfkit.store import Run
    from perfkit.subject.builder import Builder
    from perfkit.subject.job import Progress


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
    asked = {"time_limit_s": options.time_limit_s, "patience_s": options.patience_s}
    given = {name: value for name, value in asked.items() if value is not None}
    return settings.model_copy(update=given)


def measure_command(
    project: Project,
    options: MeasureOptions,
    *,
    builder: Builder,
    cache: Path,
    run: Run,
    progress: Progress,
) -> MeasureReport:
    """Build what is asked for, measure it, and keep the build where that is asked for.

    Raises:
        UsageError: the other build or workload does not exist, or does other work.
        BuildError: a build failed.
        WrongResultError: subject and reference disagree.
        WorkloadError: a workload raises or cannot be timed as it is.
    """
    other = options.against_workload
    names = tuple(project.config.workloads)
    if options.workload is not None or other is not None:
        names = (project.workload(options.workload)[0],)
    if other is not None:
        same_work(project, names[0], other)  # before anything is built
    build = builder.build()
    against = _other(project, options, builder, cache, run)
    begin = time.monotonic()
    settings = settings_for(project, options)
    patterns = (Pattern.HOT, Pattern.IDLE) if options.idle else (Pattern.HOT,)
    parts = []
    for name in names:
        job = job_for(
            project,
            name,
            builder,
            run,
            build=build,
            settings=settings,
            seed=options.seed,
            progress=progress,
        )
        sizes = project.sizes(name, options.sizes)
        variants = variants_for(job, against=against, other=other)
        limit_s = settings.time_limit_s
        verified = verify(job, sizes, variants, limit_s=limit_s, across_threads=True)
        measured = session.measure(job, sizes, variants, patterns)
        busy = measured.report.verdict is MeasureVerdict.BUSY
        no_room = _no_room(name, measured) if busy else ()
        notes = (*verified.notes, *measured.report.notes, *no_room)
        parts.append(dataclasses.replace(measured.report, notes=notes))
    report = joined(parts, time.monotonic() - begin)
    if options.save_baseline is not None:
        baseline.save(project, cache, options.save_baseline, build)
    return report


def joined(parts: Sequence[MeasureReport], seconds: float) -> MeasureReport:
    """Join the workloads: the worst verdict counts, and a busy one leaves no figures at all.

    Args:
        seconds: that all of it took.
    """
    order = (
        MeasureVerdict.BUSY,
        MeasureVerdict.UNTRUSTED,
        MeasureVerdict.UNCHECKED,
        MeasureVerdict.OK,
    )
    verdict = min((part.verdict for part in parts), key=order.index)
    floors = [part.noise_floor for part in parts if part.noise_floor is not None]
    figures = verdict is not MeasureVerdict.BUSY
    return MeasureReport(
        verdict=verdict,
        noise_floor=max(floors) if floors and figures else None,
        results=tuple(result for part in parts for result in part.results) if figures else (),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        loaded=tuple(module for part in parts for module in part.loaded),
        seconds=seconds,
        effective_cores=tuple(cores for part in parts for cores in part.effective_cores),
        foreign_cores=tuple(cores for part in parts for cores in part.foreign_cores),
        libraries={name: version for part in parts for name, version in part.libraries.items()},
    )


def _no_room(workload: str, measured: Measurement) -> Iterator[Note]:
    """What replaces the figures: how many blocks had room, and why the others had none."""
    for point in measured.points:
        reasons = [block.reason for part in point.sessions for block in part if block.reason]
        text = f"the machine had room for {point.valid_blocks} of {point.blocks} blocks, in "
        text += f"{len(point.sessions)} of {point.wanted} sets of processes; each set needs "
        text += f"{point.least}{f' (last block refused: {reasons[-1]})' if reasons else ''}"
        place = Place(workload=workload, sizes=(point.size,), pattern=point.pattern)
        remedy = "stop other programs, or wait longer with --patience 120s"
        yield Note(id="no_room", text=text, place=place, remedy=remedy)


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
        # The Python files around it are the present build's: only the extension is compared.
        copied = builds.copied(builder.build(), run.path("raw/against"))
        shutil.copyfile(path, copied.module_file)
        return wheel.described(copied.root, copied.module_file, f"file-{path.name}", copied.module)
    return builder.build(source=builder.revision(options.against))

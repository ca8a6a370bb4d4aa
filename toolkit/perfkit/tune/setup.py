"""From the options of `perfkit tune` to the loop with everything it needs, and the dry run."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from perfkit import environment
from perfkit.errors import ConfigError, UsageError
from perfkit.records import TuneHeader
from perfkit.subject.job import job_for
from perfkit.subject.parameters import short_name, start_values
from perfkit.subject.workloads import workload_files
from perfkit.tune.live import LiveEvaluator, quick_enough
from perfkit.tune.log import Journal
from perfkit.tune.loop import Loop, Settings, World
from perfkit.tune.search import GridSearch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.config import Project, Workload
    from perfkit.records import TuneReport, Value
    from perfkit.store import Run
    from perfkit.subject.builder import Builder
    from perfkit.subject.job import Job, Progress
    from perfkit.tune.space import Candidate

STRATEGIES = ("grid",)


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneOptions:
    """What the command line decides beside the config."""

    workload: str | None = None
    strategy: str = "grid"
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TunePlan:
    """What `--dry-run` shows: what would be tried, before anything is built or measured.

    The worst size decides which recommended one comes first, and most searches end before all are
    tried.
    """

    workload: str
    sizes: tuple[int, ...]
    strategy: str
    max_iterations: int
    time_limit_s: float | None
    start: Mapping[str, Value]
    candidates: tuple[Candidate, ...]


def plan_command(project: Project, options: TuneOptions) -> TunePlan:
    """List what a search could try.

    Raises:
        ConfigError: the config names no parameter.
        UsageError: there is no such strategy or workload.
        SourceError: a constant is not in the sources.
    """
    name, workload = _chosen(project, options)
    tune = project.config.tune
    start = start_values(project, name)
    return TunePlan(
        workload=name,
        sizes=workload.sizes,
        strategy=options.strategy,
        max_iterations=tune.max_iterations,
        time_limit_s=tune.time_limit_s,
        start=start,
        candidates=_search(project, name, start).listed(),
    )


def tune_command(
    project: Project,
    options: TuneOptions,
    *,
    builder: Builder,
    run: Run,
    resume: bool,
    progress: Progress,
    gated: bool = True,
) -> TuneReport:
    """Run the loop, or resume the one in the run directory.

    Args:
        gated: whether sentinels decide which blocks count; without them nothing is checked, and
            the report says so.

    Raises:
        ConfigError: the config names no parameter.
        UsageError: there is no such strategy or workload, or what the run to resume depends on has
            changed.
        BuildError: the sources as they are do not compile.
        PerfkitError: the starting build cannot be verified or measured.
    """
    begun = time.monotonic()
    name, workload = _chosen(project, options)
    start = start_values(project, name)
    progress("building the start", None)
    job = job_for(
        project,
        name,
        builder,
        run,
        settings=quick_enough(project.config.measure, project.config.tune, len(workload.sizes)),
        seed=options.seed,
        progress=progress,
        gated=gated,
    )
    journal = Journal(run, lambda params: short_name(project, params))
    header = TuneHeader(workload=name, key=_key(job), start=start)
    earlier = journal.resume(header) if resume else ()
    if not resume:
        journal.begin(header)
    loop = Loop(
        evaluator=LiveEvaluator(job, start),
        strategy=_search(project, name, start),
        journal=journal,
        settings=Settings(
            workload=name, start=start, main_size=workload.first_size, limits=project.config.tune
        ),
        world=World(
            clock=lambda: time.monotonic() - begun,
            now=lambda: datetime.now(UTC).isoformat(),
            progress=progress,
        ),
    )
    return loop.run(earlier)


def _chosen(project: Project, options: TuneOptions) -> tuple[str, Workload]:
    if options.strategy not in STRATEGIES:
        message = f"there is no strategy {options.strategy!r}"
        raise UsageError(message, remedy=f"choose one of: {', '.join(STRATEGIES)}")
    wanted = options.workload if options.workload is not None else project.config.tune.workload
    name, workload = project.workload(wanted)
    if not project.config.parameters_of(name):
        message = f"the config names no parameter of {name!r}, so there is nothing to tune"
        remedy = "describe the constants to tune under [parameters.NAME]"
        raise ConfigError(message, where=str(project.file), remedy=remedy)
    return name, workload


def _search(project: Project, workload: str, start: Mapping[str, Value]) -> GridSearch:
    parameters = project.config.parameters_of(workload)
    tune = project.config.tune
    base, extended = (
        {name: values for name, values in grid.items() if name in parameters}
        for grid in (tune.base_grid, tune.extended_grid)
    )
    return GridSearch(start=start, parameters=parameters, base_grid=base, extended_grid=extended)


def _key(job: Job) -> dict[str, str]:
    """What must be the same for two parts of a run to belong together."""
    project, workload = job.project, job.workload
    parameters = {n: p.model_dump(mode="json") for n, p in project.config.parameters.items()}
    return {
        "the sources, the toolchain or the flags": job.build.key,
        "the workload's definition": _digest(workload.model_dump(mode="json")),
        "the workload's files": _digest(workload_files(project, (workload,))),
        "the parameters' definition": _digest(parameters),
        "the machine": environment.fingerprint(project.environ).key,
        "the number of threads": str(job.threads),
    }


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]

"""One job: a workload of a project with its build, and what decides how it is measured or profiled.

Made once by a command and handed down; nothing is started here but a worker's description.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from perfkit.environment import worker_threads
from perfkit.subject.child import spec_for
from perfkit.subject.parameters import Assignment

if TYPE_CHECKING:
    from perfkit.config import Measure, Project, Workload
    from perfkit.records import Build
    from perfkit.store import Run
    from perfkit.subject.builder import Builder
    from perfkit.subject.child import WorkerSpec

Progress = Callable[[str, float | None], None]
"""Called with what is being done and how much of it is done (0 to 1), if that is known."""


def quiet(_text: str, _fraction: float | None) -> None:
    """A progress callback that says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a measurement or a profile of one workload works with.

    Attributes:
        name: of the workload in the config.
        builder: makes every further build.
        build: the one that is measured or profiled.
        run: where raw blocks and captures go.
        threads: size of the subject's pools; as many cores must be free.
        settings: how long and how exactly to measure.
        assignment: parameter values that are handed over at run time.
        seed: of the inputs and of the order of arms.
        gated: whether sentinels decide which blocks count; without them nothing is claimed.
    """

    project: Project
    name: str
    workload: Workload
    builder: Builder
    build: Build
    run: Run
    threads: int
    settings: Measure
    assignment: Assignment = field(default_factory=Assignment)
    seed: int = 1
    gated: bool = True
    progress: Progress = quiet

    def spec(self, build: Build | None = None) -> WorkerSpec:
        """A worker of the job's build, or of another one."""
        chosen = build if build is not None else self.build
        return spec_for(self.project, chosen, self.assignment, threads=self.threads)

    @property
    def work(self) -> tuple[str, Workload]:
        """The workload with its name, as the config gives it."""
        return self.name, self.workload

    def tell(self, text: str) -> None:
        """Say what is being done."""
        self.progress(text, None)

    def measured_by(self, **settings: object) -> Job:
        """The same job with some of its measuring settings replaced."""
        return replace(self, settings=self.settings.model_copy(update=settings))


def job_for(
    project: Project,
    workload: str | None,
    builder: Builder,
    run: Run,
    **options: Any,  # noqa: ANN401  # any other field of Job
) -> Job:
    """A job with the project's own settings, and its build, where `options` names no others.

    Raises:
        UsageError: there is no such workload.
        BuildError: the subject does not compile.
    """
    name, config = project.workload(workload)
    if "build" not in options:
        options["build"] = builder.build()
    options.setdefault("threads", worker_threads(project.config.subject.threads))
    options.setdefault("settings", project.config.measure)
    return Job(project=project, name=name, workload=config, builder=builder, run=run, **options)

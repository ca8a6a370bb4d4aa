"""`perfkit profile`: the configured workloads, or a Python command, a module, a running process."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit.errors import UsageError
from perfkit.profile import analyse, build_time
from perfkit.profile.engine import choose, profile, request_for
from perfkit.profile.target import Looked, ProfileOutcome, Target, profile_target
from perfkit.records import Capture, Profile
from perfkit.subject.job import job_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.config import Project
    from perfkit.store import Run
    from perfkit.subject.builder import Builder
    from perfkit.subject.job import Progress

__all__ = ["ProfileOptions", "ProfileOutcome", "Target", "profile_command"]

EXPORT_SUFFIX = {"speedscope": ".json", "csv": ".csv", "folded": ".folded", "svg": ".svg"}
EXPORT_NAME = {"speedscope": "speedscope.json", "csv": "stacks.csv"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileOptions:
    """What the command line asks for; None where the config decides."""

    workload: str | None = None
    sizes: Sequence[int] | None = None
    profilers: tuple[str, ...] | None = None
    rate_hz: float | None = None
    duration_s: float | None = None
    exports: tuple[str, ...] = ()


def profile_command(
    project: Project,
    options: ProfileOptions,
    *,
    target: Target | None,
    builder: Builder,
    run: Run,
    progress: Progress,
) -> ProfileOutcome:
    """Profile, export, and write the tables.

    Raises:
        UsageError: an export, a profiler or a target that does not exist.
        PerfkitError: no profiler could look.
    """
    for wanted in options.exports:
        if wanted not in EXPORT_SUFFIX:
            message = f"there is no export {wanted!r}"
            raise UsageError(message, remedy=f"choose among: {', '.join(EXPORT_SUFFIX)}")
    if target is not None:
        wanted_of = Looked(
            project=project,
            target=target,
            run=run,
            profilers=options.profilers,
            rate_hz=options.rate_hz,
            duration_s=options.duration_s,
        )
        outcome = profile_target(wanted_of, progress)
        captures = tuple(_with_exports(item, options, run) for item in outcome.captures)
        return dataclasses.replace(outcome, captures=captures)
    for wanted in options.profilers or ():
        choose(wanted)  # before anything is built
    build = builder.build(profile=Profile.PROFILING)
    job = job_for(project, options.workload, builder, run, build=build, progress=progress)
    layers = analyse.layers_for(build, project.config.layers)
    captures_of: list[Capture] = []
    sizes = sorted(project.sizes(job.name, options.sizes))
    for size in sizes:
        for capture in profile(
            job,
            size,
            names=options.profilers,
            rate=options.rate_hz,
            duration=options.duration_s,
            python_frames=True,
        ):
            done = capture
            if "folded" in done.files:
                written = analyse.write_tables(done, run, layers)
                done = dataclasses.replace(done, files={**done.files, **written})
            captures_of.append(_with_exports(done, options, run))
    if captures_of:
        request = request_for(job, sizes[0], duration=options.duration_s)
        release = builder.build(profile=Profile.RELEASE)
        slower = build_time.against_release(request, release)
        first = captures_of[0]  # of the build, and not of each capture
        notes = (build_time.note(slower), *first.notes)
        captures_of[0] = dataclasses.replace(first, notes=notes)
    return ProfileOutcome(captures=tuple(captures_of), build=build)


def _with_exports(capture: Capture, options: ProfileOptions, run: Run) -> Capture:
    if "folded" not in capture.files:
        return capture
    stem = Path(capture.files["folded"]).name.removesuffix(".folded")
    files = dict(capture.files)
    for wanted in options.exports:
        if wanted in {"folded", "svg"}:  # there already
            continue
        suffix = EXPORT_SUFFIX[wanted]
        name = f"stacks/{stem}.{EXPORT_NAME[wanted]}"
        path = run.write(name, analyse.export_capture(capture, run, suffix))
        files[wanted] = run.relative(path)
    return dataclasses.replace(capture, files=files)

"""`perfkit profile`: the configured workloads, or a Python command, a module, a running process."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit.errors import UsageError
from perfkit.profile import analyse, build_time
from perfkit.profile.once import OneLook, ProfileOutcome, Target, profile_target
from perfkit.profile.profilers import choose, profile, request_for
from perfkit.profile.request import ProfileOptions
from perfkit.records import Capture, Profile
from perfkit.subject.job import job_for

if TYPE_CHECKING:
    from perfkit.config import Project
    from perfkit.store import Run
    from perfkit.subject.builder import Builder
    from perfkit.subject.job import Progress

__all__ = ["ProfileOptions", "ProfileOutcome", "Target", "profile_command"]


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
        if wanted not in analyse.EXPORTS:
            message = f"there is no export {wanted!r}"
            raise UsageError(message, remedy=f"choose among: {', '.join(analyse.EXPORTS)}")
    if target is not None:
        look = OneLook(project=project, target=target, run=run, options=options)
        outcome = profile_target(look, progress)
    else:
        outcome = _profile_workload(project, options, builder, run, progress)
    captures = tuple(_with_exports(capture, options, run) for capture in outcome.captures)
    return dataclasses.replace(outcome, captures=captures)


def _profile_workload(
    project: Project, options: ProfileOptions, builder: Builder, run: Run, progress: Progress
) -> ProfileOutcome:
    for wanted in options.profilers or ():
        choose(wanted)  # before anything is built
    build = builder.build(profile=Profile.PROFILING)
    job = job_for(project, options.workload, builder, run, build=build, progress=progress)
    layers = analyse.layers_for(build, project.config.layers)
    captures: list[Capture] = []
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
            files = dict(capture.files)
            if "folded" in files:
                files |= analyse.write_tables(capture, run, layers)
            captures.append(dataclasses.replace(capture, files=files))
    if captures:
        request = request_for(job, sizes[0], duration=options.duration_s)
        release = builder.build(profile=Profile.RELEASE)
        slower = build_time.against_release(request, release)
        first = captures[0]  # of the build, and not of each capture
        notes = (build_time.note(slower), *first.notes)
        captures[0] = dataclasses.replace(first, notes=notes)
    return ProfileOutcome(captures=tuple(captures), build=build)


def _with_exports(capture: Capture, options: ProfileOptions, run: Run) -> Capture:
    if "folded" not in capture.files:
        return capture
    stem = Path(capture.files["folded"]).name.removesuffix(".folded")
    files = dict(capture.files)
    for wanted in options.exports:
        ending = analyse.EXPORTS[wanted]
        if ending is not None:
            text = analyse.export_capture(capture, run, wanted)
            files[wanted] = run.relative(run.write(f"stacks/{stem}.{ending}", text))
    return dataclasses.replace(capture, files=files)

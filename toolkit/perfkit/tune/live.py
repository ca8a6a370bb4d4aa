"""The evaluator that builds, verifies, times and profiles for real.

Each candidate is timed in the same blocks as the starting build, the reference, and a byte copy of
itself that shows the noise. A value that needs no rebuild is passed to a new process of an
existing build. Nothing is decided here.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from perfkit.measure.plan import Variant
from perfkit.measure.results import LEAST_SESSIONS
from perfkit.measure.session import measure
from perfkit.measure.variants import reference_of, verify
from perfkit.profile.profilers import profile
from perfkit.records import MeasureReport, MeasureVerdict, ModuleFile, Note, Place, Profile, Role
from perfkit.store import Run
from perfkit.subject.child import worker
from perfkit.subject.parameters import assign
from perfkit.subject.proof import prove
from perfkit.tune import frames, space
from perfkit.tune.evaluator import NOT_PROFILED, Prepared, TrialProfile
from perfkit.tune.score import score_floor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from perfkit.config import Measure, Tune
    from perfkit.errors import PerfkitError
    from perfkit.records import Build, Capture, Value
    from perfkit.subject.job import Job

_FRESH_SEED = 1_000_003
"""Far from the seeds of the trials and of their sessions: inputs that no trial has seen."""

_PROFILERS = ("perf", "py-spy")
"""What profiles a trial: perf for the machine code, py-spy for the Python side. If one of them
cannot run, a note says so.
"""

_SUBJECT, _COPY, _START = "trial", "copy", "start"


class LiveEvaluator:
    """Builds and measures candidates of one workload.

    Args:
        job: of the unedited build; its run takes raw blocks and profiles, a folder for each trial.
        start: the starting value of every parameter.
    """

    def __init__(self, job: Job, start: Mapping[str, Value]) -> None:
        self._job = replace(job, assignment=assign(job.project, start))
        self._start = dict(start)
        self._builds: dict[str, Build] = {}
        self._unreported_s: dict[str, float] = {}
        self._jobs: dict[str, Job] = {}
        self._start_digests: dict[int, str | None] = {}
        self._remember({}, job.build)

    def prepare(self, params: Mapping[str, Value]) -> Prepared:
        """See `Evaluator`."""
        project = self._job.project
        changed = {name: params[name] for name in space.difference(params, self._start)}
        build = self._build(assign(project, changed).consts)
        job = replace(self._job, build=build, assignment=assign(project, params))
        with worker(job.spec()) as process:
            loaded = process.loaded
        known = tuple(self._builds.values())
        proofs = prove(build, loaded, self._job.build, params, project=project, known=known)
        self._jobs[space.key(params)] = job
        return Prepared(
            params=dict(params),
            proofs=proofs,
            text_hash=build.text_sha256,
            signature=_signature(job),
            build_s=self._unreported_s.pop(build.key, 0.0),
            module=ModuleFile(path=build.module_file, sha256=build.file_sha256),
        )

    def measure(self, prepared: Prepared, *, label: str, fresh: bool) -> MeasureReport:
        """See `Evaluator`."""
        begun = time.monotonic()
        job = self._job_of(prepared, label)
        job = replace(job, seed=job.seed + (_FRESH_SEED if fresh else 0))
        variants = self._variants(job)
        sizes = job.workload.sizes
        notes = self._verify(job, variants[:1])
        measured = measure(job, sizes, variants)
        report = measured.report
        results = report.results
        if not any(variant.role is Role.BASELINE for variant in variants):
            # The starting build has no other start to be compared with, only its copy.
            results = tuple(
                replace(one, change=measured.at(one.size).ratio(_SUBJECT, _COPY)) for one in results
            )
        if report.verdict is MeasureVerdict.UNCHECKED:
            notes.append(_UNCHECKED)
        if report.verdict is MeasureVerdict.BUSY:
            refusal = measured.refusal()
            text = f"{refusal.message}\n{refusal.details}"
            notes.append(Note(id="busy", text=text, where=label, remedy=refusal.remedy))
        return replace(
            report,
            results=results,
            noise_floor=score_floor(results),
            seconds=time.monotonic() - begun,
            notes=(*notes, *report.notes),
        )

    def profile(self, prepared: Prepared, size: int, *, label: str) -> TrialProfile:
        """See `Evaluator`."""
        job = self._job_of(prepared, label)
        build = job.builder.build(job.build.params, profile=Profile.PROFILING)
        job = replace(job, build=build)
        captures: list[Capture] = []
        notes: list[Note] = []
        refused: list[PerfkitError] = []
        for profiler in _PROFILERS:
            try:
                captures += profile(job, size, names=[profiler])
            except NOT_PROFILED as error:
                refused.append(error)
                text = f"no profile by {profiler}: {error.message}"
                notes.append(Note(id="no_profile", text=text, where=label, remedy=error.remedy))
        if not captures:
            raise refused[0]
        return self._profiled(captures, job.run, label, notes)

    def _build(self, consts: Mapping[str, Value]) -> Build:
        key = space.key(consts)
        if key not in self._builds:
            self._remember(consts, self._job.builder.build(consts))
        return self._builds[key]

    def _remember(self, consts: Mapping[str, Value], build: Build) -> None:
        """Keep a build; if it was not cached, its seconds are reported with its candidate."""
        self._builds[space.key(consts)] = build
        if not build.cached:
            self._unreported_s[build.key] = build.build_s

    def _job_of(self, prepared: Prepared, label: str) -> Job:
        """The job of a candidate, in a separate folder."""
        run = Run(directory=self._job.run.directory / label)
        return replace(self._jobs[space.key(prepared.params)], run=run)

    def _verify(self, job: Job, variants: Sequence[Variant]) -> list[Note]:
        """Compare the answer with the reference's at each size, before anything is timed; without
        a reference, with the starting build's.
        """
        verified = verify(job, job.workload.sizes, variants)
        notes = list(verified.notes)
        if job.workload.reference is None:
            notes += [
                _unverified(job.name, size)
                for size, digest in verified.digests.items()
                if self._start_digests.setdefault(size, digest) != digest
            ]
        return notes

    def _variants(self, job: Job) -> list[Variant]:
        """The trial and its copy; the starting build, unless the trial is it; the reference."""
        copy = job.spec(job.builder.copy(job.build))
        variants = [
            Variant(name=_SUBJECT, role=Role.SUBJECT, spec=job.spec()),
            Variant(name=_COPY, role=Role.COPY, spec=copy),
        ]
        if _signature(job) != _signature(self._job):
            variants.append(Variant(name=_START, role=Role.BASELINE, spec=self._job.spec()))
        return variants + reference_of(self._job)

    def _profiled(
        self, captures: Sequence[Capture], own: Run, label: str, notes: list[Note]
    ) -> TrialProfile:
        """Take flame graphs and folded stacks to where all of them lie; raw output stays."""
        rows: list[Mapping[str, object]] = []
        files: dict[str, str] = {}
        for capture in captures:
            notes += [replace(n, where=f"{label} {n.where}".strip()) for n in capture.notes]
            for kind, path in capture.files.items():
                place = self._moved(own.directory / path, path, label, kind)
                files[f"{capture.profiler}/{kind}"] = place.as_posix()
            if "folded" in capture.files:
                folded = self._job.run.directory / files[f"{capture.profiler}/folded"]
                rows += frames.hottest(folded, capture.profiler)
        return TrialProfile(rows=tuple(rows), files=files, notes=tuple(notes))

    def _moved(self, source: Path, path: Path, label: str, kind: str) -> Path:
        if kind not in ("flame", "folded"):
            return self._job.run.relative(source)
        place = self._job.run.path(path.parent / f"{label}-{path.name}")
        source.replace(place)
        return self._job.run.relative(place)


_UNCHECKED = Note(
    id="unchecked",
    text="these figures were checked by no sentinel and by no comparison of identical code",
)


def _signature(job: Job) -> str:
    """What decides how a candidate runs: code, data, and the values passed at run time."""
    values = job.assignment
    handed = [dict(values.environment), dict(values.calls), dict(values.arguments)]
    code = f"{job.build.text_sha256}/{job.build.data_sha256}"
    return f"{code}/{json.dumps(handed, sort_keys=True)}"


def _unverified(workload: str, size: int) -> Note:
    text = "the result's bits differ from the starting build's; without a reference it is "
    text += "unknown whether that is rounding or a fault"
    place = Place(workload=workload, sizes=(size,))
    return Note(id="bits_differ", text=text, place=place, remedy="name a `reference` in the config")


LEAST_SECONDS_PER_SIZE = 2.0
"""A round of four processes at a call of 50 ms takes 0.2 s, and an interval needs some rounds."""


def quick_enough(settings: Measure, limits: Tune, sizes: int) -> Measure:
    """Measuring settings that leave half of a time limit to the builds, but never so short that
    a size could not be measured at all. Where the limit leaves no more than that, no more sets of
    processes are started than a verdict needs: their start takes as long as the measuring.
    """
    if limits.time_limit_s is None:
        return settings
    share = limits.time_limit_s / 2 / (limits.max_iterations + 2) / max(sizes, 1)
    time_limit_s = min(settings.time_limit_s, max(LEAST_SECONDS_PER_SIZE, share))
    update: dict[str, float] = {"time_limit_s": time_limit_s}
    if share < LEAST_SECONDS_PER_SIZE:
        update["sessions"] = min(settings.sessions, LEAST_SESSIONS)
    return settings.model_copy(update=update)

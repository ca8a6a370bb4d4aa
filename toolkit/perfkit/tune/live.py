"""The evaluator that builds, verifies, times and profiles for real.

Each candidate is timed in the same blocks as the starting build, the reference, and a byte copy of
itself that shows the noise. A value that needs no rebuild is handed to a new process of the build
that is there. Nothing is decided here.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from perfkit import environment
from perfkit.errors import (
    NoVerdictError,
    PerfkitError,
    PermissionRefusedError,
    ToolError,
    ToolMissingError,
    WorkerError,
)
from perfkit.measure.plan import Plan, Variant
from perfkit.measure.results import LEAST_SESSIONS
from perfkit.measure.session import measure
from perfkit.profile.engine import profile_workload
from perfkit.records import MeasureVerdict, ModuleFile, Note, Profile, Role, TrialSize
from perfkit.store import Run
from perfkit.subject.child import spec_for, worker
from perfkit.subject.parameters import assign, prove
from perfkit.subject.workloads import verify
from perfkit.tune import frames, space
from perfkit.tune.evaluator import Measured, Prepared, Profiled
from perfkit.tune.score import score_floor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from perfkit.config import Measure, Project, Workload
    from perfkit.measure.results import Measurement
    from perfkit.records import Build, Capture, Value
    from perfkit.subject.builder import Builder
    from perfkit.subject.child import WorkerSpec
    from perfkit.subject.parameters import Assignment

_FRESH_SEED = 1_000_003
"""Far from the seeds of the trials and of their sessions: inputs that no trial has seen."""

_PROFILERS = ("perf", "py-spy")
"""What a profiled trial is looked at with: the flame graph of the machine code, and the Python
side. Either is missed when it cannot look, and the trial says so.
"""

_SUBJECT, _COPY, _START, _REFERENCE = "trial", "copy", "start", "reference"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A candidate's build with the values that are handed over at run time."""

    build: Build
    assignment: Assignment
    signature: str


class LiveEvaluator:
    """Builds and measures candidates of one workload.

    Args:
        start: the starting value of every parameter.
        settings: how long and how exactly to measure each candidate.
        run: where raw blocks and profiles go, a folder for each trial.
        gated: whether sentinels decide which blocks count; without them figures are unchecked.
    """

    def __init__(
        self,
        project: Project,
        workload: str,
        *,
        start: Mapping[str, Value],
        builder: Builder,
        run: Run,
        settings: Measure,
        seed: int,
        progress: Callable[[str, float | None], None],
        gated: bool = True,
    ) -> None:
        self._project = project
        self._name = workload
        self._workload: Workload = project.config.workloads[workload]
        self._start_params = dict(start)
        self._builder = builder
        self._run = run
        self._settings = settings
        self._seed = seed
        self._progress = progress
        self._gated = gated
        self._builds: dict[str, Build] = {}
        self._unreported_s: dict[str, float] = {}
        self._ready: dict[str, _Ready] = {}
        self._start_digests: dict[int, str | None] = {}

    def start_build(self) -> Build:
        """The unedited build.

        Raises:
            BuildError: the sources as they are do not compile.
        """
        return self._build({})

    def prepare(self, params: Mapping[str, Value]) -> Prepared:
        """See `Evaluator`."""
        start = self.start_build()
        changed = {name: params[name] for name in space.difference(params, self._start_params)}
        build = self._build(assign(self._project, changed).consts)
        assignment = assign(self._project, params)
        with worker(spec_for(self._project, build, assignment)) as process:
            loaded = process.loaded
        known = tuple(self._builds.values())
        proofs = prove(build, loaded, start, params, project=self._project, known=known)
        signature = _signature(build, assignment)
        self._ready[space.key(params)] = _Ready(
            build=build, assignment=assignment, signature=signature
        )
        return Prepared(
            params=dict(params),
            proofs=proofs,
            text_hash=build.text_sha256,
            signature=signature,
            build_s=self._unreported_s.pop(build.key, 0.0),
            module=ModuleFile(path=build.module_file, sha256=build.file_sha256),
        )

    def measure(self, prepared: Prepared, *, label: str, fresh: bool) -> Measured:
        """See `Evaluator`."""
        begun = time.monotonic()
        seed = self._seed + (_FRESH_SEED if fresh else 0)
        notes = self._verify(prepared, seed)
        plan = self._plan(prepared, seed, Run(directory=self._run.directory / label))
        found = measure(plan, progress=self._progress)
        if found.verdict is MeasureVerdict.UNCHECKED:
            notes.append(_UNCHECKED)
        if found.verdict is MeasureVerdict.BUSY:
            refusal = found.refusal()
            text = f"{refusal.message}\n{refusal.details}"
            notes.append(Note(id="busy", text=text, where=label, remedy=refusal.remedy))
        sizes = () if found.verdict is MeasureVerdict.BUSY else self._sizes(found, plan)
        return Measured(
            verdict=found.verdict,
            sizes=sizes,
            noise_floor=score_floor(sizes),
            bench_s=time.monotonic() - begun,
            notes=(*notes, *found.notes),
        )

    def profile(self, prepared: Prepared, size: int, *, label: str) -> Profiled:
        """See `Evaluator`."""
        ready = self._ready[space.key(prepared.params)]
        build = self._builder.build(ready.build.params, profile=Profile.PROFILING)
        own = Run(directory=self._run.directory / label)
        captures: list[Capture] = []
        notes: list[Note] = []
        refused: list[PerfkitError] = []
        for profiler in _PROFILERS:
            try:
                captures += profile_workload(
                    self._project,
                    self._name,
                    size,
                    build=build,
                    run=own,
                    names=[profiler],
                    builder=self._builder,
                    assignment=ready.assignment,
                    progress=self._progress,
                )
            except (
                NoVerdictError,
                PermissionRefusedError,
                ToolError,
                ToolMissingError,
                WorkerError,
            ) as error:
                refused.append(error)
                text = f"no profile by {profiler}: {error.message}"
                note = Note(id="no_profile", text=text, where=label, remedy=error.remedy)
                notes.append(note)
        if not captures:
            raise refused[0]
        return self._profiled(captures, own, label, notes)

    def _build(self, consts: Mapping[str, Value]) -> Build:
        """A build; the seconds that one took which was not there are told with its candidate."""
        key = space.key(consts)
        if key not in self._builds:
            build = self._builder.build(consts)
            self._builds[key] = build
            if not build.cached:
                self._unreported_s[build.key] = build.build_s
        return self._builds[key]

    def _verify(self, prepared: Prepared, seed: int) -> list[Note]:
        """Compare the answer with the reference's at each size, before anything is timed."""
        ready = self._ready[space.key(prepared.params)]
        notes: list[Note] = []
        for size in self._workload.sizes:
            self._progress(f"checking the result at {size:_}", None)
            spec = spec_for(self._project, ready.build, ready.assignment)
            checked, told = verify(spec, self._name, self._workload, size, seed=seed)
            notes += told
            if self._workload.reference is not None:
                continue
            known = self._start_digests.setdefault(size, checked.digest)
            if known != checked.digest:
                notes.append(_unverified(self._name, size))
        return notes

    def _plan(self, prepared: Prepared, seed: int, run: Run) -> Plan:
        ready = self._ready[space.key(prepared.params)]
        spec = spec_for(self._project, ready.build, ready.assignment)
        twin = spec_for(self._project, self._builder.copy(ready.build), ready.assignment)
        variants = [
            Variant(name=_SUBJECT, role=Role.SUBJECT, spec=spec),
            Variant(name=_COPY, role=Role.COPY, spec=twin),
        ]
        if ready.signature != self._start_signature():
            variants.append(Variant(name=_START, role=Role.BASELINE, spec=self._start_spec()))
        if self._workload.reference is not None:
            threads = self._settings.reference_threads
            other = spec_for(self._project, self.start_build(), threads=threads)
            variants.append(
                Variant(name=_REFERENCE, role=Role.REFERENCE, spec=other, which="reference")
            )
        return Plan(
            workload_name=self._name,
            workload=self._workload,
            sizes=self._workload.sizes,
            variants=tuple(variants),
            threads=environment.worker_threads(self._project.config.subject.threads),
            settings=self._settings,
            seed=seed,
            run=run,
            gated=self._gated,
        )

    def _start_signature(self) -> str:
        return _signature(self.start_build(), assign(self._project, self._start_params))

    def _start_spec(self) -> WorkerSpec:
        assignment = assign(self._project, self._start_params)
        return spec_for(self._project, self.start_build(), assignment)

    def _sizes(self, found: Measurement, plan: Plan) -> tuple[TrialSize, ...]:
        """The starting build is its own start: what is compared there is its copy."""
        names = [variant.name for variant in plan.variants]
        against = _START if _START in names else _COPY
        checked = found.noise_floor is not None
        sizes = []
        for size in plan.sizes:
            point = found.at(size)
            speedup = point.ratio(_SUBJECT, _REFERENCE) if _REFERENCE in names else None
            sizes.append(
                TrialSize(
                    workload=self._name,
                    size=size,
                    speedup=speedup,
                    change=point.ratio(_SUBJECT, against),
                    target=self._workload.targets.get(size),
                    time_s=point.absolute(_SUBJECT),
                    noise_floor=point.noise_floor(_SUBJECT, _COPY) if checked else None,
                )
            )
        return tuple(sizes)

    def _profiled(
        self, captures: Sequence[Capture], own: Run, label: str, notes: list[Note]
    ) -> Profiled:
        """Take flame graphs and folded stacks to where all of them lie; raw output stays."""
        rows: list[Mapping[str, object]] = []
        files: dict[str, str] = {}
        for capture in captures:
            if capture.accepted:
                own_notes = [note for note in capture.notes if note.id != "tried"]
                notes += [
                    replace(note, where=f"{label} {note.where}".strip()) for note in own_notes
                ]
            else:
                text = f"the profile by {capture.profiler} is not believed: {capture.reason}"
                notes.append(Note(id="profile_withheld", text=text, where=label))
            for kind, path in capture.files.items():
                place = self._moved(own.directory / path, path, label, kind)
                files[f"{capture.profiler}/{kind}"] = place.as_posix()
            if capture.accepted and "folded" in capture.files:
                folded = self._run.directory / files[f"{capture.profiler}/folded"]
                rows += frames.hottest(folded, capture.profiler)
        return Profiled(rows=tuple(rows), files=files, notes=tuple(notes))

    def _moved(self, source: Path, path: Path, label: str, kind: str) -> Path:
        if kind not in ("flame", "folded"):
            return self._run.relative(source)
        place = self._run.path(path.parent / f"{label}-{path.name}")
        source.replace(place)
        return self._run.relative(place)


_UNCHECKED = Note(
    id="unchecked",
    text="no sentinel and no comparison of identical code stands behind these figures",
)


def _signature(build: Build, assignment: Assignment) -> str:
    """What decides how a candidate runs: code, data, and the values handed over."""
    handed = [dict(assignment.environment), dict(assignment.calls), dict(assignment.arguments)]
    return f"{build.text_sha256}/{build.data_sha256}/{json.dumps(handed, sort_keys=True)}"


def _unverified(workload: str, size: int) -> Note:
    return Note(
        id="bits_differ",
        text="the result's bits differ from the starting build's, and without a reference nothing "
        "tells whether that is rounding or a fault",
        where=f"{workload} at {size:_}",
        remedy="name a `reference` in the config",
    )


def quick_enough(
    settings: Measure, *, time_limit_s: float | None, trials: int, sizes: int
) -> Measure:
    """Measuring settings that leave half of a time limit to the builds, but never so short that
    a size could not be measured at all. Where the limit leaves no more than that, no more sets of
    processes are started than a verdict needs: their start takes as long as the measuring.
    """
    if time_limit_s is None:
        return settings
    share = time_limit_s / 2 / (max(trials, 1) + 2) / max(sizes, 1)
    update: dict[str, float] = {
        "time_limit_s": min(settings.time_limit_s, max(LEAST_SECONDS_PER_SIZE, share))
    }
    if share < LEAST_SECONDS_PER_SIZE:
        update["sessions"] = min(settings.sessions, LEAST_SESSIONS)
    return settings.model_copy(update=update)


LEAST_SECONDS_PER_SIZE = 2.0
"""A round of four processes at a call of 50 ms takes 0.2 s, and an interval needs some rounds."""

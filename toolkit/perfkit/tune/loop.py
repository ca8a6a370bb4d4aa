"""The loop: propose, build, prove, verify, measure, judge, keep; then confirm the best afresh.

It knows neither how a candidate is built nor how it is timed (`evaluator.py`), nor which one comes
next (`search.py`), nor when to end (`ending.py`). What goes wrong with one candidate is an outcome
of that trial; what goes wrong with the run is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from perfkit.diagnose.recommend import worst
from perfkit.errors import (
    BuildError,
    MachineBusyError,
    SubjectMismatchError,
    ToolError,
    ToolTimedOutError,
    WorkerError,
    WorkloadError,
    WrongResultError,
)
from perfkit.measure.ratios import is_faster
from perfkit.records import (
    MeasureReport,
    MeasureVerdict,
    Note,
    SizeResult,
    Trial,
    TrialOutcome,
    TuneReport,
    TuneStatus,
)
from perfkit.tune.conclusions import (
    closing_notes,
    confirmed_sizes,
    dead_parameters,
    missed_note,
    rejected_note,
    resumed_note,
    unchanged_sizes,
)
from perfkit.tune.ending import Ending, best_of, converged, decide, exhausted, out_of_time
from perfkit.tune.evaluator import NOT_PROFILED
from perfkit.tune.score import meets, score
from perfkit.tune.space import Candidate, Stage
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from perfkit.config import Tune
    from perfkit.records import Value
    from perfkit.subject.job import Progress
    from perfkit.tune.evaluator import Evaluator, Prepared
    from perfkit.tune.log import Journal
    from perfkit.tune.search import Strategy

_OUTCOMES: tuple[tuple[type[Exception], TrialOutcome], ...] = (
    (BuildError, TrialOutcome.BUILD_FAILED),
    (SubjectMismatchError, TrialOutcome.NOT_APPLIED),
    (WrongResultError, TrialOutcome.WRONG_RESULT),
    (MachineBusyError, TrialOutcome.BUSY),
    (ToolTimedOutError, TrialOutcome.TIMED_OUT),
    (WorkerError, TrialOutcome.CRASHED),
    (WorkloadError, TrialOutcome.CRASHED),
    (ToolError, TrialOutcome.CRASHED),
)
"""What may go wrong with one candidate, and the outcome of its trial then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What decides one search besides its parts.

    Attributes:
        main_size: the size that matters most.
        limits: of the config. No trial begins that would most likely end after the time limit,
            with the confirmation of the best one, which is never skipped.
    """

    workload: str
    start: Mapping[str, Value]
    main_size: int
    limits: Tune


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The clocks of a run and who is told of its progress, so that tests can replace them.

    Attributes:
        clock: seconds since the command began, so that the time before the loop counts too.
    """

    clock: Callable[[], float]
    now: Callable[[], str]
    progress: Progress


@dataclass(kw_only=True)
class Loop:
    """One tuning run."""

    evaluator: Evaluator
    strategy: Strategy
    journal: Journal
    settings: Settings
    world: World
    _trials: list[Trial] = field(default_factory=list, init=False)
    _fresh: dict[int, tuple[SizeResult, ...]] = field(default_factory=dict, init=False)
    _notes: list[Note] = field(default_factory=list, init=False)
    _noise_floor: float | None = field(default=None, init=False)
    _next: int = field(default=1, init=False)
    _prepared: dict[int, Prepared] = field(default_factory=dict, init=False)

    def run(self, earlier: Sequence[Trial] = ()) -> TuneReport:
        """Search until a rule ends it, and report.

        Args:
            earlier: trials of the same run that were made before an interruption.

        Raises:
            PerfkitError: the starting build cannot be built, verified or measured, or something is
                wrong beyond a single candidate (a full disk, a broken config).
        """
        self._trials = [trial for trial in earlier if trial.outcome not in _NO_VERDICTS]
        self._next = max((trial.iteration for trial in earlier), default=0) + 1
        self._fresh = self.journal.confirmed() if earlier else {}
        floors = [t.noise_floor for t in self._trials if t.noise_floor is not None]
        self._noise_floor = max(floors, default=None)
        self._tell("the starting build", 0)
        start = self.evaluator.prepare(self.settings.start)
        self._prepared[0] = start
        if self._trials:
            self._notes.append(resumed_note(self._trials))
        else:
            stop = self._measure_start(start)
            if stop is not None:
                return self._report(stop, confirmed=())
        advice = self.strategy.advice(self._trials[:1], self._trials[0], ())
        report = self._judged_start() or self._search()
        return replace(report, recommendation=advice)

    def _measure_start(self, prepared: Prepared) -> Ending | None:
        """Trial 0: the starting build against a copy of itself and the reference."""
        measured = self.evaluator.measure(prepared, label=_label(0), fresh=False)
        self._note(measured)
        start = Candidate(params=self.settings.start, stage=Stage.START, reason="")
        trial = self._keep(_measured(_built(_begun(start, 0), prepared), measured))
        if trial.outcome is TrialOutcome.OK:
            return None
        status = TuneStatus(trial.outcome.value)
        return Ending(status=status, reason=f"the starting build: {trial.reason}")

    def _judged_start(self) -> TuneReport | None:
        """Nothing is tuned where the start meets every target already."""
        start = self._trials[0]
        met = [meets(size) for size in start.sizes if size.target is not None]
        if not met or not all(met):
            return None
        reason = "the starting values meet every target already; nothing was tried"
        return self._kept(reason, TuneStatus.SUCCESS)

    def _search(self) -> TuneReport:
        while True:
            stop = self._stop()
            candidate = None
            if stop is None:
                candidate = self.strategy.propose(
                    self._trials, self._best(), dead_parameters(self._trials, self.settings.start)
                )
            if candidate is None:
                return self._end(stop or exhausted(self._trials))
            report = self._success(self._keep(self._try(candidate)))
            if report is not None:
                return report

    def _try(self, candidate: Candidate) -> Trial:
        """One candidate from its build to its figures; what goes wrong is its outcome."""
        iteration, self._next = self._next, self._next + 1
        self._tell(f"trial {iteration}: building", iteration)
        trial = _begun(candidate, iteration)
        try:
            prepared = self.evaluator.prepare(candidate.params)
            trial = _built(trial, prepared)
            twin = self._same_code(prepared)
            if twin is not None:
                reason = f"the same machine code as trial {twin.iteration}; not measured again"
                return replace(trial, outcome=TrialOutcome.SAME_CODE, reason=reason)
            self._tell(f"trial {iteration}: measuring", iteration)
            measured = self.evaluator.measure(prepared, label=_label(iteration), fresh=False)
        except tuple(error for error, _ in _OUTCOMES) as error:
            outcome = next(found for kind, found in _OUTCOMES if isinstance(error, kind))
            return replace(trial, outcome=outcome, reason=str(error))
        self._note(measured)
        trial = _measured(trial, measured)
        every = self.settings.limits.profile_every
        if every and iteration % every == 0 and trial.outcome is TrialOutcome.OK:
            trial = self._profiled(trial, prepared)
        return trial

    def _profiled(self, trial: Trial, prepared: Prepared) -> Trial:
        """The trial with its hot frames at the size that is farthest from its target."""
        found = worst(trial.sizes)
        size = found[0].size if found is not None else self.settings.main_size
        self._tell(f"trial {trial.iteration}: profiling at {format_count(size)}", trial.iteration)
        try:
            profiled = self.evaluator.profile(prepared, size, label=_label(trial.iteration))
        except NOT_PROFILED as error:
            where, text, remedy = f"trial {trial.iteration}", error.message, error.remedy
            self._notes.append(Note(id="no_profile", text=text, where=where, remedy=remedy))
            return trial
        self._notes += profiled.notes
        return replace(trial, profile=profiled.rows, files=profiled.files)

    def _success(self, trial: Trial) -> TuneReport | None:
        """Confirm a trial that meets the targets; the search continues if that fails."""

        def ending(again: Trial) -> Ending | None:
            why = converged(again, self._trials[0], self.settings.main_size)
            if why is None:
                return None
            reason = f"trial {trial.iteration}, measured afresh: {why}"
            return Ending(status=TuneStatus.SUCCESS, reason=reason)

        if trial.outcome is not TrialOutcome.OK or ending(trial) is None:
            return None
        return self._confirmed(trial, ending, missed_note)

    def _end(self, stop: Ending) -> TuneReport:
        """Confirm the best trial, or keep the start."""
        if stop.status in (TuneStatus.FAILED, TuneStatus.BUSY, TuneStatus.UNTRUSTED):
            return self._report(stop, confirmed=())
        best = self._best()
        name = f"trial {best.iteration}"
        if best.iteration == 0:
            return self._kept(f"no candidate was surely faster than the start ({stop.reason})")

        def ending(again: Trial) -> Ending | None:
            if not is_faster(score(again.sizes), self._noise_floor):
                return None
            reason = f"{stop.reason}; {name} is faster than the start, measured afresh"
            return replace(stop, reason=reason)

        return self._confirmed(best, ending, rejected_note) or self._kept(
            f"{name} looked faster, but its gain is within the noise when measured afresh "
            f"({stop.reason})"
        )

    def _confirmed(
        self,
        trial: Trial,
        ending: Callable[[Trial], Ending | None],
        otherwise: Callable[[Trial, Sequence[SizeResult]], Note],
    ) -> TuneReport | None:
        """Measure a trial afresh and report it; None, with a note, if it does not hold.

        Args:
            ending: how the run ends with the trial's new figures; None if they are not good enough.
            otherwise: the note to leave then.
        """
        measured = self._confirm(trial)
        if measured is None or measured.verdict in _VERDICTS:
            status = TuneStatus.FAILED if measured is None else TuneStatus(measured.verdict.value)
            reason = f"trial {trial.iteration} looked best, but could not be confirmed"
            return self._report(Ending(status=status, reason=reason), confirmed=())
        stop = ending(replace(trial, sizes=measured.results))
        if stop is None:
            self._notes.append(otherwise(trial, measured.results))
            return None
        return self._report(stop, confirmed=confirmed_sizes(measured.results), best=trial)

    def _confirm(self, trial: Trial) -> MeasureReport | None:
        """The final build of a trial, on inputs that no trial has seen; None when it failed."""
        self._tell(f"trial {trial.iteration}: measuring afresh", trial.iteration)
        try:
            prepared = self.evaluator.prepare(trial.params)
            self._prepared[trial.iteration] = prepared
            label = f"{_label(trial.iteration)}_fresh"
            measured = self.evaluator.measure(prepared, label=label, fresh=True)
        except tuple(error for error, _ in _OUTCOMES) as error:
            text, where = f"could not be measured afresh: {error}", f"trial {trial.iteration}"
            self._notes.append(Note(id="no_confirmation", text=text, where=where))
            return None
        self._note(measured)
        if measured.verdict not in _VERDICTS:
            self._fresh[trial.iteration] = measured.results
            self.journal.confirm(trial, measured.results)
        return measured

    def _kept(self, reason: str, status: TuneStatus = TuneStatus.KEPT) -> TuneReport:
        """The start stays: its figures are those of trial 0, which was not chosen for its luck."""
        start = self._trials[0]
        stop = Ending(status=status, reason=reason)
        return self._report(stop, confirmed=unchanged_sizes(start.sizes), best=start)

    def _best(self) -> Trial:
        return best_of(self._known(), self._noise_floor)

    def _known(self) -> list[Trial]:
        """The trials, with the figures of a fresh measurement where one was made: those were not
        chosen for being good.
        """
        return [replace(t, sizes=self._fresh.get(t.iteration, t.sizes)) for t in self._trials]

    def _same_code(self, prepared: Prepared) -> Trial | None:
        measured = (trial for trial in self._trials if trial.outcome is TrialOutcome.OK)
        return next((trial for trial in measured if trial.signature == prepared.signature), None)

    def _stop(self) -> Ending | None:
        stop = decide(self._known(), self.settings.limits, self._noise_floor)
        return stop or out_of_time(
            self._trials, limit_s=self.settings.limits.time_limit_s, elapsed_s=self.world.clock()
        )

    def _keep(self, trial: Trial) -> Trial:
        """The finished trial, with its time, in the journal."""
        trial = replace(trial, timestamp=self.world.now())
        self._trials.append(trial)
        self.journal.append(trial)
        return trial

    def _note(self, measured: MeasureReport) -> None:
        """Keep each kind of note once for a place, and the largest noise floor: the most careful
        reading.
        """
        known = {replace(note, text="") for note in self._notes}
        self._notes += [note for note in measured.notes if replace(note, text="") not in known]
        floors = [floor for floor in (self._noise_floor, measured.noise_floor) if floor is not None]
        self._noise_floor = max(floors, default=None)

    def _tell(self, text: str, iteration: int) -> None:
        self.world.progress(text, min(1.0, iteration / (self.settings.limits.max_iterations + 1)))

    def _report(
        self, stop: Ending, confirmed: tuple[SizeResult, ...], best: Trial | None = None
    ) -> TuneReport:
        dead = dead_parameters(self._trials, self.settings.start)
        closing = closing_notes(dead, confirmed, best, self._noise_floor)
        return TuneReport(
            status=stop.status,
            reason=stop.reason,
            builds=sum(trial.build_s > 0 for trial in self._trials),
            evaluations=sum(bool(trial.sizes) for trial in self._trials),
            wall_s=self.world.clock(),
            trials=tuple(self._trials),
            best_params=dict(best.params) if best is not None else None,
            best_iteration=best.iteration if best is not None else None,
            best_build=self._prepared[best.iteration].module if best is not None else None,
            confirmed=confirmed,
            dead_parameters=dead,
            notes=(*self._notes, *closing),
            workload=self.settings.workload,
            start_params=dict(self.settings.start),
            noise_floor=self._noise_floor,
        )


def _begun(candidate: Candidate, iteration: int) -> Trial:
    return Trial(
        iteration=iteration,
        params=dict(candidate.params),
        outcome=TrialOutcome.OK,
        sizes=(),
        proofs=(),
        build_s=0.0,
        bench_s=0.0,
        text_hash=None,
        timestamp="",
        stage=candidate.stage.value,
        reason=candidate.reason,
    )


def _built(trial: Trial, prepared: Prepared) -> Trial:
    return replace(
        trial,
        proofs=prepared.proofs,
        build_s=prepared.build_s,
        text_hash=prepared.text_hash,
        signature=prepared.signature,
    )


def _measured(trial: Trial, measured: MeasureReport) -> Trial:
    outcome, reason = _VERDICTS.get(measured.verdict, (TrialOutcome.OK, trial.reason))
    return replace(
        trial,
        outcome=outcome,
        reason=reason,
        sizes=measured.results if outcome is TrialOutcome.OK else (),
        bench_s=measured.seconds,
        noise_floor=measured.noise_floor,
    )


_NO_VERDICTS = (TrialOutcome.BUSY, TrialOutcome.UNTRUSTED)
"""Trials that are repeated after an interruption: they say nothing about their candidate."""

_VERDICTS = {
    MeasureVerdict.BUSY: (TrialOutcome.BUSY, "the machine had no room for the measurement"),
    MeasureVerdict.UNTRUSTED: (TrialOutcome.UNTRUSTED, "identical code measured as different"),
}
"""Verdicts that say nothing about a candidate, with the outcome and the reason of its trial."""


def _label(iteration: int) -> str:
    return f"trial_{iteration:03d}"

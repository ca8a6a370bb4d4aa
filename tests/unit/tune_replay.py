"""A recorded run in place of builds and measurements: the whole loop without a machine.

What was not recorded cannot be replayed and is an error, never a guess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.errors import (
    BuildError,
    StoreError,
    SubjectMismatchError,
    ToolTimedOutError,
    WorkerError,
    WrongResultError,
)
from perfkit.records import MeasureReport, MeasureVerdict, TrialOutcome
from perfkit.tune import space
from perfkit.tune.evaluator import Prepared, TrialProfile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.records import SizeResult, Trial, Value

_VERDICTS = {
    TrialOutcome.BUSY: MeasureVerdict.BUSY,
    TrialOutcome.UNTRUSTED: MeasureVerdict.UNTRUSTED,
}


class ReplayEvaluator:
    """Answers as a recorded run did.

    Args:
        trials: what was recorded.
        confirmations: figures of a fresh measurement by assignment (`space.key`); the trial's own
            where none was recorded.
        noise_floor: of the recorded run.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        *,
        confirmations: Mapping[str, Sequence[SizeResult]] | None = None,
        noise_floor: float | None = None,
    ) -> None:
        self._trials = {space.key(trial.params): trial for trial in trials}
        self._confirmations = confirmations or {}
        self._noise_floor = noise_floor
        self.asked: list[str] = []

    def prepare(self, params: Mapping[str, Value]) -> Prepared:
        """See `Evaluator`."""
        trial = self._find(params)
        self.asked.append(f"prepare {trial.iteration}")  # its place in the record
        if trial.outcome is TrialOutcome.BUILD_FAILED:
            raise BuildError(trial.reason)
        if trial.outcome is TrialOutcome.NOT_APPLIED:
            raise SubjectMismatchError(trial.reason)
        return Prepared(
            params=params,
            proofs=trial.proofs,
            text_hash=trial.text_hash,
            signature=trial.signature or trial.text_hash or space.key(params),
            build_s=trial.build_s,
        )

    def measure(self, prepared: Prepared, *, label: str, fresh: bool) -> MeasureReport:
        """See `Evaluator`."""
        trial = self._find(prepared.params)
        self.asked.append(f"{'confirm' if fresh else 'measure'} {label}")
        match trial.outcome:
            case TrialOutcome.CRASHED:
                raise WorkerError(trial.reason)
            case TrialOutcome.TIMED_OUT:
                raise ToolTimedOutError(trial.reason)
            case TrialOutcome.WRONG_RESULT:
                raise WrongResultError(trial.reason)
            case _:
                pass
        sizes: Sequence[SizeResult] = trial.sizes
        if fresh:
            sizes = self._confirmations.get(space.key(prepared.params), trial.sizes)
        return MeasureReport(
            verdict=_VERDICTS.get(trial.outcome, MeasureVerdict.OK),
            results=tuple(sizes),
            noise_floor=self._noise_floor,
            seconds=trial.bench_s,
        )

    def profile(self, prepared: Prepared, size: int, *, label: str) -> TrialProfile:
        """See `Evaluator`."""
        self.asked.append(f"profile {label} at {size}")
        trial = self._find(prepared.params)
        return TrialProfile(rows=trial.profile, files=trial.files)

    def _find(self, params: Mapping[str, Value]) -> Trial:
        try:
            return self._trials[space.key(params)]
        except KeyError:
            message = f"the recorded run has no trial with {dict(params)}"
            raise StoreError(message, remedy="record it again") from None

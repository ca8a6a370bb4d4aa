"""The journal of a tuning run: what was tried, kept so that a kill loses at most one trial.

`tune.json` says what the run is about; `trials.jsonl` has one whole trial per line, synced;
`iteration_summary.jsonl` the same in few flat columns, for `pandas.read_json(lines=True)`;
`confirmations.jsonl` has the figures of trials that were measured again; and
`iterations/iter_NNN_<params>.json` each trial separately. Nothing is judged here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perfkit import run_files, store
from perfkit.errors import UsageError
from perfkit.records import Remeasured

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from perfkit.records import Interval, SizeResult, Trial, TuneHeader, Value


def resumable(profiles: Path, name: str) -> store.Run:
    """An earlier tuning run, by its name or path.

    Raises:
        StoreError: there is no such run, or it is not a tuning run that began.
    """
    run = store.open_run(profiles, name)
    run_files.TUNE_HEADER.load(run)
    return run


class Journal:
    """The files of one tuning run.

    Args:
        run: where they lie.
        name: turns the values that differ from the start into a piece of a file name.
    """

    def __init__(self, run: store.Run, name: Callable[[Mapping[str, Value]], str]) -> None:
        self._run = run
        self._name = name
        self._start: Mapping[str, Value] = {}

    def begin(self, header: TuneHeader) -> None:
        """Begin a new run."""
        self._start = header.start
        run_files.TUNE_HEADER.save(self._run, header)

    def resume(self, header: TuneHeader) -> tuple[Trial, ...]:
        """Take up a run that was interrupted, and return its trials.

        The journals are rewritten from what could be read, so that a line cut short by a kill does
        not spoil the next one.

        Raises:
            UsageError: something that decides the figures has changed; the message says what.
            StoreError: it is not a tuning run, or its journal is broken.
        """
        changed = _changes(run_files.TUNE_HEADER.load(self._run), header)
        if changed:
            message = f"cannot be resumed: {', '.join(changed)} changed since it began"
            remedy = "start a new run, without --resume"
            raise UsageError(message, where=str(self._run.directory), remedy=remedy)
        self._start = header.start
        trials = run_files.TRIALS.load(self._run)
        run_files.TRIALS.rewrite(self._run, trials)
        run_files.TRIAL_SUMMARY.rewrite(self._run, map(summary, trials))
        run_files.REMEASURED.rewrite(self._run, run_files.REMEASURED.load(self._run))
        return trials

    def confirm(self, trial: Trial, sizes: Sequence[SizeResult]) -> None:
        """Keep a trial's figures from its second measurement."""
        again = Remeasured(iteration=trial.iteration, sizes=tuple(sizes))
        run_files.REMEASURED.append(self._run, again)

    def confirmed(self) -> dict[int, tuple[SizeResult, ...]]:
        """The latest figures of trials that were measured again before an interruption."""
        return {again.iteration: again.sizes for again in run_files.REMEASURED.load(self._run)}

    def append(self, trial: Trial) -> None:
        """Keep one finished trial."""
        changed = {
            name: value for name, value in trial.params.items() if self._start.get(name) != value
        }
        run_files.TRIALS.append(self._run, trial)
        run_files.TRIAL_SUMMARY.append(self._run, summary(trial))
        stem = f"iter_{trial.iteration:03d}_{self._name(changed)}"
        run_files.trial_file(stem).save(self._run, trial)


def summary(trial: Trial) -> dict[str, Any]:
    """A trial in few flat columns.

    `performance` is the speed-up against the reference by size, `change` the speed-up against the
    starting build; the intervals of both follow by size.
    """
    line: dict[str, Any] = {
        "iteration": trial.iteration,
        "stage": trial.stage,
        "params": dict(trial.params),
        "outcome": trial.outcome.value,
        "performance": {str(one.size): _estimate(one.speedup) for one in trial.sizes},
        "change": {str(one.size): _estimate(one.change) for one in trial.sizes},
    }
    for size in trial.sizes:
        for name, ratio in (("speedup", size.speedup), ("change", size.change)):
            column = f"{name}_{size.size}"
            line[column] = _estimate(ratio)
            line[f"{column}_low"] = ratio.low if ratio else None
            line[f"{column}_high"] = ratio.high if ratio else None
    return line | {
        "build_s": trial.build_s,
        "bench_s": trial.bench_s,
        "text_hash": trial.text_hash,
        "timestamp": trial.timestamp,
        "reason": trial.reason,
    }


def _estimate(ratio: Interval | None) -> float | None:
    return ratio.estimate if ratio else None


def _changes(before: TuneHeader, now: TuneHeader) -> list[str]:
    """What differs between two runs, in words."""
    old, new = (
        {"the workload": one.workload, "the starting values": dict(one.start), **one.key}
        for one in (before, now)
    )
    return [name for name in old | new if old.get(name) != new.get(name)]

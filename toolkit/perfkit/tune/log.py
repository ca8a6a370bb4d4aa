"""The journal of a tuning run: what was tried, kept so that a kill loses at most one trial.

`tune.json` says what the run is about; `trials.jsonl` has one whole trial per line, synced;
`iteration_summary.jsonl` the same in few flat columns, for `pandas.read_json(lines=True)`;
`confirmations.jsonl` what trials measured afresh came to; and
`iterations/iter_NNN_<params>.json` each trial by itself. Nothing is judged here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003  # `from_json` reads the annotations
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfkit import store
from perfkit.errors import StoreError, UsageError
from perfkit.records import SizeResult, Trial, Value  # `from_json` reads the annotations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from perfkit.records import Interval

HEADER_FILE = "tune.json"
TRIALS_FILE = "trials.jsonl"
SUMMARY_FILE = "iteration_summary.jsonl"
FRESH_FILE = "confirmations.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a run is about. Trials of two runs belong together only when all of it is equal.

    Attributes:
        key: what decides the figures, by name: sources, toolchain, machine, workload, ….
        start: the starting value of every parameter.
    """

    workload: str
    key: Mapping[str, str]
    start: Mapping[str, Value]


def resumable(profiles: Path, name: str) -> store.Run:
    """An earlier tuning run, by its name or path.

    Raises:
        StoreError: there is no such run, or it is no tuning run that had begun.
    """
    run = store.open_run(profiles, name)
    _header(run)
    return run


def _header(run: store.Run) -> Header:
    path = run.directory / HEADER_FILE
    if not path.exists():
        message = "this run holds no journal of `perfkit tune`"
        raise StoreError(message, where=str(run.directory), remedy="name another run")
    return store.from_json(Header, store.read_json(path), where=str(path))


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

    def begin(self, header: Header) -> None:
        """Begin a new run."""
        self._start = header.start
        self._run.write_record(HEADER_FILE, header)

    def resume(self, header: Header) -> tuple[Trial, ...]:
        """Take up a run that was interrupted, and return its trials.

        The journals are written anew from what could be read, so that a line that a kill cut
        short does not spoil the next one.

        Raises:
            UsageError: the run is about something else; the message says what differs.
            StoreError: it is no tuning run, or its journal is broken.
        """
        changed = _changes(_header(self._run), header)
        if changed:
            message = f"cannot be gone on with: {', '.join(changed)} changed since it began"
            remedy = "start afresh, without --resume"
            raise UsageError(message, where=str(self._run.directory), remedy=remedy)
        self._start = header.start
        trials = read_trials(self._run)
        self._run.write(TRIALS_FILE, _lines(trials))
        self._run.write(SUMMARY_FILE, _lines([summary(trial) for trial in trials]))
        fresh = read_fresh(self._run)
        lines = [Fresh(iteration=number, sizes=sizes) for number, sizes in fresh.items()]
        self._run.write(FRESH_FILE, _lines(lines))
        return trials

    def confirm(self, trial: Trial, sizes: Sequence[SizeResult]) -> None:
        """Keep what a trial came to when it was measured afresh."""
        self._run.append(FRESH_FILE, Fresh(iteration=trial.iteration, sizes=tuple(sizes)))

    def confirmed(self) -> dict[int, tuple[SizeResult, ...]]:
        """What trials before an interruption came to when they were measured afresh."""
        return read_fresh(self._run)

    def append(self, trial: Trial) -> None:
        """Keep one finished trial."""
        changed = {
            name: value for name, value in trial.params.items() if self._start.get(name) != value
        }
        self._run.append(TRIALS_FILE, trial)
        self._run.append(SUMMARY_FILE, summary(trial))
        name = f"iterations/iter_{trial.iteration:03d}_{self._name(changed)}.json"
        self._run.write_record(name, trial)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """What a trial came to when it was measured afresh."""

    iteration: int
    sizes: tuple[SizeResult, ...]


def read_fresh(run: store.Run) -> dict[int, tuple[SizeResult, ...]]:
    """The fresh figures of a run by iteration, the last ones of each.

    Raises:
        StoreError: a line that is not the last one is broken.
    """
    path = run.directory / FRESH_FILE
    lines = [
        store.from_json(Fresh, line, where=f"{path}:{number}")
        for number, line in enumerate(store.read_journal(path), start=1)
    ]
    return {fresh.iteration: fresh.sizes for fresh in lines}


def read_trials(run: store.Run) -> tuple[Trial, ...]:
    """All whole trials of a run.

    Raises:
        StoreError: a line that is not the last one is broken.
    """
    path = run.directory / TRIALS_FILE
    return tuple(
        store.from_json(Trial, line, where=f"{path}:{number}")
        for number, line in enumerate(store.read_journal(path), start=1)
    )


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
        "performance": {
            str(size.size): size.speedup.estimate if size.speedup else None for size in trial.sizes
        },
        "change": {
            str(size.size): size.change.estimate if size.change else None for size in trial.sizes
        },
    }
    for size in trial.sizes:
        line |= _flat(f"speedup_{size.size}", size.speedup)
        line |= _flat(f"change_{size.size}", size.change)
    return line | {
        "build_s": trial.build_s,
        "bench_s": trial.bench_s,
        "text_hash": trial.text_hash,
        "timestamp": trial.timestamp,
        "reason": trial.reason,
    }


def _flat(name: str, interval: Interval | None) -> dict[str, float | None]:
    if interval is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _changes(before: Header, now: Header) -> list[str]:
    changed = [] if before.workload == now.workload else ["the workload"]
    changed += [] if dict(before.start) == dict(now.start) else ["the starting values"]
    names = dict.fromkeys((*before.key, *now.key))
    return changed + [name for name in names if before.key.get(name) != now.key.get(name)]


def _lines(records: Sequence[object]) -> str:
    return "".join(
        json.dumps(store.to_json(record), ensure_ascii=False) + "\n" for record in records
    )

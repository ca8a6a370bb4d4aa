"""The files of a run directory: what each is called, which record it holds, how it is written and
read. Every command that leaves a result and every one that reads it back goes through here.

Raw output, stacks and pictures are not here: what a tool or a profiler wrote is named by it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping  # noqa: TC003  # pydantic reads the annotations
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from perfkit import store
from perfkit.errors import StoreError, UsageError
from perfkit.records import (
    ConfigValue,
    Diagnosis,
    MeasureReport,
    ProfileReport,
    Remeasured,
    Trial,
    TuneHeader,
    TuneReport,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from perfkit.store import Run

Record = TypeVar("Record")

REPORT_FILE = "final_report.md"
"""The report as Markdown, of every command that leaves a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHeader:
    """What `run.json` says: how the run began, and how it ended once it has.

    Attributes:
        id: the directory's name.
        started: in ISO 8601, as `ended` is; that is None while the run lasts, or when it was
            killed.
        workload_files: hashes of the files that workloads name, by path.
        fingerprint: of the machine and the toolchain, with its `key`; `toolkit` in it is the
            version of perfkit that wrote the run.
        load_average: of the machine before the run, over 1, 5 and 15 minutes.
    """

    id: str
    command: str
    started: str
    argv: tuple[str, ...] = ()
    project: str = ""
    config_file: str = ""
    config: tuple[ConfigValue, ...] = ()
    workload_files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    fingerprint: Mapping[str, Any] | None = None
    load_average: tuple[float, ...] = ()
    ended: str | None = None
    exit_code: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFile(Generic[Record]):
    """A file that holds one record.

    Attributes:
        name: relative to the run directory.
        record: the class of what it holds.
        what: what a run without it lacks, in words.
        command: the command that writes it; empty where every command does.
    """

    name: str
    record: type[Record]
    what: str
    command: str

    def is_in(self, run: Run) -> bool:
        """Whether a run has it."""
        return (run.directory / self.name).is_file()

    def save(self, run: Run, value: Record) -> Path:
        """Write it, with the schema version in front."""
        return run.write_record(self.name, value)

    def load(self, run: Run) -> Record:
        """Read it back.

        Raises:
            StoreError: the run does not have it, it is damaged, or another version of perfkit wrote
                it in a way that this one cannot read.
        """
        path = run.directory / self.name
        if not path.is_file():
            message = f"holds no {self.what}"
            remedy = f"name a run of `perfkit {self.command}`" if self.command else ""
            raise StoreError(message, where=str(run.directory), remedy=remedy)
        return store.from_json(self.record, store.read_json(path), where=str(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalFile(Generic[Record]):
    """A file that grows by one record per line, each synced."""

    name: str
    record: type[Record]

    def append(self, run: Run, value: Record) -> None:
        """Add one line."""
        run.append(self.name, value)

    def rewrite(self, run: Run, values: Iterable[Record]) -> None:
        """Write it anew from what could be read, without the line that a kill cut short."""
        lines = (json.dumps(store.to_json(value), ensure_ascii=False) + "\n" for value in values)
        run.write(self.name, "".join(lines))

    def load(self, run: Run) -> tuple[Record, ...]:
        """Every whole line; none when there is no such file.

        Raises:
            StoreError: a line that is not the last one is broken, or is not such a record.
        """
        path = run.directory / self.name
        return tuple(
            store.from_json(self.record, line, where=f"{path}:{number}")
            for number, line in enumerate(store.read_journal(path), start=1)
        )


HEADER = RecordFile(name=store.RUN_FILE, record=RunHeader, what="run.json", command="")
MEASUREMENT = RecordFile(
    name="measurement.json", record=MeasureReport, what="measurement", command="measure"
)
PROFILE = RecordFile(name="profile.json", record=ProfileReport, what="profile", command="profile")
DIAGNOSIS = RecordFile(
    name="diagnosis.json", record=Diagnosis, what="diagnosis", command="diagnose"
)
TUNING = RecordFile(name="tuning.json", record=TuneReport, what="tuning report", command="tune")
TUNE_HEADER = RecordFile(
    name="tune.json", record=TuneHeader, what="journal of `perfkit tune`", command="tune"
)
TRIALS = JournalFile(name="trials.jsonl", record=Trial)
REMEASURED = JournalFile(name="confirmations.jsonl", record=Remeasured)
TRIAL_SUMMARY: JournalFile[dict[str, Any]] = JournalFile(
    name="iteration_summary.jsonl", record=dict
)
"""Each trial in few flat columns, for `pandas.read_json(lines=True)`."""

RESULTS: tuple[RecordFile[Any], ...] = (TUNING, DIAGNOSIS, PROFILE, MEASUREMENT)
"""What a run was for: it has at most one of these."""


def result_file(run: Run) -> RecordFile[Any] | None:
    """The one that a run has, None when it ended before it had a result."""
    return next((file for file in RESULTS if file.is_in(run)), None)


def comparable_file(before: Run, after: Run) -> RecordFile[Any]:
    """The file by which two runs are compared: the measurement or the profile of both.

    Raises:
        UsageError: they are of other kinds.
    """
    found = [result_file(run) for run in (before, after)]
    if found[0] is found[1] and found[0] in (MEASUREMENT, PROFILE):
        return found[0]
    kinds = " and ".join(
        f"{run.id} holds {f'a {file.what}' if file is not None else 'no result'}"
        for run, file in zip(dict.fromkeys((before, after)), found, strict=False)
    )
    message = f"only two measurements or two profiles compare with each other; {kinds}"
    remedy = "name two runs of `perfkit measure` or two of `perfkit profile`"
    raise UsageError(message, remedy=remedy)


def trial_file(stem: str) -> RecordFile[Trial]:
    """The file of one trial by itself."""
    name = f"iterations/{stem}.json"
    return RecordFile(name=name, record=Trial, what="trial of that name", command="tune")


def close(run: Run, code: int, error: str) -> None:
    """Say in `run.json` how a run ended."""
    ended = datetime.now(UTC).isoformat()
    header = dataclasses.replace(
        HEADER.load(run), ended=ended, exit_code=int(code), error=error or None
    )
    HEADER.save(run, header)

"""Workloads of the config as arms: how many data sets they get, and whether their results are right
before anything is timed. Timing itself is in `perfkit.measure`.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

from perfkit.environment import thread_environment
from perfkit.errors import ToolTimedOutError, WorkloadError, WrongResultError
from perfkit.records import Note, Place
from perfkit.subject.child import CheckResult, Difference, WorkerSpec, worker
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perfkit.config import Project, Workload

LIMIT_S = 60.0
"""What one call may take where no time limit is given."""

_ELEMENTS_TO_FORGET = 400_000
"""Elements over all data sets that no branch predictor remembers: a predictor learns a single small
array by heart and makes the subject look faster than it is on fresh data."""


def data_sets_for(size: int, at_most: int) -> int:
    """How many data sets calls at a size rotate through: at least two where that is allowed."""
    return max(1, min(at_most, max(2, -(-_ELEMENTS_TO_FORGET // size))))


def workload_files(project: Project, workloads: Iterable[Workload]) -> dict[str, str]:
    """Hashes of the files that the callables of workloads are in; modules are in the build."""
    named = {
        reference.rpartition(":")[0]
        for workload in workloads
        for reference in (workload.call, workload.setup, workload.reference)
        if reference is not None
    }
    files = {name: project.root / name for name in sorted(named) if name.endswith(".py")}
    return {
        name: hashlib.sha256(file.read_bytes()).hexdigest()
        for name, file in files.items()
        if file.is_file()
    }


def verify(
    spec: WorkerSpec,
    work: tuple[str, Workload],
    size: int,
    *,
    seed: int = 0,
    threads: int | None = None,
    limit_s: float = LIMIT_S,
) -> tuple[CheckResult, tuple[Note, ...]]:
    """Check one size in a separate process, before it is timed.

    The reference runs in the same process here, but in another one when it is timed: its thread
    pool must not stay behind beside the subject's.

    Args:
        work: the workload with its name.
        threads: when above one, the result is also compared with that of one thread.
        limit_s: what one call may take.

    Raises:
        WrongResultError: subject and reference differ by more than the tolerance.
        WorkloadError: the call changes its inputs, returns different results each time, or takes
            too long.
    """
    name, workload = work
    found = _check(spec, work, size, seed, limit_s)
    where = f"workload `{name}` at size {format_count(size)}"
    if found.changes_arguments:
        message = f"`{workload.call}` changes its own arguments, so no two calls do the same work"
        remedy = "make the call in the config copy what it changes, or write to its own `out`"
        raise WorkloadError(message, where=where, remedy=remedy)
    notes = []
    if found.repeat is not None and not found.repeat.agree:
        message = f"`{workload.call}` returns a different result each time: {_shown(found.repeat)}"
        remedy = "seed its random numbers, or widen `tolerance` if this is intended"
        raise WorkloadError(message, where=where, remedy=remedy)
    # Equal values may differ in their bytes: keys of a dict in another order, a zero's sign.
    if found.repeat is not None and found.same_bits is False and found.repeat.max_absolute != 0.0:
        text = f"calls on the same input differ within the tolerance: {_shown(found.repeat)}"
        notes.append(Note(id="results_vary", text=text))
    if found.reference is not None and not found.reference.agree:
        message = f"subject and reference disagree: {_shown(found.reference)}"
        remedy = "fix one of them, or set `tolerance` to what their rounding allows"
        raise WrongResultError(message, where=where, remedy=remedy)
    if threads is not None and threads > 1 and found.digest is not None:
        alone = dataclasses.replace(spec, environment={**spec.environment, **thread_environment(1)})
        notes += _across_threads(found, _check(alone, work, size, seed, limit_s), where)
    place = Place(workload=name, sizes=(size,))
    return found, tuple(dataclasses.replace(note, place=place) for note in notes)


def _check(
    spec: WorkerSpec, work: tuple[str, Workload], size: int, seed: int, limit_s: float
) -> CheckResult:
    name, workload = work
    with worker(spec) as process:
        arm = process.prepare(workload, size, which="call", seed=seed, name=name)
        other = None
        if workload.reference is not None:
            other = process.prepare(workload, size, which="reference", seed=seed, name=name)
        try:
            return process.check(arm, other, tolerance=workload.tolerance, limit_s=limit_s)
        except ToolTimedOutError as error:
            message = f"a call does not return within the time limit of {limit_s:g} s"
            where = f"workload `{name}` at size {format_count(size)}"
            raise WorkloadError(message, where=where, remedy=error.remedy) from error


def _across_threads(found: CheckResult, single: CheckResult, where: str) -> list[Note]:
    """Whether one thread returns what several do."""
    if single.reference is not None and not single.reference.agree:
        message = f"on one thread, subject and reference disagree: {_shown(single.reference)}"
        remedy = "fix the sequential branch, or set `tolerance` to what rounding allows"
        raise WrongResultError(message, where=where, remedy=remedy)
    if single.digest == found.digest or found.same_bits is False:
        return []
    text = "the result's bits depend on the number of threads"
    return [Note(id="results_depend_on_threads", text=text)]


def _shown(difference: Difference) -> str:
    parts = [difference.reason, f"at {difference.where}" if difference.where else ""]
    gaps = {"absolute": difference.max_absolute, "relative": difference.max_relative}
    parts += [
        f"largest {kind} difference {gap:.3g}" for kind, gap in gaps.items() if gap is not None
    ]
    return ", ".join(filter(None, parts))

"""Two captures side by side, of one workload in two runs or at two sizes of one run: by frame, and
as a differential flame graph. Both come from run directories; nothing is started here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit import _engine
from perfkit.errors import UsageError
from perfkit.measure.compare import refuse_other_machines, refuse_other_work
from perfkit.profile import pace
from perfkit.profile.analyse import stacks_of
from perfkit.records import Capture, Note
from perfkit.run_files import PROFILE
from perfkit.stacks.diff import FrameDifference, Sampled, compare, scaled, whole
from perfkit.stacks.folded import write_stacks
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from perfkit.records import Interval
    from perfkit.store import Run

PER_CALL, PER_ELEMENT = "call", "element"
_UNITS = {PER_CALL: ("ns", 1e-9), PER_ELEMENT: ("ps", 1e-12)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedCaptures:
    """One profiler's captures of one workload, compared.

    Attributes:
        before: what the earlier one is called.
        per: `call` or `element`: what the seconds are of.
        whole: all CPU time, of all threads.
        frames: each frame's own part of it, the largest change first.
        pace: how much longer perfkit's fixed work took during the later one.
    """

    profiler: str
    workload: str
    before: str
    after: str
    per: str
    pace: Interval
    whole: FrameDifference
    frames: tuple[FrameDifference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileComparison:
    """Two profiled runs, or one at two sizes."""

    before: str
    after: str
    captures: tuple[ComparedCaptures, ...]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCapture:
    """A capture with the run that has its files."""

    capture: Capture
    run: Run

    @property
    def key(self) -> tuple[str, str, str]:
        """What it shares with the same capture of another run."""
        return self.capture.workload, str(self.capture.size), self.capture.profiler

    @property
    def name(self) -> str:
        """What it is called beside another one of the same workload."""
        size = self.capture.size
        shown = format_count(size) if size is not None else "–"
        return f"n = {shown} ({self.capture.profiler})"

    @property
    def fault(self) -> str:
        """Why it cannot be compared; empty if it can."""
        if not self.capture.calls or not self.capture.rate_hz or not self.capture.region_s:
            return f"{self.capture.profiler} does not know how many calls its samples are from"
        if not self.capture.pace:
            return f"{self.run.id} does not say how fast the machine ran: profile it again"
        return ""

    def sampled(self, per: str) -> Sampled:
        """Its stacks, with what makes seconds of them."""
        capture = self.capture
        return Sampled(
            stacks=tuple(stacks_of(capture, self.run)),
            rate_hz=capture.rate_hz,
            calls=capture.calls or 0,
            call_s=(capture.region_s or 0.0) / (capture.calls or 1),
            elements=(capture.size or 0) if per == PER_ELEMENT else 1,
            design_effect=capture.design_effect,
            doubts=capture.doubts,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturePair:
    """Two captures that may be compared, and what the seconds are of."""

    before: RunCapture
    after: RunCapture
    per: str

    @property
    def label(self) -> str:
        """What a picture of it is named after."""
        capture = self.after.capture
        return f"{capture.workload}-{format_count(capture.size or 0)}.{capture.profiler}"


Pairs = tuple[tuple[CapturePair, ...], tuple[Note, ...]]
"""What may be compared, and why other captures are left out."""


def pair_runs(before: Run, after: Run) -> Pairs:
    """The captures that two runs have in common.

    Raises:
        UsageError: machines or workloads differ, or the runs have nothing in common.
        StoreError: one of them holds no profile.
    """
    earlier, later = _captures(before), _captures(after)
    refuse_other_machines(before, after)
    refuse_other_work(before, after, {workload for workload, *_ in later})
    alone = tuple(
        Note(id="only_one_run", text="profiled in only one of the runs", where=" ".join(key))
        for key in sorted(earlier.keys() ^ later.keys())
    )
    both = [(earlier[key], later[key]) for key in later if key in earlier]
    return _comparable(both, PER_CALL, f"{before.id} and {after.id}", alone)


def pair_sizes(run: Run, smaller: int, larger: int) -> Pairs:
    """The captures of one run at two sizes, to be compared per element.

    Raises:
        UsageError: the run has no workload that was profiled at both.
        StoreError: it holds no profile.
    """
    known = _captures(run)
    both = [
        (one, known[name, str(larger), profiler])
        for (name, size, profiler), one in known.items()
        if size == str(smaller) and (name, str(larger), profiler) in known
    ]
    return _comparable(both, PER_ELEMENT, run.id)


def _captures(run: Run) -> dict[tuple[str, str, str], RunCapture]:
    found = (RunCapture(capture=capture, run=run) for capture in PROFILE.load(run).captures)
    return {one.key: one for one in found}


def _comparable(
    pairs: Iterable[tuple[RunCapture, RunCapture]],
    per: str,
    where: str,
    others: tuple[Note, ...] = (),
) -> Pairs:
    """The pairs of which both captures know their calls and the machine's pace."""
    kept, notes = [], []
    for before, after in pairs:
        fault = after.fault or before.fault
        if fault:
            notes.append(Note(id="not_compared", text=fault, where=" ".join(after.key)))
        else:
            kept.append(CapturePair(before=before, after=after, per=per))
    if not kept:
        message = "there are no two captures to compare"
        details = "\n".join(f"{note.where}: {note.text}" for note in (*notes, *others))
        remedy = "profile the same workload and sizes with perf or py-spy"
        raise UsageError(message, where=where, details=details, remedy=remedy)
    return tuple(kept), (*notes, *others)


def compare_pairs(
    pairs: Iterable[CapturePair], notes: tuple[Note, ...], before: str, after: str
) -> ProfileComparison:
    """Every pair's frames."""
    return ProfileComparison(
        before=before,
        after=after,
        captures=tuple(_compared(pair) for pair in pairs),
        notes=notes,
    )


def _compared(pair: CapturePair) -> ComparedCaptures:
    before, after = (side.sampled(pair.per) for side in (pair.before, pair.after))
    capture = pair.after.capture
    changed = pace.between(pair.before.capture.pace, capture.pace)
    assert changed is not None, "captures without a pace make no pair"
    return ComparedCaptures(
        profiler=capture.profiler,
        workload=capture.workload,
        before=pair.before.name,
        after=pair.after.name,
        per=pair.per,
        pace=changed,
        whole=whole(before, after, "all frames", changed),
        frames=compare(before, after, changed),
    )


def draw(pair: CapturePair, output: Path) -> Path:
    """The differential flame graph: widths are times of `after`, colours the change.

    Raises:
        UsageError: no stack of one of them takes as long as the picture's unit.
    """
    name, unit_s = _UNITS[pair.per]
    unit = f"{name} per {pair.per}"
    sides = (pair.before, pair.after)
    scratch = [output.with_suffix(f".{which}.folded") for which in ("before", "after")]
    try:
        for side, path in zip(sides, scratch, strict=True):
            rows = scaled(side.sampled(pair.per), unit_s)
            if not rows:
                message = f"no stack takes one {unit}"
                raise UsageError(message, where=side.name)
            write_stacks(rows, path)
        names = [f"{side.capture.workload} {side.name} of {side.run.id}" for side in sides]
        _engine.diff_flamegraph(
            scratch[0],
            scratch[1],
            output,
            title=f"{names[1]} against {names[0]}",
            subtitle=f"CPU time in {unit}; red grew, blue shrank; no share is compared",
            normalize=False,
            count_name=unit,
        )
    finally:
        for path in scratch:
            path.unlink(missing_ok=True)
    return output

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
class CapturePair:
    """Two captures that may be compared, and what the seconds are of."""

    before: tuple[Capture, Run]
    after: tuple[Capture, Run]
    per: str

    @property
    def label(self) -> str:
        """What names a picture of it."""
        capture, _ = self.after
        return f"{capture.workload}-{format_count(capture.size or 0)}.{capture.profiler}"


def pair_runs(before: Run, after: Run) -> tuple[tuple[CapturePair, ...], tuple[Note, ...]]:
    """The captures that two runs have in common, and why others are left out.

    Raises:
        UsageError: machines or workloads differ, or the runs have nothing in common.
        StoreError: one of them holds no profile.
    """
    earlier = {_key(capture): capture for capture in PROFILE.load(before).captures}
    later = {_key(capture): capture for capture in PROFILE.load(after).captures}
    refuse_other_machines(before, after)
    refuse_other_work(before, after, {capture.workload for capture in later.values()})
    notes = [
        Note(id="only_one_run", text="profiled in one of the runs only", where=" ".join(key))
        for key in sorted(earlier.keys() ^ later.keys())
    ]
    both = [(earlier[key], later[key]) for key in later if key in earlier]
    pairs, refused = _believed((((a, before), (b, after)) for a, b in both), PER_CALL)
    if not pairs:
        _nothing([*refused, *notes], f"{before.id} and {after.id}")
    return pairs, (*refused, *notes)


def pair_sizes(
    run: Run, smaller: int, larger: int
) -> tuple[tuple[CapturePair, ...], tuple[Note, ...]]:
    """The captures of one run at two sizes, to be compared per element.

    Raises:
        UsageError: the run has no workload that was profiled at both.
        StoreError: it holds no profile.
    """
    known = {_key(capture): capture for capture in PROFILE.load(run).captures}
    both = [
        (capture, known[name, str(larger), profiler])
        for (name, size, profiler), capture in known.items()
        if size == str(smaller) and (name, str(larger), profiler) in known
    ]
    pairs, refused = _believed((((a, run), (b, run)) for a, b in both), PER_ELEMENT)
    if not pairs:
        _nothing(refused, run.id)
    return pairs, refused


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


def draw(pair: CapturePair, output: Path) -> Path:
    """The differential flame graph: widths are times of `after`, colours the change.

    Raises:
        UsageError: nothing of one of them is as long as the picture's unit.
    """
    name, unit_s = _UNITS[pair.per]
    unit = f"{name} per {pair.per}"
    sides = (pair.before, pair.after)
    scratch = [output.with_suffix(f".{which}.folded") for which in ("before", "after")]
    try:
        for (capture, run), path in zip(sides, scratch, strict=True):
            rows = scaled(_sampled(capture, run, pair.per), unit_s)
            if not rows:
                message = f"no stack takes one {unit}"
                raise UsageError(message, where=_name(capture))
            _engine.Folded.from_stacks([(list(s), c) for s, c in rows]).write(path)
        names = [f"{capture.workload} {_name(capture)} of {run.id}" for capture, run in sides]
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


def _key(capture: Capture) -> tuple[str, str, str]:
    return capture.workload, str(capture.size), capture.profiler


def _name(capture: Capture) -> str:
    size = format_count(capture.size) if capture.size is not None else "–"
    return f"n = {size} ({capture.profiler})"


def _believed(
    pairs: Iterable[tuple[tuple[Capture, Run], tuple[Capture, Run]]], per: str
) -> tuple[tuple[CapturePair, ...], tuple[Note, ...]]:
    """The pairs of which both captures can be believed and know their calls."""
    kept, notes = [], []
    for before, after in pairs:
        why = ""
        for capture, run in (before, after):
            if not capture.accepted:
                why = f"not believed in {run.id}: {capture.reason}"
            elif not capture.calls or not capture.rate_hz:
                why = f"{capture.profiler} does not know the calls behind its samples"
            elif not capture.pace:
                why = f"{run.id} does not tell how fast the machine ran: profile it again"
        if why:
            notes.append(Note(id="not_compared", text=why, where=" ".join(_key(after[0]))))
        else:
            kept.append(CapturePair(before=before, after=after, per=per))
    return tuple(kept), tuple(notes)


def _nothing(notes: Iterable[Note], where: str) -> None:
    message = "there are no two captures to compare"
    raise UsageError(
        message,
        where=where,
        details="\n".join(f"{note.where}: {note.text}" for note in notes),
        remedy="profile the same workload and sizes with perf or py-spy",
    )


def _compared(pair: CapturePair) -> ComparedCaptures:
    before, after = (_sampled(*side, pair.per) for side in (pair.before, pair.after))
    (earlier, _), (capture, _) = pair.before, pair.after
    changed = pace.between(earlier.pace, capture.pace)
    assert changed is not None, "captures without a pace make no pair"
    return ComparedCaptures(
        profiler=capture.profiler,
        workload=capture.workload,
        before=_name(pair.before[0]),
        after=_name(capture),
        per=pair.per,
        pace=changed,
        whole=whole(before, after, "all frames", changed),
        frames=compare(before, after, changed),
    )


def _sampled(capture: Capture, run: Run, per: str) -> Sampled:
    return Sampled(
        stacks=tuple(stacks_of(capture, run)),
        rate_hz=capture.rate_hz,
        calls=capture.calls or 0,
        elements=(capture.size or 0) if per == PER_ELEMENT else 1,
        design_effect=capture.design_effect,
    )

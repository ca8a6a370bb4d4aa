"""A sampler that is switched on and off on one running worker: its loop in windows with and without
sampling, under one setting after the other, and each recording as stacks. The sampler is perf, or
the worker's own (`sigprof.py`): both leave the text of `perf script`.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from perfkit.environment import base_environment
from perfkit.errors import CaptureError, PermissionRefusedError, ToolError
from perfkit.measure.statistics import rank_interval
from perfkit.profile import agreement, analyse, messages, pace, slowdown
from perfkit.profile.perf_record import FRAME_POINTERS, PERF, STACK_COPIES, RecordSettings, Scope
from perfkit.profile.quality import Quality
from perfkit.profile.slowdown import Step
from perfkit.records import Note, NoteId
from perfkit.stacks import bounds, inline, intervals, perf_script
from perfkit.stacks.hot_lines import hot_lines
from perfkit.stacks.split import CALLING_THREAD, split
from perfkit.store import read_journal
from perfkit.units import format_share

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from perfkit.profile.paired import PairArm
    from perfkit.profile.request import CaptureRequest
    from perfkit.records import Doubts, HotLine, Interval
    from perfkit.stacks.folded import Stack
    from perfkit.stacks.layers import Layers
    from perfkit.stacks.split import Split
    from perfkit.subject.child import LoopResult, Worker

GLANCE_S = 0.3
"""Seconds of a recording that only shows how stacks come out."""
GLANCE_SAMPLES = 50
"""With fewer, two per cent of the stacks are not even one."""
UNDECIDED_LIMIT = 0.02
"""Share of the call in samples without a layer from which deeper stack copies are worth their
cost: a stack that is cut short is whole enough if its leaf decides the layer."""
SECOND_RATE = 0.25
"""Part of the duration that is sampled once more, at another rate."""
KERNEL_UNSEEN = Note(
    id=NoteId.KERNEL_UNSEEN,
    text="the kernel's own time was not visible: it shows as `waiting`",
    remedy="kernel.perf_event_paranoid=1",
)


def settled_by(tool: str) -> str:
    """The journal of what a tool's captures of this run used."""
    return f"raw/{tool}-settings.jsonl"


class Recorder(Protocol):
    """A sampler that is attached and waits, switched off at first."""

    def enable(self) -> None:
        """Sample the next window."""

    def disable(self) -> None:
        """Stop sampling for now."""

    def finish(self) -> str:
        """Write the samples to their file, and return what was said about them."""


class Tool(Protocol):
    """What takes the samples of a session.

    Attributes:
        name: of the profiler.
        events: what it counts; the second is tried if the first is refused.
        stacks: how it takes stacks, the cheapest way first.
        scopes: where its counters may be, the cheapest for a call with threads first.
        highest_hz: the highest rate that brings more samples of other threads than the calling one.
    """

    @property
    def name(self) -> str: ...
    @property
    def events(self) -> Sequence[str]: ...
    @property
    def stacks(self) -> Sequence[str]: ...
    @property
    def scopes(self) -> Sequence[Scope]: ...
    @property
    def highest_hz(self) -> float: ...

    def attached(
        self, running: Worker, settings: RecordSettings, data: Path, environ: Mapping[str, str]
    ) -> AbstractContextManager[Recorder]:
        """Attach to a worker and all threads it has or gets; detach when the block is left."""

    def write_script(
        self, settings: RecordSettings, data: Path, output: Path, environ: Mapping[str, str]
    ) -> str:
        """Turn the samples into the text of `perf script`, and return what was said about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What one attachment brought.

    Attributes:
        said: what the tool printed.
        loops: the loops that were sampled.
        blocks: ln(profiled / bare); none for a glance.
        step: why it ended: a lower rate tells more, or it is done.
        pace: what perfkit's fixed work took between the windows, see `pace.py`.
    """

    settings: RecordSettings
    data: Path
    said: str
    loops: tuple[LoopResult, ...]
    blocks: tuple[float, ...] = ()
    step: Step = Step.DONE
    pace: Mapping[str, Interval] = field(default_factory=dict)

    @property
    def slowdown(self) -> Interval | None:
        """What sampling cost in these windows, without the pilot."""
        return slowdown.slowdown(slowdown.stated(self.blocks))

    @property
    def cost(self) -> Interval:
        """The same, of all blocks that there are: to choose a rate by, not to be stated."""
        return slowdown.of_logs(rank_interval(self.blocks))

    @property
    def windows(self) -> tuple[perf_script.Window, ...]:
        """The loops on the monotonic clock, by the worker: perfkit may hear of their end late."""
        return tuple(
            perf_script.Window(begin=loop.begin_s, end=loop.begin_s + loop.seconds)
            for loop in self.loops
        )

    @property
    def region_s(self) -> float:
        """Seconds of the loops, by the worker's own clock."""
        return sum(loop.seconds for loop in self.loops)

    @property
    def calls(self) -> int:
        """Calls of all loops."""
        return sum(loop.calls for loop in self.loops)

    @property
    def cpu_s(self) -> float:
        """CPU time of all the worker's threads in the loops, by its own clock."""
        return sum(loop.cpu_s for loop in self.loops)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A recording as stacks.

    Attributes:
        design_effect: of the calling thread's samples in their layers, between windows.
        said: what the tool printed while recording and reading.
        inlined: whether inlined functions are told apart.
    """

    folded: perf_script.Folded
    design_effect: float
    script: Path
    said: str
    inlined: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The recording that is used, and what led to it; `shift` is that of `records.Doubts`."""

    recorded: Recorded
    read: Read
    shift: float
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One worker that runs its loop again and again, under one setting of a tool after the other.

    Attributes:
        stem: what its raw files are named after.
    """

    request: CaptureRequest
    arm: PairArm
    stem: str
    tool: Tool = PERF

    @property
    def running(self) -> Worker:
        """The worker."""
        return self.arm.running

    @property
    def environ(self) -> dict[str, str]:
        """What the tool sees of the environment."""
        return base_environment(self.request.job.project.environ, extra={})

    @property
    def _highest_hz(self) -> float:
        return self.tool.highest_hz if self.arm.uses_threads else math.inf

    def settle(self) -> Settled:
        """Record at the rate, and with the stacks, that tell most of the call's layers. The search
        ends with the first recording that tells them all.
        """
        notes: list[Note] = []
        rates = list(slowdown.rates(min(self.request.rate_hz, self._highest_hz)))
        known = self._known()
        if known is not None:
            rates = [rate for rate in rates if rate <= known[0]] or rates
        copies = self._copies(known, rates[0])
        while True:
            recorded = self.record(rates, copies[0])
            if recorded.step is Step.LOWER:
                rates = self._lower(recorded, rates, notes)
                continue
            read = self.read(recorded)
            undecided = self.split(recorded, read).undecided
            if undecided <= UNDECIDED_LIMIT or len(copies) == 1 or not read.folded.unrooted:
                break
            text = (
                f"{format_share(undecided)} of the samples had no layer, because their stacks were "
                f"cut short with {copies[0]}; used {copies[1]}"
            )
            notes.append(Note(id="deeper_stacks", text=text))
            copies.pop(0)
        recorded, read = self._narrower(recorded, read, rates, notes)
        self._remember(recorded)
        notes.append(_stacks_by(recorded.settings))
        note, shift = self._at_another_rate(recorded, read)
        return Settled(recorded=recorded, read=read, shift=shift, notes=(*notes, note))

    def _lower(self, recorded: Recorded, rates: Sequence[int], notes: list[Note]) -> list[int]:
        """The rates from the best one on, by what the recording at the first of them cost."""
        cost = recorded.cost
        best = slowdown.best_rate(rates, rates[0], cost, self.request.duration_s)
        text = (
            f"{self.tool.name} at {rates[0]} samples/s made the call about "
            f"{format_share(cost.estimate)} slower, so it went on with {best} samples/s"
        )
        notes.append(Note(id="lower_rate", text=text))
        return [rate for rate in rates if rate <= best]

    def _narrower(
        self, recorded: Recorded, read: Read, rates: Sequence[int], notes: list[Note]
    ) -> tuple[Recorded, Read]:
        """The same at a lower rate, if that is better and this one does not tell every layer."""
        split = self.split(recorded, read)
        best = slowdown.best_rate(rates, rates[0], recorded.cost, self.request.duration_s)
        if bounds.is_told(split.layers) or best == rates[0]:
            return recorded, read
        lower = self.record(
            self._lower(recorded, rates, notes)[:1], recorded.settings.call_graph, "-lower"
        )
        other = self.read(lower)
        found = ((recorded, read), (lower, other))
        kept, left = sorted(found, key=lambda one: bounds.widest(self.split(*one).layers))
        left[0].data.unlink(missing_ok=True)
        left[1].script.unlink(missing_ok=True)
        return kept

    def record(self, rates: Sequence[int], call_graph: str, suffix: str = "") -> Recorded:
        """Attach and run the windows; what is refused is tried in another way.

        Args:
            rates: the first of them is used; the others are what a dear one could be lowered to.
            suffix: of the raw file's name.
        """
        data = self.request.run.path(f"raw/{self.stem}.{self.tool.name}{suffix}.data")
        *others, last = self._ways(RecordSettings(rate_hz=rates[0], call_graph=call_graph))
        for settings in others:
            with contextlib.suppress(PermissionRefusedError):
                return self.windows(settings, data, rates)
        return self.windows(last, data, rates)

    def _ways(self, settings: RecordSettings) -> Iterator[RecordSettings]:
        """The same settings with the counters and events that may be permitted, the best first."""
        events, scopes = self.tool.events, self.tool.scopes
        if Scope.CPUS in scopes and self.arm.uses_threads:
            yield replace(settings, event=events[0], scope=Scope.CPUS)
        for event in events:
            yield replace(settings, event=event)

    def windows(self, settings: RecordSettings, data: Path, rates: Sequence[int] = ()) -> Recorded:
        """Blocks of windows with and without sampling, until `slowdown.next_step` says so."""
        request = self.request
        blocks: list[float] = []
        loops: list[LoopResult] = []
        step = Step.CONTINUE
        looked = len(self.arm.looks)
        rates = rates or (settings.rate_hz,)
        with self.tool.attached(self.running, settings, data, self.environ) as recorder:
            for order in slowdown.orders(request.seed):
                block = []
                for on in order:
                    block.append((on, self.window(recorder if on else None)))
                    self.arm.look()
                blocks.append(slowdown.log_ratio(block))
                loops += [loop for on, loop in block if on]
                region_s = sum(loop.seconds for loop in loops)
                stage = f"{self.tool.name} at {settings.rate_hz} Hz"
                request.job.progress(stage, min(region_s / request.duration_s, 1.0))
                step = slowdown.next_step(blocks, region_s, rates, duration_s=request.duration_s)
                if step is not Step.CONTINUE:
                    break
            said = recorder.finish()
        return Recorded(
            settings=settings,
            data=data,
            said=said,
            loops=tuple(loops),
            blocks=tuple(blocks),
            step=step,
            pace=pace.over(self.arm.looks[looked:]),
        )

    def split(self, recorded: Recorded, read: Read) -> Split:
        """Where the time of a call goes, with all that is doubtful but what another rate shows."""
        counted = split(
            read.folded.stacks,
            layers=self._layers(),
            rate_hz=recorded.settings.rate_hz,
            region_s=recorded.region_s,
            calls=recorded.calls,
            windows=len(recorded.loops),
            design_effect=read.design_effect,
        )
        return bounds.of_split(counted, quality_of(recorded, read).doubts)

    def hot_lines(self, recorded: Recorded, read: Read, doubts: Doubts) -> tuple[HotLine, ...]:
        """The lines of the subject's own sources with the most time below them."""
        return hot_lines(
            read.folded.placed,
            self._layers(),
            doubts,
            region_samples=recorded.region_s * recorded.settings.rate_hz,
            design_effect=read.design_effect,
        )

    def glance(self, settings: RecordSettings, seconds: float) -> Read:
        """A short recording without bare windows, read and removed."""
        data = self.request.run.path(f"raw/{self.stem}.{self.tool.name}-glance.data")
        loops: list[LoopResult] = []
        try:
            with self.tool.attached(self.running, settings, data, self.environ) as recorder:
                while sum(loop.seconds for loop in loops) < seconds:
                    loops.append(self.window(recorder))
                said = recorder.finish()
            read = self.read(Recorded(settings=settings, data=data, said=said, loops=tuple(loops)))
            read.script.unlink()
        finally:
            data.unlink(missing_ok=True)
        return read

    def window(self, recorder: Recorder | None) -> LoopResult:
        """One window of the loop, sampled if there is a recorder, which is off afterwards."""
        if recorder is None:
            return self.arm.loop(self.arm.window_s)
        recorder.enable()
        result = self.arm.loop(self.arm.window_s)
        recorder.disable()
        return result

    def read(self, recorded: Recorded) -> Read:
        """Text, the samples inside the windows, folded stacks; the worker may have ended.

        Raises:
            CaptureError: no sample is inside the windows.
        """
        script = recorded.data.with_suffix(".txt")  # x.perf.txt
        said = recorded.said + self.tool.write_script(
            recorded.settings, recorded.data, script, self.environ
        )
        inlined = self._inlined(script)
        folded = perf_script.fold(
            script,
            pid=self.running.pid,
            windows=recorded.windows,
            inlined=inlined,
            main_tid=self.running.main_tid,
        )
        return Read(
            folded=folded,
            design_effect=self._design_effect(folded.clusters),
            script=script,
            said=said,
            inlined=inlined is not None,
        )

    def _copies(self, known: tuple[int, str] | None, rate: int) -> list[str]:
        """How stacks are taken, in the order they are tried: frame pointers if they are enough."""
        if FRAME_POINTERS not in self.tool.stacks:
            return list(self.tool.stacks)
        if known is not None and known[1] in STACK_COPIES:
            return list(STACK_COPIES[STACK_COPIES.index(known[1]) :])
        if known is not None or self._frame_pointers_suffice(rate):
            return [FRAME_POINTERS, *STACK_COPIES]
        return list(STACK_COPIES)

    def _frame_pointers_suffice(self, rate: int) -> bool:
        """Whether a glance by frame pointers shows as much as one by stack copies.

        An interpreter without them breaks nearly every stack, so one glance mostly decides.
        """
        copied = RecordSettings(rate_hz=rate)
        try:
            found = self.glance(replace(copied, call_graph=FRAME_POINTERS), GLANCE_S).folded
            few = found.samples < GLANCE_SAMPLES
            if few or not agreement.is_whole(found.cut_share, found.unresolved_share):
                return False
            other = self.glance(copied, GLANCE_S).folded
        except (PermissionRefusedError, ToolError, CaptureError):
            return False  # the recording itself fails in the same way, and says why
        return agreement.tells_as_much(
            cut=(found.cut_share, other.cut_share),
            unresolved=(found.unresolved_share, other.unresolved_share),
            apart=agreement.apart(self._by_layer(found.stacks), self._by_layer(other.stacks)),
        )

    def _at_another_rate(self, recorded: Recorded, read: Read) -> tuple[Note, float]:
        """Whether the shares are the same at another rate, and how far they moved if not."""
        rate = recorded.settings.rate_hz
        other_hz = 2 * rate if 2 * rate <= self._highest_hz else rate / 2
        settings = replace(recorded.settings, rate_hz=slowdown.nearest_prime(other_hz))
        try:
            other = self.glance(settings, SECOND_RATE * self.request.duration_s)
        except (ToolError, CaptureError) as error:
            text = f"the shares were not compared at {settings.rate_hz} samples/s: {error.message}"
            return Note(id="rates_unchecked", text=text, remedy=error.remedy), 0.0
        found = (self._by_layer(read.folded.stacks), self._by_layer(other.folded.stacks))
        differ = agreement.apart(*found, read.design_effect)
        note = agreement.rates_note((rate, settings.rate_hz), differ)
        return note, agreement.shift(*found, differ) if differ else 0.0

    def _design_effect(self, clusters: Sequence[Sequence[tuple[Stack, int]]]) -> float:
        own = ([row for row in cluster if row[0][0] == CALLING_THREAD] for cluster in clusters)
        return intervals.design_effect(self._by_layer(cluster) for cluster in own)

    def _by_layer(self, stacks: Sequence[tuple[Stack, int]]) -> Mapping[str, int]:
        return agreement.by_layer(stacks, self._layers())

    def _layers(self) -> Layers:
        return analyse.layers_for(self.request.job.build, self.request.job.project.config.layers)

    def _inlined(self, script: Path) -> inline.Inlined | None:
        """The functions inlined into the subject's module, if it has debug information."""
        module = self.running.loaded.path
        offsets = perf_script.places(script, str(module))
        of = inline.sources(self.request.job.build.rustc, self.running.loaded.module)
        return inline.resolve(module, offsets, of)

    def _known(self) -> tuple[int, str] | None:
        """Rate and kind of stacks that an earlier capture of this run used."""
        for line in reversed(read_journal(self.request.run.directory / settled_by(self.tool.name))):
            if line["build"] == self.request.job.build.key:
                return int(line["rate_hz"]), str(line["call_graph"])
        return None

    def _remember(self, recorded: Recorded) -> None:
        self.request.run.append(
            settled_by(self.tool.name),
            {
                "build": self.request.job.build.key,
                "size": self.request.size,
                "rate_hz": recorded.settings.rate_hz,
                "call_graph": recorded.settings.call_graph,
                "scope": recorded.settings.scope,
                "event": recorded.settings.event,
                "slowdown": recorded.slowdown,
            },
        )


def quality_of(
    recorded: Recorded, read: Read, cost: Interval | None = None, shift: float = 0.0
) -> Quality:
    """What a recording is made of.

    Args:
        cost: the slowdown, if it is more than the sampling's.
        shift: what another rate showed, see `records.Doubts`.
    """
    folded, untimed = read.folded, sum(loop.untimed for loop in recorded.loops)
    return Quality(
        samples=folded.samples,
        unresolved=folded.unresolved,
        lost=messages.lost_samples(read.said, folded.samples),
        outside=unexplained(folded.outside, folded.samples, recorded.calls, untimed),
        slowdown=cost or recorded.slowdown,
        region_s=recorded.region_s,
        sampled_s=folded.samples / recorded.settings.rate_hz,
        # If the kernel's part is not visible, the two clocks differ for that reason.
        cpu_s=recorded.cpu_s if sees_kernel(recorded, read) else None,
        shift=shift,
    )


def sees_kernel(recorded: Recorded, read: Read) -> bool:
    """Whether the event that was really counted has the kernel's time in it."""
    return ":" not in (read.folded.event or recorded.settings.event)


def unexplained(outside: int, samples: int, calls: int, untimed: int) -> int:
    """Samples outside the windows, less those of the calls before each window, which wake caches
    and pool: they are calls like all others, and of long calls a window has few.
    """
    return max(0, outside - round(samples * untimed / calls))


def _stacks_by(settings: RecordSettings) -> Note:
    call_graph = settings.call_graph
    how = "frame pointers" if call_graph == FRAME_POINTERS else f"stack copies ({call_graph})"
    text = f"stacks were taken by {how}"
    if settings.scope is Scope.CPUS:
        text += ", with a counter for each CPU; samples of other programs were not kept"
    return Note(id="stacks_by", text=text)

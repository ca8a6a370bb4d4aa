"""perf on one running worker: its loop in windows with and without sampling, under one setting
after the other, and each recording as stacks. Whether a capture is believed is decided elsewhere.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from perfkit.environment import base_environment
from perfkit.errors import CaptureError, PermissionRefusedError, ToolError
from perfkit.profile import agreement, analyse, pace, perf_record, quality, slowdown
from perfkit.profile.perf_record import EVENTS, FRAME_POINTERS, STACK_COPIES, RecordSettings
from perfkit.profile.slowdown import Step
from perfkit.records import Note
from perfkit.stacks import inline, intervals, perf_script
from perfkit.stacks.split import CALLING_THREAD
from perfkit.store import read_journal
from perfkit.units import format_share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from perfkit.profile.paired import PairArm
    from perfkit.profile.request import CaptureRequest
    from perfkit.records import Interval
    from perfkit.stacks.folded import Stack
    from perfkit.stacks.layers import Layers
    from perfkit.subject.child import LoopResult, Worker

GLANCE_S = 0.3
"""Seconds of a recording that only shows how stacks come out."""
GLANCE_SAMPLES = 50
"""With fewer, two per cent of the stacks are not even one."""
SECOND_RATE = 0.25
"""Part of the duration that is sampled once more, at twice the rate."""
KERNEL_UNSEEN = Note(
    id="kernel_unseen",
    text="the kernel's own time was not visible: it shows as `waiting`",
    remedy="kernel.perf_event_paranoid=1",
)
SETTLED = "raw/perf-settings.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What one attachment of perf brought.

    Attributes:
        said: what perf printed.
        loops: the loops that ran while perf was on.
        blocks: ln(profiled / bare); none for a glance.
        too_expensive: a lower rate may be shown to be cheap.
        pace: what perfkit's fixed work took between the windows, see `pace.py`.
    """

    settings: RecordSettings
    data: Path
    said: str
    loops: tuple[LoopResult, ...]
    blocks: tuple[float, ...] = ()
    too_expensive: bool = False
    pace: Mapping[str, Interval] = field(default_factory=dict)

    @property
    def slowdown(self) -> Interval | None:
        """What perf cost in these windows, without the pilot."""
        return slowdown.slowdown(slowdown.stated(self.blocks))

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
        said: what perf printed while recording and reading.
        inlined: whether inlined functions are told apart.
    """

    folded: perf_script.Folded
    design_effect: float
    script: Path
    said: str
    inlined: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The recording that is used, and what led to it."""

    recorded: Recorded
    read: Read
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One worker that runs its loop again and again, under one setting of perf after the other.

    Attributes:
        stem: what its raw files are named after.
    """

    request: CaptureRequest
    arm: PairArm
    stem: str

    @property
    def running(self) -> Worker:
        """The worker."""
        return self.arm.running

    @property
    def environ(self) -> dict[str, str]:
        """What perf sees of the environment."""
        return base_environment(self.request.job.project.environ, extra={})

    def settle(self) -> Settled:
        """Lower the rate until perf is cheap, deepen the stack copies until stacks are whole."""
        notes: list[Note] = []
        request = self.request
        rates = slowdown.sufficient_rates(request.rate_hz, request.duration_s, request.settings)
        known = self._known()
        if known is not None:
            rates = [rate for rate in rates if rate <= known[0]] or rates
        copies = self._copies(known, rates[0])
        while True:
            last = len(rates) == 1
            recorded = self.record(rates[0], copies[0], give_up=not last)
            if recorded.too_expensive and not last:
                rates = cheaper(recorded, rates, request.settings.slowdown_limit)
                notes.append(_too_expensive(recorded, rates[0]))
                continue
            read = self.read(recorded)
            if read.folded.cut_share > quality.UNROOTED_LIMIT and len(copies) > 1:
                share = format_share(read.folded.cut_share)
                text = f"{share} of the stacks were cut short with {copies[0]}; used {copies[1]}"
                notes.append(Note(id="deeper_stacks", text=text))
                copies.pop(0)
                continue
            self._remember(recorded)
            notes.append(_stacks_by(copies[0]))
            notes.append(self._at_twice_the_rate(recorded, read))
            return Settled(recorded=recorded, read=read, notes=tuple(notes))

    def record(self, rate: int, call_graph: str, *, give_up: bool) -> Recorded:
        """Attach and run the windows; the second event is tried if the first is refused."""
        settings = RecordSettings(rate_hz=rate, call_graph=call_graph)
        try:
            return self.windows(settings, give_up=give_up)
        except PermissionRefusedError:
            return self.windows(replace(settings, event=EVENTS[1]), give_up=give_up)

    def windows(self, settings: RecordSettings, *, give_up: bool) -> Recorded:
        """Blocks of windows with and without sampling, until `slowdown.next_step` says so."""
        request = self.request
        limit = request.settings.slowdown_limit
        data = request.run.path(f"raw/{self.stem}.perf.data")
        blocks: list[float] = []
        loops: list[LoopResult] = []
        step = Step.CONTINUE
        looked = len(self.arm.looks)
        with perf_record.attached(self.running.pid, settings, data, self.environ) as recorder:
            for order in slowdown.orders(request.seed):
                block = []
                for on in order:
                    block.append((on, self.window(recorder if on else None)))
                    self.arm.look()
                blocks.append(slowdown.log_ratio(block))
                loops += [loop for on, loop in block if on]
                region_s = sum(loop.seconds for loop in loops)
                stage = f"perf at {settings.rate_hz} Hz"
                request.job.progress(stage, min(region_s / request.duration_s, 1.0))
                step = slowdown.next_step(
                    blocks, region_s, duration_s=request.duration_s, limit=limit, lowest=not give_up
                )
                if step is not Step.CONTINUE:
                    break
            said = recorder.finish()
        # Not shown to be cheap, and probably not cheap: a lower rate, measured afresh, may be.
        cost = slowdown.slowdown(slowdown.stated(blocks))
        dear = cost is not None and slowdown.to_be_lowered(cost, limit)
        return Recorded(
            settings=settings,
            data=data,
            said=said,
            loops=tuple(loops),
            blocks=tuple(blocks),
            too_expensive=step is Step.LOWER or (give_up and dear),
            pace=pace.over(self.arm.looks[looked:]),
        )

    def glance(self, settings: RecordSettings, seconds: float) -> Read:
        """A short recording without bare windows, read and removed."""
        data = self.request.run.path(f"raw/{self.stem}.perf-glance.data")
        loops: list[LoopResult] = []
        try:
            with perf_record.attached(self.running.pid, settings, data, self.environ) as recorder:
                while sum(loop.seconds for loop in loops) < seconds:
                    loops.append(self.window(recorder))
                said = recorder.finish()
            read = self.read(Recorded(settings=settings, data=data, said=said, loops=tuple(loops)))
            read.script.unlink()
        finally:
            data.unlink(missing_ok=True)
        return read

    def window(self, recorder: perf_record.Recorder | None) -> LoopResult:
        """One window of the loop, sampled if there is a recorder; perf is off afterwards."""
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
        said = recorded.said + perf_record.write_script(recorded.data, script, self.environ)
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

    def _at_twice_the_rate(self, recorded: Recorded, read: Read) -> Note:
        """Whether the shares are the same at another rate: if not, the profiler changes them."""
        rate = recorded.settings.rate_hz
        settings = replace(recorded.settings, rate_hz=slowdown.nearest_prime(2 * rate))
        try:
            other = self.glance(settings, SECOND_RATE * self.request.duration_s)
        except (ToolError, CaptureError) as error:
            text = f"the shares were not compared at {settings.rate_hz} samples/s: {error.message}"
            return Note(id="rates_unchecked", text=text, remedy=error.remedy)
        return agreement.note(
            (rate, self._by_layer(read.folded.stacks)),
            (settings.rate_hz, self._by_layer(other.folded.stacks)),
            read.design_effect,
        )

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
        for line in reversed(read_journal(self.request.run.directory / SETTLED)):
            if line["build"] == self.request.job.build.key:
                return int(line["rate_hz"]), str(line["call_graph"])
        return None

    def _remember(self, recorded: Recorded) -> None:
        self.request.run.append(
            SETTLED,
            {
                "build": self.request.job.build.key,
                "size": self.request.size,
                "rate_hz": recorded.settings.rate_hz,
                "call_graph": recorded.settings.call_graph,
                "event": recorded.settings.event,
                "slowdown": recorded.slowdown,
            },
        )


def cheaper(recorded: Recorded, rates: Sequence[int], limit: float) -> list[int]:
    """The lower rates that may be below half the limit, or the lowest: cost is in proportion to
    rate.
    """
    middle, rate = statistics.median(recorded.blocks), recorded.settings.rate_hz
    lower = list(rates[1:])
    return [other for other in lower if middle * other / rate <= 0.5 * limit] or lower[-1:]


def _too_expensive(recorded: Recorded, next_rate: int) -> Note:
    share, rate = format_share(statistics.median(recorded.blocks)), recorded.settings.rate_hz
    text = (
        f"perf at {rate} samples/s made the call about {share} slower, so it went on with "
        f"{next_rate} samples/s"
    )
    return Note(id="lower_rate", text=text)


def _stacks_by(call_graph: str) -> Note:
    how = "frame pointers" if call_graph == FRAME_POINTERS else f"stack copies ({call_graph})"
    return Note(id="stacks_by", text=f"stacks were taken by {how}")

"""perf on one running worker: its loop in windows with and without sampling, under one setting
after the other, and each recording as stacks. Whether a capture is believed is decided elsewhere.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from perfkit.errors import CaptureError, PermissionRefusedError, ToolError
from perfkit.profile import agreement, analyse, observer, pace, perf_fold, perf_record, quality
from perfkit.profile.perf_record import RecordSettings
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
    from perfkit.stacks.layers import Layers
    from perfkit.store import Run
    from perfkit.subject.child import LoopResult, Worker

EVENTS = ("cpu-clock", "cpu-clock:u")
"""With the kernel's part, or user code alone where the system allows no more."""
STACK_COPIES = ("dwarf,16384", "dwarf,32768", "dwarf,65528")
"""How much of the stack perf copies, in the order of trying. The copy itself costs little:
the timer interrupt does (2026-11, 2 vCPU, 997 Hz: 1.8 % without any stack, 2.1 % with 8 kB)."""
FRAME_POINTERS = "fp"
WINDOW_S = 0.04
BLOCK_CALLS = 3  # per window, at the least
GLANCE_S = 0.3
"""Seconds of a recording that only tells how stacks come out."""
GLANCE_SAMPLES = 50
"""Below these, two per cent of the stacks are not even one."""
SECOND_RATE = 0.25
"""Part of the duration that is looked at once more, at twice the rate."""
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
        pairs: none for a glance.
        windows: the parts of the monotonic clock in which perf was on and the loop ran.
        region_s: their sum, by the worker's own clock.
        cpu_s: CPU time of all its threads in them, by the worker's own clock.
        pace: what perfkit's fixed work took between the windows, see `pace.py`.
    """

    settings: RecordSettings
    data: Path
    said: str
    pairs: tuple[observer.BareAndProfiled, ...]
    windows: tuple[perf_script.Window, ...]
    region_s: float
    calls: int
    cpu_s: float
    too_dear: bool
    pace: Mapping[str, Interval]

    @property
    def slowdown(self) -> Interval | None:
        """What perf cost in these windows, the pilot's left out."""
        return observer.slowdown(observer.stated(self.pairs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A recording as stacks.

    Attributes:
        design_effect: of the calling thread's samples in their layers, between windows.
    """

    selection: perf_script.Selection
    stacks: list[perf_fold.Stack]
    design_effect: float
    unresolved: int
    event: str
    script: Path
    said: str
    inlined: bool

    @property
    def cut_share(self) -> float:
        """Share of the stacks that do not reach a thread's entry."""
        return self.selection.unrooted / max(self.selection.samples, 1)

    @property
    def unresolved_share(self) -> float:
        """Share of the samples whose innermost frame has no name."""
        return self.unresolved / max(self.selection.samples, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The recording that was settled on, and what led there."""

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
    run: Run
    environ: Mapping[str, str]
    arm: PairArm
    stem: str

    @property
    def running(self) -> Worker:
        """The worker."""
        return self.arm.running

    def settle(self) -> Settled:
        """Lower the rate until perf is cheap, deepen the stack copies until stacks are whole."""
        notes: list[Note] = []
        rates = self._rates()
        known = self._known()
        if known is not None:
            rates = [rate for rate in rates if rate <= known[0]] or rates
        copies = self._copies(known, rates[0])
        while True:
            last = len(rates) == 1
            recorded = self.record(rates[0], copies[0], give_up=not last)
            if recorded.too_dear and not last:
                rates = cheaper(recorded, rates, self.request)
                notes.append(_too_dear(recorded, rates[0]))
                continue
            read = self.read(recorded)
            if read.cut_share > quality.UNROOTED_LIMIT and len(copies) > 1:
                share = format_share(read.cut_share)
                text = f"{share} of the stacks were cut short with {copies[0]}"
                notes.append(Note(id="deeper_stacks", text=text, remedy=f"used {copies[1]}"))
                copies.pop(0)
                continue
            self._remember(recorded)
            notes.append(_stacks_by(copies[0]))
            notes.append(self._at_twice_the_rate(recorded, read))
            return Settled(recorded=recorded, read=read, notes=tuple(notes))

    def record(self, rate: int, call_graph: str, *, give_up: bool) -> Recorded:
        """Attach and run the windows; the second event is tried when the first is refused."""
        for index, event in enumerate(EVENTS):
            settings = RecordSettings(rate_hz=rate, event=event, call_graph=call_graph)
            try:
                return self.windows(settings, give_up=give_up)
            except PermissionRefusedError:
                if index == len(EVENTS) - 1:
                    raise
        raise AssertionError  # the loop returns or raises

    def windows(self, settings: RecordSettings, *, give_up: bool) -> Recorded:
        """Blocks of windows with and without sampling, until `observer.next_step` says so."""
        request = self.request
        limit = request.job.project.config.profiling.slowdown_limit
        data = self.run.path(f"raw/{self.stem}.perf.data")
        pairs: list[observer.BareAndProfiled] = []
        on: list[LoopResult] = []
        step = observer.Step.GO_ON
        looked = len(self.arm.looks)
        with perf_record.attached(self.running.pid, settings, data, self.environ) as recorder:
            for order in observer.orders(request.seed):
                block = [(on_, self.window(recorder if on_ else None)) for on_ in order]
                pairs.append(_pair(block))
                self.arm.look()
                on += [result for profiled, result in block if profiled]
                region_s = sum(result.seconds for result in on)
                stage = f"perf at {settings.rate_hz} Hz"
                request.job.progress(stage, min(region_s / request.duration_s, 1.0))
                step = observer.next_step(
                    pairs, region_s, duration_s=request.duration_s, limit=limit, lowest=not give_up
                )
                if step is not observer.Step.GO_ON:
                    break
            said = recorder.finish()
        # Not shown to be cheap, and probably not cheap: a lower rate, measured afresh, may be.
        cost = observer.slowdown(observer.stated(pairs))
        dear = cost is not None and observer.to_be_lowered(cost, limit)
        too_dear = step is observer.Step.LOWER or (give_up and dear)
        recorded = _recorded(settings, data, said, on, pairs=tuple(pairs), too_dear=too_dear)
        return replace(recorded, pace=pace.over(self.arm.looks[looked:]))

    def glance(self, settings: RecordSettings, seconds: float) -> Read:
        """A short recording without bare windows, read and removed."""
        data = self.run.path(f"raw/{self.stem}.perf-glance.data")
        on: list[LoopResult] = []
        try:
            with perf_record.attached(self.running.pid, settings, data, self.environ) as recorder:
                while sum(result.seconds for result in on) < seconds:
                    on.append(self.window(recorder))
                said = recorder.finish()
            read = self.read(_recorded(settings, data, said, on))
            read.script.unlink()
        finally:
            data.unlink(missing_ok=True)
        return read

    def window(self, recorder: perf_record.Recorder | None) -> LoopResult:
        """One window of the loop, sampled when there is a recorder; perf is off afterwards."""
        seconds = max(WINDOW_S, BLOCK_CALLS * self.arm.per_call_s)
        if recorder is None:
            return self.arm.loop(seconds)
        recorder.enable()
        result = self.arm.loop(seconds)
        recorder.disable()
        return result

    def read(self, recorded: Recorded) -> Read:
        """Text, the samples inside the windows, folded stacks; the worker may have ended.

        Raises:
            CaptureError: no sample lies inside the windows.
        """
        script = recorded.data.with_suffix(".txt")  # x.perf.txt
        said = recorded.said + perf_record.write_script(recorded.data, script, self.environ)
        inlined = self._inlined(script)
        found = perf_fold.fold(
            script,
            pid=self.running.pid,
            windows=recorded.windows,
            inlined=inlined,
            main_tid=self.running.main_tid,
        )
        return Read(
            selection=found.selection,
            stacks=found.stacks,
            design_effect=self._design_effect(found.clusters),
            unresolved=found.unresolved,
            event=found.event or recorded.settings.event,
            script=script,
            said=said,
            inlined=inlined is not None,
        )

    def _rates(self) -> list[int]:
        """The rates that bring enough samples of a busy thread within the extended duration."""
        asked = observer.rates(self.request.rate_hz)
        needed = self.request.job.project.config.profiling.min_samples
        longest_s = observer.EXTENSION * self.request.duration_s
        return [rate for rate in asked if rate * longest_s >= needed] or [asked[0]]

    def _copies(self, known: tuple[int, str] | None, rate: int) -> list[str]:
        """How stacks are taken, in the order of trying: frame pointers where they tell as much."""
        if known is not None and known[1] in STACK_COPIES:
            return list(STACK_COPIES[STACK_COPIES.index(known[1]) :])
        if known is not None or self._frame_pointers_suffice(rate):
            return [FRAME_POINTERS, *STACK_COPIES]
        return list(STACK_COPIES)

    def _frame_pointers_suffice(self, rate: int) -> bool:
        """Whether a glance by frame pointers tells as much as one by stack copies.

        An interpreter without them breaks nearly every stack, so one glance mostly decides.
        """
        pointers = RecordSettings(rate_hz=rate, event=EVENTS[0], call_graph=FRAME_POINTERS)
        copied = RecordSettings(rate_hz=rate, event=EVENTS[0], call_graph=STACK_COPIES[0])
        try:
            found = self.glance(pointers, GLANCE_S)
            few = found.selection.samples < GLANCE_SAMPLES
            if few or not agreement.is_whole(found.cut_share, found.unresolved_share):
                return False
            other = self.glance(copied, GLANCE_S)
        except (PermissionRefusedError, ToolError, CaptureError):
            return False  # the recording itself meets it again, and says so by name
        return agreement.tells_as_much(
            cut=(found.cut_share, other.cut_share),
            unresolved=(found.unresolved_share, other.unresolved_share),
            apart=agreement.apart(self._by_layer(found), self._by_layer(other)),
        )

    def _at_twice_the_rate(self, recorded: Recorded, read: Read) -> Note:
        """Whether the shares would be the same at another rate: if not, the profiler moves them."""
        rate = recorded.settings.rate_hz
        settings = RecordSettings(
            rate_hz=observer.nearest_prime(2 * rate),
            event=recorded.settings.event,
            call_graph=recorded.settings.call_graph,
        )
        try:
            other = self.glance(settings, SECOND_RATE * self.request.duration_s)
        except (ToolError, CaptureError) as error:
            text = f"the shares were not compared at {settings.rate_hz} samples/s: {error.message}"
            return Note(id="rates_unchecked", text=text, remedy=error.remedy)
        return agreement.note(
            (rate, self._by_layer(read)),
            (settings.rate_hz, self._by_layer(other)),
            read.design_effect,
        )

    def _design_effect(self, clusters: Sequence[Sequence[perf_fold.Stack]]) -> float:
        layers = self._layers()
        own = ([row for row in cluster if row[0][0] == CALLING_THREAD] for cluster in clusters)
        return intervals.design_effect(agreement.by_layer(cluster, layers) for cluster in own)

    def _by_layer(self, read: Read) -> Mapping[str, int]:
        return agreement.by_layer(read.stacks, self._layers())

    def _layers(self) -> Layers:
        return analyse.layers_for(self.request.job.build, self.request.job.project.config.layers)

    def _inlined(self, script: Path) -> inline.Inlined | None:
        """The functions inlined into the subject's module, where it has debug information."""
        module = self.running.loaded.path
        offsets = perf_script.places(script, str(module))
        crate = self.running.loaded.module.rpartition(".")[2]
        return inline.resolve(module, offsets, crate=crate)

    def _known(self) -> tuple[int, str] | None:
        """Rate and kind of stacks that an earlier capture of this run settled on."""
        for line in reversed(read_journal(self.run.directory / SETTLED)):
            if line["build"] == self.request.job.build.key:
                return int(line["rate_hz"]), str(line["call_graph"])
        return None

    def _remember(self, recorded: Recorded) -> None:
        self.run.append(
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


def _recorded(
    settings: RecordSettings,
    data: Path,
    said: str,
    on: Sequence[LoopResult],
    *,
    pairs: tuple[observer.BareAndProfiled, ...] = (),
    too_dear: bool = False,
) -> Recorded:
    return Recorded(
        settings=settings,
        data=data,
        said=said,
        pairs=pairs,
        windows=tuple(_window(result) for result in on),
        region_s=sum(result.seconds for result in on),
        calls=sum(result.calls for result in on),
        cpu_s=sum(result.cpu_s for result in on),
        too_dear=too_dear,
        pace={},
    )


def _pair(block: Sequence[tuple[bool, LoopResult]]) -> observer.BareAndProfiled:
    per_call = []
    for wanted in (False, True):
        chosen = [result for profiled, result in block if profiled is wanted]
        seconds = sum(result.seconds for result in chosen)
        per_call.append(seconds / sum(result.calls for result in chosen))
    return observer.BareAndProfiled(bare_s=per_call[0], profiled_s=per_call[1])


def _window(result: LoopResult) -> perf_script.Window:
    """The loop by the worker's own clock: perfkit may hear of its end late."""
    return perf_script.Window(begin=result.begin_s, end=result.begin_s + result.seconds)


def cheaper(recorded: Recorded, rates: Sequence[int], request: CaptureRequest) -> list[int]:
    """The rates that are left: cost is in proportion to rate, so hopeless ones are skipped."""
    middle = statistics.median(pair.log_ratio for pair in recorded.pairs)
    wanted = 0.5 * request.job.project.config.profiling.slowdown_limit
    rate = recorded.settings.rate_hz
    lower = list(rates[1:])
    return [other for other in lower if middle * other / rate <= wanted] or lower[-1:]


def _too_dear(recorded: Recorded, next_rate: int) -> Note:
    middle = statistics.median(pair.log_ratio for pair in recorded.pairs)
    rate = recorded.settings.rate_hz
    text = f"perf at {rate} samples/s made the call about {format_share(middle)} slower"
    return Note(id="lower_rate", text=text, remedy=f"used {next_rate} samples/s instead")


def _stacks_by(call_graph: str) -> Note:
    how = "frame pointers" if call_graph == FRAME_POINTERS else f"stack copies ({call_graph})"
    return Note(id="stacks_by", text=f"stacks were taken by {how}")

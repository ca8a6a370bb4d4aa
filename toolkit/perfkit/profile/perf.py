"""perf on the Python call: a worker runs the workload, perf is attached and switched on around the
measured region, in windows with and without it, so that what it costs is measured with the data.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from perfkit import process
from perfkit.environment import base_environment
from perfkit.errors import PermissionRefusedError
from perfkit.profile import artefacts, messages, observer, perf_record, quality
from perfkit.profile.perf_record import RecordSettings
from perfkit.records import Capture, Check, Note
from perfkit.stacks import inline, perf_script
from perfkit.stacks.folded import read_stacks
from perfkit.stacks.layers import Layers, crate_names
from perfkit.stacks.split import Split, disagreements, split
from perfkit.store import read_journal
from perfkit.subject.child import spec_for, worker
from perfkit.subject.workloads import data_sets_for
from perfkit.units import format_share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from perfkit.profile.request import CaptureRequest
    from perfkit.records import Interval
    from perfkit.store import Run
    from perfkit.subject.child import LoopResult, Worker

EVENTS = ("cpu-clock", "cpu-clock:u")
"""With the kernel's part, or user code alone where the system allows no more."""
STACK_COPIES = ("dwarf,16384", "dwarf,32768", "dwarf,65528")
"""How much of the stack perf copies, in the order of trying. The copy itself costs little:
the timer interrupt does (2026-11, 2 vCPU, 997 Hz: 1.8 % without any stack, 2.1 % with 8 kB)."""
WINDOW_S = 0.04
BLOCK_CALLS = 3  # per window, at the least
BATCH_S = 5e-3
"""Calls between two looks at the clock: the loop's own bookkeeping is then out of sight."""
EXTENSION = 2.0  # of the duration, while the slowdown is undecided
SETTLED = "raw/perf-settings.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What one attachment of perf brought.

    Attributes:
        windows: the parts of the monotonic clock in which perf was on and the loop ran.
        region_s: their sum, by the worker's own clock.
        cpu_s: CPU time of all its threads in them, by the worker's own clock.
    """

    settings: RecordSettings
    data: Path
    said: str
    pairs: tuple[observer.Pair, ...]
    windows: tuple[perf_script.Window, ...]
    region_s: float
    calls: int
    cpu_s: float
    too_dear: bool

    @property
    def slowdown(self) -> Interval | None:
        """What perf cost in these windows."""
        return observer.slowdown(self.pairs)


class Perf:
    """The profiler `perf`."""

    name: ClassVar[str] = "perf"

    def probe(self, environ: Mapping[str, str]) -> Check:
        """Whether perf is installed; whether it is permitted shows when it attaches."""
        found = process.find_program("perf", environ)
        remedy = "" if found else process.INSTALL_LINES["perf"]
        said = str(found) if found else "not on PATH"
        return Check(id=self.name, ok=found is not None, required=False, found=said, remedy=remedy)

    def capture(self, request: CaptureRequest, run: Run) -> Capture:
        """Profile one workload at one size.

        Raises:
            PermissionRefusedError: no event may be opened.
            PerfkitError: perf, the worker or the workload failed, by name.
        """
        environ = tool_environment(request)
        spec = spec_for(request.project, request.build, request.assignment, threads=request.threads)
        with worker(spec) as running:
            sets = data_sets_for(request.size, request.project.config.measure.data_sets)
            arm = running.prepare(
                request.workload,
                request.size,
                which="call",
                seed=request.seed,
                data_sets=sets,
                name=request.name,
            )
            running.calibrate(arm, batch_s=BATCH_S)
            session = _Session(request=request, run=run, environ=environ, running=running, arm=arm)
            recorded, read, tried = session.settle()
            main_tid, pid = running.main_tid, running.pid
        return _judged(request, run, recorded, read, tried, main_tid=main_tid, pid=pid)


def tool_environment(request: CaptureRequest) -> dict[str, str]:
    """What a profiler sees of the environment."""
    return base_environment(request.project.environ, extra={})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """A recording as stacks."""

    selection: perf_script.Selection
    stacks: list[tuple[tuple[str, ...], int]]
    script: Path
    said: str
    inlined: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """One worker that runs its loop again and again, under one setting of perf after the other."""

    request: CaptureRequest
    run: Run
    environ: Mapping[str, str]
    running: Worker
    arm: str

    def settle(self) -> tuple[Recorded, _Read, tuple[Note, ...]]:
        """Lower the rate until perf is cheap, deepen the stack copies until stacks are whole."""
        tried: list[Note] = []
        rates = self._rates()
        copies = list(STACK_COPIES)
        dearer: tuple[int, Split] | None = None
        known = self._known()
        if known is not None:
            rates = [rate for rate in rates if rate <= known[0]] or rates
            copies = copies[copies.index(known[1]) :] if known[1] in copies else copies
        while True:
            last = len(rates) == 1
            recorded = self._record(rates[0], copies[0], give_up=not last)
            if recorded.too_dear and not last:
                dearer = (recorded.settings.rate_hz, self._split(recorded, self._read(recorded)))
                rates = cheaper(recorded, rates, self.request)
                tried.append(_too_dear(recorded, rates[0]))
                continue
            read = self._read(recorded)
            cut = read.selection.unrooted / max(read.selection.samples, 1)
            if cut > quality.UNROOTED_LIMIT and len(copies) > 1:
                text = f"{format_share(cut)} of the stacks were cut short with {copies[0]}"
                tried.append(Note(id="deeper_stacks", text=text, remedy=f"used {copies[1]}"))
                copies.pop(0)
                continue
            self._remember(recorded)
            if dearer is not None:
                tried.append(_compared(dearer, self._split(recorded, read), rates[0]))
            return recorded, read, tuple(tried)

    def _rates(self) -> list[int]:
        """The rates that bring enough samples of a busy thread within the extended duration."""
        asked = observer.rates(self.request.rate_hz)
        needed = self.request.project.config.profiling.min_samples
        longest_s = EXTENSION * self.request.duration_s
        return [rate for rate in asked if rate * longest_s >= needed] or [asked[0]]

    def _split(self, recorded: Recorded, read: _Read) -> Split:
        """The layers of one recording, to compare two rates by."""
        build = self.request.build
        crates = crate_names(build.rustc, build.module)
        return split(
            read.stacks,
            layers=Layers(crates, self.request.project.config.layers),
            rate_hz=recorded.settings.rate_hz,
            region_s=recorded.region_s,
            calls=recorded.calls,
            windows=len(recorded.windows),
        )

    def _record(self, rate: int, call_graph: str, *, give_up: bool) -> Recorded:
        """Attach and run the windows; the second event is tried when the first is refused."""
        for index, event in enumerate(EVENTS):
            settings = RecordSettings(rate_hz=rate, event=event, call_graph=call_graph)
            try:
                return self._windows(settings, give_up=give_up)
            except PermissionRefusedError:
                if index == len(EVENTS) - 1:
                    raise
        raise AssertionError  # the loop returns or raises

    def _windows(self, settings: RecordSettings, *, give_up: bool) -> Recorded:
        request = self.request
        limit = request.project.config.profiling.slowdown_limit
        per_call = self.running.calibrated[self.arm].per_call_s
        window_s = max(WINDOW_S, BLOCK_CALLS * per_call)
        data = self.run.path(f"raw/{request.label}.perf.data")
        pairs: list[observer.Pair] = []
        windows: list[perf_script.Window] = []
        region_s, cpu_s, calls, too_dear = 0.0, 0.0, 0, False
        with perf_record.attached(self.running.pid, settings, data, self.environ) as recorder:
            for order in observer.orders(request.seed):
                bare = [0.0, 0]
                on = [0.0, 0]
                for profiled in order:
                    if profiled:
                        recorder.enable()
                    result = self.running.loop(self.arm, window_s)
                    if profiled:
                        recorder.disable()
                        windows.append(_window(result))
                        cpu_s += result.cpu_s
                    target = on if profiled else bare
                    target[0] += result.seconds
                    target[1] += result.calls
                pairs.append(observer.Pair(bare_s=bare[0] / bare[1], profiled_s=on[0] / on[1]))
                region_s += on[0]
                calls += int(on[1])
                request.progress(
                    f"perf at {settings.rate_hz} Hz", min(region_s / request.duration_s, 1.0)
                )
                if give_up and is_too_dear(pairs, limit):
                    too_dear = True
                    break
                if _enough(pairs, region_s, request.duration_s, limit):
                    break
            said = recorder.finish()
        # Not shown to be cheap within the extension, and probably not cheap: a lower rate may be.
        cost = observer.slowdown(pairs)
        if give_up and cost is not None and cost.high >= limit and cost.estimate > 0.5 * limit:
            too_dear = True
        return Recorded(
            settings=settings,
            data=data,
            said=said,
            pairs=tuple(pairs),
            windows=tuple(windows),
            region_s=region_s,
            calls=calls,
            cpu_s=cpu_s,
            too_dear=too_dear,
        )

    def _read(self, recorded: Recorded) -> _Read:
        label = self.request.label
        script = self.run.path(f"raw/{label}.perf.txt")
        said = recorded.said + perf_record.write_script(recorded.data, script, self.environ)
        folded = self.run.path(f"raw/{label}.perf.kept.folded")
        inlined = self._inlined(script)
        try:
            selection = perf_script.fold(
                script,
                folded,
                pid=self.running.pid,
                windows=recorded.windows,
                inlined=inlined,
                main_tid=self.running.main_tid,
            )
            stacks = read_stacks(folded)
        finally:
            folded.unlink(missing_ok=True)
        return _Read(
            selection=selection,
            stacks=stacks,
            script=script,
            said=said,
            inlined=inlined is not None,
        )

    def _inlined(self, script: Path) -> inline.Inlined | None:
        """The functions inlined into the subject's module, where addr2line is there to ask."""
        module = self.running.loaded.path
        offsets = perf_script.places(script, str(module))
        crate = self.running.loaded.module.rpartition(".")[2]
        return inline.resolve(module, offsets, crate=crate, environ=self.environ)

    def _known(self) -> tuple[int, str] | None:
        """Rate and stack copies that an earlier capture of this run settled on."""
        for line in reversed(read_journal(self.run.directory / SETTLED)):
            if line["build"] == self.request.build.key:
                return int(line["rate_hz"]), str(line["call_graph"])
        return None

    def _remember(self, recorded: Recorded) -> None:
        self.run.append(
            SETTLED,
            {
                "build": self.request.build.key,
                "size": self.request.size,
                "rate_hz": recorded.settings.rate_hz,
                "call_graph": recorded.settings.call_graph,
                "event": recorded.settings.event,
                "slowdown": recorded.slowdown,
            },
        )


def _window(result: LoopResult) -> perf_script.Window:
    """The loop by the worker's own clock: perfkit may hear of its end late."""
    return perf_script.Window(begin=result.begin_s, end=result.begin_s + result.seconds)


def is_too_dear(pairs: Sequence[observer.Pair], limit: float) -> bool:
    """Whether to go on at this rate is useless: the middle of the slowdown is near the limit, and
    it is no noise. Where it may be noise, a lower rate would bring fewer samples and no proof.
    """
    found = observer.slowdown(pairs)
    return found is not None and found.estimate > 0.75 * limit and found.low > 0


def cheaper(recorded: Recorded, rates: Sequence[int], request: CaptureRequest) -> list[int]:
    """The rates that are left: cost is in proportion to rate, so hopeless ones are skipped."""
    middle = statistics.median(pair.log_ratio for pair in recorded.pairs)
    wanted = 0.5 * request.project.config.profiling.slowdown_limit
    rate = recorded.settings.rate_hz
    lower = list(rates[1:])
    return [other for other in lower if middle * other / rate <= wanted] or lower[-1:]


def _enough(
    pairs: Sequence[observer.Pair], region_s: float, duration_s: float, limit: float
) -> bool:
    """The duration is over, and so is the question of the slowdown, or its extension."""
    if region_s < duration_s or len(pairs) < observer.MIN_PAIRS:
        return False
    found = observer.slowdown(pairs)
    decided = found is not None and (found.high < limit or found.low >= limit)
    return decided or region_s >= EXTENSION * duration_s


def _compared(dearer: tuple[int, Split], chosen: Split, rate: int) -> Note:
    """Whether the shares at the higher rate, that cost too much, are those at the chosen one."""
    apart = disagreements(dearer[1], chosen)
    rates = f"{dearer[0]} and {rate} samples/s"
    if not apart:
        text = f"the shares at {rates} agree within their intervals"
        return Note(id="rates_agree", text=text)
    text = f"the shares at {rates} differ in: {', '.join(apart)}"
    remedy = "believe the lower rate; a layer that differs is moved by the profiler or the machine"
    return Note(id="rates_disagree", text=text, remedy=remedy)


def _too_dear(recorded: Recorded, next_rate: int) -> Note:
    middle = statistics.median(pair.log_ratio for pair in recorded.pairs)
    rate = recorded.settings.rate_hz
    text = f"perf at {rate} samples/s made the call about {format_share(middle)} slower"
    return Note(id="lower_rate", text=text, remedy=f"used {next_rate} samples/s instead")


def _judged(
    request: CaptureRequest,
    run: Run,
    recorded: Recorded,
    read: _Read,
    tried: tuple[Note, ...],
    *,
    main_tid: int,
    pid: int,
) -> Capture:
    found = quality.Quality(
        samples=read.selection.samples,
        unresolved=read.selection.unresolved,
        unrooted=read.selection.unrooted,
        lost=messages.lost_samples(read.said, read.selection.samples),
        outside=read.selection.outside,
        slowdown=recorded.slowdown,
        sampled_s=read.selection.samples / recorded.settings.rate_hz,
        # Where the kernel's part is out of sight, the two clocks differ for that reason.
        cpu_s=recorded.cpu_s if recorded.settings.event == EVENTS[0] else None,
    )
    verdict = quality.judge(found, request.project.config.profiling)
    notes = [*tried, *verdict.notes, *messages.notes("perf", read.said)]
    if recorded.settings.event != EVENTS[0]:
        text = "the kernel's own time was not visible: it shows as `waiting`"
        notes.append(Note(id="kernel_unseen", text=text, remedy="kernel.perf_event_paranoid=1"))
    if not read.inlined:
        text = "inlined functions are not told apart: there is no addr2line"
        notes.append(Note(id="no_inlined", text=text, remedy="apt-get install binutils"))
    dropped = artefacts.bound_raw(recorded.data)
    files = {"text": artefacts.compress(read.script)}
    if dropped is None:
        files["raw"] = recorded.data
    else:
        notes.append(dropped)
    rate = float(recorded.settings.rate_hz)
    files["folded"] = artefacts.write_folded(run, request.label, "perf", read.stacks)
    files["flame"] = artefacts.draw_flame(
        run,
        files["folded"],
        stem=request.label,
        profiler="perf",
        what=f"{request.name}, n = {request.size:_}",
        rate_hz=rate,
        samples=found.samples,
        slowdown=recorded.slowdown,
        verdict=verdict,
    )
    return Capture(
        profiler="perf",
        workload=request.name,
        size=request.size,
        clock="cpu",
        rate_hz=rate,
        samples=found.samples,
        calls=recorded.calls,
        region_s=recorded.region_s,
        windows=len(recorded.windows),
        unresolved_share=found.unresolved_share,
        slowdown=recorded.slowdown,
        accepted=verdict.accepted,
        reason=verdict.reason,
        files={kind: run.relative(path) for kind, path in files.items()},
        main_tid=main_tid,
        pid=pid,
        notes=tuple(notes),
    )

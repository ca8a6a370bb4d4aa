"""Calls whose split by layer is known, and how far perfkit's split of them may be from it.

Each part of a call of tests/subjects/spins can be called alone. Its cost is therefore a difference
of CPU times by the kernel's clocks, without any samples. The parts are timed after every window of
the capture, in the same process, while perf is off, because on a machine with changing neighbours
the truth is different a second later. The short test of `make test` and the full one of `make
truth` share this module.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perfkit.measure.statistics import consecutive, over_sessions
from perfkit.profile import analyse
from perfkit.profile.paired import PairArm
from perfkit.profile.perf import published
from perfkit.profile.perf_record import PERF
from perfkit.profile.perf_session import Session, Settled
from perfkit.profile.profilers import profile, request_for
from perfkit.records import Interval, Layer
from perfkit.stacks import bounds
from perfkit.stacks.intervals import wilson
from perfkit.subject.child import spec_for, worker
from perfkit.subject.job import job_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from perfkit.config import Project
    from perfkit.profile.perf_session import Recorder, Tool
    from perfkit.records import Build, Capture
    from perfkit.stacks.split import Split
    from perfkit.store import Run
    from perfkit.subject.child import LoopResult, Worker

POINTS = 0.02
"""The promise: each layer within two points."""
WORKER_POINTS = 0.03
"""The promise for the time of worker threads."""
CHANCE = 3.3
"""Standard errors that a right split exceeds once in a thousand layers."""
CHEAP = 0.02
"""A profiler that costs more may move a share by what it costs beyond this."""
UNRESOLVED, COVERAGE = 0.2, 0.1
"""Shares of the samples without a name, and of the CPU time that samples miss or have too much."""
TRUTH_ERROR = 0.005
"""Half a point for the truth's own error, if chance alone exceeds the promise."""
CROSSING = (Layer.GLUE, Layer.GIL, Layer.CONVERT_OUT)
PARTS: Mapping[str, tuple[Layer, ...]] = {
    "interpreter": (Layer.INTERPRETER,),
    "convert_in": (Layer.CONVERT_IN,),
    "crossing": CROSSING,
    "compute": (Layer.COMPUTE,),
}
STEPS = ("in_python", "unconverted", "converted")
"""Shorter versions of the whole call; each adds one part to the one before it."""
BATCH_S = 4e-3
GROUPS = 8
"""Consecutive groups of rounds whose means are treated as independent."""
CONFIDENCE = 0.99
TRIES = 3
"""How often a truth that contradicts itself is measured again."""


class Unasked(Exception):
    """The truth contradicts itself, so the capture cannot be compared with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What each call took right after one window, in CPU seconds per call.

    Attributes:
        at_s: the time, by the worker's monotonic clock.
        own_s: the calling thread's time by call, the whole one last.
        others_s: what other threads spent on the whole call.
    """

    at_s: float
    own_s: tuple[float, ...]
    others_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of a call as arms of the profiled worker, and their rounds so far."""

    running: Worker
    arms: tuple[str, ...]
    rounds: list[Round] = field(default_factory=list)

    def look(self, at_s: float) -> None:
        """Time every part once."""
        timed = [self.running.time(arm, self.running.calibrated[arm].calls) for arm in self.arms]
        whole = timed[-1]
        self.rounds.append(
            Round(
                at_s=at_s,
                own_s=tuple(row.own_s / row.calls for row in timed),
                others_s=(whole.cpu_s - whole.own_s) / whole.calls,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside(Session):
    """A session, with the parts timed after each of its windows."""

    parts: Parts

    def window(self, recorder: Recorder | None) -> LoopResult:
        """One window, and one round of the parts."""
        result = Session.window(self, recorder)  # a class with slots is made anew: no bare super()
        self.parts.look(result.begin_s)
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A capture of a call, with the truth measured alongside it.

    Attributes:
        truth: each part's share of the calling thread's CPU time; the parts add up to one.
        workers: the other threads' share of all CPU time.
    """

    capture: Capture
    split: Split
    truth: Mapping[str, float]
    workers: float


def take(
    project: Project,
    build: Build,
    run: Run,
    name: str,
    size: int,
    *,
    seconds: float,
    rate: int,
    tool: Tool = PERF,
) -> tuple[Capture, Split]:
    """One capture with its split."""
    (capture,) = profile(
        job_for(project, name, None, run, build=build),
        size,
        names=[tool.name],
        rate=rate,
        duration=seconds,
    )
    layers = analyse.layers_for(build, project.config.layers)
    return capture, analyse.split_of(capture, run, layers)


def take_known(
    project: Project,
    build: Build,
    run: Run,
    name: str,
    size: int,
    *,
    seconds: float,
    rate: int,
    settle: Callable[[Session], Settled] = Session.settle,
    tool: Tool = PERF,
) -> Known:
    """One capture of `mixed_…` or `joined_…` with the truth measured alongside it.

    Args:
        settle: how perf's settings are found.

    Raises:
        Unasked: the parts exceed the call by more than their interval allows.
    """
    request = request_for(
        job_for(project, name, None, run, build=build), size, rate=rate, duration=seconds
    )
    with worker(spec_for(project, build)) as running:
        arm = PairArm(running, request)
        length = name.partition("_")[2]
        arms = []
        for call in (*(f"{step}_{length}" for step in STEPS), name):
            arms.append(running.prepare(project.config.workloads[call], size, which="call"))
            running.calibrate(arms[-1], batch_s=BATCH_S)
        parts = Parts(running=running, arms=tuple(arms))
        session = Beside(
            request=request,
            arm=arm,
            stem=request.sight.stem,
            tool=tool,
            parts=parts,
        )
        settled = settle(session)
    capture = published(session, settled)
    layers = analyse.layers_for(build, project.config.layers)
    first, last = settled.recorded.windows[0], settled.recorded.windows[-1]
    rounds = [row for row in parts.rounds if first.begin <= row.at_s <= last.begin]
    others = sum(row.others_s for row in rounds)
    return Known(
        capture=capture,
        split=analyse.split_of(capture, run, layers),
        truth=true_shares(rounds),
        workers=others / (others + sum(row.own_s[-1] for row in rounds)),
    )


def asked(once: Callable[[], Known]) -> Known:
    """A capture with a truth that does not contradict itself, after at most `TRIES` tries.

    Raises:
        AssertionError: there was none, so the test fails.
    """
    why = []
    for _ in range(TRIES):
        try:
            return once()
        except Unasked as error:
            why.append(str(error))
    message = "could not be asked: " + "; ".join(why)
    raise AssertionError(message)


def true_shares(rounds: Sequence[Round]) -> dict[str, float]:
    """Each part's share of the calling thread's CPU time in a call; the parts add up to one.

    Shares are taken within a round and then averaged, like the windows of a capture, which last
    equally long however fast the machine runs.

    Raises:
        Unasked: a part is surely below zero.
    """
    shares = {
        name: _mean([part(row.own_s) / row.own_s[-1] for row in rounds])
        for name, part in (
            ("interpreter", lambda s: s[0]),
            ("crossing", lambda s: s[1] - s[0]),
            ("convert_in", lambda s: s[2] - s[1]),
            ("compute", lambda s: s[3] - s[2]),
        )
    }
    wrong = {name: share for name, share in shares.items() if share.high < 0}
    if wrong:
        told = ", ".join(
            f"{name} {share.estimate:.3f} [{share.low:.3f}, {share.high:.3f}]"
            for name, share in wrong.items()
        )
        message = f"of {len(rounds)} rounds the parts are more than the call: {told}"
        raise Unasked(message)
    return {**{name: share.estimate for name, share in shares.items()}, "rest": 0.0}


def _mean(values: Sequence[float]) -> Interval:
    """Student's interval over the means of consecutive groups."""
    means = [[statistics.fmean(group)] for group in consecutive(values, GROUPS)]
    return over_sessions(means, CONFIDENCE)


def found_parts(split: Split) -> dict[str, float]:
    """Shares of the calling thread's CPU time by part; `rest` is everything else."""
    shares = {
        name: sum(split.seconds(layer) for layer in layers) / split.on_cpu_s
        for name, layers in PARTS.items()
    }
    return {**shares, "rest": 1 - sum(shares.values())}


def allowed(share: float, samples: float) -> float:
    """How far a right split may be from the truth: the promise, or chance if that is more."""
    share = min(max(share, 0.0), 1.0)  # a difference of times may come out below zero
    return max(POINTS, CHANCE * (share * (1 - share) / samples) ** 0.5 + TRUTH_ERROR)


def check_parts(known: Known, samples: float) -> None:
    """Each part within what that many independent samples, and the profiler's cost, allow."""
    cost = beyond(known.capture)
    compare(
        known.truth,
        found_parts(known.split),
        lambda share: allowed(share, samples) + cost,
        f"{samples:.0f} independent samples",
    )


def beyond(capture: Capture) -> float:
    """How far a dear profiler may move a share beyond the promise of a cheap one."""
    assert capture.doubts.slowdown is not None
    return max(0.0, capture.doubts.slowdown - CHEAP)


def compare(
    truth: Mapping[str, float],
    found: Mapping[str, float],
    room: Callable[[float], float],
    what: str,
) -> None:
    """Each part as near to its truth as `room` says of its share."""
    told = ", ".join(f"{name} {found[name]:.3f} for {truth[name]:.3f}" for name in truth)
    print(f"{what}: {told}")
    for name, share in truth.items():
        assert abs(found[name] - share) <= room(share), f"{name}: {told}"


def bounds_of(known: Known) -> dict[str, tuple[float, Interval, Interval]]:
    """Of each part the truth, its counted interval and its bounds, as shares of the wall clock."""
    capture, split = known.capture, known.split
    assert capture.region_s is not None
    total = capture.region_s * capture.rate_hz
    found = {}
    for name, layers in PARTS.items():
        own = sum(split.share(layer) for layer in layers)
        counted = wilson(own * total, total, capture.design_effect)
        truth = known.truth[name] * split.on_cpu_s / split.call_s
        found[name] = (truth, counted, bounds.doubtful(counted, split.doubts))
    return found


def holds(truth: float, share: Interval) -> bool:
    """Whether bounds hold a truth; what the truth itself may be off by counts as a hit."""
    return share.low - TRUTH_ERROR <= truth <= share.high + TRUTH_ERROR


def check_bounds(known: Known) -> None:
    """At most one part of the four outside its bounds: they are at 95 %."""
    found = bounds_of(known)
    missed = [name for name, (truth, _, share) in found.items() if not holds(truth, share)]
    assert len(missed) <= 1, (missed, found)


def check_workers(known: Known) -> None:
    """The workers' share of all CPU time, compared with the kernel's clocks at the same time."""
    split, truth = known.split, known.workers
    found = split.workers_s / (split.workers_s + split.on_cpu_s)
    samples = split.samples + split.worker_samples
    told = f"workers have {found:.3f} of {samples} samples and {truth:.3f} of the CPU time"
    print(told)
    assert 0.3 < truth < 0.7, told
    room = max(WORKER_POINTS, CHANCE * (truth * (1 - truth) / samples) ** 0.5)
    assert abs(found - truth) <= room, told
    computing = sum(row.seconds for row in split.workers if row.layer is Layer.COMPUTE)
    assert computing / split.workers_s > 0.97, told


def faults(capture: Capture, split: Split) -> set[str]:
    """What is wrong with a capture, apart from its cost, which depends only on the machine."""
    found = {"lost", "outside"} & {note.id for note in capture.notes}
    if capture.doubts.unnamed > UNRESOLVED:
        found.add("unresolved")
    on_cpu = (split.on_cpu_s + split.workers_s) / split.call_s
    if capture.doubts.missing + capture.doubts.surplus > COVERAGE * on_cpu:
        found.add("coverage")
    return found

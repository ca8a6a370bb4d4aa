"""What was seen of one workload at one size, as the rules of `rules.py` read it.

Records and questions about stacks; what a finding is, is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from perfkit.records import ALL_THREADS, OF_THE_CALL, Evidence, FfiEstimate, Interval, Layer
from perfkit.stacks import bounds, inline
from perfkit.stacks.intervals import wilson
from perfkit.stacks.layers import crate_of
from perfkit.stacks.split import NO_DOUBTS

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from perfkit.records import Crossover, Doubts, LayerTime, SizeResult
    from perfkit.subject.rustc import RustcLine


@dataclass(frozen=True, slots=True, kw_only=True)
class StackTime:
    """One stack with the samples that fell on it.

    Attributes:
        frames: root first, without the root that names the thread.
        decider: index of the frame that decided the layer; None when none did.
        calling: whether it is of the thread that made the call.
        asker: for a page fault, the layer of what touched the page; None for everything else.
        undecided: whether its layer could be any.
    """

    frames: tuple[str, ...]
    layer: Layer
    decider: int | None
    count: int
    calling: bool
    asker: Layer | None = None
    undecided: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Branches:
    """Both branches of a threshold, forced and timed at this size.

    Attributes:
        above_gain: time of the branch below over time of the branch above; above one means that
            the branch above the threshold is faster here.
        noise_floor: what `above_gain` must leave one by to count, as a fraction.
        idle: the crossover of calls that find the pool asleep; None where it was not measured.
    """

    parameter: str
    value: int
    above_gain: Interval
    crossover: Crossover
    noise_floor: float = 0.0
    idle: Crossover | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The build as it is against one with other settings of its cargo profile.

    Attributes:
        settings: the other ones, as Cargo.toml has them.
        gain: time as built over time with the settings; above one means that they are faster.
        noise_floor: what a copy of the build as it is differs from it by.
    """

    settings: str
    gain: Interval
    noise_floor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Instructions by callgrind of the extension and the math library, or why there are none."""

    per_element: float | None
    size: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Everything recorded about one workload at one size.

    Attributes:
        call_s: time per call without any profiler.
        region_samples: samples that the profiled region has at its rate: the base of all shares.
        design_effect: of the samples, see `stacks.intervals.design_effect`.
        doubts: what else may be wrong with a share of the samples.
        layers: of the calling thread, by layer.
        workers_s: on-CPU seconds per call of other threads; None where nothing could see them.
        threads: threads the subject may use.
        smallest: whether this is the smallest size of the workload.
        gil_held: share of the call's time in which no other Python thread could run; None where
            it was not probed.
        instructions: by callgrind, at the smallest size; None where math takes little time.
        flags: how the build does with the settings it went without; None where not measured.
        reference_stacks: of the reference's own profile, in the same form.
        line: the rustc line of the extension; None for a wheel.
        crates: the subject's own.
        grains: its parameters that decide how the work is cut into pieces.
        locations: `file:line` of functions in the subject's sources, by name.
    """

    workload: str
    size: int
    call_s: Interval
    result: SizeResult | None = None
    ffi: FfiEstimate | None = None
    stacks: tuple[StackTime, ...] = ()
    region_samples: float = 0.0
    design_effect: float = 1.0
    doubts: Doubts = NO_DOUBTS
    layers: Mapping[Layer, LayerTime] = field(default_factory=dict)
    workers_s: float | None = None
    threads: int = 1
    smallest: bool = False
    gil_held: Interval | None = None
    instructions: Counted | None = None
    flags: Flags | None = None
    reference_stacks: tuple[StackTime, ...] = ()
    reference_samples: float = 0.0
    branches: tuple[Branches, ...] = ()
    line: RustcLine | None = None
    crates: tuple[str, ...] = ()
    grains: tuple[str, ...] = ()
    locations: Mapping[str, str] = field(default_factory=dict)

    def is_own(self, frame: str) -> bool:
        """Whether a frame is a function of the subject's crates."""
        return crate_of(frame) in self.crates

    def location(self, stack: StackTime, frame: str) -> str:
        """`file:line` of a frame's function, if the subject has it; of the function around it for a
        closure, whose own frame names no function.
        """
        if not self.is_own(frame):
            return ""
        own = [f for f in stack.frames[: stack.frames.index(frame) + 1] if self.is_own(f)]
        named = (name for f in reversed(own) if (name := function_name(f)) != crate_of(f))
        return self.locations.get(next(named, ""), "")

    def share(self, chosen: Iterable[StackTime]) -> Interval | None:
        """Share of the call's wall clock; None without a profile."""
        if self.region_samples <= 0:
            return None
        count = sum(stack.count for stack in chosen)
        counted = wilson(count, self.region_samples, self.design_effect)
        return bounds.doubtful(counted, self.doubts)

    def share_of_work(self, chosen: Iterable[StackTime]) -> Interval | None:
        """Share of the CPU time of all threads; None without a profile."""
        total = sum(stack.count for stack in self.stacks)
        if not total:
            return None
        counted = wilson(sum(stack.count for stack in chosen), total, self.design_effect)
        undecided = sum(stack.count for stack in self.stacks if stack.undecided)
        doubts = replace(self.doubts, unnamed=undecided / self.region_samples)
        return bounds.of_work(counted, doubts, self.region_samples / total)

    def where(self, rule: Callable[[StackTime], bool]) -> list[StackTime]:
        """The stacks that a rule picks."""
        return [stack for stack in self.stacks if rule(stack)]

    def evidence(
        self, chosen: Sequence[StackTime], pattern: re.Pattern[str] | None = None, limit: int = 3
    ) -> tuple[Evidence, ...]:
        """The frames that carry most of the chosen stacks.

        Their shares are of the call where all of the stacks are the calling thread's, else of the
        CPU time of all threads.

        Args:
            pattern: the frame to show of a stack is the outermost that matches; the one that
                decided the layer when it is None.
        """
        alone = all(stack.calling for stack in chosen)
        base = self.region_samples if alone else sum(stack.count for stack in self.stacks)
        places = {shown_frame(stack, pattern): stack for stack in reversed(chosen)}
        return tuple(
            Evidence(
                frame=frame,
                layer=layer,
                share=count / base,
                location=self.location(places[frame], frame),
                base=OF_THE_CALL if alone else ALL_THREADS,
            )
            for (frame, layer), count in frame_totals(chosen, pattern)[:limit]
        )


def frame_totals(
    chosen: Sequence[StackTime], pattern: re.Pattern[str] | None
) -> list[tuple[tuple[str, Layer], int]]:
    """Samples by the frame that speaks for each stack, the most first."""
    totals: dict[tuple[str, Layer], int] = {}
    for stack in chosen:
        frame = shown_frame(stack, pattern)
        totals[frame, stack.layer] = totals.get((frame, stack.layer), 0) + stack.count
    return sorted(totals.items(), key=lambda item: (-item[1], item[0][0]))


def shown_frame(stack: StackTime, pattern: re.Pattern[str] | None) -> str:
    """The frame that speaks for a stack."""
    if pattern is not None:
        for frame in stack.frames:
            if pattern.search(frame):
                return frame
    if stack.decider is not None:
        return stack.frames[stack.decider]
    return stack.frames[-1] if stack.frames else "[no stack]"


def function_name(frame: str) -> str:
    """The function's own name: `pricing::plain::<impl Foo>::call::{{closure}}` gives `call`."""
    parts = inline.without_generics(frame).split("::")
    parts = [part for part in parts if part and not part.startswith("{")]
    return parts[-1].removesuffix("_[k]") if parts else frame


def matches(stack: StackTime, pattern: re.Pattern[str]) -> bool:
    """Whether any frame of a stack matches."""
    return any(pattern.search(frame) for frame in stack.frames)


def below(stack: StackTime, pattern: re.Pattern[str]) -> bool:
    """Whether a frame nearer to the leaf than the deciding one matches."""
    start = 0 if stack.decider is None else stack.decider
    return any(pattern.search(frame) for frame in stack.frames[start:])

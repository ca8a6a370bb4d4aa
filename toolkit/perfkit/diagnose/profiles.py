"""Captures as the estimators and the rules need them: split by layer, with every stack's layer.

Profiling itself is in `perfkit.profile`, the layers in `perfkit.stacks`.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit import _engine
from perfkit.diagnose.estimators import SampledCall
from perfkit.diagnose.observed import StackTime
from perfkit.profile import analyse
from perfkit.records import FFI_LAYERS, Interval, Layer
from perfkit.stacks.layers import Layers, crate_names, is_undecided
from perfkit.stacks.split import CALLING_THREAD, Split

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from perfkit.config import Project
    from perfkit.records import Build, Capture
    from perfkit.store import Run

_FUNCTION = re.compile(
    r"^\s*(?:pub(?:\([^)]*\))?\s+)?(?:(?:const|unsafe|async)\s+)*fn\s+(\w+)", re.M
)
_AT_THE_BOUNDARY = (*FFI_LAYERS, Layer.ALLOCATION, Layer.INTERPRETER, Layer.OTHER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiled:
    """One capture, read.

    Attributes:
        region_samples: what the region has at its rate; the base of all shares.
    """

    capture: Capture
    split: Split
    stacks: tuple[StackTime, ...]
    region_samples: float
    boundary_allocation_s: float

    @property
    def call_s(self) -> Interval:
        """What a call took in the profiled process, seconds, and may have taken without the
        profiler.
        """
        assert self.capture.region_s is not None and self.capture.calls  # noqa: PT018
        found = self.capture.region_s / self.capture.calls
        cost = self.capture.doubts.slowdown or 0.0
        without = found / (1 + cost)
        return Interval(estimate=found, low=min(found, without), high=max(found, without))

    def of_a_call(self, call_s: float) -> Profiled:
        """The same shares of a call that takes so long: as it was timed without a profiler, and not
        in the one process that was profiled, which may be faster or slower than others.

        CPU seconds of other threads stay as they were counted: a call that took longer because
        another program had a core did not compute more.
        """
        by = call_s / self.split.call_s
        layers = tuple(
            dataclasses.replace(row, seconds=row.seconds * by) for row in self.split.layers
        )
        return dataclasses.replace(
            self,
            split=dataclasses.replace(self.split, layers=layers, call_s=call_s),
            boundary_allocation_s=self.boundary_allocation_s * by,
        )

    def sampled(self, loop_s: float) -> SampledCall:
        """As the estimator of sampled stacks wants it."""
        return SampledCall(
            layers={row.layer: row.seconds for row in self.split.layers},
            samples=self.region_samples,
            design_effect=self.capture.design_effect,
            doubts=self.split.doubts,
            sample_s=self.split.call_s / self.region_samples,
            boundary_allocation_s=self.boundary_allocation_s,
            loop_s=loop_s,
        )


def can_split(capture: Capture) -> bool:
    """Whether a capture's stacks can be put into layers of the call's wall clock.

    Only samples of the CPU clock inside a region of known calls can: a wall-clock sampler counts
    differently, and one that does not see native threads cannot tell waiting from work.
    """
    return (
        capture.clock == "cpu"
        and capture.calls is not None
        and capture.region_s is not None
        and "folded" in capture.files
        and capture.profiler in analyse.NATIVE
    )


def layers_of(project: Project, build: Build) -> Layers:
    """The layer rules for this subject."""
    crates = crate_names(build.rustc, project.config.subject.module)
    return Layers(crates, project.config.layers)


def read(capture: Capture, run: Run, layers: Layers) -> Profiled:
    """Split one capture.

    Args:
        capture: one that `can_split` allows.

    Raises:
        CaptureError: the region is empty.
        ValueError: the capture cannot be split.
    """
    if capture.region_s is None or capture.calls is None:
        message = "a capture without region cannot be split"
        raise ValueError(message)
    folded = run.path(capture.files["folded"])
    raw = _engine.read_folded(folded).stacks()
    found = analyse.split_of(capture, run, layers, raw)
    stacks = tuple(stack_time(frames, count, layers) for frames, count in raw)
    region_samples = capture.region_s * capture.rate_hz
    boundary = sum(s.count for s in stacks if s.calling and _boundary_memory(s))
    return Profiled(
        capture=capture,
        split=found,
        stacks=stacks,
        region_samples=region_samples,
        boundary_allocation_s=boundary / region_samples * found.call_s,
    )


def stack_time(frames: Sequence[str], count: int, layers: Layers) -> StackTime:
    """One line of a folded file, with its layer."""
    inner = tuple(frames[1:])
    decision = layers.decide(inner)
    asker = None
    if decision.layer is Layer.PAGE_FAULT:
        asker = _asker(inner, layers)
    return StackTime(
        frames=inner,
        layer=decision.layer,
        decider=decision.index,
        count=count,
        calling=bool(frames) and frames[0] == CALLING_THREAD,
        asker=asker,
        undecided=is_undecided(frames, decision),
    )


def _asker(frames: Sequence[str], layers: Layers) -> Layer:
    """The layer of what touched a page: the kernel's way to the fault is several frames long."""
    above = layers.decide(frames)
    while above.layer is Layer.PAGE_FAULT and above.index is not None:
        above = layers.decide(frames[: above.index])
    return above.layer


def _boundary_memory(stack: StackTime) -> bool:
    """Whether a stack is memory work that the boundary requested; faults below compute are not."""
    if stack.layer is Layer.ALLOCATION:
        return True
    return stack.layer is Layer.PAGE_FAULT and stack.asker in _AT_THE_BOUNDARY


def math_share(profiled: Profiled) -> float:
    """Share of the CPU time of all threads in the math library."""
    total = sum(stack.count for stack in profiled.stacks)
    found = sum(stack.count for stack in profiled.stacks if stack.layer is Layer.MATH)
    return found / total if total else 0.0


def functions(root: Path) -> dict[str, str]:
    """`file:line` of each function of the sources by name, where only one has the name."""
    found: dict[str, list[str]] = {}
    for file in _engine.rust_sources(root):
        text = file.read_text(encoding="utf-8", errors="replace")
        for match in _FUNCTION.finditer(text):
            line = text.count("\n", 0, match.start(1)) + 1
            found.setdefault(match[1], []).append(f"{file.relative_to(root)}:{line}")
    return {name: places[0] for name, places in found.items() if len(places) == 1}

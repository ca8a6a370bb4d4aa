"""Where the time of one call goes: folded stacks of a known region to seconds per layer and call.

Sampled time is samples divided by rate. Shares are of the wall clock of the region, on the calling
thread, and add up to one because `waiting` (wall clock in which that thread is on no CPU) is a
layer; nothing is rescaled. What other threads spend is shown joined to it.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.errors import CaptureError
from perfkit.records import FFI_LAYERS, Doubts, Interval, Layer, LayerTime
from perfkit.stacks.intervals import Z, wilson
from perfkit.stacks.layers import is_undecided

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from perfkit.stacks.layers import Layers

CALLING_THREAD = "[perfkit calling thread]"
OTHER_THREADS = "[perfkit other threads]"
"""Root frames of the folded files perfkit writes: process and thread ids differ from run to run."""
NO_DOUBTS = Doubts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One capture of one workload at one size, per call.

    Attributes:
        layers: every layer that has samples, and `waiting`; shares of the region's wall clock.
        workers: layers of the other threads' on-CPU time, likewise per call and per wall clock, so
            that their sum may be above one with several threads.
        call_s: wall clock per call under the profiler.
        on_cpu_s: on-CPU seconds per call of the calling thread.
        workers_s: the same of all other threads.
        samples: of the calling thread.
        worker_samples: of the other threads.
        ffi: `glue + convert_in + convert_out + gil`, as a share.
        undecided: share of the wall clock in samples whose layer cannot be decided.
        doubts: what the intervals hold beside counting.
    """

    layers: tuple[LayerTime, ...]
    workers: tuple[LayerTime, ...]
    call_s: float
    on_cpu_s: float
    workers_s: float
    samples: int
    worker_samples: int
    ffi: Interval
    undecided: float = 0.0
    doubts: Doubts = NO_DOUBTS

    def seconds(self, layer: Layer) -> float:
        """Seconds per call in a layer of the calling thread; zero when no sample fell there."""
        return next((item.seconds for item in self.layers if item.layer is layer), 0.0)

    def share(self, layer: Layer) -> float:
        """The layer's share of the call's wall clock."""
        return next((item.share.estimate for item in self.layers if item.layer is layer), 0.0)


def split(
    stacks: Iterable[tuple[Sequence[str], int]],
    *,
    layers: Layers,
    rate_hz: float,
    region_s: float,
    calls: int,
    windows: int = 1,
    design_effect: float = 1.0,
) -> Split:
    """Put each stack into its layer. Intervals are of counting alone; `bounds.of_split` adds what
    else is doubtful.

    Args:
        stacks: root first, with `CALLING_THREAD` or `OTHER_THREADS` as the root frame.
        rate_hz: samples per second and thread.
        region_s: wall clock of the region, seconds.
        calls: calls inside the region.
        windows: parts that the region was cut into; each end may be off by one sample.
        design_effect: of the samples, see `intervals.design_effect`.

    Raises:
        CaptureError: the region is empty.
    """
    if region_s <= 0 or calls <= 0 or rate_hz <= 0:
        message = f"the region holds {calls} calls in {region_s:g} s at {rate_hz:g} samples/s"
        raise CaptureError(message, remedy="profile for longer")
    main: Counter[Layer] = Counter()
    others: Counter[Layer] = Counter()
    undecided = 0
    for stack, count in stacks:
        calling = bool(stack) and stack[0] == CALLING_THREAD
        decision = layers.decide(stack[1:])
        (main if calling else others)[decision.layer] += count
        if calling and is_undecided(stack, decision):
            undecided += count
    total = region_s * rate_hz  # the samples that a thread on a CPU all the time would have
    call_s = region_s / calls
    on_cpu = sum(main.values())

    def rows_of(counted: Counter[Layer]) -> list[LayerTime]:
        shares = ((layer, wilson(n, total, design_effect)) for layer, n in counted.most_common())
        return [
            LayerTime(layer=layer, seconds=share.estimate * call_s, share=share)
            for layer, share in shares
        ]

    waiting = _waiting(on_cpu, total, call_s, windows, design_effect)
    return Split(
        layers=(*rows_of(main), waiting),
        workers=tuple(rows_of(others)),
        call_s=call_s,
        on_cpu_s=on_cpu / rate_hz / calls,
        workers_s=sum(others.values()) / rate_hz / calls,
        samples=on_cpu,
        worker_samples=sum(others.values()),
        ffi=wilson(sum(main[layer] for layer in FFI_LAYERS), total, design_effect),
        undecided=undecided / total,
    )


def by_layer(rows: Iterable[LayerTime]) -> Mapping[Layer, LayerTime]:
    """The rows by layer."""
    return {row.layer: row for row in rows}


def _waiting(
    on_cpu: int, total: float, call_s: float, windows: int, design_effect: float
) -> LayerTime:
    """Wall clock minus on-CPU time. It can come out below zero by the clock's phase at the ends of
    the windows; that is shown as it is.
    """
    busy = min(on_cpu / total, 1.0)
    # Each end of a window cuts a sampling period at a random point: standard deviation 1/sqrt(12).
    edges = Z * math.sqrt(2 * windows / 12) / total
    half = Z * math.sqrt(busy * (1 - busy) / total * design_effect) + edges
    share = 1 - on_cpu / total
    return LayerTime(
        layer=Layer.WAITING,
        seconds=share * call_s,
        share=Interval(estimate=share, low=share - half, high=share + half),
    )

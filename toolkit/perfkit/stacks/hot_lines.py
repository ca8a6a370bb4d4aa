"""The lines of the subject's own sources that the time is spent below: what is known of a call
whose layer says only "compute", and who asked for the memory, the copy or the object.

A sample belongs to the innermost of the subject's own functions in its stack, inlined ones
included, and to the line that this function is at: its own work, and all that it calls. The
sampled address itself may be late by some instructions, so a neighbouring line may be the one.
"""

from __future__ import annotations

import linecache
import re
from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from perfkit.records import HotLine
from perfkit.stacks import bounds
from perfkit.stacks.inline import AT, without_places
from perfkit.stacks.intervals import wilson
from perfkit.stacks.layers import is_cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.records import Doubts, Layer
    from perfkit.stacks.folded import Stack
    from perfkit.stacks.layers import Layers

MOST = 5
_BUILT_IN = re.compile(r".*/shadow/(?:above-\d+/)*tree/")
"""The folder that builds run in, see `subject/cache.py`: files are named from there."""


def hot_lines(
    placed: Sequence[tuple[Stack, int]],
    layers: Layers,
    doubts: Doubts,
    *,
    region_samples: float,
    design_effect: float,
) -> tuple[HotLine, ...]:
    """The lines with the most CPU time of all threads below them, at most `MOST`.

    Args:
        placed: stacks with places, root first.
        doubts: of the capture; samples of a stack that was cut before any place may be of any line.
        region_samples: what the region has at its rate.
    """
    total = sum(count for _, count in placed)
    found: defaultdict[str, Counter[Layer]] = defaultdict(Counter)
    anybodys = 0
    for stack, count in placed:
        place = next((frame for frame in reversed(stack) if frame.startswith(AT)), None)
        if place is not None:
            found[place.removeprefix(AT)][layers.classify(without_places(stack[1:]))] += count
        elif is_cut(stack):
            anybodys += count
    if not found:
        return ()
    doubts = replace(doubts, unnamed=anybodys / region_samples)
    ordered = sorted(found.items(), key=lambda one: (-one[1].total(), one[0]))
    lines = []
    for place, by_layer in ordered[:MOST]:
        file, _, line = place.rpartition(":")
        linecache.checkcache(file)
        counted = wilson(by_layer.total(), total, design_effect)
        lines.append(
            HotLine(
                file=_BUILT_IN.sub("", file),
                line=int(line),
                text=linecache.getline(file, int(line)).strip(),
                share=bounds.of_work(counted, doubts, region_samples / total),
                layers={layer: count / total for layer, count in by_layer.most_common()},
            )
        )
    return tuple(lines)

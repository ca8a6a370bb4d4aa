"""Stacks and layers as pandas tables with declared columns: the only module that makes a DataFrame,
which is for people and files, never an interface between parts.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from perfkit.stacks.intervals import wilson

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from perfkit.records import LayerTime
    from perfkit.stacks.layers import Layers

FRAME_COLUMNS = (
    "frame",
    "layer",
    "self_samples",
    "total_samples",
    "self_s_per_call",
    "total_s_per_call",
    "self_share",
    "self_low",
    "self_high",
    "total_share",
    "total_low",
    "total_high",
)
LAYER_COLUMNS = ("thread", "layer", "seconds_per_call", "share", "low", "high")
STACK_COLUMNS = ("stack", "layer", "samples", "share", "low", "high")


def frame_table(
    stacks: Iterable[tuple[Sequence[str], int]],
    *,
    layers: Layers,
    base: float | None = None,
    call_s: float | None = None,
    design_effect: float = 1.0,
) -> pd.DataFrame:
    """One row per frame, hottest self time first.

    A frame counts once per stack for its total, however often it recurs. Its layer is the one in
    which most of its self samples lie; of a frame that is never a leaf, what its name alone says.

    Args:
        stacks: with the thread's root frame.
        base: samples that make up a share of one; all samples when None. For shares of a call's
            wall clock this is the region's seconds times the rate.
        call_s: wall clock per call, seconds; without it the columns per call are empty.
        design_effect: of the samples, see `intervals.design_effect`.

    Returns:
        A table with `FRAME_COLUMNS`; shares are of `base`.
    """
    import pandas as pd

    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    of_layer: dict[str, Counter[str]] = {}
    everything = 0
    for stack, count in stacks:
        everything += count
        frames = stack[1:]
        for frame in set(frames):
            total[frame] += count
        if frames:
            own[frames[-1]] += count
            chosen = of_layer.setdefault(frames[-1], Counter())
            chosen[str(layers.classify(frames))] += count
    denominator = base if base is not None else float(everything)
    rows = []
    for frame, count in sorted(total.items(), key=lambda row: (-own[row[0]], -row[1], row[0])):
        shares = [wilson(n, denominator, design_effect) for n in (own[frame], count)]
        alone = layers.of_frame(frame)
        named = of_layer[frame].most_common(1)[0][0] if frame in of_layer else str(alone or "")
        per_call = [None if call_s is None else share.estimate * call_s for share in shares]
        bounds = [bound for s in shares for bound in (s.estimate, s.low, s.high)]
        rows.append((frame, named, own[frame], count, *per_call, *bounds))
    return pd.DataFrame(rows, columns=list(FRAME_COLUMNS))


def layer_table(layers: Sequence[LayerTime], workers: Sequence[LayerTime] = ()) -> pd.DataFrame:
    """One row per layer and kind of thread; shares are of the call's wall clock."""
    import pandas as pd

    rows = [
        (thread, str(row.layer), row.seconds, row.share.estimate, row.share.low, row.share.high)
        for thread, rows_of in (("calling", layers), ("others", workers))
        for row in rows_of
    ]
    return pd.DataFrame(rows, columns=list(LAYER_COLUMNS))


def stack_table(
    stacks: Iterable[tuple[Sequence[str], int]],
    layers: Layers,
    *,
    base: float | None = None,
    design_effect: float = 1.0,
) -> pd.DataFrame:
    """One row per stack, most samples first; shares and their intervals as in `frame_table`."""
    import pandas as pd

    found = sorted(((";".join(s), s, n) for s, n in stacks), key=lambda row: (-row[2], row[0]))
    denominator = base if base is not None else float(sum(count for *_, count in found))
    rows = []
    for text, stack, count in found:
        share = wilson(count, denominator, design_effect)
        layer = str(layers.classify(stack[1:]))
        rows.append((text, layer, count, share.estimate, share.low, share.high))
    return pd.DataFrame(rows, columns=list(STACK_COLUMNS))

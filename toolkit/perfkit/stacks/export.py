"""Stacks in the formats of other tools: speedscope's JSON, CSV. Text only; the caller writes."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

from perfkit import __version__
from perfkit.stacks.split import CALLING_THREAD

if TYPE_CHECKING:
    from collections.abc import Sequence

SPEEDSCOPE_SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def speedscope(stacks: Sequence[tuple[Sequence[str], int]], *, name: str, rate_hz: float) -> str:
    """A speedscope document: one sampled profile per root frame (thread), weights in seconds.

    Args:
        rate_hz: samples per second; zero if counts are not samples (weights are then counts).
    """
    index: dict[str, int] = {}
    threads: dict[str, tuple[list[list[int]], list[float]]] = {}
    for stack, count in stacks:
        samples, weights = threads.setdefault(stack[0], ([], []))
        samples.append([index.setdefault(frame, len(index)) for frame in stack[1:]])
        weights.append(count / rate_hz if rate_hz else count)
    profiles = [
        {
            "type": "sampled",
            "name": thread,
            "unit": "seconds" if rate_hz else "none",
            "startValue": 0,
            "endValue": sum(weights),
            "samples": samples,
            "weights": weights,
        }
        for thread, (samples, weights) in sorted(
            threads.items(), key=lambda item: item[0] != CALLING_THREAD
        )
    ]
    document = {
        "$schema": SPEEDSCOPE_SCHEMA,
        "exporter": f"perfkit {__version__}",
        "name": name,
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": frame} for frame in index]},
        "profiles": profiles,
    }
    return json.dumps(document, ensure_ascii=False) + "\n"


def stacks_csv(stacks: Sequence[tuple[Sequence[str], int]]) -> str:
    """CSV with `thread,stack,samples`; frames are joined by `;`."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(("thread", "stack", "samples"))
    writer.writerows((stack[0], ";".join(stack[1:]), count) for stack, count in stacks)
    return sink.getvalue()

"""How long one call keeps other Python threads from running: a workload that runs in the worker.

Needs the standard library alone, like the worker that loads it; the real call is named by an
environment variable. It stands in the place of a workload's `inner_timer`, and hands back the
seconds of the call in which a second thread, which only counts, did not get on.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
import time
from typing import Any

CALL_VARIABLE = "PERFKIT_GIL_PROBE_CALL"
SWITCH_S = 5e-5  # hand-overs must be short beside the call
RATE_S = 0.05  # for how long the counting alone is timed


class _Counter:
    """A thread that counts, and how fast it does so when nobody else wants to run."""

    def __init__(self) -> None:
        self.count = 0
        sys.setswitchinterval(SWITCH_S)
        threading.Thread(target=self._run, daemon=True).start()
        begin, before = time.perf_counter(), self.count
        time.sleep(RATE_S)
        self.rate = (self.count - before) / (time.perf_counter() - begin)

    def _run(self) -> None:
        while True:
            self.count += 1


def _load() -> Any:  # noqa: ANN401  # any callable
    """The real call: `module:function` or `file.py:function`."""
    place, _, function = os.environ[CALL_VARIABLE].rpartition(":")
    if not place.endswith(".py"):
        return getattr(importlib.import_module(place), function)
    spec = importlib.util.spec_from_file_location("perfkit_probed", place)
    if spec is None or spec.loader is None:
        message = f"{place} cannot be loaded"
        raise ImportError(message)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, function)


_STATE: dict[str, Any] = {}


def held(*arguments: Any, **keywords: Any) -> tuple[None, float]:  # noqa: ANN401
    """Call once; seconds of the call in which the other thread did not run."""
    if not _STATE:
        _STATE["call"] = _load()
        _STATE["counter"] = _Counter()
    call, counter = _STATE["call"], _STATE["counter"]
    before, begin = counter.count, time.perf_counter()
    call(*arguments, **keywords)
    seconds = time.perf_counter() - begin
    ran = (counter.count - before) / counter.rate
    return None, seconds - ran

"""How long one call keeps other Python threads from running: a workload that runs in the worker.

Needs the standard library alone, like the worker that loads it; the real call is named by an
environment variable. It takes the place of a workload's `inner_timer`, and returns the longest time
within the call in which a second thread, which only reads the clock, did not run.
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
PAUSE_S = 2e-5  # until the watcher has run once after the call


class _Watcher:
    """A thread that reads the clock all the time: the longest gap is how long it could not run."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.turns = 0
        sys.setswitchinterval(SWITCH_S)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        last = time.perf_counter()
        while True:
            now = time.perf_counter()
            self.longest = max(self.longest, now - last)
            last = now
            self.turns += 1

    def settle(self) -> None:
        """Let it run, so that the gap behind it is known."""
        before = self.turns
        while self.turns < before + 2:
            time.sleep(PAUSE_S)


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
    """Call once; the longest time within the call in which the other thread could not run."""
    if not _STATE:
        _STATE["call"] = _load()
        _STATE["watcher"] = _Watcher()
    call, watcher = _STATE["call"], _STATE["watcher"]
    watcher.settle()
    watcher.longest = 0.0
    begin = time.perf_counter()
    call(*arguments, **keywords)
    seconds = time.perf_counter() - begin
    watcher.settle()
    return None, min(watcher.longest, seconds)

"""Unit tests cannot start a process or wait on a clock: trying to is a failure."""

from __future__ import annotations

import os
import subprocess
import time
from typing import NoReturn

import pytest


@pytest.fixture(autouse=True)
def no_outside_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make starting a process and sleeping raise."""

    def refuse_process(*args: object, **_: object) -> NoReturn:
        message = f"a unit test started a process: {args[1] if len(args) > 1 else args}"
        raise AssertionError(message)

    def refuse_sleep(seconds: float) -> NoReturn:
        message = f"a unit test slept for {seconds} s"
        raise AssertionError(message)

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse_process)
    monkeypatch.setattr(os, "system", refuse_process)
    monkeypatch.setattr(time, "sleep", refuse_sleep)

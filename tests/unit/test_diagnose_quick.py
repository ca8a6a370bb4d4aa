"""What `perfkit diagnose --quick` leaves out, and what it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.config import load_project
from perfkit.diagnose.times import quick_project

if TYPE_CHECKING:
    from pathlib import Path


def test_quick_is_less_exact_but_leaves_long_calls_their_time(repository: Path) -> None:
    project = load_project(start=repository, environ={})
    quick = quick_project(project)
    full, short = project.config.measure, quick.config.measure
    assert short.time_limit_s == full.time_limit_s
    assert short.width > full.width
    assert short.min_blocks < full.min_blocks
    assert quick.config.profiling.duration_s < project.config.profiling.duration_s
    assert quick.config.workloads == project.config.workloads

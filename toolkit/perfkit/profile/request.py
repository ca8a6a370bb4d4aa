"""What is asked of a profiler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.records import Capture
from perfkit.units import format_count

if TYPE_CHECKING:
    from perfkit.config import Profiling
    from perfkit.store import Run
    from perfkit.subject.job import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a profiler looks at.

    Attributes:
        workload: its name; of something else than a workload, its command.
        stem: what its files are named after, such as `histogram-10k`.
        title: of its flame graph.
    """

    workload: str
    size: int | None
    stem: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRequest:
    """One workload at one size to profile.

    Attributes:
        job: of the profiling build; for perf and py-spy the process that runs it is verified.
        rate_hz: samples per second that the user asked for.
        duration_s: seconds under the profiler.
        python_frames: whether perf's stacks should have Python's functions. That takes a second
            recording, and pairs of processes that show what it costs.
        seed: of the inputs.
    """

    job: Job
    size: int
    rate_hz: float
    duration_s: float
    python_frames: bool = False
    seed: int = 0

    @property
    def run(self) -> Run:
        """Where the files go."""
        return self.job.run

    @property
    def settings(self) -> Profiling:
        """The config's limits."""
        return self.job.project.config.profiling

    @property
    def sight(self) -> Sight:
        """The workload, with the name of its files."""
        name = self.job.name
        return Sight(
            workload=name,
            size=self.size,
            stem=f"{name}-{format_count(self.size)}",
            title=f"{name}, n = {self.size:_}",
        )


Profiler = Callable[[CaptureRequest], Capture]
"""Profiles a workload; raw output is on disk before it is read. It raises a `PerfkitError` if there
is no capture. What is doubtful about a capture is in its `doubts`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileOptions:
    """What the command line asks for; None if the config decides."""

    workload: str | None = None
    sizes: Sequence[int] | None = None
    profilers: tuple[str, ...] | None = None
    rate_hz: float | None = None
    duration_s: float | None = None
    exports: tuple[str, ...] = ()

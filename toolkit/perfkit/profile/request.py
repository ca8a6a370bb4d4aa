"""What is asked of a profiler, and the protocol every one of them keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from perfkit.config import Project, Workload
    from perfkit.records import Build, Capture, Check
    from perfkit.store import Run
    from perfkit.subject.builder import Builder
    from perfkit.subject.parameters import Assignment

Progress = "Callable[[str, float | None], None]"


def quiet(_message: str, _fraction: float | None) -> None:
    """The progress callback of whoever has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRequest:
    """One workload at one size, to be looked at.

    Attributes:
        build: the profiling build; for perf and py-spy the process that runs it is proved.
        builder: makes the criterion bench for `cargo-flamegraph`; None where there is none.
        rate_hz: samples per second that the user asked for.
        duration_s: seconds under the profiler.
        assignment: parameter values handed over at run time.
        threads: size of the subject's thread pools; the config's when None.
        python_frames: whether Python's functions are wanted in perf's stacks, at the price of a
            second recording and pairs of processes that tell what they cost.
        label: what names this capture's files, such as `histogram-10000`.
    """

    project: Project
    build: Build
    name: str
    workload: Workload
    size: int
    rate_hz: float
    duration_s: float
    label: str
    builder: Builder | None = None
    assignment: Assignment | None = None
    threads: int | None = None
    python_frames: bool = False
    seed: int = 0
    progress: Callable[[str, float | None], None] = quiet

    @property
    def title(self) -> str:
        """What stands above a picture of it."""
        return f"{self.name}, n = {self.size:_}"


class Profiler(Protocol):
    """A source of stacks or counts."""

    @property
    def name(self) -> str:
        """What `--profiler` calls it."""
        ...

    def probe(self, environ: Mapping[str, str]) -> Check:
        """Whether it is installed and permitted, and the line that fixes it where not."""
        ...

    def capture(self, request: CaptureRequest, run: Run) -> Capture:
        """Profile the workload; raw output is on disk before it is read.

        Raises:
            PerfkitError: there is no capture; a capture that cannot be believed is returned, not
            accepted, with its reason.
        """
        ...

"""What is asked of a profiler, and the protocol every one of them keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.records import Capture, Check
    from perfkit.subject.job import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRequest:
    """One workload at one size, to be looked at.

    Attributes:
        job: of the profiling build; for perf and py-spy the process that runs it is proved.
        rate_hz: samples per second that the user asked for.
        duration_s: seconds under the profiler.
        python_frames: whether Python's functions are wanted in perf's stacks, at the price of a
            second recording and pairs of processes that tell what they cost.
        seed: of the inputs.
    """

    job: Job
    size: int
    rate_hz: float
    duration_s: float
    python_frames: bool = False
    seed: int = 0

    @property
    def label(self) -> str:
        """What names this capture's files, such as `histogram-10k`."""
        return f"{self.job.name}-{format_count(self.size)}"

    @property
    def title(self) -> str:
        """What stands above a picture of it."""
        return f"{self.job.name}, n = {self.size:_}"


class Profiler(Protocol):
    """A source of stacks or counts."""

    @property
    def name(self) -> str:
        """What `--profiler` calls it."""
        ...

    def probe(self, environ: Mapping[str, str]) -> Check:
        """Whether it is installed and permitted, and the line that fixes it where not."""
        ...

    def capture(self, request: CaptureRequest) -> Capture:
        """Profile the workload; raw output is on disk before it is read.

        Raises:
            PerfkitError: there is no capture; a capture that cannot be believed is returned, not
            accepted, with its reason.
        """
        ...

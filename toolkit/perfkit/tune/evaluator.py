"""What the loop needs to build and measure candidates: the protocol and its records.

`live.py` does it for real; tests do it from a recorded table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from perfkit.errors import (
    BuildError,
    NoVerdictError,
    PermissionRefusedError,
    ToolError,
    ToolMissingError,
    WorkerError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.records import MeasureReport, ModuleFile, Note, ParameterProof, Value


NOT_PROFILED = (
    BuildError,
    NoVerdictError,
    PermissionRefusedError,
    ToolError,
    ToolMissingError,
    WorkerError,
)
"""Errors that keep a trial from being profiled; it still counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A candidate that is built and proved, and can be measured.

    Attributes:
        text_hash: of the machine code; None where there is no build to hash.
        signature: equal for two candidates that run the same code on the same data with the same
            values passed at run time.
        build_s: seconds spent building; zero when nothing had to be built.
        module: the extension that runs; None where nothing runs.
    """

    params: Mapping[str, Value]
    proofs: tuple[ParameterProof, ...]
    text_hash: str | None
    signature: str
    build_s: float
    module: ModuleFile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialProfile:
    """The hot frames of one profiled trial, and the files they came from."""

    rows: tuple[Mapping[str, object], ...]
    files: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()


class Evaluator(Protocol):
    """Builds and measures candidates. Builds never run while something is timed."""

    def prepare(self, params: Mapping[str, Value]) -> Prepared:
        """Build a candidate (or find it built) and prove its values.

        Raises:
            PerfkitError: it could not be built, or does not have the requested values.
        """
        ...

    def measure(self, prepared: Prepared, *, label: str, fresh: bool) -> MeasureReport:
        """Verify the answer, then time it interleaved with the starting build and the reference.

        Args:
            label: names what the measurement leaves behind.
            fresh: with inputs that no trial has seen, as a confirmation needs.

        Returns:
            Its results, each with the change against the starting build; the noise floor is that
            of their score, the seconds are those of verifying and timing.

        Raises:
            PerfkitError: it crashed, hung, gave a wrong result, or the machine had no room.
        """
        ...

    def profile(self, prepared: Prepared, size: int, *, label: str) -> TrialProfile:
        """Profile a candidate at one size.

        Raises:
            PerfkitError: no profiler could be used.
        """
        ...

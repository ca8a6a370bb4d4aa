"""The catalogue of failures: what can go wrong, with which exit code, and what to do next.

Only `perfkit.cli.app.main` turns one of these into text and an exit code. A verdict that is not
good (a target missed, a busy machine) is not an error: it is a value in a report, and
`ExitCode` says which code it has.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the exit code of a command means (docs/reference.md)."""

    GOOD = 0
    ERROR = 1
    USAGE = 2
    GATE = 3
    NO_VERDICT = 4
    BUILD_FAILED = 5
    MISSING = 6
    INTERRUPTED = 130


class PerfkitError(Exception):
    """Base of all failures perfkit names.

    Args:
        message: what happened, in one sentence.
        where: the place (`file:line`, a command, a run directory), if there is one.
        remedy: what to do next, as a line that can be followed.
        details: the evidence, such as the tail of a tool's stderr, shown verbatim.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.ERROR

    def __init__(
        self, message: str, *, where: str = "", remedy: str = "", details: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.remedy = remedy
        self.details = details

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.message}" if self.where else self.message]
        if self.details:
            parts.append(self.details)
        if self.remedy:
            parts.append(f"To do: {self.remedy}")
        return "\n".join(parts)


class UsageError(PerfkitError):
    """The command line asks for something that does not exist or does not fit together."""

    exit_code = ExitCode.USAGE


class ConfigError(PerfkitError):
    """The configuration is missing, broken, or names something that is not there."""

    exit_code = ExitCode.USAGE


class SourceError(PerfkitError):
    """A Rust constant could not be found or edited, so a parameter would not be changed."""

    exit_code = ExitCode.USAGE


class NotRustError(SourceError):
    """A source file is not Rust, so its constants are unknown; a command that builds it raises a
    `BuildError` instead.
    """


class TreeChangedError(SourceError):
    """A source file was written while perfkit copied the tree."""


class ProjectLockedError(PerfkitError):
    """Another perfkit works on the same project."""


class StoreError(PerfkitError):
    """A run directory cannot be written, or is not one that this perfkit can read."""


class BuildError(PerfkitError):
    """The subject did not compile, or what was built is not what was asked for."""

    exit_code = ExitCode.BUILD_FAILED


class ToolMissingError(PerfkitError):
    """A program that is needed is not installed."""

    exit_code = ExitCode.MISSING


class PermissionRefusedError(PerfkitError):
    """The system refuses what a tool needs (perf events, ptrace)."""

    exit_code = ExitCode.MISSING


class ToolError(PerfkitError):
    """Base of what can go wrong with a program that did start."""


class ToolFailedError(ToolError):
    """A program ended with a code other than the ones that mean success."""


class ToolKilledError(ToolError):
    """A program was ended by a signal."""


class ToolTimedOutError(ToolError):
    """A program ran longer than it was allowed to, and was ended with all its children."""


class UnreadableOutputError(ToolError):
    """A program wrote something that perfkit does not understand."""


class WorkerError(PerfkitError):
    """The child process that runs the subject died or broke the protocol."""


class WorkloadError(PerfkitError):
    """The user's workload raised, or cannot be timed as it is."""


class SubjectMismatchError(PerfkitError):
    """The module that was loaded is not the build that was asked for."""


class WrongResultError(PerfkitError):
    """The subject and its reference disagree beyond the tolerance; timing them would compare
    nothing.
    """


class NoVerdictError(PerfkitError):
    """It was measured, but the data carries no verdict."""

    exit_code = ExitCode.NO_VERDICT


class MachineBusyError(NoVerdictError):
    """The machine was too busy to measure."""


class CaptureError(NoVerdictError):
    """A profile was taken but is of no use: empty, unreadable, or of something else."""

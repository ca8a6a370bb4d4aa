"""The files that one run of a profiler writes: what it took, and the log of what it said."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.errors import PerfkitError
from perfkit.profile import messages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from perfkit.store import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFiles:
    """Where a profiler writes."""

    profiler: str
    outputs: tuple[Path, ...]
    log: Path

    @classmethod
    def fresh(cls, profiler: str, run: Run, stem: str, *suffixes: str) -> RawFiles:
        """`raw/<stem>.<profiler>.<suffix>` for each output; removes files of an earlier try."""
        outputs = [run.path(f"raw/{stem}.{profiler}.{suffix}") for suffix in suffixes]
        found = cls(
            profiler=profiler,
            outputs=tuple(outputs),
            log=run.path(f"raw/{stem}.{profiler}.log"),
        )
        for old in (*outputs, found.log):
            old.unlink(missing_ok=True)
        return found

    @property
    def said(self) -> str:
        """What the profiler said so far."""
        return read_log(self.log)

    @property
    def by_kind(self) -> dict[str, Path]:
        """The files as a capture lists them."""
        outputs = {f"raw_{index}": path for index, path in enumerate(self.outputs, start=1)}
        return {**outputs, "log": self.log}

    @contextlib.contextmanager
    def explained(self, where: str) -> Iterator[None]:
        """Around a run of the profiler: what it said explains a failure better than its effect.

        Raises:
            PerfkitError: the failure, named by the profiler's words if they are known.
        """
        try:
            yield
        except PerfkitError as error:
            said = self.said
            if messages.find(self.profiler, said) is None:
                raise
            raise messages.failure(self.profiler, said, where=where) from error

    def require(self, where: str) -> None:
        """Check that no output is missing or empty.

        Raises:
            PerfkitError: one is, named by the profiler's words if they are known.
        """
        if not all(is_filled(path) for path in self.outputs):
            raise messages.failure(self.profiler, self.said, where=where)


def is_filled(path: Path) -> bool:
    """Whether a file is there and not empty."""
    return path.is_file() and path.stat().st_size > 0


def read_log(log: Path) -> str:
    """The text of a log; empty if there is none."""
    return log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""

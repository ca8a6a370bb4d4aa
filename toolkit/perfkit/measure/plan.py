"""What to measure: variants, arms, plan. How to measure it is in `session.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.errors import UsageError
from perfkit.records import Pattern, Place, Role

if TYPE_CHECKING:
    from perfkit.config import Measure, Workload
    from perfkit.subject.child import Which, WorkerSpec
    from perfkit.subject.job import Job

BATCH_S = 5e-4
"""A batch lasts at least this long: a clock pair of 60 ns is then 0.01 % of it."""

BLOCK_S = 0.04
"""A block of short calls repeats its round of all arms until it is about this long."""

BLOCK_LIMIT_S = 0.1
"""A round longer than this gets a note: the two halves of a pair begin to see another machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One of the things compared, in its own worker process.

    Attributes:
        name: unique in the plan.
        which: the workload's callable that it runs.
        spec: its worker; setters and keyword arguments come with it.
        workload: name of another workload of the same inputs, whose call it runs instead.
    """

    name: str
    role: Role
    spec: WorkerSpec
    which: Which = "call"
    workload: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One variant at one size in one call pattern."""

    variant: str
    size: int
    pattern: Pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one measurement compares: the job's workload, in variants, at several sizes.

    Attributes:
        variants: the first one is the subject under question.
        patterns: hot, and idle where that is asked for.
    """

    job: Job
    sizes: tuple[int, ...]
    variants: tuple[Variant, ...]
    patterns: tuple[Pattern, ...] = (Pattern.HOT,)

    def __post_init__(self) -> None:
        names = [variant.name for variant in self.variants]
        if len(set(names)) != len(names):
            message = f"two variants have one name: {', '.join(names)}"
            raise UsageError(message)
        if not names or not self.sizes or not self.patterns:
            message = "nothing to measure: no variant, no size or no pattern"
            raise UsageError(message)

    @property
    def settings(self) -> Measure:
        """How long and how exactly."""
        return self.job.settings

    def of_role(self, role: Role) -> Variant | None:
        """The first variant of a role."""
        return next((variant for variant in self.variants if variant.role is role), None)

    def work_of(self, variant: Variant) -> tuple[str, Workload]:
        """Whose call a variant runs: name and workload."""
        if variant.workload is None:
            return self.job.name, self.job.workload
        return self.job.project.workload(variant.workload)

    def place(self, size: int, pattern: Pattern | None = None) -> Place:
        """What a note is about: the workload, the size, and the pattern where it matters."""
        return Place(workload=self.job.name, sizes=(size,), pattern=pattern)


def quick(settings: Measure) -> Measure:
    """The settings of `--quick`: a first look, in a few seconds per size."""
    return settings.model_copy(
        update={
            "width": max(settings.width, 0.03),
            "time_limit_s": min(settings.time_limit_s, 2.0),
            "min_blocks": min(settings.min_blocks, 12),
            "sessions": min(settings.sessions, 3),
            "patience_s": min(settings.patience_s, 5.0),
        }
    )

"""What is to be measured: variants, arms, plan. How it is done is in `session.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perfkit.config import Measure
from perfkit.errors import UsageError
from perfkit.records import Pattern, Role

if TYPE_CHECKING:
    from perfkit.config import Workload
    from perfkit.store import Run
    from perfkit.subject.child import Which, WorkerSpec

BATCH_S = 5e-4
"""A batch lasts at least this long: a clock pair of 60 ns is then 0.01 % of it."""

BLOCK_S = 0.04
"""A block of short calls repeats its round of all arms until it is about this long."""

BLOCK_LIMIT_S = 0.1
"""A round longer than this gets a note: the two halves of a pair begin to see another machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedWorkload:
    """A workload of the config with its name."""

    name: str
    workload: Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One of the things compared, in a worker process of its own.

    Attributes:
        name: unique in the plan.
        which: the workload's callable that it runs.
        spec: its worker; setters and keyword arguments come with it.
        workload: another workload of the same inputs, where its call takes the place of the plan's.
    """

    name: str
    role: Role
    spec: WorkerSpec
    which: Which = "call"
    workload: NamedWorkload | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One variant at one size in one call pattern."""

    variant: str
    size: int
    pattern: Pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that decides one measurement.

    Attributes:
        variants: the first one is the subject under question.
        patterns: hot, and idle where somebody asks for it.
        settings: how long and how exactly.
        threads: threads of the subject: as many cores must be free.
        seed: of the inputs and of the order of arms.
        run: where raw blocks go; nowhere when None.
        gated: whether sentinels decide which blocks count; without them nothing is claimed.
        move: begin each round on a random core, the same one for all arms.
    """

    workload_name: str
    workload: Workload
    sizes: tuple[int, ...]
    variants: tuple[Variant, ...]
    threads: int
    settings: Measure = field(default_factory=Measure)
    patterns: tuple[Pattern, ...] = (Pattern.HOT,)
    seed: int = 0
    run: Run | None = None
    gated: bool = True
    move: bool = True
    batch_s: float = BATCH_S
    block_s: float = BLOCK_S

    def __post_init__(self) -> None:
        names = [variant.name for variant in self.variants]
        if len(set(names)) != len(names):
            message = f"two variants have one name: {', '.join(names)}"
            raise UsageError(message)
        if not names or not self.sizes or not self.patterns:
            message = "nothing to measure: no variant, no size or no pattern"
            raise UsageError(message)

    def variant(self, name: str) -> Variant:
        """A variant by name.

        Raises:
            UsageError: there is none of that name.
        """
        for variant in self.variants:
            if variant.name == name:
                return variant
        message = f"there is no variant {name!r}"
        raise UsageError(message)

    def work_of(self, variant: Variant) -> NamedWorkload:
        """Whose callable a variant runs: the plan's workload, unless it has one of its own."""
        if variant.workload is not None:
            return variant.workload
        return NamedWorkload(name=self.workload_name, workload=self.workload)

    def of_role(self, role: Role) -> Variant | None:
        """The first variant of a role."""
        return next((variant for variant in self.variants if variant.role is role), None)


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

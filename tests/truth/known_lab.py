"""Plans that measure known work: a subject, its copy, an equal build, and builds that do more.

Shared by the truth tests and the table.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfkit import environment, process
from perfkit.config import Measure, Workload
from perfkit.measure.plan import Plan, Variant
from perfkit.measure.ratios import is_faster, is_slower
from perfkit.records import Role
from perfkit.store import Run
from perfkit.subject.child import WorkerSpec
from perfkit.subject.job import Job

if TYPE_CHECKING:
    from perfkit.measure.results import Point

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "target" / "truth" / "libtruth.so"
SOURCE = Path(__file__).with_name("kernel.rs")
WORKLOADS = "tests/truth/known_work.py"

SUBJECT, COPY = "subject", "copy"
TURNS = 100
"""The same as in `known_work.py`, which only workers can load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """Known work of one shape.

    Attributes:
        function: in `known_work.py`.
        units: of work per thread and turn; enough to make the clock and Python's call into the
            library negligible.
        limit_s: the time within which two percent must be found, for subject, copy and one other.
    """

    name: str
    function: str
    units: int
    limit_s: float


KERNELS = {
    "sequential": Kernel(name="sequential", function="sequential", units=5_000, limit_s=2.0),
    "two_threads": Kernel(name="two_threads", function="two_threads", units=35_000, limit_s=5.0),
}


def build_library(environ: dict[str, str]) -> Path:
    """Compile the known work, if it is missing or older than its source."""
    if not LIBRARY.is_file() or LIBRARY.stat().st_mtime < SOURCE.stat().st_mtime:
        LIBRARY.parent.mkdir(parents=True, exist_ok=True)
        rustc = process.require_program("rustc", environ)
        fresh = LIBRARY.with_suffix(f".{os.getpid()}")
        words = ["--edition", "2024", "-O", "--crate-type", "cdylib", "-o"]
        process.run([rustc, *words, fresh, SOURCE], env=environ)
        fresh.replace(LIBRARY)
    return LIBRARY


def library_of(name: str) -> Path:
    """A variant's own byte copy of the library, at its own path, as for builds."""
    own = LIBRARY.with_name(f"{name}-{LIBRARY.name}")
    if not own.is_file() or not filecmp.cmp(own, LIBRARY, shallow=False):
        fresh = own.with_suffix(f".{os.getpid()}")
        shutil.copyfile(LIBRARY, fresh)
        fresh.replace(own)
    return own


def spec(name: str = SUBJECT, extra: float = 0.0) -> WorkerSpec:
    """The worker of a variant that does the fraction `extra` more than the known work."""
    variables = environment.base_environment(
        os.environ,
        extra={"PYTHONHASHSEED": "0", "PERFKIT_TRUTH_LIBRARY": str(library_of(name))},
    )
    return WorkerSpec(
        python=Path(sys.executable),
        environment=variables,
        cwd=ROOT,
        arguments={"turns": round(TURNS * (1 + extra))},
    )


def workload(kernel: Kernel) -> Workload:
    """The kernel as a workload."""
    return Workload(
        call=f"{WORKLOADS}:{kernel.function}",
        setup=f"{WORKLOADS}:setup",
        sizes=(kernel.units,),
    )


class Change(StrEnum):
    """What may be said about one variant against another."""

    FASTER = "faster"
    SLOWER = "slower"
    NONE = "no difference detectable"


class Nowhere(Run):
    """A run that keeps nothing."""

    def append(self, name: str | Path, value: object) -> None:
        """See `Run`."""


def plan(
    kernel: Kernel, others: dict[str, float], *, seed: int, gated: bool = True, **settings: float
) -> Plan:
    """Subject, copy, and others that do a known fraction more work."""
    variants = [
        Variant(name=SUBJECT, role=Role.SUBJECT, spec=spec()),
        Variant(name=COPY, role=Role.COPY, spec=spec(COPY)),
    ]
    variants += [
        Variant(name=name, role=Role.BASELINE, spec=spec(name, extra))
        for name, extra in others.items()
    ]
    nothing: Any = None  # no build and no project: each variant has its library
    job = Job(
        project=nothing,
        name=kernel.name,
        workload=workload(kernel),
        builder=nothing,
        build=nothing,
        run=Nowhere(directory=ROOT),
        threads=environment.worker_threads(0),
        settings=Measure().model_copy(update={"patience_s": 0.0, **settings}),
        seed=seed,
        gated=gated,
    )
    return Plan(job=job, sizes=(kernel.units,), variants=tuple(variants))


def called(point: Point, one: str, other: str, floor: float) -> Change:
    """What may be said about one variant against another."""
    ratio = point.ratio(one, other)
    if is_faster(ratio, floor):
        return Change.FASTER
    return Change.SLOWER if is_slower(ratio, floor) else Change.NONE

"""The same sources with LTO and one codegen unit, timed against the build as it is.

What this means for the project's profile is up to the rule in `rules.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.checks.audit import subject_line
from perfkit.diagnose.observed import Flags
from perfkit.diagnose.times import brief
from perfkit.errors import BuildError
from perfkit.measure.plan import Variant
from perfkit.measure.session import measure
from perfkit.measure.variants import COPY, SUBJECT
from perfkit.records import MeasureVerdict, Role

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.subject.job import Job
    from perfkit.subject.rustc import RustcLine

WITH_FLAGS = "with_flags"
LIMIT_S = 6.0
WIDTH = 0.01


def missing(line: RustcLine) -> dict[str, str]:
    """The settings of a cargo profile that this compilation went without, as TOML."""
    wanted = {}
    if line.lto == "off":
        wanted["lto"] = '"thin"'
    if line.codegen_units != 1:
        wanted["codegen-units"] = "1"
    return wanted


def measure_flags(
    job: Job, sizes: Sequence[int], settings: Mapping[str, str]
) -> Mapping[int, Flags]:
    """Build with these settings and time both builds, and a copy of the first, in turn.

    Returns:
        Nothing where the machine was busy, or both builds have the same machine code.

    Raises:
        BuildError: it does not compile with them, or they did not reach rustc.
    """
    job.tell(f"building with {named(settings)}")
    build = job.builder.build(codegen=settings)
    line = subject_line(build.rustc, build.module)
    if line is None or missing(line):
        message = f"{named(settings)} did not reach the compiler"
        raise BuildError(
            message, remedy="check what overrides the profile in the cargo configuration"
        )
    if build.text_sha256 == job.build.text_sha256:
        return {}
    copy = job.builder.copy(job.build)
    arms = (
        (SUBJECT, Role.SUBJECT, job.build),
        (WITH_FLAGS, Role.SUBJECT, build),
        (COPY, Role.COPY, copy),
    )
    variants = [Variant(name=name, role=role, spec=job.spec(own)) for name, role, own in arms]
    found = measure(brief(job, limit_s=LIMIT_S, width=WIDTH, blocks=20), sizes, variants)
    if found.report.verdict is not MeasureVerdict.OK and job.gated:
        return {}
    return {
        size: Flags(
            settings=named(settings),
            gain=found.at(size).ratio(WITH_FLAGS, SUBJECT),
            noise_floor=found.at(size).noise_floor(SUBJECT, COPY),
        )
        for size in sizes
    }


def named(settings: Mapping[str, str]) -> str:
    """As they are written in Cargo.toml."""
    return " and ".join(f"{name} = {value}" for name, value in settings.items())

"""The same sources with LTO and one codegen unit, timed against the build as it is.

What follows for the project's profile is said by the rule in `rules.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.checks.audit import subject_line
from perfkit.diagnose.observed import Flags
from perfkit.errors import BuildError
from perfkit.measure.plan import Variant
from perfkit.measure.session import measure
from perfkit.measure.subject import SUBJECT
from perfkit.records import MeasureVerdict, Role

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.diagnose.times import Subject
    from perfkit.subject.builder import Builder
    from perfkit.subject.rustc import RustcLine

WITH_FLAGS, COPY = "with_flags", "copy"
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
    subject: Subject, sizes: Sequence[int], builder: Builder, settings: Mapping[str, str]
) -> Mapping[int, Flags]:
    """Build with these settings and time both builds, and a copy of the first, in turn.

    Returns:
        Nothing where the machine was busy, or both builds have the same machine code.

    Raises:
        BuildError: it does not compile so, or the settings did not reach rustc.
    """
    subject.progress("building with " + named(settings), None)
    build = builder.build(codegen=settings)
    line = subject_line(build.rustc, build.module)
    if line is None or missing(line):
        message = f"the build with {named(settings)} was not compiled so"
        raise BuildError(message, remedy="see what in the cargo configuration wins over a profile")
    if build.text_sha256 == subject.build.text_sha256:
        return {}
    specs = {SUBJECT: subject.spec(), WITH_FLAGS: subject.spec(build)}
    variants = [Variant(name=name, role=Role.SUBJECT, spec=spec) for name, spec in specs.items()]
    if subject.copy is not None:
        variants.append(Variant(name=COPY, role=Role.COPY, spec=subject.spec(subject.copy)))
    plan = subject.plan(sizes, variants, limit_s=LIMIT_S, width=WIDTH, blocks=20)
    found = measure(plan, progress=subject.progress)
    if found.verdict is not MeasureVerdict.OK and subject.gated:
        return {}
    return {
        size: Flags(
            settings=named(settings),
            gain=found.at(size).ratio(WITH_FLAGS, SUBJECT),
            noise_floor=found.at(size).noise_floor(SUBJECT, COPY) if subject.copy else 0.0,
        )
        for size in sizes
    }


def named(settings: Mapping[str, str]) -> str:
    """As they are written in Cargo.toml."""
    return " and ".join(f"{name} = {value}" for name, value in settings.items())

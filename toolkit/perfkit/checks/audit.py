"""What a build really is, from the rustc lines that made it and from the binary; Cargo.toml is not
asked, because it does not tell.

Pure functions. Whether a flag would gain anything is not known here: that takes a measurement.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from perfkit.environment import THREAD_VARIABLES
from perfkit.records import Check
from perfkit.subject.rustc import parse_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from perfkit.records import Build
    from perfkit.subject.rustc import RustcLine

_OPTIMISED = ("2", "3")
_MEASURED = "`perfkit diagnose --verify` measures what both gain"


def subject_line(lines: Sequence[str], module: str) -> RustcLine | None:
    """The line that made the extension: the cdylib, and of several the one of the module's name."""
    parsed = [parse_line(line) for line in lines]
    libraries = [line for line in parsed if "cdylib" in line.crate_types]
    name = module.rpartition(".")[2]
    named = [line for line in libraries if line.crate == name]
    found = named or libraries
    return found[-1] if found else None


CODE_OPTIONS = (
    "opt-level",
    "lto",
    "linker-plugin-lto",
    "codegen-units",
    "target-cpu",
    "target-feature",
    "debug-assertions",
    "overflow-checks",
    "panic",
    "profile-use",
    "inline-threshold",
    "no-vectorize-loops",
    "no-vectorize-slp",
)
"""Options that change the machine code of a crate itself."""


def different_flags(first: RustcLine, second: RustcLine) -> tuple[str, ...]:
    """Options that change the code and are not the same, as `option: first | second`."""
    return tuple(
        f"{name}: {first.codegen.get(name, 'default')} | {second.codegen.get(name, 'default')}"
        for name in CODE_OPTIONS
        if first.codegen.get(name) != second.codegen.get(name)
    )


def bench_flags(bench: Sequence[str], build: Sequence[str], module: str) -> tuple[str, ...]:
    """In which flags a bench's copies of the subject's crates differ from the extension's.

    Every crate that both compile is compared. LTO happens where a program is linked: a library
    inside a bench carries no `lto`, and the one on the bench's line, which is the last,
    holds for all of it.

    Args:
        bench: rustc lines of the bench's build.
        build: of the extension's.
    """
    extension = subject_line(build, module)
    if extension is None:
        return ("the extension's own flags are not known",)
    ours = _libraries([parse_line(text) for text in build])
    parsed = [parse_line(text) for text in bench]
    theirs = _libraries(parsed)
    common = sorted(set(ours) & set(theirs))
    if not common:
        return (f"the bench compiles none of: {', '.join(sorted(ours))}",)
    found: dict[str, None] = {}
    for crate in common:
        one = _linked(ours[crate], extension.lto)
        other = _linked(theirs[crate], parsed[-1].lto)
        found.update(dict.fromkeys(different_flags(one, other)))
    return tuple(found)


def _libraries(lines: Sequence[RustcLine]) -> dict[str, RustcLine]:
    """The line of each crate; of one compiled as an extension and as a library, the library's."""
    found: dict[str, RustcLine] = {}
    for line in lines:
        if line.crate.startswith("build_script_"):
            continue
        if line.crate not in found or {"rlib", "lib"} & set(line.crate_types):
            found[line.crate] = line
    return found


def _linked(line: RustcLine, lto: str) -> RustcLine:
    """A line with the LTO of the program that it ends up in."""
    codegen = {name: value for name, value in line.codegen.items() if name != "linker-plugin-lto"}
    return replace(line, codegen={**codegen, "lto": lto})


@dataclass(frozen=True, slots=True, kw_only=True)
class BinaryFacts:
    """What the file itself says."""

    stripped: bool
    debug_info: bool


def audit(
    build: Build,
    binary: BinaryFacts | None = None,
    *,
    threads: Mapping[str, str] | None = None,
    quota_cores: float | None = None,
) -> tuple[Check, ...]:
    """The build audit.

    Args:
        build: what was built; one that was only unpacked from a wheel has no rustc lines.
        binary: None where the file could not be read.
        threads: the variables that size thread pools, as the worker gets them.
        quota_cores: cores that the control group allows; None without a quota.
    """
    line = subject_line(build.rustc, build.module)
    if line is None:
        unknown = "not known: the extension was not built here, so there are no rustc lines"
        checks = [stated("build.flags", unknown, ok=False, remedy="build it from its sources")]
    else:
        checks = [*_optimisation(line), *_codegen(line)]
    if binary is not None:
        checks += _symbols(binary)
    abi3 = ".abi3." in build.module_file.name
    found = "abi3: one wheel for many Pythons" if abi3 else "for one version of Python only"
    checks.append(stated("build.abi3", found))
    if threads:
        checks.append(stated("build.threads", f"threads under perfkit: {_pools(threads)}"))
    quota = "no quota" if quota_cores is None else f"{quota_cores:g} cores"
    checks.append(stated("build.quota", f"CPU quota of the control group: {quota}"))
    return tuple(checks)


def stated(
    identifier: str, found: str, *, ok: bool = True, remedy: str = "", required: bool = False
) -> Check:
    """One line of a report: what is so, and the remedy if something is to be done."""
    return Check(id=identifier, ok=ok, required=required, found=found, remedy="" if ok else remedy)


def _pools(variables: Mapping[str, str]) -> str:
    """The pools by their number of threads: usually all have the same."""
    by_count: dict[str, list[str]] = {}
    for name in THREAD_VARIABLES:
        if name in variables:
            by_count.setdefault(variables[name], []).append(name.partition("_")[0].lower())
    return "; ".join(f"{count} for {', '.join(names)}" for count, names in by_count.items())


def _optimisation(line: RustcLine) -> Iterator[Check]:
    yield stated(
        "build.optimised",
        f"opt-level {line.opt_level}",
        ok=line.opt_level in _OPTIMISED,
        remedy="build with --release; look for `opt-level` in [profile.release] and for "
        "`profile` in [tool.maturin]",
    )
    if line.debug_assertions:
        remedy = "remove `debug-assertions = true` from the profile"
        found = "debug assertions are compiled in"
        yield stated("build.debug_assertions", found, ok=False, remedy=remedy)
    elif line.overflow_checks:
        remedy = "remove `overflow-checks = true` from the profile, or measure without it"
        found = "overflow checks are compiled in"
        yield stated("build.overflow_checks", found, ok=False, remedy=remedy)


def _codegen(line: RustcLine) -> Iterator[Check]:
    remedy = f'try `lto = "thin"` in [profile.release]; {_MEASURED}'
    yield stated("build.lto", f"LTO {line.lto}", ok=line.lto != "off", remedy=remedy)
    units = line.codegen_units
    found = f"{units} codegen unit{'s' if units > 1 else ''}"
    remedy = f"try `codegen-units = 1` in [profile.release]; {_MEASURED}"
    yield stated("build.codegen_units", found, ok=units == 1, remedy=remedy)
    cpu = line.codegen.get("target-cpu")
    found = f"target-cpu {cpu}" if cpu else "the baseline of the target, which every machine has"
    yield stated("build.target_cpu", found)
    yield stated("build.panic", f"panic = {line.codegen.get('panic', 'unwind')}")
    frames = line.is_on("force-frame-pointers")
    pointers = "are kept" if frames else "are not kept: perf unwinds by DWARF"
    yield stated("build.frame_pointers", f"frame pointers {pointers}")


def _symbols(binary: BinaryFacts) -> Iterator[Check]:
    stripped = "stripped: profiles name exported functions only"
    found = stripped if binary.stripped else "symbols are present"
    remedy = "perfkit's profiling build keeps them; `strip = false` does so for others"
    yield stated("build.symbols", found, ok=not binary.stripped, remedy=remedy)
    lines = "are present" if binary.debug_info else "are missing: frames have no file and line"
    yield stated("build.debug_info", f"debug info: line tables {lines}")

"""What a build really is, from the rustc lines that made it and from the binary; Cargo.toml is not
asked, because it does not tell.

Pure functions. Whether a flag would gain anything is not known here: that takes a measurement.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from perfkit.environment import THREAD_VARIABLES
from perfkit.records import Check

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.records import Build

POOL_NAMES = {name: name.partition("_")[0].lower() for name in THREAD_VARIABLES}
DEFAULT_CODEGEN_UNITS = 16
"""What rustc uses without `-C codegen-units` when it does not compile incrementally."""
_OPTIMISED = ("2", "3")
_MEASURED = "`perfkit diagnose --verify` measures what both gain"


@dataclass(frozen=True, slots=True, kw_only=True)
class RustcLine:
    """One compilation of a crate, as its command line says.

    Attributes:
        codegen: the `-C` options; an option without value holds `yes`, the last one counts.
        features: cargo features that were on.
    """

    crate: str
    crate_types: tuple[str, ...]
    codegen: Mapping[str, str]
    features: tuple[str, ...]

    @property
    def opt_level(self) -> str:
        """rustc's own default is 0; `-O` is 3."""
        return self.codegen.get("opt-level", "0")

    @property
    def debug_assertions(self) -> bool:
        """On by default exactly where nothing is optimised."""
        value = self.codegen.get("debug-assertions")
        return self.opt_level == "0" if value is None else _is_on(value)

    @property
    def overflow_checks(self) -> bool:
        """Follow the debug assertions where they are not set."""
        value = self.codegen.get("overflow-checks")
        return self.debug_assertions if value is None else _is_on(value)

    @property
    def lto(self) -> str:
        """`off`, `thin`, `fat`; `plugin` for LTO by the linker."""
        value = self.codegen.get("lto")
        if value in {"thin", "fat"}:
            return value
        if value is not None and _is_on(value):
            return "fat"
        if _is_on(self.codegen.get("linker-plugin-lto", "no")):
            return "plugin"
        return "off"

    @property
    def codegen_units(self) -> int:
        """Pieces that the crate is compiled in; fewer let more be inlined."""
        return int(self.codegen.get("codegen-units", str(DEFAULT_CODEGEN_UNITS)))


def _is_on(value: str) -> bool:
    return value in {"yes", "y", "on", "true"}


def parse_rustc(line: str) -> RustcLine:
    """Read one command line.

    A line as cargo runs it:

        rustc --crate-name kernel --edition=2024 src/lib.rs --crate-type cdylib --emit=dep-info,link
        -C opt-level=3 -Ccodegen-units=1 -C lto=thin --cfg 'feature="python"' …

    Raises:
        ValueError: it names no crate, so it is no line of cargo's.
    """
    words = shlex.split(line)
    crate = ""
    crate_types: list[str] = []
    codegen: dict[str, str] = {}
    features: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        following = words[position + 1] if position + 1 < len(words) else ""
        name, _, inline = word.partition("=")
        value = inline or following
        position += 1
        if word == "-O":
            codegen["opt-level"] = "3"
        elif word == "-g":
            codegen["debuginfo"] = "2"
        elif word in {"-C", "--codegen"}:
            _set(codegen, following)
            position += 1
        elif word.startswith("-C"):
            _set(codegen, word[2:])
        elif name == "--crate-name":
            crate = value
        elif name == "--crate-type":
            crate_types += value.split(",")
        elif name == "--cfg" and value.startswith("feature="):
            features.append(value.partition("=")[2].strip('"'))
    if not crate:
        message = "a rustc line names its crate by --crate-name"
        raise ValueError(message)
    return RustcLine(
        crate=crate,
        crate_types=tuple(crate_types),
        codegen=codegen,
        features=tuple(features),
    )


def _set(codegen: dict[str, str], option: str) -> None:
    name, separator, value = option.partition("=")
    codegen[name.replace("_", "-")] = value if separator else "yes"


def subject_line(lines: Sequence[str], module: str) -> RustcLine | None:
    """The line that made the extension: the cdylib, and of several the one of the module's name."""
    parsed = [parse_rustc(line) for line in lines]
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
    inside a bench carries no `lto` of its own, and the one on the bench's line, which is the last,
    holds for all of it.

    Args:
        bench: rustc lines of the bench's build.
        build: of the extension's.
    """
    extension = subject_line(build, module)
    if extension is None:
        return ("the extension's own flags are not known",)
    ours = _libraries([parse_rustc(text) for text in build])
    parsed = [parse_rustc(text) for text in bench]
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
        checks = [_check("build.flags", unknown, remedy="build it from its sources")]
    else:
        checks = [*_optimisation(line), *_codegen(line)]
    if binary is not None:
        checks += _symbols(binary)
    abi3 = ".abi3." in build.module_file.name
    found = "abi3: one wheel for many Pythons" if abi3 else "for one version of Python only"
    checks.append(_check("build.abi3", found, ok=True))
    if threads:
        checks.append(_threads(threads))
    quota = "no quota" if quota_cores is None else f"{quota_cores:g} cores"
    checks.append(_check("build.quota", f"CPU quota of the control group: {quota}", ok=True))
    return tuple(checks)


def _threads(variables: Mapping[str, str]) -> Check:
    """The pools by their number of threads: usually all have the same."""
    pools = {name: variables[name] for name in THREAD_VARIABLES if name in variables}
    by_count: dict[str, list[str]] = {}
    for name, value in pools.items():
        by_count.setdefault(value, []).append(POOL_NAMES[name])
    shown = "; ".join(f"{value} for {', '.join(names)}" for value, names in by_count.items())
    return _check("build.threads", f"threads under perfkit: {shown}", ok=True)


def _check(identifier: str, found: str, *, ok: bool = False, remedy: str = "") -> Check:
    return Check(id=identifier, ok=ok, required=False, found=found, remedy="" if ok else remedy)


def _optimisation(line: RustcLine) -> list[Check]:
    level = line.opt_level
    optimised = level in _OPTIMISED
    checks = [
        _check(
            "build.optimised",
            f"opt-level {level}",
            ok=optimised,
            remedy="build with --release; look for `opt-level` in [profile.release] and for "
            "`profile` in [tool.maturin]",
        )
    ]
    if line.debug_assertions:
        checks.append(
            _check(
                "build.debug_assertions",
                "debug assertions are compiled in",
                remedy="remove `debug-assertions = true` from the profile",
            )
        )
    if line.overflow_checks and not line.debug_assertions:
        checks.append(
            _check(
                "build.overflow_checks",
                "every addition is checked for overflow",
                remedy="remove `overflow-checks = true` from the profile, or measure without it",
            )
        )
    return checks


def _codegen(line: RustcLine) -> list[Check]:
    units = line.codegen_units
    cpu = line.codegen.get("target-cpu")
    frames = _is_on(line.codegen.get("force-frame-pointers", "no"))
    pointers = "are kept" if frames else "are not kept: perf unwinds by DWARF"
    return [
        _check(
            "build.lto",
            f"LTO {line.lto}",
            ok=line.lto != "off",
            remedy=f'try `lto = "thin"` in [profile.release]; {_MEASURED}',
        ),
        _check(
            "build.codegen_units",
            f"{units} codegen unit{'s' if units > 1 else ''}",
            ok=units == 1,
            remedy=f"try `codegen-units = 1` in [profile.release]; {_MEASURED}",
        ),
        _check(
            "build.target_cpu",
            f"target-cpu {cpu}" if cpu else "the baseline of the target, which every machine has",
            ok=True,
        ),
        _check("build.panic", f"panic = {line.codegen.get('panic', 'unwind')}", ok=True),
        _check("build.frame_pointers", f"frame pointers {pointers}", ok=True),
    ]


def _symbols(binary: BinaryFacts) -> list[Check]:
    checks = [
        _check(
            "build.symbols",
            "stripped: profiles name exported functions only"
            if binary.stripped
            else "symbols are there",
            ok=not binary.stripped,
            remedy="perfkit's profiling build keeps them; `strip = false` does so for others",
        )
    ]
    lines = "are there" if binary.debug_info else "are not there: frames have no file and line"
    checks.append(_check("build.debug_info", f"debug info: line tables {lines}", ok=True))
    return checks

"""rustc's command lines, read back from the wrapper: what each says about how a crate was compiled.

Pure but for reading the wrapper's files. Whether a line is a good one is decided in `proof.py` and
in `perfkit.checks.audit`.
"""

from __future__ import annotations

import argparse
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

DEFAULT_CODEGEN_UNITS = 16
"""What rustc uses without `-C codegen-units` when it does not compile incrementally."""

_QUESTION = "___"
"""The crate of the lines by which cargo asks rustc for its configuration."""

_ON = ("yes", "y", "on", "true")

_OPTIONS = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
_OPTIONS.add_argument("--crate-name", default="")
_OPTIONS.add_argument("--crate-type", action="append", default=[])
_OPTIONS.add_argument("--cfg", action="append", default=[])
_OPTIONS.add_argument("--out-dir", default="")
_OPTIONS.add_argument("--test", action="store_true")
_OPTIONS.add_argument("-C", "--codegen", action="append", default=[])
_OPTIONS.add_argument("-O", dest="codegen", action="append_const", const="opt-level=3")
_OPTIONS.add_argument("-g", dest="codegen", action="append_const", const="debuginfo=2")


@dataclass(frozen=True, slots=True, kw_only=True)
class RustcLine:
    """One compilation of a crate, as its command line says.

    Attributes:
        crate_types: every `--crate-type`, sorted.
        codegen: the `-C` options; an option without value holds `yes`, the last one counts.
        features: cargo features that were on.
        out_dir: where the results were put.
        is_test: compiled as a test or bench harness.
        words: the whole line.
    """

    crate: str
    crate_types: tuple[str, ...]
    codegen: Mapping[str, str]
    features: tuple[str, ...]
    out_dir: str = ""
    is_test: bool = False
    words: tuple[str, ...] = ()

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes two lines the same unit of a build, compiled again."""
        kinds = ("test",) if self.is_test else ()
        return (self.crate, *self.crate_types, self.codegen.get("metadata", ""), *kinds)

    @property
    def file_stem(self) -> str:
        """How the names of the results begin, without `lib`."""
        return self.crate + self.codegen.get("extra-filename", "")

    @property
    def opt_level(self) -> str:
        """rustc's own default is 0; `-O` is 3."""
        return self.codegen.get("opt-level", "0")

    @property
    def debug_assertions(self) -> bool:
        """On by default exactly where nothing is optimised."""
        return self.is_on("debug-assertions", default=self.opt_level == "0")

    @property
    def overflow_checks(self) -> bool:
        """The same as the debug assertions unless set."""
        return self.is_on("overflow-checks", default=self.debug_assertions)

    @property
    def lto(self) -> str:
        """`off`, `thin`, `fat`; `plugin` for LTO by the linker."""
        if self.codegen.get("lto") in {"thin", "fat"}:
            return self.codegen["lto"]
        if self.is_on("lto"):
            return "fat"
        return "plugin" if self.is_on("linker-plugin-lto") else "off"

    @property
    def codegen_units(self) -> int:
        """Pieces that the crate is compiled in; fewer let more be inlined."""
        return int(self.codegen.get("codegen-units", DEFAULT_CODEGEN_UNITS))

    def is_on(self, option: str, *, default: bool = False) -> bool:
        """Whether a `-C` switch is on."""
        value = self.codegen.get(option)
        return default if value is None else value in _ON

    @property
    def joined_words(self) -> list[str]:
        """The words, with `-C x` and `--codegen x` as `-Cx`, so that a flag is one word."""
        return re.sub(r"\0(?:-C|--codegen)\0", "\0-C", "\0".join(self.words)).split("\0")

    def show(self) -> str:
        """As a person would type it."""
        return shlex.join(self.words)


def parse_line(text: str) -> RustcLine:
    """Read a line that `RustcLine.show` printed.

    Raises:
        ValueError: as for `read_line`.
    """
    return read_line(shlex.split(text))


def read_line(words: Sequence[str]) -> RustcLine:
    """Read one command line.

    A line as cargo runs it:

        rustc --crate-name kernel --edition=2024 src/lib.rs --crate-type cdylib --emit=dep-info,link
        -C opt-level=3 -Ccodegen-units=1 -C lto=thin --cfg 'feature="python"' …

    Raises:
        ValueError: it names no crate, or ends in the middle; it compiled nothing.
    """
    try:
        found, _ = _OPTIONS.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from error
    if found.crate_name in ("", _QUESTION):
        message = "a rustc line names its crate by --crate-name"
        raise ValueError(message)
    options = (option.partition("=") for option in found.codegen)
    return RustcLine(
        crate=found.crate_name,
        crate_types=tuple(sorted(kind for kinds in found.crate_type for kind in kinds.split(","))),
        codegen={
            name.replace("_", "-"): value if equals else "yes" for name, equals, value in options
        },
        features=tuple(
            cfg.partition("=")[2].strip('"') for cfg in found.cfg if cfg.startswith("feature=")
        ),
        out_dir=found.out_dir,
        is_test=found.test,
        words=tuple(words),
    )


def newest_lines(folder: Path) -> list[RustcLine]:
    """The newest line of each crate that the wrapper recorded, oldest first.

    The files of earlier compilations and of cargo's own questions (`rustc -vV`, the crate `___`)
    are removed.
    """
    newest: dict[tuple[str, ...], tuple[Path, RustcLine]] = {}
    for file in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        try:
            line = read_line(file.read_bytes().decode("utf-8", "surrogateescape").split("\0")[:-1])
        except ValueError:
            file.unlink()
            continue
        older = newest.pop(line.identity, None)
        if older is not None:
            older[0].unlink()
        newest[line.identity] = (file, line)
    return [line for _, line in newest.values()]

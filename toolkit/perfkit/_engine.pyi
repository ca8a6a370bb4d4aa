"""The compiled core of perfkit: folded stacks, flame graphs, Rust constants, ELF facts.

Works on files and text, with the interpreter released; judges nothing. Every function raises
`EngineInputError` for input that is not what it must be, `EnginePanic` where a library inside
panics, and plain `EngineError` for an output that cannot be written. Output files appear whole or
not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, final

class EngineError(Exception):
    """The engine could not do its work."""

class EngineInputError(EngineError):
    """The input is not what it must be; the message begins with `file:line` where known.

    Attributes:
        path: the file, if the input came from one.
        line: the line in it, from 1, if the fault has one.
    """

    path: Path | None
    line: int | None

class EnginePanic(EngineError):
    """A library inside the engine panicked; the message holds the panic's own text."""

@final
class CollapseStats:
    """What `collapse_perf` found in a capture. Counts of samples, unless said otherwise.

    Attributes:
        event: the event that was counted, without modifiers; None when not read strictly.
        events: samples of every kind of event in what was selected; empty when not read strictly.
        samples: samples in the folded file: the sum of its counts.
        stacks: different stacks in the folded file.
        frames: frames of all samples together.
        unresolved_frames: those of `frames` for which no name was found.
        unresolved_leaf: samples whose innermost frame has no name.
        no_stack: samples without any frame; they are not in the folded file.
        truncated: samples cut off by the end of the text (0 or 1); not in the folded file.
        foreign: samples of other processes than the one selected.
        outside: samples of the process that lie outside all windows.
        unrooted: samples whose outermost frame is no thread's entry.
        first_pid: process of the first sample that counts.
        bytes: size of the text, in bytes.
    """

    @property
    def event(self) -> str | None: ...
    @property
    def events(self) -> dict[str, int]: ...
    @property
    def samples(self) -> int: ...
    @property
    def stacks(self) -> int: ...
    @property
    def frames(self) -> int: ...
    @property
    def unresolved_frames(self) -> int: ...
    @property
    def unresolved_leaf(self) -> int: ...
    @property
    def no_stack(self) -> int: ...
    @property
    def truncated(self) -> int: ...
    @property
    def foreign(self) -> int: ...
    @property
    def outside(self) -> int: ...
    @property
    def unrooted(self) -> int: ...
    @property
    def first_pid(self) -> int | None: ...
    @property
    def bytes(self) -> int: ...

def collapse_perf(
    script: Path,
    output: Path,
    *,
    include_tid: bool = True,
    event: str | None = None,
    strict: bool = True,
    pid: int | None = None,
    windows: Sequence[tuple[float, float]] | None = None,
    by_window: bool = False,
    chains: tuple[str, Mapping[int, Sequence[str]]] | None = None,
    roots: tuple[str, str] | None = None,
    main_tid: int | None = None,
) -> CollapseStats:
    """Collapse the text of `perf script` into a folded file.

    Counts are samples, also where the text has periods. Rust names are demangled, `;` in a name
    becomes `:`, kernel frames end in `_[k]`, addresses without a name become `[module]` or
    `[unknown]`.

    Args:
        script: text printed with `-F comm,pid,tid,time,event,ip,sym,dso`.
        output: the folded file.
        include_tid: root frames are `comm-PID/TID` instead of `comm`.
        event: the event to count; without it, a capture with several kinds is refused.
        strict: refuse what is not text of `perf script`. False hands the text to inferno as it
            is, which skips what it does not know and counts periods where there are any, and from
            which nothing can be selected.
        pid: the process to keep; all of them when None.
        windows: spans of the clock that the samples carry, seconds, in order, of which samples
            are kept; all of them when None.
        by_window: begin each stack with the number of its window, from 0, before its thread.
        chains: a module as perf prints it, and the functions inlined at addresses of it,
            innermost first: they are written above the frames at these addresses.
        roots: names of the calling thread's and of all others' root frames.
        main_tid: the calling thread; the first kept sample's process when None.
    """

def perf_places(script: Path, module: str) -> list[int]:
    """Every address in a module that a stack of `perf script`'s text holds, in order."""

def flamegraph(
    folded: Path | Sequence[Path],
    output: Path,
    *,
    title: str,
    subtitle: str | None = None,
    count_name: str = "samples",
    reverse: bool = False,
    inverted: bool = False,
    min_width: float = 0.01,
    palette: str = "hot",
) -> None:
    """Draw folded stacks (of several files: together) as an SVG flame graph.

    The same input gives the same bytes.

    Args:
        reverse: merge from the innermost frame.
        inverted: the root at the top.
        min_width: frames narrower than this percentage of the picture are left out.
        palette: one of inferno's, such as `hot`, `rust`, `python`, `aqua`.
    """

def diff_flamegraph(
    before: Path,
    after: Path,
    output: Path,
    *,
    title: str,
    subtitle: str | None = None,
    normalize: bool,
    negate: bool = False,
    count_name: str = "samples",
    inverted: bool = False,
    min_width: float = 0.01,
) -> None:
    """Draw `after` as a flame graph coloured by what changed since `before`.

    Red is more than before, blue is less. Frames that are only in `before` have no width: to see
    them, give the two files the other way round, with `negate`.

    Args:
        normalize: scale `before` to the number of samples of `after`: compares shares.
        negate: colour by `before - after`.
    """

@final
class Folded:
    """Folded stacks: equal ones are one stack; names are kept once. `len()` is their number."""

    @staticmethod
    def from_stacks(stacks: Iterable[tuple[Sequence[str], int]]) -> Folded:
        """Make a set of stacks (root first, with their counts).

        Raises:
            EngineInputError: an empty stack or name, or a control character in a name.
        """

    @property
    def total(self) -> int:
        """Sum of all counts."""

    def __len__(self) -> int: ...
    def stacks(self) -> list[tuple[tuple[str, ...], int]]:
        """All stacks, root first, with their counts, in order of first appearance."""

    def frames(self) -> list[tuple[str, int, int]]:
        """Name, self count, total count of every frame; the largest self count first.

        A frame that recurs in a stack counts once for it.
        """

    def columns(self) -> tuple[list[str], bytes, bytes, bytes]:
        """The stacks as columns, for arrays.

        Returns:
            The names; then, as little-endian bytes, for `numpy.frombuffer`: the numbers of all
            frames of all stacks in a row (`<u4`), the end of each stack in that row (`<u8`), the
            count of each stack (`<u8`).
        """

    def with_root(self, name: str) -> Folded:
        """The same stacks below one more frame."""

    def merged(self, other: Folded) -> Folded:
        """The stacks of both."""

    def write(self, path: Path) -> None:
        """Write a folded file, sorted."""

def read_folded(path: Path) -> Folded:
    """Read a folded file, strictly.

    The count is what follows the last space. A `;` inside `[T; N]` belongs to the name and is kept
    as `:`.

    Raises:
        EngineInputError: with the line that has no count, a count that is no whole number, an
            empty frame name, or is no text at all; or a differential file (two counts).
    """

def demangle(symbol: str) -> str:
    """The readable name of a Rust symbol (legacy, v0, or half demangled by perf), without hash.

    Other text comes back unchanged.
    """

@final
class ConstantSite:
    """One place where a Rust constant gets its value.

    Attributes:
        name: of the constant.
        module: modules, impl blocks and functions round it, joined by `::`; empty at the top.
        path: `module::name`.
        type: as written; empty for kind `macro`.
        value: its initialiser as written; empty for kind `macro`.
        line: of the name, from 1.
        span: first and last-plus-one byte of the initialiser in the UTF-8 text.
        kind: `macro` is a constant inside a macro call, which is seen but cannot be edited.
    """

    @property
    def name(self) -> str: ...
    @property
    def module(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def value(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def span(self) -> tuple[int, int]: ...
    @property
    def kind(self) -> Literal["const", "static", "macro"]: ...

def list_constants(source: str) -> list[ConstantSite]:
    """All constants and statics of a Rust source that have a value, in order of appearance.

    Raises:
        EngineInputError: with the line at which the text is not Rust.
    """

def replace_constant(source: str, name: str, value: str, *, line: int | None = None) -> str:
    """The source with another initialiser of one constant; all other bytes stay.

    Args:
        source: Rust source text.
        name: of the constant; `module::NAME` chooses between several.
        value: a Rust expression.
        line: chooses between several of one name.

    Returns:
        The edited text; equal to `source` when the initialiser is written so already.

    Raises:
        EngineInputError: no such constant, more than one (their lines are listed), or a value
            that is not an expression or would change more than the initialiser.
    """

def rust_sources(root: Path) -> list[Path]:
    """All `*.rs` files below a folder that git would not ignore, sorted; needs no git."""

def toml_key_lines(text: str) -> list[tuple[str, int]]:
    """Every dotted key of a TOML text with its line, from 1.

    Raises:
        EngineInputError: with the line at which the text is not TOML.
    """

def text_hash(path: Path) -> str:
    """SHA-256 of the machine code (`.text`) of an ELF file, in hexadecimal digits."""

def section_hash(path: Path, section: str) -> str:
    """SHA-256 of one section of an ELF file, in hexadecimal digits."""

def loaded_hashes(path: Path) -> tuple[str, str]:
    """SHA-256 of `.text`, and of all other loaded sections but the build id.

    A float constant or a table can change without the machine code changing.
    """

@final
class ElfInfo:
    """What the sections of a compiled extension tell.

    Whether the code keeps frame pointers is not among it: no section says so.

    Attributes:
        has_symtab: a symbol table beyond the exported names.
        has_debug_info: `.debug_info`.
        has_debug_line: `.debug_line`: addresses to source lines.
        has_eh_frame: `.eh_frame`: what unwinding without frame pointers needs.
        stripped: neither symbol table nor debug information.
        linked_by_lld: lld says so in `.comment`.
        build_id: in hexadecimal digits.
        needed: libraries that it asks the loader for.
        comments: entries of `.comment`: compilers and linker.
    """

    @property
    def has_symtab(self) -> bool: ...
    @property
    def has_debug_info(self) -> bool: ...
    @property
    def has_debug_line(self) -> bool: ...
    @property
    def has_eh_frame(self) -> bool: ...
    @property
    def stripped(self) -> bool: ...
    @property
    def linked_by_lld(self) -> bool: ...
    @property
    def build_id(self) -> str | None: ...
    @property
    def needed(self) -> list[str]: ...
    @property
    def comments(self) -> list[str]: ...

def elf_info(path: Path) -> ElfInfo:
    """Read the facts about an ELF file.

    Raises:
        EngineInputError: not an ELF file, or a damaged one.
    """

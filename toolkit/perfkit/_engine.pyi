"""The compiled core of perfkit: folded stacks, flame graphs, Rust sources, ELF facts.

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
        event: the event that was counted, without modifiers.
        events: samples of every kind of event in what was selected.
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
    def event(self) -> str: ...
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
    event: str | None = None,
    pid: int | None = None,
    windows: Sequence[tuple[float, float]] | None = None,
    by_window: bool = False,
    chains: tuple[str, Mapping[int, Sequence[str]]] | None = None,
    roots: tuple[str, str] | None = None,
    main_tid: int | None = None,
) -> CollapseStats:
    """Collapse the text of `perf script` into a folded file, strictly.

    Counts are samples, also where the text has periods. Root frames are `comm-PID/TID`. Rust names
    are demangled, `;` in a name becomes `:`, kernel frames end in `_[k]`, addresses without a name
    become `[module]` or `[unknown]`.

    Args:
        script: text printed with `-F comm,pid,tid,time,event,ip,sym,dso`.
        output: the folded file.
        event: the event to count; without it, a capture with several kinds is refused.
        pid: the process to keep; all of them when None.
        windows: spans of the clock that the samples carry, seconds, in order, of which samples
            are kept; all of them when None.
        by_window: begin each stack with the number of its window, from 0, before its thread.
        chains: a module as perf prints it, and the functions inlined at addresses of it,
            innermost first: they are written above the frames at these addresses.
        roots: names of the calling thread's and of all others' root frames.
        main_tid: the calling thread; the first kept sample's process when None.

    Raises:
        EngineInputError: with the line that is not text of `perf script`; without one, for a
            capture without samples, or with several kinds of event.
    """

def perf_places(script: Path, module: str) -> list[int]:
    """Every instruction in a module that a stack of `perf script`'s text is at, in order: the one
    sampled, and the calls of its callers.
    """

def unwind_copies(raw: Path, output: Path) -> tuple[int, int]:
    """Write the copies of registers and stacks of the worker's own sampler as `perf script`'s text.

    The event is called `thread-cpu`, addresses are places in their file. A sample after which more
    than one period had ended is written once for each of them.

    Returns:
        How many samples were written, and how many periods ended without one.

    Raises:
        EngineInputError: not what the sampler writes, or not to its end.
    """

def sampler_library() -> bytes:
    """The shared library that a worker loads to sample itself; empty where there is none for this
    system or machine.
    """

@final
class SourceFrame:
    """One function of those whose code is at an address.

    Attributes:
        function: its name as the debug information has it: bare, or mangled with its path.
        file: the source file.
        line: the line in it: of the address in the innermost function, of the call in the others.
    """

    @property
    def function(self) -> str | None: ...
    @property
    def file(self) -> str | None: ...
    @property
    def line(self) -> int | None: ...

def source_frames(module: Path, places: Sequence[int]) -> list[list[SourceFrame]] | None:
    """The functions at each of many places of a module: innermost first, the frame's own last.

    Args:
        module: an ELF file.
        places: offsets in the file, from `perf_places`. Nothing is known of one that is no code.

    Returns:
        None for a module without debug information.

    Raises:
        EngineInputError: not an ELF file, or a damaged one.
    """

def flamegraph(
    folded: Path,
    output: Path,
    *,
    title: str,
    subtitle: str | None = None,
    count_name: str = "samples",
    min_width: float = 0.01,
) -> None:
    """Draw folded stacks as an SVG flame graph. The same input gives the same bytes.

    Args:
        min_width: frames narrower than this percentage of the picture are left out.
    """

def diff_flamegraph(
    before: Path,
    after: Path,
    output: Path,
    *,
    title: str,
    subtitle: str | None = None,
    normalize: bool,
    count_name: str = "samples",
) -> None:
    """Draw `after` as a flame graph coloured by what changed since `before`.

    Red is more than before, blue is less. Frames that are only in `before` have no width.

    Args:
        normalize: scale `before` to the number of samples of `after`: compares shares.
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
        path: the name after modules, impl blocks and functions round it, joined by `::`.
        type: as written; empty for kind `macro`.
        value: its initialiser as written; empty for kind `macro`.
        line: of the name, from 1.
        span: first and last-plus-one byte of the initialiser in the UTF-8 text.
        kind: `macro` is a constant inside a macro call, which is seen but cannot be edited.
    """

    @property
    def name(self) -> str: ...
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
        EngineInputError: with the line at which the text is not Rust, or nests too deep.
    """

def literal(text: str) -> bool | int | float | None:
    """The value of one Rust literal of a number or a truth value; None for any other text."""

def evaluate(expression: str, source: str) -> int | None:
    """What whole-number arithmetic over the constants of a source comes to.

    Returns:
        None for any other expression, and where a step is negative or beyond 64 bits.

    Raises:
        EngineInputError: with the line at which the source is not Rust, or nests too deep.
    """

def cfg_holds(expression: str, facts: Sequence[str]) -> bool:
    """Whether cargo's `cfg(...)` holds where `rustc --print cfg` prints these lines.

    Raises:
        EngineInputError: it is not such an expression.
    """

def replace_constant(source: str, name: str, value: str) -> str:
    """The source with another initialiser of one constant; all other bytes stay.

    Args:
        source: Rust source text.
        name: of the constant; `module::NAME` chooses between several.
        value: a Rust expression.

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
        stripped: neither symbol table nor debug information.
    """

    @property
    def has_symtab(self) -> bool: ...
    @property
    def has_debug_info(self) -> bool: ...
    @property
    def has_debug_line(self) -> bool: ...
    @property
    def stripped(self) -> bool: ...

def elf_info(path: Path) -> ElfInfo:
    """Read the facts about an ELF file.

    Raises:
        EngineInputError: not an ELF file, or a damaged one.
    """

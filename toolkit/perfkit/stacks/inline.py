"""Inlined functions of the subject's own module: one address to the chain of functions whose code
is there, by `addr2line`, with the crate each of them comes from.

With line tables alone an inlined function has a bare name (`extract<f64>`), so its crate is read
from its source file. Where a binding's code is inlined into the user's function, or the user's into
a pool's, the leaf's layer is right only this way.

    0x0000000000039820
    from_owned_ptr
    /home/u/.cargo/registry/src/index-1949/pyo3-0.30.1/src/instance.rs:348
    build_info
    /home/u/project/src/python.rs:260
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit import process
from perfkit.errors import UnreadableOutputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

PROGRAM = "addr2line"
_REGISTRY = re.compile(r"/(?:registry/src/[^/]+|git/checkouts/[^/]+/[^/]+)/(?P<rest>.+)$")
_CRATE = re.compile(r"^(?P<name>[A-Za-z_][\w-]*?)-\d+\.\d+[^/]*/src/(?P<path>.*)\.rs$")
_STANDARD = re.compile(
    r"/(?:library|lib/rustlib/src/rust/library)/(?P<name>\w+)/src/(?P<path>.*)\.rs$"
)
_GENERICS = re.compile(r"<[^<>]*>")
_MANGLED = re.compile(r"^_(ZN|R)\w")
INLINED = "{inlined}"
_TIMEOUT_S = 120.0
_PT_LOAD = 1
_EXECUTABLE = 1
_ELF64 = b"\x7fELF\x02\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """An executable segment: where it is in the file, and at which address."""

    offset: int
    address: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inlined:
    """The chains of one module by file offset, innermost function first, without the frame's own
    name, which perf tells.
    """

    module: str
    chains: Mapping[int, tuple[str, ...]]


def resolve(
    module: Path, offsets: Iterable[int], *, crate: str, environ: Mapping[str, str]
) -> Inlined | None:
    """Ask `addr2line` for the chain at each address.

    The outermost function of a chain is the frame's own symbol, which perf names in full; it is
    left out here.

    Args:
        module: the extension as it was loaded.
        offsets: places in the file, as perf prints them.
        crate: the subject's crate, for source files of its own tree.

    Returns:
        None where there is no addr2line: stacks are then read as perf gave them.

    Raises:
        UnreadableOutputError: its answer does not fit the question.
    """
    program = process.find_program(PROGRAM, environ)
    if program is None:
        return None
    segments = executable_segments(module.read_bytes()[:65_536])
    asked = {}
    for offset in sorted(set(offsets)):
        address = to_address(offset, segments)
        if address is not None:
            asked[address] = offset
    if not asked:
        return Inlined(module=str(module), chains={})
    done = process.run(
        [program, "-e", module, "-a", "-f", "-i"],
        env=environ,
        streams=process.Streams(stdin="".join(f"{address:#x}\n" for address in asked)),
        timeout_s=_TIMEOUT_S,
    )
    answers = parse(done.stdout, crate)
    if set(answers) != set(asked):
        message = f"addr2line answered {len(answers)} of {len(asked)} addresses"
        raise UnreadableOutputError(message, where=process.show(done.argv))
    chains = {asked[address]: chain[:-1] for address, chain in answers.items() if len(chain) > 1}
    return Inlined(module=str(module), chains=chains)


def parse(text: str, crate: str) -> dict[int, tuple[str, ...]]:
    """Chains by address, innermost first.

    Raises:
        UnreadableOutputError: a function without its file, or an address that is no number.
    """
    found: dict[int, tuple[str, ...]] = {}
    address: int | None = None
    chain: list[str] = []
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("0x"):
            if address is not None:
                found[address] = tuple(chain)
            address, chain = _address(line), []
            continue
        place = next(lines, None)
        if address is None or place is None:
            message = "addr2line wrote a function without address or file"
            raise UnreadableOutputError(message, details=repr(line[:160]))
        chain.append(qualified(line, place, crate))
    if address is not None:
        found[address] = tuple(chain)
    return found


def _address(line: str) -> int:
    try:
        return int(line, 16)
    except ValueError as error:
        message = "addr2line wrote an address that is no hexadecimal number"
        raise UnreadableOutputError(message, details=repr(line[:160])) from error


def qualified(function: str, place: str, crate: str) -> str:
    """A function's name with its crate and module, from its file, without generic arguments."""
    # Of the innermost function addr2line may print the symbol of the whole frame instead.
    name = INLINED if _MANGLED.match(function) else function
    while _GENERICS.search(name):
        name = _GENERICS.sub("", name)
    path = place.rpartition(":")[0]
    standard = _STANDARD.search(path)
    if standard is not None:
        return _joined(standard["name"], standard["path"], name)
    registry = _REGISTRY.search(path)
    if registry is not None:
        of_crate = _CRATE.match(registry["rest"])
        if of_crate is None:
            return name
        return _joined(of_crate["name"], of_crate["path"], name)
    if path.endswith(".rs"):
        return f"{crate}::{name}"
    return name


def _joined(crate: str, path: str, name: str) -> str:
    modules = [part for part in path.split("/") if part not in {"lib", "mod", "main"}]
    return "::".join([crate.replace("-", "_"), *modules, name])


def executable_segments(head: bytes) -> tuple[Segment, ...]:
    """The executable segments of a 64-bit little-endian ELF file, from its first bytes.

    Raises:
        UnreadableOutputError: it is no such file.
    """
    if head[:6] != _ELF64:
        message = "the module is no 64-bit little-endian ELF file"
        raise UnreadableOutputError(message)
    try:
        table = struct.unpack_from("<Q", head, 32)[0]
        size, count = struct.unpack_from("<HH", head, 54)
        found = []
        for index in range(count):
            kind, flags, offset, address, _, length = struct.unpack_from(
                "<IIQQQQ", head, table + index * size
            )
            if kind == _PT_LOAD and flags & _EXECUTABLE:
                found.append(Segment(offset=offset, address=address, size=length))
    except (struct.error, OverflowError) as error:
        message = "the module's program headers are cut short"
        raise UnreadableOutputError(message) from error
    return tuple(found)


def to_address(offset: int, segments: Iterable[Segment]) -> int | None:
    """The address of a place in the file."""
    for segment in segments:
        if segment.offset <= offset < segment.offset + segment.size:
            return offset - segment.offset + segment.address
    return None

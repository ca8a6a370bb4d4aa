"""The engine's facts about compiled extensions, on ELF files made here byte by byte."""

from __future__ import annotations

import hashlib
import struct
import sys
from pathlib import Path

import pytest

from perfkit import _engine

PROGBITS, NOBITS, NOTE, STRTAB, SYMTAB = 1, 8, 7, 3, 2
ALLOCATED = 2


def elf(*sections: tuple[str, int, int, bytes], links: dict[str, str] | None = None) -> bytes:
    """A 64-bit little-endian ELF file with these sections (name, type, flags, content)."""
    everything = [("", 0, 0, b""), *sections, (".shstrtab", STRTAB, 0, b"")]
    names = b"".join(name.encode() + b"\0" for name, *_ in everything)
    numbers = {name: number for number, (name, *_) in enumerate(everything)}
    content, headers = b"", b""
    for name, kind, flags, data in everything:
        data = names if name == ".shstrtab" else data
        offset = 64 + len(content)
        link = numbers[(links or {}).get(name, "")]
        start = 0 if not name else names.index(b"\0" + name.encode() + b"\0") + 1
        entry = 24 if kind == SYMTAB else 0
        headers += struct.pack(
            "<IIQQQQIIQQ", start, kind, flags, 0, offset, len(data), link, 0, 1, entry
        )
        content += data if kind != NOBITS else b""
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack(
        "<HHIQQQIHHHHHH",
        *(3, 62, 1, 0, 0, 64 + len(content), 0, 64, 56, 0, 64),
        *(len(everything), len(everything) - 1),
    )
    return identity + header + content + headers


TEXT = (".text", PROGBITS, ALLOCATED | 4, b"\x90\xc3")
RODATA = (".rodata", PROGBITS, ALLOCATED, b"\0\0\x80\x3f")
BUILD_ID = (
    ".note.gnu.build-id",
    NOTE,
    ALLOCATED,
    struct.pack("<III", 4, 4, 3) + b"GNU\0" + b"\xca\xfe\xba\xbe",
)


def file(folder: Path, *sections: tuple[str, int, int, bytes], **more: dict[str, str]) -> Path:
    path = folder / "module.so"
    path.write_bytes(elf(*sections, **more))
    return path


def test_the_hash_is_that_of_the_machine_code_alone(tmp_path: Path) -> None:
    path = file(tmp_path, TEXT, RODATA, BUILD_ID, (".bss", NOBITS, ALLOCATED, bytes(64)))
    code = hashlib.sha256(TEXT[3]).hexdigest()
    others = hashlib.sha256(b".rodata\0" + RODATA[3]).hexdigest()
    assert _engine.loaded_hashes(path) == (code, others)
    file(tmp_path, TEXT, (*RODATA[:3], b"\0\0\0\x40"), (".debug_info", PROGBITS, 0, b"x"))
    changed = _engine.loaded_hashes(path)
    assert changed[0] == code
    assert changed[1] != others


def test_facts_are_read_from_the_sections(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        TEXT,
        (".symtab", SYMTAB, 0, bytes(24)),
        (".strtab", STRTAB, 0, b"\0"),
        (".debug_line", PROGBITS, 0, b"x"),
        links={".symtab": ".strtab"},
    )
    info = _engine.elf_info(path)
    assert (info.has_symtab, info.has_debug_line) == (True, True)
    assert (info.has_debug_info, info.stripped) == (False, False)


def test_a_stripped_module_is_seen_as_one(tmp_path: Path) -> None:
    assert _engine.elf_info(file(tmp_path, TEXT, BUILD_ID)).stripped


def test_a_real_module() -> None:
    module = Path(_engine.__file__)
    assert not _engine.elf_info(module).has_debug_line
    python = Path(sys.executable).resolve()
    assert _engine.loaded_hashes(module)[0] != _engine.loaded_hashes(python)[0]


def test_without_debug_information_no_source_is_known(tmp_path: Path) -> None:
    assert _engine.source_frames(file(tmp_path, TEXT), [0, 1]) is None
    damaged = file(tmp_path, TEXT, (".debug_line", PROGBITS, 0, b"\xff" * 40))
    assert _engine.source_frames(damaged, [0, 2**64 - 1]) == [[], []]


@pytest.mark.parametrize("length", [*range(0, 64, 7), 100])
def test_what_is_no_module_has_no_source(length: int, tmp_path: Path) -> None:
    path = tmp_path / "module.so"
    path.write_bytes(elf(TEXT, (".debug_line", PROGBITS, 0, b"x"))[:length])
    with pytest.raises(_engine.EngineInputError) as caught:
        _engine.source_frames(path, [0])
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "not an ELF file"),
        (b"MZ\x90\0" + bytes(100), "not an ELF file"),
        (b"\x7fELF\x02\x01\x01" + bytes(9), "damaged|not an ELF"),
        (elf(RODATA), "no section .text"),
        (elf((".text", PROGBITS, 6, b"")), "is empty"),
        (elf(TEXT)[:-70], "damaged"),
    ],
)
def test_what_has_no_machine_code_is_refused(data: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "module.so"
    path.write_bytes(data)
    with pytest.raises(_engine.EngineInputError, match=told) as caught:
        _engine.loaded_hashes(path)
    assert caught.value.path == path


@pytest.mark.parametrize("length", range(0, len(elf(TEXT, BUILD_ID)), 7))
def test_a_file_cut_anywhere_is_read_or_refused(length: int, tmp_path: Path) -> None:
    path = tmp_path / "module.so"
    path.write_bytes(elf(TEXT, BUILD_ID)[:length])
    with pytest.raises(_engine.EngineInputError):
        _engine.elf_info(path)

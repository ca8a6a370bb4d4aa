"""The engine's facts about compiled extensions, on ELF files made here byte by byte."""

from __future__ import annotations

import hashlib
import struct
import sys
from pathlib import Path

import pytest

from perfkit import _engine

PROGBITS, NOBITS, NOTE, STRTAB, DYNAMIC, SYMTAB = 1, 8, 7, 3, 6, 2
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
        entry = {DYNAMIC: 16, SYMTAB: 24}.get(kind, 0)
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
    assert _engine.text_hash(path) == code
    assert _engine.section_hash(path, ".rodata") == hashlib.sha256(RODATA[3]).hexdigest()
    others = hashlib.sha256(b".rodata\0" + RODATA[3]).hexdigest()
    assert _engine.loaded_hashes(path) == (code, others)
    file(tmp_path, TEXT, (*RODATA[:3], b"\0\0\0\x40"), (".debug_info", PROGBITS, 0, b"x"))
    assert _engine.text_hash(path) == code
    assert _engine.loaded_hashes(path)[1] != others


def test_facts_are_read_from_the_sections(tmp_path: Path) -> None:
    strings = b"\0libm.so.6\0libc.so.6\0"
    needed = struct.pack("<qQqQqQqQ", 1, 1, 1, 11, 14, 1, 0, 0)  # two DT_NEEDED, one DT_SONAME
    path = file(
        tmp_path,
        TEXT,
        BUILD_ID,
        (".dynstr", STRTAB, ALLOCATED, strings),
        (".dynamic", DYNAMIC, ALLOCATED, needed),
        (".symtab", SYMTAB, 0, bytes(24)),
        (".strtab", STRTAB, 0, b"\0"),
        (".debug_line", PROGBITS, 0, b"x"),
        (".comment", PROGBITS, 0, b"rustc version 1.95.0\0\0Linker: LLD 22.1.2 (x)\0"),
        links={".dynamic": ".dynstr", ".symtab": ".strtab"},
    )
    info = _engine.elf_info(path)
    assert info.needed == ["libm.so.6", "libc.so.6"]
    assert info.build_id == "cafebabe"
    assert info.comments == ["rustc version 1.95.0", "Linker: LLD 22.1.2 (x)"]
    assert (info.has_symtab, info.has_debug_line, info.linked_by_lld) == (True, True, True)
    assert (info.has_debug_info, info.has_eh_frame, info.stripped) == (False, False, False)


def test_a_stripped_module_is_seen_as_one(tmp_path: Path) -> None:
    info = _engine.elf_info(file(tmp_path, TEXT))
    assert info.stripped
    assert (info.build_id, info.needed, info.comments) == (None, [], [])
    assert not info.linked_by_lld


def test_a_real_module() -> None:
    module = Path(_engine.__file__)
    assert "libc.so.6" in _engine.elf_info(module).needed
    assert _engine.elf_info(module).has_eh_frame
    assert _engine.text_hash(module) == _engine.loaded_hashes(module)[0]
    assert _engine.text_hash(module) != _engine.text_hash(Path(sys.executable).resolve())


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
    for ask in (_engine.text_hash, _engine.loaded_hashes):
        with pytest.raises(_engine.EngineInputError, match=told) as caught:
            ask(path)
        assert caught.value.path == path


@pytest.mark.parametrize("length", range(0, len(elf(TEXT, BUILD_ID)), 7))
def test_a_file_cut_anywhere_is_read_or_refused(length: int, tmp_path: Path) -> None:
    path = tmp_path / "module.so"
    path.write_bytes(elf(TEXT, BUILD_ID)[:length])
    with pytest.raises(_engine.EngineInputError):
        _engine.elf_info(path)

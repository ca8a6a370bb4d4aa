"""Wheels: unpacking one, finding the extension in it, hashing its code.

Nothing here builds a wheel or installs one into an environment.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from pathlib import Path, PurePosixPath

from perfkit.errors import BuildError
from perfkit.records import Build, Profile

_EXTENSION_SUFFIXES = (".so", ".pyd")


def take(wheel: Path, root: Path, key: str, module: str) -> Build:
    """Unpack a wheel to a folder, and find the build in it.

    Raises:
        BuildError: it is not a wheel, or has no such module.
    """
    unpack(wheel, root)
    return described(root, find_module(root, module), key, module)


def described(root: Path, module_file: Path, key: str, module: str) -> Build:
    """What an extension's file tells about a build: neither parameters nor flags.

    Raises:
        BuildError: it is not an ELF file, or has no machine code.
    """
    text, data = loaded_hashes(module_file)
    return Build(
        key=key,
        root=root,
        module=module,
        module_file=module_file,
        file_sha256=file_hash(module_file),
        text_sha256=text,
        data_sha256=data,
        profile=Profile.RELEASE,
        params={},
        proofs=(),
        opt_level="",
        rustc=(),
        build_s=0.0,
        cached=False,
    )


def unpack(wheel: Path, root: Path) -> None:
    """Unpack a wheel as an installer would lay it out, without its scripts.

    Raises:
        BuildError: it is not a wheel, or a name in it leads out of the folder.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            for item in archive.infolist():
                parts = PurePosixPath(item.filename).parts
                if parts and parts[0].endswith(".data"):
                    # `x-1.0.data/purelib/a.py` goes to `a.py`; scripts, headers and data nowhere.
                    parts = parts[2:] if parts[1:2] in (("purelib",), ("platlib",)) else ()
                if not parts or item.is_dir():
                    continue
                target = root.joinpath(*parts)
                if not target.resolve().is_relative_to(root.resolve()):
                    message = f"the wheel holds a file outside its folder: {item.filename}"
                    raise BuildError(message, where=str(wheel))
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(item))
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        message = f"cannot be unpacked as a wheel: {error}"
        raise BuildError(message, where=str(wheel)) from error


def check_name(wheel: Path, expected: str) -> None:
    """Check that a wheel is of the distribution that was asked for.

    Raises:
        BuildError: it has another name: maturin took another pyproject.toml.
    """
    found = wheel.name.split("-", 1)[0]
    if _normal(found) != _normal(expected):
        message = f"maturin built `{found}`, but the project asked for is `{expected}`"
        remedy = "add a pyproject.toml beside the Cargo.toml of subject.manifest"
        raise BuildError(message, where=str(wheel), remedy=remedy)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def find_module(root: Path, module: str) -> Path:
    """The file of an extension module below an unpacked wheel.

    Where the module is a package around its extension, as maturin lays out a crate without Python
    sources (`name/name.abi3.so`), that extension is it.

    Raises:
        BuildError: it is not there, or there is more than one.
    """
    *above, name = module.split(".")
    folder = root.joinpath(*above)
    extensions = sorted(
        path for path in root.rglob("*") if path.suffix in _EXTENSION_SUFFIXES and path.is_file()
    )
    found: list[Path] = []
    for place, any_name in ((folder, False), (folder / name, False), (folder / name, True)):
        found = found or [
            path
            for path in extensions
            if path.parent == place and (any_name or path.name.partition(".")[0] == name)
        ]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(str(path.relative_to(root)) for path in extensions) or "no extension at all"
    problem = "holds more than one extension" if found else "holds no extension"
    message = f"the wheel {problem} for the module `{module}`; it has: {listed}"
    raise BuildError(message, remedy="set subject.module to the module that maturin builds")


def file_hash(path: Path) -> str:
    """sha256 of a whole file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def loaded_hashes(path: Path) -> tuple[str, str]:
    """Hash what an extension loads: its `.text` section, and everything else without the build id.

    The two are apart because a value can reach a program without changing its machine code: a
    float constant, or the mask of a vector loop, is read from `.rodata`.

    Raises:
        BuildError: it is not an ELF file, or has no machine code.
    """
    from perfkit import _engine  # here, because finding a wheel's module needs no engine

    try:
        return _engine.loaded_hashes(path)
    except _engine.EngineError as error:
        message = f"its machine code cannot be read: {error}"
        raise BuildError(message, where=str(path), remedy="perfkit builds on Linux") from error

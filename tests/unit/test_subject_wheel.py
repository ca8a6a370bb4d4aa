"""Wheels: what is unpacked, which file is the module, and what is refused."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from perfkit.errors import BuildError
from perfkit.subject import wheel


def make(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return path


def unpacked(tmp_path: Path, *names: str) -> Path:
    wheel.unpack(make(tmp_path / "demo-1.0-py3-none-any.whl", *names), tmp_path / "root")
    return tmp_path / "root"


def test_files_go_where_an_installer_puts_them(tmp_path: Path) -> None:
    root = unpacked(
        tmp_path, "demo/__init__.py", "demo-1.0.data/platlib/more.py", "demo-1.0.data/scripts/tool"
    )
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    assert files == ["demo/__init__.py", "more.py"]


def test_a_name_that_leads_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="outside its folder"):
        unpacked(tmp_path, "../evil.py")
    assert not (tmp_path / "evil.py").exists()


def test_what_is_no_wheel_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "demo-1.0-py3-none-any.whl"
    broken.write_bytes(b"no zip")
    with pytest.raises(BuildError, match="cannot be unpacked"):
        wheel.unpack(broken, tmp_path / "root")


@pytest.mark.parametrize(
    ("module", "names", "expected"),
    [
        ("demo", ["demo.abi3.so"], "demo.abi3.so"),
        ("demo", ["demo/__init__.py", "demo/demo.abi3.so"], "demo/demo.abi3.so"),
        ("demo", ["demo/__init__.py", "demo/_native.abi3.so"], "demo/_native.abi3.so"),
        ("demo._native", ["demo/_native.cpython-311-x86_64-linux-gnu.so"], None),
        ("demo._native", ["demo/_native.abi3.so", "demo/_native2.abi3.so"], "demo/_native.abi3.so"),
    ],
)
def test_the_module_is_found(
    tmp_path: Path, module: str, names: list[str], expected: str | None
) -> None:
    root = unpacked(tmp_path, *names)
    assert wheel.find_module(root, module) == root / (expected or names[0])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["other/_native.abi3.so"], r"no extension .* it has: other/_native\.abi3\.so"),
        (["demo/__init__.py"], "no extension .* it has: no extension at all"),
        (["demo/a.abi3.so", "demo/b.abi3.so"], "more than one extension"),
    ],
)
def test_another_module_than_asked_for_is_refused(
    tmp_path: Path, names: list[str], message: str
) -> None:
    with pytest.raises(BuildError, match=message) as caught:
        wheel.find_module(unpacked(tmp_path, *names), "demo")
    assert "subject.module" in caught.value.remedy


@pytest.mark.parametrize("expected", ["text-stats", "Text.Stats", "text_stats"])
def test_names_are_compared_as_installers_do(expected: str) -> None:
    wheel.check_name(Path("text_stats-0.3.0-cp311-abi3-linux_x86_64.whl"), expected)


def test_the_wheel_of_another_project_is_refused() -> None:
    with pytest.raises(BuildError, match="asked for is `kernel`"):
        wheel.check_name(Path("perfkit-0.1.0-cp311-abi3-linux_x86_64.whl"), "kernel")


def test_what_is_no_extension_has_no_machine_code(tmp_path: Path) -> None:
    file = tmp_path / "x.so"
    file.write_bytes(b"\x7fELF\x02\x01" + bytes(100))
    with pytest.raises(BuildError, match="machine code cannot be read"):
        wheel.loaded_hashes(file)


def test_machine_code_of_a_real_file_is_hashed() -> None:
    text, data = wheel.loaded_hashes(Path(sys.executable).resolve())
    assert len(text) == len(data) == 64
    assert text != data

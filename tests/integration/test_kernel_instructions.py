"""Instructions per option, counted by callgrind and in the disassembly: busy or not, the same."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import perfkit_kernel as kernel
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.beside

OPTIONS = 4096
REPETITIONS = (5, 25)
LIMIT = 60.0  # on the AVX2 path; valgrind knows no AVX-512


@pytest.fixture(scope="module")
def program(repository: Path) -> Path:
    """The example that prices again and again, built for release."""
    subprocess.run(
        [
            *("cargo", "build", "--quiet", "--release", "--package", "perfkit-kernel"),
            *("--example", "instructions", "--target-dir", "target"),
        ],
        cwd=repository,
        check=True,
        timeout=300,
    )
    return repository / "target" / "release" / "examples" / "instructions"


def count_instructions(program: Path, repetitions: int, output: Path) -> int:
    """Instructions of one run of the example on the AVX2 path."""
    done = subprocess.run(
        [
            *("valgrind", "--tool=callgrind", f"--callgrind-out-file={output}"),
            *(str(program), "avx2", str(OPTIONS), str(repetitions)),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found is not None, done.stderr
    return int(found.group(1))


def test_an_option_costs_few_instructions_on_avx2(program: Path, tmp_path: Path) -> None:
    few, many = (
        count_instructions(program, repetitions, tmp_path / f"callgrind.{repetitions}")
        for repetitions in REPETITIONS
    )
    per_option = (many - few) / (OPTIONS * (REPETITIONS[1] - REPETITIONS[0]))
    # Below 20 the loop would not have been run: the formula alone has more operations per lane.
    assert 20.0 < per_option <= LIMIT


def test_the_example_refuses_what_it_cannot_price(program: Path) -> None:
    for arguments in (["avx9", "10", "1"], ["avx2", "ten", "1"], ["avx2"]):
        assert subprocess.run([program, *arguments], check=False).returncode == 2


PRODUCT = re.compile(r"^v(mulpd|fn?m(add|sub)\d+pd)\b.*%zmm")
DIVISION = re.compile(r"^v(div|sqrt)pd\b.*%zmm")


def loops_of_avx512() -> Iterator[list[list[str]]]:
    """For each variant of the AVX-512 loop in the extension, the instructions of its inner loops.

    42ac9:	vmovapd %zmm1,0x40(%rax)
    42ad2:	jb     427d0 <_ZN14perfkit_kernel4fast6avx5123run17h1965b990ef7b1658E+0x100>
    """
    (extension,) = Path(kernel.__file__).parent.glob("*.so")
    command = ["objdump", "-d", "--no-show-raw-insn", str(extension)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    for function in done.stdout.split("\n\n"):
        if not re.match(r"\n?[0-9a-f]+ <_R?\w*6avx512\w*3run\w*>:", function):
            continue
        lines = re.findall(r"^ +([0-9a-f]+):\s+(.*)$", function, re.MULTILINE)
        code = [(int(address, 16), text) for address, text in lines]
        jumps = [
            (int(found[1], 16), address)
            for address, text in code
            if (found := re.match(r"j\w+\s+([0-9a-f]+)", text))
        ]
        back = [(to, at) for to, at in jumps if code[0][0] <= to <= at]
        inner = [
            (to, at)
            for to, at in back
            if not any(to <= a and b <= at for a, b in set(back) - {(to, at)})
        ]
        yield [[text for address, text in code if to <= address <= at] for to, at in inner]


def count(loops: list[list[str]], what: re.Pattern[str]) -> int:
    """How many instructions of a kind the loops have."""
    return sum(bool(what.search(text)) for loop in loops for text in loop)


def test_the_bound_counts_the_products_and_divisions_that_the_loop_has(repository: Path) -> None:
    source = (repository / "kernel" / "examples" / "machine_bound.rs").read_text()
    found = re.search(r"PRODUCTS: usize = (\d+);", source)
    assert found is not None
    variants = list(loops_of_avx512())
    assert len(variants) == 4  # calls and puts, with one rate and with many
    # A turn prices two vectors: 3 divisions and 1 root each. A loop without products does the
    # divisions of a first block alone.
    turns = [[loop for loop in loops if count([loop], PRODUCT)] for loops in variants]
    assert [count(loops, DIVISION) for loops in turns] == [8] * 4
    one_rate = min(count(loops, PRODUCT) for loops in variants)
    assert one_rate == 2 * int(found.group(1))

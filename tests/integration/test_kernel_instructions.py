"""Instructions per option, counted by callgrind: a gate that no busy machine moves."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

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

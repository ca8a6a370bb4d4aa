"""`make bench`'s script: every bench runs, and no verdict stays apart from a missed limit."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.beside


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ({}, 0),
        ({"against_numpy": 4}, 4),
        ({"startup": 4, "against_numpy": 3}, 1),
        ({"startup": 1, "idle_pool": 4}, 1),
        ({"idle_pool": 3}, 1),
    ],
)
def test_the_worst_verdict_of_all_benches_is_the_scripts(
    repository: Path, tmp_path: Path, codes: dict[str, int], expected: int
) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(repository / ".ci" / "bench", tmp_path / ".ci")
    python = tmp_path / "python"
    cases = "".join(f"benches/{name}.py) exit {code};; " for name, code in codes.items())
    python.write_text(f'#!/bin/sh\necho "$1" >> ran\ncase "$1" in {cases}esac\n')
    python.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["bash", str(tmp_path / ".ci" / "bench")]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, timeout=60)
    assert done.returncode == expected
    scripts = (tmp_path / "ran").read_text().splitlines()
    assert len(scripts) >= 4
    assert all((repository / script).is_file() for script in scripts)

"""What a run says about itself before it starts."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from perfkit.cli.context import header
from perfkit.config import load_project
from perfkit.subject.workloads import workload_files

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
[subject]
module = "ext"
manifest = "Cargo.toml"

[workloads.main]
call = "ext:go"
setup = "bench/work.py:setup"
reference = "bench/work.py:reference"
sizes = [10]

[workloads.other]
call = "gone.py:go"
setup = "bench.work:setup"
sizes = [10]
"""


def test_the_files_that_workloads_name_are_hashed(tmp_path: Path) -> None:
    (tmp_path / "perfkit.toml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "work.py").write_text("def setup(n, seed): ...\n", encoding="utf-8")
    project = load_project(start=tmp_path, environ={})
    digest = hashlib.sha256(b"def setup(n, seed): ...\n").hexdigest()
    assert workload_files(project, project.config.workloads.values()) == {"bench/work.py": digest}
    assert header(project)["workload_files"] == {"bench/work.py": digest}

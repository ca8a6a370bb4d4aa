"""Measuring with real processes: that bad workloads are found and named, and plain ones measured.

No absolute time is asserted; the gate is off where the machine's room is not the point.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from perfkit import environment
from perfkit.config import Measure, Workload
from perfkit.errors import WorkloadError
from perfkit.measure import session
from perfkit.measure.plan import Plan, Variant
from perfkit.records import MeasureVerdict, Pattern, Role
from perfkit.store import Run
from perfkit.subject.child import Which, WorkerSpec
from perfkit.subject.job import Job, Progress, quiet

FILE = Path(__file__).with_name("measure_workloads.py")

SHORT = {"sessions": 1, "min_blocks": 8, "max_blocks": 8, "time_limit_s": 60.0, "patience_s": 0.0}
"""Ends by blocks, so that a slow machine takes longer and nothing else."""


@pytest.fixture
def spec(environ: dict[str, str]) -> WorkerSpec:
    return WorkerSpec(
        python=Path(sys.executable),
        environment=environment.base_environment(environ, extra={"PYTHONHASHSEED": "0"}),
        cwd=FILE.parent,
    )


def plan(
    spec: WorkerSpec,
    call: str = "call",
    *,
    setup: str = "setup",
    reference: str | None = None,
    sizes: tuple[int, ...] = (100,),
    patterns: tuple[Pattern, ...] = (Pattern.HOT,),
    run: Run | None = None,
    progress: Progress = quiet,
    **settings: float,
) -> Plan:
    values: dict[str, object] = {
        "call": f"{FILE.name}:{call}",
        "setup": f"{FILE.name}:{setup}",
        "reference": f"{FILE.name}:{reference}" if reference else None,
        "sizes": sizes,
    }
    parts: list[tuple[str, Role, Which]] = [
        ("subject", Role.SUBJECT, "call"),
        ("copy", Role.COPY, "call"),
    ]
    if reference:
        parts.append(("reference", Role.REFERENCE, "reference"))
    nothing: Any = None  # no project and no build
    job = Job(
        project=nothing,
        name="work",
        workload=Workload.model_validate(values),
        builder=nothing,
        build=nothing,
        run=Run(directory=Path(tempfile.mkdtemp())) if run is None else run,
        threads=environment.worker_threads(0),
        settings=Measure().model_copy(update={**SHORT, **settings}),
        gated=False,
        progress=progress,
    )
    return Plan(
        job=job,
        sizes=sizes,
        variants=tuple(
            Variant(name=name, role=role, spec=spec, which=which) for name, role, which in parts
        ),
        patterns=patterns,
    )


def test_two_sizes_and_two_patterns_with_a_journal(spec: WorkerSpec, tmp_path: Path) -> None:
    run = Run(directory=tmp_path)
    told: list[str] = []
    wanted = plan(
        spec,
        reference="reference",
        sizes=(20, 200),
        patterns=(Pattern.HOT, Pattern.IDLE),
        run=run,
        progress=lambda text, _share: told.append(text),
    )
    found = session.measure_plan(wanted)
    assert found.report.verdict is MeasureVerdict.UNCHECKED  # the gate is off
    assert len(found.points) == 4
    small, large = found.at(20), found.at(200)
    assert large.absolute("subject").low > small.absolute("subject").high
    assert found.at(20, Pattern.IDLE).valid_blocks >= 8
    rows = (tmp_path / session.JOURNAL).read_text().splitlines()
    assert len(rows) == sum(point.blocks for point in found.points)
    assert any("work 200" in text for text in told)


def test_a_workload_faster_than_the_clock_is_measured_and_noted(spec: WorkerSpec) -> None:
    found = session.measure_plan(plan(spec, "quick"))
    assert found.at(100).absolute("subject").estimate < 1e-6
    assert "loop_overhead" in {note.id for note in found.report.notes}


def test_a_workload_slower_than_the_time_limit_is_named(spec: WorkerSpec) -> None:
    with pytest.raises(WorkloadError, match="too slow for the time limit of 1 s"):
        session.measure_plan(plan(spec, "slow", time_limit_s=1.0))


def test_a_workload_that_gets_slower_is_named(spec: WorkerSpec) -> None:
    found = session.measure_plan(plan(spec, "slower", width=1e-9, max_blocks=30))
    assert "slows_down" in {note.id for note in found.report.notes}


def test_memory_that_stays_behind_is_named(spec: WorkerSpec) -> None:
    found = session.measure_plan(plan(spec, "leaks", width=1e-9, max_blocks=30))
    assert "memory_grows" in {note.id for note in found.report.notes}


def test_a_reference_with_threads_of_its_own_is_named(spec: WorkerSpec) -> None:
    found = session.measure_plan(plan(spec, reference="threaded"))
    assert "reference_threads" in {note.id for note in found.report.notes}
    alone = session.measure_plan(plan(spec, reference="spins"))
    assert "reference_threads" not in {note.id for note in alone.report.notes}


def test_inputs_that_differ_between_processes_are_named(spec: WorkerSpec) -> None:
    with pytest.raises(WorkloadError, match="gave different inputs in different processes"):
        session.measure_plan(plan(spec, setup="irreproducible"))


def test_each_session_has_fresh_processes(spec: WorkerSpec) -> None:
    found = session.measure_plan(plan(spec, sessions=2, min_blocks=12, max_blocks=12))
    assert len(found.at(100).sessions) == 2
    assert all(len(part) >= 6 for part in found.at(100).sessions)


def test_a_reference_has_a_process_of_its_own(spec: WorkerSpec) -> None:
    wanted = plan(spec, reference="reference")
    found = session.measure_plan(wanted)
    assert len({loaded.pid for loaded in found.report.loaded}) == 3


def test_no_two_processes_run_at_the_same_time(spec: WorkerSpec, tmp_path: Path) -> None:
    logging = dataclasses.replace(
        spec, environment={**spec.environment, "PERFKIT_TEST_LOG": str(tmp_path)}
    )
    session.measure_plan(plan(logging, "logs", reference="logs"))
    spans = sorted(
        (int(begin), int(end), path.name)
        for path in tmp_path.iterdir()
        for begin, end in (line.split() for line in path.read_text().splitlines())
    )
    assert len({pid for *_, pid in spans}) == 3
    turns = sum(one[2] != two[2] for one, two in itertools.pairwise(spans))
    assert turns > 8  # they really took turns
    assert all(one[1] <= two[0] for one, two in itertools.pairwise(spans))


def test_a_broken_interpreter_is_named(spec: WorkerSpec) -> None:
    from perfkit.errors import ToolMissingError

    nowhere = dataclasses.replace(spec, python=Path("/nowhere/python"))
    with pytest.raises(ToolMissingError, match="/nowhere/python"):
        session.measure_plan(plan(nowhere))

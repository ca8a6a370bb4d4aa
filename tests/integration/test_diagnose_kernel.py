"""Whole diagnoses of the bundled kernel at 10k: the boundary is named where it is the problem, and
ruled out where it is not.

What the machine is doing is not in question here: there are no sentinels, and the profiler may cost
what it costs.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from perfkit.config import Project, load_project
from perfkit.diagnose.conclude import diagnose, job_of
from perfkit.records import Diagnosis, Layer, SizeSplit
from perfkit.report import markdown
from perfkit.report.diagnosis import diagnose_page
from perfkit.store import create_run
from perfkit.subject.builder import Builder

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 10_000


@pytest.fixture(scope="module")
def project(repository: Path, environ: dict[str, str]) -> Project:
    """The kernel without bench, reference and constants: they would take most of the time here."""
    found = load_project(start=repository, environ=environ)
    config = found.config
    plain = {"bench": None, "reference": None, "targets": {}}
    return dataclasses.replace(
        found,
        config=config.model_copy(
            update={
                "workloads": {
                    name: workload.model_copy(update=plain)
                    for name, workload in config.workloads.items()
                },
                "parameters": {},
                "measure": config.measure.model_copy(update={"time_limit_s": 3.0}),
                "profiling": config.profiling.model_copy(update={"duration_s": 2.0}),
            }
        ),
    )


def diagnosed(
    project: Project, cache: Path, place: Path, name: str, *, verify: bool = False
) -> tuple[Diagnosis, SizeSplit]:
    run = create_run(place, "diagnose", {})
    builder = Builder(project, cache=cache)
    found = diagnose(job_of(project, name, builder, run, gated=False), (SIZE,), verify=verify)
    (split,) = found.sizes
    return found, split


def share(split: SizeSplit, layer: Layer) -> float:
    return next((time.share.estimate for time in split.layers if time.layer is layer), 0.0)


def test_over_arrays_the_boundary_is_not_the_problem(
    project: Project, shared_cache: Path, tmp_path: Path
) -> None:
    found, split = diagnosed(project, shared_cache, tmp_path, "call_price_plain", verify=True)
    assert split.ffi.agree
    assert split.ffi.share is not None
    assert split.ffi.share.high < 0.10
    text = markdown.render(diagnose_page(found))
    assert "the boundary is not the problem, it takes at most" in text
    assert not {finding.id for finding in found.findings} & {"sequence_conversion", "array_copy"}
    # The delays were injected, and the twin, which is little else than boundary, sees them.
    answers = {e.name: e.reason for e in split.ffi.estimators if "/" in e.name}
    assert set(answers) == {
        "injected_delay/call",
        "injected_delay/twin",
        "injected_delay/inner_timer",
    }
    assert "not one to one" not in answers["injected_delay/twin"]
    for quantity in split.quantities:
        assert quantity.basis
        assert quantity.seconds is not None or "not available" in quantity.basis


def test_over_lists_the_conversion_is_named_with_its_share(
    project: Project, shared_cache: Path, tmp_path: Path
) -> None:
    found, split = diagnosed(project, shared_cache, tmp_path, "call_price_list")
    (finding,) = [one for one in found.findings if one.id == "sequence_conversion"]
    assert finding.size == SIZE
    assert finding.share > 0.10
    assert share(split, Layer.CONVERT_IN) + share(split, Layer.CONVERT_OUT) > 0.10
    text = markdown.render(diagnose_page(found))
    assert "the boundary is not the problem" not in text
    if split.ffi.agree:
        assert "call\\_price\\_list at 10k: the boundary takes" in text
    assert found.model is not None
    # One size carries no line, and the report says so.
    assert found.model.costs == ()
    assert "No lines: a line takes at least 3 sizes." in text
    assert found.model.crossings == ()

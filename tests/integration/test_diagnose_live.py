"""The rules on real captures of calls that are slow for one known reason each.

What the profiler costs is not in question here: the subject's config allows it any slowdown, so
that a busy machine does not decide which rule fires.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from perfkit.checks.audit import subject_line
from perfkit.config import Project, load_project
from perfkit.diagnose import probes
from perfkit.diagnose.conclude import diagnose, job_of
from perfkit.diagnose.findings import find
from perfkit.diagnose.observed import Observed
from perfkit.diagnose.profiles import can_split, functions, layers_of, read
from perfkit.diagnose.times import quick_project
from perfkit.profile.profilers import profile
from perfkit.records import (
    Build,
    DiagnoseVerdict,
    Diagnosis,
    Estimate,
    Interval,
    Outcome,
    Pattern,
    Profile,
    SizeSplit,
)
from perfkit.report import markdown
from perfkit.report.diagnosis import diagnose_page
from perfkit.run_files import DIAGNOSIS
from perfkit.stacks import bounds
from perfkit.stacks.split import by_layer
from perfkit.store import Run, create_run
from perfkit.subject.builder import Builder
from perfkit.subject.job import Job, job_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.records import Finding

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
SUBJECT = ROOT / "tests" / "data" / "diagnose" / "provoking"
SHORT = {"time_limit_s": 1.5, "min_blocks": 8, "width": 0.05}
"""As in tests/truth/live_rules.py: enough for the rules."""


@pytest.fixture(scope="module")
def project(provoking_subject: Path, environ: dict[str, str]) -> Project:
    return load_project(start=provoking_subject, environ=environ)


@pytest.fixture(scope="module")
def build(project: Project, shared_cache: Path) -> Build:
    return Builder(project, cache=shared_cache).build(profile=Profile.PROFILING)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return create_run(tmp_path_factory.mktemp("profiles"), "diagnose", {})


@pytest.fixture(scope="module")
def observe(project: Project, build: Build, run: Run) -> Callable[[str], Observed]:
    """Profile one workload at its size, once for all tests."""
    return functools.cache(functools.partial(profiled, project, build, run))


def profiled(project: Project, build: Build, run: Run, name: str) -> Observed:
    """One workload under perf, with the time per call that the profiled region shows."""
    (size,) = project.config.workloads[name].sizes
    (capture,) = profile(
        job_for(project, name, None, run, build=build, threads=2), size, names=["perf"]
    )
    assert can_split(capture)
    taken = read(capture, run, layers_of(project, build))
    call_s = taken.split.call_s
    return Observed(
        workload=name,
        size=size,
        call_s=Interval(estimate=call_s, low=call_s, high=call_s),
        stacks=taken.stacks,
        region_samples=taken.region_samples,
        layers=by_layer(taken.split.layers),
        workers_s=taken.split.workers_s,
        threads=2,
        crates=layers_of(project, build).crates,
        line=subject_line(build.rustc, build.module),
        locations=functions(project.root),
    )


def job(project: Project, build: Build, run: Run, name: str) -> Job:
    builder = cast("Builder", None)  # nothing else is built
    return job_for(project, name, builder, run, build=build, threads=2, gated=False)


def diagnosed(
    project: Project, cache: Path, run: Run, name: str, sizes: tuple[int, ...]
) -> Diagnosis:
    """The whole of it, without sentinels: nothing is claimed about times, only what is said."""
    builder = Builder(project, cache=cache)
    settings = project.config.measure.model_copy(update=SHORT)
    brief = quick_project(project)  # its captures are as short as the provoking subject's
    return diagnose(job_of(brief, name, builder, run, gated=False, settings=settings), sizes)


def estimators(split: SizeSplit) -> dict[str, Estimate]:
    return {estimate.name: estimate for estimate in split.ffi.estimators}


def exact(interval: Interval) -> Interval:
    """Its estimate alone: other programs widen the interval, and are not what is tested."""
    return Interval(estimate=interval.estimate, low=interval.estimate, high=interval.estimate)


def by_id(found: tuple[Finding, ...]) -> dict[str, Finding]:
    return {finding.id: finding for finding in found}


PROVOKED = {
    "from_list": "sequence_conversion",
    "allocates_each": "allocation_in_compute",
    "scalar_math": "scalar_math",
    "wakes_pool": "pool_for_too_little",
    "fresh_output": "output_lifecycle",
    "array_copy": "array_copy",
    "holds_gil": "pool_not_used",
    "tiny_pieces": "chunk_too_small",
    "temporary": "temporary_memory",
}


@pytest.mark.parametrize(("name", "expected"), PROVOKED.items())
def test_each_provoking_call_gets_its_finding(
    observe: Callable[[str], Observed], name: str, expected: str
) -> None:
    found = by_id(find([observe(name)]))
    assert expected in found
    finding = found[expected]
    assert 0 < finding.share <= 1.05
    assert finding.evidence
    assert finding.remedy
    assert finding.verify.startswith("perfkit ")
    others = set(PROVOKED.values()) - {expected, "pool_not_used"}
    assert not set(found) & others


def test_the_evidence_names_the_line_of_the_loop(observe: Callable[[str], Observed]) -> None:
    found = by_id(find([observe("allocates_each")]))
    places = [evidence.location for evidence in found["allocation_in_compute"].evidence]
    assert any(place.startswith("src/lib.rs:") for place in places)


def test_a_sound_call_has_no_finding(observe: Callable[[str], Observed]) -> None:
    assert find([observe("sound")]) == ()


def test_the_probe_tells_a_held_lock_from_a_released_one(
    project: Project, build: Build, run: Run, observe: Callable[[str], Observed]
) -> None:
    held = probes.probe_gil(job(project, build, run, "holds_gil"), 1_000_000)
    free = probes.probe_gil(job(project, build, run, "releases_gil"), 1_000_000)
    assert held.low > free.high
    assert held.estimate > 0.5 > free.estimate
    seen = observe("holds_gil")
    held, free = exact(held), exact(free)
    assert "gil_held" in by_id(find([dataclasses.replace(seen, gil_held=held)]))
    assert "gil_held" not in by_id(find([dataclasses.replace(seen, gil_held=free)]))


def test_a_whole_diagnosis_without_twin_bench_and_reference(
    project: Project, shared_cache: Path, run: Run
) -> None:
    found = diagnosed(project, shared_cache, run, "from_list", (1_000, 10_000))
    assert [split.size for split in found.sizes] == [1_000, 10_000]
    for split in found.sizes:
        named = estimators(split)
        assert named["twin"].reason.startswith("not available")
        assert named["inner_timer"].reason.startswith("not available")
        assert named["call_minus_bench"].reason.startswith("not available")
        assert named["sampled_stacks"].seconds is not None
        assert sum(row.share.estimate for row in split.layers) == pytest.approx(1.0)
        assert run.path(f"tables/from_list-{split.size // 1_000}k.perf.frames.csv").is_file()
        if split.ffi.agree:
            assert split.ffi.share is not None
            assert split.ffi.share.estimate > 0.5
    # Nothing was checked by sentinels, so the best that can be said is `unchecked`; `bounded` only
    # where a layer has more than ten points.
    told = all(bounds.is_told(split.layers) for split in found.sizes)
    best = DiagnoseVerdict.UNCHECKED if told else DiagnoseVerdict.BOUNDED
    assert found.verdict in (best, DiagnoseVerdict.DISAGREE)
    assert "sequence_conversion" in by_id(found.findings)
    assert DIAGNOSIS.save(run, found).is_file()


def test_a_threshold_that_takes_no_build_is_forced_hot_and_with_the_pool_asleep(
    project: Project, shared_cache: Path, run: Run
) -> None:
    (size,) = project.config.workloads["spread_from"].sizes
    found = diagnosed(project, shared_cache, run, "spread_from", (size,))
    assert found.model is not None
    crossings = {crossing.pattern: crossing for crossing in found.model.crossings}
    assert set(crossings) == {Pattern.HOT, Pattern.IDLE}
    for crossing in crossings.values():
        assert crossing.parameter == "PROVOKING_THRESHOLD"
        assert crossing.crossover.outcome in {Outcome.ALWAYS, Outcome.NEVER, Outcome.UNRESOLVED}


def test_a_call_in_python_is_not_given_a_boundary(
    project: Project, shared_cache: Path, run: Run
) -> None:
    found = diagnosed(project, shared_cache, run, "in_python", (1_000,))
    assert "no_extension" in {note.id for note in found.notes}
    (split,) = found.sizes
    seconds = estimators(split)["sampled_stacks"].seconds
    assert seconds is not None
    assert seconds.estimate < 0.02 * split.call_s.estimate
    assert "sequence_conversion" not in by_id(found.findings)


def test_sizes_that_scale_nothing_have_no_intercept(
    project: Project, shared_cache: Path, run: Run
) -> None:
    found = diagnosed(project, shared_cache, run, "same_work", (1_000, 100_000))
    for split in found.sizes:
        assert estimators(split)["intercept"].seconds is None
        assert "does not grow" in estimators(split)["intercept"].reason


def test_a_workspace_of_another_shape_is_diagnosed(
    workspace_subject: Path, shared_cache: Path, run: Run, environ: dict[str, str]
) -> None:
    other = load_project(start=workspace_subject, environ=environ)
    found = diagnosed(other, shared_cache, run, "histogram", (1_000, 100_000))
    small, large = found.sizes
    assert (small.size, large.size) == (1_000, 100_000)
    # This twin hands out numbers that Python has to make, where the call at the small size hands
    # out small ones that Python keeps: it takes longer than the call, so it is no twin there.
    assert "not the call without work" in estimators(small)["twin"].reason
    assert estimators(large)["twin"].seconds is not None
    for split in found.sizes:
        # The bench is of the core crate, which both compile, by flags that can be compared.
        assert "compiles none of" not in estimators(split)["call_minus_bench"].reason
    assert found.recommendation is not None
    assert found.measured is not None
    assert {result.size for result in found.measured.results} == {1_000, 100_000}


def test_a_stripped_wheel_ends_in_a_page_that_says_what_it_cannot_see(
    project: Project, shared_cache: Path, run: Run, tmp_path: Path
) -> None:
    """Without sources, symbols, bench and twin there is still the time, the intercept, and a page
    that claims no layers.
    """
    built = Builder(project, cache=shared_cache).build()
    tree = tmp_path / "tree"
    shutil.copytree(built.root, tree)
    module_file = tree / built.module_file.relative_to(built.root)
    subprocess.run(["strip", "--strip-all", str(module_file)], check=True)
    packed = shutil.make_archive(str(tmp_path / "provoking-0.1.0-py3-none-any"), "zip", tree)
    wheel = Path(packed).rename(Path(packed).with_suffix(".whl"))
    shutil.copy(SUBJECT / "workloads.py", tmp_path)
    text = f"""
        [subject]
        module = "provoking"
        wheel = "{wheel.name}"
        threads = 2
        [measure]
        time_limit_s = 2.0
        [profiling]
        duration_s = 1.5
        [workloads.from_list]
        call = "provoking:from_list"
        setup = "workloads.py:numbers"
        sizes = ["10k"]
    """
    (tmp_path / "perfkit.toml").write_text(text, encoding="utf-8")
    other = load_project(start=tmp_path, environ=dict(os.environ))
    found = diagnosed(other, tmp_path / "cache", run, "from_list", (10_000,))
    assert "wheel_as_it_is" in {note.id for note in found.notes}
    page = markdown.render(diagnose_page(found))
    assert "perfkit did not build this wheel" in page
    for split in found.sizes:
        named = estimators(split)
        assert named["intercept"].seconds is not None or "line" in named["intercept"].reason
        assert named["call_minus_bench"].seconds is None
    # Half of the call lies in the stripped file: its layers are as wide as that.
    for capture in found.profilers:
        assert capture.profiler != "perf" or capture.doubts.unnamed > 0.2
    if not any(split.layers for split in found.sizes):
        assert "not_profiled" in {note.id for note in found.notes}
        assert "No profile could be split" in page
        assert "Found nothing that costs enough" not in page

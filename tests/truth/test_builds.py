"""Check the claim "this binary has that value" with known answers, read from the running module."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perfkit.config import Project, load_project
from perfkit.records import Build, LoadedModule, Profile, Proof, Value
from perfkit.subject import parameters
from perfkit.subject.builder import Builder
from perfkit.subject.child import spec_for, worker
from perfkit.subject.proof import prove

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.beside

SMALL = "PARALLEL_THRESHOLD_SMALL"
THRESHOLD = "PARALLEL_THRESHOLD"
TUNING = Path("crates/core/src/tuning.rs")


def loaded(project: Project, build: Build) -> LoadedModule:
    with worker(spec_for(project, build)) as running:
        return running.loaded


@pytest.fixture(scope="module")
def kernel(repository: Path, environ: dict[str, str]) -> Project:
    return load_project(start=repository, environ=environ)


def without_cache(builder: Builder, params: dict[str, Value]) -> Build:
    """A build that is really made, because its cache entry is damaged first."""
    known = builder.build(params)
    if not known.cached:
        return known
    known.module_file.unlink()
    build = builder.build(params)
    assert not build.cached
    return build


def parts(build: Build, size: int) -> int:
    """How many pieces the second subject cuts a text into, which depends on its constants."""
    code = f"import textstats; print(textstats.parts({size}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(build.root)},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


def test_a_b_a_by_parameters_gives_three_right_binaries(
    workspace_subject: Path, shared_cache: Path, environ: dict[str, str]
) -> None:
    project = load_project(start=workspace_subject, environ=environ)
    builder = Builder(project, cache=shared_cache)
    builds = []
    for threshold in (100_001, 50_000, 100_001):
        build = without_cache(builder, {THRESHOLD: threshold})
        assert loaded(project, build).sha256 == build.file_sha256
        assert parts(build, threshold - 1) == 1
        assert parts(build, threshold) == -(-threshold // 32_768)
        builds.append(build)
    first, second, third = builds
    assert first.text_sha256 == third.text_sha256
    assert first.text_sha256 != second.text_sha256


def test_a_b_a_with_preserved_times_gives_three_right_binaries(
    editable_subject: Path, shared_cache: Path, environ: dict[str, str]
) -> None:
    """Like `cp -p`, `rsync -t` or an unpacked archive: a file with new content and an old time."""
    project = load_project(start=editable_subject, environ=environ)
    builder = Builder(project, cache=shared_cache)
    source = editable_subject / TUNING
    times = source.stat()
    text = source.read_text(encoding="utf-8")
    builds = []
    for threshold in ("131_072", "1_000", "131_072"):
        source.write_text(text.replace("131_072", threshold), encoding="utf-8")
        os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
        builds.append(without_cache(builder, {}))
        assert loaded(project, builds[-1]).sha256 == builds[-1].file_sha256
        assert builds[-1].initialisers["PARALLEL_THRESHOLD"] == threshold
    first, second, third = builds
    assert first.text_sha256 == third.text_sha256
    assert first.text_sha256 != second.text_sha256
    assert first.file_sha256 == third.file_sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """Another value of one constant, and what the kernel then does differently.

    The kernel's getter contains every constant, so `.text` differs even for a dead one and proves
    nothing here. `asked` is a call's plan, which the kernel follows when it prices.
    """

    name: str
    value: int
    asked: str
    before: object
    after: object


UNROLL = "UNROLL_FACTOR"


def live_constants(start: Mapping[str, Value]) -> tuple[Live, ...]:
    """Every constant except the unroll factor, with sizes on either side of the two values."""

    def threshold(name: str, plan: str, value: int) -> Live:
        before = start[name]
        assert isinstance(before, int)
        assert value < before
        sizes = (value - 1, value, before - 1, before)
        below = "chunked" if name == "PARALLEL_THRESHOLD_MEDIUM" else "sequential"
        return Live(
            name=name,
            value=value,
            asked=f"[{plan}(n)[0] != {below!r} for n in {sizes}]",
            before=[False, False, False, True],
            after=[False, True, True, True],
        )

    def chunk(name: str, plan: str, value: int) -> Live:
        before = start[name]
        assert isinstance(before, int)
        size = 50 * before
        return Live(
            name=name,
            value=value,
            asked=f"{plan}({size})[1:3]",
            before=[before, 50],
            after=[value, -(-size // value)],
        )

    return (
        threshold(SMALL, "plan_plain", 8_000),
        threshold("PARALLEL_THRESHOLD_MEDIUM", "plan_plain", 150_000),
        chunk("CHUNK_SIZE_L1", "plan_plain", 512),
        threshold("FAST_PARALLEL_THRESHOLD", "plan", 5_000),
        chunk("FAST_CHUNK_SIZE", "plan", 1_024),
    )


def answers(build: Build, expression: str) -> object:
    """The answer of a build's kernel to an expression, on two threads."""
    code = f"import json; from perfkit_kernel import *; print(json.dumps({expression}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(build.root), "RAYON_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def inner_loop_bytes(build: Build) -> list[int]:
    """The sizes of the functions that the plain kernel's inner loop is compiled to."""
    done = subprocess.run(
        ["nm", "--print-size", "--demangle", build.module_file],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    return sorted(int(line[1], 16) for line in lines if "::plain::price_chunk" in line[-1])


def test_every_constant_of_the_kernel_that_perfkit_tunes_is_live(
    kernel: Project, shared_cache: Path
) -> None:
    builder = Builder(kernel, cache=shared_cache)
    start = builder.build()
    values: dict[str, Value] = {}
    for workload in kernel.config.workloads:
        values |= parameters.start_values(kernel, workload)
    live = live_constants(values)
    assert {one.name for one in live} | {UNROLL} == set(kernel.config.parameters)
    loop = inner_loop_bytes(start)
    assert loop
    for name, value in (*((one.name, one.value) for one in live), (UNROLL, 8)):
        build = builder.build({name: value})
        module = loaded(kernel, build)
        assert module.sha256 == build.file_sha256
        (proof,) = prove(build, module, start, {name: value}, project=kernel)
        assert proof.proof is Proof.GETTER
        for one in live:
            expected = one.after if one.name == name else one.before
            assert answers(build, one.asked) == expected, (name, one.asked)
        assert (inner_loop_bytes(build) != loop) == (name == UNROLL), name


def test_a_dead_constant_is_found_in_both_profiles(
    workspace_subject: Path, shared_cache: Path, environ: dict[str, str]
) -> None:
    project = load_project(start=workspace_subject, environ=environ)
    builder = Builder(project, cache=shared_cache)
    for profile in Profile:
        start = builder.build(profile=profile)
        verdicts = {}
        for name, value in (("PREFETCH_DISTANCE", 16), ("CHUNK_BYTES", 16_384)):
            params: dict[str, Value] = {name: value}
            build = builder.build(params, profile=profile)
            (proof,) = prove(build, loaded(project, build), start, params)
            verdicts[name] = (proof.proof, build.text_sha256 == start.text_sha256)
        assert verdicts == {
            "PREFETCH_DISTANCE": (Proof.DEAD, True),
            "CHUNK_BYTES": (Proof.TEXT, False),
        }


def test_builds_of_one_extension_are_loaded_side_by_side(
    kernel: Project, shared_cache: Path
) -> None:
    builder = Builder(kernel, cache=shared_cache)
    variants: list[dict[str, Value]] = [{}, {SMALL: 8_000}, {"UNROLL_FACTOR": 8}]
    with contextlib.ExitStack() as stack:
        builds = [builder.build(params) for params in variants]
        running = [stack.enter_context(worker(spec_for(kernel, build))) for build in builds]
        assert [one.loaded.sha256 for one in running] == [build.file_sha256 for build in builds]
        assert len({one.pid for one in running}) == len(variants)
        for one, params in zip(running, variants, strict=True):
            assert one.loaded.parameters is not None
            for name, value in params.items():
                assert one.loaded.parameters[name] == value

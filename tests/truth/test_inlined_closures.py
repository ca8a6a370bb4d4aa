"""Closures that the compiler inlines into generic functions of other crates: their work is the
subject's, whichever function its code ended up in, and the pool's work stays the pool's.

Each closure of tests/data/diagnose/provoking runs alone for a while under one perf, so what a
window's samples are of is known.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from perfkit.config import load_project
from perfkit.diagnose.pool_rules import PIECES_FROM, handles_a_piece
from perfkit.diagnose.profiles import layers_of, stack_time
from perfkit.profile import perf_record
from perfkit.records import Layer, Profile
from perfkit.stacks import inline, perf_script
from perfkit.subject.builder import Builder

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.diagnose.observed import StackTime

pytestmark = pytest.mark.truth

SETTINGS = perf_record.RecordSettings(rate_hz=499)
CLOSURES = (
    "rayon_for_each", "rayon_sum", "rayon_fold", "rayon_chunks", "rayon_other_crate", "std_sort",
    "std_iterator", "std_thread", "ndarray_fold", "ndarray_zip", "numpy_from_iter",
)  # fmt: skip
WORK = (Layer.COMPUTE, Layer.MATH)
RUN = """\
import sys, time
sys.path.insert(0, sys.argv[1])
import numpy, provoking
values = numpy.random.default_rng(1).uniform(1.0, 2.0, 200_000)
calls = {name: lambda name=name: provoking.closure(name, values) for name in sys.argv[2:]}
for name, call in {**calls, "tiny_pieces": lambda: provoking.tiny_pieces(values)}.items():
    call()
    begin = now = time.monotonic()
    while now < begin + 0.4:
        call()
        now = time.monotonic()
    print(name, begin, now)
"""


@pytest.fixture(scope="module")
def windows(
    provoking_subject: Path,
    shared_cache: Path,
    environ: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, list[StackTime]]:
    """The stacks of all threads while each closure ran, by its name."""
    project = load_project(start=provoking_subject, environ=environ)
    build = Builder(project, cache=shared_cache).build(profile=Profile.PROFILING)
    folder = tmp_path_factory.mktemp("closures")
    data, text = folder / "perf.data", folder / "script.txt"
    program = [sys.executable, "-c", RUN, str(build.root), *CLOSURES]
    argv = ["perf", "record", "--quiet", "-k", "mono", *SETTINGS.options(data), "--", *program]
    env = {**os.environ, "RAYON_NUM_THREADS": "2"}
    done = subprocess.run(argv, env=env, check=True, capture_output=True, text=True)
    perf_record.write_script(data, text, environ)
    of = inline.sources(build.rustc, build.module)
    places = perf_script.places(text, str(build.module_file))
    inlined = inline.resolve(build.module_file, places, of)
    layers = layers_of(project, build)
    found = {}
    for name, begin, end in (line.split() for line in done.stdout.splitlines()):
        window = perf_script.Window(begin=float(begin), end=float(end))
        folded = perf_script.fold(text, windows=[window], inlined=inlined)
        found[name] = [stack_time(stack, count, layers) for stack, count in folded.stacks]
    return found


def counted(stacks: list[StackTime]) -> Counter[Layer]:
    found = Counter[Layer]()
    for stack in stacks:
        found[stack.layer] += stack.count
    return found


@pytest.mark.parametrize("name", CLOSURES)
def test_the_work_of_a_closure_is_the_subjects(
    windows: dict[str, list[StackTime]], name: str
) -> None:
    stacks = windows[name]
    found = counted(stacks)
    work = sum(found[layer] for layer in WORK)
    pieces = sum(stack.count for stack in stacks if handles_a_piece(stack))
    assert work > 50
    # Between two calls the pool has nothing to do, and says so by looking for work.
    assert work / (found.total() - found[Layer.POOL]) > 0.9, found
    # The pool does cut a call of 0.1 ms into pieces; a finding begins at `PIECES_FROM`.
    assert pieces / (pieces + work) < PIECES_FROM / 2, found


def test_the_work_of_the_pool_is_the_pools(windows: dict[str, list[StackTime]]) -> None:
    stacks = windows["tiny_pieces"]
    pieces = sum(stack.count for stack in stacks if handles_a_piece(stack))
    assert pieces / counted(stacks).total() > 0.5

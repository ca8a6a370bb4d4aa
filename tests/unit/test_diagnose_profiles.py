"""Real captures read as the estimators and the rules need them.

`array-1k.folded` and `list-10k.folded` were written by `perfkit diagnose --workload
call_price_plain --sizes 1k` and `--workload call_price_list --sizes 10k`; regions and calls are of
the same captures, rounded.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from perfkit.diagnose.findings import find
from perfkit.diagnose.observed import Observed
from perfkit.diagnose.profiles import Profiled, can_split, functions, read
from perfkit.records import Capture, Covers, Doubts, Interval, Layer
from perfkit.stacks.layers import Layers
from perfkit.stacks.split import by_layer
from perfkit.store import Run

DATA = Path(__file__).parents[1] / "data" / "diagnose" / "stacks"
RATE = 127.0
LAYERS = Layers(["perfkit_kernel"])


def capture(name: str, *, region_s: float, calls: int, **changes: object) -> Capture:
    values: dict[str, object] = {
        "profiler": "perf",
        "workload": "w",
        "size": 1_000,
        "clock": "cpu",
        "rate_hz": RATE,
        "samples": 600,
        "calls": calls,
        "region_s": region_s,
        "unresolved_share": 0.0,
        "slowdown": Interval(estimate=0.0, low=-0.01, high=0.01),
        "doubts": Doubts(),
        "files": {"folded": Path(f"stacks/{name}.folded")},
        **changes,
    }
    return Capture(**values)  # type: ignore[arg-type]


def taken(tmp_path: Path, name: str, *, region_s: float, calls: int) -> Profiled:
    run = Run(directory=tmp_path)
    shutil.copyfile(DATA / f"{name}.folded", run.path(f"stacks/{name}.folded"))
    return read(capture(name, region_s=region_s, calls=calls), run, LAYERS)


@pytest.fixture
def array(tmp_path: Path) -> Profiled:
    return taken(tmp_path, "array-1k", region_s=5.17, calls=88_704)


@pytest.fixture
def listed(tmp_path: Path) -> Profiled:
    return taken(tmp_path, "list-10k", region_s=3.0, calls=3_000)


def observed(profiled: Profiled, size: int) -> Observed:
    call = Interval(
        estimate=profiled.split.call_s, low=profiled.split.call_s, high=profiled.split.call_s
    )
    return Observed(
        workload="w",
        size=size,
        call_s=call,
        stacks=profiled.stacks,
        region_samples=profiled.region_samples,
        layers=by_layer(profiled.split.layers),
        workers_s=profiled.split.workers_s,
    )


def test_the_shares_of_a_capture_add_up_to_one(array: Profiled, listed: Profiled) -> None:
    for profiled in (array, listed):
        assert sum(row.share.estimate for row in profiled.split.layers) == pytest.approx(1.0)
        assert sum(stack.count for stack in profiled.stacks) == profiled.split.samples


def test_the_array_call_is_computing_and_the_list_call_converting(
    array: Profiled, listed: Profiled
) -> None:
    computing = array.split.share(Layer.MATH) + array.split.share(Layer.COMPUTE)
    assert computing > 0.9
    assert array.sampled(0.0).covering(Covers.FFI).high < 0.03 * array.split.call_s
    converting = listed.split.share(Layer.CONVERT_IN) + listed.split.share(Layer.CONVERT_OUT)
    assert converting > 0.2


def test_what_a_twin_covers_is_at_least_the_ffi(array: Profiled, listed: Profiled) -> None:
    for profiled in (array, listed):
        sampled = profiled.sampled(0.0)
        ffi, boundary = sampled.covering(Covers.FFI), sampled.covering(Covers.BOUNDARY)
        assert boundary.estimate >= ffi.estimate
        assert ffi.low <= ffi.estimate <= ffi.high


def test_the_seconds_are_those_shares_of_the_call_as_it_was_timed(listed: Profiled) -> None:
    timed = listed.of_a_call(listed.split.call_s / 1.25)
    plain, found = listed.sampled(0.0), timed.sampled(0.0)
    for covers in (Covers.FFI, Covers.BOUNDARY):
        before, after = plain.covering(covers), found.covering(covers)
        assert after.estimate == pytest.approx(before.estimate / 1.25)
        assert after.high == pytest.approx(before.high / 1.25)
    assert sum(found.layers.values()) == pytest.approx(timed.split.call_s)
    for before, after in zip(listed.split.layers, timed.split.layers, strict=True):
        assert after.share == before.share
    assert timed.split.workers_s == listed.split.workers_s


def test_the_rules_name_the_conversion_of_the_list_and_not_of_the_array(
    array: Profiled, listed: Profiled
) -> None:
    assert find([observed(listed, 10_000)])[0].id in {"sequence_conversion", "scalar_math"}
    assert "sequence_conversion" in {f.id for f in find([observed(listed, 10_000)])}
    of_array = {finding.id for finding in find([observed(array, 1_000)])}
    assert "scalar_math" in of_array
    assert not of_array & {"sequence_conversion", "array_copy", "output_lifecycle"}


@pytest.mark.parametrize(
    "changes",
    [
        {"clock": "wall"},
        {"calls": None},
        {"region_s": None},
        {"profiler": "py-spy"},
        {"files": {}},
    ],
)
def test_captures_that_cannot_be_split_are_told(changes: dict[str, object]) -> None:
    sound = capture("x", region_s=1.0, calls=1)
    assert can_split(sound)
    base: dict[str, object] = {"region_s": 1.0, "calls": 1, **changes}
    assert not can_split(capture("x", **base))  # type: ignore[arg-type]


def test_a_capture_without_region_is_refused(tmp_path: Path) -> None:
    without = capture("x", **{"region_s": None, "calls": 1})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="without region"):
        read(without, Run(directory=tmp_path), LAYERS)


def test_functions_are_located_where_their_name_is_the_only_one(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    (source / "lib.rs").write_text("// first\npub(crate) unsafe fn one() {}\nfn two() {}\n")
    (source / "other.rs").write_text("    fn two() {}\n")
    assert functions(tmp_path) == {"one": "src/lib.rs:2"}

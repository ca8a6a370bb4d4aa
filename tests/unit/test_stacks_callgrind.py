"""callgrind's files: real ones of the subject of known spins, and broken ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfkit.errors import CaptureError, UnreadableOutputError
from perfkit.profile.callgrind import math_per_call, per_call
from perfkit.stacks import callgrind_out

DATA = Path(__file__).resolve().parents[1] / "data" / "callgrind"


def test_real_dumps_give_instructions_per_call() -> None:
    short, long = (callgrind_out.read(DATA / f"{n}.out") for n in ("short", "long"))
    module = next(path for path in long.objects if "spins" in path)
    found = per_call(short.of_object(module), long.of_object(module))
    # 37 000 turns in the conversion, 63 000 in the work: the same loop.
    (work,) = (count for name, count in found.items() if name == "spins::compute")
    (boundary,) = (count for name, count in found.items() if "Slow as pyo3" in name)
    assert boundary / (boundary + work) == pytest.approx(0.37, abs=0.001)


def test_a_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    text = (DATA / "short.out").read_text()
    cut = tmp_path / "cut.out"
    cut.write_text(text[: len(text) // 2])
    with pytest.raises(UnreadableOutputError, match="add up"):
        callgrind_out.read(cut)


def test_counts_of_something_else_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "x.out"
    other.write_text("events: Dr\nfn=(1) f\n1 2\ntotals: 2\n")
    with pytest.raises(UnreadableOutputError, match="not instructions"):
        callgrind_out.read(other)


def test_inclusive_cost_of_callees_is_not_counted_twice(tmp_path: Path) -> None:
    source = tmp_path / "x.out"
    source.write_text(
        "events: Ir\nfn=(1) f\n1 2\ncfn=(2) g\ncalls=1 9\n1 40\n2 3\nfn=(2)\n9 40\ntotals: 45\n"
    )
    assert callgrind_out.read(source).objects == {"": {"f": 5, "g": 40}}


def test_the_systems_math_library_is_counted_and_other_libraries_are_not() -> None:
    def counts(calls: int) -> callgrind_out.Counts:
        objects = {
            "/usr/lib/x86_64-linux-gnu/libm.so.6": {"exp": 60 * calls, "pow": 100 * calls + 7},
            "/usr/lib/x86_64-linux-gnu/libc.so.6": {"malloc": 900 * calls},
            "/build/libmine.so": {"f": 1_000 * calls},
        }
        return callgrind_out.Counts(total=0, objects=objects)

    assert math_per_call(counts(2), counts(10)) == 160


@pytest.mark.parametrize(("short", "long"), [({"f": 10}, {"f": 10}), ({"f": 9, "g": 1}, {"f": 99})])
def test_counts_that_do_not_grow_with_the_calls_are_refused(
    short: dict[str, int], long: dict[str, int]
) -> None:
    with pytest.raises(CaptureError):
        per_call(short, long)

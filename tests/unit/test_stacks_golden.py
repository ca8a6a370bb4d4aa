"""Real files of each tool, in several modes and versions, and the stacks that perfkit reads there.

`PERFKIT_BLESS=1` writes the expected files anew; tests/data/README.md says where inputs are from.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perfkit import _engine
from perfkit.profile import scalene
from perfkit.stacks import callgrind_out, py_spy_raw
from perfkit.stacks.folded import read_stacks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DATA = Path(__file__).resolve().parents[1] / "data"


def same_as_kept(text: str, expected: Path) -> None:
    """The text is what was kept; blessing keeps it."""
    if os.environ.get("PERFKIT_BLESS") == "1":
        expected.write_text(text, encoding="utf-8")
    assert text == expected.read_text(encoding="utf-8")


def folded(stacks: Iterable[tuple[Sequence[str], int]]) -> str:
    return "".join(f"{';'.join(stack)} {count}\n" for stack, count in sorted(stacks))


def files(tool: str, suffix: str) -> list[str]:
    return sorted(path.stem for path in (DATA / tool).glob(f"*{suffix}"))


def test_there_are_at_least_three_modes_or_versions_of_every_tool() -> None:
    counts = {
        "py-spy": len(files("py-spy", ".raw")),
        "scalene": len(files("scalene", ".json")),
        "callgrind": len(files("callgrind", ".out")),
        "flamegraph": len(list((DATA / "flamegraph").glob("*/tool.folded"))),
        "perf": len(list((DATA / "perf").glob("*/expected.folded"))),
    }
    assert min(counts.values()) >= 3, counts


@pytest.mark.parametrize("name", files("py-spy", ".raw"))
def test_py_spys_stacks(name: str) -> None:
    source = DATA / "py-spy" / f"{name}.raw"
    found = py_spy_raw.read_raw(source)
    told = [int(line.rpartition(" ")[2]) for line in source.read_text().splitlines()]
    assert sum(count for _, count in found) == sum(told)
    same_as_kept(folded(found), source.with_suffix(".expected"))


@pytest.mark.parametrize("name", files("scalene", ".json"))
def test_scalenes_stacks(name: str) -> None:
    source = DATA / "scalene" / f"{name}.json"
    found = scalene.read(source)
    document = json.loads(source.read_text())
    assert sum(n for _, n in found.stacks) == sum(row[1]["count"] for row in document["stacks"])
    same_as_kept(folded(found.stacks), source.with_suffix(".expected"))


@pytest.mark.parametrize("name", ["instr", "jumps", "uncompressed", "second-thread"])
def test_callgrinds_counts(name: str) -> None:
    source = DATA / "callgrind" / f"{name}.out"
    found = callgrind_out.read(source)
    same_as_kept(
        json.dumps({"total": found.total, "objects": found.objects}, indent=1) + "\n",
        source.with_suffix(".expected"),
    )


def test_callgrinds_modes_tell_the_same_of_the_same_program() -> None:
    """Columns, jumps and compressed names change how counts are written, not what they are."""
    whole = [callgrind_out.read(DATA / "callgrind" / f"{n}.out") for n in ("instr", "jumps")]
    plain = callgrind_out.read(DATA / "callgrind" / "uncompressed.out")
    for counts in whole:
        assert counts.total == plain.total
        assert counts.of_object("/project/prog") == plain.of_object("/project/prog")
    second = callgrind_out.read(DATA / "callgrind" / "second-thread.out")
    assert 0 < second.total < plain.total


PERIOD = 10_101_010  # nanoseconds of a sample at 99 Hz, which the tool's own folding counts


@pytest.mark.parametrize("mode", ["no-inline", "inline", "fp"])
def test_cargo_flamegraphs_own_stacks_are_those_that_perfkit_folds(
    mode: str, tmp_path: Path
) -> None:
    """The tool counts periods and does not mark the kernel's frames; all else must be the same."""
    place = DATA / "flamegraph" / mode
    _engine.collapse_perf(place / "script.txt", tmp_path / "folded")
    ours = Counter[tuple[str, ...]]()
    for stack, count in read_stacks(tmp_path / "folded"):
        root = re.sub(r"-\d+/\d+$", "", stack[0])
        ours[root, *(frame.removesuffix("_[k]") for frame in stack[1:])] += count
    theirs = {stack: count / PERIOD for stack, count in read_stacks(place / "tool.folded")}
    assert dict(ours) == theirs

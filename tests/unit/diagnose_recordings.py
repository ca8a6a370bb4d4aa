"""What `diagnose()` saw of a call, kept as a file: written from real runs by
`tests/truth/live_rules.py`, read by the tests of the rules.

A stack is kept from the innermost frame of the interpreter's loop on; of a frame that recurs, as
those of a pool do, the innermost; of Rust's `core` library nothing; of the kernel's the outermost.
What is left out decides nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfkit.diagnose.observed import Branches, Counted, Flags, Observed, StackTime
from perfkit.diagnose.profiles import stack_time
from perfkit.records import (
    Crossover,
    FfiEstimate,
    Interval,
    Layer,
    LayerTime,
    Outcome,
    SizeResult,
)
from perfkit.stacks.layers import Layers
from perfkit.stacks.split import CALLING_THREAD, OTHER_THREADS
from perfkit.store import to_json
from perfkit.subject.rustc import RustcLine

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER = Path(__file__).parents[1] / "data" / "diagnose" / "recordings"
KERNEL = 6
LOOP = "_PyEval_EvalFrameDefault"
PLAIN = (
    "workload",
    "size",
    "region_samples",
    "design_effect",
    "workers_s",
    "threads",
    "smallest",
)
LISTS = ("crates", "grains")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One call and what must be found.

    Attributes:
        must: the findings that it was written for.
        may: findings that are true of it too.
        profile: the cargo profile, where it is not the subject's own.
        verify: ask for what takes builds of its own.
    """

    workload: str
    must: tuple[str, ...]
    may: tuple[str, ...] = ()
    profile: str = "release"
    verify: bool = False


CASES = {
    "sound": Case(workload="sound", must=()),
    "good_pieces": Case(workload="good_pieces", must=()),
    "from_list": Case(workload="from_list", must=("sequence_conversion",)),
    "array_copy": Case(workload="array_copy", must=("array_copy",)),
    "fresh_output": Case(
        workload="fresh_output", must=("output_lifecycle",), may=("pool_not_used",)
    ),
    "temporary": Case(workload="temporary", must=("temporary_memory",), may=("pool_not_used",)),
    "allocates_each": Case(workload="allocates_each", must=("allocation_in_compute",)),
    "scalar_math": Case(workload="scalar_math", must=("scalar_math",)),
    "holds_gil": Case(workload="holds_gil", must=("gil_held", "pool_not_used")),
    "releases_gil": Case(workload="releases_gil", must=("pool_not_used",)),
    "wakes_pool": Case(workload="wakes_pool", must=("pool_for_too_little",)),
    "tiny_pieces": Case(workload="tiny_pieces", must=("chunk_too_small",)),
    "unequal_pieces": Case(workload="unequal_pieces", must=("chunk_too_large",)),
    "spread_from": Case(
        workload="spread_from", must=("threshold_outside",), may=("pool_not_used",), verify=True
    ),
    "small_calls": Case(workload="small_calls", must=("per_call_overhead",)),
    "beside_blas": Case(workload="beside_blas", must=("foreign_threads",)),
    "slower_than_numpy": Case(workload="slower_than_numpy", must=("reference_faster",)),
    "unoptimised": Case(
        workload="sound",
        must=("unoptimised_build",),
        may=("pool_not_used",),
        profile="dev",
    ),
    "in_pieces": Case(
        workload="across_crates",
        must=("build_flags",),
        may=("pool_not_used",),
        profile="pieces",
        verify=True,
    ),
}
"""One call for each rule, and some with which nothing is wrong."""


def dump(seen: Observed) -> str:
    """One observation as JSON text, a line for each stack."""
    document: dict[str, Any] = {name: getattr(seen, name) for name in PLAIN}
    document |= {name: list(getattr(seen, name)) for name in LISTS}
    for name in ("call_s", "gil_held", "instructions", "flags", "line"):
        value = getattr(seen, name)
        document[name] = to_json(value) if value is not None else None
    if document["line"]:
        document["line"]["codegen"].pop("incremental", None)  # a folder of the machine
        for name in ("out_dir", "is_test", "words"):  # no rule reads them; they hold folders too
            del document["line"][name]
    speedup = seen.result.speedup if seen.result is not None else None
    document["speedup"] = to_json(speedup) if speedup is not None else None
    document["ffi"] = None
    if seen.ffi is not None:
        document["ffi"] = {**_flat(seen.ffi.share), "agree": seen.ffi.agree}
    document["branches"] = [to_json(item) for item in seen.branches]
    document["layers"] = [
        {"layer": row.layer, "seconds": row.seconds, **_flat(row.share)}
        for row in seen.layers.values()
    ]
    document["locations"] = dict(seen.locations)
    document["stacks"] = _lines(seen.stacks)
    document["reference_samples"] = seen.reference_samples
    document["reference_stacks"] = _lines(seen.reference_stacks)
    return json.dumps(document, indent=1) + "\n"


def load(path: Path) -> Observed:
    """The observation that was kept, its stacks put into layers anew."""
    document = json.loads(path.read_text(encoding="utf-8"))
    layers = Layers(document["crates"])
    rows = [
        LayerTime(layer=Layer(row["layer"]), seconds=row["seconds"], share=_share(row))
        for row in document["layers"]
    ]
    return Observed(
        **{name: document[name] for name in PLAIN},
        **{name: tuple(document[name]) for name in LISTS},
        call_s=_interval(document["call_s"]),
        gil_held=_interval(document["gil_held"]) if document["gil_held"] else None,
        result=_result(document),
        ffi=_ffi(document["ffi"]),
        instructions=Counted(**document["instructions"]) if document["instructions"] else None,
        flags=_flags(document["flags"]),
        line=_line(document["line"]),
        branches=tuple(_branches(item) for item in document["branches"]),
        layers={row.layer: row for row in rows},
        locations=document["locations"],
        stacks=_stacks(document["stacks"], layers),
        reference_samples=document["reference_samples"],
        reference_stacks=_stacks(document["reference_stacks"], layers),
    )


def _lines(stacks: Sequence[StackTime]) -> list[str]:
    counts: dict[str, int] = {}
    for stack in stacks:
        at = max((i for i, frame in enumerate(stack.frames) if frame == LOOP), default=0)
        root = CALLING_THREAD if stack.calling else OTHER_THREADS
        # A dictionary keeps the first of equal keys: of a stack turned round, the innermost.
        told = [frame for frame in stack.frames[at:] if not frame.startswith("core::")]
        kernel = [index for index, frame in enumerate(told) if frame.endswith("_[k]")]
        told = told[: kernel[KERNEL]] if len(kernel) > KERNEL else told
        kept = [*dict.fromkeys(reversed(told))][::-1]
        line = ";".join((root, *kept))
        counts[line] = counts.get(line, 0) + stack.count
    return [f"{line} {count}" for line, count in sorted(counts.items())]


def _stacks(lines: Sequence[str], layers: Layers) -> tuple[StackTime, ...]:
    split = [line.rpartition(" ") for line in lines]
    return tuple(stack_time(line.split(";"), int(count), layers) for line, _, count in split)


def _flat(share: Interval | None) -> dict[str, float | None]:
    found = to_json(share) if share is not None else {}
    return {"share": found.get("estimate"), "low": found.get("low"), "high": found.get("high")}


def _share(value: dict[str, Any]) -> Interval:
    return Interval(estimate=value["share"], low=value["low"], high=value["high"])


def _ffi(value: dict[str, Any] | None) -> FfiEstimate | None:
    if value is None:
        return None
    share = None if value["share"] is None else _share(value)
    return FfiEstimate(share=share, agree=value["agree"], estimators=())


def _interval(value: dict[str, float]) -> Interval:
    return Interval(**value)


def _result(document: dict[str, Any]) -> SizeResult:
    """What the rules read of a result: its speed-up."""
    return SizeResult(
        workload=document["workload"],
        size=document["size"],
        time_s=_interval(document["call_s"]),
        reference_s=None,
        speedup=_interval(document["speedup"]) if document["speedup"] else None,
        target=None,
        met=None,
        valid_blocks=0,
        blocks=0,
    )


def _flags(value: dict[str, Any] | None) -> Flags | None:
    return Flags(**{**value, "gain": _interval(value["gain"])}) if value else None


def _line(value: dict[str, Any] | None) -> RustcLine | None:
    if value is None:
        return None
    lists = {name: tuple(value[name]) for name in ("crate_types", "features")}
    return RustcLine(**{**value, **lists})


def _branches(value: dict[str, Any]) -> Branches:
    return Branches(
        **{
            **value,
            "above_gain": _interval(value["above_gain"]),
            "crossover": _crossover(value["crossover"]),
            "idle": _crossover(value["idle"]) if value["idle"] else None,
        }
    )


def _crossover(value: dict[str, Any]) -> Crossover:
    sizes = {name: tuple(value[name]) for name in ("faster", "slower", "undecided")}
    return Crossover(**{**value, **sizes, "outcome": Outcome(value["outcome"])})

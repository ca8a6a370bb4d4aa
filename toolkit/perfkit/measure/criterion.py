"""Criterion's results, read from its files: the one place that knows their layout.

Its authors call the files private and have changed them before, so the layout is proved on each
read: keys are a closed set, and mean and median are computed again from the raw sample. What fits
no known layout is refused. A comparison with a *stored* earlier run is never used: see
docs/measuring.md.

Layout `criterion-0.8` (0.5 to 0.8 write it), below `$CRITERION_HOME/<directory_name>/new/`:

    benchmark.json  {"group_id":"g","function_id":null,"value_str":"1000","throughput":
                     {"Elements":1000},"full_id":"g/1000","directory_name":"g/1000","title":"g/1000"}
    estimates.json  {"mean":{"confidence_interval":{"confidence_level":0.95,"lower_bound":1.0,
                     "upper_bound":3.0},"point_estimate":2.0,"standard_error":0.5},"median":{…},
                     "median_abs_dev":{…},"slope":{…} or null,"std_dev":{…}}
    sample.json     {"sampling_mode":"Linear","iters":[1.0,2.0],"times":[2.1,4.0]}   nanoseconds
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from perfkit import process, store
from perfkit.config import did_you_mean
from perfkit.errors import ConfigError, UnreadableOutputError
from perfkit.records import Interval

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from perfkit.config import Bench
    from perfkit.subject.cache import BenchBuild

LAYOUT = "criterion-0.8"

_BENCHMARK_KEYS = {
    "group_id",
    "function_id",
    "value_str",
    "throughput",
    "full_id",
    "directory_name",
    "title",
}
_ESTIMATE_KEYS = {"mean", "median", "median_abs_dev", "slope", "std_dev"}
_SAMPLE_KEYS = {"sampling_mode", "iters", "times"}
_SAMPLING_MODES = {"Linear", "Flat"}
_CONFIDENCE = 0.95
_NANOSECOND = 1e-9
_TOLERANCE = 1e-6
"""Relative difference allowed between criterion's mean and the one computed from its sample."""

_WARM_UP_S = 1.0
_SAMPLES = 100
_SLOW_SAMPLES = 10
_TIMEOUT_FACTOR = 20.0
_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionResult:
    """One benchmark as criterion measured it; seconds per iteration.

    Attributes:
        slope: None where criterion sampled flat, because iterations are long.
        samples: how many batches it timed.
        layout: the file layout that was recognised.
    """

    id: str
    mean: Interval
    median: Interval
    slope: Interval | None
    samples: int
    layout: str
    directory: Path


def run_bench(
    bench: BenchBuild, config: Bench, size: int, *, home: Path, seconds: float
) -> CriterionResult:
    """Run one benchmark of a compiled bench and read what it wrote.

    Args:
        home: the folder under which this run's `CRITERION_HOME` is made, empty.
        seconds: of measuring; criterion takes longer when its samples do not fit.

    Raises:
        ConfigError: the bench has no benchmark of that id.
        ToolError: it failed.
        UnreadableOutputError: it wrote files of an unknown layout.
    """
    wanted = config.id.replace("{size}", str(size))
    folder = home / f"{config.target}-{size}"
    store.remove_tree(folder)
    folder.mkdir(parents=True)
    environment = {**bench.environment, "CRITERION_HOME": str(folder)}
    argv: list[str | Path] = [
        bench.executable,
        "--bench",
        "--exact",
        wanted,
        "--noplot",
        "--warm-up-time",
        f"{min(_WARM_UP_S, seconds):g}",
        "--measurement-time",
        f"{seconds:g}",
        "--sample-size",
        str(_SAMPLES if seconds >= 1 else _SLOW_SAMPLES),
        "--confidence-level",
        str(_CONFIDENCE),
    ]
    process.run(
        argv,
        env=environment,
        cwd=bench.directory,
        timeout_s=_TIMEOUT_S + _TIMEOUT_FACTOR * seconds,
    )
    found = [result for result in read_results(folder) if result.id == wanted]
    if not found:
        known = _listed(bench, environment)
        message = f"the bench `{config.target}` has no benchmark `{wanted}`"
        raise ConfigError(
            message + did_you_mean(wanted, known),
            where=str(bench.manifest),
            remedy="set the workload's `bench.id` to one of: " + ", ".join(known[:20]),
        )
    return found[0]


def _listed(bench: BenchBuild, environment: Mapping[str, str]) -> list[str]:
    done = process.run(
        [bench.executable, "--bench", "--list"],
        env=environment,
        cwd=bench.directory,
        timeout_s=_TIMEOUT_S,
    )
    suffix = ": benchmark"
    return [line.removesuffix(suffix) for line in done.stdout.splitlines() if line.endswith(suffix)]


def read_results(directory: Path) -> list[CriterionResult]:
    """Read the newest result of every benchmark below a criterion home.

    Raises:
        UnreadableOutputError: a file is missing, broken, or of an unknown layout.
    """
    return [read_result(path.parent) for path in sorted(directory.glob("**/new/benchmark.json"))]


def read_result(directory: Path) -> CriterionResult:
    """Read the files of one benchmark's `new` folder.

    Raises:
        UnreadableOutputError: a file is missing, broken, or of an unknown layout.
    """
    benchmark = _read(directory / "benchmark.json", _BENCHMARK_KEYS)
    estimates = _read(directory / "estimates.json", _ESTIMATE_KEYS)
    per_iteration = _sample(directory / "sample.json")
    place = directory / "estimates.json"
    mean = _estimate(estimates["mean"], place, "mean")
    median = _estimate(estimates["median"], place, "median")
    for name, told, computed in (
        ("mean", mean, float(np.mean(per_iteration))),
        ("median", median, float(np.median(per_iteration))),
    ):
        if not math.isclose(told.estimate, computed * _NANOSECOND, rel_tol=_TOLERANCE):
            message = f"its {name} is not the {name} of its own sample: the files changed meaning"
            raise _refused(place, message)
    slope = estimates["slope"]
    name = benchmark["full_id"]
    if not isinstance(name, str):
        raise _refused(directory / "benchmark.json", "`full_id` is no text")
    return CriterionResult(
        id=name,
        mean=mean,
        median=median,
        slope=_estimate(slope, place, "slope") if slope is not None else None,
        samples=len(per_iteration),
        layout=LAYOUT,
        directory=directory,
    )


def _read(path: Path, keys: set[str]) -> dict[str, Any]:
    """A JSON object with exactly these keys."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _refused(path, f"is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise _refused(path, "holds no JSON object")
    if set(value) != keys:
        unknown = ", ".join(sorted(set(value) - keys)) or "none"
        missing = ", ".join(sorted(keys - set(value))) or "none"
        raise _refused(path, f"has other keys (unknown: {unknown}; missing: {missing})")
    return value


def _sample(path: Path) -> list[float]:
    """Nanoseconds per iteration of each batch."""
    value = _read(path, _SAMPLE_KEYS)
    if value["sampling_mode"] not in _SAMPLING_MODES:
        raise _refused(path, f"has the unknown sampling mode {value['sampling_mode']!r}")
    iterations, times = value["iters"], value["times"]
    if not isinstance(iterations, list) or not isinstance(times, list):
        raise _refused(path, "`iters` or `times` is no list")
    if len(iterations) != len(times) or not times:
        raise _refused(path, f"{len(iterations)} counts for {len(times)} times")
    numbers = [
        _number(time, path, "times") / _number(count, path, "iters")
        for count, time in zip(iterations, times, strict=True)
    ]
    if min(numbers) <= 0:
        raise _refused(path, "a time is not above zero")
    return numbers


def _estimate(value: object, path: Path, name: str) -> Interval:
    """An estimate in seconds, with its 95 % interval."""
    if not isinstance(value, dict) or set(value) != {
        "confidence_interval",
        "point_estimate",
        "standard_error",
    }:
        raise _refused(path, f"`{name}` is no estimate of the known form")
    bounds = value["confidence_interval"]
    if not isinstance(bounds, dict) or set(bounds) != {
        "confidence_level",
        "lower_bound",
        "upper_bound",
    }:
        raise _refused(path, f"`{name}` has no interval of the known form")
    level = _number(bounds["confidence_level"], path, name)
    if not math.isclose(level, _CONFIDENCE):
        raise _refused(path, f"`{name}` has a {level:.0%} interval; 95 % is needed")
    return Interval(
        estimate=_number(value["point_estimate"], path, name) * _NANOSECOND,
        low=_number(bounds["lower_bound"], path, name) * _NANOSECOND,
        high=_number(bounds["upper_bound"], path, name) * _NANOSECOND,
    )


def _number(value: object, path: Path, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _refused(path, f"`{name}` holds {value!r}, which is no number")
    if name == "iters" and value <= 0:
        raise _refused(path, "a batch has no iteration")
    return float(value)


def _refused(path: Path, message: str) -> UnreadableOutputError:
    return UnreadableOutputError(
        f"is not what criterion 0.8 writes: {message}",
        where=str(path),
        remedy="use criterion 0.5 to 0.8 for the bench, or leave `bench` out of the config",
    )

"""Criterion's results, read from its files: the one place that knows their layout.

Its authors call the files private and have changed them before, so the layout is proved on each
read: keys are a closed set, and mean and median are computed again from the raw sample. What fits
no known layout is refused. A comparison with a *stored* earlier run is never used: see
docs/measuring.md.

The layout that criterion 0.5 to 0.8 write, below `$CRITERION_HOME/<directory_name>/new/`:

    benchmark.json  {"group_id":"g","function_id":null,"value_str":"1000","throughput":
                     {"Elements":1000},"full_id":"g/1000","directory_name":"g/1000","title":"g/1000"}
    estimates.json  {"mean":{"confidence_interval":{"confidence_level":0.95,"lower_bound":1.0,
                     "upper_bound":3.0},"point_estimate":2.0,"standard_error":0.5},"median":{…},
                     "median_abs_dev":{…},"slope":{…} or null,"std_dev":{…}}
    sample.json     {"sampling_mode":"Linear","iters":[1.0,2.0],"times":[2.1,4.0]}   nanoseconds
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import numpy as np
import pydantic

from perfkit import process, store
from perfkit.config import did_you_mean
from perfkit.errors import ConfigError, UnreadableOutputError
from perfkit.records import Interval

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from perfkit.config import Bench
    from perfkit.subject.cache import BenchBuild

_CONFIDENCE = 0.95
_NANOSECOND = 1e-9
_TOLERANCE = 1e-6
"""Relative difference allowed between criterion's mean and the one computed from its sample."""

_WARM_UP_S = 1.0
_SAMPLES = 100
_SLOW_SAMPLES = 10
_TIMEOUT_FACTOR = 20.0
_TIMEOUT_S = 120.0


_Number = Annotated[float, pydantic.Field(allow_inf_nan=False)]
_AboveZero = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]


class _Exactly(pydantic.BaseModel):
    """An object of criterion's with exactly the keys that are known."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


class _Benchmark(_Exactly):
    group_id: str
    function_id: str | None
    value_str: str | None
    throughput: Any
    full_id: str
    directory_name: str
    title: str


class _Bounds(_Exactly):
    confidence_level: _Number
    lower_bound: _Number
    upper_bound: _Number


class _Figure(_Exactly):
    confidence_interval: _Bounds
    point_estimate: _Number
    standard_error: _Number


class _Estimates(_Exactly):
    mean: _Figure
    median: _Figure
    median_abs_dev: _Figure
    slope: _Figure | None
    std_dev: _Figure


class _Sample(_Exactly):
    sampling_mode: Literal["Linear", "Flat"]
    iters: Annotated[list[_AboveZero], pydantic.Field(min_length=1)]
    times: list[_AboveZero]


_Layout = TypeVar("_Layout", bound=_Exactly)


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionResult:
    """One benchmark as criterion measured it; seconds per iteration."""

    id: str
    mean: Interval
    median: Interval


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
    options = {
        "--warm-up-time": f"{min(_WARM_UP_S, seconds):g}",
        "--measurement-time": f"{seconds:g}",
        "--sample-size": str(_SAMPLES if seconds >= 1 else _SLOW_SAMPLES),
        "--confidence-level": str(_CONFIDENCE),
    }
    words = ["--exact", wanted, "--noplot", *itertools.chain.from_iterable(options.items())]
    _run(bench, environment, *words, timeout_s=_TIMEOUT_S + _TIMEOUT_FACTOR * seconds)
    found = [result for result in read_results(folder) if result.id == wanted]
    if not found:
        listed = _run(bench, environment, "--list", timeout_s=_TIMEOUT_S).stdout
        known = re.findall(r"^(.+): benchmark$", listed, re.MULTILINE)
        message = f"the bench `{config.target}` has no benchmark `{wanted}`"
        raise ConfigError(
            message + did_you_mean(wanted, known),
            where=str(bench.manifest),
            remedy="set the workload's `bench.id` to one of: " + ", ".join(known[:20]),
        )
    return found[0]


def _run(
    bench: BenchBuild, environment: Mapping[str, str], *words: str, timeout_s: float
) -> process.Completed:
    argv: list[str | Path] = [bench.executable, "--bench", *words]
    return process.run(argv, env=environment, cwd=bench.directory, timeout_s=timeout_s)


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
    benchmark = _read(directory / "benchmark.json", _Benchmark)
    place = directory / "estimates.json"
    estimates = _read(place, _Estimates)
    per_iteration = _per_iteration(directory / "sample.json")
    mean, median = _interval(estimates.mean, place), _interval(estimates.median, place)
    for name, told, computed in (
        ("mean", mean, float(np.mean(per_iteration))),
        ("median", median, float(np.median(per_iteration))),
    ):
        if not math.isclose(told.estimate, computed * _NANOSECOND, rel_tol=_TOLERANCE):
            message = f"its {name} is not the {name} of its own sample: the files changed meaning"
            raise _refused(place, message)
    return CriterionResult(id=benchmark.full_id, mean=mean, median=median)


def _read(path: Path, layout: type[_Layout]) -> _Layout:
    """A file of exactly this layout."""
    try:
        return layout.model_validate_json(path.read_bytes())
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror}") from error
    except pydantic.ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        raise _refused(path, f"{f'`{key}`: ' if key else ''}{fault['msg']}") from error


def _per_iteration(path: Path) -> list[float]:
    """Nanoseconds per iteration of each batch."""
    sample = _read(path, _Sample)
    if len(sample.iters) != len(sample.times):
        raise _refused(path, f"{len(sample.iters)} counts for {len(sample.times)} times")
    return [time / count for count, time in zip(sample.iters, sample.times, strict=True)]


def _interval(figure: _Figure, path: Path) -> Interval:
    """An estimate in seconds, with its 95 % interval."""
    bounds = figure.confidence_interval
    if not math.isclose(bounds.confidence_level, _CONFIDENCE):
        raise _refused(path, f"has a {bounds.confidence_level:.0%} interval; 95 % is needed")
    return Interval(
        estimate=figure.point_estimate * _NANOSECOND,
        low=bounds.lower_bound * _NANOSECOND,
        high=bounds.upper_bound * _NANOSECOND,
    )


def _refused(path: Path, message: str) -> UnreadableOutputError:
    return UnreadableOutputError(
        f"is not what criterion 0.8 writes: {message}",
        where=str(path),
        remedy="use criterion 0.5 to 0.8 for the bench, or leave `bench` out of the config",
    )

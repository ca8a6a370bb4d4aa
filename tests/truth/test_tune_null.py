"""How often the loop claims a gain that does not exist, and how often it finds one that does.

The machine is simulated: each measurement draws its estimate around the truth and returns the
matching 95 % interval. Everything after that is perfkit's code: grid, scores, stop rules,
confirmation. The tests of measuring cover what a real machine adds.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest

from perfkit.config import Tune
from perfkit.records import (
    Interval,
    MeasureReport,
    MeasureVerdict,
    SizeResult,
    Trial,
    TuneReport,
    TuneStatus,
    Value,
)
from perfkit.store import Run
from perfkit.tune import space
from perfkit.tune.evaluator import Prepared, TrialProfile
from perfkit.tune.log import Journal
from perfkit.tune.loop import Loop, Settings, World
from perfkit.tune.search import GridSearch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

pytestmark = pytest.mark.beside

SIZES = (1_000, 10_000, 100_000, 1_000_000)
START: dict[str, Value] = {"A": 0}
GRID = {"A": tuple(range(1, 11))}
RUNS = 400


class Forgetful(Journal):
    """Keeps nothing, because four hundred runs would sync eight thousand lines."""

    def append(self, trial: Trial) -> None:
        """See `Journal`."""

    def confirm(self, trial: Trial, sizes: Sequence[SizeResult]) -> None:
        """See `Journal`."""


class Machine:
    """Every candidate is `truth` times as fast as the start; measuring has `sigma` of noise."""

    def __init__(self, chance: random.Random, sigma: float, truth: Mapping[Value, float]) -> None:
        self._chance = chance
        self._sigma = sigma
        self._truth = truth

    def prepare(self, params: Mapping[str, Value]) -> Prepared:
        """See `Evaluator`."""
        key = space.key(params)
        return Prepared(params=params, proofs=(), text_hash=key, signature=key, build_s=1.0)

    def measure(self, prepared: Prepared, *, label: str, fresh: bool) -> MeasureReport:
        """See `Evaluator`."""
        truth = math.log(self._truth.get(prepared.params["A"], 1.0))
        sizes = []
        for size in SIZES:
            drawn = self._chance.gauss(truth, self._sigma)
            change = Interval(
                estimate=math.exp(drawn),
                low=math.exp(drawn - 1.96 * self._sigma),
                high=math.exp(drawn + 1.96 * self._sigma),
            )
            sizes.append(
                SizeResult(
                    workload="w",
                    size=size,
                    time_s=change,
                    reference_s=None,
                    speedup=None,
                    target=None,
                    met=None,
                    valid_blocks=20,
                    blocks=20,
                    change=change,
                )
            )
        return MeasureReport(
            verdict=MeasureVerdict.OK, results=tuple(sizes), noise_floor=0.005, seconds=1.0
        )

    def profile(self, prepared: Prepared, size: int, *, label: str) -> TrialProfile:
        """See `Evaluator`."""
        return TrialProfile(rows=())


def tuned(seed: int, sigma: float, truth: Mapping[Value, float], tmp_path: Path) -> TuneReport:
    """One whole run on a simulated machine, with all ten candidates."""
    loop = Loop(
        evaluator=Machine(random.Random(seed), sigma, truth),
        strategy=GridSearch(start=START, parameters={}, base_grid=GRID, extended_grid={}),
        journal=Forgetful(Run(directory=tmp_path), str),
        settings=Settings(
            workload="w",
            start=START,
            main_size=SIZES[0],
            limits=Tune(max_iterations=10, stagnation_iterations=10, stagnation_gain=0.01),
        ),
        world=World(clock=lambda: 0.0, now=lambda: "", progress=lambda _text, _share: None),
    )
    return loop.run()


@pytest.mark.parametrize("sigma", [0.003, 0.01, 0.03])
def test_a_parameter_that_does_nothing_almost_never_wins(sigma: float, tmp_path: Path) -> None:
    """At most 2 % of the runs claim a gain; without the confirmation, far more would."""
    claimed = sum(
        tuned(seed, sigma, {}, tmp_path).status is not TuneStatus.KEPT for seed in range(RUNS)
    )
    assert claimed / RUNS <= 0.02


@pytest.mark.parametrize(("gain", "sigma"), [(1.05, 0.01), (1.10, 0.02), (1.02, 0.004)])
def test_a_gain_of_several_noises_is_found_and_confirmed(
    gain: float, sigma: float, tmp_path: Path
) -> None:
    """The one good value of ten is named in at least 95 % of the runs."""
    found = sum(
        tuned(seed, sigma, {7: gain}, tmp_path).best_params == {"A": 7} for seed in range(RUNS)
    )
    assert found / RUNS >= 0.95


def test_a_loss_is_never_kept_as_the_best(tmp_path: Path) -> None:
    truth: dict[Value, float] = {value: 0.97 for value in range(1, 11)}
    reports = [tuned(seed, 0.01, truth, tmp_path) for seed in range(RUNS)]
    assert all(report.best_params == START for report in reports)

"""Which candidate comes next. `grid` is the search of the campaign that perfkit comes from.

First what the worst size recommends, by the parameters' order of priority; then the base grid; then
the extended grid. Pure: the same history gives the same proposal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from perfkit.diagnose.recommend import recommend
from perfkit.tune import space
from perfkit.tune.space import Candidate, Stage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from perfkit.config import Parameter
    from perfkit.records import Recommendation, Trial, Value


class Strategy(Protocol):
    """A way of choosing candidates."""

    def propose(
        self, history: Sequence[Trial], best: Trial, dead: Collection[str]
    ) -> Candidate | None:
        """The next candidate, or None when there is nothing left to try.

        Args:
            history: all trials so far, the starting build first.
            best: the best of them.
            dead: parameters that reach no code; they stay as they were at the start.
        """
        ...

    def advice(
        self, history: Sequence[Trial], best: Trial, dead: Collection[str]
    ) -> Recommendation | None:
        """What the worst size of the best trial asks for, for the report."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GridSearch:
    """The grid of origin: recommendations, base grid, extended grid."""

    start: Mapping[str, Value]
    parameters: Mapping[str, Parameter]
    base_grid: Mapping[str, Sequence[Value]]
    extended_grid: Mapping[str, Sequence[Value]]

    def propose(
        self, history: Sequence[Trial], best: Trial, dead: Collection[str]
    ) -> Candidate | None:
        """See `Strategy`."""
        tried = {_live_key(trial.params, dead) for trial in history}
        kept = {name: self.start[name] for name in dead}
        candidates = list(self.grids())
        found = self.advice(history, best, dead)
        if found is not None and found.parameter is not None and found.value is not None:
            params = {**best.params, found.parameter: found.value}
            recommended = Candidate(params=params, stage=Stage.RECOMMENDED, reason=found.reason)
            candidates.insert(0, recommended)
        for candidate in candidates:
            if _live_key(candidate.params, dead) not in tried:
                return replace(candidate, params={**candidate.params, **kept})
        return None

    def advice(
        self, history: Sequence[Trial], best: Trial, dead: Collection[str]
    ) -> Recommendation | None:
        """The recommendation itself: also where it names no value."""
        live = {name: one for name, one in self.parameters.items() if name not in dead}
        return recommend(
            best.sizes,
            live,
            current=best.params,
            tried=[trial.params for trial in history],
            grid=self.base_grid,
        )

    def grids(self) -> Iterator[Candidate]:
        """Base grid, then extended grid, on top of the starting values."""
        for stage, grid in (
            (Stage.BASE_GRID, self.base_grid),
            (Stage.EXTENDED_GRID, self.extended_grid),
        ):
            for params in space.grid_points(self.start, grid):
                yield Candidate(params=params, stage=stage, reason=f"the {stage} of the config")

    def listed(self) -> tuple[Candidate, ...]:
        """What can be told before anything is measured: first steps by priority, then the grids."""
        ordered = sorted(self.parameters.items(), key=lambda item: item[1].priority)
        first_steps = [
            Candidate(
                params={**self.start, name: parameter.first_step},
                stage=Stage.RECOMMENDED,
                reason=f"the first step of {name}, when one of its sizes is the worst",
            )
            for name, parameter in ordered
            if parameter.first_step is not None
        ]
        listed: dict[str, Candidate] = {}
        for candidate in (*first_steps, *self.grids()):
            listed.setdefault(space.key(candidate.params), candidate)
        listed.pop(space.key(self.start), None)
        return tuple(listed.values())


def _live_key(params: Mapping[str, Value], dead: Collection[str]) -> str:
    return space.key({name: value for name, value in params.items() if name not in dead})

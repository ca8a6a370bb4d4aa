"""How costs grow with the size, as blocks of the bottleneck report: lines, crossovers, and the
three costs that are kept apart from the FFI.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from perfkit.diagnose.model import described
from perfkit.records import Outcome, Pattern, QuantityName
from perfkit.report.page import Block, Bullets, Heading, Paragraph, Table, columns, table
from perfkit.report.words import UNKNOWN, joined, percent, time_interval, value_text
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from perfkit.records import Crossing, LayerCost, Quantity, SizeModel, SizeSplit

_QUANTITIES = {
    QuantityName.FIXED: "fixed cost of a call",
    QuantityName.OUTPUT: "life cycle of the output",
    QuantityName.DISPATCH: "dispatch to threads",
}
_PATTERNS = {
    Pattern.HOT: "back-to-back calls",
    Pattern.IDLE: "calls after the pool went to sleep",
}


def by_size(
    what: str,
    splits: Sequence[SizeSplit],
    rows: Mapping[str, Callable[[SizeSplit], str]],
    *,
    caption: str,
) -> Table:
    """A column per size, and a row for each name: what it shows of a size."""
    return Table(
        columns=columns(f"<{what}", *(format_count(split.size) for split in splits)),
        rows=tuple((name, *map(cell, splits)) for name, cell in rows.items()),
        caption=caption,
    )


def apart_table(splits: Sequence[SizeSplit]) -> list[Block]:
    """The three costs beside the FFI, with what each figure was made from."""
    if not any(split.quantities for split in splits):
        return []
    bases: dict[str, list[str]] = {}
    for name, title in _QUANTITIES.items():
        for split in splits:
            found = _quantity(name, split)
            if found is not None:
                bases.setdefault(f"{title}: {found.basis}", []).append(format_count(split.size))
    caption = "Seconds per call with 95 % intervals. They overlap with the layers above."
    rows = {title: partial(_quantity_cell, name) for name, title in _QUANTITIES.items()}
    told = (
        basis if len(sizes) == len(splits) else f"{basis} (at {', '.join(sizes)})"
        for basis, sizes in bases.items()
    )
    return [
        by_size("kept apart from the FFI", splits, rows, caption=caption),
        Bullets(items=tuple(told)),
    ]


def _quantity(name: QuantityName, split: SizeSplit) -> Quantity | None:
    return next((one for one in split.quantities if one.name is name), None)


def _quantity_cell(name: QuantityName, split: SizeSplit) -> str:
    found = _quantity(name, split)
    return UNKNOWN if found is None else time_interval(found.seconds)


def model_blocks(model: SizeModel) -> list[Block]:
    """Lines by layer in one table, crossovers in a sentence each."""
    blocks: list[Block] = [Heading(text=f"How it grows with the size: {model.workload}")]
    if model.costs:
        blocks.append(_lines(model))
    elif model.reason:
        blocks.append(Paragraph(text=f"No lines: {model.reason}."))
    if model.crossings:
        blocks.append(Bullets(items=tuple(crossing_text(one) for one in model.crossings)))
    return blocks if len(blocks) > 1 else []


def _lines(model: SizeModel) -> Block:
    """The lines that hold as a table; what has none is named."""
    held = [cost for cost in model.costs if cost.cost.holds]
    bent = [_name(cost) for cost in model.costs if not cost.cost.holds]
    text = f"Through {', '.join(map(format_count, model.sizes))}."
    if bent:
        text += (
            f" No straight line fits {joined(bent)}: the cost of an element changes with the size, "
            "as it does with caches and threads."
        )
    if model.reason:
        text += f" {model.reason[0].upper()}{model.reason[1:]}."
    if not held:
        return Paragraph(text=text)
    return table(
        held,
        {
            "<layer": _name,
            "fixed per call": lambda one: time_interval(one.cost.fixed_s),
            "per element": lambda one: time_interval(one.cost.per_element_s),
        },
        caption=f"Time = fixed + per element x n, with 95 % intervals. {text}",
    )


def _name(cost: LayerCost) -> str:
    return cost.layer.value if cost.layer is not None else "call"


def crossing_text(crossing: Crossing) -> str:
    """Where one way overtakes another, what a ratio had to leave one by, or why it is not known."""
    now = f" = {value_text(crossing.value)}" if crossing.value is not None else ""
    title = f"{crossing.parameter}{now}" if crossing.parameter else "Subject and reference"
    if crossing.crossover.outcome is Outcome.NOT_MEASURED:
        return f"{title}: not measured; {crossing.reason}."
    sentence = described(crossing.crossover, crossing.first, crossing.second)
    text = f"{title}, {_PATTERNS[crossing.pattern]}: {sentence}."
    if crossing.noise_floor is None:
        return f"{text} No copy of the build shows how much equal code differs."
    return f"{text} Differences below {percent(max(crossing.noise_floor, 0.005))} do not count."

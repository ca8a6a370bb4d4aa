"""How costs grow with the size, as blocks of the bottleneck report: lines, crossovers, and the
three costs that are kept apart from the FFI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.diagnose.model import described
from perfkit.records import Outcome, Pattern, QuantityName
from perfkit.report.page import Block, Bullets, Heading, Paragraph, Table, columns
from perfkit.report.words import UNKNOWN, joined, percent, time_interval, value_text
from perfkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.records import Crossing, LayerCost, Quantity, SizeModel, SizeSplit

_QUANTITIES = {
    QuantityName.FIXED: "fixed cost of a call",
    QuantityName.OUTPUT: "life cycle of the output",
    QuantityName.DISPATCH: "dispatch to threads",
}
_PATTERNS = {
    Pattern.HOT: "calls that follow each other",
    Pattern.IDLE: "calls that find the pool asleep",
}


def apart_table(splits: Sequence[SizeSplit]) -> list[Block]:
    """The three costs beside the FFI, with what each figure was made from."""
    if not any(split.quantities for split in splits):
        return []
    rows = []
    bases: dict[str, list[str]] = {}
    for name, title in _QUANTITIES.items():
        found = [_quantity(split, name) for split in splits]
        cells = (time_interval(one.seconds) if one else UNKNOWN for one in found)
        rows.append((title, *cells))
        for split, one in zip(splits, found, strict=True):
            if one is not None:
                bases.setdefault(f"{title}: {one.basis}", []).append(format_count(split.size))
    titles = ("<kept apart from the FFI", *(format_count(split.size) for split in splits))
    caption = "Seconds per call with 95 % intervals. They overlap with the layers above."
    everywhere = len(splits)
    return [
        Table(columns=columns(*titles), rows=tuple(rows), caption=caption),
        Bullets(
            items=tuple(
                basis if len(sizes) == everywhere else f"{basis} (at {', '.join(sizes)})"
                for basis, sizes in bases.items()
            )
        ),
    ]


def _quantity(split: SizeSplit, name: QuantityName) -> Quantity | None:
    return next((one for one in split.quantities if one.name is name), None)


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
            f" No line for {joined(bent)}: an element costs another time at another size, as "
            "caches and threads make it do."
        )
    if model.reason:
        text += f" {model.reason[0].upper()}{model.reason[1:]}."
    if not held:
        return Paragraph(text=text)
    return Table(
        columns=columns("<layer", "fixed per call", "per element"),
        rows=tuple(
            (_name(c), time_interval(c.cost.fixed_s), time_interval(c.cost.per_element_s))
            for c in held
        ),
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

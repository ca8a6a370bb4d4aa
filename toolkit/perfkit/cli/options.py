"""Options that several commands share, spelled once, and how their text becomes a value.

Nothing heavy is imported here: every `--help` loads this file.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from perfkit.units import parse_count, parse_duration, parse_rate

T = TypeVar("T")


class Format(StrEnum):
    """The form of a report."""

    HUMAN = "human"
    JSON = "json"
    MARKDOWN = "markdown"


def _or_usage(parse: Callable[[str], T]) -> Callable[[str], T]:
    """A parser whose ValueError typer shows as a usage error (exit code 2)."""

    def parser(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    parser.__name__ = parse.__name__.removeprefix("parse_")
    return parser


class Sizes(tuple[int, ...]):
    """Input sizes of one option; with its own type, because typer takes a list as many options."""

    __slots__ = ()


def parse_sizes(text: str) -> Sizes:
    """Read `1k,10k,1M` as sizes.

    Raises:
        ValueError: one of them is not a size, or is named twice.
    """
    sizes = Sizes(parse_count(word) for word in text.split(",") if word.strip())
    if not sizes:
        message = "no size is named; write 1k,10k,1M"
        raise ValueError(message)
    if len(set(sizes)) != len(sizes):
        message = f"{text!r} names a size twice"
        raise ValueError(message)
    return sizes


def _time(*names: str, text: str) -> Any:  # noqa: ANN401  # what typer takes
    """An option that takes a duration."""
    return typer.Option(*names, metavar="TIME", parser=_or_usage(parse_duration), help=text)


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Config file; by default the nearest perfkit.toml or [tool.perfkit] here or above.",
    ),
]
FormatOption = Annotated[Format, typer.Option("--format", help="Form of the report.")]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="Write it to a file instead; the suffix (.json, .md, .txt, .svg) chooses what.",
    ),
]
WorkloadOption = Annotated[
    str | None,
    typer.Option("-w", "--workload", metavar="NAME", help="A workload of the config."),
]
SizesOption = Annotated[
    Sizes | None,
    typer.Option(
        "--sizes",
        metavar="N,N,…",
        parser=_or_usage(parse_sizes),
        help="Input sizes, such as 1k,10k,1M.",
    ),
]
RateOption = Annotated[
    int | None,
    typer.Option(
        "-r", "-F", "--rate", metavar="HZ", parser=_or_usage(parse_rate), help="Samples per second."
    ),
]
DurationOption = Annotated[
    float | None, _time("-d", "--duration", text="Time under the profiler, such as 3s.")
]
TimeLimitOption = Annotated[
    float | None, _time("--time-limit", text="Stop after this long, such as 60s or 10m.")
]
PatienceOption = Annotated[
    float | None,
    _time("--patience", text="How long to wait for a quiet machine; 0s answers at once."),
]
SeedOption = Annotated[
    int, typer.Option("--seed", help="Seed of the inputs and of the order of measurement.")
]

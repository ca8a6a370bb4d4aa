"""`perfkit compare`: two finished runs, where their machines and inputs allow it."""

from __future__ import annotations

from typing import Annotated

import typer

from perfkit.cli.options import ConfigOption, Format, FormatOption


def compare(
    before: Annotated[str, typer.Argument(metavar="RUN", help="The earlier run.")],
    after: Annotated[str, typer.Argument(metavar="RUN", help="The later run.")],
    config: ConfigOption = None,
    form: FormatOption = Format.HUMAN,
) -> None:
    """Compare the speed-ups of two measured runs; refused when their fingerprints differ.

    Only ratios to the reference are compared: each was measured interleaved within its own run. For
    "did my edit help?" use `perfkit measure --against`, which measures both in the same blocks.
    """
    from perfkit import store
    from perfkit.cli.context import emit, open_project
    from perfkit.measure.compare import compare_runs
    from perfkit.report import machine, pages

    project = open_project(config)
    comparison = compare_runs(
        store.open_run(project.profiles, before), store.open_run(project.profiles, after)
    )
    emit(
        form=form,
        output=None,
        page=lambda: pages.compare(comparison),
        document=lambda: machine.compare_json(comparison),
    )

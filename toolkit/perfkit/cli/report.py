"""`perfkit report`: show a finished run again, from its directory alone."""

from __future__ import annotations

from typing import Annotated

import typer

from perfkit.cli.options import ConfigOption, Format, FormatOption, OutputOption


def report(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="Name or path; the newest by default.")
    ] = None,
    path: Annotated[
        bool, typer.Option("--path", help="Print where the report lies, and nothing else.")
    ] = False,
    config: ConfigOption = None,
    form: FormatOption = Format.HUMAN,
    output: OutputOption = None,
) -> None:
    """Show the report of a run again; nothing is built or measured."""
    from perfkit import store
    from perfkit.cli.context import check_output, emit, open_project
    from perfkit.report import replay

    check_output(output)
    project = open_project(config)
    found = store.open_run(project.profiles, run)
    if path:
        print(replay.report_file(found))
        return
    shown = replay.load(found)
    emit(form=form, output=output, page=lambda: shown.page, document=lambda: shown.document)

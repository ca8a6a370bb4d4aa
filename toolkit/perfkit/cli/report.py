"""`perfkit report`: show finished runs again, from their directories alone."""

from __future__ import annotations

from typing import Annotated

import typer

from perfkit.cli import options


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]...", help="Names or paths, in order; the newest by default."),
    ] = None,
    path: Annotated[
        bool, typer.Option("--path", help="Print the path of the report, and nothing else.")
    ] = False,
    config: options.ConfigOption = None,
    form: options.FormatOption = options.Format.HUMAN,
    output: options.OutputOption = None,
) -> None:
    """Show the report of a run again; nothing is built or measured.

    Several runs become one report: each diagnosis in short, and where one workload replaces
    another, what the findings promised beside what was gained.
    """
    from perfkit import store
    from perfkit.cli.context import check_output, emit, open_project
    from perfkit.errors import UsageError
    from perfkit.report import finished

    check_output(output)
    project = open_project(config)
    names: list[str | None] = [*dict.fromkeys(runs)] if runs else [None]
    found = [store.open_run(project.profiles, name) for name in names]
    if path:
        if len(found) > 1:
            message = "--path prints the path of one report"
            raise UsageError(message, remedy="name one run, or write one report with --output")
        print(finished.report_file(found[0]))
        return
    shown = finished.load(found[0]) if len(found) == 1 else finished.load_several(found)
    emit(shown, form=form, output=output)

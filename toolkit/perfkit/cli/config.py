"""`perfkit config`: which configuration applies, value by value, and what each key means."""

from __future__ import annotations

import typer

from perfkit.cli.options import ConfigOption, Format, FormatOption

app = typer.Typer(
    help="Show the configuration in force, or explain its keys.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def show(config: ConfigOption = None, form: FormatOption = Format.HUMAN) -> None:
    """Print each value in force with its origin: file and line, command line, or default."""
    from perfkit.cli.context import emit, open_project
    from perfkit.config import resolved_values
    from perfkit.report import settings

    project = open_project(config)
    shown = settings.values_report(project.file, resolved_values(project))
    emit(shown, form=form, output=None)


@app.command()
def keys(form: FormatOption = Format.HUMAN) -> None:
    """Explain every key that a config may have."""
    from perfkit.cli.context import emit
    from perfkit.config import describe_keys
    from perfkit.report import settings

    emit(settings.keys_report(describe_keys()), form=form, output=None)

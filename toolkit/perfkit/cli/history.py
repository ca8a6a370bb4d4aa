"""`perfkit history`: the runs of a project, newest last."""

from __future__ import annotations

from perfkit.cli.options import ConfigOption, Format, FormatOption


def history(config: ConfigOption = None, form: FormatOption = Format.HUMAN) -> None:
    """List the runs of this project with their commands, ends and exit codes."""
    from perfkit import store
    from perfkit.cli.context import emit, open_project
    from perfkit.report import runs

    project = open_project(config)
    found = store.list_runs(project.profiles)
    emit(runs.history_report(found), form=form, output=None)

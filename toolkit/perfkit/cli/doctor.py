"""`perfkit doctor`: what is installed, permitted and missing, and the line that fixes it."""

from __future__ import annotations

import typer

from perfkit.cli.options import ConfigOption, Format, FormatOption


def doctor(config: ConfigOption = None, form: FormatOption = Format.HUMAN) -> None:
    """Check tools, permissions and the machine; needs no config.

    Exits with 6 if something required is missing, otherwise with 0.
    """
    import os
    from pathlib import Path

    from perfkit.checks.doctor import all_required_ok
    from perfkit.checks.doctor import doctor as examine
    from perfkit.cli.context import emit
    from perfkit.config import embedded_default, find_config, load_project
    from perfkit.errors import ExitCode
    from perfkit.report import machine
    from perfkit.report.doctoring import doctor_page

    environ = dict(os.environ)
    here = Path.cwd()
    project = None
    if config or find_config(here) or embedded_default():
        project = load_project(start=here, environ=environ, path=config)
    checks = examine(project, environ)
    emit(machine.report_of(doctor_page(checks), {"checks": checks}), form=form, output=None)
    if not all_required_ok(checks):
        raise typer.Exit(int(ExitCode.MISSING))

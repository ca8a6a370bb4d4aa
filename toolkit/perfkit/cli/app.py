"""The `perfkit` command: its subcommands, and where an error becomes an exit code."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn

import typer

from perfkit import __version__
from perfkit.cli import (
    cache,
    compare,
    config,
    diagnose,
    doctor,
    history,
    init,
    measure,
    profile,
    report,
    tune,
)
from perfkit.errors import PerfkitError

app = typer.Typer(
    name="perfkit",
    no_args_is_help=True,
    # Plain help texts: rich costs more than half of what `perfkit --help` takes.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    # typer coerces each option of the group before any `COMMAND --help`, which `benches/startup.py`
    # sees: so the group has no completion options, and `--version` is read by `main`.
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(doctor.doctor)
app.command()(init.init)
app.command()(measure.measure)
app.command(context_settings={"ignore_unknown_options": False})(profile.profile)
app.command()(diagnose.diagnose)
app.command()(tune.tune)
app.command()(report.report)
app.command()(compare.compare)
app.command()(history.history)
app.add_typer(config.app, name="config")
app.add_typer(cache.app, name="cache")


@app.callback()
def perfkit() -> None:
    """Where the time of a call into a Rust extension goes, and what to do about it.

    `perfkit --version` prints the version.

    Exit codes: 0 judged and good, 1 error, 2 usage or config, 3 a gate is not met, 4 measured but
    no verdict, 5 the build failed, 6 a tool or permission is missing, 130 interrupted.
    """


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM unwinds like an exception, so that children are ended and files are whole."""
    sys.exit(128 + signal.SIGTERM)


def main() -> None:
    """Run the command line; an error perfkit knows ends it with its message and its code."""
    signal.signal(signal.SIGTERM, _terminated)
    if sys.argv[1:] == ["--version"]:
        print(f"perfkit {__version__}")
        return
    try:
        app(prog_name="perfkit")
    except PerfkitError as error:
        print(f"perfkit: {error}", file=sys.stderr)
        sys.exit(int(error.exit_code))

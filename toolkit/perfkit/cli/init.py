"""`perfkit init`: a commented config for an existing maturin project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The project; the current folder by default.")
    ] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> None:
    """Write perfkit.toml and workloads.py for a maturin project, to be completed by hand."""
    import os

    from perfkit.checks.init import initialise
    from perfkit.cli.context import tell

    for path in initialise(folder.resolve(), environ=dict(os.environ), force=force):
        tell(f"Wrote {path}")

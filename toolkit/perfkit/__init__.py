"""perfkit: where the time of a call into a Rust extension goes, proved.

Importing the package loads nothing heavy: the command line must answer `--help` as fast as typer.
"""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = ["__version__"]

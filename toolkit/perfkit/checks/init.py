"""A commented `perfkit.toml` and a `workloads.py` to fill in, for a maturin project without them.

What was not found is a commented line that says so: nothing is guessed in its place. The texts are
in `perfkit.toml.jinja` and `workloads.py.jinja`; the discovery is in `discover`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from perfkit.checks.discover import discover
from perfkit.config import CONFIG_FILE
from perfkit.errors import UsageError
from perfkit.store import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.checks.discover import Discovery

WORKLOADS_FILE = "workloads.py"


def initialise(folder: Path, *, environ: Mapping[str, str], force: bool = False) -> list[Path]:
    """Write both files.

    Args:
        folder: the maturin project.
        environ: perfkit's own environment; its virtual environment may be the project's.
        force: overwrite what is there.

    Returns:
        The files that were written.

    Raises:
        UsageError: a file is there already and `force` is not given; nothing is written then.
        ConfigError: this is not a maturin project, or cargo cannot read it.
    """
    targets = [folder / CONFIG_FILE, folder / WORKLOADS_FILE]
    existing = [path.name for path in targets if path.exists()]
    if existing and not force:
        message = f"{' and '.join(existing)} exist{'s' if len(existing) == 1 else ''} already"
        raise UsageError(message, where=str(folder), remedy="use --force to overwrite")
    found = discover(folder, environ)
    templates = _templates(found)
    for path in targets:
        text = templates.get_template(f"{path.name}.jinja").render(
            found=found,
            python=_python(folder, environ),
            tuning=[constant for constant in found.constants if constant.is_tuning],
            others=[constant for constant in found.constants if not constant.is_tuning],
        )
        write_whole(path, text)
    return targets


def _python(folder: Path, environ: Mapping[str, str]) -> str | None:
    """The project's own interpreter: its `.venv`, else the environment that is active."""
    for name in (".venv", "venv"):
        if os.access(folder / name / "bin" / "python", os.X_OK):
            return f"{name}/bin/python"
    active = environ.get("VIRTUAL_ENV")
    if active and os.access(Path(active) / "bin" / "python", os.X_OK):
        return str(Path(active) / "bin" / "python")
    return None


def _templates(found: Discovery) -> jinja2.Environment:
    """Both texts, with the filters that they use."""
    made = jinja2.Environment(  # plain text, never a page
        loader=jinja2.PackageLoader("perfkit.checks", ""),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"quote": _quote, "one_line": _one_line, "more": _more}
    # A workspace can be beside or above the folder, and the config's paths start at the folder.
    folder = found.folder.resolve()
    made.filters["relative"] = lambda path: Path(os.path.relpath(path, folder)).as_posix()
    return made


def _quote(text: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's."""
    return json.dumps(text, ensure_ascii=False)


def _one_line(value: str, length: int) -> str:
    text = " ".join(value.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def _more(left_out: Sequence[object]) -> str:
    return f" and {len(left_out)} more" if left_out else ""

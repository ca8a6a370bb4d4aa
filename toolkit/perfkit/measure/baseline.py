"""Builds kept under a name: `--save-baseline` and `--baseline`.

A build is kept, never its times: times of another day do not compare, but a build can be measured
again in the same blocks. What is compared is in `variants.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from perfkit import store
from perfkit.config import did_you_mean
from perfkit.errors import StoreError, UsageError
from perfkit.records import Build
from perfkit.subject import cache as builds

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.config import Project

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def folder(project: Project, cache: Path) -> Path:
    """Where a project's kept builds are."""
    return builds.project_folder(project, cache) / "baselines"


def save(project: Project, cache: Path, name: str, build: Build) -> Path:
    """Keep a byte copy of a build under a name; an earlier one of that name is replaced.

    Returns:
        Its folder.

    Raises:
        UsageError: the name cannot be one of a folder.
    """
    if _NAME.fullmatch(name) is None:
        message = f"{name!r} is not a valid name for a baseline"
        raise UsageError(message, remedy="use letters, digits, `.`, `_` and `-`")
    place = folder(project, cache) / name
    fresh = place.with_name(f".{name}.new")
    store.remove_tree(fresh)
    builds.keep(place, fresh, builds.copied(build, fresh), {"baseline": name})
    return place


def load(project: Project, cache: Path, name: str) -> Build:
    """The build that was kept under a name, proved by its hash.

    Raises:
        UsageError: there is none of that name. A missing baseline never looks like a pass.
        StoreError: it is damaged.
    """
    place = folder(project, cache) / name
    if not (place / builds.BUILD_FILE).is_file():
        known = names(project, cache)
        message = f"there is no baseline {name!r}{did_you_mean(name, known)}"
        remedy = f"keep one first: perfkit measure --save-baseline {name}"
        if known:
            remedy += f"; there are: {', '.join(known)}"
        raise UsageError(message, where=str(folder(project, cache)), remedy=remedy)
    try:
        return builds.load(Build, place)
    except StoreError as error:
        message = f"the baseline {name!r} is damaged: {error.message}"
        raise StoreError(message, where=error.where, remedy="save it again") from error


def names(project: Project, cache: Path) -> list[str]:
    """The names of all kept builds."""
    files = folder(project, cache).glob(f"[!.]*/{builds.BUILD_FILE}")
    return sorted(file.parent.name for file in files)

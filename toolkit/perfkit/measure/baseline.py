"""Builds kept under a name: `--save-baseline` and `--baseline`.

A build is kept, never its times: times of another day do not compare, but a build can be measured
again in the same blocks. What is compared is in `variants.py`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shutil
from typing import TYPE_CHECKING

from perfkit import store
from perfkit.config import did_you_mean
from perfkit.errors import StoreError, UsageError
from perfkit.subject import kept

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.config import Project
    from perfkit.records import Build

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def folder(project: Project, cache: Path) -> Path:
    """Where a project's kept builds are."""
    return cache / "projects" / store.project_key(project.root) / "baselines"


def save(project: Project, cache: Path, name: str, build: Build) -> Path:
    """Keep a byte copy of a build under a name; an earlier one of that name is replaced.

    Returns:
        Its folder.

    Raises:
        UsageError: the name cannot be one of a folder.
    """
    if _NAME.fullmatch(name) is None:
        message = f"{name!r} is no name for a baseline"
        raise UsageError(message, remedy="use letters, digits, `.`, `_` and `-`")
    place = folder(project, cache) / name
    fresh = place.with_name(f".{name}.new")
    store.remove_tree(fresh)
    shutil.copytree(build.root, fresh / "root")
    moved = dataclasses.replace(
        build,
        root=place / "root",
        module_file=place / "root" / build.module_file.relative_to(build.root),
    )
    kept.save(fresh, moved, {"baseline": name})
    store.remove_tree(place)
    fresh.rename(place)
    return place


def load(project: Project, cache: Path, name: str) -> Build:
    """The build that was kept under a name, proved by its hash.

    Raises:
        UsageError: there is none of that name. A missing baseline never looks like a pass.
        StoreError: it is damaged.
    """
    place = folder(project, cache) / name
    record = place / kept.BUILD_FILE
    if not record.is_file():
        known = names(project, cache)
        message = f"there is no baseline {name!r}{did_you_mean(name, known)}"
        remedy = f"keep one first: perfkit measure --save-baseline {name}"
        if known:
            remedy += f"; there are: {', '.join(known)}"
        raise UsageError(message, where=str(folder(project, cache)), remedy=remedy)
    try:
        build = kept.read_build(store.read_json(record)["build"])
        found = hashlib.sha256(build.module_file.read_bytes()).hexdigest()
    except (KeyError, TypeError, ValueError, OSError) as error:
        message = f"the baseline {name!r} cannot be read: {error}"
        raise StoreError(message, where=str(place), remedy="save it again") from error
    if found != build.file_sha256:
        message = f"the baseline {name!r} is damaged: its extension has another hash"
        raise StoreError(message, where=str(build.module_file), remedy="save it again")
    return build


def names(project: Project, cache: Path) -> list[str]:
    """The names of all kept builds."""
    place = folder(project, cache)
    if not place.is_dir():
        return []
    return sorted(path.parent.name for path in place.glob(f"[!.]*/{kept.BUILD_FILE}"))

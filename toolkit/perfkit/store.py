"""Run directories, the cache and the project lock: everything that perfkit keeps on disk.

Files are written whole and renamed into place; journals are appended line by line and synced. Raw
output comes first and stays, so that every analysis can be run again from the directory. What a
file means is not known here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar

import filelock
import platformdirs

from perfkit.errors import ProjectLockedError, StoreError
from perfkit.records import RUN_VERSION

RUN_FILE = "run.json"
Record = TypeVar("Record")
Shape = Callable[[object, dict[str, Any]], dict[str, Any]]

_SUBDIRECTORIES = ("raw", "stacks", "flame", "tables", "iterations")


def to_json(value: object, *, shape: Shape = lambda _, fields: fields) -> Any:  # noqa: ANN401  # JSON
    """A record as JSON types: dataclasses to objects, paths and enums to strings.

    Args:
        shape: what becomes of a record and its fields, which are JSON already.

    Raises:
        TypeError: a value has no place in a record, or is a number that JSON cannot hold (NaN,
            infinity): a figure that is not known is None.
    """
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            message = f"{value} cannot be written: a figure that is not known is None"
            raise TypeError(message)
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = (field.name for field in dataclasses.fields(value))
        return shape(value, {name: to_json(getattr(value, name), shape=shape) for name in names})
    if isinstance(value, Mapping):
        return {str(key): to_json(item, shape=shape) for key, item in value.items()}
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, Sequence | set | frozenset):
        return [to_json(item, shape=shape) for item in value]
    message = f"{type(value).__name__} has no place in a record"
    raise TypeError(message)


def from_json(record: type[Record], value: object, *, where: str = "") -> Record:
    """The record that `to_json` was made from; strict, because a guess would become a figure.

    A key that is missing reads as its default where that says "not known" (None, or nothing in it):
    so an older run can be read after a record got a new key. Any other default would be a guess.

    Args:
        record: the class; its fields may hold what `to_json` takes.
        value: JSON types.
        where: the file, for messages.

    Raises:
        StoreError: a key is missing or unknown, or a value is of another type; with its path.
    """
    import pydantic  # here, because most commands read no record back

    where = where or record.__name__
    if isinstance(value, dict):  # `write_record` puts it in front of the record
        value = {key: item for key, item in value.items() if key != "schema_version"}
    remedy = "use the perfkit that wrote it"
    version = f"schema version {RUN_VERSION} as this perfkit knows it"
    try:
        adapter = pydantic.TypeAdapter(record)
        read = adapter.validate_json(json.dumps(value), strict=True, extra="forbid")
    except pydantic.ValidationError as error:
        fault = error.errors()[0]
        place = ".".join([where, *map(str, fault["loc"])])
        message = f"holds {fault['input']!r}, which is not {version}: {fault['msg']}"
        raise StoreError(message, where=place, remedy=remedy) from error
    guessed = _guessed(to_json(read), value)
    if guessed is not None:
        message = f"is missing, so the file is not {version}"
        raise StoreError(message, where=f"{where}{guessed}", remedy=remedy)
    return read


def _guessed(read: Any, value: Any) -> str | None:  # noqa: ANN401  # the JSON types
    """The place of a key that is not in the file and whose default says more than "not known"."""
    if isinstance(read, list) and isinstance(value, list):
        read, value = dict(enumerate(read)), dict(enumerate(value))
    if isinstance(read, dict) and isinstance(value, dict):
        for key, item in read.items():
            if key in value:
                found = _guessed(item, value[key])
            else:
                found = None if item in (None, [], {}, "") else ""
            if found is not None:
                return f".{key}{found}"
    return None


def dump_json(value: object) -> str:
    """A record as indented JSON text with a final newline."""
    return json.dumps(to_json(value), indent=2, ensure_ascii=False) + "\n"


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part.

    Raises:
        StoreError: the disk is full or the place is not writable.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with _refused(path, "cannot be written", "free space or choose --output"):
        try:
            _write_synced(temporary, "wb", data)
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def _write_synced(path: Path, mode: Literal["wb", "ab"], data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open(mode) as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


@contextlib.contextmanager
def _refused(path: Path, what: str, remedy: str = "") -> Iterator[None]:
    """Turn the system's refusal to write into an error that says what to do."""
    try:
        yield
    except OSError as error:
        message = f"{what}: {error.strerror or error}"
        raise StoreError(message, where=str(path), remedy=remedy) from error


def append_line(path: Path, value: object) -> None:
    """Append one record to a journal, synced: a kill loses at most the line being written.

    Raises:
        StoreError: the journal cannot be written.
    """
    line = json.dumps(to_json(value), ensure_ascii=False) + "\n"
    with _refused(path, "cannot be appended to", "free space on the disk"):
        _write_synced(path, "ab", line.encode())


def read_json(path: Path) -> Any:  # noqa: ANN401  # the JSON types
    """Read a JSON file that perfkit wrote.

    Raises:
        StoreError: it is missing, broken, or of a schema that this perfkit does not know.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        message = "does not exist"
        raise StoreError(message, where=str(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        message = f"cannot be read: {error}"
        raise StoreError(message, where=str(path)) from error
    except json.JSONDecodeError as error:
        message = f"is not valid JSON: {error.msg}"
        raise StoreError(message, where=f"{path}:{error.lineno}") from error
    version = value.get("schema_version", RUN_VERSION) if isinstance(value, dict) else None
    if version is not None and version != RUN_VERSION:
        message = f"has schema version {version}; this perfkit reads {RUN_VERSION}"
        raise StoreError(message, where=str(path), remedy="use the perfkit that wrote it")
    return value


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Read a journal. A last line that a kill cut short is dropped; any other broken line is an
    error.

    Raises:
        StoreError: a line that is not the last one is broken.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    records: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number == len(lines):  # no newline behind it: the write was cut short
                break
            message = f"is not valid JSON: {error.msg}"
            raise StoreError(message, where=f"{path}:{number}") from error
    return records


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run directory. Paths given to its methods are relative to it."""

    directory: Path

    @property
    def id(self) -> str:
        """The directory's name, by which `report` and `compare` find it."""
        return self.directory.name

    def path(self, name: str | Path) -> Path:
        """The place of a file of this run; its folder exists afterwards."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: str | Path, content: str | bytes) -> Path:
        """Write a file whole and return its place."""
        path = self.path(name)
        write_whole(path, content)
        return path

    def write_record(self, name: str | Path, value: object) -> Path:
        """Write a record as JSON, with the schema version in front."""
        document = {"schema_version": RUN_VERSION, **to_json(value)}
        return self.write(name, dump_json(document))

    def append(self, name: str | Path, value: object) -> None:
        """Append one line to a journal."""
        append_line(self.path(name), value)

    def relative(self, path: Path) -> Path:
        """A path of this run, relative to its directory."""
        return path.resolve().relative_to(self.directory.resolve())


def create_run(profiles: Path, command: str, header: Mapping[str, object]) -> Run:
    """Make a new run directory with its `run.json`.

    Each one has its own `.gitignore`, so that the user's repository stays clean whatever
    it ignores.

    Args:
        profiles: the folder of all runs.
        command: the perfkit command; part of the directory's name.
        header: what else `run.json` says, see `perfkit.run_files.RunHeader`.
    """
    stamp = datetime.now(UTC)
    name = f"{stamp:%Y%m%dT%H%M%S}-{command}-{secrets.token_hex(2)}"
    directory = profiles / name
    with _refused(directory, "cannot be made"):
        for folder in _SUBDIRECTORIES:
            (directory / folder).mkdir(parents=True)
        (directory / ".gitignore").write_text("*\n", encoding="utf-8")
    run = Run(directory=directory)
    began = {"id": name, "command": command, "started": stamp.isoformat()}
    run.write_record(RUN_FILE, {**began, **header})
    return run


def list_runs(profiles: Path, command: str | None = None) -> list[Run]:
    """All runs, oldest first; of one command when it is named."""
    if not profiles.is_dir():
        return []
    found = sorted(path.parent for path in profiles.glob(f"*/{RUN_FILE}"))
    return [Run(directory=path) for path in found if command is None or f"-{command}-" in path.name]


def open_run(profiles: Path, name: str | None) -> Run:
    """A run by its name, its path, or the newest one when nothing is named.

    Raises:
        StoreError: there is no such run.
    """
    if name is not None:
        for candidate in (profiles / name, Path(name)):
            if (candidate / RUN_FILE).is_file():
                return Run(directory=candidate)
        known = ", ".join(run.id for run in list_runs(profiles)[-5:]) or "none"
        message = f"there is no run {name!r}; the newest are: {known}"
        raise StoreError(message, where=str(profiles))
    runs = list_runs(profiles)
    if not runs:
        message = "there is no run yet"
        remedy = "run `perfkit measure`, `profile`, `diagnose` or `tune` first"
        raise StoreError(message, where=str(profiles), remedy=remedy)
    return runs[-1]


def prune_empty(run: Run) -> None:
    """Remove the folders of a run that nothing was written to."""
    for folder in _SUBDIRECTORIES:
        path = run.directory / folder
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def cache_directory(environ: Mapping[str, str]) -> Path:
    """Where builds are kept: `PERFKIT_CACHE_DIR`, else the platform's cache folder."""
    override = environ.get("PERFKIT_CACHE_DIR")
    return Path(override) if override else platformdirs.user_cache_path("perfkit")


def project_key(root: Path) -> str:
    """A short stable name for a project's place in the cache."""
    digest = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]
    return f"{root.resolve().name}-{digest}"


@contextlib.contextmanager
def project_lock(cache: Path, root: Path, command: str) -> Iterator[None]:
    """Hold the project: two perfkits at once would disturb each other's builds and timings.

    The lock goes away with the process, also on `kill -9`.

    Raises:
        ProjectLockedError: another perfkit holds it; the message says which.
        StoreError: the cache cannot be written.
    """
    place = cache / "projects" / project_key(root)
    holder = place / "holder.json"
    lock = filelock.FileLock(place / "lock")
    remedy = "name a folder that can be written in PERFKIT_CACHE_DIR"
    with _refused(place, "the cache cannot be used", remedy), contextlib.suppress(filelock.Timeout):
        place.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    if not lock.is_locked:
        who = "another perfkit"
        with contextlib.suppress(OSError, ValueError, KeyError):
            told = json.loads(holder.read_text(encoding="utf-8"))
            who = f"`perfkit {told['command']}` (process {told['pid']})"
        message = f"{who} is already working on this project"
        remedy = "wait for it to finish, then try again"
        raise ProjectLockedError(message, where=str(root), remedy=remedy)
    try:
        write_whole(holder, dump_json({"command": command, "pid": os.getpid()}))
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def every_project_lock(cache: Path) -> Iterator[None]:
    """Hold all projects of the cache, so that nothing is removed under a running perfkit.

    Raises:
        ProjectLockedError: another perfkit holds one of them.
    """
    with contextlib.ExitStack() as stack:
        for place in sorted((cache / "projects").glob("*/lock")):
            lock = filelock.FileLock(place)
            try:
                stack.enter_context(lock.acquire(blocking=False))
            except filelock.Timeout as error:
                message = "another perfkit is working with a build of the cache"
                remedy = "wait for it to finish, then try again"
                raise ProjectLockedError(message, where=str(place.parent), remedy=remedy) from error
        yield


def folder_size(path: Path) -> int:
    """Bytes of all files below a folder; links are not followed."""
    return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())


def remove_tree(path: Path) -> None:
    """Remove a folder of the cache with everything below it; missing is fine."""
    if path.exists():
        shutil.rmtree(path)

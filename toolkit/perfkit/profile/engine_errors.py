"""What the engine refuses, as a failure of the catalogue: with file, line and what to do."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from perfkit import _engine
from perfkit.errors import StoreError, UnreadableOutputError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def named() -> Iterator[None]:
    """Around a call of the engine, or as a decorator of what calls it.

    Raises:
        UnreadableOutputError: a file is none of a profiler's.
        StoreError: a file cannot be written.
    """
    try:
        yield
    except _engine.EngineInputError as error:
        place = "" if error.path is None else str(error.path)
        if error.line is not None:
            place += f":{error.line}"
        raise UnreadableOutputError(str(error), where=place, remedy="profile again") from error
    except _engine.EnginePanic as error:
        remedy = "profile again; where it comes again, another version of the tool may help"
        raise UnreadableOutputError(str(error), remedy=remedy) from error
    except _engine.EngineError as error:
        remedy = "make room, or name another directory"
        raise StoreError(str(error), remedy=remedy) from error

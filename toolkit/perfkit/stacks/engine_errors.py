"""What the engine refuses, as a failure of the catalogue: with file, line and what to do."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from perfkit import _engine
from perfkit.errors import StoreError, UnreadableOutputError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def named(remedy: str = "profile again") -> Iterator[None]:
    """Around a call of the engine, or as a decorator of the function that calls it.

    Args:
        remedy: what to do about an input that the engine cannot read.

    Raises:
        UnreadableOutputError: an input is damaged or not in the expected format.
        StoreError: a file cannot be written.
    """
    try:
        yield
    except _engine.EngineInputError as error:
        place = "" if error.path is None else str(error.path)
        if error.line is not None:
            place += f":{error.line}"
        message = str(error).removeprefix(f"{place}: ")
        raise UnreadableOutputError(message, where=place, remedy=remedy) from error
    except _engine.EnginePanic as error:
        remedy = "profile again; if it fails again, try another version of the tool"
        raise UnreadableOutputError(str(error), remedy=remedy) from error
    except _engine.EngineError as error:
        remedy = "free some disk space, or choose another directory"
        raise StoreError(str(error), remedy=remedy) from error

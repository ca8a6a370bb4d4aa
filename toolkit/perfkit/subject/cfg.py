"""Cargo's `cfg(...)` expressions: whether one holds for a target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit import process
from perfkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def facts(triple: str, environment: Mapping[str, str]) -> Sequence[str]:
    """Ask rustc what holds for a target: lines such as `unix` and `target_os="linux"`."""
    rustc = process.require_program("rustc", environment)
    done = process.run([rustc, "--print", "cfg", "--target", triple], env=environment, timeout_s=60)
    return done.stdout.splitlines()


def holds(expression: str, facts: Sequence[str]) -> bool:
    """Whether `cfg(...)` holds.

    Raises:
        ConfigError: it is not such an expression.
    """
    from perfkit import _engine  # here, because most builds need no engine

    try:
        return _engine.cfg_holds(expression, facts)
    except _engine.EngineInputError as error:
        message = f"`{expression}` in a .cargo/config.toml is no cfg expression"
        remedy = "correct it as the cargo reference describes it"
        raise ConfigError(message, details=str(error), remedy=remedy) from error

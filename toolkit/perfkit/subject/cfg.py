"""Cargo's `cfg(...)` expressions: whether one holds for a target. Knows nothing of files or flags.

The grammar, as cargo's reference gives it:

    cfg(unix)
    cfg(target_arch = "x86_64")
    cfg(all(unix, not(target_os = "macos"), any(target_env = "gnu", target_env = "musl")))
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from perfkit import process
from perfkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

Facts = frozenset[tuple[str, str | None]]
"""What `rustc --print cfg` says: names alone, and names with a value."""

_TOKEN = re.compile(r'\s*(?:(?P<name>[A-Za-z_]\w*)|"(?P<text>[^"]*)"|(?P<mark>[(),=]))')


def facts(triple: str, environment: Mapping[str, str]) -> Facts:
    """Ask rustc what holds for a target."""
    rustc = process.require_program("rustc", environment)
    done = process.run([rustc, "--print", "cfg", "--target", triple], env=environment, timeout_s=60)
    return parse_facts(done.stdout)


def parse_facts(text: str) -> Facts:
    """Read the lines `name` and `name="value"`."""
    found: set[tuple[str, str | None]] = set()
    for line in text.split():
        name, equals, value = line.partition("=")
        found.add((name, value.strip('"') if equals else None))
    return frozenset(found)


def holds(expression: str, known: Facts) -> bool:
    """Whether `cfg(...)` holds.

    Raises:
        ConfigError: it is no such expression.
    """
    tokens: list[tuple[str, str]] = []
    position = 0
    text = expression.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _refused(expression)
        kind = match.lastgroup or ""
        tokens.append((kind, match[kind]))
        position = match.end()
    reader = _Reader(expression, tokens, known)
    if reader.word() != "cfg":
        raise _refused(expression)
    (value,) = reader.arguments(one=True)
    reader.end()
    return value


class _Reader:
    """Walks the tokens from left to right."""

    def __init__(self, expression: str, tokens: list[tuple[str, str]], known: Facts) -> None:
        self._expression = expression
        self._tokens = tokens
        self._known = known

    def word(self) -> str:
        kind, text = self._next()
        if kind != "name":
            raise _refused(self._expression)
        return text

    def end(self) -> None:
        if self._tokens:
            raise _refused(self._expression)

    def arguments(self, *, one: bool = False) -> list[bool]:
        self._expect("(")
        values: list[bool] = []
        while not self._is(")"):
            values.append(self._predicate())
            if self._is(","):
                self._next()
            elif not self._is(")"):
                raise _refused(self._expression)
        self._expect(")")
        if one and len(values) != 1:
            raise _refused(self._expression)
        return values

    def _predicate(self) -> bool:
        name = self.word()
        if self._is("("):
            if name == "all":
                return all(self.arguments())
            if name == "any":
                return any(self.arguments())
            if name == "not":
                return not self.arguments(one=True)[0]
            raise _refused(self._expression)
        if self._is("="):
            self._next()
            kind, value = self._next()
            if kind != "text":
                raise _refused(self._expression)
            return (name, value) in self._known
        if name in ("true", "false"):
            return name == "true"
        return (name, None) in self._known

    def _is(self, mark: str) -> bool:
        return bool(self._tokens) and self._tokens[0] == ("mark", mark)

    def _expect(self, mark: str) -> None:
        if self._next() != ("mark", mark):
            raise _refused(self._expression)

    def _next(self) -> tuple[str, str]:
        if not self._tokens:
            raise _refused(self._expression)
        return self._tokens.pop(0)


def _refused(expression: str) -> ConfigError:
    message = f"`{expression}` in a .cargo/config.toml is no cfg expression"
    return ConfigError(message, remedy="correct it as the cargo reference describes it")

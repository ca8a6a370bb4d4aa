"""The layer of a stack, by the rules of `layers.toml`. What the time in a layer means for a call is
in `split.py`.
"""

from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from perfkit.errors import ConfigError
from perfkit.records import FFI_LAYERS, Layer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from perfkit.config import LayerRule

_SUFFIX = re.compile(
    r"(_\[[kj]\]|@plt|@@?[A-Z][A-Za-z]*_[\w.]+|\.llvm\.\d+|\.(cold|part|isra|constprop|lto_priv)(\.\d+)?)+$"
)
_UNRESOLVED = re.compile(
    r"^(\[(?!vdso\]|perfkit)[^\]]*\](_\[[kj]\])?|0x[0-9a-f]+( \([^()]*\))?|\?\?|unknown)$"
)
_KEEPS_ALLOCATION = (Layer.COMPUTE, Layer.MATH, Layer.POOL, Layer.INTERPRETER)
"""Callers whose own allocations stay with them: allocation is a layer of the boundary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule of the table: see the head of `layers.toml`."""

    layer: Layer | None
    pattern: re.Pattern[str]
    asks: bool = False
    helper: bool = False
    encloses: bool = False


_ENTRY = re.compile(
    r"^(__libc_start_main\w*|__libc_start_call_main|_?_?clone3?|__GI___clone3?|start_thread|"
    r"ret_from_fork(_asm)?|_dl_start_user|thread_start|_start|main)$"
)
"""As the engine's `is_thread_entry` has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The layer of a stack.

    Attributes:
        layer: what the frames that are there say, or would say if nothing called them.
        index: of the frame that decided; None when no rule matched.
        decided: False where another caller could have changed the layer: no rule matched, the frame
            has no name, or one that asks its caller had none.
    """

    layer: Layer
    index: int | None
    decided: bool = True


class Layers:
    """The rules for one subject.

    Args:
        crates: names of the subject's own crates, as Rust writes them.
        extra: rules of the config; tried before the built-in ones.

    Raises:
        ConfigError: a pattern of the config is not a regular expression.
    """

    def __init__(self, crates: Iterable[str], extra: Sequence[LayerRule] = ()) -> None:
        self.crates = tuple(sorted({crate.replace("-", "_") for crate in crates if crate}))
        # Without a crate the subject's own rule must match nothing rather than everything.
        words = "|".join(re.escape(crate) for crate in self.crates) or r"(?!)"
        own = [_user_rule(index, rule) for index, rule in enumerate(extra)]
        self._rules = (*own, *_builtin(words))
        self._of_frame = functools.lru_cache(maxsize=65_536)(self._match)

    def classify(self, stack: Sequence[str]) -> Layer:
        """The layer that a stack's time belongs to; frames from the root to the leaf."""
        return self.decide(stack).layer

    def decide(self, stack: Sequence[str]) -> Decision:
        """The layer of a stack, and which of its frames said so."""
        pending: tuple[Layer, int] | None = None
        helper: tuple[Layer, int] | None = None
        for index in range(len(stack) - 1, -1, -1):
            frame = stack[index]
            rule = self._of_frame(frame)
            if rule is None:
                if pending is None and helper is None and is_unresolved(frame):
                    return Decision(layer=Layer.OTHER, index=index, decided=False)
                continue
            if rule.layer is None:
                continue
            if rule.asks:
                pending = pending or (rule.layer, index)
                continue
            if rule.helper and pending is None:
                helper = helper or (rule.layer, index)
                continue
            converting = self._enclosing(stack, index) if rule.layer is Layer.COMPUTE else None
            layer, index = converting or (rule.layer, index)
            if pending is not None and layer not in _KEEPS_ALLOCATION:
                return Decision(layer=pending[0], index=pending[1])
            if helper is not None and layer not in FFI_LAYERS:
                return Decision(layer=helper[0], index=helper[1])
            return Decision(layer=layer, index=index)
        last = pending or helper
        if last is not None:
            return Decision(layer=last[0], index=last[1], decided=False)
        return Decision(layer=Layer.OTHER, index=None, decided=False)

    def _enclosing(self, stack: Sequence[str], inner: int) -> tuple[Layer, int] | None:
        """The conversion that the subject's own code runs for, up to the entry of the call."""
        for index in range(inner - 1, -1, -1):
            rule = self._of_frame(stack[index])
            if rule is None or rule.layer is None or rule.layer is Layer.COMPUTE:
                continue
            if rule.encloses:
                return rule.layer, index
            if rule.layer is Layer.INTERPRETER or (rule.layer is Layer.GLUE and not rule.helper):
                return None
        return None

    def of_frame(self, frame: str) -> Layer | None:
        """The layer that one frame alone stands for; None for a frame that asks its caller."""
        rule = self._of_frame(frame)
        return rule.layer if rule is not None else None

    def _match(self, frame: str) -> Rule | None:
        name = _SUFFIX.sub("", frame)
        for rule in self._rules:
            if rule.pattern.search(name):
                return rule
        return None


def is_unresolved(frame: str) -> bool:
    """Whether a frame has no name: `[unknown]`, `[libfoo.so]`, a bare address."""
    return _UNRESOLVED.match(frame) is not None


def is_cut(stack: Sequence[str]) -> bool:
    """Whether the unwinder lost a stack's outer part: its first frame below the thread's root frame
    is no entry of a thread, or there is none.
    """
    return len(stack) < 2 or _ENTRY.match(_SUFFIX.sub("", stack[1])) is None


def crate_names(rustc: Iterable[str], module: str) -> tuple[str, ...]:
    """The subject's own crates: those on the rustc lines of its build, and the module's name."""
    found = {match[1] for line in rustc for match in re.finditer(r"--crate-name[ =](\w+)", line)}
    return tuple(sorted((found | {module.rpartition(".")[2]}) - {"build_script_build"}))


def _user_rule(index: int, rule: LayerRule) -> Rule:
    try:
        return Rule(layer=rule.layer, pattern=re.compile(rule.frame))
    except re.error as error:
        message = f"`{rule.frame}` is not a regular expression: {error}"
        raise ConfigError(message, where=f"layers[{index}].frame", remedy="correct it") from error


@functools.cache
def _builtin(crates: str) -> tuple[Rule, ...]:
    text = resources.files("perfkit.stacks").joinpath("layers.toml").read_text(encoding="utf-8")
    return tuple(
        Rule(
            layer=Layer(item["layer"]) if "layer" in item else None,
            pattern=re.compile(item["frame"].replace("{crates}", crates)),
            asks=bool(item.get("asks", False)),
            helper=bool(item.get("helper", False)),
            encloses=bool(item.get("encloses", False)),
        )
        for item in tomllib.loads(text)["rule"]
    )

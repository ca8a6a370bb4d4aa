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
_CRATE = re.compile(r"^[<&*(\[]*(?:(?:mut|const|dyn) )?(\w+)::")
_KEEPS_ALLOCATION = (Layer.COMPUTE, Layer.MATH, Layer.POOL, Layer.INTERPRETER)
"""Callers whose own allocations stay with them: allocation is a layer of the boundary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule of the table: see the head of `layers.toml`."""

    layer: Layer | None
    pattern: re.Pattern[str]
    asks: bool = False
    released: bool = False
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


@dataclass(slots=True, kw_only=True)
class _Asked:
    """The frames seen so far that leave the layer to their caller: what each would decide, and its
    index.
    """

    pending: tuple[Layer, int] | None = None
    helper: tuple[Layer, int] | None = None
    stranger: int | None = None
    released: bool = False

    @property
    def nothing(self) -> bool:
        """Whether no rule has matched yet."""
        return self.pending is None and self.helper is None

    def stays_with(self, layer: Layer) -> bool:
        """Whether an allocation is the caller's own."""
        return layer in _KEEPS_ALLOCATION and not (self.released and layer is Layer.INTERPRETER)


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
        """The layer of a stack, and which of its frames said so.

        A Rust crate that no rule knows, a stranger, works for the subject where the subject called
        it, and where a pool runs it. Where PyO3's glue called it, it is another module's, or a part
        of the subject that lost its name: neither is the subject's glue.
        """
        asked = _Asked()
        for index in range(len(stack) - 1, -1, -1):
            frame = stack[index]
            rule = self._of_frame(frame)
            if rule is None:
                if asked.nothing and is_unresolved(frame):
                    return Decision(layer=Layer.OTHER, index=index, decided=False)
                if asked.stranger is None and crate_of(frame):
                    asked.stranger = index
            elif rule.asks or rule.released:
                asked.released |= rule.released
                asked.pending = asked.pending or (rule.layer or Layer.ALLOCATION, index)
            elif rule.helper and asked.pending is None:
                asked.helper = asked.helper or (rule.layer or Layer.GLUE, index)
            elif rule.layer is not None:
                return self._told(stack, index, rule.layer, asked)
        last = asked.pending or asked.helper
        if last is not None:
            return Decision(layer=last[0], index=last[1], decided=False)
        return Decision(layer=Layer.OTHER, index=None, decided=False)

    def _told(self, stack: Sequence[str], index: int, layer: Layer, asked: _Asked) -> Decision:
        """What a frame's layer means for the frames below it that ask."""
        if layer is Layer.OTHER:
            return Decision(layer=layer, index=index)
        if layer is Layer.COMPUTE:
            layer, index = self._enclosing(stack, index) or (layer, index)
        elif asked.stranger is not None and self._hands_out_work(layer, stack[index]):
            layer, index = Layer.COMPUTE, asked.stranger
        elif layer in FFI_LAYERS:
            stranger = asked.stranger if layer is Layer.GLUE else None
            anothers = self._module_of_another(stack, index, stranger)
            if anothers is not None:
                return anothers
        if asked.pending is not None and not asked.stays_with(layer):
            layer, index = asked.pending
        elif asked.helper is not None and layer not in FFI_LAYERS:
            layer, index = asked.helper
        return Decision(layer=layer, index=index)

    def _hands_out_work(self, layer: Layer, frame: str) -> bool:
        """Whether a frame below which a stranger works runs the subject's work: a pool, or its own
        wrapper, into which the function that it wraps was inlined.
        """
        return layer is Layer.POOL or (layer is Layer.GLUE and crate_of(frame) in self.crates)

    def _module_of_another(
        self, stack: Sequence[str], inner: int, stranger: int | None
    ) -> Decision | None:
        """Whether a boundary is not the subject's: up to the entry of the call there is another
        module's wrapper, or a stranger, and nothing of the subject.
        """
        for index in range(inner, -1, -1):
            frame = stack[index]
            rule = self._of_frame(frame)
            layer = rule.layer if rule is not None else None
            if layer is Layer.COMPUTE or crate_of(frame) in self.crates:
                return None
            if layer is Layer.OTHER:
                return Decision(layer=Layer.OTHER, index=index)
            if layer is Layer.INTERPRETER:
                break
            if rule is None and stranger is None and crate_of(frame):
                stranger = index
        if stranger is None:
            return None
        return Decision(layer=Layer.OTHER, index=stranger, decided=False)

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
        name = _without_arguments(_SUFFIX.sub("", frame))
        for rule in self._rules:
            if rule.pattern.search(name):
                return rule
        return None


def crate_of(frame: str) -> str:
    """The crate that a frame's function, or the type it is implemented for, belongs to."""
    match = _CRATE.match(frame)
    return match[1] if match else ""


def _without_arguments(name: str) -> str:
    """A function's name without its own generic arguments, which Rust's newer mangling has at the
    end: `rayon::bridge::<Iter, F>`.
    """
    depth = 0
    for at in range(len(name) - 1 if name.endswith(">") else -1, -1, -1):
        if name[at] == ">" and name[at - 1] != "-":
            depth += 1
        elif name[at] == "<":
            depth -= 1
            if not depth:
                return name[: at - 2] if name[:at].endswith("::") else name
    return name


def is_unresolved(frame: str) -> bool:
    """Whether a frame has no name: `[unknown]`, `[libfoo.so]`, a bare address."""
    return _UNRESOLVED.match(frame) is not None


def is_cut(stack: Sequence[str]) -> bool:
    """Whether the unwinder lost a stack's outer part: its first frame below the thread's root frame
    is no entry of a thread, or there is none.
    """
    return len(stack) < 2 or _ENTRY.match(_SUFFIX.sub("", stack[1])) is None


def is_undecided(stack: Sequence[str], decision: Decision) -> bool:
    """Whether a stack's layer could be any: what decides has no name, or its caller was cut off.

    Args:
        stack: with the thread's root frame.
        decision: what `Layers.decide` says of the frames below it.
    """
    if decision.decided:
        return False
    named = decision.index is None or not is_unresolved(stack[1:][decision.index])
    return not named or is_cut(stack)


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
            released=bool(item.get("released", False)),
            helper=bool(item.get("helper", False)),
            encloses=bool(item.get("encloses", False)),
        )
        for item in tomllib.loads(text)["rule"]
    )

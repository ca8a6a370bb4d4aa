"""The typed, closed configuration: `perfkit.toml`, or `[tool.perfkit]` in pyproject.toml.

What a key means is written here, once; the reference page is made from these descriptions. The
environment is passed in, never read. A wrong key gets its file, its line and "did you mean".
"""

from __future__ import annotations

import difflib
import sys
import tomllib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import pydantic.fields
from pydantic import BaseModel, ConfigDict, Field, model_validator

from perfkit.errors import ConfigError, UsageError
from perfkit.records import ConfigValue, Layer, Value
from perfkit.units import format_count, parse_count

CONFIG_FILE = "perfkit.toml"
PYPROJECT_FILE = "pyproject.toml"
COMMAND_LINE = "command line"
"""The origin of a value that an option set."""


class _Closed(BaseModel):
    """A table of the file: unknown keys are refused, values are not changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _require(holds: bool, message: str) -> None:
    """Refuse a table of the file with a message, unless something holds."""
    if not holds:
        raise ValueError(message)


def _reference_syntax(value: str) -> str:
    """`module:function` or `path/to/file.py:function`."""
    place, _, function = value.rpartition(":")
    message = f"{value!r} is neither `module:function` nor `file.py:function`"
    _require(bool(place) and function.isidentifier(), message)
    return value


Callable_ = Annotated[str, pydantic.AfterValidator(_reference_syntax)]
Size = Annotated[
    int,
    pydantic.BeforeValidator(lambda size: parse_count(size) if isinstance(size, str) else size),
    Field(ge=1),
]


class Subject(_Closed):
    """The extension under study."""

    module: str = Field(description="the Python module to import, such as `mypackage._native`")
    manifest: Path | None = Field(None, description="Cargo.toml of the crate that maturin builds")
    wheel: Path | None = Field(
        None,
        description="in place of `manifest`: a wheel to measure and diagnose as it is; nothing is "
        "built, so it has no constants, no criterion bench, and no symbols but its own",
    )
    features: tuple[str, ...] = Field((), description="cargo features of the build")
    profile: str = Field("release", description="cargo profile that users get")
    python: Path | None = Field(
        None,
        description="the project's interpreter; the one that runs perfkit by default",
    )
    environment: Mapping[str, str] = Field(
        default_factory=dict, description="variables for builds and for the processes that run it"
    )
    pass_environment: tuple[str, ...] = Field(
        (), description="variables passed on from perfkit's own environment"
    )
    threads: int = Field(
        0, ge=0, description="threads the subject may use; 0 means every core perfkit may use"
    )
    parameters: Callable_ | None = Field(
        None,
        description="`module:function` that returns the compiled-in parameter values as a dict",
    )
    delay_hook: Callable_ | None = Field(
        None, description="`module:function` that injects a delay in nanoseconds at the boundary"
    )

    @model_validator(mode="after")
    def _one_origin(self) -> Subject:
        _require(
            (self.manifest is None) != (self.wheel is None),
            "name either `manifest`, the crate to build, or `wheel`, one to take as it is",
        )
        return self


class Tolerance(_Closed):
    """How far the subject's result may be from the reference's (`numpy.allclose`)."""

    relative: float = Field(1e-9, ge=0, description="relative part")
    absolute: float = Field(1e-9, ge=0, description="absolute part, in the unit of the result")


class Bench(_Closed):
    """The criterion bench that does the same work without Python."""

    manifest: Path | None = Field(
        None, description="Cargo.toml of the crate that holds the bench; the subject's by default"
    )
    target: str = Field(description="name of the `[[bench]]` target")
    id: str = Field(description="criterion's benchmark id, with `{size}` for the size")
    allocates_output: bool = Field(
        description="whether the bench allocates its output in each iteration, as the call does"
    )
    features: tuple[str, ...] = Field((), description="cargo features of the bench")


class Workload(_Closed):
    """A callable and the maker of its inputs."""

    call: Callable_ = Field(description="what is timed: `module:function` or `file.py:function`")
    setup: Callable_ = Field(
        description="`setup(n, seed)` returns the positional arguments of one call as a tuple; an "
        "array that the call fills and returns, as NumPy's `out`, may be one of them"
    )
    reference: Callable_ | None = Field(
        None, description="the same work done another way, with the same arguments"
    )
    twin: Callable_ | None = Field(
        None,
        description="no-compute twin: same signature, conversions and output, without the work",
    )
    inner_timer: Callable_ | None = Field(
        None,
        description="variant that returns (result, seconds spent computing) by a clock inside",
    )
    bench: Bench | None = Field(None, description="the criterion bench of the same work")
    sizes: tuple[Size, ...] = Field(min_length=1, description="input sizes n to measure")
    main_size: Size | None = Field(
        None, description="the size that matters most; the first one by default"
    )
    targets: Mapping[Size, float] = Field(
        default_factory=dict, description="target speed-up against the reference, by size"
    )
    tolerance: Tolerance = Field(
        default_factory=Tolerance, description="when subject and reference agree"
    )

    @model_validator(mode="after")
    def _sizes_fit(self) -> Workload:
        _require(len(set(self.sizes)) == len(self.sizes), "sizes names a size twice")
        _require(
            self.main_size is None or self.main_size in self.sizes,
            f"main_size {format_count(self.first_size)} is not among sizes",
        )
        for size, target in self.targets.items():
            name = format_count(size)
            _require(size in self.sizes, f"targets names {name}, which is not among sizes")
            _require(target > 0, f"the target of {name} is not above zero")
        _require(
            not self.targets or self.reference is not None,
            "targets are speed-ups against a reference, and there is no `reference`",
        )
        return self

    @property
    def first_size(self) -> int:
        """The size that matters most."""
        return self.main_size if self.main_size is not None else self.sizes[0]


class Backend(StrEnum):
    """How a parameter's value reaches the subject."""

    CONST = "const"
    ENV = "env"
    CALL = "call"
    ARGUMENT = "argument"


class Kind(StrEnum):
    """What a parameter does."""

    THRESHOLD = "threshold"
    GRAIN = "grain"
    CATEGORICAL = "categorical"
    INTEGER = "integer"


class Parameter(_Closed):
    """A tuning constant of the subject."""

    kind: Kind = Field(description="threshold, grain, categorical or integer")
    backend: Backend = Field(
        Backend.CONST,
        description="const: a Rust constant; env: a variable; call: a setter; argument: a keyword",
    )
    name: str | None = Field(
        None,
        description="its name in the sources, environment or call; the table's name by default",
    )
    file: Path | None = Field(None, description="const: the source file that holds it")
    setter: Callable_ | None = Field(None, description="call: `module:function` that takes a value")
    start: Value | None = Field(
        None, description="starting value; required unless the backend is const"
    )
    short: str | None = Field(None, description="short name for file names; made when not given")
    priority: int = Field(100, description="order of trying: lowest first")
    first_step: Value | None = Field(
        None, description="the first value to recommend when one of its sizes is the worst"
    )
    sizes: tuple[Size, ...] = Field(
        (), description="the sizes that it affects; all of them if empty"
    )
    workloads: tuple[str, ...] = Field(
        (), description="the workloads that it affects; all of them if empty"
    )

    @model_validator(mode="after")
    def _backend_fits(self) -> Parameter:
        constant = self.backend is Backend.CONST
        _require(
            self.backend is not Backend.CALL or self.setter is not None,
            "backend `call` needs a `setter`",
        )
        _require(
            constant or self.start is not None,
            f"backend `{self.backend}` needs `start`: only a const has its own in sources",
        )
        _require(constant or self.file is None, "`file` belongs to backend `const`")
        return self


class Measure(_Closed):
    """How long and how precisely to measure."""

    width: float = Field(
        0.01, gt=0, description="stop when the half width of every ratio's interval is below this"
    )
    time_limit_s: float = Field(20.0, gt=0, description="seconds per size, at most")
    min_blocks: int = Field(20, ge=8, description="valid blocks before the width is checked")
    max_blocks: int = Field(2_000, ge=8, description="blocks, at most")
    sessions: int = Field(
        5,
        ge=1,
        description="sets of fresh processes that share the time; below 3, differences between "
        "processes are hard to see",
    )
    patience_s: float = Field(30.0, ge=0, description="how long to wait for a quiet machine")
    data_sets: int = Field(
        8, ge=1, description="data sets per size, at most; calls rotate through them"
    )
    reference_threads: int = Field(
        1, ge=1, description="threads of the reference's own pools (BLAS, OpenMP)"
    )


class Profiling(_Closed):
    """How to profile."""

    rate_hz: int = Field(
        997, ge=1, description="samples per second; a prime avoids lockstep with the program"
    )
    duration_s: float = Field(2.0, gt=0, description="seconds under the profiler, per size")


class Tune(_Closed):
    """The iteration loop."""

    workload: str | None = Field(None, description="workload to tune; the first one by default")
    base_grid: Mapping[str, tuple[Value, ...]] = Field(
        default_factory=dict, description="values per parameter, all combinations"
    )
    extended_grid: Mapping[str, tuple[Value, ...]] = Field(
        default_factory=dict, description="combinations to try when the base grid did not converge"
    )
    max_iterations: int = Field(10, ge=1, description="trials, at most")
    time_limit_s: float | None = Field(None, gt=0, description="seconds, at most")
    profile_every: int = Field(3, ge=0, description="profile every n-th trial; 0 means never")
    stagnation_iterations: int = Field(3, ge=1, description="trials without gain before stopping")
    stagnation_gain: float = Field(0.01, gt=0, description="what counts as a gain, as a fraction")


class LayerRule(_Closed):
    """One rule that puts a frame into a layer, tried before the built-in ones."""

    layer: Layer = Field(description="one of the closed set of layers")
    frame: str = Field(description="regular expression on the whole frame name")


class Checks(_Closed):
    """What must pass before a winner is written into the sources."""

    commands: tuple[tuple[str, ...], ...] = Field((), description="commands as lists of words")


class Docs(_Closed):
    """Which page shows the benchmark table."""

    page: Path | None = Field(None, description="Markdown page with perfkit's markers in it")


class Config(_Closed):
    """Everything perfkit.toml can say."""

    schema_version: Literal[1] = Field(1, description="version of this file's layout")
    subject: Subject = Field(description=Subject.__doc__ or "")
    workloads: Mapping[str, Workload] = Field(min_length=1, description="by name")
    parameters: Mapping[str, Parameter] = Field(default_factory=dict, description="by name")
    measure: Measure = Field(default_factory=Measure, description=Measure.__doc__ or "")
    profiling: Profiling = Field(default_factory=Profiling, description=Profiling.__doc__ or "")
    tune: Tune = Field(default_factory=Tune, description=Tune.__doc__ or "")
    layers: tuple[LayerRule, ...] = Field((), description="rules tried before the built-in ones")
    checks: Checks = Field(default_factory=Checks, description=Checks.__doc__ or "")
    docs: Docs = Field(default_factory=Docs, description=Docs.__doc__ or "")

    @model_validator(mode="after")
    def _names_exist(self) -> Config:
        named = [("tune.base_grid", name, "parameters") for name in self.tune.base_grid]
        named += [("tune.extended_grid", name, "parameters") for name in self.tune.extended_grid]
        for key, parameter in self.parameters.items():
            named += [(f"parameters.{key}", name, "workloads") for name in parameter.workloads]
            _require(
                self.subject.wheel is None or parameter.backend is not Backend.CONST,
                f"subject.wheel is not built here, so {key} cannot be a constant",
            )
        if self.tune.workload is not None:
            named.append(("tune.workload", self.tune.workload, "workloads"))
        for place, name, what in named:
            known = self.parameters if what == "parameters" else self.workloads
            message = f"{place} names {name!r}, which is not among the {what}"
            _require(name in known, message + did_you_mean(name, list(known)))
        return self

    def parameters_of(self, workload: str) -> dict[str, Parameter]:
        """The parameters that decide the time of one workload."""
        return {
            name: parameter
            for name, parameter in self.parameters.items()
            if not parameter.workloads or workload in parameter.workloads
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A configuration, where it came from, and the environment perfkit was started in.

    Attributes:
        root: the folder that paths in the config are relative to, and that holds `profiles/`.
        file: the file that was read.
        origins: for each dotted key that was set, `file:line` or `command line`.
        environ: perfkit's own environment, taken once by the command line.
    """

    root: Path
    file: Path
    config: Config
    origins: Mapping[str, str]
    environ: Mapping[str, str]

    @property
    def profiles(self) -> Path:
        """The folder of all runs."""
        return self.root / "profiles"

    def resolve(self, path: Path) -> Path:
        """A path of the config as an absolute one."""
        return path if path.is_absolute() else (self.root / path).resolve()

    @property
    def interpreter(self) -> Path:
        """The project's own interpreter, or the one that runs perfkit.

        The path is made absolute but never resolved: a venv's `python` is a link, and its target
        is another installation.
        """
        named = self.config.subject.python
        return Path(sys.executable) if named is None else self.root / named

    @property
    def manifest(self) -> Path:
        """Cargo.toml of the crate that maturin builds.

        Raises:
            ConfigError: the subject is a wheel.
        """
        manifest = self.config.subject.manifest
        if manifest is None:
            message = "the subject is a finished wheel, so there is nothing to build"
            remedy = "name its sources by subject.manifest in place of subject.wheel"
            raise ConfigError(message, where=str(self.file), remedy=remedy)
        return self.resolve(manifest)

    def workload(self, name: str | None) -> tuple[str, Workload]:
        """A workload by name; the first one when nothing is named.

        Raises:
            UsageError: there is none of that name.
        """
        workloads = self.config.workloads
        if name is None:
            return next(iter(workloads.items()))
        if name not in workloads:
            message = f"there is no workload {name!r}{did_you_mean(name, list(workloads))}"
            known = ", ".join(workloads)
            raise UsageError(message, where=str(self.file), remedy=f"choose one of: {known}")
        return name, workloads[name]

    def sizes(self, workload: str, wanted: Sequence[int] | None) -> tuple[int, ...]:
        """The sizes to work on: those of the config, or the wanted ones.

        A wanted size may be one that the config does not list: it then has no target.
        """
        return tuple(wanted) if wanted else self.config.workloads[workload].sizes


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """` (did you mean 'x'?)` when something known is near, else nothing."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""


def find_config(start: Path) -> Path | None:
    """The nearest `perfkit.toml` or pyproject.toml with `[tool.perfkit]`, upward to the git
    root.
    """
    for folder in (start, *start.parents):
        own = folder / CONFIG_FILE
        if own.is_file():
            return own
        shared = folder / PYPROJECT_FILE
        if shared.is_file() and b"[tool.perfkit" in shared.read_bytes():
            return shared
        if (folder / ".git").exists():
            break
    return None


def embedded_default() -> Path | None:
    """perfkit's own `perfkit.toml` when it runs from a clone: the bundled kernel is then the
    subject.
    """
    candidate = Path(__file__).resolve().parents[2] / CONFIG_FILE
    return candidate if candidate.is_file() else None


def load_project(
    *,
    start: Path,
    environ: Mapping[str, str],
    path: Path | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Project:
    """Read the configuration that applies to a folder.

    Args:
        start: where to search upward from.
        environ: perfkit's own environment.
        path: a config named by the user; nothing is searched then.
        overrides: dotted keys from the command line; they win over the file.

    Raises:
        ConfigError: there is none, or it is broken; with file and line.
    """
    file = path if path is not None else find_config(start) or embedded_default()
    if file is None:
        message = f"there is no {CONFIG_FILE} here or in a folder above"
        remedy = "run `perfkit init` in your maturin project, or name one with --config"
        raise ConfigError(message, where=str(start), remedy=remedy)
    if not file.is_file():
        message = "there is no such config file"
        raise ConfigError(message, where=str(file), remedy="name an existing one with --config")
    text = _read(file)
    table = _parse(file, text)
    lines = _key_lines(text)
    if file.name == PYPROJECT_FILE:
        table = table.get("tool", {}).get("perfkit", {})
        lines = {
            key.removeprefix("tool.perfkit."): line
            for key, line in lines.items()
            if key.startswith("tool.perfkit.")
        }
    origins = {key: f"{file}:{lines[key]}" if key in lines else str(file) for key in _leaves(table)}
    for key, value in (overrides or {}).items():
        _assign(table, key, value)
        origins[key] = COMMAND_LINE
    origins |= {_plain_target(key): origin for key, origin in origins.items()}
    try:
        config = Config.model_validate(table)
    except pydantic.ValidationError as error:
        raise _explain(error, file, lines, origins) from error
    return Project(
        root=file.resolve().parent, file=file, config=config, origins=origins, environ=environ
    )


def resolved_values(project: Project) -> list[ConfigValue]:
    """Every value in force by its dotted key; its origin is `default` where it was not set."""
    document = project.config.model_dump(mode="json")
    return [
        ConfigValue(key=key, value=value, origin=project.origins.get(key, "default"))
        for key, value in sorted(_leaves(document).items())
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key that a config may have: its dotted name, what it takes, and what it means.

    `NAME` in the dotted name stands for the user's own name of a workload or parameter.
    """

    name: str
    type: str
    default: str | None  # None: it must be given
    description: str


def describe_keys(model: type[BaseModel] | None = None, prefix: str = "") -> list[Key]:
    """Every legal key, in the order of the model: the source of the reference page."""
    described: list[Key] = []
    for name, field in (model or Config).model_fields.items():
        inner = _inner_model(field.annotation)
        if inner is not None:
            below = _BELOW.get(typing.get_origin(field.annotation), ".")
            described += describe_keys(inner, f"{prefix}{name}{below}")
            continue
        described.append(
            Key(
                name=f"{prefix}{name}",
                type=_type_text(field.annotation),
                default=None if field.is_required() else _default_text(field),
                description=field.description or "",
            )
        )
    return described


_BELOW: Mapping[object, str] = {Mapping: ".NAME.", tuple: "[]."}
"""What joins a key to those of its table, where a config has several such tables."""


def _default_text(field: pydantic.fields.FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return "none"
    if isinstance(value, tuple | Mapping) and not value:
        return "empty"
    return str(value)


def _type_text(annotation: object) -> str:
    """What a key takes, in a word: `text`, `path`, `whole number`, `list of text`, …"""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _type_text(arguments[0])
    if origin is Literal:
        return " or ".join(str(argument) for argument in arguments)
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return " or ".join(member.value for member in annotation)
    if origin is tuple:
        return f"list of {_type_text(arguments[0])}"
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return f"table of {_type_text(arguments[1])}"
    if arguments:
        words = [_type_text(item) for item in arguments if item is not type(None)]
        return " or ".join(dict.fromkeys(words))
    known = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path"}
    return known.get(annotation, str(annotation)) if isinstance(annotation, type) else "value"


def read_toml(file: Path) -> dict[str, Any]:
    """A TOML file as tables.

    Raises:
        ConfigError: it cannot be read, or is broken; with the line.
    """
    return _parse(file, _read(file))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text (byte {error.start})"
        raise ConfigError(message, where=str(file), remedy="save it as UTF-8") from error
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise ConfigError(message, where=str(file)) from error


def _parse(file: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = str(error).rpartition("(at line ")[2].partition(",")[0]
        where = f"{file}:{place}" if place.isdigit() else str(file)
        message = f"is not valid TOML: {error}"
        raise ConfigError(message, where=where, remedy="correct this line") from error


def _key_lines(text: str) -> dict[str, int]:
    """The line of each dotted key, by a TOML parser that keeps positions."""
    from perfkit import _engine  # here, because `perfkit --help` must not load the engine

    return dict(_engine.toml_key_lines(text))


def _leaves(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """All values below a table by dotted key; a list of tables counts as one value."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            found.update(_leaves(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = value
    return found


def _plain_target(key: str) -> str:
    """The key under which a target is in force: `targets.10k` is read as `targets.10000`."""
    table, _, size = key.rpartition(".")
    if not table.endswith(".targets"):
        return key
    try:
        return f"{table}.{parse_count(size)}"
    except ValueError:
        return key  # the model refuses it, with its line


def _assign(table: dict[str, Any], key: str, value: object) -> None:
    *folders, last = key.split(".")
    for folder in folders:
        table = table.setdefault(folder, {})
    table[last] = value


def _explain(
    error: pydantic.ValidationError,
    file: Path,
    lines: Mapping[str, int],
    origins: Mapping[str, str],
) -> ConfigError:
    """The first fault with its line and what was probably meant, the others below it."""
    faults = []
    for item in error.errors():
        marks = ("function-", "[key]")  # pydantic's own, which no file has
        location = [str(part) for part in item["loc"] if not str(part).startswith(marks)]
        key = ".".join(location)
        message = str(item["msg"]).removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = f"there is no key `{location[-1]}`"
            message += did_you_mean(location[-1], _known_keys(location[:-1]))
        elif item["type"] == "missing":
            message = f"the key `{location[-1]}` is missing"
        place = COMMAND_LINE
        if origins.get(key) != COMMAND_LINE:
            above = (".".join(location[:length]) for length in range(len(location), 0, -1))
            line = next((lines[name] for name in above if name in lines), None)
            place = str(file) if line is None else f"{file}:{line}"
        faults.append((place, f"{key}: {message}" if key else message))
    (where, message), *others = faults
    return ConfigError(
        message,
        where=where,
        details="\n".join(f"{place}: {text}" for place, text in others),
        remedy="correct the config; `perfkit config keys` lists every key and what it means",
    )


def _known_keys(location: Sequence[str]) -> list[str]:
    """The legal keys of the table at a location, where a name of the user's matches any."""
    known: dict[str, None] = {}
    for key in describe_keys():
        parts = key.name.replace("[].", ".NAME.").split(".")
        above, below = parts[: len(location)], parts[len(location) :]
        if below and all(part in ("NAME", at) for part, at in zip(above, location, strict=True)):
            known[below[0]] = None
    return list(known)


def _inner_model(annotation: object) -> type[BaseModel] | None:
    """The table that a key takes, also as one of several or as an optional one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_inner_model, typing.get_args(annotation))), None)

"""A commented `perfkit.toml` and a `workloads.py` to fill in, for a maturin project without them.

What was not found is a commented line that says so: nothing is guessed in its place. The discovery
is in `discover`.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit.checks.discover import Discovery, FoundConstant, discover
from perfkit.config import CONFIG_FILE
from perfkit.errors import UsageError
from perfkit.store import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WORKLOADS_FILE = "workloads.py"
_LISTED_CONSTANTS = 40
_LISTED_FUNCTIONS = 12
_KINDS = (
    ("threshold", re.compile(r"THRESHOLD|CUTOFF|CROSSOVER|MIN_PAR|PARALLEL_MIN|SWITCH")),
    ("grain", re.compile(r"CHUNK|BLOCK|TILE|GRAIN|BATCH|STRIPE")),
    ("categorical", re.compile(r"UNROLL|LANES|WIDTH|RADIX")),
)
"""Names that tuning constants go by in the field, and what each kind does."""


def initialise(folder: Path, *, environ: Mapping[str, str], force: bool = False) -> list[Path]:
    """Write both files.

    Args:
        folder: the maturin project.
        environ: perfkit's own environment; its virtual environment may be the project's.
        force: overwrite what is there.

    Returns:
        The files that were written.

    Raises:
        UsageError: a file is there already and `force` is not given; nothing is written then.
        ConfigError: this is no maturin project.
    """
    targets = [folder / CONFIG_FILE, folder / WORKLOADS_FILE]
    existing = [path.name for path in targets if path.exists()]
    if existing and not force:
        message = f"{' and '.join(existing)} exist{'s' if len(existing) == 1 else ''} already"
        raise UsageError(message, where=str(folder), remedy="use --force to overwrite")
    found = discover(folder)
    write_whole(targets[0], render_config(found, python=_python(folder, environ)))
    write_whole(targets[1], render_workloads(found))
    return targets


def _python(folder: Path, environ: Mapping[str, str]) -> str | None:
    """The project's own interpreter: its `.venv`, else the environment that is active."""
    for name in (".venv", "venv"):
        if os.access(folder / name / "bin" / "python", os.X_OK):
            return f"{name}/bin/python"
    active = environ.get("VIRTUAL_ENV")
    if active and os.access(Path(active) / "bin" / "python", os.X_OK):
        return str(Path(active) / "bin" / "python")
    return None


def render_config(found: Discovery, *, python: str | None) -> str:
    """The text of perfkit.toml; it can be loaded as it is."""
    parts = [
        "# What perfkit measures, written by `perfkit init`. Complete the lines marked TODO, then\n"
        "# run `perfkit doctor` and `perfkit measure`. `perfkit config keys` explains every key.\n"
        "schema_version = 1\n",
        _subject(found, python),
        _workload(found),
        _parameters(found),
    ]
    return "\n".join(parts)


def _quote(text: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's."""
    return json.dumps(text, ensure_ascii=False)


def _relative(found: Discovery, path: Path) -> str:
    # A workspace can lie beside or above the folder, and the config's paths start at the folder.
    return Path(os.path.relpath(path, found.folder.resolve())).as_posix()


def _subject(found: Discovery, python: str | None) -> str:
    lines = ["[subject]"]
    if found.module is not None:
        lines.append(f"module = {_quote(found.module)}")
    lines.append(f"manifest = {_quote(_relative(found, found.subject.manifest))}")
    features = ", ".join(_quote(name) for name in found.features)
    lines.append(f"features = [{features}]" if features else "# no features in [tool.maturin]")
    lines.append('profile = "release"')
    if python is not None:
        lines.append(f"python = {_quote(python)}")
    else:
        lines.append("# no virtual environment was found: the Python that runs perfkit is used")
        lines.append('# python = ".venv/bin/python"')
    lines.append("threads = 0 # every core perfkit may use")
    if found.strips:
        lines.append("# [tool.maturin] strips the wheel; perfkit's profiling build does not")
    lines.append("# A function that returns the compiled-in constants as a dict proves parameters:")
    lines.append(f'# parameters = "{found.module}:parameters"')
    return "\n".join(lines) + "\n"


def _workload(found: Discovery) -> str:
    names = [function.name for function in found.functions]
    lines = ["[workloads.main]"]
    if names:
        lines.append(f'call = "{found.module}:{names[0]}" # TODO: the function to time')
        lines += _others(names)
    else:
        lines.append("# no #[pyfunction] was found in the crate's sources")
        lines.append(f'call = "{found.module}:TODO" # TODO: the function to time')
    lines += [
        f'setup = "{WORKLOADS_FILE}:inputs" # TODO: complete inputs() there',
        f'# reference = "{WORKLOADS_FILE}:reference" # the same work in NumPy or Python',
        f'# twin = "{found.module}:…" # same signature and conversions, no work',
        'sizes = ["1k", "10k", "100k"] # TODO: the input sizes that matter',
        '# main_size = "10k"',
        '# targets = { "10k" = 1.0 } # wanted speed-up against the reference',
        "",
        *_bench(found),
    ]
    return "\n".join(lines) + "\n"


def _others(names: Sequence[str]) -> list[str]:
    others = names[1 : _LISTED_FUNCTIONS + 1]
    if not others:
        return []
    more = len(names) - 1 - len(others)
    return [f"# also found: {', '.join(others)}{f' and {more} more' if more else ''}"]


def _bench(found: Discovery) -> list[str]:
    benches = found.benches
    if not benches:
        return [
            "# no criterion bench was found: a [[bench]] with harness = false, for the same work"
        ]
    lines = [
        "# criterion benches that were found; take the one that does the same work as the call"
    ]
    for bench in benches:
        shown = ", ".join(bench.ids) if bench.ids else "ids are made at run time"
        lines.append(f"#   {bench.target} in {bench.crate.name}: {shown}")
    first = benches[0]
    identifier = f"{first.ids[0] if first.ids else '…'}/{{size}}"
    return [
        *lines,
        "# [workloads.main.bench]",
        f"# manifest = {_quote(_relative(found, first.crate.manifest))}",
        f"# target = {_quote(first.target)}",
        f"# id = {_quote(identifier)}",
        "# allocates_output = true # whether the bench allocates its output, as the call does",
    ]


def _kind(name: str) -> str | None:
    return next((kind for kind, pattern in _KINDS if pattern.search(name)), None)


def _parameters(found: Discovery) -> str:
    """Constants with a tuning constant's name as parameters, the others as comments."""
    if not found.constants:
        return "# no integer constant was found in the sources: nothing to tune by a rebuild\n"
    counts: dict[str, int] = {}
    for constant in found.constants:
        counts[constant.name] = counts.get(constant.name, 0) + 1
    tuning = [c for c in found.constants if _kind(c.name) and counts[c.name] == 1]
    rest = [c for c in found.constants if c not in tuning]
    parts = [_parameter(found, constant, priority) for priority, constant in enumerate(tuning, 1)]
    if not tuning:
        parts.append("# no constant has the name of a tuning constant; see the list below\n")
    if rest:
        lines = ["# Other integer constants, as [parameters.NAME] when they are worth tuning:"]
        for constant in rest[:_LISTED_CONSTANTS]:
            twice = " (its name is there more than once)" if counts[constant.name] > 1 else ""
            place = f"{_relative(found, constant.file)}:{constant.line}"
            lines.append(f"#   {constant.name} = {_one_line(constant.value)}, {place}{twice}")
        if len(rest) > _LISTED_CONSTANTS:
            lines.append(f"#   and {len(rest) - _LISTED_CONSTANTS} more")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _parameter(found: Discovery, constant: FoundConstant, priority: int) -> str:
    value = _one_line(constant.value)
    return (
        f"# {constant.type}, {value} at {_relative(found, constant.file)}:{constant.line}\n"
        f"[parameters.{constant.name}]\n"
        f"kind = {_quote(_kind(constant.name) or 'integer')} "
        "# by its name; threshold, grain, categorical or integer\n"
        f"file = {_quote(_relative(found, constant.file))}\n"
        f"priority = {priority}\n"
        "# first_step = … # the first value to try\n"
        "# sizes = [] # the sizes whose time it decides; all of them when empty\n"
    )


def _one_line(value: str) -> str:
    return _cut(" ".join(value.split()), 60)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def render_workloads(found: Discovery) -> str:
    """The text of workloads.py, which runs in the project's interpreter and imports no perfkit."""
    function = found.functions[0] if found.functions else None
    if function is None:
        told = "no #[pyfunction] was found"
    else:
        told = f"in Rust it is `{function.name}({_cut(function.arguments, 56)})`"
    module = found.module or "the extension"
    numpy = "numpy" in found.subject.uses
    example = (
        "    #   rng = np.random.default_rng(seed)\n    #   return (rng.uniform(0.0, 1.0, n),)\n"
        if numpy
        else "    #   rng = random.Random(seed)\n"
        "    #   return ([rng.random() for _ in range(n)],)\n"
    )
    return (
        f'"""The inputs of {module} that perfkit times, and what it is compared with."""\n\n'
        "from __future__ import annotations\n\n"
        "from typing import Any\n\n\n"
        "def inputs(n: int, seed: int) -> tuple[Any, ...]:\n"
        '    """Make the positional arguments of a call of size n; equal seeds, equal inputs."""\n'
        f"    # TODO: {told}. For example:\n"
        f"    #   import {'numpy as np' if numpy else 'random'}\n"
        f"{example}"
        '    raise NotImplementedError("complete inputs() in workloads.py")\n\n\n'
        "def reference(*arguments: Any) -> Any:\n"
        '    """Do the same work another way; perfkit checks that the results agree."""\n'
        '    raise NotImplementedError("complete reference() in workloads.py, or leave it out")\n'
    )

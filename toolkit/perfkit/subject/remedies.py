"""What maturin, cargo, rustc and the linker say when they fail, and what to do about it.

A table of known texts; the order is that of trying. rustc's own error is always shown whole, the
remedy only stands below it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MOST_CHARACTERS = 8_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One known failure: a pattern of its text, what it means, and what to do."""

    pattern: str
    means: str
    remedy: str


TABLE: tuple[Remedy, ...] = (
    Remedy(
        pattern=r"--include-debuginfo cannot be used with --strip",
        means="[tool.maturin] strips the library and asks for debug information too",
        remedy="remove `strip = true` or `include-debuginfo` from [tool.maturin]",
    ),
    Remedy(
        pattern=r"Both VIRTUAL_ENV and CONDA_PREFIX are set",
        means="two Python environments are active at once",
        remedy="name neither of VIRTUAL_ENV, CONDA_PREFIX in subject.pass_environment",
    ),
    Remedy(
        pattern=r"Couldn't find a virtualenv or conda environment"
        r"|Python interpreter `[^`]*` doesn't exist"
        r"|Failed to run (?:a )?python"
        r"|is not a valid python interpreter",
        means="the project's interpreter cannot be used",
        remedy="set subject.python to an interpreter that starts",
    ),
    Remedy(
        pattern=r"unexpected argument '--(?:config|compression-method|compatibility)' found",
        means="this maturin is too old",
        remedy="pip install 'maturin>=1.14' into perfkit's environment",
    ),
    Remedy(
        pattern=r"failed to open: \S*\.cargo-lock|Permission denied \(os error 13\)",
        means="a file that cargo has to write belongs to somebody else, such as after a sudo",
        remedy="`perfkit cache clean`, or give the folder named above back to your user (chown)",
    ),
    Remedy(
        pattern=r"No space left on device",
        means="the disk is full",
        remedy="free space, `perfkit cache clean`, or set PERFKIT_CACHE_DIR to another disk",
    ),
    Remedy(
        pattern=r"\(signal: 9, SIGKILL|collect2: fatal error: ld terminated",
        means="the system ended the compiler, most likely for want of memory",
        remedy="set CARGO_BUILD_JOBS = '1' in [subject.environment]",
    ),
    Remedy(
        pattern=r"undefined reference to `_?Py|undefined symbol: _?Py|Undefined symbols:? _?_Py",
        means="a program was linked against PyO3's `extension-module`, which leaves libpython out",
        remedy="let the `[[bench]]` or test not depend on that feature (keep it optional, or in a "
        "core crate of its own), and name the bench's features in [workloads.*.bench] features",
    ),
    Remedy(
        pattern=r"error while loading shared libraries: libpython|unable to find library -lpython"
        r"|cannot find -lpython",
        means="libpython of the project's interpreter is not found",
        remedy="install the shared library of that Python, or let the bench not link to it",
    ),
    Remedy(
        pattern=r"the configured Python interpreter version \(\S+\) is (?:newer|lower)"
        r"|Python version \S+ is not supported|maximum supported version",
        means="this PyO3 does not support the project's Python",
        remedy="set subject.python to an older Python, or use a newer PyO3",
    ),
    Remedy(
        pattern=r"no matching package named|failed to (?:get|download)|Could not resolve host"
        r"|spurious network error|--offline was specified",
        means="a dependency could not be fetched",
        remedy="run `cargo fetch` in the project once with a network",
    ),
    Remedy(
        pattern=r"failed to (?:read|load manifest)[^\n]*\n(?:[^\n]*\n)*?[^\n]*"
        r"No such file or directory",
        means="a path dependency or a file of the build is not part of the copied tree",
        remedy="put it into the repository, and see that git does not ignore it",
    ),
    Remedy(
        pattern=r"no bench target named|no such command: `bench`",
        means="there is no such `[[bench]]` target",
        remedy="correct [workloads.*.bench] target: the name in `[[bench]]`, not the function's",
    ),
    Remedy(
        pattern=r"does not (?:contain|have) (?:this|these) feature|none of the selected packages "
        r"contains (?:this|these) feature",
        means="a cargo feature that was asked for does not exist",
        remedy="correct subject.features or [workloads.*.bench] features",
    ),
    Remedy(
        pattern=r"profile `[^`]*` is not defined",
        means="there is no such cargo profile",
        remedy="correct subject.profile, or define [profile.…] in the workspace's Cargo.toml",
    ),
    Remedy(
        pattern=r"error: linker `[^`]*` not found",
        means="there is no linker",
        remedy="apt-get install gcc  (or what your .cargo/config.toml names as linker)",
    ),
    Remedy(
        pattern=r"requires rustc \S+|is not supported by the following package",
        means="the Rust toolchain is older than a crate needs",
        remedy="rustup update",
    ),
    Remedy(
        pattern=r"toolchain '[^']*' is not installed",
        means="rust-toolchain.toml names a toolchain that is not here",
        remedy="rustup toolchain install the one named above",
    ),
)

WAITING_TEXT = "Blocking waiting for file lock"
"""What cargo prints, and then nothing, while another cargo works in the same folder."""


def explain(output: str) -> Remedy | None:
    """The first known failure in a build's output."""
    for entry in TABLE:
        if re.search(entry.pattern, output):
            return entry
    return None


def error_text(output: str) -> str:
    """The part of a build's output that says what is wrong: from the first error on.

    The beginning is kept where it is too long: the first error causes the others.
    """
    lines = output.strip().splitlines()
    starts = (
        index
        for index, line in enumerate(lines)
        if re.match(r"error(?:\[E\d+\])?:|💥|Error:|\s*Caused by:", line.lstrip())
    )
    text = "\n".join(lines[next(starts, 0) :])
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "\n…"

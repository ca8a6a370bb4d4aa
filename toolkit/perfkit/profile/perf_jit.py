"""One stack of Python and Rust: an interpreter started with `-X perf_jit` tells perf of its
functions, and `perf inject --jit` puts them into the recording. CPython 3.13 and newer.

    …;py::loop:worker.py;…;py::mixed:workloads.py;_PyEval_EvalFrameDefault;…;spins::compute
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit import process
from perfkit.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

OPTION = ("-X", "perf_jit")
FIRST = (3, 13)
FRAME = "py::"
"""What the names of Python's functions start with."""
_FOLDER = Path("/tmp")
"""CPython writes `jit-<pid>.dump` there, whatever TMPDIR says (Python/perf_jit_trampoline.c, 3.13),
and perf writes the `jitted-<pid>-<n>.so` of each function beside it."""
_INJECT_S = 120.0


def is_possible(python: str) -> bool:
    """Whether an interpreter of this version can tell perf of its functions."""
    major, minor = (int(part) for part in python.split(".")[:2])
    return (major, minor) >= FIRST


@contextlib.contextmanager
def injected(data: Path, pid: int, environ: Mapping[str, str]) -> Iterator[Path]:
    """A recording with Python's functions in it, while the block lasts.

    The process must have ended: CPython writes the last functions out at its end.

    Args:
        pid: the process that was recorded.

    Raises:
        ToolMissingError: there is no perf.
        ToolError: perf cannot inject.
        CaptureError: the interpreter named no function.
    """
    program = process.require_program("perf", environ)
    dump = _FOLDER / f"jit-{pid}.dump"
    with tempfile.TemporaryDirectory(prefix="perfkit-jit-") as folder:
        if not dump.is_file():
            message = "the interpreter told perf of no function"
            raise CaptureError(message, where=str(dump), remedy="use a CPython built for perf_jit")
        # Named as the recording is, so that its text has the same name too.
        output = Path(folder) / data.name
        argv: list[str | Path] = [program, "inject", "--jit", "--force", "-i", data, "-o", output]
        process.run(argv, env={**environ, "TMPDIR": folder}, timeout_s=_INJECT_S)
        yield output


def remove(pid: int) -> None:
    """Remove what the interpreter and perf left of a process."""
    for left in (*_FOLDER.glob(f"jitted-{pid}-*.so"), _FOLDER / f"jit-{pid}.dump"):
        left.unlink(missing_ok=True)


def has_python(stacks: Sequence[tuple[Sequence[str], int]]) -> bool:
    """Whether any stack has a Python function."""
    return any(frame.startswith(FRAME) for stack, _ in stacks for frame in stack)

"""scalene on the Python call: lines of Python, from its JSON. It tells interpreter from native time
by how late a signal comes, and knows no Rust name, so its native share is no FFI share.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from perfkit import process
from perfkit.errors import CaptureError, PerfkitError, ToolMissingError, UnreadableOutputError
from perfkit.profile import messages
from perfkit.profile.artefacts import Taken, publish
from perfkit.profile.paired import PAIRS, Paired, compare
from perfkit.profile.py_spy import region_stacks
from perfkit.profile.quality import Quality
from perfkit.records import Capture, Check, Note
from perfkit.stacks.folded import MOST_SAMPLES, safe_name
from perfkit.units import format_share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from perfkit.profile.request import CaptureRequest
    from perfkit.store import Run
    from perfkit.subject.child import WorkerSpec

RATE_HZ = 100.0
"""scalene's own: a timer of 10 ms, which cannot be chosen by a rate."""
_FRAME = re.compile(r"^(?P<file>.*) (?P<function>\S+):(?P<line>\d+);?$")
_PROBE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleneProfile:
    """What is read from scalene's JSON.

    Attributes:
        stacks: `function (file:line)` frames, root first, with scalene's whole-sample counts.
        native_s: seconds below the timed loop that scalene calls native.
        python_s: and those that it gives to the interpreter.
    """

    stacks: tuple[tuple[tuple[str, ...], int], ...]
    native_s: float
    python_s: float


class Scalene:
    """The profiler `scalene`."""

    name: ClassVar[str] = "scalene"

    def probe(self, environ: Mapping[str, str]) -> Check:
        """Whether a scalene is on PATH; the one in the subject's interpreter decides."""
        found = process.find_program("scalene", environ)
        remedy = "" if found else process.INSTALL_LINES["scalene"]
        said = str(found) if found else "not on PATH"
        return Check(id=self.name, ok=found is not None, required=False, found=said, remedy=remedy)

    def capture(self, request: CaptureRequest) -> Capture:
        """Profile one workload at one size.

        Raises:
            ToolMissingError: the subject's interpreter has no scalene.
            CaptureError: it left no stack of the loop.
        """
        run = request.job.run
        spec = request.job.spec()
        self._require(request, spec.environment)
        stems = [f"raw/{request.label}.scalene.{index + 1}.json" for index in range(PAIRS)]
        outs = [run.path(stem) for stem in stems]
        log = run.path(f"raw/{request.label}.scalene.log")
        for old in (*outs, log):
            old.unlink(missing_ok=True)

        def launched(index: int) -> WorkerSpec:
            words = ("-m", "scalene", "run", "--cpu-only", "--profile-all", "-o", str(outs[index]))
            return dataclasses.replace(spec, runner=words, stdout=log, stderr=log)

        try:
            paired = compare(
                request, spec, launched, stage=self.name, duration_s=request.duration_s
            )
        except PerfkitError as error:
            said = _read(log)
            if messages.find(self.name, said) is None:
                raise
            raise messages.failure(self.name, said, where=str(log)) from error
        for out in outs:
            if not out.is_file() or not out.stat().st_size:
                raise messages.failure(self.name, _read(log), where=str(log))
        return _judged(request, run, paired, outs, log)

    def _require(self, request: CaptureRequest, environ: Mapping[str, str]) -> None:
        python = request.job.project.interpreter
        done = process.run(
            [python, "-c", "import scalene"], env=environ, timeout_s=_PROBE_S, ok_codes=None
        )
        if done.returncode:
            message = f"{python} has no scalene"
            where = process.show(done.argv)
            raise ToolMissingError(message, where=where, remedy=f"{python} -m pip install scalene")


def read(path: Path) -> ScaleneProfile:
    """Read the file that scalene wrote.

    Raises:
        UnreadableOutputError: as `parse`, or it is no text.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise _refused(error, str(path)) from error
    return parse(text, str(path))


def parse(text: str, where: str) -> ScaleneProfile:
    """Read scalene 2's JSON. What is used of it:

        {"stacks": [[["/a/pl.py <module>:8;", "/a/pl.py run_batch:6;"],
                     {"count": 42, "c_time": 0.2, "python_time": 0.1, "cpu_samples": 0.3}], …]}

    Raises:
        UnreadableOutputError: it is no JSON, or not of this shape; with the line where it has one.
    """
    try:
        document: Any = json.loads(text)
        found = []
        native = python = 0.0
        for names, numbers in document["stacks"]:
            stack = tuple(_frame(name) for name in names)
            found.append((stack, int(_number(numbers, "count"))))
            if region_stacks([(stack, 1)])[0]:
                native += _number(numbers, "c_time")
                python += _number(numbers, "python_time")
    except json.JSONDecodeError as error:
        raise _refused(error, f"{where}:{error.lineno}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _refused(error, where) from error
    return ScaleneProfile(stacks=tuple(found), native_s=native, python_s=python)


def _refused(error: Exception, where: str) -> UnreadableOutputError:
    message = f"is no profile of scalene 2: {type(error).__name__}: {error}"
    remedy = "perfkit reads scalene 2.x; `pip install 'scalene<3'`"
    return UnreadableOutputError(message, where=where, remedy=remedy)


def _number(numbers: Mapping[str, Any], key: str) -> float:
    value = numbers[key]
    if not isinstance(value, int | float) or not 0 <= value <= MOST_SAMPLES:
        message = f"{key} is {value!r}"[:160]
        raise ValueError(message)
    return value


def _frame(name: str) -> str:
    match = _FRAME.match(name)
    if match is None:
        return safe_name(name.rstrip(";"))
    return safe_name(f"{match['function']} ({match['file']}:{match['line']})")


def _judged(
    request: CaptureRequest, run: Run, paired: Paired, outs: Sequence[Path], log: Path
) -> Capture:
    parts = [read(out) for out in outs]
    stacks, outside = region_stacks(item for part in parts for item in part.stacks if item[1])
    if not stacks:
        message = "scalene took no sample of the loop"
        raise CaptureError(message, where=str(outs[0]), remedy="profile for longer")
    notes = list(messages.notes(Scalene.name, _read(log)))
    native_s = sum(part.native_s for part in parts)
    total_s = native_s + sum(part.python_s for part in parts)
    if total_s:
        text = (
            f"scalene calls {format_share(native_s / total_s)} of the loop's CPU time native; "
            "that is no FFI share: conversions and the interpreter's own C are native too"
        )
        notes.append(Note(id="native_share", text=text))
    text = f"{outside} samples of imports and set-up were left out"
    notes.append(Note(id="outside_region", text=text))
    taken = Taken(
        profiler=Scalene.name,
        workload=request.job.name,
        size=request.size,
        stem=request.label,
        title=request.title,
        rate_hz=RATE_HZ,
        stacks=stacks,
        quality=Quality(samples=sum(count for _, count in stacks), slowdown=paired.slowdown),
        files={**{f"raw_{index + 1}": out for index, out in enumerate(outs)}, "log": log},
        region=paired.region,
        notes=tuple(notes),
    )
    return publish(taken, request.job.project.config.profiling, run)


def _read(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""

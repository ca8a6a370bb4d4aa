"""scalene on the Python call: lines of Python, from its JSON. It tells interpreter from native time
by how late a signal comes, and knows no Rust name, so its native share is not an FFI share.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfkit import process
from perfkit.errors import CaptureError, ToolMissingError, UnreadableOutputError
from perfkit.profile import messages
from perfkit.profile.paired import PAIRS, compare
from perfkit.profile.publish import Taken, publish
from perfkit.profile.py_spy import outside_note, region_stacks
from perfkit.profile.quality import Quality
from perfkit.profile.raw_files import RawFiles
from perfkit.records import Capture, Note
from perfkit.stacks.folded import MOST_SAMPLES, safe_name
from perfkit.units import format_share

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from perfkit.profile.request import CaptureRequest
    from perfkit.subject.child import WorkerSpec

NAME = "scalene"
RATE_HZ = 100.0
"""scalene's own: a timer of 10 ms, which no option changes."""
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


def capture(request: CaptureRequest) -> Capture:
    """Profile one workload at one size.

    Raises:
        ToolMissingError: the subject's interpreter has no scalene.
        CaptureError: it left no stack of the loop.
    """
    spec = request.job.spec()
    _require(request, spec.environment)
    suffixes = [f"{index + 1}.json" for index in range(PAIRS)]
    raw = RawFiles.fresh(NAME, request.run, request.sight.stem, *suffixes)

    def launched(index: int) -> WorkerSpec:
        output = str(raw.outputs[index])
        words = ("-m", "scalene", "run", "--cpu-only", "--profile-all", "-o", output)
        return dataclasses.replace(spec, runner=words, stdout=raw.log, stderr=raw.log)

    with raw.explained(str(raw.log)):
        paired = compare(request, spec, launched, stage=NAME, duration_s=request.duration_s)
    raw.require(str(raw.log))
    parts = [read(output) for output in raw.outputs]
    stacks, outside = region_stacks(item for part in parts for item in part.stacks if item[1])
    if not stacks:
        message = "scalene took no sample of the loop"
        raise CaptureError(message, where=str(raw.outputs[0]), remedy="profile for longer")
    notes = list(messages.notes(NAME, raw.said))
    native_s = sum(part.native_s for part in parts)
    total_s = native_s + sum(part.python_s for part in parts)
    if total_s:
        text = (
            f"scalene calls {format_share(native_s / total_s)} of the loop's CPU time native; "
            "that is not an FFI share: conversions and the interpreter's own C are native too"
        )
        notes.append(Note(id="native_share", text=text))
    taken = Taken(
        profiler=NAME,
        sight=request.sight,
        rate_hz=RATE_HZ,
        stacks=stacks,
        quality=Quality(samples=sum(count for _, count in stacks), slowdown=paired.slowdown),
        files=raw.by_kind,
        region=paired.region,
        notes=(*notes, outside_note(outside)),
    )
    return publish(taken, request.run)


def _require(request: CaptureRequest, environ: Mapping[str, str]) -> None:
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
        UnreadableOutputError: as `parse`, or it is not a text.
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
        UnreadableOutputError: it is not JSON, or not of this shape; with the line if it has one.
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
    message = f"is not a profile of scalene 2: {type(error).__name__}: {error}"
    remedy = "perfkit reads scalene 2.x: `pip install 'scalene<3'`"
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

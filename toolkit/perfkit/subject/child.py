"""How a worker is started, spoken to and ended; what it does inside is in `worker.py`.

One process per build. Exactly one worker runs at a time because every command here waits for its
answer: the token is the answer itself. What timings mean is not known here.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from perfkit import environment, process, store
from perfkit.errors import (
    ConfigError,
    PerfkitError,
    SubjectMismatchError,
    ToolMissingError,
    ToolTimedOutError,
    WorkerError,
    WorkloadError,
)
from perfkit.records import LoadedModule, Pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from perfkit.config import Project, Tolerance, Workload
    from perfkit.records import Build, Value
    from perfkit.subject.parameters import Assignment

WORKER_FILE = Path(__file__).with_name("worker.py")
CHANNELS_VARIABLE = "PERFKIT_WORKER_CHANNELS"
REGION_FRAMES = ("run_batch", "run_inner_batch")
"""The functions of worker.py under which every timed call happens: what profiles look for."""

START_TIMEOUT_S = 120.0
"""How long an interpreter under a launcher may take to import the subject."""
ANSWER_TIMEOUT_S = 300.0
CHECK_TIMEOUT_S = 10.0
"""What comparing and hashing results may take on top of the calls."""
EXIT_TIMEOUT_S = 5.0
LAUNCHER_EXIT_TIMEOUT_S = 120.0
"""A profiler writes its result after the worker has ended."""
_POLL_S = 0.2

_LOADED_BY = ("module", "root", "expected_sha256", "getter", "calls", "arguments")
"""The fields of a spec that the process itself is told."""

Which = Literal["call", "reference", "twin", "inner_timer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """Everything that decides what a worker process is.

    Attributes:
        python: the interpreter; not resolved, because a venv's is a link.
        environment: the whole environment.
        cwd: the project's root; paths of workloads are relative to it.
        root: build root that goes first on `sys.path`; None for what is installed.
        module: the subject's module; None for a worker that loads none (sentinels).
        expected_sha256: of the extension file that must be the one imported.
        getter: `module:function` that returns the compiled-in parameters.
        calls: setter reference to value, called once after the import.
        arguments: keywords added to each call of the subject.
        python_options: interpreter options, such as `("-X", "perf_jit")`.
        launcher: words in front of the interpreter, such as `("py-spy", "record", …, "--")`.
        runner: words between interpreter and worker, such as `("-m", "scalene", "run")`.
        stdout: a file for what is printed; discarded when None.
        stderr: a file for its stderr; a temporary one, shown when the worker dies, when None.
    """

    python: Path
    environment: Mapping[str, str]
    cwd: Path
    root: Path | None = None
    module: str | None = None
    expected_sha256: str | None = None
    getter: str | None = None
    calls: Mapping[str, Value] = field(default_factory=dict)
    arguments: Mapping[str, Value] = field(default_factory=dict)
    python_options: tuple[str, ...] = ()
    launcher: tuple[str, ...] = ()
    runner: tuple[str, ...] = ()
    stdout: Path | None = None
    stderr: Path | None = None

    @property
    def launched(self) -> bool:
        """Whether another program starts the worker, and writes its result after it."""
        return bool(self.launcher or self.runner)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One batch; seconds.

    Attributes:
        seconds: wall clock.
        cpu_s: CPU time of the whole process.
        own_s: CPU time of the calling thread alone.
        inner_s: the sum of the subject's own clock, for an `inner_timer` arm.
    """

    seconds: float
    calls: int
    cpu_s: float
    own_s: float
    inner_s: float | None = None

    @property
    def per_call_s(self) -> float:
        """Wall clock per call, seconds."""
        return self.seconds / self.calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How many calls a batch has, and what one call took.

    Attributes:
        per_call_s: seconds per call in the last batch.
        helpers: share of the CPU time that other threads than the calling one used; the most of
            any batch.
    """

    calls: int
    per_call_s: float
    helpers: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopResult:
    """A region of calls back to back: what a profiler looked at.

    `begin_s` is by the worker's `perf_counter`, which is the monotonic clock on Linux: a profiler's
    time stamps are compared with it, because the answer may come late on a busy machine. `untimed`
    calls ran right before it.
    """

    calls: int
    untimed: int
    seconds: float
    cpu_s: float
    tid: int
    begin_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How two results compare; `None` for a difference that is not a finite number."""

    agree: bool
    max_absolute: float | None
    max_relative: float | None
    where: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What one arm returned on the first data set.

    Attributes:
        changes_arguments: whether the call changed its own inputs.
        same_bits: whether repeated calls returned equal bits; None for types without known bits.
        digest: hash of the result's bits, None likewise.
        repeat: the worst difference among repeated calls, where the bits are not equal.
        reference: the difference to the other arm.
    """

    changes_arguments: bool
    same_bits: bool | None
    digest: str | None
    repeat: Difference | None
    reference: Difference | None


def spec_for(
    project: Project,
    build: Build | None,
    assignment: Assignment | None = None,
    *,
    threads: int | None = None,
) -> WorkerSpec:
    """The worker of one build.

    Args:
        build: None for the module that is installed in the project's interpreter.
        assignment: parameter values that are handed over at run time.
        threads: size of every known thread pool; the subject's setting by default.
    """
    subject = project.config.subject
    count = threads or environment.worker_threads(subject.threads)
    extra = {
        **environment.thread_environment(count),
        # One seed for all: processes must not differ in their order of hashing.
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        **subject.environment,
        **(assignment.environment if assignment else {}),
    }
    return WorkerSpec(
        python=project.interpreter,
        root=build.root if build else None,
        module=subject.module,
        expected_sha256=build.file_sha256 if build else None,
        environment=environment.base_environment(
            project.environ, extra=extra, passed=subject.pass_environment
        ),
        cwd=project.root,
        getter=subject.parameters,
        calls=dict(assignment.calls) if assignment else {},
        arguments=dict(assignment.arguments) if assignment else {},
    )


class Worker:
    """A running worker: one method per command, each waits for its answer."""

    def __init__(self, child: process.Child, channels: _Channels, spec: WorkerSpec) -> None:
        self._child = child
        self._channels = channels
        self._arms = 0
        self.spec = spec
        self.inputs: dict[str, str | None] = {}
        self.calibrated: dict[str, Calibration] = {}
        asked = {name: getattr(spec, name) for name in _LOADED_BY}
        told = self.ask("load", START_TIMEOUT_S, **asked)
        self.main_tid: int = told.pop("main_tid")
        places = {name: Path(told[name]) for name in ("path", "executable")}
        self.loaded = LoadedModule(**{**told, **places})
        self.pid = self.loaded.pid

    def ask(self, command: str, timeout_s: float, **arguments: object) -> Any:  # noqa: ANN401
        """Send one command and wait for its answer.

        Raises:
            WorkerError: the process died or broke the protocol.
            ToolTimedOutError: no answer within `timeout_s`; the process is ended.
            PerfkitError: what the worker named, by kind.
        """
        try:
            self._channels.send(json.dumps(store.to_json({"do": command, **arguments})) + "\n")
            line = self._channels.receive(timeout_s, self._child)
        except TimeoutError:
            self._child.stop()
            message = (
                f"`{command}` did not answer within {timeout_s:g} s, so perfkit ended the process"
            )
            remedy = "choose smaller sizes, or find out why the workload does not return"
            raise ToolTimedOutError(message, where=self._label(), remedy=remedy) from None
        except (BrokenPipeError, EOFError):
            raise self._death(command) from None
        try:
            answer = json.loads(line)
        except json.JSONDecodeError as error:
            message = f"the answer to `{command}` is not JSON"
            raise WorkerError(message, where=self._label(), details=line[:400]) from error
        if "error" in answer:
            raise _named(answer["error"])
        return answer["ok"]

    def prepare(
        self,
        workload: Workload,
        size: int,
        *,
        which: Which,
        seed: int = 0,
        data_sets: int = 1,
        name: str = "",
    ) -> str:
        """Make the inputs of one arm, off the clock, and return the arm's id.

        Raises:
            ConfigError: the workload has no such callable.
            WorkloadError: `setup` raised.
        """
        function: str | None = getattr(workload, which)
        if function is None:
            message = f"the workload{f' `{name}`' if name else ''} has no `{which}`"
            raise ConfigError(message, remedy=f"give it a `{which}` in the config")
        self._arms += 1
        arm = f"{which}/{size}/{self._arms}"
        whose = f"workload `{name}`" if name else "the workload"
        told = self.ask(
            "prepare",
            ANSWER_TIMEOUT_S,
            arm=arm,
            label=f"{whose} at size {size}: `{function}`",
            function=function,
            inputs={"setup": workload.setup, "size": size, "seed": seed, "data_sets": data_sets},
            returns_seconds=which == "inner_timer",
            keywords=which != "reference",
        )
        self.inputs[arm] = told["inputs"]
        return arm

    def calibrate(
        self, arm: str, *, batch_s: float = 2e-4, warm_s: float = 0.1, limit_s: float = 60.0
    ) -> int:
        """Warm up and return the calls per batch: the smallest power of two that takes `batch_s`.

        Raises:
            WorkloadError: one call takes longer than `limit_s`.
            ToolTimedOutError: a call does not return at all.
        """
        limits = {"batch_s": batch_s, "warm_s": warm_s, "limit_s": limit_s}
        told = self.ask("calibrate", max(4 * limit_s, 10.0) + warm_s, arm=arm, **limits)
        slow = told.pop("slow")
        found = Calibration(**told)
        if slow:
            took_s = found.per_call_s
            message = f"one call of {arm} takes {took_s:.3g} s; the limit is {limit_s:g} s"
            remedy = "choose smaller sizes, or a longer `measure.time_limit_s`"
            raise WorkloadError(message, remedy=remedy)
        self.calibrated[arm] = found
        return found.calls

    def time(
        self,
        arm: str,
        calls: int,
        *,
        pattern: Pattern = Pattern.HOT,
        untimed: int = 3,
        cpu: int | None = None,
        first: int | None = None,
        timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> Timing:
        """Time one batch, garbage collection off.

        Args:
            untimed: calls right before a hot batch; fewer when they take long.
            cpu: the core on which the calling thread begins; it is not pinned there.
            first: number of the data set that the timed calls begin with; None to continue where
                the last batch stopped.
        """
        how = {"pattern": pattern, "untimed": untimed, "cpu": cpu, "first": first}
        return Timing(**self.ask("time", timeout_s, arm=arm, calls=calls, **how))

    def loop(self, arm: str, seconds: float) -> LoopResult:
        """Call back to back for about `seconds`; the caller switches its profiler on and off."""
        known = self.calibrated.get(arm)
        calls = known.calls if known is not None else self.calibrate(arm)
        timeout_s = seconds + ANSWER_TIMEOUT_S
        return LoopResult(**self.ask("loop", timeout_s, arm=arm, seconds=seconds, calls=calls))

    def load_sampler(
        self, library: Path, *, rate_hz: float, stack_bytes: int, buffer_bytes: int
    ) -> None:
        """Load the library that samples this process from inside; see `toolkit/engine/sampler`.

        Raises:
            ToolMissingError: the interpreter cannot load it, or the system refuses its timers.
        """
        self.ask(
            "load_sampler",
            ANSWER_TIMEOUT_S,
            library=str(library),
            period_ns=round(1e9 / rate_hz),
            stack_bytes=stack_bytes,
            buffer_bytes=buffer_bytes,
        )

    def sample(self, *, on: bool) -> None:
        """Whether the next loops are sampled."""
        self.ask("sample", ANSWER_TIMEOUT_S, on=on)

    def write_samples(self, path: Path) -> tuple[int, int]:
        """Write the samples; returns how many found no room, and how many threads had no timer."""
        told = self.ask("write_samples", ANSWER_TIMEOUT_S, path=str(path))
        return int(told["lost"]), int(told["refused"])

    def unload_sampler(self) -> None:
        """Take the sampler's timers and its memory away."""
        self.ask("unload_sampler", ANSWER_TIMEOUT_S)

    def check(
        self,
        arm: str,
        other: str | None = None,
        *,
        tolerance: Tolerance,
        repeats: int = 3,
        limit_s: float = 60.0,
    ) -> CheckResult:
        """Compare an arm's result with another arm's of this worker, and with itself.

        Raises:
            WorkloadError: a call raises, or takes longer than `limit_s`.
            ToolTimedOutError: a call does not return at all.
        """
        asked = {**tolerance.model_dump(), "repeats": repeats, "limit_s": limit_s}
        timeout_s = (repeats + 1) * limit_s + CHECK_TIMEOUT_S
        told = self.ask("check", timeout_s, arm=arm, other=other, **asked)
        for key in ("repeat", "reference"):
            told[key] = Difference(**told[key]) if told[key] is not None else None
        return CheckResult(**told)

    def sentinels(self, threads: int) -> tuple[float, float]:
        """perfkit's own fixed work on one thread and on `threads` at once, next to each other;
        seconds.
        """
        told = self.ask("sentinels", ANSWER_TIMEOUT_S, threads=threads)
        return float(told["one_s"]), float(told["all_s"])

    def pace(self) -> dict[str, float]:
        """CPU seconds of perfkit's fixed work by kind: interpreter, arithmetic, memory."""
        return dict(self.ask("pace", ANSWER_TIMEOUT_S))

    def loop_overhead(self, calls: int = 4096) -> float:
        """Seconds that one turn of the timing loop takes with a call of nothing."""
        return float(self.ask("overhead", ANSWER_TIMEOUT_S, calls=calls)["seconds"])

    def memory_bytes(self) -> int:
        """Resident memory of the process."""
        return int(self.ask("memory", ANSWER_TIMEOUT_S)["bytes"])

    def libraries(self) -> dict[str, str]:
        """Versions of the modules that the workload loaded beside the subject and Python's own."""
        return dict(self.ask("libraries", ANSWER_TIMEOUT_S))

    def native_thread_ids(self) -> list[int]:
        """The threads of the process as the kernel numbers them."""
        return [int(tid) for tid in self.ask("threads", ANSWER_TIMEOUT_S)["threads"]]

    def finish(self) -> int:
        """End the worker, wait until its launcher has written its result, and return the code.

        Raises:
            ToolTimedOutError: it did not end.
        """
        self._channels.close()
        return self._child.wait(LAUNCHER_EXIT_TIMEOUT_S if self.spec.launched else EXIT_TIMEOUT_S)

    def _label(self) -> str:
        return f"worker of {self.spec.module or 'perfkit'} (`{process.show(self._child.argv)}`)"

    def _death(self, command: str) -> WorkerError:
        with contextlib.suppress(ToolTimedOutError):
            self._child.wait(process.TERMINATION_GRACE_S)
        code = self._child.returncode
        how = f"died of signal {-code}" if code is not None and code < 0 else f"exited ({code})"
        message = f"the process {how} during `{command}`"
        remedy = "run the call by itself in the project's interpreter: it crashes there too"
        details = self._channels.stderr_tail()
        return WorkerError(message, where=self._label(), remedy=remedy, details=details)


class _Channels:
    """Two named pipes to a worker: a launcher would not hand descriptors on."""

    def __init__(self, commands: int, results: int, stderr: Path) -> None:
        self._commands: int | None = commands
        self._results = results
        self._stderr = stderr
        self._rest = b""
        self._poll = select.poll()
        self._poll.register(results, select.POLLIN)

    def send(self, line: str) -> None:
        if self._commands is None:
            raise BrokenPipeError
        data = line.encode()
        while data:
            data = data[os.write(self._commands, data) :]

    def receive(self, timeout_s: float, child: process.Child) -> str:
        """One line.

        Raises:
            TimeoutError: none came.
            EOFError: the worker is gone.
        """
        end = time.monotonic() + timeout_s
        while b"\n" not in self._rest:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if not self._poll.poll(1000 * min(left, _POLL_S)):
                if child.returncode is not None and not self._poll.poll(0):
                    raise EOFError
                continue
            part = os.read(self._results, 1 << 16)
            if not part:
                raise EOFError
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def close(self) -> None:
        """Close the command channel: the worker's sign to end."""
        if self._commands is not None:
            os.close(self._commands)
            self._commands = None

    def stderr_tail(self) -> str:
        with contextlib.suppress(OSError):
            return process.tail(self._stderr.read_text(encoding="utf-8", errors="replace"))
        return ""


@contextlib.contextmanager
def worker(spec: WorkerSpec) -> Iterator[Worker]:
    """Start a worker that has loaded its build and proved it; end it when the block is left.

    Raises:
        SubjectMismatchError: what was imported is not the build that was asked for.
        WorkloadError: the import raised.
        WorkerError: the process died.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="perfkit-")))
        stderr = spec.stderr or folder / "stderr"
        places = folder / "commands", folder / "results"
        for place in places:
            os.mkfifo(place)
        # Opened for both, so that the open does not wait; only the worker reads it.
        commands = os.open(places[0], os.O_RDWR)
        results = os.open(places[1], os.O_RDONLY | os.O_NONBLOCK)
        channels = _Channels(commands, results, stderr)
        stack.callback(os.close, results)
        stack.callback(channels.close)
        options = spec.runner if spec.launched else ("-s", "-B")
        argv: list[str | Path]
        argv = [*spec.launcher, spec.python, *spec.python_options, *options, WORKER_FILE]
        variables = {**spec.environment, CHANNELS_VARIABLE: ",".join(map(str, places))}
        child = stack.enter_context(
            process.started(argv, env=variables, cwd=spec.cwd, stdout=spec.stdout, stderr=stderr)
        )
        running = Worker(child, channels, spec)
        yield running
        # A launcher must end. A subject's thread that is still alive is no reason to fail: the
        # process is ended below.
        with contextlib.suppress(*(() if spec.launched else (ToolTimedOutError,))):
            running.finish()


def _named(error: Mapping[str, str]) -> PerfkitError:
    """The catalogue's error for what a worker reports."""
    kinds: Mapping[str, tuple[type[PerfkitError], str]] = {
        "import": (WorkloadError, "make the module import in the project's interpreter"),
        "workload": (WorkloadError, "make the workload run by itself; the traceback is above"),
        "slow": (WorkloadError, "choose smaller sizes, or a longer `measure.time_limit_s`"),
        "usage": (ConfigError, "correct the config or the workload's file"),
        "sampler": (ToolMissingError, "use perf, or py-spy for Python's lines"),
        "mismatch": (SubjectMismatchError, "remove the other installation of the module"),
    }
    kind, remedy = kinds.get(error["kind"], (WorkerError, ""))
    return kind(
        error["message"],
        where=error["where"],
        remedy=remedy,
        details=process.tail(error["details"]),
    )

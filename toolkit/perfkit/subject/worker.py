"""The process that holds one build of the subject and runs it: what a worker does, and nothing of
how it is started or judged (`child.py`, `perfkit.measure`).

One file that needs the standard library alone, run by path in the *project's* interpreter (CPython
3.9 and newer). Commands come in and results go out as JSON lines on two separate channels,
because the subject may print to stdout; the process ends when the command channel closes.
"""

# ruff: noqa: B905, EM101, PTH100, PTH113, PTH120, PTH123, PTH208
# Why: `zip(strict=)` needs 3.10; the file stays small in what it loads into a measured process.

from __future__ import annotations

import contextlib
import gc
import hashlib
import importlib
import importlib.util
import json
import marshal
import math
import os
import platform
import random
import resource
import sys
import threading
import time
import traceback
from importlib.machinery import EXTENSION_SUFFIXES
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import ModuleType
    from typing import TextIO

    Reply = dict[str, Any]
    Function = Callable[..., Any]

CHANNELS_VARIABLE = "PERFKIT_WORKER_CHANNELS"
UNTIMED_CALLS = 3  # before a hot batch, by default
UNTIMED_S = 10e-3  # and no more of them before a loop once they have taken so long
IDLE_S = 2e-3  # after this the pools of the field have parked their threads
MAX_CALLS = 1 << 22  # per batch
PINS = 4  # blocks of memory held, one of them replaced before each batch
PIN_BYTES = 1 << 17  # at most: as large as the results of small calls
SENTINEL_S = 2e-3  # of one sentinel: long against the start of a time slice, short against a block
SENTINEL_WARM_S = 1.2e-2  # a core that slept shares another's hardware for up to 10 ms (measured)
SENTINEL_AWAKE = 0.9  # share of the cores at which waking them ends early
PACE_TURNS = 8_000  # of a Python loop; each kind of `pace` takes a third to a whole millisecond
PACE_ROUNDS = 600
PACE_BYTES = 1 << 22  # more than a core's own caches hold


class Refused(Exception):
    """Something that has a name in perfkit's catalogue: `kind` says which."""

    def __init__(self, kind: str, message: str, where: str = "", details: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.where = where
        self.details = details


class Call:
    """One callable with its inputs, made before the clock starts."""

    def __init__(
        self, function: Function, sets: list[tuple[Any, ...]], returns_seconds: bool, label: str
    ) -> None:
        self.function = function
        self.sets = sets
        self.returns_seconds = returns_seconds
        self.label = label
        self.turn = 0
        self.batch: list[tuple[Any, ...]] = []
        self.batch_turn = 0

    def take(self, calls: int) -> list[tuple[Any, ...]]:
        """The arguments of the next calls: the data sets in turn, from where it stopped."""
        count = len(self.sets)
        if len(self.batch) != calls or self.batch_turn != self.turn:
            self.batch = [self.sets[(self.turn + index) % count] for index in range(calls)]
            self.batch_turn = self.turn
        self.turn = (self.turn + calls) % count
        return self.batch


def run_batch(function: Function, batch: Iterable[tuple[Any, ...]]) -> None:
    """Call back to back. The frame of this function is what profiles look for."""
    for arguments in batch:
        function(*arguments)


def run_inner_batch(function: Function, batch: Iterable[tuple[Any, ...]]) -> float:
    """Like `run_batch`, for a callable that returns (result, seconds by a clock inside)."""
    inner = 0.0
    for arguments in batch:
        inner += function(*arguments)[1]
    return inner


class Commands:
    """The state between commands, and one method per command."""

    def __init__(self) -> None:
        self.arms: dict[str, Call] = {}
        self.files: dict[str, ModuleType] = {}
        self.arguments: dict[str, Any] = {}
        self.subject = ""
        self.sentinel_rounds: int | None = None
        self.helpers: list[_Helper] = []
        self.chance = random.Random()
        self.pins: list[bytearray] = [bytearray() for _ in range(PINS)]
        self.cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        self.streams: tuple[memoryview, memoryview] | None = None
        self.sampler: _Sampler | None = None

    # -- loading ---------------------------------------------------------------------------------

    def load(
        self,
        module: str | None,
        root: str | None,
        expected_sha256: str | None,
        getter: str | None,
        calls: Mapping[str, Any],
        arguments: Mapping[str, Any],
    ) -> Reply:
        if root is not None:
            sys.path.insert(0, root)
        self.arguments = dict(arguments)
        self.subject = (module or "").partition(".")[0]
        reply: Reply = {
            "module": module or "",
            "path": "",
            "sha256": "",
            "parameters": None,
            "python": platform.python_version(),
            "executable": sys.executable,
            "pid": os.getpid(),
            "main_tid": threading.get_native_id(),
        }
        if module is not None:
            what = f"importing `{module}`"
            _called(what, importlib.import_module, module, kind="import")
            reply["path"], reply["sha256"] = _find_extension(module, expected_sha256)
        for setter, value in calls.items():
            _called(f"the setter `{setter}`", self.resolve(setter), value)
        if getter is not None:
            values = _called(f"the getter `{getter}`", self.resolve(getter))
            reply["parameters"] = {str(name): _plain(value) for name, value in dict(values).items()}
        return reply

    def resolve(self, reference: str) -> Any:  # noqa: ANN401  # whatever the user named
        """The object that `module:function` or `path/to/file.py:function` names."""
        place, _, name = reference.rpartition(":")
        if place.endswith(".py") or os.sep in place:
            module = self._load_file(os.path.abspath(place))
        else:
            module = _called(f"importing `{place}`", importlib.import_module, place)
        try:
            return getattr(module, name)
        except AttributeError:
            known = [word for word in dir(module) if not word.startswith("_")]
            where = str(getattr(module, "__file__", place))
            details = "it has: {}".format(", ".join(known[:40]))
            raise Refused("usage", f"`{place}` has no `{name}`", where, details) from None

    def _load_file(self, path: str) -> ModuleType:
        if path in self.files:
            return self.files[path]
        if not os.path.isfile(path):
            raise Refused("usage", "there is no such file", where=path)
        name = f"perfkit_workload_{len(self.files)}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise Refused("usage", "is not a Python file", where=path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        folder = os.path.dirname(path)
        if folder not in sys.path:  # at the end: the build under test must win
            sys.path.append(folder)
        _called(f"loading {path}", spec.loader.exec_module, module)
        self.files[path] = module
        return module

    # -- arms ------------------------------------------------------------------------------------

    def prepare(
        self,
        arm: str,
        label: str,
        function: str,
        inputs: Mapping[str, Any],
        returns_seconds: bool,
        keywords: bool,
    ) -> Reply:
        """Make the data sets of one call: `inputs` holds `setup`, `size`, `seed`, `data_sets`."""
        setup, size, seed = inputs["setup"], inputs["size"], inputs["seed"]
        target = self.resolve(function)
        make = self.resolve(setup)
        if not callable(target) or not callable(make):
            raise Refused("usage", f"`{function}` or `{setup}` cannot be called")
        if keywords and self.arguments:
            plain = target
            extra = self.arguments

            def target(*arguments: object) -> object:
                return plain(*arguments, **extra)

        sets = []
        for number in range(seed, seed + inputs["data_sets"]):
            made = _called(f"`{setup}({size}, {number})`", make, size, number)
            if not isinstance(made, tuple):
                message = "`%s` returned %s; it must return the call's arguments as a tuple"
                raise Refused("usage", message % (setup, type(made).__name__))
            sets.append(made)
        digests = [digest(made) for made in sets]
        whole = hashlib.sha256("".join(map(str, digests)).encode()).hexdigest()
        self.arms[arm] = Call(target, sets, returns_seconds, label)
        gc.collect()
        gc.freeze()
        return {"data_sets": len(sets), "inputs": None if None in digests else whole}

    def calibrate(self, arm: str, batch_s: float, warm_s: float, limit_s: float) -> Reply:
        """Warm up, then the smallest power of two of calls that takes `batch_s`."""
        chosen = self.arms[arm]
        begin = time.perf_counter()
        while True:
            timed = self._batch(chosen, 1)
            slow = timed["seconds"] > limit_s
            if slow or time.perf_counter() - begin >= warm_s:
                break
        calls, helpers = 1, _helpers(timed) if slow else 0.0
        while not slow:
            timed = self._batch(chosen, calls)
            helpers = max(helpers, _helpers(timed))
            if timed["seconds"] >= batch_s or calls >= MAX_CALLS:
                break
            calls *= 2
        per_call_s = timed["seconds"] / calls
        return {
            "calls": calls,
            "per_call_s": per_call_s,
            "helpers": helpers,
            "slow": per_call_s > limit_s,
        }

    def overhead(self, calls: int) -> Reply:
        """Seconds that one turn of perfkit's own loop takes, with a call of nothing."""
        nothing = Call(lambda: None, [()], False, "nothing")
        return {"seconds": self._batch(nothing, calls)["seconds"] / calls}

    def time(
        self, arm: str, calls: int, pattern: str, untimed: int, cpu: int | None, first: int | None
    ) -> Reply:
        """One batch, begun on the given core and with the given data set, if any."""
        chosen = self.arms[arm]
        if first is not None:  # the untimed calls lead up to it
            chosen.turn = (first - (0 if pattern == "idle" else untimed)) % len(chosen.sets)
        if cpu is not None:
            self._move_to(cpu)
        self._shuffle_heap()
        if pattern == "idle":
            return self._idle_batch(chosen, calls)
        if untimed:  # while others had the token, caches cooled and the pool went to sleep
            self._batch(chosen, untimed)
        return self._batch(chosen, calls)

    def _idle_batch(self, arm: Call, calls: int) -> Reply:
        """Calls that each find the pool asleep, with the sums of what each took."""
        sums: Reply = {"seconds": 0.0, "cpu_s": 0.0, "own_s": 0.0}
        if arm.returns_seconds:
            sums["inner_s"] = 0.0
        for _ in range(calls):
            time.sleep(IDLE_S)
            timed = self._batch(arm, 1)
            for name in sums:
                sums[name] += timed[name]
        return {"inner_s": None, **sums, "calls": calls}

    def _move_to(self, cpu: int) -> None:
        """Move this thread to a core without pinning it: it stays until the system moves it.

        If it stayed pinned, a pool's threads, born later, would inherit the one core.
        """
        os.sched_setaffinity(0, {cpu})
        os.sched_setaffinity(0, self.cores)

    def _shuffle_heap(self) -> None:
        """Put the next results elsewhere than the last ones.

        Where an allocator puts a result decides a few percent of a call, and without this it stays
        the same for the life of a process: two processes with one build then always differ.
        """
        size = self.chance.randrange(64, PIN_BYTES)
        self.pins[self.chance.randrange(PINS)] = bytearray(size)

    def _batch(self, arm: Call, calls: int) -> Reply:
        """One clock pair around calls back to back, garbage collection off."""
        batch = arm.take(calls)
        function = arm.function
        inner = None
        gc.disable()
        own_begin = time.thread_time_ns()
        cpu_begin = time.process_time_ns()
        begin = time.perf_counter_ns()
        try:
            if arm.returns_seconds:
                inner = run_inner_batch(function, batch)
            else:
                run_batch(function, batch)
        except BaseException as error:
            raise _raised("workload", arm.label, error) from error
        finally:
            end = time.perf_counter_ns()
            cpu_end = time.process_time_ns()
            own_end = time.thread_time_ns()
            gc.enable()
        return {
            "seconds": (end - begin) * 1e-9,
            "calls": calls,
            "cpu_s": (cpu_end - cpu_begin) * 1e-9,
            "own_s": (own_end - own_begin) * 1e-9,
            "inner_s": inner,
        }

    def loop(self, arm: str, seconds: float, calls: int) -> Reply:
        """Batches back to back for about `seconds`: the region a profiler looks at."""
        chosen = self.arms[arm]
        untimed, started = 0, time.perf_counter()
        while untimed < UNTIMED_CALLS and time.perf_counter() - started < UNTIMED_S:
            self._batch(chosen, 1)
            untimed += 1
        done, spent, cpu = 0, 0.0, 0.0
        with self.sampler or contextlib.nullcontext():
            begin = time.perf_counter()
            while not done or spent < seconds:
                cpu += self._batch(chosen, calls)["cpu_s"]
                done += calls
                spent = time.perf_counter() - begin
        return {
            "calls": done,
            "untimed": untimed,
            "seconds": spent,
            "cpu_s": cpu,
            "tid": threading.get_native_id(),
            "begin_s": begin,
        }

    # -- the sampler -----------------------------------------------------------------------------

    def load_sampler(
        self, library: str, period_ns: int, stack_bytes: int, buffer_bytes: int
    ) -> Reply:
        """Prepare sampling of this process from inside; nothing is sampled yet."""
        self.sampler = _Sampler(library, period_ns, stack_bytes, buffer_bytes)
        return {}

    def sample(self, on: bool) -> Reply:
        """Whether the next loops are sampled."""
        if self.sampler is not None:
            self.sampler.on = on
        return {}

    def write_samples(self, path: str) -> Reply:
        """Write the samples of all loops; says how much is missing of them."""
        if self.sampler is None:
            raise Refused("worker", "no sampler is loaded")
        return self.sampler.write(path)

    def unload_sampler(self) -> Reply:
        if self.sampler is not None:
            self.sampler.release()
            self.sampler = None
        return {}

    # -- what the subject returns ----------------------------------------------------------------

    def check(
        self,
        arm: str,
        other: str | None,
        relative: float,
        absolute: float,
        repeats: int,
        limit_s: float,
    ) -> Reply:
        """Compare an arm's result with another's and with itself on the first data set.

        A call longer than `limit_s` is refused after the first one.
        """
        chosen = self.arms[arm]
        arguments = chosen.sets[0]
        befores = [digest(argument) for argument in arguments]
        filled: set[int] = set()
        results = [self._result(chosen, filled, limit_s)]
        results += [self._result(chosen, filled) for _ in range(repeats - 1)]
        changed = any(
            before is not None and index not in filled and digest(argument) != before
            for index, (argument, before) in enumerate(zip(arguments, befores))
        )
        digests = [digest(result) for result in results]
        same_bits = None if None in digests else len(set(digests)) == 1
        repeat = reference = None
        if same_bits is not True and repeats > 1:
            repeat = max(
                (compare(results[0], result, relative, absolute) for result in results[1:]),
                key=lambda found: (not found["agree"], found["max_absolute"] or 0.0),
            )
        if other is not None:
            expected = self._result(self.arms[other], set(), limit_s)
            reference = compare(results[0], expected, relative, absolute)
        return {
            "changes_arguments": changed,
            "same_bits": same_bits,
            "digest": digests[0],
            "repeat": repeat,
            "reference": reference,
        }

    def _result(self, arm: Call, filled: set[int], limit_s: float = math.inf) -> Any:  # noqa: ANN401
        """The result on the first data set.

        Its index joins `filled` when it is an argument, as NumPy's `out` is.

        Such an array is copied and overwritten with zeros: the next call must fill it anew, and one
        that reads what it finds there gives another result.
        """
        arguments = arm.sets[0]
        begin = time.perf_counter()
        result = _called(arm.label, arm.function, *arguments)
        spent = time.perf_counter() - begin
        if spent > limit_s:
            message = "%s: one call takes %.3g s, longer than the time limit of %g s"
            raise Refused("slow", message % (arm.label, spent, limit_s))
        result = result[0] if arm.returns_seconds else result
        for index, argument in enumerate(arguments):
            if argument is result and hasattr(result, "dtype"):
                filled.add(index)
                result = argument.copy()
                argument.fill(0)
        return result

    # -- the process -----------------------------------------------------------------------------

    def threads(self) -> Reply:
        try:
            return {"threads": sorted(int(name) for name in os.listdir("/proc/self/task"))}
        except OSError:
            return {"threads": [threading.get_native_id()]}

    def memory(self) -> Reply:
        """Bytes resident now, or the most there ever were where the system does not tell."""
        try:
            with open("/proc/self/statm", encoding="ascii") as stream:
                return {"bytes": int(stream.read().split()[1]) * resource.getpagesize()}
        except (OSError, ValueError, IndexError):
            return {"bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}

    def libraries(self) -> Reply:
        """Versions of what is loaded besides the subject and Python itself, by module."""
        own = {self.subject, *getattr(sys, "stdlib_module_names", ())}
        versions = {
            name: getattr(module, "__version__", None)
            for name, module in list(sys.modules.items())
            if "." not in name and name not in own
        }
        return {name: found for name, found in versions.items() if isinstance(found, str)}

    def pace(self) -> Reply:
        """CPU seconds of fixed work of several kinds on this thread: the same in every process, so
        that two processes of different moments can be compared.
        """
        if self.streams is None:
            self.streams = (memoryview(bytearray(PACE_BYTES)), memoryview(bytearray(PACE_BYTES)))
        source, sink = self.streams
        return {
            "interpreter": _cpu_seconds(lambda: _turns(PACE_TURNS)),
            "arithmetic": _cpu_seconds(lambda: _fixed_work(PACE_ROUNDS)),
            "memory": _cpu_seconds(lambda: _copy(source, sink)),
        }

    def sentinels(self, threads: int) -> Reply:
        """perfkit's own fixed work on all threads and on one, next to each other, after waking the
        cores; OpenSSL releases the GIL.
        """
        rounds = self.sentinel_rounds or self._calibrate_sentinel()
        if threads > 1:
            half = max(1, rounds // 2)
            alone = self._fixed_work_on(1, half)
            spent = 0.0
            while spent < SENTINEL_WARM_S:
                together = self._fixed_work_on(threads, half)
                spent += together
                if alone / together >= SENTINEL_AWAKE:
                    break
        return {
            "all_s": self._fixed_work_on(threads, rounds),
            "one_s": self._fixed_work_on(1, rounds),
        }

    def _fixed_work_on(self, threads: int, rounds: int) -> float:
        """Seconds for the work on this many threads at once, each on another core.

        Left to itself, the system wakes a thread on the core that woke it and moves it away only
        after some milliseconds: two such threads share one core while another is free.
        """
        cores = sorted(self.cores)
        while len(self.helpers) < threads - 1:
            number = len(self.helpers) + 1
            self.helpers.append(_Helper({cores[number % len(cores)]} if cores else set()))
        helpers = self.helpers[: threads - 1]
        for helper in helpers:
            helper.rounds = rounds
        if helpers and cores:
            os.sched_setaffinity(0, {cores[0]})
        begin = time.perf_counter_ns()
        for helper in helpers:
            helper.go.release()
        _fixed_work(rounds)
        for helper in helpers:
            helper.done.acquire()
        seconds = (time.perf_counter_ns() - begin) * 1e-9
        if helpers and cores:
            os.sched_setaffinity(0, self.cores)
        return seconds

    def _calibrate_sentinel(self) -> int:
        rounds = 64
        _fixed_work(rounds)
        while (spent := _timed_work(rounds)) < SENTINEL_S / 2:
            rounds *= 2
        best = min(spent, *(_timed_work(rounds) for _ in range(8)))
        self.sentinel_rounds = max(1, round(rounds * SENTINEL_S / best))
        return self.sentinel_rounds


class _Helper:
    """A thread that does the sentinel's work when it is let go, on the given cores if any."""

    def __init__(self, cores: set[int]) -> None:
        self.cores = cores
        self.go = threading.Semaphore(0)
        self.done = threading.Semaphore(0)
        self.rounds = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        if self.cores:
            os.sched_setaffinity(0, self.cores)  # of this thread alone
        while True:
            self.go.acquire()
            _fixed_work(self.rounds)
            self.done.release()


SAMPLER_REFUSALS = {
    -1: "a sampler is running already",
    -2: "there is no memory for the samples",
    -3: "the program handles every signal that a sampler could use",
    -4: "the system has no timers on the CPU clock of a thread",
}


class _Sampler:
    """The library that samples this process (toolkit/engine/sampler); as a context it samples what
    is in it, if it is on.
    """

    def __init__(self, path: str, period_ns: int, stack_bytes: int, buffer_bytes: int) -> None:
        try:
            import ctypes

            library = ctypes.CDLL(path)
        except (ImportError, OSError) as error:
            message = "this interpreter cannot load perfkit's sampler: %s"
            raise Refused("sampler", message % error, where=sys.executable) from error
        try:  # glibc's: beyond it are the arguments and the environment
            stack_end = ctypes.c_size_t.in_dll(ctypes.CDLL(None), "__libc_stack_end").value
        except ValueError:
            stack_end = 0
        self.ctypes = ctypes
        self.on = False
        self.call = {
            name: getattr(library, "perfkit_sampler_" + name)
            for name in ("start", "enable", "disable", "stop", "samples", "lost", "release")
        }
        self.call["samples"].restype = ctypes.c_size_t
        self.call["lost"].restype = ctypes.c_uint64
        sizes = (ctypes.c_size_t(size) for size in (buffer_bytes, stack_bytes, stack_end))
        code = self.call["start"](ctypes.c_uint64(period_ns), *sizes)
        if code != 0:
            raise Refused("sampler", SAMPLER_REFUSALS.get(code, str(code)))

    def __enter__(self) -> None:
        if self.on:
            self.call["enable"]()

    def __exit__(self, *_: object) -> None:
        if self.on:
            self.call["disable"]()

    def write(self, path: str) -> Reply:
        """The memory map, the vdso, which is in no file, and the samples; `copies.rs` reads it."""
        self.call["stop"]()
        with open("/proc/self/maps", "rb") as stream:
            maps = stream.read().decode("utf-8", "replace")
        size, refused = self.ctypes.c_size_t(), self.ctypes.c_uint64()
        samples = self.call["samples"](self.ctypes.byref(size))
        vdso = [0, 0]
        for line in maps.splitlines():
            if line.endswith("[vdso]"):
                vdso = [int(part, 16) for part in line.split(" ")[0].split("-")]
        head = f"perfkit-copies 1 {platform.machine()} {os.getpid()}"
        parts = ((vdso[0], vdso[1] - vdso[0]), (samples, size.value))
        with open(path, "wb") as stream:
            stream.write(f"{head}\n{maps}\n".encode())
            for number in parts[0]:
                stream.write(number.to_bytes(8, sys.byteorder))
            for place, length in parts:
                stream.write(self.ctypes.string_at(place, length) if length else b"")
        lost = self.call["lost"](self.ctypes.byref(refused))
        return {"lost": lost, "refused": refused.value}

    def release(self) -> None:
        self.call["stop"]()
        self.call["release"]()


def _helpers(timed: Reply) -> float:
    """Share of a batch's CPU time that other threads than the calling one used."""
    return 1 - timed["own_s"] / timed["cpu_s"] if timed["cpu_s"] > 0 else 0.0


def _fixed_work(rounds: int) -> None:
    hashlib.pbkdf2_hmac("sha256", b"perfkit", b"sentinel", rounds)


def _turns(count: int) -> int:
    total = 0
    for value in range(count):
        total += value & 3
    return total


def _copy(source: memoryview, sink: memoryview) -> None:
    sink[:] = source


def _cpu_seconds(work: Callable[[], object]) -> float:
    """The faster of two turns: the first one fills the caches that the subject's calls emptied."""
    spent = []
    for _ in range(2):
        begin = time.thread_time_ns()
        work()
        spent.append((time.thread_time_ns() - begin) * 1e-9)
    return min(spent)


def _timed_work(rounds: int) -> float:
    begin = time.perf_counter()
    _fixed_work(rounds)
    return time.perf_counter() - begin


# -- values ----------------------------------------------------------------------------------------


def digest(value: object) -> str | None:
    """A hash over the bits of a value, or None for a type whose bits are not known."""
    state = hashlib.sha256()
    try:
        _feed(state, value)
    except (TypeError, ValueError, BufferError):
        return None
    return state.hexdigest()


def _feed(state: Any, value: Any) -> None:  # noqa: ANN401
    if isinstance(value, (tuple, list)) and any(not _is_scalar(item) for item in value):
        state.update(b"%d(" % len(value))
        for item in value:
            _feed(state, item)
        return
    if hasattr(value, "dtype") and hasattr(value, "tobytes"):
        if value.dtype.hasobject:
            raise TypeError(type(value).__name__)
        state.update((f"{value.dtype.str}{value.shape}").encode())
        state.update(value.tobytes())
        return
    state.update(marshal.dumps(value, 2))  # version 2 writes no object identities


def _is_scalar(item: object) -> bool:
    return type(item) in (int, float, str, bytes, bool, type(None), complex)


def _plain(value: object) -> Any:  # noqa: ANN401  # bool, int, float or str
    """A parameter's value as JSON has it; NumPy scalars become Python's."""
    if isinstance(value, (bool, int, float, str)):
        return value
    item = getattr(value, "item", None)
    if item is not None:
        return item()
    raise Refused("usage", f"the getter returned a {type(value).__name__}")


def compare(found: object, expected: object, relative: float, absolute: float) -> Reply:
    """Whether |found - expected| <= absolute + relative * |expected| everywhere, and where not.

    NaN equals NaN, an infinity only itself: every other number would be near an infinite
    |expected|. Shapes and lengths must be equal. A difference that is not finite is `None`.
    """
    state = _Comparison(relative, absolute)
    state.values(found, expected, "")
    largest = {"max_absolute": state.max_absolute, "max_relative": state.max_relative}
    return {
        "agree": state.agree,
        "where": state.where,
        "reason": state.reason,
        **{name: gap if math.isfinite(gap) else None for name, gap in largest.items()},
    }


class _Comparison:
    """How two results differ: the first place, and the largest difference anywhere."""

    def __init__(self, relative: float, absolute: float) -> None:
        self.relative, self.absolute = relative, absolute
        self.max_absolute = self.max_relative = 0.0
        self.agree, self.where, self.reason = True, "", ""

    def differ(self, place: str, reason: str) -> None:
        if self.agree:
            self.agree, self.where, self.reason = False, place, reason

    def widen(self, gap: float, scale: float) -> None:
        """Take a difference in; one that is not a number counts as infinite."""
        self.max_absolute = max(self.max_absolute, gap) if gap == gap else math.inf
        self.max_relative = max(self.max_relative, scale) if scale == scale else math.inf

    def values(self, found: Any, expected: Any, place: str) -> None:  # noqa: ANN401
        if _is_array(found) or _is_array(expected):
            self.arrays(found, expected, place)
        elif isinstance(found, dict) and isinstance(expected, dict):
            if set(found) != set(expected):
                keys, others = (sorted(map(repr, one)) for one in (found, expected))
                self.differ(place, f"keys {keys} against {others}")
                return
            for key in found:
                self.values(found[key], expected[key], f"{place}[{key!r}]")
        elif isinstance(found, (list, tuple)) and isinstance(expected, (list, tuple)):
            if len(found) != len(expected):
                self.differ(place, f"{len(found)} elements against {len(expected)}")
                return
            for index, (left, right) in enumerate(zip(found, expected)):
                if type(left) is float and type(right) is float and left == right:
                    continue
                self.values(left, right, f"{place}[{index}]")
        elif _is_number(found) and _is_number(expected):
            self.numbers(found, expected, place)
        elif found != expected:
            self.differ(place, f"{found!r:.80} against {expected!r:.80}")

    def numbers(self, found: Any, expected: Any, place: str) -> None:  # noqa: ANN401
        if found == expected or (found != found and expected != expected):
            return
        gap = abs(found - expected)
        self.widen(gap, gap / abs(expected) if expected else math.inf)
        if not (gap < math.inf and gap <= self.absolute + self.relative * abs(expected)):
            self.differ(place, f"{found!r} against {expected!r}")

    def arrays(self, found: object, expected: object, place: str) -> None:
        import numpy

        left, right = numpy.asarray(found), numpy.asarray(expected)
        if left.shape != right.shape:
            self.widen(math.inf, math.inf)
            self.differ(place, f"shape {left.shape} against {right.shape}")
            return
        if left.dtype.kind not in "biufc" or right.dtype.kind not in "biufc":
            same = numpy.asarray(left == right)
            if not same.all():
                self.widen(math.inf, math.inf)
                index = tuple(int(i) for i in numpy.argwhere(~same)[0])
                self.differ(place + _index(index), f"{left[index]!r} against {right[index]!r}")
            return
        kind = numpy.result_type(left, right, numpy.float64)
        left, right = left.astype(kind), right.astype(kind)
        with numpy.errstate(all="ignore"):
            equal = (left == right) | (numpy.isnan(left) & numpy.isnan(right))
            gap = numpy.where(equal, 0.0, numpy.abs(left - right))
            far = numpy.where(equal, 0.0, numpy.inf)
            scale = numpy.where(right != 0, gap / numpy.abs(right), far)
            limit = self.absolute + self.relative * numpy.abs(right)
            bad = ~(equal | (numpy.isfinite(gap) & (gap <= limit)))
        if gap.size:
            self.widen(float(gap.max()), float(scale.max()))
        if bad.any():
            weight = numpy.where(bad, numpy.nan_to_num(gap, nan=numpy.inf), -1.0)
            index = tuple(int(i) for i in numpy.unravel_index(int(weight.argmax()), weight.shape))
            reason = f"{left[index].item()!r} against {right[index].item()!r}; "
            reason += f"{int(bad.sum())} of {bad.size} elements differ"
            self.differ(place + _index(index), reason)


def _is_array(value: object) -> bool:
    return hasattr(value, "__array__") and not isinstance(value, (int, float))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, complex)) and not isinstance(value, bool)


def _index(index: Sequence[int]) -> str:
    return "".join(f"[{part}]" for part in index)


# -- errors and channels ---------------------------------------------------------------------------


def _find_extension(module: str, expected: str | None) -> tuple[str, str]:
    """The file of the machine code that was imported, and its hash.

    Where no hash is expected, it is the module itself, else the only extension in it, else the one
    that has the module's own name, as maturin lays it out.
    """
    found = {}
    for name, loaded in list(sys.modules.items()):
        path = getattr(loaded, "__file__", None)
        inside = name == module or name.startswith(module + ".")
        if inside and path and path.endswith(tuple(EXTENSION_SUFFIXES)):
            found[name] = path
    if not found:
        own = getattr(sys.modules[module], "__file__", None)
        message = "`%s` was imported from %s, and no extension module came with it"
        raise Refused("mismatch", message % (module, own))
    hashes = {path: _hash_file(path) for path in found.values()}
    if expected is None:
        only = next(iter(hashes)) if len(hashes) == 1 else None
        usual = found.get(module + "." + module.rpartition(".")[2])
        chosen = found.get(module) or only or usual
    else:
        chosen = next((path for path, digest in hashes.items() if digest == expected), None)
    if chosen is not None:
        return chosen, hashes[chosen]
    message = "`%s` was imported from %s, which is not the build that was asked for"
    listed = ", ".join(f"{digest} of {path}" for path, digest in hashes.items())
    details = f"expected sha256 {expected}; found {listed}"
    raise Refused("mismatch", message % (module, ", ".join(hashes)), details=details)


def _hash_file(path: str) -> str:
    state = hashlib.sha256()
    with open(path, "rb") as stream:
        for part in iter(lambda: stream.read(1 << 20), b""):
            state.update(part)
    return state.hexdigest()


def _called(
    what: str,
    function: Function,
    *arguments: object,
    kind: str = "workload",
) -> Any:  # noqa: ANN401
    """What the user's function returns; what it raises gets a name and a place."""
    try:
        return function(*arguments)
    except BaseException as error:
        raise _raised(kind, what, error) from error


def _raised(kind: str, what: str, error: BaseException) -> Refused:
    """The user's exception with the last place in a file of the user's own."""
    if isinstance(error, Refused):
        return error
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_users(frame.filename)]
    where = f"{own[-1].filename}:{own[-1].lineno}" if own else ""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    message = f"{what} raised {type(error).__name__}: {error}"
    return Refused(kind, message, where=where, details=text)


def _is_users(path: str) -> bool:
    """Neither this file nor an installed library's, and one that exists: Cython names others."""
    library = os.path.dirname(os.__file__)
    installed = f"{os.sep}site-packages{os.sep}" in path or path.startswith(library)
    return path != __file__ and not installed and os.path.isfile(path)


def _open_channels() -> tuple[TextIO, TextIO]:
    """Two named pipes, because a launcher would close descriptors; the subject does not see it."""
    places = os.environ.pop(CHANNELS_VARIABLE, "").split(",")
    if len(places) != 2:
        raise SystemExit("worker.py is started by perfkit, with two channels")
    commands, results = places
    return (
        open(commands, encoding="utf-8", newline="\n"),
        open(results, "w", encoding="utf-8", newline="\n"),
    )


def serve(commands: TextIO, results: TextIO) -> None:
    """Answer commands until the channel closes."""
    worker = Commands()
    for line in commands:
        asked = json.loads(line)
        name = asked.pop("do")
        try:
            reply = {"ok": getattr(worker, name)(**asked)}
        except Refused as error:
            reply = {"error": vars(error)}
        except Exception as error:  # a fault of this file, not of the user's
            fault = Refused("worker", repr(error), details=traceback.format_exc())
            reply = {"error": vars(fault)}
        results.write(json.dumps(reply) + "\n")
        results.flush()


def main() -> None:
    """Drop this file's folder from the path (it is perfkit's, not the project's) and serve."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != here]
    commands, results = _open_channels()
    with contextlib.suppress(BrokenPipeError):  # perfkit is gone
        serve(commands, results)


if __name__ == "__main__":
    main()

"""Frozen records that pass between the stages, and nothing that computes.

Every time is in seconds, every share a fraction of one with its base named. A record that does not
know a value holds `None`; zero always means zero. JSON is written from these by
`perfkit.store.to_json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 2
"""Version of the documents for programs (`--format json`).

History:
    1, the first.
    2: captures hold their doubts in place of a refusal; a gain says whether it was tried.
"""

RUN_VERSION = 3
"""Version of the files in a run directory; a run of another version is refused. A new field whose
default says "not known" needs no new version. `tests/unit/test_run_files.py` checks both.

History:
    1, the first.
    2: trials and confirmations hold whole results of a size; shares, estimates and gains of a
        diagnosis hold intervals; captures have no ids of process and thread.
    3: captures hold their doubts in place of a refusal; a gain says whether it was tried.
"""

Value = int | float | str | bool
"""What a parameter can hold."""


class Layer(StrEnum):
    """Where time goes: a closed set. FFI is `glue + convert_in + convert_out + gil`."""

    INTERPRETER = "interpreter"
    GLUE = "glue"
    CONVERT_IN = "convert_in"
    CONVERT_OUT = "convert_out"
    GIL = "gil"
    ALLOCATION = "allocation"
    PAGE_FAULT = "page_fault"
    POOL = "pool"
    WAITING = "waiting"
    MATH = "math"
    COMPUTE = "compute"
    OTHER = "other"


FFI_LAYERS = (Layer.GLUE, Layer.CONVERT_IN, Layer.CONVERT_OUT, Layer.GIL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with a 95 % confidence interval, in the unit of its field."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigValue:
    """One value of the config in force, and where it comes from: `default`, `file:line`, …"""

    key: str
    value: Any
    origin: str = ""


class Profile(StrEnum):
    """Which build: as the user ships it, or the same with symbols and frame pointers."""

    RELEASE = "release"
    PROFILING = "profiling"


class Proof(StrEnum):
    """How a parameter's value in a build is known."""

    GETTER = (
        "getter"  # the built module says so itself; whether anything else reads it is not known
    )
    TEXT = "text"  # compiled afresh, and the machine code differs from the unedited build
    DEAD = "dead"  # compiled afresh, and the machine code is the same: the value reaches nothing
    DEFAULT = "default"  # the value is the one in the user's own sources; nothing was edited
    PASSED = "passed"  # environment variable, setter or argument: handed over at run time
    UNPROVED = "unproved"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterProof:
    """One parameter of a build: what was asked for, and how it is known to be so."""

    name: str
    value: Value
    proof: Proof


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One compiled subject, unpacked beside its build info.

    Attributes:
        key: hash of sources, parameters, toolchain and flags; names the cache entry.
        root: the directory to put on `sys.path`.
        module_file: the extension that was built.
        file_sha256: of `module_file`.
        text_sha256: of its `.text` section: equal machine code, equal hash.
        profile: release or profiling.
        params: the `const` parameters that were edited, with their values.
        proofs: how each of them is known to be in the binary.
        opt_level: as on the actual rustc line of the crate (`3`), never from Cargo.toml.
        rustc: the actual rustc command lines of the workspace's own crates.
        build_s: wall clock of the build, seconds; of the original one where it came from the cache.
        cached: whether it came from the cache.
        data_sha256: of everything else that is loaded, such as constants in `.rodata`. Two builds
            run the same code on the same data only when this *and* `text_sha256` are equal.
        initialisers: every `const` parameter's text in the unedited sources.
        notes: what a reader should know, such as a build without optimisation.
    """

    key: str
    root: Path
    module: str
    module_file: Path
    file_sha256: str
    text_sha256: str
    profile: Profile
    params: Mapping[str, Value]
    proofs: tuple[ParameterProof, ...]
    opt_level: str
    rustc: tuple[str, ...]
    build_s: float
    cached: bool
    data_sha256: str = ""
    initialisers: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModule:
    """What a worker says that it loaded."""

    module: str
    path: Path
    sha256: str
    parameters: Mapping[str, Value] | None
    python: str
    executable: Path
    pid: int


class Role(StrEnum):
    """What a variant is in a comparison."""

    SUBJECT = "subject"
    REFERENCE = "reference"
    BASELINE = "baseline"
    COPY = "copy"  # a byte copy of the subject: the A/A arm
    TWIN = "twin"


class Pattern(StrEnum):
    """How calls follow each other: back to back, or after the pool went to sleep."""

    HOT = "hot"
    IDLE = "idle"


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeResult:
    """What was measured of one workload at one size: in a report, in a trial, in a confirmation.

    `speedup` is reference time over subject time from the per-block log-ratios; it is not the
    ratio of the two times. `met` is whether its *lower* bound reaches the target; `None`
    without a target or without a verdict.

    Attributes:
        change: time of the baseline over the subject's: of another build, of another workload, or
            of the build that a tuning run started from.
        baseline_s: time per call of what `change` compares with.
        against_workload: its name, where that is another workload and not a build.
        noise_floor: what ratios must leave one by, as a fraction; None while no A/A was measured.
    """

    workload: str
    size: int
    time_s: Interval
    reference_s: Interval | None
    speedup: Interval | None
    target: float | None
    met: bool | None
    valid_blocks: int
    blocks: int
    pattern: Pattern = Pattern.HOT
    contended_speedup: Interval | None = None
    change: Interval | None = None
    noise_floor: float | None = None
    baseline_s: Interval | None = None
    against_workload: str | None = None


class MeasureVerdict(StrEnum):
    """Whether the measured figures can be trusted."""

    OK = "ok"
    BUSY = "busy"
    UNTRUSTED = "untrusted"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What of a measurement a note is about: a workload, all of it if no size is named."""

    workload: str = ""
    sizes: tuple[int, ...] = ()
    pattern: Pattern | None = None  # where it matters


class NoteId(StrEnum):
    """The notes that decide something. No code asks for another one: those are read by people."""

    INTERRUPTED = "interrupted"
    KERNEL_UNSEEN = "kernel_unseen"
    OUTSIDE_REGION = "outside_region"
    PERF_JIT = "perf_jit"
    RATES_AGREE = "rates_agree"
    RAW_NOT_KEPT = "raw_not_kept"
    TRIED = "tried"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A warning or remark as a value, with its evidence; the report renders it.

    Attributes:
        id: a `NoteId` where code asks for it.
        where: the file, the trial or the line of a tool's output that it is about.
        place: the workload and sizes.
    """

    id: str
    text: str
    where: str = ""
    remedy: str = ""
    place: Place | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureReport:
    """Everything one measurement found out."""

    verdict: MeasureVerdict
    noise_floor: float | None
    results: tuple[SizeResult, ...]
    notes: tuple[Note, ...] = ()
    loaded: tuple[LoadedModule, ...] = ()
    seconds: float = 0.0
    effective_cores: tuple[float, ...] = ()  # one figure per block, from the sentinels
    foreign_cores: tuple[float, ...] = ()  # likewise, that others used: where one core is enough
    libraries: Mapping[str, str] = field(default_factory=dict)  # versions, by module
    build: tuple[Check, ...] = ()  # the audit of the build that was measured


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedSize:
    """One size of two finished runs.

    `change` is the later speed-up over the earlier one. The runs share no block, so its interval
    takes both intervals and both noise floors in, and `differ` needs it to leave one.
    """

    workload: str
    size: int
    pattern: Pattern
    before: Interval
    after: Interval
    change: Interval
    differ: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """Two finished runs of `perfkit measure`, by name, size by size."""

    before: str
    after: str
    sizes: tuple[ComparedSize, ...]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """What may be wrong with the shares of a capture beside counting, as fractions of the wall
    clock of the calling thread; `stacks/bounds.py` widens intervals by them.

    Attributes:
        unnamed: samples whose layer cannot be decided: without a name, or without a caller.
        missing: CPU time that no sample shows, lost samples included.
        surplus: CPU time in samples above what the process used.
        slowdown: the upper end of what the profiler cost; the lower one if that is below zero too:
            a timer that keeps cores awake can make a call with threads faster. None where it was
            not measured, and then nothing bounds a share.
        shift: how far shares moved at another rate, beyond what counting explains.
        contended: what the thread may have waited for a core, on a machine without room.
    """

    unnamed: float = 0.0
    missing: float = 0.0
    surplus: float = 0.0
    slowdown: float | None = 0.0
    shift: float = 0.0
    contended: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HotLine:
    """A line of the subject's own sources, with the time below it.

    Attributes:
        file: from the folder that was built.
        text: of the line; empty where the sources are gone.
        share: of the CPU time of all threads.
        layers: what that share is made of, the largest part first; they add up to its estimate.
    """

    file: str
    line: int
    text: str
    share: Interval
    layers: Mapping[Layer, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """One profiler's raw output, with what it cost and what is doubtful about it.

    Attributes:
        profiler: `perf`, `py-spy`, `cargo-flamegraph`, `scalene`, `callgrind`.
        clock: `cpu` or `wall`: what a sample stands for; never mixed in one percentage.
        samples: stacks counted inside the measured region.
        calls: calls of the workload inside the region, or None where it is not known.
        region_s: wall clock of the region, seconds.
        windows: parts that the region was cut into; each end of one may be off by one sample.
        design_effect: how many samples tell as much as one independent one; their intervals are
            as wide as this asks for.
        unresolved_share: of the samples, those whose leaf has no name.
        slowdown: profiled over bare time, minus one; None where it was not measured.
        pace: CPU seconds of perfkit's fixed work by kind, taken between the windows; empty where
            nothing tells how fast the machine ran.
        doubts: what may be wrong with its shares beside counting.
        hot_lines: of the subject's own sources, the one with the most time below it first; empty
            without line tables.
        files: artefacts, relative to the run directory, by kind (`raw`, `folded`, `flame`, …).
    """

    profiler: str
    workload: str
    size: int | None
    clock: str
    rate_hz: float
    samples: int
    calls: int | None
    region_s: float | None
    unresolved_share: float | None
    slowdown: Interval | None
    doubts: Doubts
    files: Mapping[str, Path]
    windows: int = 1
    design_effect: float = 1.0
    pace: Mapping[str, Interval] = field(default_factory=dict)
    hot_lines: tuple[HotLine, ...] = ()
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileReport:
    """Everything one run of `perfkit profile` found.

    Attributes:
        build: the audit of the build that was profiled; nothing for a command of the user's own.
    """

    captures: tuple[Capture, ...]
    build: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTime:
    """Seconds per call in one layer; `share` is a fraction of the call's wall clock."""

    layer: Layer
    seconds: float
    share: Interval


class Covers(StrEnum):
    """What an estimator's answer is the cost of."""

    FFI = "ffi"  # glue, conversions, GIL
    BOUNDARY = "boundary"  # the same and the output's allocation, first touch and release


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One estimator's answer at one size.

    Attributes:
        name: a `Method` of `diagnose/estimators.py`, or what answered to an injected delay.
        seconds: per call, or None with a `reason`.
        reason: why there is no answer, or what to know about it.
    """

    name: str
    seconds: Interval | None
    covers: Covers = Covers.BOUNDARY
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FfiEstimate:
    """FFI share of a call by independent estimators; `agree` only when two of them do.

    Attributes:
        share: what they agree on; what the samples alone say where nothing confirms or contradicts
            them; None without either.
        agreeing: the names of the two that agree best; empty where none do.
        disagree: two answers, or an answer and the samples, exclude each other.
    """

    share: Interval | None
    agree: bool
    estimators: tuple[Estimate, ...]
    agreeing: tuple[str, ...] = ()
    disagree: bool = False


class QuantityName(StrEnum):
    """What is kept apart from the FFI because other remedies help against it."""

    FIXED = "fixed_per_call"
    OUTPUT = "output_lifecycle"
    DISPATCH = "dispatch_to_threads"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """Seconds per call of something that is kept apart from the FFI, or why it is not known.

    Attributes:
        basis: what the figure was made from and what it covers; why there is none where it is None.
    """

    name: QuantityName
    seconds: Interval | None
    basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeSplit:
    """Where the time of one call goes at one size."""

    workload: str
    size: int
    call_s: Interval
    layers: tuple[LayerTime, ...]
    ffi: FfiEstimate
    workers_s: float | None = None  # on-CPU seconds per call of other threads, joined to `waiting`
    quantities: tuple[Quantity, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearCost:
    """`fixed_s + per_element_s * n` seconds per call.

    Attributes:
        holds: whether the line goes through all points; caches and thread pools bend it.
    """

    fixed_s: Interval
    per_element_s: Interval
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """How one layer grows with the size; `layer` is None for the whole call."""

    layer: Layer | None
    cost: LinearCost


class Outcome(StrEnum):
    """What can be said about the size where a second way overtakes a first one."""

    FOUND = "found"
    ALWAYS = "always"  # the second is faster at every size that was measured
    NEVER = "never"
    SEVERAL = "several"  # it overtakes more than once: there is no single size
    UNRESOLVED = "unresolved"
    NOT_MEASURED = "not_measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossover:
    """Where a second way of doing the work overtakes a first one.

    Attributes:
        size: by interpolation of the log-ratio over the logarithm of the size; None unless found.
        low: the crossover lies above this size with confidence; None unless found.
        high: and below this one.
        rising: whether the second way is the faster one above the size, not below it.
        faster: the sizes at which the second way is faster for certain.
        slower: and those at which it is slower.
        undecided: and those at which the two cannot be told apart.
    """

    outcome: Outcome
    size: float | None = None
    low: float | None = None
    high: float | None = None
    rising: bool = True
    faster: tuple[int, ...] = ()
    slower: tuple[int, ...] = ()
    undecided: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """Two ways of doing a workload's work, compared over the sizes.

    Attributes:
        first: the one that is looked at first, such as `numpy` or the branch below a threshold.
        second: the other one.
        pattern: whether calls followed each other, or came after the pool went to sleep.
        parameter: the threshold whose branches were forced; None for subject and reference.
        value: its value now.
        noise_floor: what a ratio must leave one by to count, as a fraction.
        reason: why nothing was measured.
    """

    first: str
    second: str
    pattern: Pattern
    crossover: Crossover
    parameter: str | None = None
    value: int | None = None
    noise_floor: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeModel:
    """How the time of a call depends on the size.

    Attributes:
        sizes: that the lines were put through; none with fewer than three.
        costs: of the call and of each layer that was seen.
        reason: why there are no lines.
    """

    workload: str
    sizes: tuple[int, ...]
    costs: tuple[LayerCost, ...]
    crossings: tuple[Crossing, ...]
    reason: str = ""


OF_THE_CALL = "of the call"
ALL_THREADS = "of the CPU time of all threads"
"""What a share in a finding is a share of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One frame that a finding rests on."""

    frame: str
    layer: Layer
    share: float
    location: str = ""
    base: str = OF_THE_CALL


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """What fixing a finding saves, as a fraction of the call's time.

    Attributes:
        at_most: the whole cost, if the rest of the call stays as it is.
        tried: what the remedy saved when it was tried; None where it was not, because how much of
            a cost a remedy removes cannot be seen in the cost.
    """

    at_most: float
    tried: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that costs time, what fixing it gains, and how to check it.

    Attributes:
        share: of `base`, which is the call where nothing else is said.
        predicted_gain: None where fixing it saves none of this call's time.
        gains: what fixing it gains then.
    """

    id: str
    title: str
    workload: str
    size: int
    share: float
    predicted_gain: Saving | None
    evidence: tuple[Evidence, ...]
    remedy: str
    verify: str
    base: str = OF_THE_CALL
    gains: str = ""


class DiagnoseVerdict(StrEnum):
    """How much a diagnosis says."""

    OK = "ok"
    UNCHECKED = "unchecked"  # the layers are told; the FFI cost has no second way of measuring it
    BOUNDED = "bounded"  # a layer of 10 % or more is only known within wide bounds
    CONTENDED = "contended"  # the same, and the machine had no room
    DISAGREE = "disagree"
    BUSY = "busy"  # nothing could be told
    UNTRUSTED = "untrusted"  # two copies of one build were measured as different


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """Where to look first: the worst size, and the next value of one parameter."""

    workload: str
    size: int
    gap: float  # ln(target / speed-up): above zero means the target is missed
    parameter: str | None
    value: Value | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The whole bottleneck report as data."""

    verdict: DiagnoseVerdict
    sizes: tuple[SizeSplit, ...]
    profilers: tuple[Capture, ...]
    findings: tuple[Finding, ...]
    recommendation: Recommendation | None = None
    notes: tuple[Note, ...] = ()
    measured: MeasureReport | None = None
    build: tuple[Check, ...] = ()  # the audit of the build that was timed
    model: SizeModel | None = None


class TrialOutcome(StrEnum):
    """How one candidate ended: outcomes are data, and one bad candidate does not end a run."""

    OK = "ok"
    BUILD_FAILED = "build_failed"
    CRASHED = "crashed"
    TIMED_OUT = "timed_out"
    WRONG_RESULT = "wrong_result"
    NOT_APPLIED = "not_applied"
    SAME_CODE = "same_code"  # machine code equal to an earlier candidate's: not measured again
    BUSY = "busy"
    UNTRUSTED = "untrusted"  # identical copies measured as different: the figures say nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One candidate, built, verified and measured.

    Attributes:
        sizes: `change` is the start's time over the trial's: the only figure that is compared
            between trials.
    """

    iteration: int
    params: Mapping[str, Value]
    outcome: TrialOutcome
    sizes: tuple[SizeResult, ...]
    proofs: tuple[ParameterProof, ...]
    build_s: float
    bench_s: float
    text_hash: str | None
    timestamp: str
    stage: str = ""
    reason: str = ""
    profile: tuple[Mapping[str, object], ...] = ()  # rows of the hot-frame table, every third one
    files: Mapping[str, str] = field(default_factory=dict)
    signature: str = ""  # equal for equal code, data and values handed over at run time
    noise_floor: float | None = None  # of this trial's score, as a fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneHeader:
    """What a tuning run is about. Trials of two runs belong together only when all of it is equal.

    Attributes:
        key: what decides the figures, by name: sources, toolchain, machine, workload, ….
        start: the starting value of every parameter.
    """

    workload: str
    key: Mapping[str, str]
    start: Mapping[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remeasured:
    """What a trial came to when it was measured again with fresh processes."""

    iteration: int
    sizes: tuple[SizeResult, ...]


class TuneStatus(StrEnum):
    """How a tuning run ended."""

    SUCCESS = "success"
    KEPT = "kept"
    MAX_ITERATIONS = "max_iterations"
    STAGNATION = "stagnation"
    DEGRADATION = "degradation"
    BUSY = "busy"
    UNTRUSTED = "untrusted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleFile:
    """A built extension that is handed over.

    Attributes:
        path: where it is in perfkit's cache, until `perfkit cache clean`.
        sha256: of the file.
    """

    path: Path
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneReport:
    """Everything one tuning run found out.

    Attributes:
        confirmed: the winner, measured again after the search.
    """

    status: TuneStatus
    reason: str
    builds: int
    evaluations: int
    wall_s: float
    trials: tuple[Trial, ...]
    best_params: Mapping[str, Value] | None
    confirmed: tuple[SizeResult, ...]
    dead_parameters: tuple[str, ...]
    recommendation: Recommendation | None = None
    notes: tuple[Note, ...] = ()
    workload: str = ""
    start_params: Mapping[str, Value] | None = None
    best_iteration: int | None = None  # 0 is the starting build
    best_build: ModuleFile | None = None  # with the best parameters; those of other backends apart
    noise_floor: float | None = None  # of scores, as a fraction; None without an A/A


Result = MeasureReport | Diagnosis | TuneReport | ProfileReport
"""What a finished run holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of `perfkit doctor`."""

    id: str
    ok: bool
    required: bool
    found: str
    remedy: str

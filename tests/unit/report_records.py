"""Records with fixed figures for the tests of the reports; nothing here was measured."""

from __future__ import annotations

from pathlib import Path

from perfkit.diagnose.branches import judged, not_measured
from perfkit.diagnose.model import against_reference, size_model
from perfkit.records import (
    Capture,
    Check,
    DiagnoseVerdict,
    Diagnosis,
    Doubts,
    Estimate,
    Evidence,
    FfiEstimate,
    Finding,
    Interval,
    Layer,
    LayerTime,
    LoadedModule,
    MeasureReport,
    MeasureVerdict,
    ModuleFile,
    Note,
    ParameterProof,
    Pattern,
    Place,
    ProfileReport,
    Proof,
    Quantity,
    QuantityName,
    Recommendation,
    Saving,
    SizeResult,
    SizeSplit,
    Trial,
    TrialOutcome,
    TuneReport,
    TuneStatus,
)


def around(estimate: float, relative: float = 0.02) -> Interval:
    return Interval(
        estimate=estimate, low=estimate * (1 - relative), high=estimate * (1 + relative)
    )


TIMES = {1_000: 92e-6, 10_000: 914e-6, 100_000: 7.1e-3, 1_000_000: 42.142e-3}
REFERENCES = {1_000: 41e-6, 10_000: 558e-6, 100_000: 7.068e-3, 1_000_000: 58.255e-3}
TARGETS = {10_000: 0.9, 100_000: 1.0, 1_000_000: 1.2}


def size_result(size: int) -> SizeResult:
    target = TARGETS.get(size)
    speedup = around(REFERENCES[size] / TIMES[size])
    return SizeResult(
        workload="price",
        size=size,
        time_s=around(TIMES[size]),
        reference_s=around(REFERENCES[size], 0.03),
        speedup=speedup,
        target=target,
        met=None if target is None else speedup.low >= target,
        valid_blocks=38,
        blocks=40,
    )


BUILD = (
    Check(id="build.optimised", ok=True, required=False, found="opt-level 3", remedy=""),
    Check(
        id="build.lto",
        ok=False,
        required=False,
        found="LTO off",
        remedy='try `lto = "thin"` in [profile.release]; `perfkit diagnose --verify` measures it',
    ),
    Check(
        id="build.abi3",
        ok=True,
        required=False,
        found="abi3: one wheel for many Pythons",
        remedy="",
    ),
)

LOADED = LoadedModule(
    module="subject_kernel",
    path=Path("/builds/ab12/subject_kernel.abi3.so"),
    sha256="0123456789abcdef" * 4,
    parameters={"SMALL": 30_000},
    python="3.11.9",
    executable=Path("/usr/bin/python3"),
    pid=4321,
)

MEASURED = MeasureReport(
    verdict=MeasureVerdict.OK,
    noise_floor=0.004,
    results=tuple(size_result(size) for size in TIMES),
    notes=(Note(id="threads", text="the subject used 2 threads", place=Place(workload="price")),),
    loaded=(LOADED, LOADED),
    seconds=12.5,
    effective_cores=(1.98, 1.97),
    build=BUILD,
)

PERF = Capture(
    profiler="perf",
    workload="price",
    size=10_000,
    clock="cpu",
    rate_hz=997.0,
    samples=2_871,
    calls=3_100,
    region_s=3.0,
    unresolved_share=0.004,
    slowdown=Interval(estimate=0.006, low=-0.002, high=0.013),
    doubts=Doubts(unnamed=0.004, missing=0.008, slowdown=0.013),
    files={
        "raw": Path("raw/perf.data"),
        "flame": Path("flame/price-10000.svg"),
        "folded": Path("stacks/price-10000.folded"),
    },
)

PY_SPY = Capture(
    profiler="py-spy",
    workload="price",
    size=10_000,
    clock="wall",
    rate_hz=97.0,
    samples=120,
    calls=None,
    region_s=None,
    unresolved_share=None,
    slowdown=None,
    doubts=Doubts(slowdown=None),
    files={"raw": Path("raw/py-spy.txt")},
)

PROFILED = ProfileReport(captures=(PERF, PY_SPY), build=BUILD)

_SHARES = {
    1_000: {Layer.INTERPRETER: 0.06, Layer.GLUE: 0.03, Layer.CONVERT_IN: 0.3, Layer.COMPUTE: 0.61},
    10_000: {
        Layer.INTERPRETER: 0.01,
        Layer.GLUE: 0.01,
        Layer.CONVERT_IN: 0.41,
        Layer.CONVERT_OUT: 0.06,
        Layer.ALLOCATION: 0.05,
        Layer.MATH: 0.2,
        Layer.COMPUTE: 0.26,
    },
    100_000: {
        Layer.CONVERT_IN: 0.3,
        Layer.PAGE_FAULT: 0.1,
        Layer.POOL: 0.05,
        Layer.WAITING: 0.25,
        Layer.MATH: 0.12,
        Layer.COMPUTE: 0.15,
        Layer.OTHER: 0.03,
    },
    1_000_000: {
        Layer.CONVERT_IN: 0.28,
        Layer.PAGE_FAULT: 0.16,
        Layer.POOL: 0.03,
        Layer.WAITING: 0.3,
        Layer.MATH: 0.1,
        Layer.COMPUTE: 0.11,
        Layer.OTHER: 0.02,
    },
}


def split(size: int) -> SizeSplit:
    call = TIMES[size]
    shares = _SHARES[size]
    agree = size != 1_000
    return SizeSplit(
        workload="price",
        size=size,
        call_s=around(call),
        layers=tuple(
            LayerTime(
                layer=layer,
                seconds=shares.get(layer, 0.0) * call,
                share=Interval(
                    estimate=shares.get(layer, 0.0),
                    low=max(0.0, shares.get(layer, 0.0) - 0.011),
                    high=shares.get(layer, 0.0) + 0.012,
                ),
            )
            for layer in Layer
        ),
        ffi=FfiEstimate(
            share=Interval(estimate=0.48, low=0.45, high=0.51) if agree else None,
            agree=agree,
            disagree=not agree,
            agreeing=("sampled stacks", "call minus bench") if agree else (),
            estimators=(
                Estimate(
                    name="sampled stacks",
                    seconds=Interval(estimate=0.48 * call, low=0.45 * call, high=0.5 * call),
                ),
                Estimate(
                    name="call minus bench",
                    seconds=Interval(estimate=-30e-9, low=-90e-9, high=25e-9),
                ),
                Estimate(
                    name="no-compute twin",
                    seconds=None,
                    reason="not available: the config names no twin",
                ),
            ),
        ),
        workers_s=0.9 * call if size >= 100_000 else None,
        quantities=(
            Quantity(
                name=QuantityName.FIXED,
                seconds=around(1.2e-6, 0.1),
                basis="the line through the small sizes, at zero",
            ),
            Quantity(
                name=QuantityName.OUTPUT,
                seconds=around(0.05 * call, 0.1) if agree else None,
                basis="samples: the output's memory" if agree else "not available: no samples",
            ),
            Quantity(
                name=QuantityName.DISPATCH,
                seconds=around(0.2 * call, 0.05) if size >= 100_000 else around(0.0),
                basis="samples: pool and waiting of the calling thread",
            ),
        ),
    )


def finding(number: int) -> Finding:
    return Finding(
        id=f"sequence-conversion-{number}",
        title="A Python list is converted element by element",
        workload="price",
        size=10_000,
        share=0.41,
        predicted_gain=Saving(at_most=0.41),
        evidence=(
            Evidence(
                frame="<alloc::vec::Vec<f64> as FromPyObject>::extract",
                layer=Layer.CONVERT_IN,
                share=0.38,
                location="src/lib.rs:42",
            ),
        ),
        remedy="take a NumPy array view (PyReadonlyArray1) instead of Vec<f64>",
        verify="perfkit measure --workload price --against HEAD~1",
    )


SPLITS = tuple(split(size) for size in TIMES)

MODEL = size_model(
    "price",
    SPLITS,
    (
        *against_reference(MEASURED.results, MEASURED.noise_floor),
        *judged(
            "SMALL",
            30_000,
            {
                Pattern.HOT: {1_000: around(0.4), 10_000: around(1.4), 100_000: around(1.9)},
                Pattern.IDLE: {1_000: around(0.2), 10_000: around(1.01), 100_000: around(1.7)},
            },
            sizes=(10_000,),
            noise_floor=0.004,
        ).crossings,
        *not_measured(
            "MEDIUM", 200_000, "forcing a constant takes two builds; --verify does it"
        ).crossings,
    ),
)

DIAGNOSIS = Diagnosis(
    verdict=DiagnoseVerdict.DISAGREE,
    sizes=SPLITS,
    model=MODEL,
    profilers=(PERF, PY_SPY),
    findings=tuple(finding(number) for number in range(5)),
    recommendation=Recommendation(
        workload="price",
        size=10_000,
        gap=0.39,
        parameter="SMALL",
        value=8_000,
        reason="price at 10k is farthest from its target; the first step of SMALL",
    ),
    measured=MEASURED,
    build=BUILD,
)

START_PARAMS = {"SMALL": 30_000, "CHUNK": "L1 / 8 / 4"}


def trial(
    iteration: int,
    small: int,
    change: dict[int, float] | None,
    outcome: TrialOutcome = TrialOutcome.OK,
    reason: str = "",
) -> Trial:
    sizes = tuple(
        SizeResult(
            workload="price",
            size=size,
            time_s=around(TIMES[size] / factor),
            reference_s=around(REFERENCES[size], 0.03),
            met=None,
            valid_blocks=38,
            blocks=40,
            speedup=around(REFERENCES[size] / TIMES[size] * factor),
            change=around(factor),
            target=TARGETS.get(size),
        )
        for size, factor in (change or {}).items()
    )
    return Trial(
        iteration=iteration,
        params={**START_PARAMS, "SMALL": small},
        outcome=outcome,
        sizes=sizes,
        proofs=(ParameterProof(name="SMALL", value=small, proof=Proof.GETTER),),
        build_s=14.2,
        bench_s=9.0,
        text_hash=f"{small:064x}",
        timestamp="2030-01-02T03:04:05+00:00",
        stage="base_grid" if iteration else "start",
        reason=reason,
        profile=({"frame": "price_one", "layer": "compute", "share": 0.61},)
        if iteration == 3
        else (),
    )


TUNED = TuneReport(
    status=TuneStatus.SUCCESS,
    reason="every target is met by its lower bound, and the confirmation agrees",
    builds=4,
    evaluations=4,
    wall_s=131.0,
    trials=(
        trial(0, 30_000, {10_000: 1.0, 100_000: 1.002, 1_000_000: 0.999}),
        trial(1, 8_000, {10_000: 1.52, 100_000: 0.79, 1_000_000: 1.01}),
        trial(2, 9_000, None, TrialOutcome.BUILD_FAILED, "error: expected `;`"),
        trial(3, 10_000, {10_000: 1.51, 100_000: 1.04, 1_000_000: 1.03}),
    ),
    best_params={"SMALL": 10_000, "CHUNK": "L1 / 8 / 4"},
    best_iteration=3,
    best_build=ModuleFile(path=Path("/cache/builds/one/root/fast.so"), sha256="5e" * 32),
    start_params=START_PARAMS,
    workload="price",
    confirmed=tuple(
        SizeResult(
            workload="price",
            size=size,
            time_s=around(TIMES[size] / factor),
            reference_s=around(REFERENCES[size], 0.03),
            valid_blocks=38,
            blocks=40,
            speedup=around(REFERENCES[size] / TIMES[size] * factor),
            change=around(factor, 0.01),
            target=TARGETS[size],
            met=REFERENCES[size] / TIMES[size] * factor * 0.98 >= TARGETS[size],
        )
        for size, factor in {10_000: 1.52, 100_000: 1.05, 1_000_000: 1.003}.items()
    ),
    dead_parameters=("CHUNK",),
    noise_floor=0.004,
    notes=(Note(id="dead", text="CHUNK reaches no machine code", remedy="look for its copies"),),
)

CHECKS = (
    Check(id="cargo", ok=True, required=True, found="cargo 1.95.0", remedy=""),
    Check(
        id="perf",
        ok=False,
        required=False,
        found="installed, refused: perf_event_paranoid is 3",
        remedy="sudo sysctl kernel.perf_event_paranoid=1",
    ),
)

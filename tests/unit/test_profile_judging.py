"""What a profiler cost, what is doubtful about its capture, and what its words mean."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from perfkit import errors
from perfkit.errors import CaptureError, ToolFailedError, UnreadableOutputError
from perfkit.measure.statistics import rank_interval
from perfkit.profile import build_time, messages, paired, py_spy, quality, scalene, slowdown
from perfkit.profile.cargo_flamegraph import region_stacks as bench_region
from perfkit.profile.once import Target, by_thread
from perfkit.profile.publish import Taken, publish
from perfkit.profile.py_spy import (
    failed_samples,
    faults,
    native_allowed,
    parse_summary,
    region_stacks,
)
from perfkit.profile.request import Sight
from perfkit.records import Doubts, Interval
from perfkit.stacks.py_spy_raw import read_raw
from perfkit.stacks.split import CALLING_THREAD, OTHER_THREADS
from perfkit.store import create_run

if TYPE_CHECKING:
    from collections.abc import Sequence

DATA = Path(__file__).resolve().parents[1] / "data"
CHEAP = Interval(estimate=0.005, low=0.001, high=0.01)


def block(ratio: float) -> float:
    """ln(profiled / bare)."""
    return math.log(ratio)


# -- cost ------------------------------------------------------------------------------------------


def test_the_slowdown_is_the_median_over_blocks() -> None:
    found = slowdown.slowdown([block(1.01)] * 10 + [block(1.03)] * 10 + [block(9.0)])
    assert found is not None
    assert found.estimate == pytest.approx(0.03)
    assert found.low == pytest.approx(0.01)


def test_a_few_blocks_are_no_statement() -> None:
    assert slowdown.slowdown([block(1.0)] * (slowdown.MIN_BLOCKS - 1)) is None


def test_rates_are_primes_down_the_ladder() -> None:
    assert slowdown.rates(997) == (997, 499, 251, 127)
    assert slowdown.rates(97) == (97, 47, 23, 11)
    assert slowdown.nearest_prime(1) == 2


def test_blocks_are_balanced_and_drawn_by_lot() -> None:
    source = slowdown.orders(1)
    drawn = [next(source) for _ in range(50)]
    assert all(sum(order) == 2 and order == order[::-1] for order in drawn)
    assert len(set(drawn)) == 2
    assert drawn[:5] == [order for order, _ in zip(slowdown.orders(1), range(5), strict=False)]


def test_the_best_rate_balances_cost_against_counting() -> None:
    rates = slowdown.rates(997)

    def best(cost: float, duration_s: float = 3.0) -> int:
        found = Interval(estimate=cost, low=cost - 0.01, high=cost + 0.01)
        return slowdown.best_rate(rates, 997, found, duration_s)

    # Ten points or less tell a share: a lower rate is not needed.
    assert best(-0.02) == best(0.0) == best(0.02) == best(0.06) == 997
    assert best(0.08) == 499
    assert best(0.14) == 251
    assert best(9.0) == 127
    # More seconds make counting better at every rate.
    assert best(0.14, 30.0) == 127


RATES = slowdown.rates(997)


def step(blocks: Sequence[float], region_s: float, rates: Sequence[int] = RATES) -> slowdown.Step:
    return slowdown.next_step(blocks, region_s, rates, duration_s=4.0)


def test_the_rate_is_decided_once_and_the_end_by_width_alone() -> None:
    further, lower, done = slowdown.Step.CONTINUE, slowdown.Step.LOWER, slowdown.Step.DONE
    dear = [block(1.10)] * 6
    assert step(dear, 0.5) is lower
    assert step(dear, 0.5, (997,)) is further
    assert step([*dear, block(1.10)], 0.5) is further
    # It may as well be the machine: fewer samples would be no better.
    assert step([block(0.9), block(1.1), block(1.2)] * 2, 0.5) is further
    narrow = [block(1.0)] * 40
    assert step(narrow, 3.9) is further
    assert step(narrow, 4.0) is done
    wide = [block(0.9), block(1.1)] * 20
    assert step(wide, 7.9) is further
    assert step(wide, 8.0) is done
    # Far above the limit or far below it: not asked.
    assert step([block(2.0)] * 40, 4.0) is step([block(0.5)] * 40, 4.0) is done
    assert step([block(1.0)] * (slowdown.PILOT_BLOCKS + slowdown.MIN_BLOCKS - 1), 99.0) is further


@pytest.mark.parametrize("true_at_highest", [0.005, 0.015, 0.03, 0.06, 0.2])
def test_the_stated_slowdown_covers_the_truth_whichever_rate_was_taken(
    true_at_highest: float,
) -> None:
    """The whole policy on blocks drawn at random: rates down the ladder, pilot, end by width."""
    lots = random.Random(7)
    covered, cases = 0, 500
    for _ in range(cases):
        rates = list(RATES)
        while True:
            true = true_at_highest * rates[0] / RATES[0]
            blocks: list[float] = []
            found = slowdown.Step.CONTINUE
            while found is slowdown.Step.CONTINUE:
                # Heavy tails, as a shared machine has them: one block in ten is disturbed.
                noise = lots.gauss(0, 0.06 if lots.random() < 0.1 else 0.015)
                blocks.append(math.log1p(true) + noise)
                found = step(blocks, 0.08 * len(blocks), rates)
            if found is slowdown.Step.DONE:
                break
            cost = slowdown.of_logs(rank_interval(blocks))
            best = slowdown.best_rate(rates, rates[0], cost, 4.0)
            rates = [rate for rate in rates if rate <= best]
        stated = slowdown.slowdown(slowdown.stated(blocks))
        assert stated is not None
        covered += stated.low <= true <= stated.high
    assert covered / cases >= 0.93


@pytest.mark.parametrize("between", [0.0, 0.005, 0.02])
def test_the_interval_over_processes_covers_the_truth(between: float) -> None:
    """Processes of one build differ for life, by more than the windows of one of them can show."""
    lots = random.Random(11)
    true, covered, cases = 0.03, 0, 400
    for _ in range(cases):
        ratios = []
        for _ in range(paired.PAIRS):
            luck = lots.gauss(0, between) - lots.gauss(0, between)
            ratios.append([math.log1p(true) + luck + lots.gauss(0, 0.01) for _ in range(8)])
        found = paired.over_pairs(ratios)
        covered += found.low <= true <= found.high
    assert covered / cases >= 0.93


def test_a_profiling_build_that_differs_is_told() -> None:
    told = [
        build_time.note(Interval(estimate=middle, low=middle - 0.01, high=middle + 0.01))
        for middle in (0.0, 0.03, -0.03)
    ]
    assert [note.id for note in told] == ["build_equal", "build_differs", "build_differs"]
    assert "slower" in told[1].text
    assert "faster" in told[2].text
    assert all(note.remedy for note in told[1:])


# -- what is doubtful ------------------------------------------------------------------------------

SOUND = quality.Quality(
    samples=1000, unresolved=0, slowdown=CHEAP, region_s=2.0, sampled_s=2.0, cpu_s=2.0
)


def test_a_whole_and_cheap_capture_has_its_cost_as_the_only_doubt() -> None:
    assert SOUND.doubts == Doubts(slowdown=0.01)
    assert list(quality.notes(SOUND)) == []


@pytest.mark.parametrize(
    ("changes", "doubt", "amount", "id_"),
    [
        ({"unresolved": 250}, "unnamed", 0.25, "unresolved"),
        ({"sampled_s": 1.0}, "missing", 0.5, "coverage"),
        ({"sampled_s": 3.0}, "surplus", 0.5, "coverage"),
        ({"lost": 250, "sampled_s": None, "cpu_s": None}, "missing", 0.2, "lost"),
        ({"shift": 0.07}, "shift", 0.07, "shift"),
        ({"slowdown": Interval(estimate=0.5, low=0.4, high=0.6)}, "slowdown", 0.6, "slowdown"),
    ],
)
def test_each_doubt_has_its_amount_and_what_would_narrow_it(
    changes: dict[str, object], doubt: str, amount: float, id_: str
) -> None:
    found = dataclasses.replace(SOUND, **changes)  # type: ignore[arg-type]
    assert getattr(found.doubts, doubt) == pytest.approx(amount)
    (note,) = quality.notes(found)
    assert note.id == id_
    assert note.text
    assert note.remedy


def test_what_a_profiler_saved_is_a_doubt_too_and_an_unknown_cost_is_not_zero() -> None:
    faster = dataclasses.replace(SOUND, slowdown=Interval(estimate=-0.02, low=-0.03, high=-0.01))
    assert faster.doubts.slowdown == -0.03
    assert "up to 3.0 % faster" in next(iter(quality.notes(faster))).text
    either = Interval(estimate=0.0, low=-0.03, high=0.01)
    assert dataclasses.replace(SOUND, slowdown=either).doubts.slowdown == 0.01
    assert dataclasses.replace(SOUND, slowdown=None).doubts.slowdown is None
    outside = dataclasses.replace(SOUND, outside=500)
    assert [note.id for note in quality.notes(outside)] == ["outside"]


# -- words -----------------------------------------------------------------------------------------

TEXTS = json.loads((DATA / "perf-profile" / "messages.json").read_text(encoding="utf-8"))
"""The tools' words as users reported them, with the name and the error that perfkit gives them."""


@pytest.mark.parametrize("row", TEXTS, ids=[f"{row['profiler']}-{row['id']}" for row in TEXTS])
def test_each_known_text_has_its_error_and_remedy(row: dict[str, str]) -> None:
    known = messages.find(row["profiler"], row["text"])
    assert known is not None
    assert known.id == row["id"]
    raised = messages.failure(row["profiler"], row["text"], where="the command")
    assert type(raised) is getattr(errors, row["error"])
    assert raised.remedy
    assert raised.details


@pytest.mark.parametrize(
    ("tool", "text", "id_", "near", "other"),
    [
        (
            "perf",
            "sys_perf_event_open() syscall returned with 1 (Operation not permitted) for event",
            "seccomp",
            "perf_event_paranoid setting is 4: Operation not permitted",
            "paranoid",
        ),
        (
            "perf",
            "Operation not permitted: blocked by seccomp",
            "seccomp",
            "Access to performance monitoring and observability operations is limited.",
            "paranoid",
        ),
        (
            "py-spy",
            "Error: No such process (os error 3)",
            "gone",
            "EPERM: Operation not permitted",
            "ptrace_refused",
        ),
        ("py-spy", "Error: Failed to open process 7", "gone", "No stack counts found", "empty"),
        (
            "scalene",
            "Scalene error: received signal SIGSEGV",
            "signal",
            "Program did not run for long enough to profile",
            "too_short",
        ),
    ],
)
def test_words_that_are_near_each_other_are_kept_apart(
    tool: str, text: str, id_: str, near: str, other: str
) -> None:
    for said, wanted in ((text, id_), (near, other)):
        found = messages.find(tool, said)
        assert found is not None
        assert found.id == wanted


@pytest.mark.parametrize(
    ("tool", "text"),
    [
        ("py-spy", "Error: No child process (os error 10)"),
        ("perf", "WARNING: Kernel address maps (/proc/{kallsyms,modules}) are restricted,"),
        ("cargo-flamegraph", "WARNING: building without debuginfo. Enable symbol information by"),
    ],
)
def test_harmless_words_are_a_note_and_no_error(tool: str, text: str) -> None:
    assert messages.find(tool, text) is None
    assert len(messages.notes(tool, text)) == 1


def test_the_usual_end_of_a_recording_says_nothing_of_the_program() -> None:
    """py-spy ends with the process that it launched, and says so."""
    said = "py-spy> Stopped sampling because process exited\npy-spy> Wrote raw flamegraph data\n"
    assert messages.notes("py-spy", said) == ()
    gone = messages.find("py-spy", "Error: No such process (os error 3)")
    assert gone is not None
    assert gone.id == "gone"


def test_unknown_words_are_kept_and_the_exit_code_told() -> None:
    error = messages.failure("perf", "something new", returncode=3)
    assert isinstance(error, ToolFailedError)
    assert error.details == "something new"


def test_lost_samples_are_counted_with_either_decimal_mark() -> None:
    for text in ("and lost 15,96%!", "and lost 15.96%!"):
        said = f"Processed 714213 samples {text}"
        assert messages.lost_samples(said, 8404) == pytest.approx(1596, abs=1)
    assert messages.lost_samples("Processed 793565 events and lost 6526 chunks!", 10) == 6526
    assert messages.lost_samples("", 10) == 0


# -- the region ------------------------------------------------------------------------------------


def test_py_spys_last_line_is_read() -> None:
    told = parse_summary("…\npy-spy> Wrote raw flamegraph data to 'x'. Samples: 21 Errors: 1012\n")
    assert told == (21, 1012)
    assert parse_summary("nothing") is None
    two = parse_summary("Samples: 5 Errors: 1\nSamples: 7 Errors: 2\n")
    assert two == (12, 3)


def test_only_windows_are_the_region_not_calibrating() -> None:
    stacks = read_raw(DATA / "py-spy" / "worker.raw")
    kept, outside = region_stacks(stacks)
    total = sum(count for _, count in stacks)
    assert sum(count for _, count in kept) + outside == total
    assert outside
    calibrating = sum(n for s, n in stacks if any("calibrate" in f for f in s))
    assert calibrating
    assert outside >= calibrating
    assert all(stack[1].startswith("run_batch (") for stack, _ in kept)


def test_native_stacks_are_for_two_pythons_without_other_threads() -> None:
    assert native_allowed("3.11.7", threads=False)
    assert native_allowed("3.12.1", threads=False)
    assert not native_allowed("3.13.0", threads=False)
    assert not native_allowed("3.11.7", threads=True)


def test_scalenes_file_is_read_in_its_own_words() -> None:
    source = DATA / "scalene" / "loop.json"
    found = scalene.parse(source.read_text(), str(source))
    told = json.loads(source.read_text())["stacks"]
    assert sum(count for _, count in found.stacks) == sum(item[1]["count"] for item in told)
    assert any(stack[-1].startswith("run_batch (") for stack, _ in found.stacks)
    assert 0 < found.native_s < sum(item[1]["c_time"] for item in told)


@pytest.mark.parametrize("text", ["", "{}", '{"stacks": [[["a"], {}]]}', '{"stacks": 3}', "[1"])
def test_another_shape_of_scalenes_file_is_refused(text: str) -> None:
    with pytest.raises(UnreadableOutputError, match="scalene 2"):
        scalene.parse(text, "x.json")


def test_criterion_is_cut_off_above_the_measured_loop() -> None:
    loop = "criterion::bencher::Bencher<M>::iter"
    stacks = [
        ((CALLING_THREAD, "main", "criterion::run", loop, "price"), 5),
        ((CALLING_THREAD, "main", "criterion::analysis"), 2),
        ((OTHER_THREADS, "clone3", "rayon::x"), 3),
    ]
    kept, outside = bench_region(stacks)
    assert kept == [((CALLING_THREAD, "price"), 5), ((OTHER_THREADS, "clone3", "rayon::x"), 3)]
    assert outside == 2


def test_py_spys_own_words_forbid_to_believe_it() -> None:
    fine = "py-spy> Wrote raw flamegraph data to 'x'. Samples: 96 Errors: 4\n"
    assert faults(fine) == ()
    failed = faults("py-spy> Wrote … Samples: 90 Errors: 10\n")
    assert [note.id for note in failed] == ["failed_samples"]
    behind = "py-spy> 1.66s behind in sampling, results may be inaccurate.\n" + fine
    assert [note.id for note in faults(behind)] == ["py-spy.behind"]
    assert [note.id for note in faults("nothing")] == ["unsummed"]


def test_py_spy_is_tried_without_native_stacks_and_at_lower_rates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, bool]] = []
    taken: Any = dataclasses.make_dataclass("Taken", ["slowdown", "notes"])(None, ())

    def once(_request: object, rate: int, *, native: bool) -> tuple[Any, bool]:
        asked.append((rate, native))
        if native:
            message = "12 % of py-spy's samples failed"
            raise CaptureError(message)
        return taken, len(asked) == 2

    monkeypatch.setattr(py_spy, "_once", once)
    request: Any = SimpleNamespace(rate_hz=97, duration_s=3.0)
    found = py_spy.capture(request)
    first, second, *_ = slowdown.rates(97)
    assert asked == [(first, True), (first, False), (second, False)]
    assert [(note.id, note.text) for note in found.notes] == [
        ("no_native", "native stacks were given up: 12 % of py-spy's samples failed"),
        ("lower_rate", f"py-spy at {first} samples/s: it fell behind"),
    ]


@pytest.mark.parametrize("has_cost", [True, False])
def test_a_picture_names_the_largest_doubt(tmp_path: Path, has_cost: bool) -> None:
    stacks = [((CALLING_THREAD, "f"), 1000)]
    taken = Taken(
        profiler="py-spy",
        sight=Sight(workload="w", size=10, stem="w-10", title="w of ten"),
        rate_hz=97.0,
        stacks=stacks,
        quality=quality.of_stacks(stacks, slowdown=CHEAP if has_cost else None),
        files={},
        has_cost=has_cost,
    )
    run = create_run(tmp_path, "profile", {})
    found = publish(taken, run)
    assert found.doubts == Doubts(slowdown=0.01 if has_cost else None)
    picture = (run.directory / found.files["flame"]).read_text()
    assert ("cost unknown" in picture) is not has_cost
    assert ("up to 1.0 %: the profiler" in picture) is has_cost
    assert "NOT BELIEVED" not in picture
    lossy = dataclasses.replace(taken, quality=dataclasses.replace(taken.quality, lost=1000))
    found = publish(lossy, run)
    assert found.doubts.missing == 0.5
    assert [note.id for note in found.notes] == ["lost"]
    if has_cost:
        assert "up to 50.0 %: CPU time" in (run.directory / found.files["flame"]).read_text()


def test_what_py_spy_says_against_its_file_is_a_note() -> None:
    (fault,) = faults("py-spy> 1.66s behind in sampling.\nSamples: 96 Errors: 4\n")
    assert fault.id == "py-spy.behind"
    assert failed_samples("Samples: 96 Errors: 4\n") == 4
    assert failed_samples("nothing") == 0


# -- commands --------------------------------------------------------------------------------------


RUNNER = ("<module> (/a/perfkit/profile/py_spy_shim.py:47)", "run_path (<frozen runpy>:291)")


def test_py_spys_threads_are_told_apart_by_who_runs_the_command() -> None:
    stacks = [
        (("thread (70)", *RUNNER, "<module> (a.py:3)"), 2),
        (("thread (70): MainThread", *RUNNER, "<module> (a.py:3)"), 5),
        (("thread (70): MainThread", "shutdown (threading.py:1)"), 1),
        (("thread (71): Thread-1", "run (a.py:9)"), 4),
        (("thread (72)",), 1),
    ]
    assert by_thread(stacks, None) == [
        ((CALLING_THREAD, "<module> (a.py:3)"), 7),
        ((CALLING_THREAD, "shutdown (threading.py:1)"), 1),
        ((OTHER_THREADS, "[no Python frame]"), 1),
        ((OTHER_THREADS, "run (a.py:9)"), 4),
    ]


def test_py_spys_main_thread_of_a_process_has_its_id() -> None:
    stacks = [(("thread (70): MainThread", "a (x.py:1)"), 2), (("thread (71)", "b (x.py:2)"), 3)]
    assert by_thread(stacks, 70) == [
        ((CALLING_THREAD, "a (x.py:1)"), 2),
        ((OTHER_THREADS, "b (x.py:2)"), 3),
    ]
    real = read_raw(DATA / "py-spy" / "threads.raw")
    assert {stack[0] for stack, _ in by_thread(real, 3652)} == {CALLING_THREAD}
    assert {stack[0] for stack, _ in by_thread(real, 3653)} == {OTHER_THREADS}


def test_the_interpreter_is_taken_from_the_command_where_it_names_one() -> None:
    default = Path("/venv/bin/python")
    named = Target(command=("/opt/python3.12", "a.py", "-x"))
    assert (named.interpreter(default), named.words) == (Path("/opt/python3.12"), ("a.py", "-x"))
    bare = Target(command=("a.py",))
    assert (bare.interpreter(default), bare.words) == (default, ("a.py",))
    module = Target(command=("python", "x"), module="timeit")
    assert (module.interpreter(default), module.words) == (default, ("-m", "timeit", "python", "x"))


def test_the_interpreters_own_options_come_before_what_it_runs() -> None:
    plain = Target(command=("python", "-u", "-X", "dev", "a.py", "-x"))
    assert plain.switches == (("-u", "-X", "dev"), ("a.py", "-x"))
    assert Target(command=("python", "-c", "pass")).switches == ((), ("-c", "pass"))
    assert Target(command=("x",), module="timeit").switches == ((), ("-m", "timeit", "x"))


def test_a_command_of_several_lines_is_shown_on_one() -> None:
    assert Target(command=("python", "-c", "import a\na.run()")).shown == "-c import a a.run()"
    assert Target(pid=7).shown == "process 7"

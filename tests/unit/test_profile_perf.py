"""perf's recordings as stacks: nothing dropped, what perf counted in truth, whether two agree."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from perfkit import _engine
from perfkit.errors import CaptureError, StoreError, UnreadableOutputError
from perfkit.profile import agreement, perf_jit, slowdown
from perfkit.profile.perf import in_step
from perfkit.profile.perf_session import unexplained
from perfkit.records import Interval, Layer
from perfkit.stacks import engine_errors, perf_script
from perfkit.stacks.layers import Layers
from perfkit.stacks.perf_script import Window
from perfkit.stacks.split import CALLING_THREAD, OTHER_THREADS
from perfkit.store import create_run

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = """\
python 7/{tid}  {time}: {event}:
\t             abc spins::compute (/a/spins.abi3.so)
\t             def _start (/usr/bin/python3)

"""
BARE = "python 7/{tid}  {time}: {event}:\n\n"


def script(place: Path, *samples: tuple[str, int, float], event: str = "cpu-clock") -> Path:
    path = place / "x.perf.txt"
    path.write_text(
        "".join(
            text.format(tid=tid, time=f"{time:.6f}", event=event) for text, tid, time in samples
        )
    )
    return path


def test_samples_without_a_frame_stay_samples(tmp_path: Path) -> None:
    found = perf_script.fold(script(tmp_path, (SAMPLE, 7, 1), (BARE, 7, 2), (BARE, 7, 3)))
    assert found.samples == 3
    assert sum(count for _, count in found.stacks) == 3
    assert ((CALLING_THREAD, "[unknown]"), 2) in found.stacks
    assert found.unresolved == 2
    assert {Layers(("spins",)).classify(stack[1:]) for stack, _ in found.stacks} == {
        Layer.COMPUTE,
        Layer.OTHER,
    }
    assert [path.name for path in tmp_path.iterdir()] == ["x.perf.txt"]


def test_stacks_are_also_kept_window_by_window(tmp_path: Path) -> None:
    windows = [Window(begin=0.5, end=1.5), Window(begin=2.5, end=4.5)]
    samples = [(SAMPLE, 7, 1), (SAMPLE, 7, 2), (SAMPLE, 7, 3), (SAMPLE, 8, 4), (SAMPLE, 7, 4.2)]
    found = perf_script.fold(script(tmp_path, *samples), windows=windows)
    own, other = ((root, "_start", "spins::compute") for root in (CALLING_THREAD, OTHER_THREADS))
    assert sorted(found.stacks) == [(own, 3), (other, 1)]
    assert [sorted(cluster) for cluster in found.clusters] == [[(own, 1)], [(own, 2), (other, 1)]]
    whole = perf_script.fold(script(tmp_path, *samples))
    assert whole.clusters == [whole.stacks]


@pytest.mark.parametrize("event", ["cpu-clock", "cpu-clock:u", "task-clock:upp"])
def test_the_event_is_what_perf_says_not_what_was_asked_for(tmp_path: Path, event: str) -> None:
    assert perf_script.fold(script(tmp_path, (SAMPLE, 7, 1), event=event)).event == event


def test_a_text_without_samples_of_the_process_is_named(tmp_path: Path) -> None:
    with pytest.raises(CaptureError) as caught:
        perf_script.fold(script(tmp_path, (SAMPLE, 7, 1)), pid=99)
    assert caught.value.remedy


def test_what_the_engine_refuses_has_its_place_and_a_remedy(tmp_path: Path) -> None:
    run = create_run(tmp_path, "profile", {})
    broken = run.path("stacks/x.perf.folded")
    broken.write_text("a;b 3\na;b without a count\n")
    with pytest.raises(UnreadableOutputError) as caught, engine_errors.named():
        _engine.read_folded(broken)
    assert caught.value.where == f"{broken}:2"
    assert caught.value.remedy
    with pytest.raises(StoreError), engine_errors.named():
        _engine.Folded.from_stacks([(["a"], 1)]).write(tmp_path / "absent" / "x.folded")


def test_samples_in_step_with_the_calls_are_told_by_what_they_are_worth() -> None:
    (said,) = in_step(2000, 4.0)
    assert "2000 tell as much as 500" in said.text
    assert in_step(2000, 1.2) == ()


# -- two recordings --------------------------------------------------------------------------------


def counts(lots: random.Random, samples: int, shares: tuple[float, ...]) -> dict[str, int]:
    drawn = lots.choices(range(len(shares)), shares, k=samples)
    return {f"layer {kind}": drawn.count(kind) for kind in range(len(shares))}


def test_equal_recordings_rarely_differ_over_all_layers_together() -> None:
    lots = random.Random(5)
    shares = (0.4, 0.2, 0.1, 0.1, 0.08, 0.06, 0.04, 0.02)
    alarms = sum(
        bool(agreement.apart(counts(lots, 1500, shares), counts(lots, 750, shares)))
        for _ in range(300)
    )
    assert alarms / 300 <= 0.08


def test_a_layer_that_moved_is_named() -> None:
    before, after = {"compute": 900, "glue": 100}, {"compute": 400, "glue": 100}
    assert agreement.apart(before, after) == ("compute", "glue")
    said = agreement.rates_note((499, 997), ("compute", "glue"))
    assert said.id == "rates_disagree"
    assert "compute, glue" in said.text
    assert said.remedy
    assert agreement.rates_note((499, 997), ()).id == "rates_agree"
    assert agreement.apart(before, after, design_effect=1000.0) == ()
    # A tenth moved from compute to glue: no share of anything moved by more.
    assert agreement.shift(before, after, ("compute", "glue")) == pytest.approx(0.1)
    assert agreement.shift(before, after, ("glue",)) == pytest.approx(0.1)
    # Too few to say anything about, and nothing at all.
    assert agreement.apart({"compute": 900, "glue": 1}, {"compute": 900}) == ()
    assert agreement.apart({}, {"compute": 3}) == ()


def test_threads_are_compared_apart() -> None:
    stacks = [(("[a]", "spins::compute"), 3), (("[b]", "spins::compute"), 4)]
    assert agreement.by_layer(stacks, Layers(("spins",))) == {
        "compute of [a]": 3,
        "compute of [b]": 4,
    }


def test_frame_pointers_are_used_where_they_tell_as_much() -> None:
    assert agreement.is_whole(0.02, 0.01)
    assert not agreement.is_whole(0.03, 0.0)
    assert not agreement.is_whole(0.0, 0.9)
    good = {"cut": (0.01, 0.01), "unresolved": (0.0, 0.0)}
    assert agreement.tells_as_much(**good, apart=())
    # Whole, but a layer moved: a function without a frame pointer hid its caller.
    assert not agreement.tells_as_much(**good, apart=("compute",))
    assert not agreement.tells_as_much(cut=(0.05, 0.01), unresolved=(0.0, 0.0), apart=())


# -- Python's functions ----------------------------------------------------------------------------


def test_the_interpreter_tells_perf_of_itself_from_3_13_on() -> None:
    assert [perf_jit.is_possible(v) for v in ("3.11.7", "3.12.1", "3.13.0", "3.14.0", "4.0.1")] == [
        False,
        False,
        True,
        True,
        True,
    ]


def test_two_costs_together_are_as_wide_as_both() -> None:
    found = slowdown.together(
        Interval(estimate=0.01, low=0.007, high=0.013),
        Interval(estimate=0.0, low=-0.004, high=0.004),
    )
    assert found.estimate == pytest.approx(0.01)
    assert found.high == pytest.approx(0.015, abs=2e-4)
    assert found.low == pytest.approx(0.005, abs=2e-4)


def test_a_python_function_is_the_interpreter_unless_something_inside_decides() -> None:
    layers = Layers(("spins",))
    above = ("_start", "py::loop:/a/worker.py", "_PyEval_EvalFrameDefault", "py::mixed:/a/w.py")
    assert layers.classify(above) is Layer.INTERPRETER
    assert layers.classify((*above, "_PyEval_EvalFrameDefault", "long_add")) is Layer.INTERPRETER
    assert layers.classify((*above, "spins::call", "spins::compute")) is Layer.COMPUTE


def test_calls_that_wake_the_pool_are_no_fault_of_the_samples() -> None:
    # Three long calls in each of ten windows, and three before each: as many samples outside.
    assert unexplained(300, 300, calls=30, untimed=30) == 0
    assert unexplained(400, 300, calls=30, untimed=30) == 100
    # Many short calls in a window: what lies outside is something else.
    assert unexplained(300, 300, calls=100_000, untimed=30) == 300

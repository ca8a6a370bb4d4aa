"""Each rule on stacks that provoke it, and on stacks that must not.

The frames are those of real captures; the counts are made up, so that the shares are known.
"""

from __future__ import annotations

import dataclasses
import re

import pytest

from perfkit.diagnose import memory_rules
from perfkit.diagnose.findings import WITHOUT_PROFILE, find, unasked
from perfkit.diagnose.observed import (
    Branches,
    Counted,
    Flags,
    Observed,
    StackTime,
    function_name,
    shown_frame,
)
from perfkit.diagnose.profiles import stack_time
from perfkit.diagnose.rules import RULES
from perfkit.measure.ratios import saved_share
from perfkit.records import (
    ALL_THREADS,
    Crossover,
    FfiEstimate,
    Finding,
    Interval,
    Layer,
    LayerTime,
    Outcome,
    Place,
    SizeResult,
)
from perfkit.stacks.intervals import wilson
from perfkit.stacks.layers import Layers, crate_of
from perfkit.stacks.split import CALLING_THREAD, OTHER_THREADS
from perfkit.subject.rustc import parse_line

LOOP = "_PyEval_EvalFrameDefault;cfunction_vectorcall_FASTCALL_KEYWORDS"
TRAMPOLINE = f"{LOOP};pyo3::impl_::trampoline::fastcall_cfunction_with_keywords"
FUNCTION = f"{TRAMPOLINE};my_ext::__pyfunction_price"
COMPUTE = f"{FUNCTION};my_ext::price_all"
EXTRACT = (
    f"{FUNCTION};pyo3::impl_::extract_argument::extract_argument;"
    "pyo3::types::sequence::extract_sequence"
)
WORKER = (
    "start_thread;rayon_core::registry::ThreadBuilder::run;"
    "rayon_core::registry::WorkerThread::wait_until_cold"
)
IN_WORKER = "rayon_core::registry::Registry::in_worker_cold"
LAYERS = Layers(["my_ext"])
POOL_RULES = {"pool_for_too_little", "chunk_too_small", "chunk_too_large"}


def stack(frames: str, count: int, *, calling: bool = True) -> StackTime:
    root = CALLING_THREAD if calling else OTHER_THREADS
    return stack_time((root, *frames.split(";")), count, LAYERS)


def around(value: float, relative: float = 0.01) -> Interval:
    return Interval(estimate=value, low=value * (1 - relative), high=value * (1 + relative))


def seen(*stacks: StackTime, region: int = 10_000, **changes: object) -> Observed:
    """A call of 10k elements in 1 ms; the samples missing in the region are waiting."""
    own = [s for s in stacks if s.calling]
    rows = {}
    for layer in {s.layer for s in own}:
        share = wilson(sum(s.count for s in own if s.layer is layer), region)
        rows[layer] = row(layer, share)
    waiting = wilson(region - sum(s.count for s in own), region)
    rows[Layer.WAITING] = row(Layer.WAITING, waiting)
    others = sum(s.count for s in stacks if not s.calling)
    base = Observed(
        workload="price",
        size=10_000,
        call_s=around(1e-3),
        stacks=tuple(stacks),
        region_samples=float(region),
        layers=rows,
        workers_s=others / region * 1e-3,
        threads=2,
        crates=LAYERS.crates,
        line=parse_line("rustc --crate-name my_ext --crate-type cdylib -C opt-level=3"),
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def row(layer: Layer, share: Interval) -> LayerTime:
    return LayerTime(
        layer=layer,
        seconds=share.estimate * 1e-3,
        share=share,
    )


def fired(observed: Observed) -> set[str]:
    return {finding.id for rule in RULES if (finding := rule(observed)) is not None}


def most(finding: Finding) -> float:
    """What fixing it saves at most, of a remedy that was not tried."""
    assert finding.predicted_gain is not None
    assert finding.predicted_gain.tried is None
    return finding.predicted_gain.at_most


def only(observed: Observed, identifier: str) -> Finding:
    found = [f for rule in RULES if (f := rule(observed)) is not None and f.id == identifier]
    assert len(found) == 1
    return found[0]


BOTH_COMPUTE = (stack(COMPUTE, 4_900), stack(f"{WORKER};my_ext::price_all", 4_900, calling=False))


def test_a_sound_call_on_two_threads_has_no_finding() -> None:
    sound = seen(stack(COMPUTE, 9_700), stack(f"{WORKER};my_ext::price_all", 9_500, calling=False))
    assert fired(sound) == set()


def test_a_list_converted_element_by_element() -> None:
    observed = seen(
        stack(f"{EXTRACT};PyFloat_AsDouble", 4_000),
        stack(f"{LOOP};list_dealloc;float_dealloc", 1_000),
        stack(COMPUTE, 5_000),
        # Another crate's function of the same name has no place in the user's sources.
        locations={"extract_sequence": "src/lib.rs:7"},
    )
    finding = only(observed, "sequence_conversion")
    assert finding.share == pytest.approx(0.5)
    assert most(finding) == pytest.approx(0.5, abs=0.02)
    assert finding.title == "A list is converted element by element"
    assert "PyReadonlyArray1" in finding.remedy
    assert "--sizes 10k" in finding.verify
    assert finding.evidence[0].share == pytest.approx(0.4)
    assert finding.evidence[0].location == ""


def test_an_inlined_conversion_shows_by_its_calls_per_element() -> None:
    observed = seen(
        stack(f"{FUNCTION};PyIter_Next;listiter_next", 4_000),
        stack(f"{FUNCTION};PyFloat_AsDouble", 2_000),
        stack(FUNCTION, 2_000),
        stack(COMPUTE, 2_000),
    )
    finding = only(observed, "sequence_conversion")
    assert finding.share == pytest.approx(0.6)
    # The wrapper's own frame may be the rest of the same conversion.
    assert most(finding) == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(
    ("item", "types", "remedy"),
    [
        ("PyIter_Next;listiter_next", "list", "PyReadonlyArray1"),
        ("PyIter_Next;tupleiter_next", "tuple", "PyReadonlyArray1"),
        ("PyIter_Next;memoryiter_next;unpack_single", "memoryview", "PyBuffer<u8>"),
        ("PyIter_Next;iter_iternext;PySequence_GetItem;memory_item", "memoryview", "PyBuffer<u8>"),
        ("PyIter_Next;bytearrayiter_next", "bytearray", "PyBuffer<u8>"),
        ("PyIter_Next;arrayiter_next;d_getitem", "array", "PyBuffer<u8>"),
        ("PyDict_SetItem;insertdict", "dict", "intern!"),
        ("PyUnicode_FromStringAndSize;unicode_hash", "str", "intern!"),
    ],
)
def test_a_conversion_names_the_type_that_was_seen(item: str, types: str, remedy: str) -> None:
    finding = only(
        seen(stack(f"{EXTRACT};{item}", 9_000), stack(COMPUTE, 900)), "sequence_conversion"
    )
    assert re.search(rf"\b{types}\b", finding.title)
    assert remedy in finding.remedy
    if types not in ("list", "tuple"):
        assert not re.search(r"\b(list|tuple)\b", finding.title + finding.remedy)


def test_a_conversion_whose_frames_show_no_type_names_none() -> None:
    finding = only(
        seen(stack(f"{EXTRACT};PyFloat_AsDouble", 9_000), stack(COMPUTE, 900)),
        "sequence_conversion",
    )
    assert finding.title == "A Python sequence is converted element by element"


def test_a_small_conversion_is_not_worth_a_finding() -> None:
    observed = seen(stack(f"{EXTRACT};PyFloat_AsDouble", 500), stack(COMPUTE, 9_500))
    assert "sequence_conversion" not in fired(observed)


def test_a_scalar_argument_is_no_sequence() -> None:
    extract = f"{FUNCTION};pyo3::impl_::extract_argument::extract_argument"
    observed = seen(stack(extract, 4_000), stack(COMPUTE, 6_000))
    assert "sequence_conversion" not in fired(observed)


def test_a_tuple_of_arguments_is_no_sequence_that_is_converted() -> None:
    sorting = f"{FUNCTION};pyo3::impl_::extract_argument::FunctionDescription::extract_arguments"
    observed = seen(stack(f"{sorting};pyo3::types::tuple::next", 4_000), stack(COMPUTE, 6_000))
    assert "sequence_conversion" not in fired(observed)


def test_a_copy_to_another_dtype() -> None:
    copy = f"{LOOP};array_astype;PyArray_AssignArray;_aligned_contig_cast_float_to_double"
    observed = seen(stack(copy, 3_000), stack(COMPUTE, 7_000))
    finding = only(observed, "array_copy")
    assert finding.share == pytest.approx(0.3)
    assert finding.evidence[0].frame == "array_astype"


def test_a_copy_inside_the_computation_is_the_subjects_own_business() -> None:
    observed = seen(stack(f"{COMPUTE};PyArray_NewCopy", 3_000), stack(COMPUTE, 7_000))
    assert "array_copy" not in fired(observed)


def test_an_output_faulted_in_each_call() -> None:
    fault = f"{COMPUTE};asm_exc_page_fault;exc_page_fault;clear_page_erms_[k]"
    observed = seen(
        stack(fault, 2_000), stack(f"{LOOP};array_dealloc;cfree", 500), stack(COMPUTE, 7_500)
    )
    finding = only(observed, "output_lifecycle")
    assert finding.share == pytest.approx(0.25)
    assert "out=" in finding.remedy


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        (f"{LOOP};array_dealloc;cfree;munmap", "output_lifecycle"),
        (f"{COMPUTE};cfree;munmap", "temporary_memory"),
    ],
)
def test_memory_is_an_output_where_the_caller_releases_it(release: str, expected: str) -> None:
    fault = f"{COMPUTE};asm_exc_page_fault;exc_page_fault"
    observed = seen(stack(fault, 3_000), stack(release, 600), stack(COMPUTE, 6_000))
    memory = {"output_lifecycle", "temporary_memory"}
    assert fired(observed) & memory == {expected}
    assert only(observed, expected).share == pytest.approx(0.36)


def test_objects_that_are_handed_out_are_no_memory_that_a_caller_could_pass_in() -> None:
    made = f"{FUNCTION};pyo3::conversion::IntoPyObject::into_pyobject;PyDict_New;malloc"
    observed = seen(
        stack(made, 3_000), stack(f"{LOOP};dict_dealloc;cfree", 2_000), stack(COMPUTE, 4_000)
    )
    finding = only(observed, "output_lifecycle")
    assert finding.title == "Every call makes Python objects and releases them"
    assert "out=" not in finding.remedy
    assert "buffer" not in finding.remedy


def test_memory_of_an_argument_that_is_taken_in_is_no_output() -> None:
    failed = f"{COMPUTE};pyo3::types::any::extract;pyo3::err::PyErr::new;malloc"
    argument = f"{FUNCTION};pyo3::impl_::extract_argument::extract_argument;malloc"
    observed = seen(stack(failed, 3_000), stack(argument, 3_000), stack(COMPUTE, 3_000))
    assert {s.layer for s in observed.stacks} == {Layer.ALLOCATION, Layer.COMPUTE}
    assert "output_lifecycle" not in fired(observed)


def test_lists_that_are_released_prove_no_conversion() -> None:
    """The caller makes and drops a list of its own beside the call."""
    observed = seen(stack(f"{LOOP};list_dealloc;float_dealloc", 4_000), stack(COMPUTE, 6_000))
    assert "sequence_conversion" not in fired(observed)


def test_a_list_that_is_released_belongs_to_the_conversion() -> None:
    observed = seen(stack(f"{LOOP};list_dealloc;float_dealloc", 4_000), stack(COMPUTE, 6_000))
    assert "output_lifecycle" not in fired(observed)


def test_an_allocation_for_each_element_of_the_loop() -> None:
    malloc = f"{COMPUTE};__rust_alloc;malloc;_int_malloc"
    finding = only(seen(stack(malloc, 3_000), stack(COMPUTE, 7_000)), "allocation_in_compute")
    # 0.3 of 1 ms over 10,000 elements.
    assert "30 ns per element" in finding.title
    assert finding.share == pytest.approx(0.3)


def test_an_allocation_inside_a_call_of_another_library_names_the_call() -> None:
    new = f"{COMPUTE};core::iter::next;regex::regex::string::Regex::new;regex_syntax::parse"
    observed = seen(stack(f"{new};__rust_alloc;malloc", 6_000), stack(COMPUTE, 3_900))
    finding = only(observed, "allocation_in_compute")
    assert "calls regex::regex::string::Regex::new as it goes" in finding.title
    assert "once before the loop" in finding.remedy
    assert "buffer" not in finding.remedy


def test_allocations_of_rusts_own_collections_are_the_computations() -> None:
    grow = f"{COMPUTE};hashbrown::raw::RawTable<T>::reserve_rehash;__rust_alloc;malloc"
    finding = only(seen(stack(grow, 6_000), stack(COMPUTE, 3_900)), "allocation_in_compute")
    assert finding.title.startswith("The computation allocates on the heap as it goes")


def test_one_buffer_for_few_elements_is_no_allocation_per_element() -> None:
    malloc = f"{COMPUTE};__rust_alloc;malloc;_int_malloc"
    observed = seen(stack(malloc, 3_000), stack(COMPUTE, 7_000), size=16)
    assert "allocation_in_compute" not in fired(observed)


def test_one_large_buffer_is_no_allocation_per_element() -> None:
    large = f"{COMPUTE};__rust_alloc;malloc;sysmalloc;__mmap"
    assert "allocation_in_compute" not in fired(seen(stack(large, 3_000), stack(COMPUTE, 7_000)))


def test_allocations_of_workers_are_a_share_of_all_threads() -> None:
    malloc = f"{WORKER};my_ext::price_all;__rust_alloc;malloc"
    observed = seen(
        stack(malloc, 5_000, calling=False),
        stack(COMPUTE, 5_000),
        locations={"price_all": "src/lib.rs:9"},
    )
    finding = only(observed, "allocation_in_compute")
    assert finding.share == pytest.approx(0.5)
    assert finding.base == ALL_THREADS
    assert finding.evidence[0].base == ALL_THREADS
    assert finding.evidence[0].location == "src/lib.rs:9"
    # The caller waits for half of the call, so that is the most that is gained.
    assert most(finding) == pytest.approx(0.5, abs=0.02)


def test_a_held_gil_costs_other_threads_and_not_the_call() -> None:
    observed = seen(stack(COMPUTE, 9_900), gil_held=around(0.97))
    finding = only(observed, "gil_held")
    assert finding.predicted_gain is None
    assert finding.gains == (
        "fixing it lets other Python threads run during at most 98.0 % of the call; "
        "this call itself gets no faster"
    )
    assert finding.share == pytest.approx(0.97)
    assert "py.detach" in finding.remedy


@pytest.mark.parametrize(
    "call",
    ["PyDict_SetItem", "PyUnicode_AsUTF8AndSize", "PyObject_GetAttr", "pyo3::err::PyErr::new"],
)
def test_a_loop_over_python_objects_is_not_told_to_release_the_gil(call: str) -> None:
    observed = seen(
        stack(f"{COMPUTE};{call};malloc", 3_000),
        stack(COMPUTE, 6_900),
        gil_held=around(0.97),
    )
    for rule in ("gil_held", "pool_not_used"):
        finding = only(observed, rule)
        assert "makes or reads Python objects" in finding.remedy
        assert "py.detach" not in finding.remedy
        assert "par_chunks" not in finding.remedy


def test_an_object_made_at_the_end_leaves_the_loop_free_of_them() -> None:
    observed = seen(
        stack(f"{COMPUTE};PyList_New", 500), stack(COMPUTE, 9_400), gil_held=around(0.97)
    )
    assert "py.detach" in only(observed, "gil_held").remedy


def test_a_conversion_needs_the_gil_and_is_not_told_to_release_it() -> None:
    observed = seen(
        stack(f"{EXTRACT};PyIter_Next;memoryiter_next", 9_500),
        stack(COMPUTE, 400),
        gil_held=around(0.97),
    )
    assert "gil_held" not in fired(observed)


@pytest.mark.parametrize(
    "changes",
    [
        {"gil_held": around(0.1)},
        {"gil_held": None},
        {"gil_held": around(0.97), "call_s": around(5e-5)},
    ],
)
def test_a_released_an_unprobed_or_a_short_gil_is_no_finding(changes: dict[str, object]) -> None:
    assert "gil_held" not in fired(seen(stack(COMPUTE, 9_900), **changes))


def test_a_pool_woken_for_too_little() -> None:
    observed = seen(
        stack(f"{COMPUTE};rayon_core::registry::Registry::in_worker_cold", 1_000),
        stack(COMPUTE, 2_000),
        stack(f"{WORKER};my_ext::price_all", 1_500, calling=False),
        stack(f"{WORKER};sched_yield", 4_000, calling=False),
    )
    finding = only(observed, "pool_for_too_little")
    assert most(finding) == pytest.approx(0.66, abs=0.02)
    assert "raise the threshold" in finding.remedy


def test_one_worker_that_computes_all_the_time_was_not_woken_for_nothing() -> None:
    busy = stack(f"{WORKER};my_ext::price_all", 9_800, calling=False)
    observed = seen(stack(f"{COMPUTE};{IN_WORKER}", 100), busy)
    finding = only(observed, "chunk_too_large")
    assert "1.0 of 2 threads" in finding.title
    assert most(finding) == pytest.approx(0.5, abs=0.05)
    assert "pool_for_too_little" not in fired(observed)


def test_a_worker_that_takes_turns_with_another_is_seen_as_one() -> None:
    turns = [
        stack(f"{WORKER.replace('run', name)};my_ext::price_all", 4_900, calling=False)
        for name in ("run", "ran")
    ]
    observed = seen(stack(f"{COMPUTE};{IN_WORKER}", 100), *turns, grains=("CHUNK",))
    finding = only(observed, "chunk_too_large")
    assert "lower CHUNK" in finding.remedy
    assert finding.verify.startswith("perfkit tune")


def test_a_core_that_another_program_took_is_no_idle_worker() -> None:
    """The profile took twice as long as the call does with room on the machine."""
    busy = stack(f"{WORKER};my_ext::price_all", 9_800, calling=False)
    observed = seen(stack(f"{COMPUTE};{IN_WORKER}", 100), busy)
    assert "chunk_too_large" not in fired(dataclasses.replace(observed, call_s=around(0.5e-3)))


def test_workers_that_handle_pieces() -> None:
    join = f"{WORKER};rayon_core::join::join_context;my_ext::price_all"
    pieces = f"{WORKER};rayon_core::join::join_context;crossbeam_deque::deque::Worker<T>::push"
    observed = seen(
        stack(join, 6_000, calling=False), stack(pieces, 9_000, calling=False), grains=("CHUNK",)
    )
    finding = only(observed, "chunk_too_small")
    assert finding.share == pytest.approx(0.6)
    assert "raise CHUNK" in finding.remedy
    assert not fired(observed) & {"pool_for_too_little", "chunk_too_large"}


def test_a_wheel_does_not_tell_the_pools_functions_from_work_inlined_into_them() -> None:
    helper = f"{WORKER};rayon::iter::plumbing::bridge_producer_consumer::helper"
    observed = seen(stack(f"{COMPUTE};{IN_WORKER}", 100), stack(helper, 19_600, calling=False))
    assert "chunk_too_small" in fired(observed)
    assert not fired(dataclasses.replace(observed, line=None)) & POOL_RULES


@pytest.mark.parametrize(
    "inlined",
    [
        "rayon::iter::for_each::consume_iter;my_ext::count_levels;core::sync::atomic::fetch_add",
        "rayon::iter::for_each::consume_iter;core::slice::iter::next",
        "rayon::iter::plumbing::fold_with",
        "xxhash_rust::xxh3::xxh3_64",
    ],
)
def test_the_loop_over_the_elements_of_a_piece_is_its_work(inlined: str) -> None:
    worker = f"{WORKER};rayon_core::join::join_context;{inlined}"
    observed = seen(stack(f"{COMPUTE};{IN_WORKER}", 100), stack(worker, 19_600, calling=False))
    assert not fired(observed) & POOL_RULES


def test_waking_a_worker_for_a_piece_is_what_the_piece_costs() -> None:
    wake = (
        f"{WORKER};rayon_core::join::join_context;rayon_core::sleep::Sleep::wake_any_threads;"
        "syscall;do_futex_[k];futex_wake_[k]"
    )
    observed = seen(
        stack(f"{WORKER};my_ext::price_all", 12_000, calling=False),
        stack(wake, 6_000, calling=False),
    )
    assert "chunk_too_small" in fired(observed)


def test_a_short_call_is_too_little_work_however_it_is_cut() -> None:
    pieces = f"{WORKER};rayon_core::join::join_context;crossbeam_deque::deque::Worker<T>::push"
    short = seen(
        stack(f"{WORKER};my_ext::price_all", 500, calling=False),
        stack(pieces, 3_000, calling=False),
        call_s=around(2e-5),
        workers_s=0.35 * 2e-5,
    )
    assert fired(short) == {"pool_for_too_little"}


def test_looking_for_work_is_no_piece() -> None:
    idle = f"{WORKER};rayon_core::join::join_context;rayon_core::registry::WorkerThread::steal"
    observed = seen(
        stack(f"{WORKER};my_ext::price_all", 12_000, calling=False),
        stack(idle, 7_000, calling=False),
    )
    assert "chunk_too_small" not in fired(observed)


def test_a_caller_that_waits_for_computing_workers_is_as_it_should_be() -> None:
    observed = seen(
        stack(f"{WORKER};my_ext::price_all", 9_800, calling=False),
        stack(f"{WORKER.replace('run', 'ran')};my_ext::price_all", 9_800, calling=False),
        stack(f"{COMPUTE};{IN_WORKER}", 100),
    )
    assert fired(observed) == set()


def test_a_second_thread_that_does_nothing() -> None:
    finding = only(seen(stack(COMPUTE, 9_900)), "pool_not_used")
    assert most(finding) == pytest.approx(0.5, abs=0.01)
    assert finding.remedy.startswith("if the elements do not depend on each other")


@pytest.mark.parametrize(
    "changes",
    [{"threads": 1}, {"call_s": around(5e-5)}, {"workers_s": None}],
)
def test_one_thread_is_right_where_it_is_all_there_is_or_the_call_is_short(
    changes: dict[str, object],
) -> None:
    assert "pool_not_used" not in fired(seen(stack(COMPUTE, 9_900), **changes))


def branches(value: int, above_gain: Interval) -> Branches:
    crossing = Crossover(outcome=Outcome.FOUND, size=4_000.0, low=1_000.0, high=10_000.0)
    never = Crossover(outcome=Outcome.NEVER)
    return Branches(
        parameter="SMALL",
        value=value,
        above_gain=above_gain,
        crossover=crossing,
        noise_floor=0.02,
        idle=never,
    )


def test_a_threshold_on_the_wrong_side() -> None:
    observed = seen(*BOTH_COMPUTE, branches=(branches(30_000, around(1.6)),))
    finding = only(observed, "threshold_outside")
    assert finding.share == pytest.approx(1 - 1 / 1.6)
    assert finding.predicted_gain is not None
    assert finding.predicted_gain.tried == saved_share(around(1.6))
    assert "the branch above" in finding.title
    assert "from about 4k on (between 1k and 10k); for calls that find the pool asleep: no cr" in (
        finding.remedy
    )


def test_a_threshold_that_sends_a_size_to_threads_too_early() -> None:
    observed = seen(*BOTH_COMPUTE, branches=(branches(1_000, around(0.5)),))
    finding = only(observed, "threshold_outside")
    assert finding.share == pytest.approx(0.5, abs=0.01)
    assert "the branch below" in finding.title


@pytest.mark.parametrize(
    ("value", "gain"),
    [
        (1_000, around(1.6)),
        (30_000, around(0.7)),
        (30_000, around(1.0, 0.1)),
        (30_000, around(1.015, 0.001)),
    ],
)
def test_a_threshold_in_its_place_or_not_told_is_no_finding(value: int, gain: Interval) -> None:
    observed = seen(*BOTH_COMPUTE, branches=(branches(value, gain),))
    assert "threshold_outside" not in fired(observed)


def test_scalar_math_calls() -> None:
    observed = seen(
        stack(f"{COMPUTE};libm::math::erf::erfc", 5_000),
        stack(f"{COMPUTE};exp@@GLIBC_2.29;__ieee754_exp_fma", 2_000),
        stack(COMPUTE, 3_000),
    )
    finding = only(observed, "scalar_math")
    assert finding.share == pytest.approx(0.7)
    assert finding.evidence[0].frame == "libm::math::erf::erfc"


def test_the_gain_of_math_on_workers_is_bounded_by_the_wait_for_them() -> None:
    math = f"{WORKER};my_ext::price_all;exp"
    observed = seen(
        stack(math, 6_000, calling=False),
        stack(math.replace("run", "ran"), 6_000, calling=False),
        stack(COMPUTE, 4_000),
    )
    finding = only(observed, "scalar_math")
    assert finding.share == pytest.approx(0.75)
    assert finding.base == ALL_THREADS
    assert most(finding) == pytest.approx(0.6, abs=0.02)


def test_few_instructions_per_element_are_vector_code() -> None:
    stacks = (stack(f"{COMPUTE};exp", 5_000), stack(COMPUTE, 5_000))

    def counted(per_element: float | None, reason: str = "") -> Observed:
        return seen(
            *stacks, instructions=Counted(per_element=per_element, size=1_000, reason=reason)
        )

    assert "90 instructions per element at 1k" in only(counted(90.0), "scalar_math").title
    assert "scalar_math" not in fired(counted(12.0))
    unknown = only(counted(None, "valgrind is not installed"), "scalar_math")
    assert "not counted: valgrind is not installed" in unknown.title


def test_a_vector_math_library_is_not_scalar() -> None:
    observed = seen(stack(f"{COMPUTE};_ZGVdN4v_exp", 6_000), stack(COMPUTE, 4_000))
    assert "scalar_math" not in fired(observed)


def test_a_debug_build() -> None:
    line = parse_line("rustc --crate-name my_ext --crate-type cdylib -C debuginfo=2")
    observed = seen(stack(COMPUTE, 9_900), line=line)
    assert "opt-level 0" in only(observed, "unoptimised_build").title
    # The workers, the boundary and whatever was inlined are of the same build.
    assert most(only(observed, "unoptimised_build")) == 1.0
    optimised = parse_line("rustc --crate-name my_ext --crate-type cdylib -C opt-level=3")
    assert "unoptimised_build" not in fired(dataclasses.replace(observed, line=optimised))


def flags(gain: Interval, floor: float = 0.01) -> Flags:
    return Flags(settings='lto = "thin"', gain=gain, noise_floor=floor)


def test_flags_that_were_measured_faster() -> None:
    finding = only(seen(*BOTH_COMPUTE, flags=flags(around(1.25))), "build_flags")
    assert finding.title == 'With lto = "thin" the call is 1.25x as fast'
    assert finding.share == pytest.approx(0.2)
    assert finding.predicted_gain is not None
    assert finding.predicted_gain.tried == saved_share(around(1.25))


@pytest.mark.parametrize(
    "measured",
    [None, flags(around(1.0)), flags(around(0.8)), flags(around(1.02, 0.005), floor=0.03)],
)
def test_flags_that_gain_nothing_beyond_the_noise_are_no_finding(measured: Flags | None) -> None:
    assert "build_flags" not in fired(seen(*BOTH_COMPUTE, flags=measured))


def ffi(share: float, *, agree: bool = True) -> FfiEstimate:
    return FfiEstimate(
        share=Interval(estimate=share, low=share - 0.02, high=share + 0.02) if agree else None,
        agree=agree,
        estimators=(),
    )


def test_a_call_that_is_mostly_boundary_asks_for_batching() -> None:
    observed = seen(stack(COMPUTE, 9_900), smallest=True, ffi=ffi(0.4))
    assert only(observed, "per_call_overhead").share == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("smallest", "estimate"),
    [(False, ffi(0.4)), (True, ffi(0.05)), (True, ffi(0.4, agree=False)), (True, None)],
)
def test_batching_is_asked_for_only_where_the_share_is_known_and_large(
    smallest: bool, estimate: FfiEstimate | None
) -> None:
    observed = seen(stack(COMPUTE, 9_900), smallest=smallest, ffi=estimate)
    assert "per_call_overhead" not in fired(observed)


def test_threads_of_another_library() -> None:
    blas = "start_thread;blas_thread_server;sched_yield"
    observed = seen(stack(COMPUTE, 9_900), stack(blas, 3_000, calling=False))
    finding = only(observed, "foreign_threads")
    assert "OPENBLAS_NUM_THREADS" in finding.remedy
    assert finding.share == pytest.approx(3_000 / 12_900)
    assert "Threads of another library" in finding.title


def test_threads_of_a_library_that_the_extension_calls() -> None:
    blas = "start_thread;blas_thread_server;sched_yield"
    own = stack(f"{COMPUTE};cblas_dgemm;exec_blas_async", 5_000)
    observed = seen(own, stack(blas, 3_000, calling=False))
    assert "the extension itself calls" in only(observed, "foreign_threads").title


def reference(speedup: Interval) -> SizeResult:
    return SizeResult(
        workload="price",
        size=10_000,
        time_s=around(1e-3),
        reference_s=around(5e-4),
        speedup=speedup,
        target=None,
        met=None,
        valid_blocks=20,
        blocks=20,
    )


def test_a_reference_that_wins_by_vector_loops() -> None:
    simd = stack(f"{LOOP};ufunc_generic_fastcall;DOUBLE_exp_AVX512F", 800)
    other = stack(f"{LOOP};ufunc_generic_fastcall", 200)
    observed = seen(
        *BOTH_COMPUTE,
        result=reference(around(0.5)),
        reference_stacks=(simd, other),
        reference_samples=1_000.0,
    )
    finding = only(observed, "reference_faster")
    assert finding.title == (
        "The reference is 2.00x as fast; its profile shows vector loops (80.0 % of its samples)"
    )
    assert "was not tried" in finding.remedy
    assert finding.evidence[0].frame == "DOUBLE_exp_AVX512F"
    assert finding.evidence[0].base == "of the reference's call"
    assert most(finding) == pytest.approx(0.5, abs=0.02)
    slower = dataclasses.replace(observed, result=reference(around(1.5)))
    assert "reference_faster" not in fired(slower)
    unseen = dataclasses.replace(observed, reference_stacks=(), reference_samples=0.0)
    assert "reference_faster" not in fired(unseen)


def test_nothing_fires_without_a_profile() -> None:
    assert fired(seen(region=10_000, stacks=(), region_samples=0.0, layers={}, workers_s=None)) == (
        set()
    )


def test_without_a_profile_it_is_said_which_rules_could_be_asked() -> None:
    assert set(WITHOUT_PROFILE) < {rule.__name__ for rule in RULES}
    bare = dataclasses.replace(seen(), region_samples=0.0, size=1_000)
    (note,) = unasked([seen(stack(COMPUTE, 9_000)), bare])
    assert note.place == Place(workload="price", sizes=(1_000,))
    assert "threshold_outside" in note.text
    # One of them, to see that it is so.
    branched = dataclasses.replace(bare, branches=(branches(30_000, around(1.6)),), size=10_000)
    assert [finding.id for finding in find([branched])] == ["threshold_outside"]


def test_findings_are_ranked_by_gain_and_said_once() -> None:
    small = seen(
        stack(f"{EXTRACT};PyFloat_AsDouble", 4_000), stack(f"{COMPUTE};exp", 3_000), size=1_000
    )
    large = seen(stack(f"{EXTRACT};PyFloat_AsDouble", 6_000), stack(f"{COMPUTE};exp", 2_500))
    found = find([small, large])
    assert [finding.id for finding in found].count("sequence_conversion") == 1
    assert found[0].id == "sequence_conversion"
    assert found[0].size == 10_000
    assert [finding.id for finding in found] == [
        "sequence_conversion",
        "scalar_math",
    ]


def test_a_remedy_that_was_tried_counts_by_what_it_saved_and_a_condition_comes_last() -> None:
    observed = seen(
        stack(f"{EXTRACT};PyFloat_AsDouble", 1_500),
        stack(COMPUTE, 8_000),
        flags=flags(around(1.25)),
    )
    # 20 % by the flags, at most 16 % by the conversion, at most 41 % if it can be spread at all.
    found = [finding.id for finding in find([observed])]
    assert found == ["build_flags", "sequence_conversion", "pool_not_used"]


def test_the_name_of_a_function_is_found_in_a_frame() -> None:
    assert function_name("my_ext::plain::<impl my_ext::Foo<f64>>::call::{{closure}}") == "call"
    assert function_name("<rayon::Map<A, B> as Consumer>::run") == "run"
    assert function_name("malloc") == "malloc"


@pytest.mark.parametrize(
    ("frame", "crate"),
    [
        ("my_ext::plain::<impl my_ext::Foo<f64>>::call::{{closure}}", "my_ext"),
        ("<&mut my_ext::Foo as core::iter::Iterator>::next", "my_ext"),
        ("<rayon::Map<A, my_ext::B> as Consumer>::run", "rayon"),
        ("malloc", ""),
    ],
)
def test_the_crate_of_a_frame_is_its_own_and_not_that_of_its_arguments(
    frame: str, crate: str
) -> None:
    assert crate_of(frame) == crate


def test_a_closure_has_the_line_of_the_function_around_it() -> None:
    loop = f"{COMPUTE};core::iter::fold;my_ext::{{closure#0}}"
    malloc = stack(f"{loop};malloc", 3_000)
    # The module's own name is no function of the loop.
    places = {"price_all": "src/lib.rs:9", "my_ext": "src/lib.rs:99"}
    finding = only(seen(malloc, stack(loop, 6_000), locations=places), "allocation_in_compute")
    (evidence,) = finding.evidence
    assert (evidence.frame, evidence.location) == ("my_ext::{closure#0}", "src/lib.rs:9")


def test_a_stack_without_a_decider_is_shown_by_its_leaf() -> None:
    unknown = stack("a;b", 1)
    assert unknown.decider is None
    assert shown_frame(unknown, None) == "b"
    assert memory_rules.output_lifecycle(seen(unknown)) is None

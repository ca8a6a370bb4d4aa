"""Which layer a stack belongs to, decided from the inside out."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfkit import _engine
from perfkit.config import LayerRule, load_project
from perfkit.errors import ConfigError
from perfkit.records import Layer
from perfkit.stacks.folded import read_stacks
from perfkit.stacks.layers import Layers, crate_names, is_cut, is_unresolved

DATA = Path(__file__).resolve().parents[1] / "data"
LAYERS = Layers(["my-crate"])
PYTHON = ("_start", "Py_BytesMain", "_PyEval_EvalFrameDefault", "cfunction_vectorcall_FASTCALL")
CALL = (*PYTHON, "pyo3::impl_::trampoline::trampoline", "my_crate::__pyfunction_price")
EXTRACT = (*CALL, "pyo3::impl_::extract_argument::extract_required_argument")
ANOTHERS = (*PYTHON, "pyo3::impl_::trampoline::trampoline", "another::__pyfunction_dumps")
WRAP = (*CALL, "pyo3::impl_::wrap::IntoPyObjectConverter<core::result::Result<T,E>>::wrap_into_ptr")
COMPUTE = (*CALL, "my_crate::core::price")
POOL = ("clone3", "start_thread", "rayon::iter::plumbing::bridge_producer_consumer::helper")


@pytest.mark.parametrize(
    ("stack", "layer"),
    [
        (PYTHON, Layer.INTERPRETER),
        ((*PYTHON, "long_add"), Layer.INTERPRETER),
        (CALL, Layer.GLUE),
        ((*CALL, "__memset_avx512_unaligned_erms"), Layer.GLUE),
        ((*CALL, "pyo3::impl_::extract_argument::FunctionDescription::extract_x"), Layer.GLUE),
        (EXTRACT, Layer.CONVERT_IN),
        ((*EXTRACT, "PyIter_Next", "listiter_next"), Layer.CONVERT_IN),
        ((*EXTRACT, "pyo3_ffi::compat::py_3_14::PyIter_NextItem"), Layer.CONVERT_IN),
        ((*CALL, "<my_crate::Slow as pyo3::conversion::FromPyObject>::extract"), Layer.CONVERT_IN),
        ((*CALL, "numpy::borrow::shared::acquire"), Layer.CONVERT_IN),
        (WRAP, Layer.CONVERT_OUT),
        ((*WRAP, "PyFloat_FromDouble"), Layer.CONVERT_OUT),
        ((*WRAP, "PyFloat_FromDouble", "_PyObject_Malloc"), Layer.ALLOCATION),
        ((*CALL, "pyo3::types::float::PyFloat::other"), Layer.GLUE),
        ((*COMPUTE, "pyo3::types::float::PyFloat::value"), Layer.GLUE),
        ((*CALL, "PyEval_SaveThread", "drop_gil", "pthread_mutex_lock@@GLIBC_2.2.5"), Layer.GIL),
        ((*CALL, "pyo3::marker::Python::detach"), Layer.GLUE),
        (COMPUTE, Layer.COMPUTE),
        (
            (*EXTRACT, "<my_crate::Slow as pyo3::FromPyObject>::extract", "my_crate::turns"),
            Layer.CONVERT_IN,
        ),
        ((*EXTRACT, "my_crate::parse", "alloc::raw_vec::grow", "malloc"), Layer.ALLOCATION),
        ((*COMPUTE, "pyo3::types::list::PyList::new", "my_crate::item"), Layer.COMPUTE),
        ((*COMPUTE, "core::slice::sort::merge"), Layer.COMPUTE),
        ((*COMPUTE, "alloc::raw_vec::RawVec<T,A>::grow_one", "realloc"), Layer.COMPUTE),
        ((*COMPUTE, "malloc", "_int_malloc", "asm_exc_page_fault_[k]"), Layer.PAGE_FAULT),
        ((*COMPUTE, "asm_sysvec_apic_timer_interrupt_[k]", "handle_softirqs_[k]"), Layer.COMPUTE),
        ((*COMPUTE, "__ieee754_log_fma"), Layer.MATH),
        ((*COMPUTE, "exp@@GLIBC_2.29"), Layer.MATH),
        ((*COMPUTE, "libm::math::erf::erfc"), Layer.MATH),
        ((*COMPUTE, "rayon_core::registry::Registry::in_worker_cold"), Layer.POOL),
        (
            (*COMPUTE, "rayon::iter::plumbing::bridge_producer_consumer::helper", COMPUTE[-1]),
            Layer.COMPUTE,
        ),
        ((*PYTHON, "list_dealloc", "float_dealloc", "_PyObject_Free"), Layer.ALLOCATION),
        ((*PYTHON, "PyFloat_FromDouble", "_PyObject_Malloc"), Layer.INTERPRETER),
        ((*CALL, "__munmap", "entry_SYSCALL_64_after_hwframe_[k]"), Layer.ALLOCATION),
        # Inlined functions have no type in their names.
        ((*CALL, "pyo3::impl_::extract_argument::extract_arguments_fastcall"), Layer.GLUE),
        ((*CALL, "pyo3::impl_::extract_argument::extract_argument"), Layer.CONVERT_IN),
        ((*COMPUTE, "pyo3::marker::detach", "free"), Layer.COMPUTE),
        ((*CALL, "pyo3::types::float::new"), Layer.CONVERT_OUT),
        ((*CALL, "numpy::array::from_iter"), Layer.CONVERT_OUT),
        ((*CALL, "numpy::array::as_view"), Layer.CONVERT_IN),
        # What the computation releases is its own; what the loop around the call does, an output.
        ((*COMPUTE, "list_dealloc", "float_dealloc", "_PyObject_Free"), Layer.COMPUTE),
        ((*COMPUTE, "array_dealloc", "free"), Layer.COMPUTE),
        ((*EXTRACT, "list_dealloc"), Layer.ALLOCATION),
        ((*PYTHON, "array_dealloc", "munmap"), Layer.ALLOCATION),
        (("clone3", "start_thread", "worker_loop"), Layer.POOL),
        # A second module in the call is not the subject's boundary.
        (ANOTHERS, Layer.OTHER),
        ((*ANOTHERS, "another::serialize"), Layer.OTHER),
        ((*ANOTHERS, "another::serialize", "_PyObject_Malloc"), Layer.OTHER),
        ((*ANOTHERS, "another::serialize", "pyo3::types::list::PyList::get_item"), Layer.OTHER),
        ((*ANOTHERS, *EXTRACT[-1:]), Layer.OTHER),
        ((*ANOTHERS, "pyo3::marker::Python::detach", "PyEval_SaveThread"), Layer.OTHER),
        ((*PYTHON, CALL[-2], "another::inner", "core::slice::sort::merge"), Layer.OTHER),
        ((*COMPUTE, "PyObject_Call", *ANOTHERS[-2:], "another::serialize"), Layer.OTHER),
        # A dependency of the subject works for it, below a conversion for that.
        ((*COMPUTE, "regex_automata::meta::strategy::new"), Layer.COMPUTE),
        ((*CALL, "regex_automata::meta::strategy::new", "malloc"), Layer.COMPUTE),
        ((*CALL, "pythonize::ser::pythonize", "pyo3::types::dict::PyDict::clear"), Layer.GLUE),
        ((*CALL, "pythonize::ser::pythonize", *EXTRACT[-1:]), Layer.CONVERT_IN),
        ((*EXTRACT, "indexmap::map::IndexMap<K,V,S>::insert_full"), Layer.CONVERT_IN),
        ((*CALL, "core::ptr::drop_in_place", "hashbrown::raw::RawTable<T,A>::drop"), Layer.GLUE),
        ((*CALL[:-1], "once_cell::imp::initialize"), Layer.GLUE),
        (POOL, Layer.POOL),
        ((*POOL, "core::iter::traits::iterator::Iterator::try_fold"), Layer.POOL),
        ((*POOL, "xxhash_rust::xxh3::xxh3_64"), Layer.COMPUTE),
        ((*POOL, "rayon::iter::for_each::consume_iter", "core::slice::iter::next"), Layer.COMPUTE),
        ((*POOL, "<rayon::iter::map::MapFolder<C,F> as F<T>>::consume_iter"), Layer.COMPUTE),
        ((*POOL, "rayon::iter::plumbing::Producer::fold_with"), Layer.COMPUTE),
        (
            (*POOL, "<rayon::A as rayon::B<fn() -> u8>>::consume_iter::<fn(u8) -> u8>"),
            Layer.COMPUTE,
        ),
        ((*POOL, "<rayon::A as rayon::B<u8>>"), Layer.POOL),
        ((*POOL, "rayon::slice::split_at"), Layer.POOL),
        ((*CALL, "[my_crate.abi3.so]"), Layer.OTHER),
        ((*CALL, "[my_crate.abi3.so]", "__memcpy"), Layer.OTHER),
        ((), Layer.OTHER),
        (("run_batch (worker.py:86)",), Layer.INTERPRETER),
    ],
)
def test_the_innermost_frame_that_knows_decides(stack: tuple[str, ...], layer: Layer) -> None:
    assert LAYERS.classify(stack) is layer


RECORDED = [
    pytest.param(stack, id=f"{path.stem}-{index}")
    for path in sorted((DATA / "allocators").glob("*.folded"))
    for index, (stack, _) in enumerate(read_stacks(path))
]
BY_HAND = [
    ("__rustc::__rust_alloc", "_rjem_mallocx", "_rjem_je_arena_cache_bin_fill_small"),
    ("_rjem_je_malloc_default",),
    ("__rg_dealloc", "_rjem_sdallocx"),
    (
        "__rustc[89ab]::__rg_realloc",
        "<jemallocator::Jemalloc as core::alloc::GlobalAlloc>::realloc",
    ),
    ("__rustc::__rdl_dealloc", "sdallocx"),
    ("nallocx",),
    ("<mimalloc::MiMalloc as core::alloc::global::GlobalAlloc>::alloc", "mi_malloc_aligned"),
    ("_PyMem_MiFree", "_mi_free_generic"),
    ("sn_rust_alloc", "void* snmalloc::LocalAllocator<T>::alloc"),
    ("tc_newarray", "tcmalloc::ThreadCache::FetchFromCentralCache"),
    ("rpmalloc",),
]
"""By the symbols of these libraries: allocators that a Rust program links in."""


@pytest.mark.parametrize("asked", [*RECORDED, *BY_HAND])
def test_an_allocator_of_whatever_name_asks_its_caller(asked: tuple[str, ...]) -> None:
    assert LAYERS.classify((*COMPUTE, *asked)) is Layer.COMPUTE
    assert LAYERS.classify((*EXTRACT, *asked)) is Layer.ALLOCATION
    assert LAYERS.classify((*CALL, *asked)) is Layer.ALLOCATION
    is_output = "list_dealloc" in asked
    expected = Layer.ALLOCATION if is_output else Layer.INTERPRETER
    assert LAYERS.classify((*PYTHON, *asked)) is expected


def test_a_stack_of_another_crate_is_not_the_subjects_compute() -> None:
    assert Layers(["other"]).classify(COMPUTE) is Layer.OTHER
    assert Layers([]).classify(("my_crate::core::price",)) is Layer.OTHER


def test_a_rule_of_the_config_comes_first() -> None:
    rule = LayerRule(layer=Layer.CONVERT_IN, frame=r"::parse$")
    layers = Layers(["my_crate"], [rule])
    assert layers.classify((*CALL, "my_crate::input::parse")) is Layer.CONVERT_IN


@pytest.mark.parametrize(
    ("frames", "layer"),
    [
        (("perfkit_kernel::fast::crew::share",), Layer.POOL),
        (("perfkit_kernel::fast::run", "<perfkit_kernel::fast::crew::Shared>::help"), Layer.POOL),
        (("perfkit_kernel::fast::crew::share", "perfkit_kernel::fast::avx512::run"), Layer.COMPUTE),
        (("perfkit_kernel::pool::install", "perfkit_kernel::plain::price_chunk"), Layer.COMPUTE),
        (("perfkit_kernel::fast::run",), Layer.COMPUTE),
    ],
)
def test_the_bundled_kernels_own_waiting_is_the_pools(
    repository: Path, frames: tuple[str, ...], layer: Layer
) -> None:
    project = load_project(start=repository, environ={}, path=repository / "perfkit.toml")
    layers = Layers(["perfkit_kernel"], project.config.layers)
    assert layers.classify((*PYTHON, *frames)) is layer


def test_a_broken_rule_of_the_config_is_named() -> None:
    with pytest.raises(ConfigError, match="not a regular expression") as caught:
        Layers(["my_crate"], [LayerRule(layer=Layer.GLUE, frame="(")])
    assert caught.value.where == "layers[0].frame"


def test_crates_come_from_the_rustc_lines_and_the_module() -> None:
    lines = ["rustc --crate-name core_part src/lib.rs", "rustc --crate-name=build_script_build x"]
    assert crate_names(lines, "package._native") == ("_native", "core_part")


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ("[unknown]", True),
        ("[libfoo.so.1]", True),
        ("0x7fde9d8b479b (libc.so.6)", True),
        ("0x7f", True),
        ("[vdso]", False),
        ("[perfkit calling thread]", False),
        ("<[f64: 3] as core::fmt::Debug>::fmt", False),
        ("malloc", False),
    ],
)
def test_a_frame_without_a_name_is_known_as_such(frame: str, expected: bool) -> None:
    assert is_unresolved(frame) is expected


@pytest.mark.parametrize(
    ("stack", "decided"),
    [
        (COMPUTE, True),
        (("my_crate::core::price",), True),
        (("my_crate::core::price", "malloc"), True),
        (("malloc", "_int_malloc"), False),
        (("pyo3::instance::Bound<T>::clone",), False),
        ((*COMPUTE, "[libfoo.so]"), False),
        ((*ANOTHERS, "another::serialize"), True),
        ((*PYTHON, CALL[-2], "another::inner"), False),
        (("qsort_r", "msort_with_tmp"), False),
        ((), False),
    ],
)
def test_what_a_caller_could_change_is_not_decided(stack: tuple[str, ...], decided: bool) -> None:
    assert LAYERS.decide(stack).decided is decided


@pytest.mark.parametrize(
    ("outermost", "cut"),
    [
        ("_start", False),
        ("main", False),
        ("__libc_start_main@@GLIBC_2.34", False),
        ("__libc_start_call_main", False),
        ("start_thread", False),
        ("thread_start", False),
        ("_dl_start_user", False),
        ("clone", False),
        ("_clone3", False),
        ("__clone", False),
        ("__GI___clone3", False),
        ("ret_from_fork_asm", False),
        ("price", True),
        ("cyclone3", True),
        ("mainly", True),
        ("_PyEval_EvalFrameDefault", True),
        ("[unknown]", True),
    ],
)
def test_a_stack_is_cut_where_the_engine_counts_it_so(
    outermost: str, cut: bool, tmp_path: Path
) -> None:
    script, folded = tmp_path / "script.txt", tmp_path / "out.folded"
    script.write_text(f"py 7/7 1.0: cpu-clock:\n\t1 leaf (/a.so)\n\t2 {outermost} (/b.so)\n\n")
    stats = _engine.collapse_perf(script, folded, roots=("calling", "others"))
    ((stack, _),) = read_stacks(folded)
    assert (is_cut(stack), stats.unrooted) == (cut, int(cut))


def test_a_stack_without_frames_is_cut() -> None:
    assert is_cut(("[perfkit calling thread]",))

"""The kernel's Python functions: layouts, dtypes, refusals, threads, interrupts, read-back."""

from __future__ import annotations

import ast
import inspect
import os
import platform
import subprocess
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import perfkit_kernel as kernel
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

pytestmark = pytest.mark.beside


def options(n: int, seed: int = 0) -> tuple[Any, ...]:
    """Ordinary options with one rate."""
    rng = np.random.default_rng(seed)
    return (
        rng.uniform(50.0, 150.0, n),
        rng.uniform(50.0, 150.0, n),
        rng.uniform(0.05, 3.0, n),
        0.03,
        rng.uniform(0.1, 0.6, n),
    )


SHARED = kernel.parameters()["FAST_PARALLEL_THRESHOLD"] + 3_617
"""Options that are priced by more than one thread, and end in the middle of a chunk and a block."""


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 1000, 9_999, 10_000, SHARED])
def test_both_kernels_and_lists_give_one_answer(n: int) -> None:
    arguments = options(n)
    fast = kernel.call_price(*arguments)
    assert fast.shape == (n,)
    np.testing.assert_allclose(kernel.call_price_plain(*arguments), fast, rtol=1e-9, atol=1e-11)
    if n <= 1000:
        lists = [x.tolist() if isinstance(x, np.ndarray) else x for x in arguments]
        prices = kernel.call_price_list(*lists)
        assert isinstance(prices, list)
        np.testing.assert_allclose(prices, fast, rtol=1e-9, atol=1e-11)


def test_numbers_alone_give_a_float() -> None:
    price = kernel.call_price(42, 40.0, np.float32(0.5), np.float64(0.1), np.array(0.2))
    assert type(price) is float
    # Hull, Options, Futures and Other Derivatives.
    assert price == pytest.approx(4.759422392871532, rel=1e-13)
    assert kernel.put_price(42, 40, 0.5, 0.1, 0.2) == pytest.approx(0.8085993729000958, rel=1e-12)


def test_every_argument_broadcasts() -> None:
    rng = np.random.default_rng(1)
    arguments = (
        rng.uniform(50.0, 150.0, (7, 1, 5)),
        rng.uniform(50.0, 150.0, (3, 1)),
        rng.uniform(0.05, 3.0, 5),
        rng.uniform(-0.1, 0.1, (7, 3, 1)),
        0.3,
    )
    prices = kernel.put_price(*arguments)
    assert prices.shape == (7, 3, 5)
    flat = [np.ascontiguousarray(x).ravel() for x in np.broadcast_arrays(*arguments)]
    np.testing.assert_array_equal(prices.ravel(), kernel.put_price(*flat))


@pytest.mark.parametrize(
    "layout",
    [
        lambda x: np.repeat(x, 3)[::3],
        lambda x: x[::-1].copy()[::-1],
        lambda x: np.frombuffer(b"\0" + x.tobytes(), dtype=np.uint8)[1:].view(np.float64),
        lambda x: x.astype(">f8"),
        lambda x: x.tolist(),
        lambda x: np.lib.stride_tricks.as_strided(x, writeable=False),
    ],
    ids=["strided", "reversed", "unaligned", "swapped", "list", "read-only"],
)
def test_any_layout_of_float64_is_priced_alike(layout: Callable[[Any], Any]) -> None:
    arguments = options(SHARED)
    expected = kernel.call_price(*arguments)
    laid_out = [layout(x) if isinstance(x, np.ndarray) else x for x in arguments]
    np.testing.assert_array_equal(kernel.call_price(*laid_out), expected)


def test_fortran_order_is_read_where_it_lies() -> None:
    arguments = [
        np.asfortranarray(x.reshape(40, 50)) if isinstance(x, np.ndarray) else x
        for x in options(2000)
    ]
    prices = kernel.call_price(*arguments)
    np.testing.assert_array_equal(prices.ravel(), kernel.call_price(*options(2000)))


@pytest.mark.parametrize("dtype", ["f2", "f4", "i1", "i4", "i8", "u8"])
def test_other_real_dtypes_are_converted(dtype: str) -> None:
    spot = np.array([90, 100, 110], dtype=dtype)
    np.testing.assert_array_equal(
        kernel.call_price(spot, 100, 1, 0, 0.2),
        kernel.call_price(spot.astype(np.float64), 100, 1, 0, 0.2),
    )


def test_out_is_filled_and_returned_whatever_its_layout() -> None:
    arguments = options(SHARED)
    expected = kernel.call_price(*arguments)
    backing = np.full(2 * SHARED + 1, -1.0)
    for out in (np.empty(SHARED), backing[1::2], backing[:-1][::-2]):
        assert kernel.call_price(*arguments, out=out) is out
        np.testing.assert_array_equal(out, expected)


def test_arrays_may_lie_between_each_others_elements() -> None:
    both = np.empty(200)
    arguments = options(100)
    both[::2] = arguments[0]
    prices = kernel.call_price(both[::2], *arguments[1:], out=both[1::2])
    np.testing.assert_array_equal(prices, kernel.call_price(*arguments))


def read_only(n: int) -> NDArray[np.float64]:
    """An array that cannot be written to."""
    array = np.zeros(n)
    array.flags.writeable = False
    return array


FIVE = options(5)
REFUSED: dict[str, tuple[tuple[Any, ...], Any, type[Exception], str]] = {
    "shapes": (
        (np.ones(3), np.ones(4), 1.0, 0.0, 0.2),
        None,
        ValueError,
        r"do not broadcast.*spot \(3,\), strike \(4,\), time \(\)",
    ),
    "overflow": (
        (np.broadcast_to(1.0, (1 << 40, 1)), np.broadcast_to(1.0, (1, 1 << 40)), 1.0, 0.0, 0.2),
        None,
        ValueError,
        r"\(1099511627776, 1099511627776\) has more elements",
    ),
    "memory": (
        (np.broadcast_to(1.0, (1 << 25, 1)), np.broadcast_to(1.0, (1, 1 << 25)), 1.0, 0.0, 0.2),
        None,
        MemoryError,
        "allocate",
    ),
    "complex": ((1j, 1.0, 1.0, 0.0, 0.2), None, TypeError, "spot .*complex"),
    "string": ((1.0, "1", 1.0, 0.0, 0.2), None, TypeError, "strike .*str"),
    "none": ((1.0, 1.0, None, 0.0, 0.2), None, TypeError, "time .*NoneType"),
    "bool": ((1.0, 1.0, 1.0, True, 0.2), None, TypeError, "rate .*bool"),
    "object": (
        (1.0, 1.0, 1.0, 0.0, np.array([0.2, 0.3], dtype=object)),
        None,
        TypeError,
        "volatility .*object",
    ),
    "long double": ((np.ones(2, np.longdouble), 1.0, 1.0, 0.0, 0.2), None, TypeError, "spot"),
    "masked": ((np.ma.array([1.0], mask=[True]), 1.0, 1.0, 0.0, 0.2), None, TypeError, "mask"),
    "huge int": ((10**400, 1.0, 1.0, 0.0, 0.2), None, OverflowError, "too large"),
    "out list": (FIVE, [0.0] * 5, TypeError, "out must be a float64 array, not list"),
    "out dtype": (FIVE, np.zeros(5, np.float32), TypeError, r"float32 and shape \(5,\)"),
    "out byte order": (FIVE, np.zeros(5, ">f8"), TypeError, "native byte order"),
    "out shape": (FIVE, np.zeros(6), ValueError, r"shape \(6,\).*shape \(5,\)"),
    "out of numbers": ((1.0, 1.0, 1.0, 0.0, 0.2), np.zeros(1), ValueError, r"shape \(1,\)"),
    "out read-only": (FIVE, read_only(5), ValueError, r"\(5,\), is read-only"),
    "out is spot": (FIVE, FIVE[0], ValueError, "shares memory with spot"),
    "out is reversed volatility": (FIVE, FIVE[4][::-1], ValueError, "with volatility"),
}


def strided(n: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> NDArray[np.float64]:
    """A view of `n` zeros; strides in bytes, and the start so that none leaves the memory."""
    memory = np.zeros(n)
    first = -sum(stride * (axis - 1) for axis, stride in zip(shape, strides) if stride < 0)  # noqa: B905
    return np.ndarray(shape, np.float64, memory, first, strides)


@pytest.mark.parametrize(
    ("n", "shape", "strides"),
    [
        (1, (5,), (0,)),
        (9, (5, 5), (8, 8)),
        (9, (5, 5), (-8, 8)),
        (2, (3,), (4,)),  # half of each element is the next one's
        (20, (3, 3), (24, 24)),
        (13, (3, 4), (24, 16)),  # 48 is two steps and three
        (1_000_000, (900_000, 1_000), (8, 8)),
    ],
)
def test_an_output_whose_elements_share_memory_is_refused(
    n: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    out = strided(n, shape, strides)
    with pytest.raises(ValueError, match="shares memory with itself"):
        kernel.call_price(np.broadcast_to(100.0, shape), 100.0, 1.0, 0.0, 0.2, out=out)


@pytest.mark.parametrize(
    ("n", "shape", "strides"),
    [
        (25, (5, 5), (8, 40)),
        (50, (5, 5), (-80, 16)),
        (12, (2, 3, 2), (48, 16, -8)),
        (8, (2, 3), (24, 16)),  # 0 2 4 and 3 5 7: between each other's steps
        (14, (4, 3), (24, 16)),
        (9, (1, 5), (0, 16)),
        (0, (0, 5), (8, 8)),
    ],
)
def test_an_output_in_any_order_is_filled(
    n: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    spot = np.linspace(90.0, 110.0, max(1, np.prod(shape)))[: np.prod(shape)].reshape(shape)
    out = strided(n, shape, strides)
    assert kernel.call_price(spot, 100.0, 1.0, 0.0, 0.2, out=out) is out
    np.testing.assert_array_equal(out, kernel.call_price(spot, 100.0, 1.0, 0.0, 0.2))


def test_an_output_may_be_reshaped_while_it_is_filled() -> None:
    arguments = [x.reshape(500, 400) if np.ndim(x) else x for x in options(200_000)]
    expected = kernel.call_price(*arguments)
    wide = np.zeros((500, 400, 2))
    stop = threading.Event()
    outs = [wide[..., 0]]

    def reshape() -> None:
        while not stop.is_set():
            for shape in ((500, 400, 1, 1, 1, 1), (500, 400)):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)
                    outs[0].shape = shape

    thread = threading.Thread(target=reshape)
    thread.start()
    priced = 0
    try:
        while priced < 20:
            try:
                kernel.call_price(*arguments, out=outs[0])
            except ValueError as error:
                assert "shape" in str(error)  # noqa: PT017  # it had the other one at that moment
            else:
                priced += 1
    finally:
        stop.set()
        thread.join()
    np.testing.assert_array_equal(wide[..., 0], expected)
    assert not wide[..., 1].any()


@pytest.mark.parametrize(
    ("arguments", "out", "error", "message"), REFUSED.values(), ids=REFUSED.keys()
)
@pytest.mark.parametrize("name", ["call_price", "put_price", "call_price_twin"])
def test_bad_arguments_are_refused_with_their_shapes(
    name: str, arguments: tuple[Any, ...], out: object, error: type[Exception], message: str
) -> None:
    before = None if out is None else np.array(out, copy=True)
    with pytest.raises(error, match=message):
        getattr(kernel, name)(*arguments, out=out)
    if before is not None:
        np.testing.assert_array_equal(out, before)


def test_the_plain_kernel_refuses_too() -> None:
    spot, strike, time, rate, volatility = options(5)
    with pytest.raises(ValueError, match=r"one length.*strike 4"):
        kernel.call_price_plain(spot, strike[:4], time, rate, volatility)
    with pytest.raises(ValueError, match="out"):
        kernel.call_price_plain(spot, strike, time, rate, volatility, out=spot)
    with pytest.raises(ValueError, match=r"one length.*strike 1"):
        kernel.call_price_list([1.0, 2.0], [1.0], [1.0, 1.0], 0.0, [0.2, 0.2])
    with pytest.raises(TypeError):
        kernel.call_price_list(["1"], [1.0], [1.0], 0.0, [0.2])


INTERRUPTED = """
import signal, sys
import numpy as np, perfkit_kernel as kernel

class Interrupted(Exception):
    pass

def interrupt(*_):
    raise Interrupted

kernel.set_path("portable")
step = int(sys.argv[1])
out = np.full((8000, 5000 * step), -1.0)[:, ::step]
spot, strike = np.linspace(50.0, 150.0, 8000)[:, None], np.linspace(50.0, 150.0, 5000)
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.02)
try:
    kernel.call_price(spot, strike, 1.0, 0.03, 0.2, out=out)
except Interrupted:
    assert np.isnan(out).all()
    assert out.base is None or step == 1 or (out.base[:, 1::step] == -1.0).all()
    sys.exit(0)
sys.exit("the call went on to its end")
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("step", [1, 2], ids=["contiguous", "strided"])
def test_an_interrupt_ends_a_long_call_and_leaves_nothing_that_looks_whole(
    threads: int, step: int
) -> None:
    # 40 million options on the slowest path: long against what a call takes to look, however many
    # cores there are.
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    command = [sys.executable, "-c", INTERRUPTED, str(step)]
    subprocess.run(command, env=environment, timeout=60, check=True)


ANOTHER_THREAD = """
import threading, time
import numpy as np, perfkit_kernel as kernel

kernel.set_path("portable")
spot = np.linspace(50.0, 150.0, 20_000_000)
out = np.empty_like(spot)
ran_at, stop = [], threading.Event()

def note_times():
    while not stop.wait(0.001):
        ran_at.append(time.perf_counter())

thread = threading.Thread(target=note_times)
thread.start()
begin = time.perf_counter()
kernel.call_price(spot, 100.0, 1.0, 0.03, 0.2, out=out)
end = time.perf_counter()
stop.set()
thread.join()
# A thread may get a turn just before and just after a call that keeps the interpreter.
assert [at for at in ran_at if begin + 0.02 < at < end - 0.02], (begin, ran_at, end)
"""


def test_other_threads_run_while_a_call_prices() -> None:
    environment = {**os.environ, "RAYON_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", ANOTHER_THREAD], env=environment, timeout=60, check=True)


FORKED = """
import os, sys, warnings
import numpy as np, perfkit_kernel as kernel
warnings.simplefilter("ignore")
price = getattr(kernel, sys.argv[1])
n = 300_000
arguments = [np.linspace(50.0, 150.0, n), np.full(n, 100.0), np.ones(n), 0.03, np.full(n, 0.2)]
expected = price(*arguments)
child = os.fork()
if child == 0:
    equal = np.array_equal(price(*arguments), expected)
    os._exit(0 if equal and kernel.plan(n)[3] == 0 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("name", ["call_price", "call_price_plain"])
def test_a_forked_child_without_the_pools_threads_still_prices(name: str) -> None:
    environment = {**os.environ, "RAYON_NUM_THREADS": "2"}
    command = [sys.executable, "-c", FORKED, name]
    done = subprocess.run(command, env=environment, timeout=60, check=False)
    assert done.returncode == 0


THREADLESS = """
import os, resource, sys, threading
import numpy as np, perfkit_kernel as kernel
if os.getuid() == 0:  # whom the limit does not hold for
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
try:
    threading.Thread(target=print).start()
except RuntimeError:
    pass
else:
    sys.exit("threads can be started here")
n = 300_000
column = np.linspace(50.0, 150.0, n)
arguments = [column, np.full(n, 100.0), np.ones(n), 0.03, np.full(n, 0.2)]
alone = [kernel.call_price(*(x[i] if np.ndim(x) else x for x in arguments)) for i in (0, n - 1)]
for price in kernel.call_price, kernel.call_price_plain:
    # Not numpy.testing: who this is now may not be allowed to import what is not loaded yet.
    assert np.allclose(price(*arguments)[[0, -1]], alone, rtol=1e-9, atol=1e-10)
assert kernel.plan(n)[3] == 0
"""


def test_a_process_that_cannot_have_threads_still_prices() -> None:
    environment = {**os.environ, "RAYON_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", THREADLESS], env=environment, timeout=60, check=True)


def test_calls_from_many_threads_do_not_disturb_each_other() -> None:
    inputs = [options(SHARED, seed) for seed in range(8)]
    expected = [kernel.call_price(*arguments) for arguments in inputs]
    wrong: list[int] = []

    def work(index: int) -> None:
        prices = [kernel.call_price(*inputs[index]) for _ in range(20)]
        wrong.extend(index for price in prices if not np.array_equal(price, expected[index]))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_constants_are_read_back_and_decide_the_plans() -> None:
    values = kernel.parameters()
    small, medium = values["PARALLEL_THRESHOLD_SMALL"], values["PARALLEL_THRESHOLD_MEDIUM"]
    assert values["CHUNK_SIZE_L1"] == values["L1_CACHE_SIZE"] // 8 // 4
    assert kernel.plan_plain(small - 1) == ("sequential", small - 1, 1)
    assert kernel.plan_plain(small)[:2] == ("chunked", values["CHUNK_SIZE_L1"])
    assert kernel.plan_plain(medium)[0] == "per_thread"
    threshold, chunk = values["FAST_PARALLEL_THRESHOLD"], values["FAST_CHUNK_SIZE"]
    assert kernel.plan(threshold - 1)[0] == "sequential"
    branch, smaller, pieces, _ = kernel.plan(threshold)
    assert (branch, pieces) == ("shared", -(-threshold // smaller))
    assert smaller <= chunk
    large = max(threshold, 1_000 * chunk)
    assert kernel.plan(large)[:3] == ("shared", chunk, 1_000)


def test_the_build_says_what_it_is() -> None:
    info = kernel.build_info()
    assert set(info) == {"version", "profile", "opt_level", "target_features"}
    assert info["version"] == kernel.__version__
    assert info["profile"] in ("debug", "release")
    assert kernel.path() in kernel.paths()
    with pytest.raises(ValueError, match="portable"):
        kernel.set_path("no such path")


def test_the_wheel_runs_on_every_processor_of_its_kind() -> None:
    # What the processor at hand has more is used by the functions that ask for it when they run;
    # `-C target-cpu=native` would put it everywhere.
    least = {"x86_64": "sse2", "aarch64": "neon"}[platform.machine()]
    assert kernel.build_info()["target_features"] == least


def test_the_timed_call_prices_and_takes_no_longer_inside_than_outside() -> None:
    arguments = options(10_000)
    for timed, call in (
        (kernel.call_price_timed, kernel.call_price),
        (kernel.call_price_plain_timed, kernel.call_price_plain),
    ):
        prices, inside = timed(*arguments)
        np.testing.assert_array_equal(prices, call(*arguments))
        assert inside > 0.0


def test_twins_have_the_signature_and_the_kind_of_result() -> None:
    arguments = options(10)
    for name in ("call_price", "call_price_plain", "call_price_list"):
        call, twin = getattr(kernel, name), getattr(kernel, f"{name}_twin")
        assert call.__text_signature__ == twin.__text_signature__
        if name == "call_price_list":
            lists = [x.tolist() if isinstance(x, np.ndarray) else x for x in arguments]
            assert twin(*lists) == [0.0] * 10
        else:
            assert twin(*arguments).shape == (10,)
            out = np.full(10, -1.0)
            assert twin(*arguments, out=out) is out
            np.testing.assert_array_equal(out, np.full(10, -1.0))


def test_the_stub_names_what_the_module_has(repository: Path) -> None:
    stub = ast.parse((repository / "kernel" / "perfkit_kernel.pyi").read_text())
    functions = {node.name: node.args for node in stub.body if isinstance(node, ast.FunctionDef)}
    assert set(functions) == {name for name in dir(kernel) if callable(getattr(kernel, name))}
    for name, arguments in functions.items():
        names = [argument.arg for argument in arguments.args + arguments.kwonlyargs]
        assert list(inspect.signature(getattr(kernel, name)).parameters) == names

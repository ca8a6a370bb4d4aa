"""The kernel's Python functions: layouts, dtypes, refusals, threads, interrupts, read-back."""

from __future__ import annotations

import ast
import inspect
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import perfkit_kernel as kernel
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

pytestmark = pytest.mark.integration


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


@pytest.fixture
def slow_path() -> Iterator[None]:
    """The slowest instruction set, for calls that must take a while."""
    kernel.set_path("portable")
    yield
    kernel.set_path(None)


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 1000, 9_999, 10_000, 123_457])
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
    arguments = options(20_011)
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
    arguments = options(30_000)
    expected = kernel.call_price(*arguments)
    backing = np.full(60_001, -1.0)
    for out in (np.empty(30_000), backing[1::2], backing[:-1][::-2]):
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
    "out repeats": (
        FIVE,
        np.lib.stride_tricks.as_strided(np.zeros(1), (5,), (0,)),
        ValueError,
        "shares memory with itself",
    ),
}


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


class Interrupted(Exception):
    """What the signal handler of the test raises."""


@pytest.mark.usefixtures("slow_path")
def test_an_interrupt_ends_a_long_call_and_leaves_nothing_that_looks_whole() -> None:
    def interrupt(*_: object) -> NoReturn:
        raise Interrupted

    out = np.full((8000, 5000), -1.0)  # 40 million options: some 0.3 s on two cores
    spot, strike = np.linspace(50.0, 150.0, 8000)[:, None], np.linspace(50.0, 150.0, 5000)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(Interrupted):
            kernel.call_price(spot, strike, 1.0, 0.03, 0.2, out=out)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert np.isnan(out).all()


@pytest.mark.usefixtures("slow_path")
def test_other_threads_run_while_a_call_prices() -> None:
    ran_at: list[float] = []
    stop = threading.Event()

    def note_times() -> None:
        while not stop.wait(0.001):
            ran_at.append(time.perf_counter())

    spot = np.linspace(50.0, 150.0, 20_000_000)
    out = np.empty_like(spot)
    thread = threading.Thread(target=note_times)
    thread.start()
    begin = time.perf_counter()
    kernel.call_price(spot, 100.0, 1.0, 0.03, 0.2, out=out)
    end = time.perf_counter()
    stop.set()
    thread.join()
    # A thread may get a turn just before and just after a call that keeps the interpreter.
    assert [at for at in ran_at if begin + 0.02 < at < end - 0.02]


def test_a_forked_child_without_the_pools_threads_still_prices() -> None:
    script = """
import os, sys, warnings
import numpy as np, perfkit_kernel as kernel
warnings.simplefilter("ignore")
spot = np.linspace(50.0, 150.0, 300_000)
expected = kernel.call_price(spot, 100.0, 1.0, 0.03, 0.2)
child = os.fork()
if child == 0:
    equal = np.array_equal(kernel.call_price(spot, 100.0, 1.0, 0.03, 0.2), expected)
    os._exit(0 if equal else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", script], timeout=60, check=False)
    assert done.returncode == 0


def test_calls_from_many_threads_do_not_disturb_each_other() -> None:
    inputs = [options(50_000, seed) for seed in range(8)]
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
    assert kernel.plan(threshold)[:3] == ("shared", chunk, -(-threshold // chunk))


def test_the_build_says_what_it_is() -> None:
    info = kernel.build_info()
    assert set(info) == {"version", "profile", "opt_level", "target_features"}
    assert info["version"] == kernel.__version__
    assert info["profile"] in ("debug", "release")
    assert kernel.path() in kernel.paths()
    with pytest.raises(ValueError, match="portable"):
        kernel.set_path("no such path")


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

"""The known failures of builds: each text leads to its remedy, and rustc's words stay."""

from __future__ import annotations

import re

import pytest

from perfkit.subject import remedies

# What the tools print, as users report it; one for each entry of the table, in its order.
TEXTS = [
    "💥 maturin failed\n  Caused by: --include-debuginfo cannot be used with --strip",
    "Both VIRTUAL_ENV and CONDA_PREFIX are set. Please unset one of them",
    "💥 maturin failed\n  Caused by: Couldn't find a virtualenv or conda environment, but you need",
    "error: unexpected argument '--compression-method' found",
    "error: failed to open: /cache/target/release/.cargo-lock\n\nCaused by:\n"
    "  Permission denied (os error 13)",
    "error: failed to write /cache/target/x: No space left on device (os error 28)",
    "error: could not compile `demo` (lib)\n\nCaused by:\n  process didn't exit successfully: "
    "`rustc --crate-name demo` (signal: 9, SIGKILL: kill)",
    "rust-lld: error: undefined symbol: PyObject_GC_UnTrack",
    "bench: error while loading shared libraries: libpython3.13.so.1.0: cannot open shared object",
    "error: the configured Python interpreter version (3.15) is newer than PyO3's maximum "
    "supported version (3.14)",
    "error: no matching package named `nosuch` found",
    "error: failed to load manifest for dependency `core`\n\nCaused by:\n"
    "  failed to read `/cache/core/Cargo.toml`\n\nCaused by:\n"
    "  No such file or directory (os error 2)",
    "error: no bench target named `bench_stuff` in default-run packages",
    "error: the package 'demo' does not contain this feature: nosuch",
    "error: profile `nosuch` is not defined",
    "error: linker `cc` not found",
    "error: rustc 1.70.0 is not supported by the following package:\n"
    "  demo@0.1.0 requires rustc 1.85",
    "error: toolchain '1.60.0-x86_64-unknown-linux-gnu' is not installed",
]


def test_every_entry_has_its_text() -> None:
    assert len(TEXTS) == len(remedies.TABLE)


@pytest.mark.parametrize(("text", "entry"), list(zip(TEXTS, remedies.TABLE, strict=True)))
def test_a_known_text_leads_to_its_own_remedy(text: str, entry: remedies.Remedy) -> None:
    assert remedies.explain(f"   Compiling demo v0.1.0\n{text}\n") is entry
    assert entry.means
    assert entry.remedy


@pytest.mark.parametrize(
    "text",
    [
        "undefined reference to `PyExc_TypeError'",
        "undefined reference to `_Py_Dealloc'",
        "Undefined symbols: _Py_IsInitialized",
    ],
)
def test_each_linker_names_missing_python_symbols_in_its_own_way(text: str) -> None:
    found = remedies.explain(text)
    assert found is not None
    assert "extension-module" in found.means


@pytest.mark.parametrize(
    "text",
    ["", "error[E0308]: mismatched types", "warning: unused variable: `permission`"],
)
def test_an_ordinary_error_has_no_remedy_but_its_own_text(text: str) -> None:
    assert remedies.explain(text) is None


def test_the_first_error_is_kept_whole() -> None:
    error = "error[E0308]: mismatched types\n --> src/lib.rs:3:5\n  |\n3 |     true"
    output = f"   Compiling demo v0.1.0\nwarning: unused\n{error}\n"
    assert remedies.error_text(output) == error


def test_output_without_an_error_line_is_shown_as_it_is() -> None:
    assert remedies.error_text("nothing to say\n") == "nothing to say"


def test_the_beginning_of_a_long_error_is_kept() -> None:
    text = remedies.error_text("error: first\n" + "x" * 100_000)
    assert text.startswith("error: first\n")
    assert text.endswith("…")
    assert len(text) < 10_000


def test_every_pattern_compiles_and_is_not_trivial() -> None:
    for entry in remedies.TABLE:
        assert re.search(entry.pattern, "Finished release profile") is None

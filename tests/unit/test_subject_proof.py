"""What is proved by the rustc lines of a build."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from perfkit.errors import BuildError
from perfkit.subject import proof, rustc

if TYPE_CHECKING:
    from perfkit.subject.rustc import RustcLine


def line(*words: str) -> RustcLine:
    return rustc.read_line(("rustc", "--crate-name", "demo", *words))


def test_a_release_build_without_optimisation_is_refused() -> None:
    with pytest.raises(BuildError, match="without optimisation") as caught:
        proof.optimisation(line(), "release")
    assert "opt-level" in caught.value.remedy


def test_a_profile_that_the_user_named_may_be_unoptimised() -> None:
    assert [note.id for note in proof.optimisation(line(), "dev")] == ["debug-build"]
    assert proof.optimisation(line("-Copt-level=1"), "release") == ()


RELEASE = (
    "-C opt-level=3 -C metadata=aaaaaaaaaaaaaaaa --out-dir /c/p/target/0123456789ab/release/deps "
    "-C strip=debuginfo "
    "--extern core=/c/p/target/0123456789ab/release/deps/libcore-0123456789abcdef.rlib"
)
PROFILING = (
    "-C opt-level=3 -C debuginfo=line-tables-only -C metadata=bbbbbbbbbbbbbbbb "
    "--out-dir /c/p/target/ba9876543210/release/deps "
    "--extern core=/c/p/target/ba9876543210/release/deps/libcore-fedcba9876543210.rlib "
    "-Cforce-frame-pointers=yes -Cllvm-args=-enable-shrink-wrap=false"
)


def differences(left: str, right: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return proof.differences(line(*left.split()), line(*right.split()))


def test_a_profiling_line_differs_only_in_what_was_added() -> None:
    assert differences(RELEASE, PROFILING) == ((), ())
    assert proof.profiling_lacks(line(*PROFILING.split())) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("opt-level=3", "opt-level=2"), (("-Copt-level=3",), ("-Copt-level=2",))),
        (("-C opt-level=3", "-C opt-level=3 -C lto=fat"), ((), ("-Clto=fat",))),
        (("-C opt-level=3", "-C opt-level=3 --cfg other"), ((), ("--cfg", "other"))),
        (("libcore-", "libmore-"), None),
        (("release/deps/libcore", "other/libcore"), None),
    ],
)
def test_any_other_difference_is_seen(
    change: tuple[str, str], expected: tuple[tuple[str, ...], tuple[str, ...]] | None
) -> None:
    found = differences(RELEASE, PROFILING.replace(*change))
    assert found != ((), ())
    if expected is not None:
        assert found == expected


@pytest.mark.parametrize(
    ("change", "lack"),
    [
        (("-Cforce-frame-pointers=yes", ""), "force-frame-pointers"),
        (("-Cllvm-args=-enable-shrink-wrap=false", ""), "shrink-wrap"),
        (("line-tables-only", "0"), "debuginfo"),
        (
            ("-Cforce-frame-pointers=yes", "-Cforce-frame-pointers=yes -Cforce-frame-pointers=no"),
            "no",
        ),
        (("-C opt-level=3", "-C strip=symbols"), "strip"),
    ],
)
def test_a_profiling_line_without_its_flags_is_seen(change: tuple[str, str], lack: str) -> None:
    lacks = proof.profiling_lacks(line(*PROFILING.replace(*change).split()))
    assert len(lacks) == 1
    assert lack in lacks[0]

"""The build audit, from rustc lines as cargo prints them."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_subject_rustc import DEBUG, RELEASE

from perfkit.checks.audit import (
    BinaryFacts,
    audit,
    bench_flags,
    different_flags,
    subject_line,
)
from perfkit.records import Build, Check, Profile
from perfkit.subject.rustc import parse_line

CORE = "rustc --crate-name my_core --edition=2021 core/src/lib.rs --crate-type lib -C opt-level=3"


def build(*lines: str, file: str = "my_ext.abi3.so") -> Build:
    return Build(
        key="k",
        root=Path("root"),
        module="pkg.my_ext",
        module_file=Path("root") / file,
        file_sha256="0",
        text_sha256="0",
        profile=Profile.RELEASE,
        params={},
        proofs=(),
        opt_level="",
        rustc=lines,
        build_s=1.0,
        cached=False,
    )


def by_id(checks: tuple[Check, ...]) -> dict[str, Check]:
    return {check.id: check for check in checks}


def test_the_cdylib_is_the_subject() -> None:
    line = subject_line((CORE, RELEASE), "pkg.my_ext")
    assert line is not None
    assert line.crate == "my_ext"
    assert subject_line((CORE,), "pkg.my_ext") is None


def test_a_good_build_has_nothing_to_say_against_it() -> None:
    checks = audit(build(CORE, RELEASE), BinaryFacts(stripped=False, debug_info=True))
    assert [check for check in checks if not check.ok] == []
    assert by_id(checks)["build.abi3"].found.startswith("abi3")


def test_a_debug_build_is_named() -> None:
    checks = by_id(audit(build(DEBUG, file="my_ext.cpython-311-x86_64-linux-gnu.so")))
    assert not checks["build.optimised"].ok
    assert "--release" in checks["build.optimised"].remedy
    assert not checks["build.debug_assertions"].ok
    assert "one version" in checks["build.abi3"].found


@pytest.mark.parametrize("level", ["s", "z"])
def test_a_build_for_size_is_named_but_is_somebodys_choice(level: str) -> None:
    line = RELEASE.replace("opt-level=3", f"opt-level={level}")
    check = by_id(audit(build(line)))["build.optimised"]
    assert not check.ok


def test_release_with_checks_is_named() -> None:
    assert "build.overflow_checks" in by_id(audit(build(f"{RELEASE} -C overflow-checks=on")))
    assert "build.debug_assertions" in by_id(audit(build(f"{RELEASE} -C debug-assertions=on")))


def test_default_codegen_units_and_no_lto_are_named() -> None:
    line = "rustc --crate-name my_ext --crate-type cdylib -C opt-level=3"
    checks = by_id(audit(build(line)))
    assert checks["build.codegen_units"].found == "16 codegen units"
    assert not checks["build.codegen_units"].ok
    assert not checks["build.lto"].ok


def test_a_wheel_without_rustc_lines_is_not_guessed_at() -> None:
    checks = by_id(audit(build(), BinaryFacts(stripped=True, debug_info=False)))
    assert not checks["build.flags"].ok
    assert "build.optimised" not in checks
    assert not checks["build.symbols"].ok


def test_flags_that_change_the_code_are_compared_and_others_are_not() -> None:
    one = parse_line(RELEASE)
    same = parse_line(RELEASE.replace("-C metadata=5ff", "-C metadata=777 -C debuginfo=1"))
    other = parse_line(RELEASE.replace("lto=thin", "lto=fat") + " -C target-cpu=native")
    assert different_flags(one, same) == ()
    assert different_flags(one, other) == ("lto: thin | fat", "target-cpu: default | native")


def test_the_lto_of_a_bench_is_that_of_its_own_line() -> None:
    library = (
        "rustc --crate-name my_ext --crate-type rlib -C opt-level=3 -C linker-plugin-lto "
        "-C codegen-units=1"
    )
    bench = "rustc --crate-name speed benches/speed.rs -C opt-level=3 -C lto=thin"
    assert bench_flags((library, bench), (RELEASE,), "pkg.my_ext") == ()
    beside = "rustc --crate-name my_ext --crate-type cdylib -C opt-level=3"
    assert bench_flags((library, beside, bench), (RELEASE,), "pkg.my_ext") == ()
    fat = bench.replace("thin", "fat")
    assert bench_flags((library, fat), (RELEASE,), "pkg.my_ext") == ("lto: thin | fat",)
    slow = library.replace("-C codegen-units=1", "")
    found = bench_flags((slow, bench), (RELEASE,), "pkg.my_ext")
    assert found == ("codegen-units: 1 | default",)


def test_a_bench_of_the_core_crate_is_compared_by_the_core_crate() -> None:
    bench = "rustc --crate-name speed benches/speed.rs -C opt-level=3 -C lto=thin"
    build_lines = (CORE, RELEASE)
    assert bench_flags((CORE, bench), build_lines, "pkg.my_ext") == ()
    sized = CORE.replace("opt-level=3", "opt-level=s")
    assert bench_flags((sized, bench), build_lines, "pkg.my_ext") == ("opt-level: 3 | s",)


def test_a_bench_of_other_crates_is_no_bench_of_the_extension() -> None:
    bench = "rustc --crate-name speed benches/speed.rs -C opt-level=3"
    found = bench_flags((bench,), (RELEASE,), "pkg.my_ext")
    assert found == ("the bench compiles none of: my_ext",)
    unknown = bench_flags((bench,), (), "pkg.my_ext")
    assert unknown == ("the extension's own flags are not known",)


def test_the_threads_of_the_pools_and_the_quota_are_named() -> None:
    variables = {"RAYON_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "2"}
    checks = by_id(audit(build(RELEASE), threads={**variables, "HOME": "x"}, quota_cores=1.5))
    assert (
        checks["build.threads"].found == "threads under perfkit: 2 for rayon, omp; 1 for openblas"
    )
    assert checks["build.quota"].found == "CPU quota of the control group: 1.5 cores"
    assert "no quota" in by_id(audit(build(RELEASE)))["build.quota"].found

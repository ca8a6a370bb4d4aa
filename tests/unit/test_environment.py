"""What child processes see, and which cores there really are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from perfkit import environment

if TYPE_CHECKING:
    from pathlib import Path


def test_children_get_the_whitelist_and_nothing_else() -> None:
    environ = {"PATH": "/bin", "SECRET": "1", "RUSTFLAGS": "-C debuginfo=2", "MINE": "yes"}
    child = environment.base_environment(environ, extra={"A": "b"}, passed=("MINE",))
    assert child == {"PATH": "/bin", "MINE": "yes", "LC_ALL": "C", "A": "b"}


def test_the_same_inputs_give_the_same_bytes() -> None:
    one = {"PATH": "/bin", "HOME": "/h", "TMPDIR": "/t"}
    two = dict(reversed(one.items()))
    assert list(environment.base_environment(one, extra={}).items()) == list(
        environment.base_environment(two, extra={}).items()
    )


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_quota_of_both_cgroup_versions(
    tmp_path: Path, files: dict[str, str], cores: float | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="ascii")
    assert environment.quota_cores(tmp_path) == cores


def test_every_known_pool_is_pinned() -> None:
    pinned = environment.thread_environment(3)
    assert {pinned[name] for name in environment.THREAD_VARIABLES} == {"3"}
    assert pinned["OMP_WAIT_POLICY"] == "passive"


def test_fingerprints_name_what_differs() -> None:
    facts = {
        "cpu": "a",
        "cores": 2,
        "usable_cores": 2,
        "quota_cores": None,
        "memory_bytes": 1,
        "governor": None,
        "system": "Linux",
        "python": "3.11.7",
        "implementation": "cpython",
        "rustc": "rustc 1",
        "toolkit": "0",
    }
    one = environment.Fingerprint(**facts)  # type: ignore[arg-type]
    two = environment.Fingerprint(**{**facts, "cores": 4})  # type: ignore[arg-type]
    assert one.key != two.key
    assert one.differences(two) == ["cores: 2 | 4"]
    assert one.differences(one) == []

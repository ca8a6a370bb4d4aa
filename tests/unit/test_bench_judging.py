"""The exit codes of the kernel's benches: met, missed, and no verdict, which is neither."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def judge(repository: Path) -> Any:  # noqa: ANN401
    """A judge on a machine that is idle."""
    path = repository / "benches" / "judging.py"
    spec = importlib.util.spec_from_file_location("bench_judging", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.Judge()
    made.idleness.others_share = lambda: 0.01
    return made


def test_limits_that_are_met_end_with_0(judge: Any, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ANN401
    assert judge.hold("ratio", 6.0, 6.0) == ""
    assert judge.hold("share", 0.02, 0.02, most=True) == ""
    assert judge.verdict() == 0
    assert "missed" not in capsys.readouterr().out


def test_a_limit_that_is_missed_ends_with_3(
    judge: Any,  # noqa: ANN401
    capsys: pytest.CaptureFixture[str],
) -> None:
    judge.leave_open("another")
    assert judge.hold("ratio", 5.9, 6.0) == "!"
    assert judge.hold("share", 0.021, 0.02, most=True) == "!"
    assert judge.verdict() == 3
    assert "missed: ratio: 5.9, limit 6" in capsys.readouterr().out


def test_what_was_not_judged_does_not_pass(judge: Any) -> None:  # noqa: ANN401
    assert judge.leave_open("10M: left out") == "?"
    assert judge.verdict() == 4


@pytest.mark.parametrize("others", [0.06, -0.06])
def test_a_busy_machine_has_no_verdict(judge: Any, others: float) -> None:  # noqa: ANN401
    judge.hold("ratio", 5.9, 6.0)
    judge.idleness.others_share = lambda: others
    assert judge.verdict() == 4

"""The worker's own sampler: how its copies of stacks become perf's text, and what is said of it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from perfkit import _engine
from perfkit.errors import CaptureError, ToolMissingError, UnreadableOutputError
from perfkit.profile import analyse, messages, sigprof
from perfkit.profile.perf_record import RecordSettings
from perfkit.profile.profilers import FALLBACK, profilers
from perfkit.profile.sigprof import EVENT, NAME, SIGPROF
from perfkit.stacks import perf_script
from perfkit.stacks.split import CALLING_THREAD, OTHER_THREADS
from perfkit.subject.child import _named

MAIN, OTHER = 70, 71
SETTINGS = RecordSettings(rate_hz=97, event=EVENT)


def copies(place: Path, *samples: tuple[int, float, int], maps: str = "") -> Path:
    """A file of the sampler: for each sample its thread, its second, and where the code was."""
    path = place / "x.sigprof.data"
    head = f"perfkit-copies 1 x86_64 {MAIN}\n{maps}\n".encode()
    rows = [
        struct.pack("=QIIQQQQQ", round(at * 1e9), tid, 0, pc, 0x7000, 0, 0, 0)
        for tid, at, pc in samples
    ]
    path.write_bytes(head + bytes(16) + b"".join(rows))
    return path


def test_samples_become_stacks_of_their_thread_and_window(tmp_path: Path) -> None:
    data = copies(tmp_path, (MAIN, 1.0, 0x10), (OTHER, 1.5, 0x20), (MAIN, 3.0, 0x10))
    script = tmp_path / "x.sigprof.txt"
    assert SIGPROF.write_script(SETTINGS, data, script, {}) == ""
    windows = [perf_script.Window(begin=0.5, end=2.0)]
    found = perf_script.fold(script, pid=MAIN, windows=windows, main_tid=MAIN)
    assert found.event == EVENT
    assert (found.samples, found.outside, found.unresolved) == (2, 1, 2)
    assert {stack[0] for stack, _ in found.stacks} == {CALLING_THREAD, OTHER_THREADS}


def test_frames_have_the_names_and_places_of_their_file(tmp_path: Path) -> None:
    """This process's own engine, as it is mapped here: the entry of its module has a name."""
    engine = Path(_engine.__file__)
    line = next(
        line
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith(str(engine)) and "r-xp" in line
    )
    script = tmp_path / "x.txt"
    begin = int(line.partition("-")[0], 16)
    end = int(line.split()[0].partition("-")[2], 16)
    step = max(1, (end - begin) // 2000)
    asked = range(begin, end, step)
    data = copies(tmp_path, *((MAIN, 1.0, place) for place in asked), maps=f"{line}\n")
    _engine.unwind_copies(data, script)
    frames = [row for row in script.read_text().splitlines() if row.startswith("\t")]
    assert len(frames) == len(asked)
    assert all(row.endswith(f"({engine})") for row in frames)
    offset = int(line.split()[2], 16)
    places = perf_script.places(script, str(engine))
    assert places == [place - begin + offset for place in asked]


def test_a_file_that_was_cut_is_refused_by_name(tmp_path: Path) -> None:
    data = copies(tmp_path, (MAIN, 1.0, 0x10))
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(UnreadableOutputError, match="ends within a sample"):
        SIGPROF.write_script(SETTINGS, data, tmp_path / "x.txt", {})
    assert not (tmp_path / "x.txt").exists()


def test_a_recording_without_samples_is_named(tmp_path: Path) -> None:
    script = tmp_path / "x.txt"
    SIGPROF.write_script(SETTINGS, copies(tmp_path), script, {})
    with pytest.raises(CaptureError, match="no sample"):
        perf_script.fold(script)


def test_what_is_missing_is_counted_and_explained() -> None:
    said = sigprof._said(7) + "3 threads got no timer\n"
    assert messages.lost_samples(said, 100) == 7
    assert [note.id for note in messages.notes(NAME, said)] == [
        "sigprof.lost_periods",
        "sigprof.threads_refused",
    ]
    assert sigprof._said(0) == ""


def test_the_rate_stays_below_the_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sigprof.time, "clock_getres", lambda _clock: 0.004)
    assert 240 < SIGPROF.highest_hz < 250


def test_a_system_without_the_sampler_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_engine, "sampler_library", lambda: b"")
    settings = RecordSettings(rate_hz=97, event=EVENT)
    with (
        pytest.raises(ToolMissingError, match="Linux on x86-64 or ARM64") as caught,
        SIGPROF.attached(None, settings, tmp_path / "x", {}),  # type: ignore[arg-type]
    ):
        pass
    assert "py-spy" in caught.value.remedy


def test_a_worker_that_cannot_load_it_is_a_missing_tool() -> None:
    told = {"kind": "sampler", "message": "cannot load", "where": "python", "details": ""}
    error = _named(told)
    assert isinstance(error, ToolMissingError)
    assert error.remedy


def test_it_follows_perf_and_its_stacks_are_native() -> None:
    assert FALLBACK.index("perf") < FALLBACK.index(NAME) < FALLBACK.index("py-spy")
    assert set(profilers) >= analyse.NATIVE
    assert NAME in analyse.NATIVE

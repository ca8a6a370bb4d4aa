"""What the reports say: figures with their intervals, verdicts withheld with their reason."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

import pytest
import report_records as records

from perfkit.records import (
    DiagnoseVerdict,
    Diagnosis,
    Interval,
    MeasureReport,
    MeasureVerdict,
    Note,
    Pattern,
    Place,
    ProfileReport,
    Saving,
    SizeSplit,
    TuneStatus,
)
from perfkit.report import console, markdown
from perfkit.report.diagnosis import boundary_blocks, diagnose_page
from perfkit.report.doctoring import doctor_page
from perfkit.report.measuring import change_text, measure_page, met_text
from perfkit.report.page import Bullets, Column, Page, Paragraph, Table, Verdict
from perfkit.report.profiling import profile_page
from perfkit.report.tuning import tune_page
from perfkit.report.words import note_text, ratio_interval, seconds, time_interval, value_text

GOLDEN = Path(__file__).parent.parent / "data" / "report"

PAGES = {
    "measure": measure_page(records.MEASURED),
    "profile": profile_page(records.PROFILED),
    "diagnose": diagnose_page(records.DIAGNOSIS),
    "tune": tune_page(records.TUNED),
    "doctor": doctor_page(records.CHECKS),
}


def golden(name: str, text: str) -> None:
    """Compare with the kept text; `PERFKIT_BLESS=1 pytest …` writes it anew."""
    path = GOLDEN / name
    if os.environ.get("PERFKIT_BLESS") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_console_at_80_columns_is_the_golden_text(name: str) -> None:
    text = console.render(PAGES[name], width=80, colour=False)
    assert max(map(len, text.splitlines())) <= 80
    golden(f"{name}.txt", text)


@pytest.mark.parametrize("name", PAGES)
def test_markdown_is_the_golden_text(name: str) -> None:
    golden(f"{name}.md", markdown.render(PAGES[name]))


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_word_is_lost_at_any_width(width: int) -> None:
    text = console.render(PAGES["diagnose"], width=width, colour=False)
    assert "convert_in" in text
    assert "PyReadonlyArray1" in text
    assert "48.0 %" in text


@pytest.mark.parametrize(
    ("name", "answers"),
    {
        "diagnose": ("disagree. ", "41.0 % of the call", "Seen: ", "Do: ", "Check: "),
        "measure": (
            "ok. ",
            "noise floor",
            "Target missed",
            "speed-up",
            "`perfkit diagnose -w price`",
        ),
        "profile": (
            "profiled. ",
            "slowdown",
            "shares hold",
            "flame/",
            "`perfkit diagnose -w price`",
        ),
    }.items(),
)
def test_the_first_screen_answers_what_why_what_to_do_and_how_sure(
    name: str, answers: tuple[str, ...]
) -> None:
    lines = console.render(PAGES[name], width=100, colour=False).splitlines()[:40]
    screen = " ".join(" ".join(lines).split())
    assert [answer for answer in answers if answer not in screen] == []


def test_colour_only_where_it_is_asked_for() -> None:
    assert "\x1b[" in console.render(PAGES["measure"], width=80, colour=True)
    assert "\x1b[" not in console.render(PAGES["measure"], width=80, colour=False)


def test_text_of_the_user_is_no_markup() -> None:
    page = Page(title="t", blocks=(Paragraph(text="[bold]x[/bold] :smile: [/]"),))
    assert "[bold]x[/bold] :smile: [/]" in console.render(page, width=80, colour=True)


def test_markdown_shows_frames_as_they_are() -> None:
    table = Table(columns=(Column(title="a|b"),), rows=(("Vec<f64>|_x_\n[1, 2]",),))
    page = Page(title="t", blocks=(table, Bullets(items=("one\ntwo",), ordered=True)))
    text = markdown.render(page)
    assert "| Vec\\<f64\\>\\|\\_x\\_ \\[1, 2\\] |" in text
    assert "1. one  \n   two" in text


def test_busy_shows_room_and_no_figure() -> None:
    report = dataclasses.replace(
        records.MEASURED,
        verdict=MeasureVerdict.BUSY,
        effective_cores=(0.9, 0.95, 1.3, 1.99),
    )
    text = console.render(measure_page(report), width=80, colour=False)
    assert text.startswith("busy. No verdict")
    assert "µs" not in text
    assert "0.75 to 1.00" in text
    assert "152 of 160" in text
    crowded = dataclasses.replace(report, effective_cores=(1.0, 1.01), foreign_cores=(0.9, 1.3))
    text = console.render(measure_page(crowded), width=80, colour=False)
    assert "Cores that other programs used" in text
    assert "1.25 to 1.50" in text
    assert "cores free" not in text


def first_sentence(diagnosis: Diagnosis) -> str:
    verdict = diagnose_page(diagnosis).blocks[0]
    assert isinstance(verdict, Verdict)
    return verdict.sentence


def bare(split: SizeSplit) -> SizeSplit:
    unknown = dataclasses.replace(split.ffi, agree=False, share=None)
    return dataclasses.replace(split, layers=(), ffi=unknown)


def test_a_diagnosis_says_what_agreed_and_what_did_not() -> None:
    agreed = dataclasses.replace(
        records.DIAGNOSIS, verdict=DiagnoseVerdict.OK, sizes=records.SPLITS[1:]
    )
    sentence = first_sentence(agreed)
    assert "two independent ways of measuring it agree on the FFI cost" in sentence
    assert "known within ten points" in sentence
    missing = dataclasses.replace(
        records.DIAGNOSIS,
        verdict=DiagnoseVerdict.UNCHECKED,
        sizes=(bare(records.SPLITS[0]), *records.SPLITS[1:]),
        measured=dataclasses.replace(records.MEASURED, verdict=MeasureVerdict.UNCHECKED),
    )
    sentence = first_sentence(missing)
    assert "no profile could be split at 1k" in sentence
    assert "the FFI cost at 1k has no second way" in sentence
    assert "the machine was quiet" in sentence
    bounded = dataclasses.replace(missing, verdict=DiagnoseVerdict.BOUNDED)
    assert "there is no profile to split at 1k" in first_sentence(bounded)
    untrusted = dataclasses.replace(missing, verdict=DiagnoseVerdict.UNTRUSTED)
    assert "two copies of the same build" in first_sentence(untrusted)


@pytest.mark.parametrize("verdict", DiagnoseVerdict)
def test_every_verdict_of_a_diagnosis_has_its_sentence(verdict: DiagnoseVerdict) -> None:
    shown = diagnose_page(dataclasses.replace(records.DIAGNOSIS, verdict=verdict)).blocks[0]
    assert isinstance(shown, Verdict)
    assert shown.word == verdict.value
    assert shown.sentence.endswith(".")
    assert "{" not in shown.sentence


def test_no_finding_without_a_profile_is_no_all_clear() -> None:
    quiet = dataclasses.replace(
        records.DIAGNOSIS, findings=(), sizes=tuple(map(bare, records.SPLITS))
    )
    text = markdown.render(diagnose_page(quiet))
    assert "from the rules that could run" in text
    assert "Found nothing that costs enough" not in text
    assert "No profile could be split, so nothing is known about the layers" in text
    assert "No sample fell into" not in text
    untrusted = dataclasses.replace(quiet, verdict=DiagnoseVerdict.UNTRUSTED)
    assert "Findings are withheld" in markdown.render(diagnose_page(untrusted))


def test_a_kernel_out_of_sight_is_not_a_kernel_without_page_faults() -> None:
    splits = records.SPLITS[:2]
    seen = markdown.render(
        diagnose_page(dataclasses.replace(records.DIAGNOSIS, sizes=splits, notes=()))
    )
    assert re.search(r"No sample fell into: .*page\\_fault", seen)
    note = Note(id="kernel_unseen", text="the kernel's own time was not visible")
    hidden = markdown.render(
        diagnose_page(dataclasses.replace(records.DIAGNOSIS, sizes=splits, notes=(note,)))
    )
    assert "could not be seen" in hidden
    assert not re.search(r"No sample fell into: .*page\\_fault", hidden)


def test_a_small_boundary_is_said_not_to_be_the_problem() -> None:
    small = dataclasses.replace(
        records.SPLITS[1].ffi, share=Interval(estimate=0.01, low=0.004, high=0.021)
    )
    split = dataclasses.replace(records.SPLITS[1], ffi=small)
    (_, bullets) = boundary_blocks([records.SPLITS[0], split, records.SPLITS[2]])
    assert isinstance(bullets, Bullets)
    assert bullets.items == (
        "price at 10k: the boundary is not the problem, it takes at most 2.1 % of the call.",
        "price at 100k: the boundary takes 45.0 % to 51.0 % of the call, most of it convert_in "
        "(30.0 %).",
    )
    assert boundary_blocks([records.SPLITS[0]]) == []


def test_untrusted_and_unchecked_say_what_stands_behind_them() -> None:
    words = {
        MeasureVerdict.UNTRUSTED: "identical copies",
        MeasureVerdict.UNCHECKED: "would not have been noticed",
    }
    for verdict, word in words.items():
        page = measure_page(dataclasses.replace(records.MEASURED, verdict=verdict))
        first = page.blocks[0]
        assert isinstance(first, Verdict)
        assert (first.word, word in first.sentence) == (verdict.value, True)


@pytest.mark.parametrize("verdict", [MeasureVerdict.UNTRUSTED, MeasureVerdict.UNCHECKED])
def test_a_change_without_a_verdict_behind_it_is_withheld(verdict: MeasureVerdict) -> None:
    change = Interval(estimate=1.2, low=1.19, high=1.21)
    results = tuple(dataclasses.replace(r, change=change) for r in records.MEASURED.results)
    report = dataclasses.replace(records.MEASURED, results=results)
    assert "| faster |" in markdown.render(measure_page(report))
    text = markdown.render(measure_page(dataclasses.replace(report, verdict=verdict)))
    assert "| faster |" not in text
    assert "| withheld |" in text


def test_empty_reports_have_a_page() -> None:
    empty = MeasureReport(verdict=MeasureVerdict.BUSY, noise_floor=None, results=())
    assert "busy" in markdown.render(measure_page(empty))
    unseen = ProfileReport(captures=())
    assert "No profiler could be started" in markdown.render(profile_page(unseen))
    nothing = dataclasses.replace(
        records.DIAGNOSIS,
        verdict=DiagnoseVerdict.BUSY,
        sizes=(),
        profilers=(),
        findings=(),
        recommendation=None,
        measured=None,
    )
    assert "Findings are withheld" in markdown.render(diagnose_page(nothing))
    failed = dataclasses.replace(
        records.TUNED, status=TuneStatus.FAILED, trials=(), best_params=None, confirmed=()
    )
    assert "**failed.**" in markdown.render(tune_page(failed))


@pytest.mark.parametrize(
    ("gain", "gains", "said"),
    [
        (Saving(at_most=0.63), "", "fixing it saves at most 63.0 % of the call's time."),
        (
            Saving(at_most=0.14, tried=Interval(estimate=0.12, low=0.1, high=0.14)),
            "",
            "when it was tried, fixing it saved 12.0 % [10.0, 14.0] of the call's time.",
        ),
        (None, "fixing it lets other threads run", "; fixing it lets other threads run."),
    ],
)
def test_a_gain_has_a_lower_end_only_if_it_was_tried(
    gain: Saving | None, gains: str, said: str
) -> None:
    found = dataclasses.replace(records.finding(0), predicted_gain=gain, gains=gains)
    page = diagnose_page(dataclasses.replace(records.DIAGNOSIS, findings=(found,)))
    text = console.render(page, width=500, colour=False)
    assert said in text
    assert text.count("fixing it") == 1


def test_only_three_findings_are_on_the_page() -> None:
    text = console.render(PAGES["diagnose"], width=80, colour=False)
    assert text.count("Check: ") == 3
    assert "2 more in diagnosis.json." in text


@pytest.mark.parametrize(
    ("low", "estimate", "high", "floor", "reading"),
    [
        (1.02, 1.03, 1.04, 0.01, "faster"),
        (1.001, 1.004, 1.007, 0.01, "no change seen"),
        (0.99, 1.03, 1.07, None, "no change seen"),
        (0.95, 0.96, 0.97, 0.01, "slower"),
        (0.991, 0.995, 0.999, 0.01, "no change seen"),
        (0.991, 0.995, 0.999, None, "slower"),
    ],
)
def test_a_change_must_clear_one_and_the_noise_floor(
    low: float, estimate: float, high: float, floor: float | None, reading: str
) -> None:
    assert change_text(Interval(estimate=estimate, low=low, high=high), floor) == reading


def test_a_target_without_a_verdict_is_withheld() -> None:
    assert [
        met_text(1.0, None),
        met_text(None, None),
        met_text(1.0, True),
        met_text(1.0, False),
    ] == [
        "withheld",
        "–",
        "yes",
        "no",
    ]


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ((914e-6, 902e-6, 926e-6), "914 µs\n[902, 926]"),
        ((1.0042, 1.0040, 1.0044), "1.0042 s\n[1.0040, 1.0044]"),
        ((999.6e-6, 990e-6, 1.009e-3), "1000 µs\n[990, 1009]"),
        ((-30e-9, -90e-9, 25e-9), "-30 ns\n[-90, 25]"),
        ((2e-9, -3e-6, 3e-6), "0 µs\n[-3, 3]"),
        ((5e-6, 5e-6, 5e-6), "5.000 µs\n[5.000, 5.000]"),
    ],
)
def test_an_interval_is_rounded_by_its_width(
    interval: tuple[float, float, float], text: str
) -> None:
    estimate, low, high = interval
    assert time_interval(Interval(estimate=estimate, low=low, high=high)) == text


def test_figures_and_values_in_words() -> None:
    assert ratio_interval(None) == "–"
    assert ratio_interval(Interval(estimate=12.4, low=12.1, high=12.7)) == "12.40x\n[12.10, 12.70]"
    assert [seconds(0), seconds(1.234e-3), seconds(-45e-9), seconds(None)] == [
        "0 s",
        "1.23 ms",
        "-45.0 ns",
        "–",
    ]
    assert [value_text(30_000), value_text(True), value_text("L1 / 8")] == [
        "30_000",
        "true",
        "L1 / 8",
    ]
    assert note_text(records.TUNED.notes[0]).endswith("machine code. To do: look for its copies")
    place = Place(workload="price", sizes=(1_000, 10_000), pattern=Pattern.IDLE)
    assert note_text(Note(id="a", text="slow", where="a.py", place=place)) == (
        "price at 1k, 10k (idle): a.py: slow."
    )

"""The pictures: well-formed, the same bytes each time, and nothing left out in silence."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET

import matplotlib as mpl
import pytest
import report_records as records

from perfkit.records import MeasureReport, MeasureVerdict
from perfkit.report import pictures

DRAWN = {
    "times": lambda: pictures.times(records.MEASURED),
    "iterations": lambda: pictures.iterations(records.TUNED),
    "layers": lambda: pictures.layers(records.DIAGNOSIS),
}


@pytest.mark.parametrize("name", DRAWN)
def test_equal_records_give_equal_bytes(name: str) -> None:
    first = DRAWN[name]()
    with mpl.rc_context({"font.size": 30, "svg.hashsalt": None}):  # a user's own matplotlibrc
        assert DRAWN[name]() == first


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_an_svg_without_a_date(name: str) -> None:
    picture = DRAWN[name]()
    assert ET.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"
    assert b"<dc:date>" not in picture


def test_the_settings_of_the_user_come_back() -> None:
    with mpl.rc_context({"font.size": 31.0}):
        pictures.times(records.MEASURED)
        assert mpl.rcParams["font.size"] == 31.0


def test_another_figure_gives_another_picture() -> None:
    changed = dataclasses.replace(
        records.MEASURED,
        results=(dataclasses.replace(records.MEASURED.results[0], target=2.0),),
    )
    assert pictures.times(changed) != pictures.times(records.MEASURED)


def test_nothing_measured_is_said_in_the_picture() -> None:
    empty = MeasureReport(verdict=MeasureVerdict.BUSY, noise_floor=None, results=())
    for picture in (
        pictures.times(empty),
        pictures.iterations(dataclasses.replace(records.TUNED, trials=())),
        pictures.layers(dataclasses.replace(records.DIAGNOSIS, sizes=())),
    ):
        ET.fromstring(picture)


def test_every_layer_has_its_own_look() -> None:
    looks = pictures._LAYER_LOOKS
    assert len(set(looks.values())) == len(looks) == 12


def test_no_reference_leaves_the_other_panels_whole() -> None:
    bare = dataclasses.replace(
        records.MEASURED,
        results=tuple(
            dataclasses.replace(result, reference_s=None, speedup=None, target=None, met=None)
            for result in records.MEASURED.results
        ),
    )
    ET.fromstring(pictures.times(bare))

"""Curves: well-formed, within their frame, and silent where there is nothing to draw."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from p2p.site import charts
from p2p.site.charts import COUNT, SIZE, AxisUnit

DAY = 86400.0
NOON = 1_795_262_400.0  # 2026-11-21, 12:00 UTC
SVG = "{http://www.w3.org/2000/svg}"

figures = st.floats(0, 2**60, allow_nan=False) | st.integers(0, 2**53)
points = st.lists(st.tuples(st.floats(NOON - 2 * DAY, NOON + DAY), figures), max_size=400)


def drawn(chart: Markup) -> ElementTree.Element:
    """The drawing as a tree; raises where it is not well-formed."""
    return ElementTree.fromstring(str(chart).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def curve(tree: ElementTree.Element) -> list[tuple[float, float]]:
    line = tree.find(f".//{SVG}polyline")
    assert line is not None
    pairs = (pair.split(",") for pair in line.attrib["points"].split())
    return [(float(x), float(y)) for x, y in pairs]


@given(points, st.sampled_from([COUNT, SIZE]))
def test_any_figures_make_a_curve_within_its_frame(points: list[tuple[float, float]], unit: AxisUnit) -> None:
    chart = charts.chart(points, key="k", name="Peers", unit=unit, start=NOON - DAY, end=NOON)
    within = {time for time, _ in points if NOON - DAY <= time <= NOON}
    assert (chart is None) == (len(within) < 2)
    if chart is not None:
        shape = curve(drawn(chart))
        assert 2 <= len(shape) <= charts.MAX_POINTS
        assert all(0 <= x <= 1000 and 0 <= y <= 1000 for x, y in shape)
        assert [x for x, _ in shape] == sorted(x for x, _ in shape)


def test_a_curve_of_known_points() -> None:
    chart = charts.chart(
        [(NOON - DAY, 0), (NOON - DAY / 2, 300), (NOON, 600)],
        key="p",
        name="Peers",
        unit=COUNT,
        start=NOON - DAY,
        end=NOON,
    )
    assert chart is not None
    tree = drawn(chart)
    assert curve(tree) == [(0, 1000), (500, 500), (1000, 0)]
    labels = [label.text for label in tree.iter(f"{SVG}text")]
    assert labels == ["0", "200", "400", "600", "18:00", "21 Nov", "06:00"]
    description = tree.find(f"{SVG}desc")
    assert description is not None
    assert description.text == "Between 0 and 600; last 600."


def test_a_name_is_text() -> None:
    chart = charts.chart([(0, 1), (1, 2)], key="k", name='<script>"&', unit=COUNT, start=0, end=1)
    assert chart is not None
    title = drawn(chart).find(f"{SVG}title")
    assert title is not None
    assert title.text == '<script>"&'


@pytest.mark.parametrize("points", [[], [(NOON, 1.0)], [(NOON, 1.0), (NOON, 2.0)], [(0.0, 1.0), (1.0, 2.0)]])
def test_too_little_is_no_curve(points: list[tuple[float, float]]) -> None:
    assert charts.chart(points, key="k", name="n", unit=COUNT, start=NOON - DAY, end=NOON) is None


@given(st.floats(0, 2**60, allow_nan=False), st.sampled_from([COUNT, SIZE]))
def test_ticks_are_few_even_and_reach_the_top(highest: float, unit: AxisUnit) -> None:
    marks = charts.ticks(highest, unit)
    assert 2 <= len(marks) <= 4
    assert marks[0] == 0
    assert marks[-1] >= highest
    assert all(later - earlier == marks[1] for earlier, later in pairwise(marks))


@given(st.floats(0, 1e11), st.floats(1, 400 * DAY))
def test_times_lie_between_and_are_few(start: float, length: float) -> None:
    named = charts.hours(start, start + length)
    assert len(named) <= 7
    for time, name in named:
        assert start <= time <= start + length
        assert re.fullmatch(r"\d\d:\d\d|\d\d? [A-Z][a-z]{2}", name)

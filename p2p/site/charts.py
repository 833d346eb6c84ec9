"""Draws a figure over time as inline SVG, which contains only numbers and this module's own words.

The drawing is as wide as its container: horizontal positions are percentages, vertical ones pixels, so that text keeps
its size on a phone. The labels of the vertical axis, which starts at 0, are left of the drawing, in a margin set by the
page's style. The curve is in a nested drawing that is stretched without making the line wider.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from markupsafe import Markup

from p2p.formats import format_size
from p2p.site.text import count

_T = TypeVar("_T")

MAX_POINTS = 150
_MARGIN = 1.2
"""The percentage of the width left free on the right, for the dot at the end of the curve."""
_BOX = 1000
_TOP, _FOOT = 8, 24
_STEPS_S = (300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 2 * 86400, 7 * 86400)
_MAX_LABELS = 5


@dataclass(frozen=True)
class AxisUnit:
    """How an axis is divided into steps, and how the figures on it are written."""

    steps: Callable[[float], float]
    """Returns the smallest round step that is at least this large."""
    write: Callable[[float], str]


def _nice_count(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(max(least, 1.0)))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least)


def _nice_size(least: float) -> float:
    return 2.0 ** math.ceil(math.log2(max(least, 1.0)))


COUNT = AxisUnit(_nice_count, count)
SIZE = AxisUnit(_nice_size, format_size)


def ticks(highest: float, unit: AxisUnit) -> list[float]:
    """Axis values from 0, in at most three even steps, to a top that is at least the highest figure."""
    step = unit.steps(highest / 3)
    return [step * index for index in range(max(1, math.ceil(highest / step)) + 1)]


def hours(start: float, end: float) -> list[tuple[float, str]]:
    """The times between two others (seconds since 1970) that get a label, in UTC."""
    step = next((step for step in _STEPS_S if (end - start) / step <= _MAX_LABELS), None)
    if step is None or not 0 <= start < end < 250e9:
        return []
    named = []
    for index in range(math.ceil(start / step), math.floor(end / step) + 1):
        at = datetime.fromtimestamp(index * step, UTC)
        midnight = at.hour == at.minute == 0
        named.append((float(index * step), f"{at.day} {at:%b}" if midnight else f"{at:%H:%M}"))
    return named


def chart(
    points: Sequence[tuple[float, float]],
    *,
    key: str,
    name: str,
    unit: AxisUnit,
    start: float,
    end: float,
    height: int = 150,
) -> Markup | None:
    """Draws the curve through points (time, figure) between two times; empty if there are too few points.

    `key` makes the ids of the drawing's title and description unique on its page.
    """
    drawn = [(time, max(0.0, figure)) for time, figure in sorted(points) if start <= time <= end]
    drawn = sampled(drawn, MAX_POINTS)
    if len(drawn) < 2 or not math.isfinite(end - start) or drawn[0][0] == drawn[-1][0]:
        return None
    figures = [figure for _, figure in drawn]
    marks = ticks(max(figures), unit)
    base = height - _FOOT
    width = 100 - _MARGIN

    def across(time: float) -> float:
        return min(1.0, max(0.0, (time - start) / (end - start)))

    def down(figure: float) -> float:
        return 1 - min(1.0, figure / marks[-1])

    def pixel(figure: float) -> str:
        return f"{_TOP + down(figure) * (base - _TOP):.1f}"

    line = " ".join(f"{across(time) * _BOX:.1f},{down(figure) * _BOX:.1f}" for time, figure in drawn)
    first, last = across(drawn[0][0]) * _BOX, across(drawn[-1][0]) * _BOX
    grid = Markup("").join(
        Markup(
            '<line class="{}" x1="0" x2="100%" y1="{}" y2="{}"/>'
            '<text class="tick" text-anchor="end" x="-8" y="{:.1f}">{}</text>'
        ).format("axis" if mark == 0 else "grid", pixel(mark), pixel(mark), float(pixel(mark)) + 4, unit.write(mark))
        for mark in marks
    )
    times = Markup("").join(
        Markup(
            '<line class="axis" x1="{0:.2f}%" x2="{0:.2f}%" y1="{1}" y2="{2}"/>'
            '<text class="tick" text-anchor="middle" x="{0:.2f}%" y="{3}">{4}</text>'
        ).format(across(time) * width, base, base + 4, height - 5, label)
        for time, label in hours(start, end)
        if 0.03 <= across(time) <= 0.97
    )
    description = f"Between {unit.write(min(figures))} and {unit.write(max(figures))}; last {unit.write(figures[-1])}."
    return Markup(
        '<svg class="chart" role="img" width="100%" height="{height}" aria-labelledby="{key}-title {key}-desc">'
        '<title id="{key}-title">{name}</title><desc id="{key}-desc">{description}</desc>{grid}{times}'
        '<svg x="0" y="{top}" width="{width}%" height="{plot}" viewBox="0 0 {box} {box}" preserveAspectRatio="none">'
        '<polygon class="area" points="{first:.1f},{box} {line} {last:.1f},{box}"/></svg>'
        '<svg class="over" x="0" y="{top}" width="{width}%" height="{plot}" viewBox="0 0 {box} {box}"'
        ' preserveAspectRatio="none"><polyline class="curve" vector-effect="non-scaling-stroke" points="{line}"/></svg>'
        '<circle class="end" r="3.5" cx="{end_x:.2f}%" cy="{end_y}"/></svg>'
    ).format(
        key=key,
        name=name,
        description=description,
        grid=grid,
        times=times,
        height=height,
        top=_TOP,
        width=width,
        plot=base - _TOP,
        box=_BOX,
        first=first,
        last=last,
        line=line,
        end_x=across(drawn[-1][0]) * width,
        end_y=pixel(figures[-1]),
    )


def sampled(values: Sequence[_T], most: int) -> list[_T]:
    """At most `most` (two or more) of the values, evenly spread, including the first and the last."""
    if len(values) <= most:
        return list(values)
    return [values[round(index * (len(values) - 1) / (most - 1))] for index in range(most)]

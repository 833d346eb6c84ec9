"""Rounds in which all contenders take turns, and what they found.

Each runs once a round, a different one first each time: a machine's speed drifts by the minute and only neighbours
compare. A rival that takes longer than the user's patience runs in the first round alone, and one that fails no more.
"""

import sys
import time
from collections.abc import Callable, Mapping

from scripts.bench.cases.jobs.settings import Settings
from scripts.bench.support.measure import BenchError
from scripts.bench.support.report import Ratio, Report, Row

Measure = Callable[[], Mapping[str, float]]
"""One turn: each figure by its name, which ends with a comma and the unit."""


def take_turns(
    report: Report,
    ours: Mapping[str, Measure],
    rivals: Mapping[str, Measure],
    settings: Settings,
    *,
    compare: bool = True,
) -> None:
    """Fills in a row for each figure of each contender, and the ratios of ours to the rivals', round by round."""
    found: dict[str, dict[str, list[float]]] = {}
    left = {**ours, **rivals}
    for number in range(settings.rounds):
        names = list(left)
        first = number % len(names)
        for name in names[first:] + names[:first]:
            started = time.perf_counter()
            try:
                figures = left[name]()
            except BenchError as error:
                if name in ours:
                    raise
                report.notes.append(f"{name} failed: {str(error).strip().splitlines()[-1]}")
                del left[name]
                continue
            took = time.perf_counter() - started
            for what, value in figures.items():
                found.setdefault(what, {}).setdefault(name, []).append(value)
            shown = ", ".join(f"{what}: {value:.4g}" for what, value in figures.items())
            print(f"{report.case} {number + 1}/{settings.rounds} {name}: {shown}", file=sys.stderr, flush=True)
            if name in rivals and took > settings.patience_s and settings.rounds > 1:
                report.notes.append(f"{name} took {took:.0f} s a turn and ran in the first round alone")
                del left[name]
    for what, by_name in found.items():
        label, _, unit = what.rpartition(", ")
        report.rows += [Row(f"{label}: {name}", unit, values) for name, values in by_name.items()]
    for what, by_name in found.items():
        report.ratios += [
            Ratio(f"{what.rpartition(', ')[0]}: {our} / {rival}", _ratios(by_name[our], by_name[rival]))
            for our in ours
            for rival in (rivals if compare else ())
            if our in by_name and rival in by_name
        ]


def _ratios(ours: list[float], theirs: list[float]) -> list[float]:
    """The ratios of the rounds in which both ran, which are the first ones."""
    return [one / other for one, other in zip(ours, theirs, strict=False)]

"""What a case found, and how it is shown: an aligned table for people, one line of JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from scripts.bench.support.measure import Sample

MIB = 1 << 20
HEADER = ("", "median", "min-max", "unit", "wall s", "client CPU s", "peak MiB", "server CPU s", "peak MiB")


@dataclass(frozen=True)
class Row:
    """One contender's figures, one a round; `samples` are what they were computed from, if a process was measured."""

    name: str
    unit: str
    values: Sequence[float]
    samples: Sequence[Sample] = ()

    @classmethod
    def rate(cls, name: str, unit: str, amount: float, samples: Sequence[Sample]) -> "Row":
        """The rate of `amount` per second, by the contender's own time."""
        return cls(name, unit, [amount / sample.seconds for sample in samples], samples)

    @classmethod
    def time(cls, name: str, samples: Sequence[Sample]) -> "Row":
        return cls(name, "s", [sample.seconds for sample in samples], samples)


@dataclass(frozen=True)
class Ratio:
    """One contender against another, round by round: only what ran side by side compares on a noisy machine."""

    name: str
    values: Sequence[float]
    wall_values: Sequence[float] = ()


@dataclass
class Report:
    """What one case found; `notes` say what was skipped and what a figure means."""

    case: str
    title: str
    rows: list[Row] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def compare_speed(self, samples: Mapping[str, Sequence[Sample]], name: str, other: str) -> None:
        """Add how many times as fast `name` was as `other`, if both ran."""
        if name in samples and other in samples:
            pairs = list(zip(samples[name], samples[other], strict=True))
            by_time = [theirs.seconds / ours.seconds for ours, theirs in pairs]
            by_wall = [theirs.wall_s / ours.wall_s for ours, theirs in pairs]
            self.ratios.append(Ratio(f"speed of {name} / {other}", by_time, by_wall))


def as_json(report: Report) -> str:
    return json.dumps(
        {
            "case": report.case,
            "title": report.title,
            "contenders": {row.name: _row_json(row) for row in report.rows},
            "ratios": {
                ratio.name: _spread(ratio.values) | ({"wall": _spread(ratio.wall_values)} if ratio.wall_values else {})
                for ratio in report.ratios
            },
            "notes": report.notes,
        }
    )


def as_table(report: Report) -> str:
    lines = [f"{report.case}: {report.title}"]
    if report.rows:
        cells = [_row_cells(row) for row in report.rows]
        lines += _aligned([HEADER[: max(map(len, cells))], *cells])
    if report.ratios:
        head = ("ratio", "median", "min-max", "by wall", "min-max")
        cells = [_ratio_cells(ratio) for ratio in report.ratios]
        lines += ["", *_aligned([head[: max(map(len, cells))], *cells])]
    lines += [f"  note: {note}" for note in report.notes]
    return "\n".join(lines) + "\n"


def _row_json(row: Row) -> dict[str, object]:
    shown: dict[str, object] = {"unit": row.unit, **_spread(row.values)}
    if row.samples:
        shown |= {
            "seconds": _spread([sample.seconds for sample in row.samples]),
            "wall_s": _spread([sample.wall_s for sample in row.samples]),
            "client_cpu_s": _spread([sample.client.cpu_s for sample in row.samples]),
            "client_peak_bytes": _spread([sample.client.peak_bytes for sample in row.samples]),
            "server_cpu_s": _spread([sample.server.cpu_s for sample in row.samples]),
            "server_peak_bytes": _spread([sample.server.peak_bytes for sample in row.samples]),
        }
    return shown


def _spread(values: Sequence[float]) -> dict[str, object]:
    return {"median": median(values), "min": min(values), "max": max(values), "rounds": list(values)}


def _row_cells(row: Row) -> tuple[str, ...]:
    cells = (row.name, _number(median(row.values)), _range(row.values), row.unit)
    if not row.samples:
        return cells
    served = any(sample.server.peak_bytes for sample in row.samples)
    return (
        *cells,
        f"{median(sample.wall_s for sample in row.samples):.2f}",
        f"{median(sample.client.cpu_s for sample in row.samples):.2f}",
        f"{max(sample.client.peak_bytes for sample in row.samples) / MIB:.0f}",
        f"{median(sample.server.cpu_s for sample in row.samples):.2f}" if served else "",
        f"{max(sample.server.peak_bytes for sample in row.samples) / MIB:.0f}" if served else "",
    )


def _ratio_cells(ratio: Ratio) -> tuple[str, ...]:
    cells = (ratio.name, _number(median(ratio.values)), _range(ratio.values))
    if not ratio.wall_values:
        return cells
    return (*cells, _number(median(ratio.wall_values)), _range(ratio.wall_values))


def _range(values: Sequence[float]) -> str:
    return f"{_number(min(values))}-{_number(max(values))}"


def _number(value: float) -> str:
    """Writes a number with three significant digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Aligns columns to equal width, the first to the left and the others to the right."""
    widths = [max((len(row[at]) for row in table if at < len(row)), default=0) for at in range(len(table[0]))]
    return [
        "  " + "  ".join(cell.rjust(width) if at else cell.ljust(width) for at, (cell, width) in cells).rstrip()
        for cells in (list(enumerate(zip(row, widths, strict=False))) for row in table)
    ]


def positive(text: str) -> int:
    """Reads the number of rounds, units or files from an option. Raises ValueError."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number

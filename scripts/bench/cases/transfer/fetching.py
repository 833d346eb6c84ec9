"""The cases about fetching: a large file, many small ones, and larger and larger files on disk.

What was fetched is compared with its source outside the timed part.
"""

import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from scripts.bench.cases.transfer.settings import GB, SMALL_FILE_BYTES, SMALL_FILE_ROOM, Settings
from scripts.bench.cases.transfer.turns import take_turns
from scripts.bench.rivals import transfer as rivals
from scripts.bench.support import shoal
from scripts.bench.support.data import check_same, forget_cached, random_file, random_folder, show_size, workspace
from scripts.bench.support.measure import Fetch, Sample
from scripts.bench.support.report import Ratio, Report, Row


def one(settings: Settings) -> Report:
    """Fetches a large file from one source."""
    report = Report("one", f"{show_size(settings.size)} from 1 source; interleaved rounds: {settings.rounds}")
    with workspace(2 * settings.size) as work, ExitStack() as stack:
        source = random_file(work / "source.bin", settings.size)
        fetches: dict[str, Fetch] = {}
        if shoal.installed(report.notes):
            serving = stack.enter_context(shoal.node(work / "s0"))
            fetches["shoal"] = shoal.getting(shoal.share(serving, source)[0], [serving], report.notes)
        fetches |= rivals.file_rivals(stack, source, work, 1, report.notes)
        _race(report, fetches, source, work, settings)
    return report


def four(settings: Settings) -> Report:
    """Fetches a large file from four sources at once, and from one in the same rounds."""
    report = Report("four", f"{show_size(settings.size)} from 4 sources; interleaved rounds: {settings.rounds}")
    with workspace(2 * settings.size) as work, ExitStack() as stack:
        source = random_file(work / "source.bin", settings.size)
        fetches: dict[str, Fetch] = {}
        if shoal.installed(report.notes):
            serving = [stack.enter_context(shoal.node(work / f"s{number}")) for number in range(4)]
            links = [shoal.share(each, source)[0] for each in serving]
            fetches["shoal"] = shoal.getting(links[0], serving, report.notes)
            fetches["shoal from 1"] = shoal.getting(links[0], serving[:1], report.notes)
        fetches |= rivals.file_rivals(stack, source, work, 4, report.notes)
        _race(report, fetches, source, work, settings)
    return report


def small(settings: Settings) -> Report:
    """Fetches a folder of many small files."""
    count = settings.small_files
    report = Report(
        "small",
        f"{count:,} files of {show_size(SMALL_FILE_BYTES)} from 1 source; interleaved rounds: {settings.rounds}",
    )
    with workspace(2 * count * SMALL_FILE_ROOM) as work, ExitStack() as stack:
        source = random_folder(work / "source", count, SMALL_FILE_BYTES)
        fetches: dict[str, Fetch] = {}
        if shoal.installed(report.notes):
            serving = stack.enter_context(shoal.node(work / "s0"))
            fetches["shoal"] = shoal.getting(shoal.share(serving, source)[0], [serving], report.notes)
        fetches |= rivals.folder_rivals(stack, source, work, report.notes)
        samples = take_turns("small", _checked(fetches, source, work), settings.rounds)
        report.rows += [Row.rate(name, "files/s", count, taken) for name, taken in samples.items()]
        report.compare_speed(samples, "shoal", "rsync")
    return report


def disk(settings: Settings) -> Report:
    """Fetches larger and larger files on disk: peak memory must not grow with them."""
    sizes = [settings.disk_size // 10, settings.disk_size // 2, settings.disk_size]
    report = Report("disk", f"{', '.join(map(show_size, sizes))} on disk, each once between fresh peers")
    if not shoal.installed(report.notes):
        return report
    samples = {}
    for size in sizes:
        with workspace(2 * size, on_disk=True) as work, shoal.node(work / "s0") as serving:
            source = random_file(work / "source.bin", size)
            link = shoal.share(serving, source)[0]
            forget_cached(source)
            fetch = shoal.getting(link, [serving], report.notes)
            samples[size] = take_turns("disk", _checked({"shoal": fetch}, source, work), 1)["shoal"]
        report.rows.append(Row.rate(f"shoal {show_size(size)}", "GB/s", size / GB, samples[size]))
    smallest, largest = samples[sizes[0]][0], samples[sizes[-1]][0]
    span = f"at {show_size(sizes[-1])} / at {show_size(sizes[0])}"
    report.ratios += [
        Ratio(f"client peak memory {span}", [largest.client.peak_bytes / smallest.client.peak_bytes]),
        Ratio(f"server peak memory {span}", [largest.server.peak_bytes / smallest.server.peak_bytes]),
    ]
    return report


def _race(report: Report, fetches: Mapping[str, Fetch], source: Path, work: Path, settings: Settings) -> None:
    """Run the rounds of a large file, and fill in the rates, what they cost, and how Shoal compares."""
    samples = take_turns(report.case, _checked(fetches, source, work), settings.rounds)
    report.rows += [Row.rate(name, "GB/s", settings.size / GB, taken) for name, taken in samples.items()]
    for name, taken in samples.items():
        for side in ("client", "server"):
            cpu = [getattr(sample, side).cpu_s * 2**30 / settings.size for sample in taken]
            report.rows.append(Row(f"{name}, {side}", "CPU s/GiB", cpu))
    for other in samples:
        if other != "shoal":
            report.compare_speed(samples, "shoal", other)


def _checked(fetches: Mapping[str, Fetch], source: Path, work: Path) -> dict[str, Callable[[], Sample]]:
    """The fetches, each into an empty folder whose content is then compared with the source and removed."""

    def checked(fetch: Fetch) -> Sample:
        out = work / "out"
        out.mkdir()
        sample = fetch(out)
        check_same(source, out / source.name)
        shutil.rmtree(out)
        return sample

    return {name: partial(checked, fetch) for name, fetch in fetches.items()}

"""The case about indexing: `shoal share` of a large file and of many small ones, beside the making of a torrent."""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from scripts.bench.cases.transfer.settings import GB, SMALL_FILE_BYTES, SMALL_FILE_ROOM, Settings
from scripts.bench.cases.transfer.turns import take_turns
from scripts.bench.rivals import transfer as rivals
from scripts.bench.support import shoal
from scripts.bench.support.data import random_file, random_folder, show_size, workspace
from scripts.bench.support.measure import Sample
from scripts.bench.support.report import Report, Row


def hashing(settings: Settings) -> Report:
    """`shoal share`: a large file, and a folder of many files again and again."""
    report = Report("hash", f"shoal share of {show_size(settings.size)} in the page cache; rounds: {settings.rounds}")
    have_shoal = shoal.installed(report.notes)
    with workspace(settings.size + settings.reshare_files * SMALL_FILE_ROOM) as work, ExitStack() as stack:
        source = random_file(work / "source.bin", settings.size)
        contenders: dict[str, Callable[[], Sample]] = {}
        if have_shoal:
            contenders["shoal share"] = lambda: _first_share(source, work / "fresh")
        if rivals.libtorrent_installed(report.notes):
            contenders["libtorrent torrent"] = lambda: rivals.libtorrent_hashing(source, work / "made.torrent")
        samples = take_turns("hash", contenders, settings.rounds)
        report.rows += [Row.rate(name, "GB/s", settings.size / GB, taken) for name, taken in samples.items()]
        report.compare_speed(samples, "shoal share", "libtorrent torrent")
        if have_shoal:
            folder = random_folder(work / "many", settings.reshare_files, SMALL_FILE_BYTES)
            sharing = stack.enter_context(shoal.node(work / "again"))
            first = shoal.share(sharing, folder)[1]
            again = take_turns("hash", {"share again": lambda: shoal.share(sharing, folder)[1]}, settings.rounds)
            files = f"{settings.reshare_files:,} files"
            report.rows += [
                Row.time(f"share {files}", [first]),
                Row.time(f"share {files} again, unchanged", again["share again"]),
            ]
    return report


def _first_share(source: Path, home: Path) -> Sample:
    """Share from a peer that has never seen `source`."""
    with shoal.node(home) as sharing:
        sample = shoal.share(sharing, source)[1]
    shutil.rmtree(home)
    return sample

"""A function that is mapped over items by one volunteer on this machine, from Python."""

import json
import sys

from scripts.bench.cases.data.settings import Settings
from scripts.bench.support import shoal
from scripts.bench.support.data import workspace
from scripts.bench.support.measure import BenchError, run
from scripts.bench.support.report import Report, Row

ROOM_BYTES = 512 << 20
PROGRAM = """
import json, sys, time
from pathlib import Path

home, volunteer, items, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
Path(home).with_name("squares.py").write_text("def square(number):\\n    return number * number\\n")
sys.path.insert(0, str(Path(home).parent))
from squares import square
from p2p import Peer

found = {"one": [], "all": []}
with Peer(home, peers=[volunteer]) as peer:
    for number in range(rounds + 1):
        for name, count in (("one", 1), ("all", items)):
            started = time.perf_counter()
            assert peer.map(square, range(count)).result() == [one * one for one in range(count)]
            if number:
                found[name].append(time.perf_counter() - started)
print(json.dumps(found))
"""


def mapping(settings: Settings) -> Report:
    report = Report("map", f"a function of 1 and of {settings.items} items, at one volunteer that is warm")
    if not shoal.installed(report.notes):
        return report
    with workspace(ROOM_BYTES) as work:
        options = ("--volunteer",)
        with shoal.node(work / "volunteer", *options) as volunteer, shoal.node(work / "owner") as owner:
            argv = [sys.executable, "-c", PROGRAM, str(owner.home), volunteer.address]
            ran = run([*argv, str(settings.items), str(settings.rounds)], [owner.server, volunteer.server])
    found = json.loads(ran.stdout)
    if len(found["all"]) != settings.rounds:
        raise BenchError(f"not all rounds: {found}")
    report.rows = [Row("1 item", "s", found["one"]), Row(f"{settings.items} items", "s", found["all"])]
    return report

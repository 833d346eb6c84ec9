"""The part about waiting: the memory of a volunteer with a spare guest, and of the other engines with two workers."""

import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from scripts.bench.cases.jobs.settings import Settings
from scripts.bench.cases.jobs.turns import take_turns
from scripts.bench.rivals.jobs import Rival
from scripts.bench.support import shoal
from scripts.bench.support.data import workspace
from scripts.bench.support.measure import status_bytes, tree
from scripts.bench.support.network import NO_OP, PYTHON, VOLUNTEER, Network
from scripts.bench.support.report import MIB, Report

ROOM_BYTES = 1 << 30
SETTLE_S = 3.0
TARGET_MIB = 110


def memory(settings: Settings) -> Report:
    """Measures the PSS of all processes, some seconds after the first unit."""
    report = Report("memory", f"PSS when idle, {SETTLE_S:g} s after the first task; once, since it hardly varies")
    report.notes += [
        f"shoal: a volunteer of one core, its daemon, sandbox worker and spare guest; the target is {TARGET_MIB} MiB",
        "the others: all processes of one with two workers of which one was used",
    ]
    with workspace(ROOM_BYTES) as work, shoal.node(work / "owner") as owner:
        ours = {PYTHON: partial(_volunteer, work, owner)}
        rivals = {rival.name: partial(_engine, rival, work) for rival in settings.rivals}
        take_turns(report, ours, rivals, replace(settings, rounds=1))
    return report


def _volunteer(work: Path, owner: shoal.Node) -> dict[str, float]:
    with shoal.node(work / "idle", *VOLUNTEER) as node:
        Network(work, owner, (node,)).run(NO_OP, "--partitions", "1", units=1)
        time.sleep(SETTLE_S)
        daemon = status_bytes(node.server.pid, "Pss", "smaps_rollup") / MIB
        return {"daemon, MiB": daemon, "all processes, MiB": _pss(node.server.pid)}


def _engine(rival: Rival, work: Path) -> dict[str, float]:
    with rival.up(work) as (pid, _):
        time.sleep(SETTLE_S)
        return {"all processes, MiB": _pss(pid)}


def _pss(pid: int) -> float:
    return sum(status_bytes(each, "Pss", "smaps_rollup") for each in tree(pid)) / MIB

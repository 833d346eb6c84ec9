"""Parts about units that do nothing: how many per second, how long one takes, and how soon the first is back."""

from functools import partial
from pathlib import Path

from scripts.bench.cases.jobs.settings import Settings
from scripts.bench.cases.jobs.turns import Measure, take_turns
from scripts.bench.rivals.jobs import Rival
from scripts.bench.support.data import workspace
from scripts.bench.support.measure import BenchError
from scripts.bench.support.network import MODULE, NO_OP, Network, check, network
from scripts.bench.support.report import Report

ROOM_BYTES = 1 << 30
ACTIONS = 50
RIVAL_UNITS = {"dask": 2_000, "ray": 5_000, "spark": 400}
"""Fewer units for the slow rivals, so that a turn ends soon; the pool gets as many as volunteers do."""
RIVAL_TIMES = {"pool": 2_000, "dask": 200, "ray": 500, "spark": 50}
NOTHING = bytes.fromhex(  # (module (memory (export "memory") 1) (func (export "_start")))
    "0061736d01000000 01 04 01 600000 03 02 01 00 05 03 01 0001"
    "07 13 02 06 6d656d6f7279 0200 06 5f7374617274 0000 0a 04 01 02 00 0b"
)
MODULE_UNITS = 10_000
LOOP = """\
def job(inputs, actions):
    for _ in range(actions):
        inputs.range(1).count()
    return actions
"""
RATE, LATENCY, FIRST = "no-op units, 1/s", "one unit, ms", "first result, s"


def units(settings: Settings) -> Report:
    """Measures many no-op units at once, and single ones, one after another."""
    module_units = min(settings.units, MODULE_UNITS)
    report = Report("units", f"no-op units, two cores; interleaved rounds: {settings.rounds}")
    report.notes += [
        f"shoal, units: {settings.units:,} partitions of a range counted by 2 volunteers, by the job's own time, "
        "which begins before its volunteers are asked",
        f"shoal, one unit: a job that counts a range of one partition {ACTIONS + 1} times in a loop, less the job that "
        f"does so once, by {ACTIONS}: with planning and finishing an action, so an upper bound of a unit's time",
        f"{MODULE}: {module_units:,} partitions of a module that does nothing; each has a file of the result",
        "the others: tasks submitted together and gathered; one task submitted and awaited, after each other; up and "
        f"used before. Tasks: {RIVAL_UNITS}, of spark partitions of one job; awaited: {RIVAL_TIMES}",
    ]
    with workspace(ROOM_BYTES) as work, network(work, 2) as peers:
        ours: dict[str, Measure] = {}
        for runtime in settings.runtimes:
            peers.run(NO_OP, "--partitions", "2", runtime=runtime, units=2)  # it may have to be compiled
            ours[runtime] = partial(_ours, peers, runtime, settings.units)
        ours[MODULE] = partial(_module, peers, module_units)
        rivals = {rival.name: partial(_theirs, rival, work, settings.units) for rival in settings.rivals}
        take_turns(report, ours, rivals, settings)
    return report


def first(settings: Settings) -> Report:
    """Measures the time from typing a command until its result is printed."""
    report = Report("first", f"time to the first result; interleaved rounds: {settings.rounds}")
    report.notes.append("shoal: `shoal run` of one unit, its peers being up; the others: a process that starts them")
    with workspace(ROOM_BYTES) as work, network(work, 2) as peers:
        ours = {runtime: partial(_first_of_ours, peers, runtime) for runtime in settings.runtimes}
        for measure in ours.values():
            measure()  # it may have to be compiled
        rivals = {rival.name: partial(_first_of_theirs, rival, work) for rival in settings.rivals}
        take_turns(report, ours, rivals, settings)
    return report


def _ours(peers: Network, runtime: str, count: int) -> dict[str, float]:
    together = peers.run(NO_OP, "--partitions", str(count), runtime=runtime, units=count)
    one_by_one = [
        check(peers.run(LOOP, "--partitions", "1", runtime=runtime, actions=actions), actions).seconds
        for actions in (1, ACTIONS + 1)
    ]
    rate = count / check(together, count).seconds
    return {RATE: rate, LATENCY: (one_by_one[1] - one_by_one[0]) / ACTIONS * 1e3}


def _module(peers: Network, count: int) -> dict[str, float]:
    """A module is one command for each partition; it has no actions to loop over."""
    answer = peers.run(NOTHING, "--partitions", str(count), runtime=MODULE)
    if answer.units != count:
        raise BenchError(f"WRONG RESULT: {answer.units} units of {count}")
    return {RATE: count / answer.seconds}


def _theirs(rival: Rival, work: Path, most: int) -> dict[str, float]:
    count = min(most, RIVAL_UNITS.get(rival.name, most))
    found = rival.run(work, "units", count, RIVAL_TIMES[rival.name])
    if not found["right"]:
        raise BenchError(f"WRONG RESULT of {rival.name}")
    return {RATE: count / found["seconds"], LATENCY: found["latency_s"] * 1e3}


def _first_of_ours(peers: Network, runtime: str) -> dict[str, float]:
    return {FIRST: check(peers.run(NO_OP, "--partitions", "1", runtime=runtime, units=1), 1).wall_s}


def _first_of_theirs(rival: Rival, work: Path) -> dict[str, float]:
    with rival.up(work) as (_, took):
        return {FIRST: took}

"""Everything that can go wrong around a node, at once, for as long as wanted. Run from the top of the repository:

    python -m scripts.bench.chaos --minutes 15 --seed N

A node, two peers that share and volunteer, and a tracker, real processes on loopback. Meanwhile, drawn from the seed:
peers, the tracker and workers are killed or stopped, the disk is full, no descriptor is left, shared folders are gone,
strangers send garbage and open connections that say nothing, commands are killed in the middle, jobs fail. The same
seed gives the same events at the same times; what a kill hits in a process depends on the moment.

The node must answer `shoal status` within 10 seconds all the time (`--deadline`: a machine that is busy with other
things may need longer). Afterwards a share and a job must go through in both directions, and the node must hold no more
descriptors, threads and children than before, and little more memory; it must have counted no bug and shown no
traceback. Exits with 1 if any of that is not so, or if a command did wrong on the way.

Linux only. As root, the node's home is on a small disk of its own; others go without the full disk.
"""

import argparse
import random
import sys
import time
from pathlib import Path

from scripts.bench.cases.chaos import commands
from scripts.bench.cases.chaos.crew import Crew, crew
from scripts.bench.cases.chaos.timeline import Play, plan
from scripts.bench.cases.chaos.watch import LAST_DEADLINE_S, Held, given_back, settled, status, watching
from scripts.bench.support import shoal
from scripts.bench.support.data import workspace
from scripts.bench.support.measure import BenchError, end_well_on_sigterm
from scripts.bench.support.report import MIB

ROOM_BYTES = 1 << 30
QUIET_S = 20.0
"""Longer than an idle thread or process is kept for the next that needs one."""


def tell(text: str) -> None:
    print(text, flush=True)


def chaos(seed: int, seconds: float, deadline_s: float, keep: Path | None) -> list[str]:
    """Runs it all. Returns what was wrong."""
    with workspace(ROOM_BYTES) as work, crew(work) as all_of_it:
        try:
            return _chaos(all_of_it, seed, seconds, deadline_s)
        finally:
            if keep is not None:
                keep.write_bytes(all_of_it.node.log.read_bytes())


def _chaos(crew: Crew, seed: int, seconds: float, deadline_s: float) -> list[str]:
    node = crew.node
    commands.prepare(crew)
    before = settled(node, QUIET_S)
    play = Play(crew, tell)
    events = list(plan(seed, seconds))
    with watching(node, deadline_s, play.begun, tell) as watch:
        play.play(events, seconds)
        crew.revive()
    problems = play.problems + watch.problems
    tell(f"{time.monotonic() - play.begun:7.1f} s  all is over")
    if not node.is_running():
        return [*problems, f"the node ended: {node.log.read_text(errors='replace')[-3000:]}"]
    try:
        commands.prove(crew, "after")
    except BenchError as error:
        problems.append(f"afterwards: {error}")
    after, more = given_back(node, before)
    problems += [f"not given back: {what}" for what in more]
    if bugs := status(node, LAST_DEADLINE_S)["bugs"]:
        problems.append(f"bugs: {bugs}")
    log = node.log.read_text(errors="replace")
    if "Traceback" in log:
        problems.append(f"a traceback in the node's log:\n{log[log.index('Traceback') :][:3000]}")
    tell(_table(len(events), watch.took_s, before, after, bugs))
    return problems


def _table(events: int, took_s: list[float], before: Held, after: Held, bugs: int) -> str:
    rows = [
        ("", "before", "after"),
        ("descriptors", str(before.descriptors.total()), str(after.descriptors.total())),
        ("threads", str(before.threads), str(after.threads)),
        ("children", str(before.children), str(after.children)),
        ("memory, MiB", f"{before.memory_bytes / MIB:.0f}", f"{after.memory_bytes / MIB:.0f}"),
        ("bugs", "", str(bugs)),
    ]
    lines = [f"  {name:<12}  {then:>7}  {now:>7}".rstrip() for name, then, now in rows]
    slowest = f", the slowest in {max(took_s):.1f} s" if took_s else ""
    return "\n".join([f"{events} events; `status` was answered {len(took_s)} times{slowest}", *lines])


def main() -> int:
    options = _parser().parse_args()
    end_well_on_sigterm()
    notes: list[str] = []
    if not shoal.installed(notes):
        print(notes[0], file=sys.stderr)
        return 1
    tell(f"seed {options.seed}, {options.minutes:g} minutes")
    try:
        problems = chaos(options.seed, options.minutes * 60, options.deadline, options.keep_log)
    except BenchError as error:
        problems = [str(error)]
    for problem in problems:
        tell(f"PROBLEM: {problem}")
    tell(f"seed {options.seed}: {f'{len(problems)} problems' if problems else 'all went well'}")
    return 1 if problems else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=15, help="default 15")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="default: any, which is printed")
    parser.add_argument("--deadline", type=float, default=10, metavar="S", help="for `status`; default 10")
    parser.add_argument("--keep-log", type=Path, metavar="FILE", help="where to copy the node's log")
    return parser


if __name__ == "__main__":
    sys.exit(main())

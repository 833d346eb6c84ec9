"""An owner in a process of its own, to be killed: `python -m tests.support.programs.journal_writer HOME`.

Continues the job where the journal ends: runs the units that have no result, in batches, action after action, and
finally ends the job. Prints `ran STAGE PARTITION` before that result counts, `kept ACTION COUNT` once a batch is
committed, `finished ACTION` once an action is, and `done`.
"""

import sys
from pathlib import Path

from p2p.core.compute.attempts import SendUnits, UnitResult
from p2p.core.compute.job import Job
from p2p.core.compute.known import Known
from p2p.ids import H
from p2p.store.database import Database
from p2p.store.journal import Journal, JournalEntry
from tests.support.job_model import CONTEXT, OWNER, UNIT_S, output_of, peer, plan_of

JOB = b"j" * 32
ACTIONS = 3
UNITS = 200


def content(unit: bytes) -> bytes:
    """The content of a unit's outputs; some are larger than a page of the database, some smaller."""
    return unit * (1 + unit[0] * 2)


def entry_of(known: Known, action: int) -> JournalEntry:
    body = content(known.unit)
    return JournalEntry(known, action, (len(body) - 7, 7), body)


def main() -> None:
    database = Database(Path(sys.argv[1]))
    journal = Journal(database)
    if not journal.jobs():
        journal.begin(JOB, {"name": "to be killed"})
    results = [done.digest for done in journal.actions(JOB)]
    while len(results) < ACTIONS:
        action = len(results)
        results.append(run(journal, action, results))
        print("finished", action, flush=True)
    journal.end(JOB, "done", {"result": 1})
    print("done", flush=True)
    database.close()


def run(journal: Journal, action: int, results: list[bytes]) -> bytes:
    job = Job(OWNER, CONTEXT, UNIT_S, results)
    plan = plan_of((UNITS, (), 5), (5, (0,), 0), action=action)
    commands = job.planned(plan, [UNITS, 5], {0: b"range"}, 0.0, journal.replay(JOB))
    commands += job.joined(peer("a"), 7, 0.0)
    now = 0.0
    while sends := [command for command in commands if isinstance(command, SendUnits)]:
        commands, entries = [], []
        now += 0.01
        for work in (work for send in sends for work in send.units):
            print("ran", action, work.stage, work.partition, flush=True)
            known = Known(work.unit, work.stage, work.partition, output_of(work.unit), None)
            entries.append(entry_of(known, action))
            commands += job.returned(peer("a"), [UnitResult(work.unit, output_of(work.unit))], now)
        journal.accept(JOB, entries)
        for entry in entries:
            print("kept", action, entry.known.stage, entry.known.partition, flush=True)
    assert job.stages[-1].complete
    result = b"".join(body or b"" for _, _, body in journal.outputs(JOB, action, 1))
    assert result
    digest = H("result", result)
    journal.finish(JOB, action, digest, result)
    return digest


if __name__ == "__main__":
    main()

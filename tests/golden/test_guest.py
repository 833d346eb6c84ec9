"""What a peer, a worker and a guest say to each other, as it was recorded: the whole of a small job.

Recorded by `python -m tests.golden.test_guest FOLDER`; an entry that is there is never changed. A bundle brings its own
guest along, so an old guest hears what today's peer asks, and a peer what any guest answers.
"""

import io
import socket
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import msgspec
import trio

from p2p.compute import bundles
from p2p.compute.bundles import Description
from p2p.compute.execution import unit as given_units
from p2p.compute.execution.unit import Given
from p2p.compute.owner import planner
from p2p.core.compute import plan as plans
from p2p.core.compute import report as reports
from p2p.core.compute.plan import Plan
from p2p.jobs import frames as guest_frames
from p2p.sandbox import messages
from p2p.sandbox.guest import Guest
from p2p.sandbox.limits import GuestLimits
from p2p.sandbox.room import Place, Room
from p2p.sandbox.runtimes import Runtime
from p2p.sandbox.sandbox import Sandbox
from p2p.wire import guest as frames
from p2p.wire import work
from tests.support.guest_process import guest
from tests.support.recordings import left_out, load, save

TALK, WORKER = "messages_guest.json", "messages_worker.json"
JOB = "def job(inputs):\n    return inputs.range(6).map(lambda n: n * n).sum()\n"
ID, LIMITS = b"j" * 32, GuestLimits(wall_s=30, memory_bytes=1 << 28, output_bytes=1 << 20, log_bytes=4096)
DESCRIPTION = Description(
    {"words": ["a", 1, None]}, 4, 3, (bundles.InputDescription(name="texts", size=2**40, files=7),), title="squares.py"
)
FAULT = "def fail(n):\n    raise ValueError('no')\n\ndef job(inputs):\n    return inputs.range(6).map(fail).sum()\n"
DIGEST = "d" * 64
"""Stands for the plan's, which hangs on the version of Python."""
REPORT = reports.Report("job", "no", "ValueError", "Traceback...", line=3, operation="map", record="7", file="a.py")


def talked(job: str) -> list[list[str]]:
    """Each request to a guest and its answer, as frames: plan, confirm, all units, finish, plan."""
    talk: list[list[str]] = []
    with guest() as one:
        one.load({"job.py": job}, partitions=2)

        def ask(header: dict[str, Any], blobs: Sequence[bytes] = ()) -> tuple[dict[str, Any], list[bytes]]:
            answer, made = one.ask(header, blobs)
            talk.append([frames.encode(header, blobs).hex(), guest_frames.pack(answer, made)[4:].hex()])
            return answer, made

        planned, _ = ask({"do": "plan", "results": []})
        plan = planned["plan"]
        which = {"action": plan["action"], "digest": plan["digest"]}
        ask({"do": "confirm", **which, "results": []})
        made: list[bytes] = []
        for number in range(2):
            answer, outputs = ask({"unit": [0, 0, number, plan["digest"], [3 * number, 3]]})
            made += outputs
        if "error" not in answer:
            _, result = ask({"do": "finish", **which, "results": []}, made)
            ask({"do": "plan", "results": [0]}, result)
    known = plan["digest"].encode().hex()
    return [[frame.replace(known, DIGEST.encode().hex()) for frame in pair] for pair in talk]


def worked() -> dict[str, str]:
    limits = (LIMITS.memory_bytes, LIMITS.output_bytes, LIMITS.log_bytes)
    return {
        "start": messages.ORDER.pack(messages.START, 7).hex(),
        "end": messages.ORDER.pack(messages.END, 2**40).hex(),
        "ok": messages.ANSWER.pack(messages.OK, 0).hex(),
        "failed": (messages.ANSWER.pack(messages.FAILED, 3) + messages.text("why")).hex(),
        "request": messages.REQUEST.pack(5, bytes(range(32)), *limits).hex(),
        "reply": messages.ANSWER.pack(messages.REPLY, 9).hex(),
        "log": messages.ANSWER.pack(messages.LOG, 10).hex(),
        "ended": messages.ANSWER.pack(messages.ENDED, 11).hex(),
        "command": messages.command_frame(["--words=ü", "-v"], b"a line\n").hex(),
        "done": guest_frames.pack_done(3, 4, [b"one", b""]).hex(),
        "load": bundles.load_frame("ab" * 32, {"job.py": b"1", "p2p/jobs/guest.py": b"2"}, DESCRIPTION).hex(),
        "unit": unit_frame(Given([("a.txt", 0, 3)], [b"abc"]), [b"result"]).hex(),
        "description": msgspec.json.encode(DESCRIPTION).decode(),
        "report": msgspec.json.encode(REPORT).decode(),
        "plan of a command": msgspec.json.encode(plans.of_command(3)).decode(),
    }


def unit_frame(given: Given, fresh: Sequence[bytes]) -> bytes:
    unit = work.Unit(id=bytes(32), action=1, stage=2, partition=3, plan=ID)
    return given_units.unit_frame(unit, given, 4, fresh)


def record(folder: Path) -> None:
    save(folder, TALK, {"sum": talked(JOB), "fault": talked(FAULT), "asked": trio.run(asked, talked(JOB))})
    save(folder, WORKER, worked())


def test_a_guest_answers_as_it_was_recorded() -> None:
    recorded = load(TALK)
    assert talked(JOB) == recorded["sum"]
    assert talked(FAULT) == recorded["fault"]


class OneGuest:
    """Stands for a sandbox that has one guest, at the other end of a socket."""

    def __init__(self, one: Guest) -> None:
        self._one = one
        self.room = Room(1)

    async def guest_at(self, place: Place, runtime: Runtime) -> Guest:
        return self._one


async def asked(talk: list[list[str]]) -> list[str]:
    """What a planner asks, byte for byte, whose guest answers it as in the talk."""
    ours, answering = socket.socketpair()
    theirs = trio.socket.from_stdlib_socket(answering)
    found: list[str] = []
    (_, plan), *_, (finish, finished), (_, done) = talk
    _, partials = opened(finish)
    answers = [frames.encode({"ok": "loaded"}).hex(), plan, talk[1][1], finished, done]

    async def answer() -> None:
        stream = trio.SocketStream(theirs)
        for text in answers:
            request = await exactly(stream, messages.REQUEST.size)
            request += await exactly(stream, messages.REQUEST.unpack(request)[0])
            found.append(request.hex())
            reply = bytes.fromhex(text)
            await stream.send_all(messages.ANSWER.pack(messages.REPLY, len(reply)) + reply)

    with ours, theirs:
        sandbox, runtime = cast(Sandbox, OneGuest(Guest(ours, ours.close))), cast(Runtime, None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            with closing(planner.GuestPlanner(sandbox, runtime, ID, b"load", LIMITS, 0, bytearray(), print)) as one:
                planned = await one.next([])
                assert isinstance(planned, Plan)
                await one.confirm(planned)
                result = await one.finish(planned, partials)
                assert await one.next([result]) == planner.Returned(55)
    return found


def opened(text: str) -> tuple[dict[str, Any], list[bytes]]:
    """A recorded frame's header and blobs."""
    found = guest_frames.receive(io.BytesIO((len(text) // 2).to_bytes(4, "big") + bytes.fromhex(text)))
    assert found is not None
    return found


async def exactly(stream: trio.SocketStream, size: int) -> bytes:
    found = b""
    while len(found) < size:
        found += await stream.receive_some(size - len(found))
    return found


async def test_a_planner_asks_as_it_was_recorded() -> None:
    recorded = load(TALK)
    assert await asked(recorded["sum"]) == recorded["asked"]


def test_a_fault_is_read_as_it_was_recorded() -> None:
    report, _ = frames.decode(bytes.fromhex(load(TALK)["fault"][-1][1]), reports.Report)
    assert (report.error, report.kind, report.operation, report.line) == ("job", "ValueError", "map", 2)


def test_a_worker_hears_and_says_what_was_recorded() -> None:
    recorded = load(WORKER)
    assert worked() == recorded
    arguments, stdin = messages.read_command_frame(memoryview(bytes.fromhex(recorded["command"])))
    assert (arguments, bytes(stdin)) == (["--words=ü".encode(), b"-v"], b"a line\n")
    assert guest_frames.receive(io.BytesIO(bytes.fromhex(recorded["done"]))) == (
        {"ok": "unit", "records_in": 3, "records_out": 4, "blobs": [3, 0]},
        [b"one", b""],
    )
    assert msgspec.json.decode(recorded["description"], type=Description) == DESCRIPTION
    assert msgspec.json.decode(recorded["report"], type=reports.Report) == REPORT
    assert plans.decode(recorded["plan of a command"].encode(), 0) == plans.of_command(3)
    assert left_out(REPORT) == []


if __name__ == "__main__":
    record(Path(sys.argv[1]))

"""Owners that lie, flood or leave: the volunteer goes on, serves the next job, and keeps nothing of theirs."""

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from p2p.compute import bundles
from p2p.compute.execution import unit as unit_module
from p2p.compute.execution import unit_inputs
from p2p.compute.execution.unit import action_key, pieces
from p2p.compute.volunteer import job_session, lateness, reports, slots, volunteering
from p2p.errors import PeerError
from p2p.ids import ShareId
from p2p.net import pace
from p2p.net.connection import Connection
from p2p.node import Node
from p2p.wire import work
from tests.support.constants import Shorten, set_constant
from tests.support.world import PATIENCE_S, World, hint_of, until
from tests.support.world_jobs import (
    MIB,
    SUM,
    Employer,
    hear_out,
    results,
    run_job,
    unit,
    volunteer,
    write_job,
)


@pytest.fixture(autouse=True)
def lively(shorten: Shorten) -> None:
    """What takes seconds among peers far apart, or hundreds of megabytes, takes less here."""
    shorten(reports, "HEARTBEAT_INTERVAL_S", 0.1)
    shorten(unit_inputs, "MAX_PENDING_BYTES", 4 * MIB)
    shorten(slots, "MAX_QUEUED_BYTES", 4 * MIB)
    shorten(unit_inputs, "MAX_RESULTS_BYTES", 2 * MIB)


def left_of_jobs(local: Node) -> list[str]:
    """What there is of jobs in a volunteer's home."""
    return [str(path) for name in ("volunteer/jobs", "fetches") for path in (local.home / name).rglob("*")]


async def free(local: Node) -> None:
    """Waits until it works for nobody; then nothing must be left."""
    assert local.volunteering is not None
    offering = local.volunteering
    await until(lambda: not offering.jobs)
    assert left_of_jobs(local) == []
    cache = local.home / "volunteer" / "inputs"
    assert all(Path(path).is_relative_to(cache) for row in local.library.shares() for path in row.paths)


async def serves(world: World, local: Node) -> None:
    """An honest owner's job runs, and leaves nothing either."""
    await free(local)
    owner = await world.peer("honest")
    answer = await run_job(owner, write_job(world, SUM), [hint_of(local)], partitions=6)
    assert answer.result == sum(i * i for i in range(60))
    await free(local)


OFFERS: dict[str, dict[str, Any]] = {
    "endless output": {"output_bytes": 2**52},
    "no output": {"output_bytes": 0},
    "endless memory": {"memory": 2**52},
    "no memory": {"memory": 0},
    "endless log": {"log_bytes": 2**52},
    "another build": {"digest": bytes(32)},
    "no runtime": {"runtime": "ruby-wasm"},
    "an empty name": {"runtime": ""},
}


async def test_offers_beyond_all_bounds_are_refused(world: World) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    employer = Employer(owner)
    bundle = await employer.bundle()
    for name, changed in OFFERS.items():
        (answer,) = await employer.tell(local, employer.offer(bundle, **changed))
        assert isinstance(answer, work.JobRefused), name
        assert answer.reason, name
    await serves(world, local)


async def test_limits_that_no_guest_can_keep(world: World) -> None:
    """They are the owner's to choose: each unit goes over them, and the owner hears so."""
    local, owner = await volunteer(world), await world.peer("owner")
    employer = Employer(owner)
    bundle = await employer.bundle()
    for changed in ({"wall_s": 1e-9}, {"memory": 1}, {"output_bytes": 1}, {"log_bytes": 0}):
        heard = await employer.tell(local, employer.offer(bundle, **changed), work.Units((unit(),)))
        (result,) = results(heard)
        assert result.kind in ({"plan"} if "log_bytes" in changed else {"limit", "broken"}), changed
        await free(local)


def out_of_place(job: bytes) -> dict[str, list[Any]]:
    """What rogue owners say once they are accepted; each ends the conversation."""
    body = bytes(work.MAX_PIECE_BYTES)
    large = unit(kind="", reads=(1,), sizes=(work.MAX_INLINE_BYTES,), inline=bytes(work.MAX_INLINE_BYTES))
    return {
        "more units than the window": [work.Units(tuple(unit(n) for n in range(1024)))] * 3,
        "units that take more than there is": [work.Units((large,) * 10)] * 30,
        "results that never came": [work.Units((unit(results=2**31),))],
        "reads that never came": [work.Units((unit(kind="", reads=(2,), sizes=(5, 5)),))],
        "reads of other sizes": [*pieces(unit().id, bytes(9)), work.Units((unit(kind="", reads=(2,), sizes=(5, 5)),))],
        "fewer reads than sizes": [work.Units((unit(kind="", reads=(3,), sizes=(1, 1), inline=b"ab"),))],
        "an input that the job does not have": [work.Units((unit(kind="lines", pieces=(work.Piece(63, "a", 0, 1),)),))],
        "pieces out of order": [work.Bytes(bytes(32), 5, 10, b"12345")],
        "pieces of changing size": [work.Bytes(bytes(32), 0, 10, b"12"), work.Bytes(bytes(32), 2, 11, b"34")],
        "more than was said": [work.Bytes(bytes(32), 0, 3, b"12345")],
        "something without end": [work.Bytes(bytes(32), n * len(body), 2**52, body) for n in range(40)],
        "things without end": [work.Bytes(n.to_bytes(32, "big"), 0, 1, b"") for n in range(17_000)],
        "an action's result that is too large": [work.Bytes(action_key(job, 0), 0, 2**52, b"")],
        "results of actions without end": [
            piece for action in range(10) for piece in pieces(action_key(job, action), bytes(300_000))
        ],
        "another offer": [work.JobOffer(bytes(32), bytes(32), "", bytes(32), 1, 1.0, 1, 1)],
        "a volunteer's words": [work.Results((work.Result(bytes(32)),))],
    }


async def test_words_out_of_place_end_the_conversation(world: World) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    employer = Employer(owner)
    bundle = await employer.bundle()
    for name in out_of_place(b""):
        offer = employer.offer(bundle)
        connection = await employer.dial(local)
        await connection.send(offer)
        assert isinstance(await connection.receive(), work.JobAccepted), name
        with suppress(PeerError):
            for message in out_of_place(offer.job)[name]:
                await connection.send(message)
        with trio.move_on_after(10) as patience:
            await hear_out(connection, 10**9)
        connection.close()
        assert not patience.cancelled_caught, name
        await free(local)
    await serves(world, local)


async def test_odd_words_harm_nothing(world: World) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    employer = Employer(owner)
    heard = await employer.tell(
        local,
        employer.offer(await employer.bundle()),
        work.Units(()),
        work.CancelUnits((bytes(32),) * 1024),
        work.Heartbeat((bytes(32),) * 1024),
        *[work.Slots(count) for count in (4096, 0, 4096, 0, 1)],
        *pieces(bytes(32), b"for nobody"),
        work.Units((unit(1), unit(1), unit(2))),
        work.Units((unit(3, action=2**31 - 1, stage=63, partition=2**31 - 1, first=2**53 - 1, count=2**53 - 1),)),
    )
    assert sorted(result.id for result in results(heard)) == [unit(n).id for n in (1, 1, 2, 3)]
    assert {message.count for message in heard if isinstance(message, work.Slots)} <= {0, 1}
    await serves(world, local)


async def test_an_owner_that_keeps_the_window_full_gets_all_its_answers(world: World) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    employer = Employer(owner)
    connection = await employer.dial(local)
    await connection.send(employer.offer(await employer.bundle()))
    accepted = await connection.receive()
    assert isinstance(accepted, work.JobAccepted)
    sent, answered, wanted = 0, 0, 8 * accepted.window
    with trio.fail_after(PATIENCE_S):
        while answered < wanted:
            more = min(accepted.window - (sent - answered), wanted - sent)
            if more:
                await connection.send(work.Units(tuple(unit(number) for number in range(sent, sent + more))))
                sent += more
            message = await connection.receive()
            answered += len(message.results) if isinstance(message, work.Results) else 0
    connection.close()
    await free(local)
    await serves(world, local)


async def test_bundles_that_are_none(world: World, monkeypatch: pytest.MonkeyPatch, shorten: Shorten) -> None:
    local = await volunteer(world)
    limits, patience_s = bundles.LIMITS, job_session.BUNDLE_SOURCE_TIMEOUT_S
    folders = {name: world.folder / name for name in ("other", "huge", "many")}
    for folder in folders.values():
        folder.mkdir()
    (folders["other"] / "some.txt").write_text("no bundle")
    with (folders["huge"] / "large.bin").open("wb") as file:
        file.truncate(bundles.LIMITS.size + 1)
    for number in range(300):
        (folders["many"] / f"{number}.py").touch()
    (world.folder / "single").write_text("a share that is one file")
    api = bundles.whole({})
    long = {f"{'n' * 250}/{'m' * 250}/{'o' * 250}/{n:0250}.py": b"" for n in range(1050)}
    cases: dict[str, tuple[Path | dict[str, bytes] | None, str, dict[str, Any]]] = {
        "another folder": (folders["other"], "not a bundle", {}),
        "one file": (world.folder / "single", "not a bundle", {}),
        "too large": (folders["huge"], "larger than", {}),
        "too many files": (folders["many"], "larger than", {}),
        "nobody has it": (None, "Nobody had it", {}),
        "names that are too long": (api | long, "too long", {}),
        "no module": (api, "not a bundle for", {"runtime": "wasm"}),
        "a module": ({bundles.MODULE: b"no module either"}, "not a bundle for", {}),
        "no module, though named so": ({bundles.MODULE: b"no module"}, "cannot be compiled", {"runtime": "wasm"}),
    }
    employer = Employer(await world.peer("owner"))
    for name, (made, why, changed) in cases.items():
        fewer = msgspec.structs.replace(limits, entries=250)
        # Not by `shorten`: it is `job_session` that reads `bundles.LIMITS`.
        monkeypatch.setattr(bundles, "LIMITS", fewer if name == "too many files" else limits)
        # Short only where it runs out: the manifest of the long names takes a slow machine longer than that.
        shorten(job_session, "BUNDLE_SOURCE_TIMEOUT_S", 0.4 if made is None else patience_s)
        if isinstance(made, Path):
            bundle = await employer.share(made)
        else:
            bundle = ShareId(os.urandom(32)) if made is None else await employer.bundle(files=made)
        accepted, *heard = await employer.tell(local, employer.offer(bundle, **changed), work.Units((unit(),)))
        assert isinstance(accepted, work.JobAccepted), name
        (refused,) = heard
        assert isinstance(refused, work.JobRefused), name
        assert why in refused.reason, name
        await free(local)
    await serves(world, local)


async def test_a_share_of_the_volunteers_own_stays_shared(world: World) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    published = await world.publish(local, {"some.txt": 1000})
    employer = Employer(owner)
    await employer.tell(local, employer.offer(published.link.share_id), work.Units((unit(),)))
    assert local.volunteering is not None
    offering = local.volunteering
    await until(lambda: not offering.jobs)
    (row,) = local.library.shares()
    assert (row.id, row.stale) == (published.link.share_id, None)


async def test_one_bundle_for_two_jobs_at_once(world: World) -> None:
    local, owner = await volunteer(world, cores=4), await world.peer("owner")
    employer = Employer(owner)
    bundle = await employer.bundle()
    heard: list[work.Result] = []

    async def offer(slots: int) -> None:
        connection = await employer.dial(local)
        await connection.send(employer.offer(bundle))
        assert isinstance(await connection.receive(), work.JobAccepted)
        await connection.send(work.Slots(slots))
        assert await connection.receive() == work.Slots(slots)
        begun.set()
        await connection.send(work.Units((unit(),)))
        heard.extend(results(await hear_out(connection, 1)))
        connection.close()

    async with trio.open_nursery() as nursery:
        for _ in range(2):
            begun = trio.Event()
            nursery.start_soon(offer, 1)
            await begun.wait()
    assert [result.kind for result in heard] == ["plan", "plan"]
    await free(local)


async def test_inputs_that_are_not_what_units_say(world: World) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    local.open_shares.patience_s = 0.3
    published = await world.publish(owner, {"some.txt": 1000, "sub/empty": 0})
    employer = Employer(owner)
    shares = (work.InputShare(published.link.share_id), work.InputShare(os.urandom(32)))
    offer = employer.offer(await employer.bundle(), inputs=shares)
    lies: dict[str, tuple[work.Piece, str, str]] = {
        "past the end": (work.Piece(0, "some.txt", 999, 2), "has no 2 bytes from 999 on", ""),
        "far past the end": (work.Piece(0, "some.txt", 2**53 - 1, 2**53 - 1), "are allowed", ""),
        "more than a unit may have": (work.Piece(0, "some.txt", 0, 2**53 - 1), "are allowed", ""),
        "no such file": (work.Piece(0, "other.txt", 0, 1), "no file 'other.txt'", "no file 'other.txt'"),
        "a folder": (work.Piece(0, "sub", 0, 1), "no file 'sub'", "no file 'sub'"),
        "outside": (work.Piece(0, "../../identity", 0, 1), "no file", "no file"),
        "absolute": (work.Piece(0, "/etc/passwd", 0, 1), "no file", "no file"),
        "no such share": (work.Piece(1, "some.txt", 0, 1), "Nobody had the input", "Nobody had the input"),
    }
    # Lines are cut from what there is: where that is nothing they are none.
    asked = {
        f"{kind}: {name}": unit(n, kind=kind, pieces=(lies[name][0],))
        for n, (kind, name) in enumerate((kind, name) for kind in ("files", "lines") for name in lies)
    }
    heard = {
        result.id: result for result in results(await employer.tell(local, offer, work.Units(tuple(asked.values()))))
    }
    for name in lies:
        for kind, why in (("files", lies[name][1]), ("lines", lies[name][2])):
            result = heard[asked[f"{kind}: {name}"].id]
            kinds = {"": "plan", "are allowed": "limit"}
            assert result.kind == kinds.get(why, "input"), (kind, name)
            assert why in result.text, (kind, name)
    await serves(world, local)


GUEST = """
import struct


def main(header, files, requests, replies):
    def reply(body):
        replies.write(struct.pack(">I", len(body)) + body)
        replies.flush()

    def frame(text, *blobs):
        return struct.pack(">I", len(text)) + text + b"".join(blobs)

    reply(frame(b'{"ok": "loaded", "blobs": []}'))
    while True:
        size = requests.read(4)
        if len(size) < 4:
            return
        requests.read(struct.unpack(">I", size)[0])
        reply(%s)
"""
ANSWERS = {
    "fifty thousand outputs": ("""frame(b'{"blobs": [' + b"0," * 49_999 + b"0]}")""", "limit"),
    "four thousand outputs": ("""frame(b'{"blobs": [' + b"0," * 4_095 + b"0]}")""", ""),
    "outputs that are not there": ("""frame(b'{"blobs": [5]}')""", "broken"),
    "less than nothing": ("""frame(b'{"blobs": [-1, 1]}')""", "broken"),
    "no JSON": ("""frame(b"[" * 100_000)""", "broken"),
    "no frame": ('b""', "broken"),
    "a header beyond its frame": ("""struct.pack(">I", 2**31) + b"{}" """, "broken"),
    "more records than there are numbers": ("""frame(b'{"records_in": 1e400, "blobs": []}')""", "broken"),
    "a kind of its own": ("""frame(b'{"error": "mutiny", "text": "' + b"x" * 900_000 + b'"}')""", "broken"),
    "a report that is none": ("""frame(b'{"error": "job", "line": -5, "blobs": []}')""", "broken"),
    "a report with too much": ("""frame(b'{"error": "job", "text": "' + b"x" * 90_000 + b'"}')""", "broken"),
}


async def test_guests_that_answer_what_they_like(world: World) -> None:
    """The loop that runs in guests comes with the bundle, so it is as much a stranger's as the job."""
    local, owner = await volunteer(world), await world.peer("owner")
    employer = Employer(owner)
    for name, (answer, kind) in ANSWERS.items():
        count = 2 if kind == "broken" else 100  # each of them costs a guest
        files = bundles.whole({"job.py": b""}) | {"p2p/jobs/guest.py": (GUEST % answer).encode()}
        offer = employer.offer(await employer.bundle(files=files))
        heard = results(await employer.tell(local, offer, work.Units(tuple(unit(n) for n in range(count)))))
        assert [result.kind for result in heard] == [kind] * count, name
        await free(local)
    await serves(world, local)


async def test_units_that_fit_no_frame(world: World, shorten: Shorten) -> None:
    shorten(unit_module, "MAX_FRAME_BYTES", MIB)
    local, owner = await volunteer(world), await world.peer("owner")
    employer = Employer(owner)
    large = unit(1, kind="", reads=(1,), sizes=(2 * MIB,))
    said = [*pieces(large.id, bytes(2 * MIB)), work.Units((unit(0), large, unit(2)))]
    heard = results(await employer.tell(local, employer.offer(await employer.bundle()), *said))
    assert {result.id: result.kind for result in heard} == {unit(0).id: "plan", large.id: "limit", unit(2).id: "plan"}
    await serves(world, local)


async def test_a_flood_of_offers(world: World) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    employer = Employer(owner)
    bundle = await employer.bundle()
    answers: Counter[str] = Counter()

    async def flood() -> None:
        for _ in range(20):
            with suppress(PeerError):
                connection = await employer.dial(local)
                await connection.send(*[employer.offer(bundle)] * 20)
                answers[type(await connection.receive()).__name__] += 1
                connection.close()

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(flood)
    # Where conversations end slower than others begin, one is told that the peer is busy.
    assert {"JobAccepted", "JobRefused"} <= answers.keys() <= {"JobAccepted", "JobRefused", "Failed"}
    await serves(world, local)


async def test_ten_thousand_jobs_offered_to_a_volunteer_at_work(world: World) -> None:
    """Each is refused, by one connection or by many; who is served is served meanwhile, and nothing piles up."""
    local, owner, flooder = await volunteer(world), await world.peer("owner"), await world.peer("flooder")
    assert local.volunteering is not None
    honest, rogue = Employer(owner), Employer(flooder)
    served = await honest.dial(local)
    offer = honest.offer(await honest.bundle())
    await served.send(offer)
    assert isinstance(await served.receive(), work.JobAccepted)
    answers: Counter[type] = Counter()
    before = memory()

    async def flood(connections: int, offers: int) -> None:
        """Whoever offers a second job on a connection has broken off the first conversation: only one is answered."""
        for _ in range(connections):
            connection = await rogue.dial(local)
            with suppress(PeerError):
                for _ in range(0, offers, 25):
                    await connection.send(*[rogue.offer(os.urandom(32)) for _ in range(25)])
            with suppress(PeerError):
                answers[type(await connection.receive())] += 1
            connection.close()

    heard: list[Any] = []
    for connections, offers in ((1, 10_000), (50, 25)):
        async with trio.open_nursery() as nursery:
            for _ in range(1 if connections == 1 else 8):
                nursery.start_soon(flood, connections, offers)
            for _ in range(20):
                await served.send(work.Units((unit(len(heard)),)))
                heard += results(await hear_out(served, 1))
    assert [result.kind for result in heard] == ["plan"] * 40
    assert answers.keys() == {work.JobRefused}
    assert answers.total() > 300
    assert local.volunteering.jobs.keys() == {offer.job}
    assert memory() - before < 64 * MIB
    served.close()
    await serves(world, local)


def memory() -> int:
    """Bytes that this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_an_owner_who_vanishes_while_its_bundle_is_fetched(world: World) -> None:
    local, owner = await volunteer(world), await world.peer("owner", upload_limit_bytes_per_s=MIB)
    employer = Employer(owner)
    files = bundles.whole({"job.py": SUM.encode(), "large.bin": os.urandom(8 * MIB)})
    connection = await employer.dial(local)
    await connection.send(employer.offer(await employer.bundle(files=files)))
    assert isinstance(await connection.receive(), work.JobAccepted)
    await until(lambda: list((local.home / "volunteer" / "jobs").rglob("*.part")))
    connection.close()
    await serves(world, local)


async def test_a_flood_of_words_is_slowed(world: World, shorten: Shorten) -> None:
    """An owner that cancelled nothing, as fast as it could, took most of the volunteer's time from all others."""
    local, owner = await volunteer(world), await world.peer("owner")
    employer = Employer(owner)
    offer = employer.offer(await employer.bundle())
    shorten(pace, "BURST", 20.0)
    shorten(pace, "UNITS_PER_S", 400.0)
    connection = await employer.dial(local)
    await connection.send(offer)
    assert isinstance(await connection.receive(), work.JobAccepted)
    began = trio.current_time()
    await connection.send(*[work.CancelUnits(())] * 100, *[work.Slots(1)] * 100, work.JobEnd(offer.job))
    await free(local)
    assert trio.current_time() - began > 0.4
    connection.close()


async def test_owners_who_say_nothing_more(world: World) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    employer = Employer(owner)
    with pytest.MonkeyPatch.context() as patch, trio.fail_after(PATIENCE_S):
        set_constant(patch, job_session, "SILENCE_TIMEOUT_S", 0.5)
        connection = await employer.dial(local)
        await connection.send(employer.offer(await employer.bundle()))
        await hear_out(connection, 1)
        connection.close()
    await serves(world, local)


async def test_an_owner_who_does_not_listen_gets_no_more_work_done(world: World, shorten: Shorten) -> None:
    shorten(reports, "MAX_UNSENT_BYTES", MIB)
    local, owner = await volunteer(world), await world.peer("owner")
    employer = Employer(owner)
    answer = "frame(b'{\"blobs\": [60000]}', bytes(60000))"
    files = bundles.whole({"job.py": b""}) | {"p2p/jobs/guest.py": (GUEST % answer).encode()}
    connection = await employer.dial(local)
    await connection.send(employer.offer(await employer.bundle(files=files)))
    assert isinstance(await connection.receive(), work.JobAccepted)
    assert local.volunteering is not None
    offering = local.volunteering
    for first in range(0, 1000, 100):
        await connection.send(work.Units(tuple(unit(n) for n in range(first, first + 100))))
    # What has gone into the connection's buffers, the bound, and what the guest was asked ahead.
    await until(lambda: offering.units_done > 17)
    done = offering.units_done
    for _ in range(20):
        await connection.send(work.Heartbeat())
        await trio.sleep(0.01)
    assert offering.units_done < 400, done
    assert len(results(await hear_out(connection, 1000))) == 1000
    connection.close()
    await serves(world, local)


async def test_an_owner_who_gives_nothing_to_do_makes_room(world: World, shorten: Shorten) -> None:
    shorten(volunteering, "IDLE_TIMEOUT_S", 0.2)
    local, owner = await volunteer(world), await world.peer("owner")
    employer = Employer(await world.peer("idler"))
    offer = employer.offer(await employer.bundle())
    connection = await employer.dial(local)
    await connection.send(offer)
    assert isinstance(await connection.receive(), work.JobAccepted)
    assert local.volunteering is not None
    idle = local.volunteering.jobs[offer.job]
    await until(lambda: idle.idle_s > 0.2)
    done = await run_job(owner, write_job(world, SUM), [hint_of(local)])
    assert done.result == sum(i * i for i in range(60))
    assert idle.over.is_set()
    connection.close()


async def at_work(
    local: Node, employer: Employer, offer: work.JobOffer, wanted: work.Unit
) -> tuple[Connection, job_session.JobSession]:
    """Has an accepted job do a unit."""
    connection = await employer.dial(local)
    await connection.send(offer)
    assert isinstance(await connection.receive(), work.JobAccepted)
    await connection.send(work.Units((wanted,)))
    assert local.volunteering is not None
    return connection, local.volunteering.jobs[offer.job]


async def has_its_turn(local: Node, owner: Employer) -> None:
    """Offers a job until it is accepted, or its turn comes, for less time than what trickles here would take."""
    connection = await owner.dial(local)
    await connection.send(owner.offer(os.urandom(32), waits=True))
    with trio.fail_after(PATIENCE_S / 4):
        while not isinstance(heard := await connection.receive(), work.JobAccepted) and heard != work.JobQueued(0):
            await connection.send(work.Heartbeat())
    connection.close()


async def test_an_owner_whose_bundle_trickles_makes_room(world: World, shorten: Shorten) -> None:
    """It sent its units at once and its bundle byte by byte: it cost nothing to hold all cores for ten minutes."""
    shorten(volunteering, "SWEEP_INTERVAL_S", 0.1)
    shorten(volunteering, "IDLE_TIMEOUT_S", 0.5)
    shorten(lateness, "LEAST_BYTES_PER_S", MIB)
    local, owner = await volunteer(world), Employer(await world.peer("owner"))
    employer = Employer(await world.peer("trickler", upload_limit_bytes_per_s=16 * 1024))
    files = bundles.whole({"job.py": SUM.encode(), "large.bin": os.urandom(2 * MIB)})
    offer = employer.offer(await employer.bundle(files=files))
    connection, trickling = await at_work(local, employer, offer, unit())
    await until(lambda: list((local.home / "volunteer" / "jobs").rglob("*.part")))
    await has_its_turn(local, owner)
    await until(trickling.over.is_set)
    connection.close()


async def test_an_owner_whose_inputs_trickle_makes_room(world: World, shorten: Shorten) -> None:
    """A unit may read for as long as something comes: a byte now and then held a core without end."""
    shorten(volunteering, "SWEEP_INTERVAL_S", 0.1)
    shorten(volunteering, "IDLE_TIMEOUT_S", 0.5)
    shorten(lateness, "LEAST_BYTES_PER_S", MIB)
    local, owner = await volunteer(world), Employer(await world.peer("owner"))
    trickler = await world.peer("trickler", upload_limit_bytes_per_s=16 * 1024)
    published = await world.publish(trickler, {"some.txt": 2 * MIB})
    employer = Employer(trickler)
    offer = employer.offer(await employer.bundle(), inputs=(work.InputShare(published.link.share_id),))
    reads = unit(kind="files", pieces=(work.Piece(0, "some.txt", 0, 2 * MIB),))
    connection, trickling = await at_work(local, employer, offer, reads)
    await until(lambda: trickling._fetched() > 16 * 1024)
    await has_its_turn(local, owner)
    await until(trickling.over.is_set)
    connection.close()

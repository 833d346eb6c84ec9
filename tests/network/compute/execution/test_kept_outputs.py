"""Large outputs that stay with the volunteers that made them, and are read there by others."""

from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest
import trio

from p2p.compute.execution import kept_outputs
from p2p.compute.execution.kept_outputs import OutputStore
from p2p.compute.execution.output_reader import OutputLocation, OutputNotKept, OutputReader
from p2p.compute.execution.unit import digest_of, output_digest, result_digest
from p2p.compute.volunteer.volunteering import Volunteering
from p2p.errors import BadData, PeerError, ProtocolViolation
from p2p.ids import PeerId
from p2p.net.connection import Connection
from p2p.node import Node
from p2p.progress import JobView, Progress
from p2p.store.disk import Disk
from p2p.wire import work
from p2p.wire.frames import DataHeader
from p2p.wire.link import PeerHint
from tests.support.pipes import connections
from tests.support.world import World, hint_of, until
from tests.support.world_jobs import run_job, volunteer, write_job

JOB, TOKEN, UNIT = b"j" * 32, b"t" * 16, b"u" * 32
OUTPUTS = [b"first" * 100, b"", b"third" * 300_000]
SHUFFLE = """\
def job(inputs, n: int = 20_000, rounds: int = 1):
    total = 0
    for _ in range(rounds):
        pairs = inputs.range(n).map(lambda i: (i * 7919 % 5003, "x" * 200))
        total += pairs.reduce_by_key(lambda a, b: a + b).map(lambda pair: len(pair[1])).sum()
    return total
"""


def volunteering(local: Node) -> Volunteering:
    assert local.volunteering is not None
    return local.volunteering


def place(holder: Node) -> OutputLocation:
    return OutputLocation(UNIT, result_digest(OUTPUTS), 0, holder.peer_id, hint_of(holder).address)


async def test_an_output_is_read_and_checked(world: World) -> None:
    holder, reader = await volunteer(world), await world.peer("reader")
    kept = volunteering(holder).kept_for(JOB, reader.peer_id, TOKEN)
    assert await kept.keep(UNIT, 0, OUTPUTS)
    await volunteering(holder).linger(JOB, reader.peer_id, "127.0.0.1", kept)
    reading = OutputReader(reader.dialer, JOB, TOKEN)
    where = place(holder)
    for number, output in enumerate(OUTPUTS):
        assert await reading.get(replace(where, number=number), len(output)) == output
    with pytest.raises(BadData):
        await reading.get(replace(where, number=2), len(OUTPUTS[2]) - 1)
    with pytest.raises(BadData):
        await reading.get(replace(where, digest=b"d" * 32), 10_000)
    for wrong in (replace(where, unit=b"v" * 32), replace(where, number=3)):
        with pytest.raises(PeerError):
            await reading.get(wrong, 10_000)
    stranger = OutputReader(reader.dialer, JOB, b"x" * 16)
    with pytest.raises(OutputNotKept):
        await stranger.get(where, 10_000)
    with pytest.raises(OutputNotKept):
        await OutputReader(reader.dialer, b"k" * 32, TOKEN).get(where, 10_000)
    # One that has changed on the disk is noticed.
    (file,) = (holder.home / "volunteer" / "kept").rglob(UNIT.hex())
    file.write_bytes(b"x" * file.stat().st_size)
    with pytest.raises(BadData):
        await reading.get(where, 10_000)
    file.unlink()
    with pytest.raises(OutputNotKept):
        await reading.get(where, 10_000)
    reading.close()


@pytest.mark.parametrize(
    "frames",
    [
        [(2, 0, 4000)],  # of another output
        [(0, 0, 2000), (0, 3000, 1000)],  # with a gap
        [(0, 0, 2000), (0, 2000, 2001)],  # more than was said
        [(0, 0, 100), (0, 100, 3900)],  # crumbs
        [(0, 0, 4000)],  # other bytes
    ],
)
async def test_a_holder_that_sends_something_else_is_not_believed(
    world: World, monkeypatch: pytest.MonkeyPatch, frames: list[tuple[int, int, int]]
) -> None:
    holder, reader = await volunteer(world), await world.peer("reader")
    kept = volunteering(holder).kept_for(JOB, reader.peer_id, TOKEN)
    assert await kept.keep(UNIT, 0, OUTPUTS)
    digests = output_digest(b"x" * 4000), output_digest(b"")

    async def lies(connection: Connection, wanted: work.GetOutput) -> None:
        await connection.send(work.OutputIs(digests, 4000))
        for frame in frames:
            await connection.send_data(*frame[:2], memoryview(bytes(frame[2])))
        await connection.flush()

    monkeypatch.setattr(kept, "answer", lies)
    await volunteering(holder).linger(JOB, reader.peer_id, "127.0.0.1", kept)
    reading = OutputReader(reader.dialer, JOB, TOKEN)
    with pytest.raises((BadData, ProtocolViolation)):
        await reading.get(replace(place(holder), digest=digest_of(digests)), 4000)
    reading.close()


async def test_an_output_is_read_as_it_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """32 readers that read nothing cost a volunteer 82 MiB each: the whole output, twice."""
    body = b"abcdefgh" * (1 << 17)
    kept = OutputStore(Disk(), tmp_path / "kept", TOKEN, 1 << 30)
    assert await kept.keep(UNIT, 0, [b"before", body])
    read: list[int] = []
    real = kept_outputs._read

    def counted(path: Path, offset: int, size: int) -> bytes:
        read.append(size)
        return real(path, offset, size)

    monkeypatch.setattr(kept_outputs, "_read", counted)
    ours, theirs = connections()
    await kept.answer(ours, work.GetOutput(JOB, TOKEN, UNIT, 1))
    assert max(read) <= work.MAX_PIECE_BYTES < len(body)
    said = await theirs.receive()
    assert isinstance(said, work.OutputIs)
    assert said.size == len(body)
    come = b""
    while len(come) < len(body):
        frame = await theirs.receive()
        assert isinstance(frame, DataHeader)
        assert (frame.chunk, frame.offset) == (1, len(come))
        piece = bytearray(frame.size)
        await theirs.receive_body(memoryview(piece))
        come += piece
    assert come == body


async def test_what_is_kept_is_bounded_and_goes_with_its_action(tmp_path: Path) -> None:
    kept = OutputStore(Disk(), tmp_path / "kept", TOKEN, 1000)
    assert await kept.keep(b"a" * 32, 0, [b"x" * 600])
    assert not await kept.keep(b"b" * 32, 1, [b"x" * 600])
    assert await kept.keep(b"c" * 32, 1, [b"x" * 300])
    await kept.forget_before(1)
    with pytest.raises(OutputNotKept):
        await kept.get(b"a" * 32, 0)
    assert await kept.get(b"c" * 32, 0) == b"x" * 300
    assert await kept.keep(b"b" * 32, 1, [b"x" * 600])
    await kept.clear()
    assert not (tmp_path / "kept").exists()


async def test_the_owners_line_does_not_carry_the_shuffle(world: World) -> None:
    owner = await world.peer("owner")
    nodes = [await volunteer(world, f"volunteer{n}") for n in range(2)]
    progress = Progress()
    path = write_job(world, SHUFFLE)
    hints = [hint_of(node) for node in nodes]
    answer = await run_job(owner, path, hints, progress=progress, partitions=6, args={"rounds": 2})
    assert answer.result == 2 * 20_000 * 200
    view = progress.view
    assert isinstance(view, JobView)
    # Each round makes 4 MB, of which each volunteer reads about half from the other.
    assert view.bytes_moved - view.bytes_fetched < 1_000_000 < view.bytes_fetched < 10_000_000
    assert view.losses == view.failures == 0
    for node in nodes:
        assert not list((node.home / "volunteer" / "kept").rglob("*"))


async def test_outputs_whose_holder_is_gone_are_made_again(world: World) -> None:
    owner = await world.peer("owner")
    nodes = [await volunteer(world, f"volunteer{n}") for n in range(2)]
    progress = Progress()
    path = write_job(world, SHUFFLE)
    stopped = trio.Event()

    async def stop_one() -> None:
        """Once it keeps something."""
        kept = nodes[1].home / "volunteer" / "kept"
        await until(lambda: list(kept.rglob("*")))
        await world.stop("volunteer1")
        stopped.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop_one)
        hints = [hint_of(node) for node in nodes]
        answer = await run_job(owner, path, hints, progress=progress, partitions=12, args={"n": 60_000})
        await stopped.wait()
    assert answer.result == 60_000 * 200


async def test_kept_outputs_that_vanish_from_a_disk_are_made_again(world: World) -> None:
    owner = await world.peer("owner")
    nodes = [await volunteer(world, f"volunteer{n}") for n in range(2)]
    progress = Progress()
    removed: list[Path] = []

    async def remove_some() -> None:
        kept = nodes[1].home / "volunteer" / "kept"
        await until(lambda: [path for path in kept.rglob("*") if path.is_file()])
        for path in kept.rglob("*"):
            if path.is_file():
                path.unlink()
                removed.append(path)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(remove_some)
        hints = [hint_of(node) for node in nodes]
        path = write_job(world, SHUFFLE)
        answer = await run_job(owner, path, hints, progress=progress, partitions=12, args={"n": 60_000})
    assert removed
    assert answer.result == 60_000 * 200
    assert progress.view is not None
    assert progress.view.failures > 0


async def test_what_a_reader_cannot_reach_comes_by_the_owner(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = await world.peer("owner")
    nodes = [await volunteer(world, f"volunteer{n}") for n in range(2)]
    progress = Progress()
    others = {node.peer_id for node in nodes}
    for node in nodes:
        # As behind two routers: the owner reaches both, neither reaches the other.
        real = node.dialer.dial

        async def dial(address, peer_id=None, *, real=real):  # type: ignore[no-untyped-def]
            if peer_id in others:
                raise PeerError("no way there")
            return await real(address, peer_id)

        monkeypatch.setattr(node.dialer, "dial", dial)
    pulled: dict[PeerId, list[bytes]] = {node.peer_id: [] for node in nodes}
    get = OutputReader.get

    async def noted(self: OutputReader, where: OutputLocation, size: int) -> bytes:
        output = await get(self, where, size)
        pulled[where.peer].append(where.unit)
        return output

    monkeypatch.setattr(OutputReader, "get", noted)
    hints: list[PeerHint] = [hint_of(node) for node in nodes]
    answer = await run_job(owner, write_job(world, SHUFFLE), hints, progress=progress, partitions=6)
    assert answer.result == 20_000 * 200
    assert progress.view is not None
    assert progress.view.bytes_moved > 1_000_000
    # All outputs of one unit before those of the next: few are in the owner's memory at once.
    assert any(len(set(units)) > 1 for units in pulled.values())
    for units in pulled.values():
        assert len([unit for unit, _ in groupby(units)]) == len(set(units))


async def test_a_holder_where_the_owner_cannot_know_is_not_dialled(world: World) -> None:
    reader = await world.peer("reader")
    reading = OutputReader(reader.dialer, JOB, TOKEN, told_from="203.0.113.5")
    with pytest.raises(OutputNotKept):
        await reading.get(place(reader), 10_000)

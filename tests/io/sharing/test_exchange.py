"""An exchange with somebody who breaks its rules: ended where it must be, answered where it can be, never starved."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from p2p.errors import PeerGone
from p2p.net import router
from p2p.net.connection import Connection
from p2p.node import Node
from p2p.sharing import exchange, uploads, wants
from p2p.wire import frames, messages
from p2p.wire.frames import DataHeader
from p2p.wire.messages import AnyMessage, Bad, Cancel, Failed, Gone, Have, Hurry, Open, Unknown, Want
from tests.support.constants import Shorten
from tests.support.pipes import endlessly, make_dialer
from tests.support.rogue_sources import Truth, play
from tests.support.world import NETWORK, Published, World, bare, same_tree, start_rogue, until

FILES = {"large.bin": 5 * 256 * 1024, "small.txt": 100}
CHUNKS = 6


@pytest.fixture
async def origin(world: World) -> Node:
    return await world.peer("origin")


@pytest.fixture
async def published(world: World, origin: Node) -> Published:
    return await world.publish(origin, FILES)


@asynccontextmanager
async def dialled(folder: Path, local: Node) -> AsyncIterator[Connection]:
    """A proven connection of a peer that says what the test says."""
    connection = await make_dialer(folder / "asker", NETWORK).dial(local.addresses[0], local.peer_id)
    try:
        with trio.fail_after(20):
            yield connection
    finally:
        connection.close()


@asynccontextmanager
async def opened(folder: Path, published: Published) -> AsyncIterator[Connection]:
    """The same, in an exchange."""
    async with dialled(folder, published.origin) as connection:
        await connection.send(Open(share=published.link.share_id))
        assert await connection.receive() == Have(ranges=((0, CHUNKS),))
        yield connection


async def next_message(connection: Connection) -> AnyMessage | Unknown:
    """What is said next that is no chunk."""
    while True:
        message = await connection.receive()
        if not isinstance(message, DataHeader):
            return message
        await connection.receive_body(memoryview(bytearray(message.size)))


async def is_ended(connection: Connection) -> bool:
    try:
        while True:
            await next_message(connection)
    except PeerGone:
        return True


async def takes(connection: Connection, chunk: int, size: int) -> bool:
    """Whether the chunk comes when it is wanted."""
    await connection.send(Want(first=chunk, count=1))
    got = 0
    while got < size:
        header = await connection.receive()
        if isinstance(header, DataHeader):
            assert (header.chunk, header.offset) == (chunk, got)
            await connection.receive_body(memoryview(bytearray(header.size)))
            got += header.size
    return True


OUT_OF_BOUNDS: list[AnyMessage] = [
    Want(first=CHUNKS, count=1),
    Want(first=0, count=CHUNKS + 1),
    Want(first=2**53 - 1, count=2**53 - 1),
    Cancel(first=CHUNKS, count=1),
    Cancel(first=0, count=2**53 - 1),
    Hurry(first=CHUNKS, count=1),
    Have(ranges=((CHUNKS, 1),)),
    Have(ranges=((0, 2**53 - 1),)),
    Have(ranges=((2**53 - 1, 1),)),
    Have(ranges=((2, 1), (1, 1))),
    Have(ranges=((0, 3), (2, 1))),
    Have(first=CHUNKS, bits=b"\x01"),
    Have(first=0, bits=b"\x40"),
    Have(first=2**53 - 1, bits=b"\x01"),
    Have(bits=b"\xff" * 500_000),
    Gone(ranges=((0, CHUNKS + 1),)),
    Gone(ranges=((1, 1), (0, 1))),
    Bad(chunk=CHUNKS),
    Bad(chunk=2**53 - 1),
]


@pytest.mark.parametrize("message", OUT_OF_BOUNDS, ids=repr)
async def test_what_is_beyond_the_share_ends_the_exchange(
    tmp_path: Path, world: World, published: Published, message: AnyMessage
) -> None:
    async with opened(tmp_path, published) as connection:
        await connection.send(message)
        assert await is_ended(connection)
    # Nobody else is the worse for it.
    fetcher = await world.peer("fetcher")
    await world.get(fetcher, bare(published.link), [published.hint])


@pytest.mark.parametrize(
    "message",
    [
        Have(first=CHUNKS, bits=b""),
        Have(first=CHUNKS - 1, bits=b"\x01\x00\x00"),
        Have(ranges=((0, 1), (1, 5))),
        Gone(ranges=()),
        Gone(ranges=((0, CHUNKS),)),
        Cancel(first=0, count=CHUNKS),
        messages.Choked(position=2**53 - 1),
        messages.Peers(peers=((bytes(32), "192.0.2.1", 1),)),
        messages.Peers(peers=((bytes(32), "not an address", 1),)),
        Failed(reason=messages.UNSUPPORTED),
    ],
    ids=repr,
)
async def test_what_is_odd_but_allowed_changes_nothing(
    tmp_path: Path, published: Published, message: AnyMessage
) -> None:
    async with opened(tmp_path, published) as connection:
        await connection.send(message)
        assert await takes(connection, 0, 256 * 1024)


async def test_chunks_that_nobody_asked_for_end_the_exchange(tmp_path: Path, published: Published) -> None:
    async with opened(tmp_path, published) as connection:
        await connection.send_data(0, 0, memoryview(bytes(100)))
        await connection.flush()
        assert await is_ended(connection)


@pytest.mark.parametrize("in_exchange", [False, True])
async def test_what_is_unknown_is_answered_unsupported(tmp_path: Path, published: Published, in_exchange: bool) -> None:
    body = b"\x81\xa4type\xa7newfang"
    odd: list[bytes] = [
        frames.HEADER.pack(len(body), frames.CONTROL, 0) + body,
        frames.control_frame(messages.Root(body=b"unasked")),
        frames.control_frame(messages.Hello()),
    ]
    async with opened(tmp_path, published) if in_exchange else dialled(tmp_path, published.origin) as connection:
        for frame in odd:
            await connection._stream.send_all(frame)
            assert await next_message(connection) == Failed(reason=messages.UNSUPPORTED)
        await connection.send(Failed(reason="nothing to say to that"))
        if not in_exchange:
            await connection.send(messages.GetRoot(share=published.link.share_id))
            assert isinstance(await next_message(connection), messages.Root)


async def test_a_second_open_within_an_exchange_is_unsupported(tmp_path: Path, published: Published) -> None:
    async with opened(tmp_path, published) as connection:
        await connection.send(Open(share=published.link.share_id))
        assert await next_message(connection) == Failed(reason=messages.UNSUPPORTED)
        assert await takes(connection, 1, 256 * 1024)


async def test_before_an_exchange_what_is_not_here_is_not_found(tmp_path: Path, published: Published) -> None:
    share = published.link.share_id
    async with dialled(tmp_path, published.origin) as connection:
        for asked in (
            Open(share=bytes(32)),
            messages.GetRoot(share=bytes(32)),
            messages.GetPart(share=bytes(32), index=0),
            messages.GetPart(share=share, index=1),
            messages.GetPart(share=share, index=2**53 - 1),
        ):
            await connection.send(asked)
            reply = await next_message(connection)
            assert isinstance(reply, Failed)
            assert reply.reason == messages.NOT_FOUND
        await connection.send(Open(share=share))
        assert isinstance(await next_message(connection), Have)
        assert await takes(connection, 5, 100)


async def test_manifests_may_be_asked_within_an_exchange(tmp_path: Path, published: Published) -> None:
    async with opened(tmp_path, published) as connection:
        await connection.send(messages.GetPart(share=published.link.share_id, index=0), messages.Browse())
        assert isinstance(await next_message(connection), messages.Part)
        listed = await next_message(connection)
        assert isinstance(listed, messages.Listed)
        assert [(item.share, item.name, item.files) for item in listed.shares] == [(published.link.share_id, "data", 2)]


@pytest.mark.parametrize("cursor", ["", "5", "99999999999999999999", "-1", "a", "²", "0x1"])
async def test_any_cursor_is_answered(tmp_path: Path, published: Published, cursor: str) -> None:
    async with dialled(tmp_path, published.origin) as connection:
        await connection.send(messages.Browse(cursor=cursor))
        listed = await next_message(connection)
        assert isinstance(listed, messages.Listed)
        assert listed.cursor == ""
        assert len(listed.shares) == (0 if cursor == "5" else 1)


async def test_a_peer_says_nothing_and_is_hung_up_on(tmp_path: Path, published: Published, shorten: Shorten) -> None:
    shorten(router, "REQUEST_TIMEOUT_S", 0.1)
    shorten(exchange, "IDLE_TIMEOUT_S", 0.1)
    async with dialled(tmp_path, published.origin) as connection:
        assert await is_ended(connection)
    async with opened(tmp_path, published) as connection:
        assert await is_ended(connection)


async def test_too_many_requests_at_once_end_the_exchange(
    tmp_path: Path, published: Published, shorten: Shorten
) -> None:
    shorten(wants, "MAX_WANTS", 10)
    async with opened(tmp_path, published) as connection:
        # Nothing is read meanwhile, so the serving side is stuck after a few chunks.
        with pytest.raises(PeerGone):
            await endlessly(lambda: connection.send(*[Want(first=0, count=CHUNKS)] * 10))


async def test_unread_wants_take_little_memory(tmp_path: Path, published: Published) -> None:
    async with opened(tmp_path, published) as connection:
        await connection.send(*[Want(first=n % 2 * 2, count=1) for n in range(8000)])
        swarm = published.origin.sharing._swarms.get(published.link.share_id)
        assert swarm is not None
        (party,) = swarm.members.values()
        assert isinstance(party, exchange.Exchange)
        await until(lambda: len(party._uploads) > 4000)
        assert party._uploads._wants.bytes_held <= 8 * 8000


async def test_cancelling_does_not_make_more_wants_than_there_may_be(
    tmp_path: Path, published: Published, shorten: Shorten
) -> None:
    """Each want is one range, and each cancelled chunk would cut all of them in two."""
    shorten(wants, "MAX_WANTS", 60)
    async with opened(tmp_path, published) as connection:
        await connection.send(*[Want(first=0, count=CHUNKS)] * 50)
        with pytest.raises(PeerGone):
            await endlessly(lambda: connection.send(*[Cancel(first=chunk, count=1) for chunk in (1, 3)]))


async def test_a_cancelled_want_is_not_sent(tmp_path: Path, world: World) -> None:
    slow = await world.peer("slow", upload_limit_bytes_per_s=1024 * 1024)
    published = await world.publish(slow, FILES)
    async with opened(tmp_path, published) as connection:
        await connection.send(Want(first=0, count=CHUNKS), Cancel(first=1, count=3), Want(first=2, count=1))
        chunks: list[int] = []
        while 5 not in chunks or 2 not in chunks:
            header = await connection.receive()
            assert isinstance(header, DataHeader)
            await connection.receive_body(memoryview(bytearray(header.size)))
            chunks.append(header.chunk)
    assert chunks == [0, 4, 5, 2]


async def test_what_is_hurried_is_sent_first_and_nothing_is_sent_twice(tmp_path: Path, world: World) -> None:
    slow = await world.peer("slow", upload_limit_bytes_per_s=1024 * 1024)
    published = await world.publish(slow, FILES)
    async with opened(tmp_path, published) as connection:
        await connection.send(Want(first=0, count=4), Hurry(first=3, count=CHUNKS - 3), Want(first=4, count=1))
        chunks: list[int] = []
        left = 5 * 256 * 1024
        while left:
            header = await connection.receive()
            assert isinstance(header, DataHeader)
            await connection.receive_body(memoryview(bytearray(header.size)))
            left -= header.size
            if header.offset == 0:
                chunks.append(header.chunk)
    assert chunks == [3, 0, 1, 2, 4]


async def test_the_second_connection_of_a_peer_takes_the_place_of_its_first(
    tmp_path: Path, published: Published
) -> None:
    async with opened(tmp_path, published) as first, opened(tmp_path, published) as second:
        assert await is_ended(first)
        assert await takes(second, 0, 256 * 1024)


async def test_whoever_waits_for_a_slot_shows_that_it_is_there_by_an_answer(tmp_path: Path, world: World) -> None:
    """To be told its place in the line was work: a peer that says nothing kept its connection's place by it."""
    origin = await world.peer("origin", upload_slots=1, upload_limit_bytes_per_s=64 * 1024)
    published = await world.publish(origin, FILES)
    async with opened(tmp_path / "served", published) as served, opened(tmp_path / "waits", published) as waits:
        await served.send(Want(first=0, count=CHUNKS))
        assert isinstance(await served.receive(), DataHeader)
        await waits.send(Want(first=0, count=1))
        assert await next_message(waits) == messages.Choked(position=1)
        swarm = origin.sharing._swarms.get(published.link.share_id)
        assert swarm is not None
        uses = [party.connection.use for party in swarm.members.values() if isinstance(party, exchange.Exchange)]
        assert [use.round_trips for use in uses] == [0, 0]
        await waits.send(Have())
        await until(lambda: [use.round_trips for use in uses] == [0, 1])
        assert [use.bytes > 0 for use in uses] == [True, False]


async def test_a_slot_is_kept_between_two_requests(tmp_path: Path, world: World, shorten: Shorten) -> None:
    """Whoever had got all that it had asked for lost its slot, and where others wait it waited for each request."""
    shorten(uploads, "PAUSE_S", 60)
    origin = await world.peer("origin", upload_slots=1)
    published = await world.publish(origin, FILES)
    async with opened(tmp_path / "served", published) as served, opened(tmp_path / "waits", published) as waits:
        assert await takes(served, 0, 256 * 1024)
        await waits.send(Want(first=0, count=1))
        assert await next_message(waits) == messages.Choked(position=1)
        for chunk in range(1, 5):
            await served.send(Want(first=chunk, count=1))
            header = await served.receive()
            assert isinstance(header, DataHeader)
            await served.receive_body(memoryview(bytearray(header.size)))


async def test_a_slot_falls_free_after_a_pause(tmp_path: Path, world: World, shorten: Shorten) -> None:
    shorten(uploads, "PAUSE_S", 0.01)
    origin = await world.peer("origin", upload_slots=1)
    published = await world.publish(origin, FILES)
    async with opened(tmp_path / "served", published) as served, opened(tmp_path / "waits", published) as waits:
        for _ in range(2):
            assert await takes(served, 0, 256 * 1024)
            assert await takes(waits, 0, 256 * 1024)


async def test_a_peer_that_is_told_to_wait_answers_at_once(world: World, published: Published) -> None:
    truth = Truth.of(published.origin, published.link.share_id)
    fetcher = await world.peer("fetcher")
    answered = trio.Event()

    async def has_it_wait(connection: Connection) -> None:
        async def on_want(connection: Connection, truth: Truth, want: Want) -> None:
            await connection.send(messages.Choked(position=3))
            while await next_message(connection) != Have():
                pass
            answered.set()

        await play(connection, truth, on_want)

    async with trio.open_nursery() as nursery:
        source = await start_rogue(nursery, fetcher, has_it_wait)
        nursery.start_soon(world.get, fetcher, bare(published.link), [source.hint])
        with trio.fail_after(exchange.KEEP_ALIVE_S / 2):
            await answered.wait()
        nursery.cancel_scope.cancel()


async def test_what_is_sent_of_a_share_is_of_use_once(tmp_path: Path, published: Published) -> None:
    """Parts of manifests were of no use at all: whoever fetched a long one was displaced in the middle of it."""
    root, part = (
        messages.GetRoot(share=published.link.share_id),
        messages.GetPart(share=published.link.share_id, index=0),
    )
    async with opened(tmp_path, published) as connection:
        swarm = published.origin.sharing._swarms.get(published.link.share_id)
        assert swarm is not None
        (party,) = swarm.members.values()
        assert isinstance(party, exchange.Exchange)
        use, sizes = party.connection.use, []
        for asked in (root, part, root, part):
            await connection.send(asked)
            reply = await next_message(connection)
            assert isinstance(reply, messages.Root | messages.Part)
            sizes.append(len(reply.body))
        assert await takes(connection, 5, 100)
        assert await takes(connection, 5, 100)
        assert use.bytes == sum(sizes[:2]) + 200
        for _ in range(2):
            for chunk in range(5):
                assert await takes(connection, chunk, 256 * 1024)
        assert use.bytes == sum(sizes[:2]) + sum(FILES.values()), "nobody needs more of a share than it has"


FLOODS: dict[str, list[AnyMessage]] = {
    "want": [Want(first=0, count=1), Cancel(first=0, count=1)],
    "cancel": [Cancel(first=0, count=CHUNKS)],
    "hurry": [Want(first=0, count=2), Hurry(first=1, count=1)],
    "part": [messages.GetPart(share=bytes(32), index=0)],
    "have": [Have(ranges=((0, 2), (3, 3))), Gone(ranges=((0, 2),))],
    "bad": [Bad(chunk=0)],
    "choked": [messages.Choked(position=1), messages.Choked(position=0)],
    "peers": [messages.Peers(peers=tuple((bytes([n]) * 32, "127.0.0.1", 1 + n) for n in range(60)))],
    "browse": [messages.Browse()],
    "open": [Open(share=bytes(32))],
}


@pytest.mark.parametrize("in_exchange", [False, True])
@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_neither_kills_nor_starves_a_peer(
    tmp_path: Path, world: World, published: Published, name: str, in_exchange: bool
) -> None:
    """Two connections say the same over and over, one reading what is answered, one not; an honest peer fetches."""
    fetcher = await world.peer("fetcher")
    flood = b"".join(map(frames.control_frame, FLOODS[name])) * 200
    flowing = trio.Event()

    async def attack(folder: Path, *, reads: bool) -> None:
        entered = opened(folder, published) if in_exchange else dialled(folder, published.origin)
        try:
            async with entered as connection, trio.open_nursery() as nursery:
                if reads:
                    nursery.start_soon(is_ended, connection)
                while True:
                    await connection._stream.send_all(flood)
                    flowing.set()
        except* PeerGone:
            flowing.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: attack(tmp_path / "reader", reads=True))
        nursery.start_soon(lambda: attack(tmp_path / "mute", reads=False))
        await flowing.wait()
        with trio.fail_after(60):
            await world.get(fetcher, bare(published.link), [published.hint])
        nursery.cancel_scope.cancel()
    assert same_tree(published.path, world.out(fetcher) / "data")


async def test_giant_and_broken_frames_end_only_their_connection(
    tmp_path: Path, world: World, published: Published
) -> None:
    for junk in (frames.HEADER.pack(2**32 - 1, 0, 0), frames.HEADER.pack(5, 0, 0) + b"\xc1abcd", b"\xff" * 5000):
        async with opened(tmp_path, published) as connection:
            await connection._stream.send_all(junk)
            assert await is_ended(connection)
    fetcher = await world.peer("fetcher")
    await world.get(fetcher, bare(published.link), [published.hint])


async def test_what_is_no_longer_here_is_said_and_the_rest_is_sent(tmp_path: Path, published: Published) -> None:
    (published.path / "large.bin").write_bytes(b"changed")
    async with opened(tmp_path, published) as connection:
        await connection.send(Want(first=0, count=1))
        assert await next_message(connection) == Gone(ranges=((0, 5),))
        await connection.send(*[Want(first=0, count=5), Want(first=2, count=1)] * 100)
        assert await takes(connection, 5, 100)

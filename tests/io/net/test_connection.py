"""Frames between two ends of an in-memory stream: any chunking, bounds, cancellation, and the handshake."""

import random
import struct
import tracemalloc
from collections.abc import Sequence

import pytest
import trio

from p2p.errors import MalformedMessage, PeerError, PeerGone, ProtocolViolation
from p2p.identity import Identity
from p2p.net import connection as connections_module
from p2p.net.connection import Connection
from p2p.wire import frames, handshake, messages
from p2p.wire.frames import DataHeader
from p2p.wire.messages import AnyMessage, Challenge, Have, Hello, Proof, Unknown, Want
from tests.support.constants import Shorten
from tests.support.pipes import NETWORK, Pipe, connections, endlessly, pipes, proven

Said = AnyMessage | tuple[int, int, bytes]


async def say(connection: Connection, said: Sequence[Said]) -> None:
    for item in said:
        if isinstance(item, tuple):
            chunk, offset, data = item
            await connection.send_data(chunk, offset, memoryview(data))
        else:
            await connection.send(item)
    await connection.flush()


async def hear(connection: Connection, count: int) -> list[object]:
    heard: list[object] = []
    for _ in range(count):
        message = await connection.receive()
        if isinstance(message, DataHeader):
            data = bytearray(message.size)
            await connection.receive_body(memoryview(data))
            heard.append((message.chunk, message.offset, bytes(data)))
        else:
            heard.append(message)
    return heard


def some_talk(seed: int, scale: int = 1) -> list[Said]:
    """Messages and data frames of all sizes, smaller by the scale."""
    noise = random.Random(seed)
    said: list[Said] = []
    for _ in range(noise.randrange(1, 12)):
        match noise.randrange(5):
            case 0:
                said.append(Have(bits=noise.randbytes(noise.choice([0, 1, 5000, 70_000]) // scale)))
            case 1:
                said.append(Want(first=noise.randrange(2**53), count=1))
            case 2:
                said.append((noise.randrange(2**40), 0, noise.randbytes(1 + noise.randrange(9000) // scale)))
            case 3:
                size = 1 + noise.randrange(16_000, 262_144) // scale
                said.append((noise.randrange(2**40), 2**31, noise.randbytes(size)))
            case _:
                said.append(messages.Part(index=3, body=noise.randbytes(200_000 // scale)))
    return said


@pytest.mark.parametrize("most", [1, 2, 7, 19, 20, 1000, 65_536, 1 << 20])
@pytest.mark.parametrize("seed", range(5))
async def test_frames_arrive_whole_and_in_order_however_the_bytes_are_cut(seed: int, most: int) -> None:
    noise = random.Random(seed)
    said = some_talk(seed, scale=100 if most <= 20 else 1)
    one, other = connections(lambda: noise.randrange(1, most + 1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(say, one, said)
        heard = await hear(other, len(said))
    assert heard == said
    one.close()
    with pytest.raises(PeerGone):
        await other.receive()


async def test_both_directions_at_once() -> None:
    one, other = connections(lambda: 777)
    there, back = some_talk(1) * 3, some_talk(2) * 3
    heard: dict[str, list[object]] = {}

    async def listen(name: str, connection: Connection, count: int) -> None:
        heard[name] = await hear(connection, count)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(say, one, there)
        nursery.start_soon(say, other, back)
        nursery.start_soon(listen, "there", other, len(there))
        nursery.start_soon(listen, "back", one, len(back))
    assert heard == {"there": there, "back": back}


async def test_many_senders_never_mix_their_frames() -> None:
    one, other = connections(lambda: 4096)
    per_sender = 20

    async def send(number: int) -> None:
        noise = random.Random(number)
        for index in range(per_sender):
            size = noise.choice([10, 3000, 20_000, 100_000])
            await one.send_data(number, index, memoryview(bytes([number]) * size))
            await one.send(Want(first=number, count=index + 1))
        await one.flush()

    chunks: dict[int, list[int]] = {}
    wants: dict[int, list[int]] = {}
    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(send, number)
        for item in await hear(other, 6 * per_sender * 2):
            if isinstance(item, tuple):
                number, index, data = item
                assert data == bytes([number]) * len(data)
                chunks.setdefault(number, []).append(index)
            else:
                assert isinstance(item, Want)
                wants.setdefault(item.first, []).append(item.count)
    assert chunks == {number: list(range(per_sender)) for number in range(6)}
    assert wants == {number: list(range(1, per_sender + 1)) for number in range(6)}


async def test_small_data_frames_share_a_send() -> None:
    stream, other = pipes()
    connection = Connection(stream)
    for chunk in range(100):
        await connection.send_data(chunk, 0, memoryview(bytes(100)))
    assert stream.sent == []
    # What follows does not overtake them.
    await connection.send(Want(first=7, count=1))
    assert len(stream.sent) == 2
    heard = await hear(proven(other, Identity.generate(), Identity.generate(), dialed=False), 101)
    assert heard[:100] == [(chunk, 0, bytes(100)) for chunk in range(100)]
    assert heard[100] == Want(first=7, count=1)
    await connection.flush()
    assert len(stream.sent) == 2


async def test_held_back_frames_go_out_by_themselves_once_they_are_many() -> None:
    stream, _ = pipes()
    connection = Connection(stream)
    for chunk in range(1000):
        await connection.send_data(chunk, 0, memoryview(bytes(1000)))
    assert sum(stream.sent) > 900_000
    assert max(stream.sent) < 70_000
    assert len(stream.sent) < 20


@pytest.mark.parametrize("seed", range(10))
async def test_frames_that_wait_are_taken_in_order(seed: int) -> None:
    noise = random.Random(seed)
    said = [(n, 0, noise.randbytes(noise.choice([1, 3000, 16_384, 16_385, 70_000]))) for n in range(60)]
    one, other = connections(lambda: noise.choice([1, 5000, 100_000]))
    heard: list[tuple[int, int, bytes]] = []
    taken = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(say, one, said)
        while len(heard) < len(said):
            [frame] = await hear(other, 1)
            assert isinstance(frame, tuple)
            heard.append(frame)
            following = len(heard)
            while following < len(said) and (view := other.take(following, len(said[following][2]))) is not None:
                heard.append((following, 0, bytes(view)))
                following += 1
                taken += 1
    assert heard == said
    assert other.bytes_in == sum(len(data) for _, _, data in said)
    assert taken


async def test_only_the_next_chunk_is_taken_and_only_if_all_of_it_is_there() -> None:
    stream, other = pipes()
    connection = proven(other, Identity.generate(), Identity.generate(), dialed=False)
    first = frames.data_header(1, 0, 10) + bytes(10)
    await stream.send_all(first + frames.data_header(2, 0, 10) + bytes(9))
    assert connection.take(1, 10) is None
    assert await hear(connection, 1) == [(1, 0, bytes(10))]
    assert connection.take(2, 10) is None
    second = frames.data_header(3, 5, 10) + bytes(10)
    await stream.send_all(b"\0" + first + first + frames.control_frame(Have()) + second)
    assert await hear(connection, 2) == [(2, 0, bytes(10)), (1, 0, bytes(10))]
    assert connection.take(1, 9) is connection.take(1, 11) is connection.take(2, 10) is None
    view = connection.take(1, 10)
    assert view is not None
    assert bytes(view) == bytes(10)
    assert connection.take(0, 10) is None
    assert await hear(connection, 1) == [Have()]
    assert connection.take(3, 10) is None
    assert await hear(connection, 1) == [(3, 5, bytes(10))]


async def test_a_large_body_goes_straight_into_the_chunks_buffer() -> None:
    one, other = connections()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(say, one, [(5, 0, bytes(262_144))])
        header = await other.receive()
        assert header == DataHeader(5, 0, 262_144)
        await other.receive_body(memoryview(bytearray(262_144)))
    assert isinstance(other._stream, Pipe)
    assert other._stream.largest > 190_000


@pytest.mark.parametrize(
    "header",
    [
        struct.pack(">IBH", 2**32 - 1, frames.CONTROL, 0),
        struct.pack(">IBH", frames.MAX_CONTROL_BYTES + 1, frames.CONTROL, 0),
        struct.pack(">IBH", 2**32 - 1, frames.DATA, 0),
        struct.pack(">IBH", frames.MAX_DATA_BYTES + 13, frames.DATA, 0),
        struct.pack(">IBH", 12, frames.DATA, 0),
        struct.pack(">IBH", 0, frames.DATA, 0),
        struct.pack(">IBH", 10, 2, 0),
        struct.pack(">IBH", 10, frames.CONTROL, 1),
    ],
)
async def test_a_frame_out_of_bounds_is_refused_on_its_header(header: bytes) -> None:
    stream, other = pipes()
    connection = proven(other, Identity.generate(), Identity.generate(), dialed=False)
    await stream.send_all(header)
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolViolation):
            await connection.receive()
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("seed", range(30))
async def test_random_bytes_raise_only_a_peers_errors(seed: int) -> None:
    noise = random.Random(seed)
    stream, other = pipes(lambda: noise.randrange(1, 500))
    connection = proven(other, Identity.generate(), Identity.generate(), dialed=False)
    junk = noise.randbytes(2000)
    if seed % 2:  # a right header before it, so that the body is looked at
        junk = struct.pack(">IBH", 1500, 0, 0) + junk
    await stream.send_all(junk)
    stream.close()
    with pytest.raises(PeerError):
        await endlessly(lambda: hear(connection, 1))


async def test_an_unknown_message_is_not_the_end() -> None:
    stream, other = pipes()
    connection = proven(other, Identity.generate(), Identity.generate(), dialed=False)
    body = b"\x82\xa4type\xa7newfang\xa1x\x01"
    await stream.send_all(struct.pack(">IBH", len(body), 0, 0) + body)
    assert await connection.receive() == Unknown("newfang")


async def test_a_cancelled_send_closes_the_connection() -> None:
    stream, other = pipes()
    stuck = trio.Event()

    class Stuck(Pipe):
        async def send_all(self, *pieces: bytes | bytearray | memoryview) -> None:
            await super().send_all(b"".join(pieces)[:10])
            stuck.set()
            await trio.sleep_forever()

    slow = Stuck(stream._stream, lambda: 1000)
    connection = Connection(slow)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.send, Have(bits=bytes(1000)))
        await stuck.wait()
        nursery.cancel_scope.cancel()
    assert slow.closed
    with pytest.raises(PeerGone):
        await connection.send(Want(first=0, count=1))
    with pytest.raises(PeerGone):
        await hear(Connection(other), 1)


async def test_who_is_cancelled_while_waiting_to_send_disturbs_nobody() -> None:
    one, other = connections()
    assert isinstance(one._stream, Pipe)
    go_on = trio.Event()
    held = trio.Event()
    plain_send = one._stream.send_all

    async def slow_send(*pieces: bytes | bytearray | memoryview) -> None:
        held.set()
        await go_on.wait()
        await plain_send(*pieces)

    one._stream.send_all = slow_send  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.send, Want(first=1, count=1))
        await held.wait()
        async with trio.open_nursery() as impatient:
            impatient.start_soon(one.send, Want(first=2, count=1))
            await trio.testing.wait_all_tasks_blocked()
            impatient.cancel_scope.cancel()
        nursery.start_soon(one.send, Want(first=3, count=1))
        go_on.set()
        assert await hear(other, 2) == [Want(first=1, count=1), Want(first=3, count=1)]


async def test_a_connection_wears_out(shorten: Shorten) -> None:
    shorten(connections_module, "WORN_OUT_BYTES", 100_000)
    one, other = connections()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hear, other, 2)
        await one.send(Have(bits=bytes(90_000)))
        with pytest.raises(PeerGone, match="carried enough"):
            await one.send(Have(bits=bytes(90_000)))


class Turns:
    """Another task of the same peer, and how often it had its turn."""

    taken = 0

    async def take(self) -> None:
        while True:
            await trio.lowlevel.checkpoint()
            self.taken += 1


async def test_a_fast_peer_leaves_others_their_turn() -> None:
    one, other = connections()
    turns = Turns()
    said = [Want(first=n, count=1) for n in range(5000)]
    await one.send(*said)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turns.take)
        await hear(other, len(said))
        nursery.cancel_scope.cancel()
    assert turns.taken >= 5


# The handshake.


async def greet(
    dialer: Identity, listener: Identity, *, believed: Identity | None = None, cut: int = 1 << 20
) -> tuple[Connection, Connection]:
    """Both parts of the handshake; the dialer believes to be at `believed`."""
    one, other = pipes(lambda: cut)
    dialing, listening = Connection(one), Connection(other)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            dialing.greet_listener,
            dialer,
            NETWORK,
            (believed or listener).peer_id,
            "192.0.2.1",
            Hello(port=7, software="d"),
        )
        nursery.start_soon(listening.greet_dialer, listener, NETWORK, "192.0.2.2", Hello(port=9, software="l"))
    return dialing, listening


@pytest.mark.parametrize("cut", [1, 13, 1 << 20])
async def test_both_know_each_other_after_the_handshake(cut: int) -> None:
    dialer, listener = Identity.generate(), Identity.generate()
    dialing, listening = await greet(dialer, listener, cut=cut)
    assert (dialing.ends.peer_id, dialing.ends.dialer) == (listener.peer_id, dialer.peer_id)
    assert (listening.ends.peer_id, listening.ends.dialer) == (dialer.peer_id, dialer.peer_id)
    assert str(dialing.ends.claimed_address) == "192.0.2.1:9"
    assert str(listening.ends.claimed_address) == "192.0.2.2:7"
    assert (dialing.ends.hello.software, listening.ends.hello.software) == ("l", "d")
    # From here on, large frames may pass.
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dialing.send, Have(bits=bytes(100_000)))
        assert await listening.receive() == Have(bits=bytes(100_000))


async def test_a_connection_that_is_not_proven_takes_little_memory() -> None:
    """Hundreds that ended in the middle of their handshakes took 64 KiB each."""
    one, other = pipes()
    tracemalloc.start()
    try:
        unproven = [Connection(other) for _ in range(100)]
        assert tracemalloc.get_traced_memory()[0] < 100 * 8 * 1024
    finally:
        tracemalloc.stop()
    assert len(unproven) == 100
    one.close()


async def test_what_is_said_along_with_the_handshake_is_heard() -> None:
    dialer, listener = Identity.generate(), Identity.generate()
    one, other = pipes()
    listening = Connection(other)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listening.greet_dialer, listener, NETWORK, "192.0.2.2", Hello())
        proof = handshake.prove(dialer, NETWORK, await challenge_of(one), listener.peer_id)
        said: list[AnyMessage] = [
            proof,
            Hello(),
            Have(bits=bytes(300)),
            Want(first=1, count=1),
            Have(bits=bytes(30_000)),
        ]
        await one.send_all(b"".join(map(frames.control_frame, said)))
    assert await hear(listening, 3) == said[2:]


async def fails(listener: Identity, said: Sequence[AnyMessage | bytes]) -> PeerError:
    """How the listener's part ends towards one who says these things whatever is asked."""
    one, other = pipes()
    for item in said:
        await one.send_all(item if isinstance(item, bytes) else frames.control_frame(item))
    with pytest.raises(PeerError) as caught:
        await Connection(other).greet_dialer(listener, NETWORK, "127.0.0.1", Hello())
    return caught.value


async def challenge_of(stream: Pipe) -> Challenge:
    message = await Connection(stream).receive()
    assert isinstance(message, Challenge)
    return message


async def test_a_proof_with_another_key_is_refused() -> None:
    liar, victim, listener = Identity.generate(), Identity.generate(), Identity.generate()
    one, other = pipes()
    async with trio.open_nursery() as nursery:

        async def pretend() -> None:
            challenge = await challenge_of(one)
            signed = handshake.prove(liar, NETWORK, challenge, listener.peer_id).signature
            await one.send_all(frames.control_frame(Proof(peer_id=victim.peer_id, signature=signed)))

        nursery.start_soon(pretend)
        with pytest.raises(ProtocolViolation, match="does not hold the key"):
            await Connection(other).greet_dialer(listener, NETWORK, "127.0.0.1", Hello())


async def test_a_proof_is_of_no_use_to_a_listener_that_passes_the_challenge_on() -> None:
    """The man in the middle gives the true listener's nonce to a dialer and that dialer's proof to the listener."""
    victim, middle, listener = Identity.generate(), Identity.generate(), Identity.generate()
    victim_end, towards_victim = pipes()
    towards_listener, listener_end = pipes()
    async with trio.open_nursery() as nursery:

        async def relay() -> None:
            challenge = await challenge_of(towards_listener)
            await towards_victim.send_all(frames.control_frame(challenge))
            proof = await Connection(towards_victim).receive()
            assert isinstance(proof, Proof)
            await towards_listener.send_all(frames.control_frame(proof))

        async def dial() -> None:
            # TLS has proven to the victim that it talks to the man in the middle.
            with pytest.raises(PeerGone):
                await Connection(victim_end).greet_listener(victim, NETWORK, middle.peer_id, "127.0.0.1", Hello())

        nursery.start_soon(relay)
        nursery.start_soon(dial)
        with pytest.raises(ProtocolViolation, match="does not hold the key"):
            await Connection(listener_end).greet_dialer(listener, NETWORK, "127.0.0.1", Hello())
        towards_victim.close()


async def test_a_recorded_proof_does_not_serve_twice() -> None:
    victim, listener = Identity.generate(), Identity.generate()
    recorded = handshake.prove(victim, NETWORK, Challenge(nonce=bytes(32)), listener.peer_id)
    assert isinstance(await fails(listener, [recorded]), ProtocolViolation)


@pytest.mark.parametrize(
    "said",
    [
        [Hello()],
        [Want(first=0, count=1)],
        [frames.data_header(0, 0, 10) + bytes(10)],
        [struct.pack(">IBH", frames.MAX_HANDSHAKE_BYTES + 1, 0, 0)],
        [struct.pack(">IBH", 2**32 - 1, 0, 0)],
        [frames.control_frame(messages.Root(body=bytes(frames.MAX_HANDSHAKE_BYTES)))],
        [struct.pack(">IBH", 3, 0, 0) + b"abc"],
    ],
)
async def test_anything_but_a_proof_ends_the_handshake(said: list[AnyMessage | bytes]) -> None:
    assert isinstance(await fails(Identity.generate(), said), ProtocolViolation | MalformedMessage)


async def test_a_handshake_frame_may_have_16_kib_and_not_a_byte_more() -> None:
    """The bound holds until both have said hello."""
    dialer, listener = Identity.generate(), Identity.generate()
    one, other = pipes()
    async with trio.open_nursery() as nursery:

        async def talk() -> None:
            challenge = await challenge_of(one)
            proof = frames.control_frame(handshake.prove(dialer, NETWORK, challenge, listener.peer_id))
            await one.send_all(proof + struct.pack(">IBH", frames.MAX_HANDSHAKE_BYTES + 1, 0, 0))

        nursery.start_soon(talk)
        with pytest.raises(ProtocolViolation, match="control frame of"):
            await Connection(other).greet_dialer(listener, NETWORK, "127.0.0.1", Hello())


async def test_tiny_frames_let_others_have_their_turn() -> None:
    """A million frames of one byte held up the whole peer for seconds."""
    one, other = pipes()
    turns, count = Turns(), 3000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.send_all, (frames.data_header(0, 0, 1) + b"x") * count)
        nursery.start_soon(turns.take)
        connection = Connection(other)
        for _ in range(count):
            header = await connection.receive()
            assert isinstance(header, DataHeader)
            await connection.receive_body(memoryview(bytearray(1)))
        nursery.cancel_scope.cancel()
    assert turns.taken >= count // 300

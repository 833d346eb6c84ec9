"""The stream of a TLS connection over loopback: whatever its pace, and however it ends."""

import os
from pathlib import Path

import pytest
import trio

from p2p.errors import PeerGone
from p2p.net import tls
from p2p.net.connection import Connection
from p2p.net.dialer import wrap
from p2p.wire.messages import Have, Want
from tests.support.constants import Shorten
from tests.support.pipes import NETWORK, endlessly, make_dialer


async def secure_pair(folder: Path) -> tuple[tls.TlsStream, tls.TlsStream]:
    """Two ends of a TLS connection within this process: the dialer's and the listener's."""
    one, other = make_dialer(folder / "one"), make_dialer(folder / "other")
    with trio.socket.socket() as waiting:
        await waiting.bind(("127.0.0.1", 0))
        waiting.listen(1)
        dialling = trio.socket.socket()
        await dialling.connect(waiting.getsockname())
        accepted, _ = await waiting.accept()
    ends = wrap(dialling, one.contexts, server=False), wrap(accepted, other.contexts, server=True)
    async with trio.open_nursery() as nursery:
        for end in ends:
            nursery.start_soon(end.handshake, NETWORK)
    return ends


async def test_much_goes_through_in_both_directions_at_once(tmp_path: Path) -> None:
    ends = await secure_pair(tmp_path)
    size = 3_000_000
    sent = [os.urandom(size), os.urandom(size)]
    heard = [bytearray(size), bytearray(size)]
    async with trio.open_nursery() as nursery:
        for end, said, into in zip(ends, sent, heard, strict=True):
            nursery.start_soon(end.send_all, said)
            nursery.start_soon(end.receive_exactly_into, memoryview(into))
    assert heard == [sent[1], sent[0]]
    for end in ends:
        end.close()


async def test_what_has_come_is_received_without_waiting(tmp_path: Path) -> None:
    one, other = await secure_pair(tmp_path)
    view, said = memoryview(bytearray(200_000)), os.urandom(150_000)
    assert one.receive_ready_into(view) == 0
    heard = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other.send_all, said)
        while len(heard) < len(said):
            heard += view[: await one.receive_some_into(view)]
    assert heard == said
    # Several records are ready at once, of which the first can be had alone; their end is told only after them.
    await other.send_all(b"a")
    await other.send_all(b"bcd")
    await other.send_all(b"ef")
    other.close()
    assert await one.receive_some_into(view) == 1
    assert one.receive_ready_into(view) == 5
    for _ in range(2):
        with pytest.raises(PeerGone):
            one.receive_ready_into(view)
    one.close()


async def test_a_flood_of_small_messages_does_not_make_reads_grow(tmp_path: Path) -> None:
    one, other = await secure_pair(tmp_path)
    view, heard = memoryview(bytearray(64 * 1024)), 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other.send_all, *[bytes(1000)] * 2000)
        while heard < 2_000_000:
            await trio.testing.wait_all_tasks_blocked()  # so that much waits in the socket
            heard += await one.receive_some_into(view)
            heard += one.receive_ready_into(view)
            assert one._incoming.pending < 40 * 1024
    one.close()
    other.close()


async def test_the_other_ends_closing_is_noticed(tmp_path: Path) -> None:
    one, other = await secure_pair(tmp_path)
    await other.send_all(b"abc")
    other.close()
    view = memoryview(bytearray(10))
    assert await one.receive_some_into(view) == 3
    for receive in (one.receive_some_into, one.receive_exactly_into):
        with pytest.raises(PeerGone):
            await receive(view)
    with pytest.raises(PeerGone):
        await endlessly(lambda: one.send_all(bytes(100_000)))
    one.close()


@pytest.mark.parametrize("how", ["receive_some_into", "receive_exactly_into", "send_all"])
async def test_whoever_waits_on_a_stream_hears_of_its_close(tmp_path: Path, how: str) -> None:
    one, other = await secure_pair(tmp_path)
    noticed = False

    async def wait() -> None:
        nonlocal noticed
        with pytest.raises(PeerGone):
            await getattr(one, how)(memoryview(bytearray(50_000_000)))
        noticed = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        one.close()
    assert noticed
    for use in (one.receive_some_into, one.receive_exactly_into, one.send_all):
        with pytest.raises(PeerGone):
            await use(memoryview(bytearray(10)))
    one.close()
    other.close()


@pytest.mark.parametrize("how", ["receive_some_into", "receive_exactly_into"])
async def test_a_close_at_the_very_moment_that_bytes_arrive(tmp_path: Path, how: str) -> None:
    """The reader is already woken by the bytes when another task closes the stream under it."""
    for _ in range(12):  # in which order trio wakes the two is left to chance
        one, other = await secure_pair(tmp_path)
        twin = os.dup(one._socket.fileno())

        async def read(stream: tls.TlsStream) -> None:
            with pytest.raises(PeerGone):
                await endlessly(lambda: getattr(stream, how)(memoryview(bytearray(100))))

        async def close(stream: tls.TlsStream, descriptor: int) -> None:
            await trio.lowlevel.wait_readable(descriptor)
            stream.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, one)
            nursery.start_soon(close, one, twin)
            await trio.testing.wait_all_tasks_blocked()
            await other.send_all(bytes(10))
        os.close(twin)
        other.close()


async def test_a_peer_that_reads_nothing_is_given_up(tmp_path: Path, shorten: Shorten) -> None:
    shorten(tls, "STALL_TIMEOUT_S", 0.2)
    one, other = await secure_pair(tmp_path)
    with pytest.raises(PeerGone, match="read almost nothing"):
        await one.send_all(bytes(50_000_000))
    one.close()
    other.close()


async def test_a_peer_that_reads_slowly_is_not_given_up(tmp_path: Path, shorten: Shorten) -> None:
    """The system says that there is room only once a good part of its queue is empty, which may take minutes."""
    shorten(tls, "STALL_TIMEOUT_S", 0.4)
    one, other = await secure_pair(tmp_path)
    ended = trio.Event()

    async def send() -> None:
        with pytest.raises(PeerGone, match=r"closed|broke"):
            await one.send_all(bytes(50_000_000))
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        buffer = memoryview(bytearray(128 * 1024))
        for _ in range(40):
            await other.receive_exactly_into(buffer)
            assert not ended.is_set()
            await trio.sleep(0.02)
        one.close()
        other.close()


async def test_a_peer_that_reads_a_little_now_and_then_is_given_up(tmp_path: Path, shorten: Shorten) -> None:
    """Its time began again with whatever it read."""
    shorten(tls, "STALL_TIMEOUT_S", 0.3)
    shorten(tls, "MIN_READ_BYTES", 40_000_000)
    one, other = await secure_pair(tmp_path)
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            buffer = memoryview(bytearray(256 * 1024))
            while True:
                await other.receive_exactly_into(buffer)
                await trio.sleep(0.01)

        nursery.start_soon(read)
        with pytest.raises(PeerGone, match="read almost nothing"):
            await one.send_all(bytes(50_000_000))
        nursery.cancel_scope.cancel()
    one.close()
    other.close()


async def test_bytes_of_a_frame_count_before_the_frame_is_whole(tmp_path: Path) -> None:
    one, other = await secure_pair(tmp_path)
    connection = Connection(other)
    before = connection.arrived
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.receive_body, memoryview(bytearray(100_000)))
        await one.send_all(bytes(50_000))
        with trio.fail_after(10):
            while connection.arrived == before:  # noqa: ASYNC110 - a figure has no event
                await trio.sleep(0.005)
        assert connection.bytes_in == 0
        nursery.cancel_scope.cancel()
    one.close()
    other.close()


async def test_a_cancelled_send_over_tls_closes_the_connection(tmp_path: Path) -> None:
    one, other = await secure_pair(tmp_path)
    connection = Connection(one)
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            while True:
                await connection.send(Have(bits=bytes(500_000)))

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.cancel_scope.cancel()
    with pytest.raises(PeerGone):
        await connection.send(Want(first=0, count=1))
    with pytest.raises(PeerGone):
        await one.receive_some_into(memoryview(bytearray(1)))
    other.close()

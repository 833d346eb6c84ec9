"""How sources misbehave. Each function takes the truth and returns how a `Rogue` behaves on a connection."""

import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from p2p.core.shares.layout import Layout
from p2p.ids import ShareId
from p2p.net.connection import Connection
from p2p.node import Node
from p2p.store.library import SharedFiles
from p2p.wire import frames, messages
from p2p.wire.frames import DataHeader
from p2p.wire.messages import Failed, Have, Want

Behaviour = Callable[[Connection], Awaitable[None]]
OnWant = Callable[[Connection, "Truth", Want], Awaitable[None]]


@dataclass
class Truth:
    """The share as it really is."""

    share: ShareId
    root: bytes
    parts: list[bytes]
    layout: Layout
    files: SharedFiles

    @classmethod
    def of(cls, local: Node, share: ShareId) -> "Truth":
        files = SharedFiles(local.library, share)
        root = local.library.root(share)
        assert root is not None
        parts = [local.library.part(share, n) or b"" for n in range(files.layout.manifest.root.part_count)]
        return cls(share, root, parts, files.layout, files)

    def chunk(self, number: int) -> bytes:
        place = self.layout.place(number)
        with self.files.reading(place.entry) as (descriptor, _), open(descriptor, "rb", closefd=False) as file:
            file.seek(place.offset)
            return file.read(place.size)


async def play(
    connection: Connection, truth: Truth, on_want: OnWant, *, root: bytes | None = None, part: bytes = b""
) -> None:
    """Behaves like an honest peer, except when asked for chunks, or with a wrong root or part."""
    while True:
        message = await connection.receive()
        match message:
            case messages.GetRoot():
                await connection.send(messages.Root(truth.root if root is None else root))
            case messages.GetPart(index=index):
                await connection.send(messages.Part(index, part or truth.parts[index]))
            case messages.Open():
                await connection.send(Have(ranges=((0, truth.layout.chunks),)))
            case messages.Want():
                await on_want(connection, truth, message)
            case DataHeader():
                await connection.receive_body(memoryview(bytearray(message.size)))
            case _:
                pass


async def send_chunk(connection: Connection, number: int, data: bytes) -> None:
    """Sends the chunk in frames, correctly."""
    for at in range(0, len(data), frames.MAX_DATA_BYTES):
        await connection.send_data(number, at, memoryview(data)[at : at + frames.MAX_DATA_BYTES])
    await connection.flush()


async def _wrong_bytes(connection: Connection, truth: Truth, want: Want) -> None:
    for number in range(want.first, want.first + want.count):
        await send_chunk(connection, number, bytes(len(truth.chunk(number))))


async def _one_wrong_bit(connection: Connection, truth: Truth, want: Want) -> None:
    for number in range(want.first, want.first + want.count):
        data = bytearray(truth.chunk(number))
        data[-1] ^= 1
        await send_chunk(connection, number, bytes(data))


async def _too_long(connection: Connection, truth: Truth, want: Want) -> None:
    await send_chunk(connection, want.first, truth.chunk(want.first) + b"more")


async def _out_of_order(connection: Connection, truth: Truth, want: Want) -> None:
    await connection.send_data(want.first, 4096, memoryview(bytes(20_000)))


async def _unasked(connection: Connection, truth: Truth, want: Want) -> None:
    other = (want.first + want.count) % truth.layout.chunks
    await send_chunk(connection, other, truth.chunk(other))


async def _beyond(connection: Connection, truth: Truth, want: Want) -> None:
    await connection.send_data(truth.layout.chunks + 5, 0, memoryview(bytes(20_000)))


async def _gone(connection: Connection, truth: Truth, want: Want) -> None:
    await connection.send(messages.Gone(ranges=((want.first, want.count),)))


async def _silent(connection: Connection, truth: Truth, want: Want) -> None:
    await trio.sleep_forever()


async def _dribbles(connection: Connection, truth: Truth, want: Want) -> None:
    data = truth.chunk(want.first)
    for at in range(0, len(data), frames.MIN_DATA_BYTES):
        await connection.send_data(want.first, at, memoryview(data)[at : at + frames.MIN_DATA_BYTES])
        await connection.flush()
        await trio.sleep(1)


async def _crumbs(connection: Connection, truth: Truth, want: Want) -> None:
    """Sends frames of one byte each, as fast as they go: each costs the receiver as much as one of 256 KiB."""
    data = truth.chunk(want.first)
    for at in range(len(data)):
        await connection.send_data(want.first, at, memoryview(data)[at : at + 1])


async def _closes(connection: Connection, truth: Truth, want: Want) -> None:
    data = truth.chunk(want.first)
    await connection.send_data(want.first, 0, memoryview(data)[: len(data) // 2])
    await connection.flush()
    connection.close()


async def _floods(connection: Connection, truth: Truth, want: Want) -> None:
    while True:
        await connection.send(*[messages.Want(first=n % truth.layout.chunks, count=1) for n in range(500)])


async def _flood_of_maps(connection: Connection, truth: Truth, want: Want) -> None:
    while True:
        await connection.send(*[Have(ranges=((0, truth.layout.chunks),))] * 100)


async def _giant_frame(connection: Connection, truth: Truth, want: Want) -> None:
    await connection._stream.send_all(struct.pack(">IBH", 2**32 - 1, 0, 0) + bytes(1000))
    await trio.sleep_forever()


async def _garbage(connection: Connection, truth: Truth, want: Want) -> None:
    await connection._stream.send_all(bytes(range(256)) * 16)
    await trio.sleep_forever()


async def _names_others(connection: Connection, truth: Truth, want: Want) -> None:
    for n in range(200):
        peers = tuple((bytes([n]) * 32, f"127.66.{n}.{m}", 1 + m) for m in range(60))
        await connection.send(messages.Peers(peers=peers))
    await trio.sleep_forever()


async def _chokes(connection: Connection, truth: Truth, want: Want) -> None:
    await connection.send(messages.Choked(position=7))


async def _have_beyond(connection: Connection, truth: Truth, want: Want) -> None:
    await connection.send(Have(ranges=((truth.layout.chunks, 10**15),)))


async def _have_bits_beyond(connection: Connection, truth: Truth, want: Want) -> None:
    await connection.send(Have(first=2**52, bits=b"\xff" * 1000))


ON_WANT: dict[str, OnWant] = {
    function.__name__.strip("_"): function
    for function in (
        _wrong_bytes,
        _one_wrong_bit,
        _too_long,
        _out_of_order,
        _unasked,
        _beyond,
        _gone,
        _silent,
        _dribbles,
        _crumbs,
        _closes,
        _floods,
        _flood_of_maps,
        _giant_frame,
        _garbage,
        _names_others,
        _chokes,
        _have_beyond,
        _have_bits_beyond,
    )
}


def behaviours(truth: Truth) -> dict[str, Behaviour]:
    """All kinds of misbehaviour, by name."""

    def on_want(function: OnWant) -> Behaviour:
        async def behave(connection: Connection) -> None:
            await play(connection, truth, function)

        return behave

    async def wrong_root(connection: Connection) -> None:
        await play(connection, truth, _silent, root=truth.root[:-1] + b"x")

    async def wrong_part(connection: Connection) -> None:
        await play(connection, truth, _silent, part=bytes(len(truth.parts[0])))

    async def refuses(connection: Connection) -> None:
        while True:
            await connection.receive()
            await connection.send(Failed(reason=messages.NOT_FOUND))

    async def says_nothing(connection: Connection) -> None:
        await trio.sleep_forever()

    async def hangs_up(connection: Connection) -> None:
        connection.close()

    found = {name: on_want(function) for name, function in ON_WANT.items()}
    found.update(
        wrong_root=wrong_root, wrong_part=wrong_part, refuses=refuses, says_nothing=says_nothing, hangs_up=hangs_up
    )
    return found


NAMES = [*ON_WANT, "wrong_root", "wrong_part", "refuses", "says_nothing", "hangs_up"]

"""Ten thousand forged answers: none ends a peer, and what they cost is bounded."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
import trio
from trio.testing import MockClock

from p2p.core.shares import manifest
from p2p.errors import PeerError
from p2p.net.connection import Connection
from p2p.store import content
from p2p.wire import frames, messages
from p2p.wire.messages import AnyMessage
from tests.field.piped import Getter, Peer, closing
from tests.field.piped import no_threads as no_threads
from tests.support.pipes import connections
from tests.support.small_shares import Share, noise

ANSWERS = 10_000
CHUNK = 256 * 1024

pytestmark = pytest.mark.usefixtures("no_threads")


class Forger:
    """Says anything that an exchange may hear, true or not, in any order, and junk now and then."""

    def __init__(self, share: Share, seed: int) -> None:
        self._share = share
        self._random = Random(seed)
        self._asked: list[int] = []
        self._mild: list[Callable[[], AnyMessage]] = [
            lambda: self._want(),
            lambda: self._want(),
            lambda: messages.Cancel(first=self._chunk(), count=1),
            lambda: messages.Have(ranges=((self._chunk(), 1),)),
            lambda: messages.Have(bits=b"\x01"),
            lambda: messages.Gone(ranges=((self._chunk(), 1),)),
            lambda: messages.Choked(position=self._random.choice([0, 1, 2**53 - 1])),
            lambda: messages.Peers(peers=((self._random.randbytes(32), "127.0.0.1", 1),)),
            lambda: messages.Failed(reason=messages.UNSUPPORTED),
            lambda: messages.Hello(),
            lambda: messages.Root(body=self._random.randbytes(100)),
            lambda: messages.Part(index=self._chunk(), body=b"part"),
            lambda: messages.Listed(shares=()),
            lambda: messages.PointerIs(record=b"record"),
            lambda: messages.Open(share=share.manifest.share_id),
            lambda: messages.DialMe(share=bytes(32)),
        ]
        self._wild: list[Callable[[], AnyMessage]] = [
            lambda: messages.Bad(chunk=self._random.choice(self._asked or [0])),
            lambda: messages.Bad(chunk=self._random.choice(self._asked or [0])),
            lambda: messages.Bad(chunk=self._chunk()),
            lambda: messages.Bad(chunk=2**53 - 1),
            lambda: messages.Want(first=self._chunk(), count=2**53 - 1),
            lambda: messages.Have(first=share.layout.chunks, bits=self._random.randbytes(9)),
            lambda: messages.Gone(ranges=((2, 1), (1, 1))),
            lambda: messages.Failed(reason=messages.LIED),
        ]

    def _chunk(self) -> int:
        return self._random.randrange(self._share.layout.chunks)

    def _want(self) -> AnyMessage:
        self._asked = [*self._asked[-3:], self._chunk()]
        return messages.Want(first=self._asked[-1], count=1)

    async def say(self, connection: Connection) -> None:
        """One more answer. Raises PeerError once the peer has hung up."""
        chance = self._random.random()
        if chance < 0.005:
            await connection._stream.send_all(self._random.randbytes(50))
        elif chance < 0.02:
            chunk = self._chunk()
            data = self._random.randbytes(min(self._share.layout.size(chunk), frames.MAX_DATA_BYTES))
            await connection.send_data(chunk, self._random.choice([0, 0, 1]), memoryview(data))
            await connection.flush()
        else:
            await connection.send(self._random.choice(self._wild if chance < 0.06 else self._mild)())


async def forge(forger: Forger, connection: Connection, most: int) -> int:
    """Says up to `most` answers, until the other side hangs up, and reads what comes meanwhile. Returns how many."""
    said = 0

    async def drain() -> None:
        with suppress(PeerError):
            while True:
                message = await connection.receive()
                if isinstance(message, frames.DataHeader):
                    await connection.receive_body(memoryview(bytearray(message.size)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain)
        with suppress(PeerError):
            while said < most:
                await forger.say(connection)
                said += 1
                if said % 10 == 0:
                    await trio.sleep(0.1)
        connection.close()
    return said


async def test_no_forged_answer_ends_a_source_or_costs_more_than_it_sent(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = said = 0

    def counted(view: bytes | memoryview) -> bytes:
        nonlocal hashed
        hashed += len(view)
        return manifest.hash_chunk(view)

    monkeypatch.setattr(content, "hash_chunk", counted)
    share = Share({"small": noise(1, 100), "large": noise(2, 3 * CHUNK), "other": noise(3, 1000)})
    source, honest = Peer(tmp_path / "source"), Getter(tmp_path / "honest", share)
    swarm, forger = source.share(share), Forger(share, 7)

    async def serve(connection: Connection) -> None:
        with pytest.raises(PeerError):
            await source.exchange(connection, swarm).run()

    async with closing(source, honest):
        while said < ANSWERS:
            ours, theirs = connections()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve, theirs)
                said += await forge(forger, ours, 100)
        assert source.traffic.bytes_uploaded > 0
        assert 0 < hashed <= source.traffic.bytes_uploaded
        assert not swarm.members
        assert [row.stale for row in source.library.shares()] == [None]
        await honest.run((source, swarm))
    assert honest.finished


async def test_no_forged_answer_ends_a_getter(tmp_path: Path, autojump_clock: MockClock) -> None:
    share = Share({"small": noise(1, 100), "large": noise(2, 3 * CHUNK), "other": noise(3, 1000)})
    source, getter = Peer(tmp_path / "source"), Getter(tmp_path / "getter", share)
    forger = Forger(share, 8)
    said = 0

    async def lie(connection: Connection) -> None:
        nonlocal said
        said += await forge(forger, connection, 100)

    async with closing(source, getter):
        while said < ANSWERS / 10:
            getter.errors.clear()
            await getter.run(lie)
            assert not getter.finished
        getter.errors.clear()
        await getter.run((source, source.share(share)))
    assert (getter.errors, getter.finished) == ([], True)

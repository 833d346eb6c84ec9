"""Files that changed behind an old date, and complaints about chunks: the truth is on the disk, and is looked up."""

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path

import pytest
import trio

from p2p.control.protocol import ShareRequest
from p2p.errors import PeerGone
from p2p.homes import DATABASE_FILE
from p2p.ids import to_text
from p2p.net.connection import Connection
from p2p.net.dialer import Dialer
from p2p.node import Node
from p2p.store.stamps import Stamp
from p2p.wire.frames import DataHeader
from p2p.wire.messages import LIED, AnyMessage, Bad, Failed, Gone, Have, Open, Unknown, Want
from tests.support.pipes import make_dialer
from tests.support.world import NETWORK, Published, World, asked, bare, same_tree, until

CHUNK = 256 * 1024
FILES = {"a.txt": 10, "large.bin": 3 * CHUNK}
CHUNKS = 4


def change_behind_the_date(path: Path) -> None:
    """Changes one byte as VeraCrypt does by default: the file's size and time of modification stay as they were."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(9)
        byte = file.read(1)
        file.seek(9)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def forget_ctimes(local: Node) -> None:
    """Makes the stamps of what the peer shares those of a version that knew no ctimes."""
    with closing(sqlite3.connect(local.home / DATABASE_FILE)) as database, database:
        database.execute("UPDATE share SET ctimes = x''")


@pytest.fixture
async def origin(world: World) -> Node:
    return await world.peer("origin")


@pytest.fixture
async def published(world: World, origin: Node) -> Published:
    return await world.publish(origin, FILES)


@asynccontextmanager
async def opened(dialer: Dialer, published: Published) -> AsyncIterator[Connection]:
    """An exchange with the origin, in which the test says what it likes."""
    connection = await dialer.dial(published.origin.addresses[0], published.origin.peer_id)
    try:
        with trio.fail_after(20):
            await connection.send(Open(share=published.link.share_id))
            yield connection
    finally:
        connection.close()


async def take(connection: Connection, chunk: int) -> AnyMessage | Unknown | None:
    """Asks for a chunk. Returns what is said instead of it, or None once it came."""
    size = 10 if chunk == 0 else CHUNK
    await connection.send(Want(first=chunk, count=1))
    while size:
        message = await connection.receive()
        if isinstance(message, DataHeader):
            await connection.receive_body(memoryview(bytearray(message.size)))
            size -= message.size
        elif not isinstance(message, Have):
            return message
    return None


async def is_ended(connection: Connection) -> bool:
    try:
        while True:
            await connection.receive()
    except PeerGone:
        return True


def stale(local: Node) -> str | None:
    (row,) = local.library.shares()
    return row.stale


@pytest.mark.parametrize("rehash", [False, True])
async def test_a_byte_changed_behind_an_old_date_makes_a_new_share(
    world: World, origin: Node, published: Published, rehash: bool
) -> None:
    """nextcloud/desktop#2015, owncloud/client#6496, duplicati#2332: VeraCrypt containers were never uploaded again."""
    again = await asked(origin, ShareRequest(paths=(str(published.path),), name="data", rehash=rehash))
    assert again.reused == (0 if rehash else sum(FILES.values()))
    change_behind_the_date(published.path / "a.txt")
    changed = await asked(origin, ShareRequest(paths=(str(published.path),), name="data", rehash=rehash))
    assert changed.id != again.id
    assert changed.reused == (0 if rehash else 3 * CHUNK)


async def test_a_byte_changed_behind_an_old_date_is_not_sent(
    tmp_path: Path, world: World, origin: Node, published: Published
) -> None:
    change_behind_the_date(published.path / "large.bin")
    async with opened(make_dialer(tmp_path / "asker", NETWORK), published) as connection:
        assert await take(connection, 2) == Gone(ranges=((1, 3),))
        assert await take(connection, 0) is None
    assert stale(origin) == f"{published.path}/large.bin changed or is gone; share it again"


async def test_a_file_that_got_other_permissions_is_still_served(
    world: World, origin: Node, published: Published
) -> None:
    """Also one that got another name beside its own, as backups do."""
    (published.path / "a.txt").chmod(0o600)
    (published.path.parent / "backup").hardlink_to(published.path / "large.bin")
    getters = [await world.peer(name) for name in ("one", "other")]
    async with trio.open_nursery() as nursery:
        for getter in getters:
            nursery.start_soon(partial(world.get, getter, bare(published.link), [published.hint], keep_serving=True))
    assert all(same_tree(published.path, world.out(getter) / "data") for getter in getters)
    assert stale(origin) is None
    fetched = getters[0].library.stamps(published.link.share_id)
    names = ("a.txt", "large.bin")
    assert fetched == [Stamp.of((world.out(getters[0]) / "data" / name).stat()) for name in names], "no need to hash"


async def test_a_complaint_about_a_bad_chunk_ends_the_share_and_not_the_peer_that_complains(
    tmp_path: Path, world: World, origin: Node, published: Published
) -> None:
    """A disk whose bytes changed, though no stamp shows it: honest peers were banned, and waited for ever."""
    await world.stop("origin")
    forget_ctimes(origin)
    change_behind_the_date(published.path / "large.bin")
    origin = await world.peer("origin")
    share = Published(published.link, published.path, origin)
    dialer, watcher = (make_dialer(tmp_path / name, NETWORK) for name in ("asker", "watcher"))
    async with opened(watcher, share) as watching:
        assert await take(watching, 1) is None
        async with opened(dialer, share) as connection:
            assert await take(connection, 1) is None
            await connection.send(Bad(chunk=1))
            assert await is_ended(connection)
        while not isinstance(message := await watching.receive(), Gone):
            assert isinstance(message, Have)
        assert message == Gone(ranges=((1, 3),))
    assert "large.bin does not have the bytes that were shared" in (stale(origin) or "")
    for _ in range(3):
        async with opened(dialer, share) as connection:
            assert await take(connection, 0) is None


async def test_a_peer_with_a_bad_disk_is_not_banned_for_it(world: World, origin: Node, published: Published) -> None:
    """The getter takes what is good there, and the rest elsewhere."""
    helper, getter = await world.peer("helper"), await world.peer("getter")
    await world.get(helper, bare(published.link), [published.hint], keep_serving=True)
    await world.stop("origin")
    forget_ctimes(origin)
    change_behind_the_date(published.path / "large.bin")
    origin = await world.peer("origin")
    bad, good = Published(published.link, published.path, origin).hint, Published(published.link, Path(), helper).hint
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.get, getter, bare(published.link), [bad])
        await until(lambda: stale(origin) is not None)
        nursery.cancel_scope.cancel()
    await world.get(getter, bare(published.link), [bad, good])
    assert same_tree(world.out(helper) / "data", world.out(getter) / "data")
    again = await asked(origin, ShareRequest(paths=(str(published.path),), name="data"))
    assert again.id != to_text(published.link.share_id), "what was bad is hashed, though its stamp is as it was"


async def test_whoever_lies_about_chunks_is_served_no_longer(
    tmp_path: Path, world: World, origin: Node, published: Published
) -> None:
    liar = make_dialer(tmp_path / "liar", NETWORK)
    for _ in range(2):
        async with opened(liar, published) as connection:
            assert await take(connection, 1) is None
            await connection.send(Bad(chunk=1))
            assert await is_ended(connection)
    async with opened(liar, published) as connection:
        answer = await connection.receive()
        assert isinstance(answer, Failed)
        assert answer.reason == LIED
    assert stale(origin) is None
    getter = await world.peer("getter")
    await world.get(getter, bare(published.link), [published.hint])


async def test_a_complaint_about_a_chunk_that_was_not_sent_is_not_looked_into(
    tmp_path: Path, origin: Node, published: Published
) -> None:
    asker = make_dialer(tmp_path / "asker", NETWORK)
    change_behind_the_date(published.path / "large.bin")
    for _ in range(5):
        async with opened(asker, published) as connection:
            assert await take(connection, 0) is None
            await connection.send(Bad(chunk=1))
            assert await is_ended(connection)
    assert stale(origin) is None

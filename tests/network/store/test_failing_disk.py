"""A home whose disk fails: what the user asked for ends with words, the peer and what it does beside go on."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

import pytest
import trio

from p2p.control import protocol as requests
from p2p.errors import StorageError
from p2p.homes import DATABASE_FILE
from p2p.ids import ShareId
from p2p.node import Node
from p2p.progress import Progress
from p2p.store import database
from p2p.wire.records import RecordKind
from p2p.wire.tracker import provider_key
from tests.support.constants import Shorten
from tests.support.dht_peers import eventually, net, perform, records
from tests.support.http_trackers import start, taken, trouble
from tests.support.world import PATIENCE_S, World, until, unwritable

pytestmark = pytest.mark.usefixtures("clean", "impatient")

FILES = {"a/one.bin": 300_000, "two.bin": 1_000_000}
WANTED = ShareId(b"w" * 32)


@pytest.fixture
def impatient(shorten: Shorten) -> None:
    shorten(database, "BUSY_TIMEOUT_S", 0.0)


@contextmanager
def unreadable(local: Node) -> Iterator[None]:
    """What is shared cannot be looked up."""
    with closing(sqlite3.connect(local.home / DATABASE_FILE, timeout=10, isolation_level=None)) as other:
        other.execute("ALTER TABLE share RENAME TO away")
        yield
        other.execute("ALTER TABLE away RENAME TO share")


def want_something(local: Node) -> None:
    local.swarms._fetches[WANTED] = Progress()
    local.changes.ring()


async def test_what_cannot_be_remembered_is_published_all_the_same(world: World) -> None:
    peers = await net(world, 2)
    with unwritable(peers[1]):
        want_something(peers[1])
        found = await eventually(partial(records, peers[0], provider_key(WANTED), RecordKind.PROVIDER))
    assert list(found) == [peers[1].peer_id]


async def test_publishing_and_calling_go_on_once_the_disk_is_well(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    peers = await net(world, 2, dialable="no")
    with unreadable(peers[1]):
        want_something(peers[1])
        # One each for what is published and for whom to call.
        await until(lambda: caplog.text.count("no such table: share") >= 2)
    assert await eventually(partial(records, peers[0], provider_key(WANTED), RecordKind.PROVIDER))


async def test_a_tracker_hears_of_everything_once_the_disk_is_well(world: World, nursery: trio.Nursery) -> None:
    server = await start(nursery, taken)
    local = await world.peer("p", network={"trackers": (server.url,)})
    await until(lambda: server.requests)
    with unreadable(local):
        want_something(local)
        await until(lambda: "database" in trouble(local))
    told = len(server.requests)
    await until(lambda: not trouble(local))
    assert len(server.requests) == told + 1
    assert b'"bye":true' not in b"".join(server.requests)


async def test_a_mutable_link_that_cannot_be_kept_ends_the_command_alone(world: World) -> None:
    publisher, reader = await net(world, 2)
    published = await world.publish(publisher, FILES)
    answer, _ = await perform(publisher, requests.ShareRequest(paths=(str(published.path),), pointer="data"))
    get = requests.GetRequest(link=answer.pointer, out=str(world.out(reader)))
    with unwritable(reader), pytest.raises(StorageError, match="locked"):
        await perform(reader, get)
    with trio.fail_after(PATIENCE_S):
        assert (await perform(reader, get))[0].bytes == sum(FILES.values())

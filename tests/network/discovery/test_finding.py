"""Peers that find each other over the DHT, with no address in any link."""

import logging
import sqlite3
from contextlib import closing
from functools import partial

import pytest
import trio

from p2p import ids
from p2p.advertising import seekers
from p2p.advertising.inventory import Inventory
from p2p.control import protocol as requests
from p2p.core.dht import publications
from p2p.discovery import browse, pointers
from p2p.errors import ConfigError, NotFound
from p2p.homes import DATABASE_FILE
from p2p.ids import ShareId
from p2p.store.dht_state import OverlayState
from p2p.wire.link import PointerLink, parse_any_link
from p2p.wire.records import (
    SKEW_S,
    WHOLE,
    Pointer,
    Provider,
    RecordKind,
    Whereabouts,
    address_key,
    keyword_key,
    pointer_key,
    read,
    seal,
)
from p2p.wire.tracker import provider_key
from tests.support.constants import Shorten
from tests.support.dht_peers import eventually, net, perform, records
from tests.support.world import NETWORK, PATIENCE_S, World, bare, same_tree, until

pytestmark = pytest.mark.usefixtures("clean")

FILES = {"a/one.bin": 300_000, "two.bin": 1_000_000}


async def test_a_bare_link_is_enough(world: World) -> None:
    peers = await net(world, 4)
    published = await world.publish(peers[1], FILES)
    await world.get(peers[3], bare(published.link))
    assert same_tree(world.out(peers[3]) / "data", published.path)


async def test_a_fetch_that_came_before_the_share_gets_it(world: World) -> None:
    peers = await net(world, 3)
    published = await world.publish(peers[1], FILES)
    await world.stop("p1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.get, peers[2], bare(published.link))
        await until(lambda: peers[2].swarms.fetches)
        await world.peer("p1", network={"dht": True, "join": (str(peers[0].addresses[0]),)})
    assert same_tree(world.out(peers[2]) / "data", published.path)


async def test_who_fetches_is_found_too(world: World) -> None:
    peers = await net(world, 4)
    published = await world.publish(peers[1], FILES)
    answer, _ = await perform(
        peers[2], requests.GetRequest(link=ids.to_text(published.link.share_id), out=str(world.out(peers[2])))
    )
    assert answer.bytes == sum(FILES.values())
    key = provider_key(published.link.share_id)

    async def holders() -> set[bytes]:
        found = await records(peers[3], key, RecordKind.PROVIDER)
        return {record.publisher for record in found.values() if _held(record.payload) == WHOLE}

    await eventually(holders, lambda found: found == {peers[1].peer_id, peers[2].peer_id})
    await world.stop("p1")
    await world.get(peers[3], bare(published.link))


def _held(payload: object) -> bytes:
    assert isinstance(payload, Provider)
    return payload.held


async def test_an_unlisted_share_is_found_by_its_link_and_by_nothing_else(world: World) -> None:
    peers = await net(world, 3)
    path = world.folder / "secret plans"
    path.mkdir()
    (path / "x").write_bytes(b"x" * 1000)
    answer, _ = await perform(peers[1], requests.ShareRequest(paths=(str(path),), unlisted=True))
    await world.get(peers[2], ShareId(ids.from_text(answer.id)))
    found, _ = await perform(peers[0], requests.SearchRequest(query="secret plans"))
    assert found == []
    found, _ = await perform(peers[0], requests.BrowseRequest(peer=str(peers[1].addresses[0])))
    assert found == []


async def test_search_by_words_without_a_tracker(world: World) -> None:
    peers = await net(world, 4)
    for number, name in enumerate(["Summer concert 2024", "Winter concert 2023", "summer photos"]):
        path = world.folder / name
        path.mkdir()
        (path / "x").write_bytes(bytes([number]) * 1000)
        await perform(peers[1], requests.ShareRequest(paths=(str(path),)))

    async def names(query: str) -> list[str]:
        return sorted(hit.name for hit in await peers[3].discovery.search(query, lambda note: None))

    both = ["Summer concert 2024", "Winter concert 2023"]
    await eventually(partial(names, "concert"), lambda found: found == both)
    await eventually(partial(names, "SUMMER photos"), lambda found: found == ["summer photos"])
    assert await names("concert 2024") == ["Summer concert 2024"]
    assert await names("nothing of the kind") == []
    (hit,) = await peers[3].discovery.search("winter", lambda note: None)
    assert hit.signer == peers[1].peer_id
    assert hit.size == 1000
    link = parse_any_link(hit.link)
    assert not isinstance(link, PointerLink)
    await world.get(peers[2], bare(link))


async def test_a_search_that_cannot_be(world: World) -> None:
    alone = await world.peer("alone")
    with pytest.raises(ConfigError, match="at least 3 letters"):
        await alone.discovery.search("a -- b", lambda note: None)
    with pytest.raises(NotFound, match="nobody to ask"):
        await alone.discovery.search("concert", lambda note: None)


async def test_browse_by_the_peers_id_alone(world: World) -> None:
    peers = await net(world, 3)
    published = await world.publish(peers[1], FILES)

    async def listed() -> list[browse.ListedShare]:
        try:
            return await peers[2].discovery.browse(ids.to_text(peers[1].peer_id), lambda note: None)
        except NotFound:
            return []

    found = await eventually(listed)
    assert [(one.share, one.name, one.size, one.files) for one in found] == [
        (published.link.share_id, "data", sum(FILES.values()), 2)
    ]


async def test_a_mutable_link_leads_to_the_newest_and_only_what_is_new_is_fetched(world: World) -> None:
    peers = await net(world, 4)
    path = world.folder / "photos"
    path.mkdir()
    (path / "one.bin").write_bytes(b"1" * 2_000_000)
    (path / "two.bin").write_bytes(b"2" * 500_000)
    answer, _ = await perform(peers[1], requests.ShareRequest(paths=(str(path),), pointer="photos"))
    out = world.out(peers[2])
    got, _ = await perform(peers[2], requests.GetRequest(link=answer.pointer, out=str(out)))
    assert got.received == got.bytes == 2_500_000
    assert same_tree(out / "photos", path)

    (path / "one.bin").write_bytes(b"1" * 2_000_000 + b"more")
    (path / "three.bin").write_bytes(b"3" * 300_000)
    newer, _ = await perform(peers[1], requests.ShareRequest(paths=(str(path),), pointer="photos"))
    assert newer.pointer == answer.pointer
    assert newer.version > answer.version
    got, _ = await perform(peers[2], requests.GetRequest(link=answer.pointer, out=str(out)))
    assert got.received < 1_000_000 < got.bytes
    assert same_tree(out / "photos", path)
    rows, _ = await perform(peers[2], requests.SharesRequest())
    assert [row.id for row in rows] == [newer.id]

    # Its publisher goes; who follows it answers for it, and is asked for the chunks too.
    await world.stop("p1")
    got, _ = await perform(peers[3], requests.GetRequest(link=answer.pointer, out=str(world.out(peers[3]))))
    assert same_tree(world.out(peers[3]) / "photos", path)


async def test_what_somebody_changed_himself_is_not_replaced_by_a_newer_version(world: World) -> None:
    peers = await net(world, 3)
    path = world.folder / "notes"
    path.mkdir()
    (path / "mine.txt").write_bytes(b"from the publisher")
    answer, _ = await perform(peers[1], requests.ShareRequest(paths=(str(path),), pointer="notes"))
    out = world.out(peers[2])
    await perform(peers[2], requests.GetRequest(link=answer.pointer, out=str(out)))
    (out / "notes/mine.txt").write_bytes(b"my own words")
    (path / "mine.txt").write_bytes(b"from the publisher again")
    await perform(peers[1], requests.ShareRequest(paths=(str(path),), pointer="notes"))
    await perform(peers[2], requests.GetRequest(link=answer.pointer, out=str(out)))
    assert (out / "notes/mine.txt").read_bytes() == b"my own words"
    assert (out / "notes/mine (newest).txt").read_bytes() == b"from the publisher again"


async def test_a_mutable_link_is_known_though_a_search_for_it_takes_too_long(world: World, shorten: Shorten) -> None:
    shorten(pointers, "RESOLVE_TIMEOUT_S", 0.3)  # less than the time in which a dead node may answer
    peers = await net(world, 3)
    record = await peers[1].discovery.mutable_links.point("data", ShareId(b"1" * 32))
    key = pointer_key(peers[1].peer_id, "data")
    assert (await peers[1].discovery.overlays.publish(key, lambda host: record)).stored
    await world.stop("p1")
    found = await peers[2].discovery.mutable_links.resolve(PointerLink(peers[1].peer_id, "data"), (), lambda text: None)
    assert found is not None
    assert found[0].share_id == b"1" * 32


async def test_a_mutable_link_that_nobody_knows_is_waited_for_and_given_up(world: World) -> None:
    peers = await net(world, 2)
    link = PointerLink(peers[1].peer_id, "nothing")
    with pytest.raises(NotFound, match="Nobody knew of 'nothing'"):
        await perform(peers[0], requests.GetRequest(link=str(link), out=str(world.out(peers[0])), wait_s=0.2))


async def test_an_older_pointer_is_not_believed_once_a_newer_one_was_seen(world: World) -> None:
    publisher, reader = await net(world, 2)
    first = await publisher.discovery.mutable_links.point("data", ShareId(b"1" * 32))
    second = await publisher.discovery.mutable_links.point("data", ShareId(b"2" * 32))
    reader.pointers.saw(second, reader.peer_id)
    assert publisher.discovery.overlays is not None
    await world.stop("p0")
    await world.stop("p1")
    assert second.sequence > first.sequence
    # A storer that has kept the old one has nothing to gain from it.
    again = await world.peer("p1", network={"dht": True})
    assert not again.pointers.saw(first, again.peer_id)
    assert again.pointers.newest(publisher.peer_id, "data") == second


async def test_a_restart_publishes_nothing_twice_and_joins_by_whom_it_knew(world: World) -> None:
    peers = await net(world, 4)
    published = await world.publish(peers[1], FILES)
    key = provider_key(published.link.share_id)

    async def sequence() -> int:
        found = await records(peers[2], key, RecordKind.PROVIDER)
        return found[peers[1].peer_id].sequence if peers[1].peer_id in found else 0

    state = OverlayState(peers[1].library._database, "test-world")
    # Until enough nodes have taken a record, it is published again.
    await until(lambda: key in (published := state.publications()) and bool(published[key].content))
    before = await sequence()
    port = peers[1].addresses[0].port
    state.keep_contacts([(peer.addresses[0].host, peer.addresses[0].port) for peer in peers if peer is not peers[1]])
    await world.stop("p1")
    again = await world.peer("p1", listen=f"127.0.0.1:{port}", network={"dht": True})
    assert again.discovery.overlays is not None
    with trio.fail_after(PATIENCE_S):
        await again.discovery.overlays.joined.wait()
    await world.publish(again, {"new": 10}, name="another")
    last = (await Inventory(again.library, again.disk, again.swarms).all())[0].share
    await eventually(partial(records, again, provider_key(last), RecordKind.PROVIDER))
    assert await sequence() == before


async def test_what_nobody_took_is_published_once_somebody_is_there(
    world: World, caplog: pytest.LogCaptureFixture, shorten: Shorten
) -> None:
    shorten(publications, "LAST_RETRY_S", 0.1)
    caplog.set_level(logging.DEBUG, "p2p.advertising.dht_publisher")
    first, local = await net(world, 2)
    await world.stop("p0")
    published = await world.publish(local, FILES)
    await until(lambda: "0 nodes took the PROVIDER record" in caplog.text)
    again = await world.peer("p0", listen=str(first.addresses[0]), network={"dht": True})
    found = await eventually(partial(records, again, provider_key(published.link.share_id), RecordKind.PROVIDER))
    assert list(found) == [local.peer_id]


async def test_what_a_clock_that_was_ahead_has_published_is_published_again(world: World) -> None:
    """Else it would be due again when the others have long forgotten it."""
    peers = await net(world, 2)
    key = address_key(peers[1].peer_id)
    join = (str(peers[0].addresses[0]),)

    async def sequence() -> int:
        found = await records(peers[0], key, RecordKind.ADDRESS)
        return found[peers[1].peer_id].sequence if found else 0

    before = await eventually(sequence)
    await world.stop("p1")
    with closing(sqlite3.connect(peers[1].home / DATABASE_FILE, isolation_level=None)) as database:
        database.execute("UPDATE publication SET published = published + 36000")
    await world.peer("p1", network={"dht": True, "join": join}, listen=str(peers[1].addresses[0]))
    await eventually(sequence, lambda found: found > before)


async def test_what_was_published_in_one_network_is_published_in_another(world: World) -> None:
    peers = await net(world, 2)
    await world.publish(peers[1], {"x": 10}, name="concert")
    key = keyword_key("data")
    assert await eventually(partial(records, peers[0], key, RecordKind.KEYWORD))
    await world.stop("p1")
    await world.stop("p0")
    peers = await net(world, 2, name="elsewhere")
    assert await eventually(partial(records, peers[0], key, RecordKind.KEYWORD))


async def test_a_pointer_from_a_clock_that_was_ahead_is_made_anew(world: World) -> None:
    local = await world.peer("p")
    share = ShareId(b"1" * 32)
    key, now = pointer_key(local.peer_id, "data"), int(local.discovery.overlays.clock())
    for ahead, remade in ((36000, True), (SKEW_S // 2, False)):
        wrong = seal(
            local.dialer.identity,
            NETWORK,
            key,
            Pointer("data", share),
            sequence=now + ahead,
            now=now + ahead,
            lasts_s=86400,
        )
        local.pointers._database.rows("DELETE FROM pointer")
        local.pointers.saw(wrong, local.peer_id)
        (record,) = local.discovery.mutable_links.to_publish()
        assert read(record.raw, key, local.discovery.overlays.clock(), NETWORK).payload == Pointer("data", share)
        assert (record.sequence > wrong.sequence) is remade


async def test_an_unlisted_share_with_a_mutable_link_is_said_to_be_public(world: World) -> None:
    local = await world.peer("p")
    (world.folder / "secret").write_bytes(b"x")
    share = requests.ShareRequest(paths=(str(world.folder / "secret"),), unlisted=True, pointer="mine")
    assert "public" in "".join((await perform(local, share))[1])


async def test_a_search_with_bytes_that_are_no_text(world: World) -> None:
    local = await world.peer("p", network={"trackers": ("http://127.0.0.1:1",)})
    with pytest.raises(NotFound):
        await local.discovery.search("caf\udcff concert", lambda note: None)


async def test_what_is_published_names_only_the_publishers_own_address(world: World) -> None:
    peers = await net(world, 3)
    found = await eventually(partial(records, peers[2], address_key(peers[1].peer_id), RecordKind.ADDRESS))
    (record,) = found.values()
    assert record.at_home("127.0.0.1")
    assert not record.at_home("127.0.0.2")


async def test_a_peer_that_cannot_be_dialled_finds_out_who_lacks_what_it_has_and_calls(
    world: World, shorten: Shorten
) -> None:
    shorten(seekers, "LOOK_INTERVAL_S", 0.1)
    peers = await net(world, 2)
    join = (str(peers[0].addresses[0]),)
    hidden = await world.peer("hidden", network={"dht": True, "join": join, "dialable": "no"})
    published = await world.publish(hidden, FILES)
    await world.get(peers[1], bare(published.link))
    assert same_tree(world.out(peers[1]) / "data", published.path)


async def test_a_peer_that_cannot_be_dialled_publishes_no_address(world: World) -> None:
    peers = await net(world, 3, dialable="no")
    found = await eventually(partial(records, peers[2], address_key(peers[1].peer_id), RecordKind.ADDRESS))
    (record,) = found.values()
    assert record.payload == Whereabouts(())

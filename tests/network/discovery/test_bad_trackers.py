"""Trackers that are away, slow, lying or out of their minds: a nuisance, never more."""

from functools import partial

import msgspec
import pytest
import trio

from p2p import ids
from p2p.discovery import browse, finders
from p2p.errors import NotFound
from p2p.ids import PeerId
from p2p.net import http
from p2p.progress import Progress
from p2p.sharing.fetching.supply import Options
from p2p.wire import tracker as wire
from p2p.wire.address import Address
from p2p.wire.link import Link
from p2p.wire.tracker import Problem, Source, Wanted
from tests.support.constants import Shorten
from tests.support.http_trackers import (
    Say,
    is_announce,
    response,
    sources,
    start,
    taken,
    trouble,
    with_tracker,
)
from tests.support.world import PATIENCE_S, World, same_tree, until

pytestmark = pytest.mark.usefixtures("clean")

FILES = {"one.bin": 300_000}


BAD: list[tuple[Say, str]] = [
    (lambda request: b"garbage\r\n\r\n", "broke off"),
    (lambda request: response(200, b"not json"), "makes no sense"),
    (lambda request: response(200, b"[" * 100_000), "makes no sense"),
    (lambda request: response(200, b'{"sequence": -5}'), "makes no sense"),
    (lambda request: response(200, b"x" * (wire.MAX_ANSWER_BYTES + 1)), "more than"),
    (lambda request: response(500, b"<html>oops"), "status 500"),
    (lambda request: response(404, b"<html>no such page"), "status 404"),
    (lambda request: response(403, Problem("not \x1b[31myou")), "not "),
    (lambda request: response(409, Problem("start over", 5)), "somebody else too"),
    (lambda request: response(307, b"", "location: http://127.0.0.1:1/"), "redirects announces"),
    (lambda request: b"", "broke off"),
]


@pytest.mark.parametrize(("say", "why"), BAD)
async def test_a_tracker_that_makes_no_sense_is_a_line_in_status(
    world: World, nursery: trio.Nursery, say: Say, why: str
) -> None:
    server = await start(nursery, say)
    local = await with_tracker(world, server.url)
    await until(lambda: trouble(local))
    assert why in trouble(local)
    assert "\x1b" not in trouble(local)
    # The fetch itself needs none.
    origin = await world.peer("origin")
    published = await world.publish(origin, FILES)
    await world.get(local, published.link)
    assert same_tree(world.out(local) / "data", published.path)


async def test_a_tracker_that_is_away_is_told_everything_when_it_comes(world: World, nursery: trio.Nursery) -> None:
    server = await start(nursery, lambda request: b"")
    local = await with_tracker(world, server.url)
    published = await world.publish(local, FILES)
    await until(lambda: trouble(local))
    announced: list[wire.Announce] = []

    def good(request: bytes) -> bytes:
        announced.append(msgspec.json.decode(request.partition(b"\r\n\r\n")[2], type=wire.Announce))
        return taken(request)

    server.say = good
    await until(lambda: announced and not trouble(local))
    assert announced[0].reset
    assert [one.share for one in announced[0].add] == [ids.to_text(published.link.share_id)]
    await world.stop("taker")
    assert announced[-1].bye


async def test_a_tracker_hears_from_a_machine_that_has_moved(world: World, nursery: trio.Nursery) -> None:
    """It sees for itself where an announce comes from, so it needs one."""
    server = await start(nursery, taken)
    local = await with_tracker(world, server.url)
    await until(lambda: local.announcer.states[server.url].announced is not None)
    local.changes.ring()
    local.presence.addresses = (Address("127.0.0.2", local.dialer.port),)
    local.changes.ring()
    await until(lambda: len(server.requests) == 2)
    assert is_announce(server.requests[1])


async def test_a_tracker_learns_the_files_of_a_listed_share_and_not_even_the_id_of_another(
    world: World, nursery: trio.Nursery
) -> None:
    server = await start(nursery, taken)
    local = await with_tracker(world, server.url)
    listed = await world.publish(local, {"a/one": 10, "two": 20})
    (world.folder / "secret").write_bytes(b"x")
    hidden = await local.sharing.share([world.folder / "secret"], None, Progress(), unlisted=True)
    key = wire.key_text(wire.provider_key(hidden.share_id))
    await until(lambda: key.encode() in b"".join(server.requests))
    said = b"".join(server.requests)
    assert ids.to_text(listed.link.share_id).encode() in said
    assert b'[{"path":"a/one","size":10},{"path":"two","size":20}]' in said
    assert ids.to_text(hidden.share_id).encode() not in said
    assert b"secret" not in said


async def test_a_list_without_an_end_is_left(world: World, nursery: trio.Nursery, shorten: Shorten) -> None:
    shorten(browse, "BROWSE_TIMEOUT_S", 0.3)
    peer = ids.to_text(PeerId(bytes(32)))
    found = wire.Found(peer, "x", 1, 1, wire.Kind.DATA, 1, 1, peer, "")
    view = response(200, wire.PeerView(peer, False, 1, 1, (found,), cursor="more"))
    server = await start(nursery, lambda request: taken(request) if is_announce(request) else view)
    local = await with_tracker(world, server.url)
    with pytest.raises(NotFound), trio.fail_after(PATIENCE_S):
        await local.discovery.browse(peer, lambda note: None)
    assert len(server.requests) > 2


async def test_a_silent_tracker_holds_up_neither_a_fetch_nor_the_end(
    world: World, nursery: trio.Nursery, shorten: Shorten
) -> None:
    shorten(http, "REQUEST_TIMEOUT_S", 0.3)

    async def silent(stream: trio.SocketStream) -> None:
        async with stream:
            await trio.sleep_forever()

    listeners = await nursery.start(partial(trio.serve_tcp, silent, 0, host="127.0.0.1"))
    local = await with_tracker(world, f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}")
    origin = await world.peer("origin")
    published = await world.publish(origin, FILES)
    await world.get(local, published.link)
    await until(lambda: "did not answer" in trouble(local) or "broke off" in trouble(local))
    with trio.fail_after(PATIENCE_S):
        await world.stop("taker")


async def test_sources_that_are_not_there_or_somebody_else_are_tried_and_left(
    world: World, nursery: trio.Nursery
) -> None:
    origin, other = await world.peer("origin"), await world.peer("other")
    published = await world.publish(origin, FILES)
    stranger = ids.to_text(PeerId(bytes(32)))
    server = await start(
        nursery,
        sources(
            Source(stranger, True, 0, True, str(other.addresses[0])),
            Source(stranger, True, 0, True, "127.0.0.1:1"),
            Source("z" * 52, True, 0, True, "127.0.0.1:2"),
            Source(stranger, True, 0, True, "0.0.0.0:80"),
            Source(stranger, True, 0, True, "224.0.0.1:80"),
            Source(stranger, True, 0, True, "no address"),
            Source(stranger, True, 0, False),
            Source(ids.to_text(origin.peer_id), True, 0, True, str(origin.addresses[0])),
        ),
    )
    local = await with_tracker(world, server.url)
    await world.get(local, published.link.share_id)
    assert same_tree(world.out(local) / "data", published.path)


async def test_wishes_that_make_no_sense_are_left(world: World, nursery: trio.Nursery) -> None:
    stranger = ids.to_text(PeerId(bytes(32)))
    wishes = (
        Wanted("a" * 32, stranger, "127.0.0.1:1"),
        Wanted("1" * 32, "z" * 52, "nowhere"),
        Wanted("a" * 32, stranger, "[::]:5"),
    )
    server = await start(nursery, lambda request: taken(request, wanted=wishes, dialable=False, shares=3))
    local = await with_tracker(world, server.url)
    await until(lambda: local.announcer.states[server.url].shares)
    assert not trouble(local)


async def test_the_tracker_of_a_link_is_not_asked_where_only_the_user_may_send_us(
    world: World, nursery: trio.Nursery
) -> None:
    server = await start(nursery, sources())
    origin, local = await world.peer("origin"), await world.peer("taker")
    published = await world.publish(origin, FILES)
    bad = ("ftp://x", "http://", "javascript:alert(1)")
    link = Link(published.link.share_id, peers=published.link.peers, trackers=(server.url, *bad))
    progress = Progress()
    with trio.fail_after(PATIENCE_S):
        await local.open_shares.fetch(link, [], Options(folder=world.out(local)), progress)
    await until(lambda: len(progress.notes) >= 4)
    (note,) = [note for note in progress.notes if "is not asked" in note]
    assert "not on the open Internet" in note
    assert f"--tracker {server.url}" in note
    assert not server.requests


async def test_the_tracker_of_a_link_that_the_user_has_named_is_asked(world: World, nursery: trio.Nursery) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, FILES)
    found = Source(ids.to_text(origin.peer_id), True, 0, True, str(origin.addresses[0]))
    server = await start(nursery, sources(found))
    local = await with_tracker(world, server.url)
    await world.get(local, Link(published.link.share_id, trackers=(server.url,)))
    assert same_tree(world.out(local) / "data", published.path)


def test_only_the_users_own_tracker_may_name_private_addresses() -> None:
    peer = ids.to_text(PeerId(bytes(32)))
    told = tuple(Source(peer, True, 0, True, f"{host}:80") for host in ("127.0.0.1", "192.168.1.1", "9.9.9.9"))
    hosts = [hint.address.host for hint in finders.hints_of(told, trusted=False)]
    assert hosts == ["9.9.9.9"]
    assert len(finders.hints_of(told, trusted=True)) == 3

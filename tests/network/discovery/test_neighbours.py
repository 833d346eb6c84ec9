"""Peers that find each other by their beacons alone, here on loopback."""

import os
from typing import Any

import trio

from p2p.control import protocol as requests
from p2p.control.protocol import Event
from p2p.node import Node
from tests.support.world import PATIENCE_S, World, bare, hint_of, same_tree, until

LAN = {"lan": True, "name": f"test-lan-{os.getpid()}"}
"""A network of this process: the port is the same for all."""


async def status(local: Node) -> Any:
    async def emit(event: Event) -> None:
        raise AssertionError(event)

    return await local.operations.perform(requests.StatusRequest(), emit, keep_serving=True)


async def test_a_share_of_a_neighbour_is_found_by_its_id_alone(world: World) -> None:
    origin, reader = await world.peer("origin", network=LAN), await world.peer("reader", network=LAN)
    published = await world.publish(origin, {"a.bin": 700_000, "b/c.bin": 10})
    await world.get(reader, bare(published.link))
    assert same_tree(published.path, world.out(reader) / "data")


async def test_a_fetch_goes_on_with_a_neighbour_who_comes_later(world: World, nursery: trio.Nursery) -> None:
    origin, reader = await world.peer("origin"), await world.peer("reader", network=LAN)
    published = await world.publish(origin, {"a.bin": 700_000})
    await world.stop("origin")
    async with trio.open_nursery() as fetching:
        fetching.start_soon(world.get, reader, bare(published.link))
        await until(lambda: reader.swarms.fetches)
        await world.peer("origin", network=LAN)
    assert same_tree(published.path, world.out(reader) / "data")


async def test_neighbours_come_and_go(world: World) -> None:
    one, other = await world.peer("one", network=LAN), await world.peer("other", network=LAN)
    with trio.fail_after(PATIENCE_S):
        while not one.discovery.neighbours.hints():
            await one.discovery.neighbours.changed()
    assert one.discovery.neighbours.hints() == [hint_of(other)]
    assert (await status(one)).neighbours == 1
    await world.stop("other")
    await until(lambda: not one.discovery.neighbours.hints())
    assert (await status(one)).neighbours == 0


async def test_who_cannot_be_dialled_is_a_neighbour_without_an_address(world: World) -> None:
    one = await world.peer("one", network=LAN)
    hidden = await world.peer("hidden", network=LAN, dialable="no")
    await until(lambda: len(one.discovery.neighbours) == 1 and hidden.discovery.neighbours.hints())
    assert one.discovery.neighbours.hints() == []
    assert hidden.discovery.neighbours.hints() == [hint_of(one)]


async def test_another_network_and_a_peer_without_are_no_neighbours(world: World) -> None:
    one, other = await world.peer("one", network=LAN), await world.peer("other", network=LAN)
    strange = await world.peer("strange", network=LAN | {"name": f"{LAN['name']}-other"})
    without = await world.peer("without", network=LAN | {"lan": False})
    await until(lambda: one.discovery.neighbours.hints() and other.discovery.neighbours.hints())
    assert (one.discovery.neighbours.hints(), other.discovery.neighbours.hints()) == ([hint_of(other)], [hint_of(one)])
    assert (len(strange.discovery.neighbours), len(without.discovery.neighbours)) == (0, 0)


async def test_the_dht_is_joined_by_a_neighbour(world: World) -> None:
    one, other = [await world.peer(name, network=LAN | {"dht": True}) for name in ("one", "other")]
    for local in (one, other):
        assert local.discovery.overlays is not None
        with trio.fail_after(PATIENCE_S):
            await local.discovery.overlays.joined.wait()

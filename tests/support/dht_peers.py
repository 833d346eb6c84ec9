"""Peers of one DHT, what the DHT holds, and what users of the peers see."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio

from p2p.control import protocol as requests
from p2p.control.protocol import Event, Note
from p2p.ids import PeerId
from p2p.node import Node
from p2p.wire.records import Record, RecordKind
from tests.support.world import PATIENCE_S, World

T = TypeVar("T")


async def net(world: World, count: int, **more: Any) -> list[Node]:
    """Starts peers of one DHT, all of which have joined through the first."""
    first = await world.peer("p0", network={"dht": True} | more)
    others = []
    for number in range(1, count):
        settings = {"dht": True, "join": (str(first.addresses[0]),)} | more
        others.append(await world.peer(f"p{number}", network=settings))
    for local in (first, *others):
        assert local.discovery.overlays is not None
        with trio.fail_after(PATIENCE_S):
            await local.discovery.overlays.joined.wait()
    return [first, *others]


async def eventually(ask: Callable[[], Awaitable[T]], right: Callable[[T], object] = bool) -> T:
    """Waits up to a minute for the right answer, since what is published arrives a moment later."""
    with trio.fail_after(PATIENCE_S):
        while not right(answer := await ask()):  # noqa: ASYNC110 - what others keep has no event here
            await trio.sleep(0.02)
    return answer


async def records(local: Node, key: bytes, kind: RecordKind) -> dict[PeerId, Record]:
    """All records that the DHT holds under a key."""
    assert local.discovery.overlays is not None
    return await local.discovery.overlays.get(key, kind, enough=None)


async def perform(local: Node, request: requests.AnyRequest) -> tuple[Any, list[str]]:
    notes: list[str] = []

    async def emit(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event.text)

    with trio.fail_after(PATIENCE_S):
        return await local.operations.perform(request, emit, keep_serving=True), notes

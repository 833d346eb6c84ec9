"""Announces that wait to be written: networks share the places, and take turns."""

import trio
import trio.testing

from p2p.net.http_server.refusals import TooMuch
from p2p.wire.tracker import Announce
from tests.support.announces import NETWORK, URL, peer_id
from tests.support.constants import Shorten
from tracker import writing
from tracker.changes import Said, Taken
from tracker.database import Database
from tracker.limits import Limits
from tracker.store import Store
from tracker.writing import Writer

OTHER = "198.51.100.9"


async def test_announces_of_one_network_leave_places_in_line(
    database: Database, shorten: Shorten, nursery: trio.Nursery
) -> None:
    """Two addresses filled the line, and whoever else announced was refused."""
    shorten(writing, "MAX_BATCH", 2)
    writer = Writer(Store(database, Limits()), lambda: 0.0, 6)
    order: list[str] = []
    refused: list[str] = []

    async def announce(number: int, host: str) -> None:
        said = Said(peer_id(number), Announce(URL, NETWORK, 1, reset=True), host, host)
        try:
            assert isinstance(await writer.take_in(said), Taken)
            order.append(host)
        except TooMuch:
            refused.append(host)

    crowd = [f"192.0.2.{number}" for number in range(8)]
    for number, host in enumerate((*crowd, OTHER)):
        nursery.start_soon(announce, number, host)
        await trio.testing.wait_all_tasks_blocked()
    assert refused == [*crowd[6:], crowd[5]]
    await nursery.start(writer.run)
    while len(order) < 6:
        await trio.testing.wait_all_tasks_blocked()
        await writer.change(lambda store: None)
    assert set(order[:2]) == {crowd[0], OTHER}
    assert set(order) == {*crowd[:5], OTHER}
    nursery.cancel_scope.cancel()

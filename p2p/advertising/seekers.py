"""Whom to call: a peer that cannot be dialled looks in the DHT for those who lack chunks of what it has.

Who fetches publishes that it does, and where it is (`publisher`); a tracker tells the same with its answer to an
announce. A peer that can be dialled does nothing here: it is dialled.
"""

from collections import deque
from collections.abc import Callable

import trio

from p2p.advertising.inventory import Offered, Offers
from p2p.discovery.dht import Overlays
from p2p.peer_context import Local
from p2p.reach.reachability import Reach
from p2p.wire.address import Address
from p2p.wire.records import Kind, Provider, Record
from p2p.wire.tracker import provider_key

LOOK_EVERY_S = 10.0
SHARES_AT_ONCE = 8
"""Of more, each has its turn, a few every time."""
COOL_S = 3.0


async def look_for_wishes(local: Local, overlays: Overlays) -> None:
    """Until cancelled."""
    offers = Offers(local)
    queue: deque[Offered] = deque()
    await overlays.joined.wait()
    while True:
        if local.reachability.state is not Reach.NOT_DIALABLE:
            await local.news.after(local.news.count)
            continue
        if not queue:
            queue.extend(one for one in await offers.all() if any(one.held))
        async with trio.open_nursery() as nursery:
            for _ in range(min(SHARES_AT_ONCE, len(queue))):
                nursery.start_soon(_look, local, overlays, queue.popleft())
        news = local.news.count
        with trio.move_on_after(LOOK_EVERY_S * (0.8 + 0.4 * local.random.random())):
            await trio.sleep(COOL_S)
            await local.news.after(news)
            queue.clear()


async def _look(local: Local, overlays: Overlays, offered: Offered) -> None:
    await overlays.get(provider_key(offered.share), Kind.PROVIDER, caller(local, overlays, offered.share))


def caller(local: Local, overlays: Overlays, named: bytes) -> Callable[[Record], None]:
    """For records of the DHT as they come: has those called that lack what is named so (see `Calls.wanted`)."""

    def heard(record: Record) -> None:
        payload = record.payload
        if isinstance(payload, Provider) and not payload.whole and record.publisher != local.peer_id:
            for host, port in payload.addresses:
                if overlays.is_plausible(host):
                    local.calls.wanted(named, record.publisher, Address(host, port))

    return heard

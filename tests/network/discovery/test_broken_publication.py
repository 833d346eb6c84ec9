"""A bug in the publication of one record costs that record alone."""

from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise

import pytest
import trio

from p2p.concurrency import walls
from p2p.control import protocol as requests
from p2p.core.dht import publications
from p2p.discovery.dht import Overlays
from tests.support.constants import Shorten
from tests.support.dht_peers import net, perform
from tests.support.world import World, until


async def test_a_record_whose_publication_is_broken_is_tried_again_with_growing_pauses(
    world: World, monkeypatch: pytest.MonkeyPatch, shorten: Shorten, expects_bugs: Callable[[int], None]
) -> None:
    """It was tried again at once, two thousand times a second, for ever."""
    shorten(publications, "FIRST_RETRY_S", 0.1)
    _, other = await net(world, 2)
    path = world.folder / "Summer concert"
    path.write_bytes(bytes(100))
    tried: dict[bytes, list[float]] = defaultdict(list)
    before = walls.bugs.count

    async def broken(self: Overlays, key: bytes, make: object) -> None:
        tried[key].append(trio.current_time())
        raise ValueError("a bug")

    monkeypatch.setattr(Overlays, "publish", broken)
    await perform(other, requests.ShareRequest(paths=(str(path),)))
    await until(lambda: any(len(times) >= 4 for times in tried.values()))
    monkeypatch.undo()
    for times in tried.values():
        pauses = [later - earlier for earlier, later in pairwise(times)]
        least = 0.1 * (1 - publications.JITTER)
        assert all(pause >= least * 2**number for number, pause in enumerate(pauses))
    expects_bugs(walls.bugs.count - before)

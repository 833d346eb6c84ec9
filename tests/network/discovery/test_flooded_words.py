"""Searches over a DHT in which a few networks flood a word, and of neighbours that list more than is shown."""

import time
from contextlib import closing
from pathlib import Path
from random import Random

import trio

from p2p.core.dht.recordstore import MAX_PER_KEY
from p2p.discovery.dht import Overlays
from p2p.discovery.neighbours import Neighbours
from p2p.discovery.search import MAX_HITS, search
from p2p.discovery.trackers import Trackers
from p2p.errors import Refused
from p2p.identity import Identity
from p2p.ids import H
from p2p.store.database import Database
from p2p.store.dht_state import OverlayState
from p2p.store.disk import Disk
from p2p.wire import records
from p2p.wire.records import MAX_SHARDS, MAX_TITLES, Record, Title, Titles, keyword_key
from tests.support.dht_overlay import NETWORK, Overlay
from tests.support.pipes import make_dialer

WORD = "holiday"


def claim(name: str, shares: list[str], shard: int = 0) -> Record:
    """A record of a publisher of its own, which says that these shares have this name."""
    now = int(time.time())
    titles = Titles(tuple(Title(H("share", share.encode()), 1, f"{name} {share}") for share in shares))
    return records.seal(
        Identity.generate(), NETWORK, keyword_key(WORD, shard), titles, sequence=now, now=now, lasts_s=3600
    )


def keep(overlay: Overlay, record: Record, host: str) -> None:
    """Stores the record with all nodes that have room for it."""
    for node in overlay.nodes:
        try:
            node.dht.store.put(record, host, time.time())
        except Refused:
            continue


async def test_eight_networks_that_flood_a_word_do_not_hide_what_others_share(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    overlay = Overlay(nursery)
    await overlay.grow(22)
    keep(overlay, claim("holiday photos", ["before"]), "81.1.1.1")
    for shard in range(MAX_SHARDS):
        for number in range(MAX_PER_KEY):  # two claim the same, so that each of these shares has two peers
            shares = [f"{shard}/{number // 2}/{title}" for title in range(MAX_TITLES)]
            keep(overlay, claim("holiday here", shares, shard), f"{11 + number % 8}.1.1.1")
    for number in range(2):
        keep(overlay, claim("holiday photos", [f"late{number}"]), f"{82 + number}.1.1.1")
    dialer = make_dialer(tmp_path, NETWORK)
    with closing(Database(tmp_path)) as database:
        state = OverlayState(database, NETWORK)
        overlays = Overlays(dialer.identity, state, Disk(), NETWORK, 0, (), (), Random(1))
        overlays.nodes.append(overlay.nodes[-1].dht)
        overlays.joined.set()
        hits = await search(Trackers((), NETWORK), overlays, Neighbours(), dialer, WORD, lambda note: None)
    assert len(hits) == MAX_HITS
    assert {hit.name for hit in hits} >= {"holiday photos before", "holiday photos late0", "holiday photos late1"}

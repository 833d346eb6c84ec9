"""Honest peers among themselves: they feed each other, come and go, and every file arrives right."""

from functools import partial
from itertools import permutations
from pathlib import Path

import pytest
import trio

from p2p import ids
from p2p.errors import NotFound
from p2p.ids import PeerId
from p2p.node import Node
from p2p.progress import Progress
from p2p.sharing.fetching.fetch import Fetched
from tests.support.world import Published, World, bare, hint_of, same_tree, until

MIB = 1024 * 1024
FILES = {"large.bin": 5 * MIB // 2 + 17, "small.txt": 999, "sub/other.bin": 700_000, "empty": 0}
SIZE = sum(FILES.values())


async def holders(world: World, count: int, *, mib_per_s: int) -> tuple[Published, list[Node]]:
    """So many peers that share the same folder."""
    peers = [await world.peer(f"holder{n}", upload_limit_bytes_per_s=mib_per_s * MIB) for n in range(count)]
    published = await world.publish(peers[0], FILES)
    for peer in peers[1:]:
        await world.publish_path(peer, published.path)
    return published, peers


def arrived(world: World, published: Published, *fetchers: Node) -> bool:
    return all(same_tree(published.path, world.out(fetcher) / "data") for fetcher in fetchers)


async def test_one_of_several_sources_vanishes(world: World) -> None:
    published, peers = await holders(world, 3, mib_per_s=1)
    fetcher = await world.peer("fetcher")
    progress = Progress()

    async def vanish() -> None:
        await until(lambda: peers[1].traffic.bytes_uploaded > 0 and progress.done > SIZE // 4)
        await world.stop("holder1")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(vanish)
        result = await world.get(fetcher, bare(published.link), list(map(hint_of, peers)), progress=progress)
    assert arrived(world, published, fetcher)
    assert {peers[0].peer_id, peers[2].peer_id} <= result.sources.keys()


async def test_what_was_committed_is_not_fetched_again(world: World) -> None:
    published, (_,) = await holders(world, 1, mib_per_s=3)
    fetcher = await world.peer("fetcher")
    done = 0
    for _ in range(3):
        progress = Progress()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def cancel(progress: Progress = progress, scope: trio.CancelScope = scope) -> None:
                    await until(lambda: progress.done > progress.resumed + MIB // 2)
                    scope.cancel()

                nursery.start_soon(cancel)
                await world.get(fetcher, bare(published.link), [published.hint], progress=progress)
        assert scope.cancelled_caught
        assert progress.resumed >= done
        done = progress.done
    progress = Progress()
    result = await world.get(fetcher, bare(published.link), [published.hint], progress=progress)
    assert arrived(world, published, fetcher)
    assert progress.resumed >= done
    assert result.received == SIZE - progress.resumed
    # And of what is there already, nothing.
    again = await world.get(fetcher, bare(published.link), [published.hint])
    assert again.received == 0


async def test_resumption_survives_a_restart_and_remembers_its_sources(world: World) -> None:
    published, (origin,) = await holders(world, 1, mib_per_s=3)
    fetcher = await world.peer("fetcher")
    progress = Progress()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: world.get(fetcher, bare(published.link), [published.hint], progress=progress))
        await until(lambda: progress.done > SIZE // 3)
        await until(lambda: fetcher.records.sources(published.link.share_id))
        nursery.cancel_scope.cancel()
    await world.stop("fetcher")
    fetcher = await world.peer("fetcher")
    again = Progress()
    result = await world.get(fetcher, bare(published.link), progress=again)
    assert arrived(world, published, fetcher)
    assert again.resumed >= progress.done
    assert result.received == SIZE - again.resumed
    assert result.sources.keys() == {origin.peer_id}


async def test_unshared_in_the_middle_of_a_fetch(world: World) -> None:
    published, (origin,) = await holders(world, 1, mib_per_s=2)
    fetcher = await world.peer("fetcher")
    progress = Progress()
    async with trio.open_nursery() as nursery:

        async def unshare() -> None:
            await until(lambda: progress.done > SIZE // 4)
            await origin.sharing.unshare(published.link.share_id)

        nursery.start_soon(unshare)
        with pytest.raises(NotFound, match="does not have the share"):
            await world.get(fetcher, bare(published.link), [published.hint], progress=progress, wait_s=3.0)
    assert 0 < progress.done < SIZE
    # Shared again, the fetch goes on from there.
    await world.publish_path(origin, published.path)
    result = await world.get(fetcher, bare(published.link), [published.hint])
    assert arrived(world, published, fetcher)
    assert result.received <= SIZE - progress.done


async def test_a_file_changes_at_one_source_in_the_middle_of_a_fetch(world: World) -> None:
    published, (changing,) = await holders(world, 1, mib_per_s=2)
    good = await world.peer("good", upload_limit_bytes_per_s=2 * MIB)
    copy = await world.publish(good, FILES, name="copy")
    assert copy.link.share_id == published.link.share_id
    fetcher = await world.peer("fetcher")
    progress = Progress()

    def change() -> None:
        with (published.path / "large.bin").open("r+b") as file:
            file.seek(3 * MIB // 2)
            file.write(b"changed" * 1000)

    async def change_soon() -> None:
        await until(lambda: changing.traffic.bytes_uploaded > 300_000)
        change()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(change_soon)
        await world.get(fetcher, bare(published.link), [hint_of(changing), hint_of(good)], progress=progress)
    assert arrived(world, copy, fetcher)
    row = changing.library.share(published.link.share_id)
    assert row is not None
    assert "large.bin" in (row.stale or "")
    # Nobody was taken for a liar.
    assert fetcher.bans.banned_until(changing.peer_id) < trio.current_time()


async def test_a_file_that_is_removed_at_the_only_source(world: World) -> None:
    published, (origin,) = await holders(world, 1, mib_per_s=2)
    fetcher = await world.peer("fetcher")
    content = (published.path / "large.bin").read_bytes()
    progress = Progress()
    async with trio.open_nursery() as nursery:

        async def remove() -> None:
            await until(lambda: origin.traffic.bytes_uploaded > 300_000)
            (published.path / "large.bin").unlink()

        nursery.start_soon(remove)
        with pytest.raises(NotFound):
            await world.get(fetcher, bare(published.link), [published.hint], progress=progress, wait_s=1.0)
    assert not (world.out(fetcher) / "data" / "large.bin").exists()
    (published.path / "large.bin").write_bytes(content)
    await world.publish_path(origin, published.path)
    await world.get(fetcher, bare(published.link), [published.hint])
    assert arrived(world, published, fetcher)


async def test_peers_that_only_dial_out_still_exchange(world: World) -> None:
    """One fetcher cannot be dialled. It hears of the other one and dials it, and then both give and take."""
    published, (origin,) = await holders(world, 1, mib_per_s=1)  # slow enough for both to meet
    hidden, open_peer = await world.peer("hidden"), await world.peer("open")
    hidden.dialer.port = 0
    results: dict[str, Fetched] = {}

    async def fetch(name: str, fetcher: Node) -> None:
        results[name] = await world.get(fetcher, bare(published.link), [published.hint], keep_serving=True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fetch, "hidden", hidden)
        nursery.start_soon(fetch, "open", open_peer)
    assert arrived(world, published, hidden, open_peer)
    assert open_peer.peer_id in results["hidden"].sources
    assert hidden.peer_id in results["open"].sources
    assert origin.presence.contacts.address_of(hidden.peer_id) is None


async def test_two_peers_dial_each_other_at_the_same_moment(world: World) -> None:
    published, (origin,) = await holders(world, 1, mib_per_s=2)
    pair = [await world.peer("one"), await world.peer("other")]

    gave: set[PeerId] = set()

    async def fetch(fetcher: Node) -> None:
        hints = [hint_of(peer) for peer in (*pair, origin)]  # its own address is among them
        result = await world.get(fetcher, bare(published.link), hints, keep_serving=True)
        gave.update(result.sources)

    async with trio.open_nursery() as nursery:
        for fetcher in pair:
            nursery.start_soon(fetch, fetcher)
        share = published.link.share_id
        await until(lambda: all(one.swarms.is_exchanging(share, other.peer_id) for one, other in permutations(pair)))
    assert arrived(world, published, *pair)
    # The one connection that stood of the two was of use.
    assert gave & {peer.peer_id for peer in pair}


async def test_a_fetch_ends_when_nobody_has_it_for_as_long_as_it_may_wait(world: World) -> None:
    other, fetcher = await world.peer("other"), await world.peer("fetcher")
    published = await world.publish(other, {"something else": 10})
    unknown = ids.ShareId(bytes(32))
    started = trio.current_time()
    with pytest.raises(NotFound, match="Nobody had it for"):
        await world.get(fetcher, unknown, wait_s=0.3)
    with pytest.raises(NotFound, match="not found"):
        await world.get(fetcher, unknown, [published.hint], wait_s=2)
    await world.stop("other")
    with pytest.raises(NotFound, match="cannot be reached"):
        await world.get(fetcher, bare(published.link), [published.hint], wait_s=2)
    assert trio.current_time() - started < 10


async def test_waiting_ends_when_a_source_appears(world: World) -> None:
    published, (origin,) = await holders(world, 1, mib_per_s=50)
    await world.stop("holder0")
    fetcher = await world.peer("fetcher")
    progress = Progress()

    async def appear() -> None:
        await until(lambda: progress.trouble)
        assert progress.state == "looking for sources"
        await world.peer("holder0", listen=str(origin.addresses[0]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(appear)
        await world.get(fetcher, bare(published.link), [published.hint], progress=progress, wait_s=20)
    assert arrived(world, published, fetcher)


async def test_what_a_peer_shares_itself_it_copies(world: World, tmp_path: Path) -> None:
    published, (origin,) = await holders(world, 1, mib_per_s=1)
    result = await world.get(origin, bare(published.link))
    assert arrived(world, published, origin)
    assert (result.received, origin.traffic.bytes_uploaded) == (0, 0)
    # It goes on sharing what it shared.
    other = await world.peer("other")
    origin.traffic.upload._bucket = None
    await world.get(other, bare(published.link), [published.hint])
    assert arrived(world, published, other)


async def test_fetching_ones_own_share_leaves_the_share_as_it_is(world: World) -> None:
    """The copy, which is served too, does not take the place of what the user shares."""
    published, (origin,) = await holders(world, 1, mib_per_s=50)
    before = origin.library.share(published.link.share_id)
    await world.get(origin, bare(published.link), keep_serving=True)
    assert origin.library.share(published.link.share_id) == before


async def test_many_small_files_from_two_sources(world: World) -> None:
    one, other, fetcher = await world.peer("one"), await world.peer("other"), await world.peer("fetcher")
    published = await world.publish(one, {f"folder{n % 7}/file{n}": n for n in range(600)})
    await world.publish_path(other, published.path)
    await world.get(fetcher, bare(published.link), [hint_of(one), hint_of(other)])
    assert arrived(world, published, fetcher)


async def test_a_node_stops_in_the_middle_of_everything(world: World) -> None:
    """Serving, fetching and being dialled at once; nothing is left behind (which the fixture looks after)."""
    published, (_,) = await holders(world, 1, mib_per_s=1)
    one, other = await world.peer("one"), await world.peer("other")
    progress = Progress()
    async with trio.open_nursery() as nursery:
        for fetcher, seen in ((one, progress), (other, Progress())):
            hints = [published.hint, hint_of(one), hint_of(other)]
            nursery.start_soon(partial(world.get, fetcher, bare(published.link), hints, progress=seen))
        await until(lambda: progress.done)
        nursery.cancel_scope.cancel()

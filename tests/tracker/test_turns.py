"""Whose words are read next: a crowd that asks at once does not make others wait for all of it."""

from pathlib import Path

import pytest
import trio
import trio.testing

from p2p.net.http_server.turns import Turns
from p2p.wire.address import Address
from tests.support.announces import NETWORK
from tests.support.rogues.crowds import connect_from
from tracker.proxies import NO_PROXIES, Proxies
from tracker.server import open_tracker

CROWD = 160
HONEST = "127.9.9.1"


async def test_networks_take_turns(nursery: trio.Nursery) -> None:
    turns, had = Turns(), list[str]()

    async def wait(host: str) -> None:
        await turns.wait(host)
        had.append(host)

    for number in range(40):
        nursery.start_soon(wait, f"9.9.{number % 5}.1")
    await trio.testing.wait_all_tasks_blocked()
    for host in ("203.0.113.7", "198.51.100.7"):
        nursery.start_soon(wait, host)
    await trio.testing.wait_all_tasks_blocked()
    await nursery.start(turns.run)
    await trio.testing.wait_all_tasks_blocked()
    assert {"203.0.113.7", "198.51.100.7"} <= set(had[:3])
    assert len(had) == 42
    with trio.CancelScope() as scope:
        scope.cancel()
        await turns.wait("9.9.9.9")
    await wait("9.9.9.1")
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("is_proxied", [False, True])
async def test_others_are_answered_before_a_crowd_that_asked_first(tmp_path: Path, is_proxied: bool) -> None:
    """Requests were answered in the order of their coming: a flood delayed those of everybody by seconds."""
    home = tmp_path / "home"
    home.mkdir()
    proxies = Proxies(frozenset({"127.0.0.1"})) if is_proxied else NO_PROXIES
    answered: list[str] = []
    async with (
        open_tracker(tmp_path / "t.db", home, [Address("127.0.0.1", 0)], network=NETWORK, proxies=proxies) as running,
        trio.open_nursery() as asking,
    ):
        everybody = [f"127.{20 + number % 2}.{number % 40}.1" for number in range(CROWD)] + [HONEST]
        connected = {
            number: trio.SocketStream(
                await connect_from("127.0.0.1" if is_proxied else host, running.addresses[0]),
            )
            for number, host in enumerate(everybody)
        }

        async def ask(number: int) -> None:
            async with connected[number] as stream:
                await stream.receive_some(12)
                answered.append(everybody[number])

        for number, host in enumerate(everybody):
            request = f"GET /scrape?info_hash={'h' * 20} HTTP/1.1\r\nhost: x\r\nx-forwarded-for: {host}\r\n\r\n"
            connected[number].socket._sock.send(request.encode())  # type: ignore[attr-defined]  # all at once
            asking.start_soon(ask, number)
    assert len(answered) == CROWD + 1
    assert answered.index(HONEST) < CROWD / 4

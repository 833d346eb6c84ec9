"""Strangers that flood a peer with connections whose handshake never ends: others are let in all the same."""

from pathlib import Path

import trio

from p2p.net.handshakes import ALL_BURST, ALL_PER_S, BURST
from tests.support.pipes import make_dialer
from tests.support.rogues.crowds import dial_from
from tests.support.rogues.strangers import Strangers, client_hello
from tests.support.world import NETWORK, World, until

FLOOD = 600


async def test_silent_connections_keep_nobody_of_their_own_network_out(world: World, tmp_path: Path) -> None:
    """They used up the handshakes that their network may begin, without one: neighbours got in 0 times of 22."""
    at, honest = await world.peer("at"), make_dialer(tmp_path / "honest", NETWORK)
    silent = Strangers(at.addresses[0])
    async with trio.open_nursery() as nursery:
        for number in range(FLOOD):
            nursery.start_soon(silent.one, f"127.9.9.{1 + number % 200}")
        await until(lambda: silent.came > FLOOD)  # those that were sent away came back
        for number in range(8):
            with trio.fail_after(5):
                (await dial_from(honest, f"127.9.9.{201 + number}", at.addresses[0])).close()
        nursery.cancel_scope.cancel()


async def test_first_words_replayed_from_hundreds_of_networks_do_not_delay_others(world: World, tmp_path: Path) -> None:
    """From 400 networks, 2,500 times in a second: an honest dial took 0.9 to 5.6 s."""
    at, honest = await world.peer("at"), make_dialer(tmp_path / "honest", NETWORK)
    replayed = Strangers(at.addresses[0], client_hello(make_dialer(tmp_path / "rogue", NETWORK)))
    async with trio.open_nursery() as nursery:
        began = trio.current_time()
        for number in range(FLOOD):
            nursery.start_soon(replayed.one, f"127.{20 + number % 200}.{number // 200}.1")
        await until(lambda: replayed.came > FLOOD)
        with trio.fail_after(5):
            (await dial_from(honest, "127.9.9.1", at.addresses[0])).close()
        assert replayed.answered <= ALL_BURST + ALL_PER_S * (trio.current_time() - began)
        nursery.cancel_scope.cancel()


async def test_a_host_that_replays_first_words_leaves_its_neighbours_their_turns(world: World, tmp_path: Path) -> None:
    at, honest = await world.peer("at"), make_dialer(tmp_path / "honest", NETWORK)
    replayed = Strangers(at.addresses[0], client_hello(make_dialer(tmp_path / "rogue", NETWORK)))
    async with trio.open_nursery() as nursery:
        for _ in range(FLOOD):
            nursery.start_soon(replayed.one, "127.9.9.1")
        await until(lambda: replayed.answered >= BURST)
        for number in range(4):
            with trio.fail_after(5):
                (await dial_from(honest, f"127.9.9.{2 + number}", at.addresses[0])).close()
        nursery.cancel_scope.cancel()

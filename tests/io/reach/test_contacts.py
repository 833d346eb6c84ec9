"""Contacts: addresses are known once they were reached, and those where nobody is are left alone for a while."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from p2p.ids import PeerId
from p2p.net.connection import Ends
from p2p.net.dialer import Dialer
from p2p.reach import contacts as contacts_module
from p2p.reach.contacts import Contacts
from p2p.wire.address import Address
from p2p.wire.messages import Hello
from tests.support.constants import Shorten
from tests.support.pipes import make_dialer
from tests.support.world import NETWORK, Door, World, until


@pytest.fixture
async def door(nursery: trio.Nursery) -> Door:
    made = Door()
    await nursery.start(made.run)
    return made


@pytest.fixture
async def contacts(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Contacts]:
    made = Contacts(make_dialer(tmp_path / "home", NETWORK))
    await nursery.start(made.run)
    yield made
    nursery.cancel_scope.cancel()


def ends(peer: PeerId, port: int) -> Ends:
    return Ends(PeerId(bytes(32)), peer, Hello(port=port), "127.0.0.1", False)


def met() -> None:
    raise AssertionError("nobody is there")


async def test_who_was_not_there_is_not_looked_for_again_for_a_while(
    contacts: Contacts, door: Door, shorten: Shorten
) -> None:
    peer, other = PeerId(b"a" * 32), PeerId(b"b" * 32)
    its = ends(peer, door.address.port)
    assert contacts.is_dialable(its) is None
    contacts.prove(peer, door.address, met)
    await until(lambda: contacts.is_dialable(its) is False)
    for _ in range(20):
        contacts.prove(peer, door.address, met)
    assert contacts.address_of(peer) is None
    # Somebody else may be there, and is looked for; then all that was asked before has been dealt with.
    shorten(contacts_module, "UNREACHABLE_MEMORY_S", 0.0)
    for times in (2, 3):
        contacts.prove(other, door.address, met)
        await until(lambda times=times: door.came == times and not contacts._asked)  # type: ignore[misc]


async def test_who_says_that_it_cannot_be_dialled_is_believed(contacts: Contacts) -> None:
    assert contacts.is_dialable(ends(PeerId(b"a" * 32), 0)) is False


async def test_who_is_there_after_all_is_known(contacts: Contacts, world: World) -> None:
    local = await world.peer("local")
    address, wrong = local.addresses[0], PeerId(b"a" * 32)
    contacts.prove(wrong, address, met)  # another identity is there
    await until(lambda: contacts.is_dialable(ends(wrong, address.port)) is False)
    there = trio.Event()
    contacts.prove(local.peer_id, address, there.set)
    with trio.fail_after(10):
        await there.wait()
    assert contacts.address_of(local.peer_id) == address
    assert contacts.is_dialable(ends(local.peer_id, 0)) is True


async def test_what_was_in_vain_is_forgotten_past_a_bound(contacts: Contacts, door: Door, shorten: Shorten) -> None:
    shorten(contacts_module, "MAX_KNOWN", 4)
    peers = [PeerId(bytes([n]) * 32) for n in range(6)]
    for peer in peers:
        contacts.prove(peer, door.address, met)
    await until(lambda: door.came == 6 and not contacts._asked)
    known = [contacts.is_dialable(ends(peer, door.address.port)) for peer in peers]
    assert sorted(known, key=str) == [False] * 4 + [None] * 2


async def test_a_dialled_connection_is_known_by_the_address_it_came_to(
    contacts: Contacts, world: World, tmp_path: Path
) -> None:
    local = await world.peer("local")
    dialer: Dialer = make_dialer(tmp_path / "other", NETWORK)
    connection = await dialer.dial(Address("localhost", local.addresses[0].port))
    contacts.reached(connection, local.addresses[0].port)
    connection.close()
    assert contacts.address_of(local.peer_id) == local.addresses[0]  # no name, which others could not judge

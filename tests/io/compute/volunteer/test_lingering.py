"""Outputs of owners that left: networks share the few places, and each owner gets back its own."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from p2p.compute.execution.kept_outputs import OutputStore
from p2p.compute.volunteer.lingering import LINGER_S, MAX_LINGERING, LingeringOutputs
from p2p.ids import PeerId
from p2p.store.disk import Disk

UNIT = b"u" * 32
HONEST = "203.0.113.7"
Make = Callable[[int], Awaitable[OutputStore]]


def owner(number: int) -> PeerId:
    return PeerId(bytes([number]) * 32)


def job(number: int) -> bytes:
    return bytes([number]) * 32


def token(number: int) -> bytes:
    return bytes([number]) * 16


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes stores that keep an output, each in a folder named by its number."""

    async def made(number: int) -> OutputStore:
        store = OutputStore(Disk(), tmp_path / str(number), token(number), 1000)
        assert await store.keep(UNIT, 0, [b"output"])
        return store

    return made


def kept(folder: Path) -> set[int]:
    return {int(path.name) for path in folder.iterdir()}


async def test_owners_of_one_network_do_not_have_the_outputs_of_others_deleted(tmp_path: Path, make: Make) -> None:
    """Eight jobs that ended early, of one address, deleted all that was kept for honest owners."""
    lingering = LingeringOutputs()
    await lingering.keep(job(1), owner(1), HONEST, await make(1), 0.0)
    for number in range(100, 130):
        await lingering.keep(job(number), owner(number), f"198.51.100.{number}", await make(number), 1.0)
    assert kept(tmp_path) == {1, *range(100, 99 + MAX_LINGERING)}, "those that came first stay"
    # Nor do they keep others out.
    for number in range(2, 5):
        await lingering.keep(job(number), owner(number), f"203.{number}.113.1", await make(number), 2.0)
    assert kept(tmp_path) == {1, 2, 3, 4, *range(100, 96 + MAX_LINGERING)}
    assert lingering.find(job(1), token(1)) is not None


async def test_an_owner_gets_its_own_back_and_others_read_them(tmp_path: Path, make: Make) -> None:
    """Any volunteer of a job knows its id: whoever offered a job of that id had its outputs forgotten."""
    lingering = LingeringOutputs()
    store = await make(1)
    await lingering.keep(job(1), owner(1), HONEST, store, 0.0)
    assert lingering.take(job(1), owner(9), token(1)) is None
    assert lingering.take(job(1), owner(1), token(9)) is None
    await lingering.keep(job(1), owner(9), HONEST, await make(9), 1.0)
    assert lingering.find(job(1), token(1)) is store
    assert lingering.find(job(1), token(2)) is None
    assert lingering.find(job(2), token(1)) is None
    assert lingering.take(job(1), owner(1), token(1)) is store
    assert lingering.take(job(1), owner(1), token(1)) is None
    assert kept(tmp_path) == {1, 9}


async def test_outputs_go_with_time_and_leave_their_places(tmp_path: Path, make: Make) -> None:
    lingering = LingeringOutputs()
    for number in range(MAX_LINGERING):
        await lingering.keep(job(number), owner(number), HONEST, await make(number), float(number))
    await lingering.expire(LINGER_S + 1)
    assert kept(tmp_path) == set(range(2, MAX_LINGERING))
    await lingering.keep(job(50), owner(50), HONEST, await make(50), LINGER_S)
    await lingering.keep(job(51), owner(51), HONEST, OutputStore(Disk(), tmp_path / "51", token(51), 1), LINGER_S)
    await lingering.keep(job(52), owner(52), HONEST, await make(52), LINGER_S)
    assert kept(tmp_path) == {*range(2, MAX_LINGERING), 50, 52}, "nothing takes no place"
    await lingering.keep(job(52), owner(52), HONEST, await make(53), LINGER_S)
    assert kept(tmp_path) == {*range(2, MAX_LINGERING), 50, 53}, "one of each job"

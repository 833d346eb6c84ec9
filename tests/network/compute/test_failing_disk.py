"""Disks that fail under a job: it ends with words, nobody else is harmed, and it goes on once there is room."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from p2p.compute.answers import JobAnswer
from p2p.errors import NotFound, StorageError
from p2p.ids import from_text
from p2p.node import Node
from p2p.progress import Progress
from p2p.store import database
from tests.support.constants import Shorten
from tests.support.world import PATIENCE_S, World, hint_of, until, unwritable
from tests.support.world_jobs import run_job, volunteer, write_job

SLOW = """
def work(n):
    return sum(i * i % 7 for i in range(20_000)) * 0 + n


def job(inputs):
    return inputs.range(60).map(work).sum()
"""
LARGE = """
def job(inputs):
    return inputs.range(8).map(lambda n: str(n) * 200_000).save("text")
"""
LINES = """
def job(inputs):
    return inputs.lines().count()
"""


@pytest.fixture(autouse=True)
def impatient(shorten: Shorten) -> None:
    shorten(database, "BUSY_TIMEOUT_S", 0.0)


@contextmanager
def no_folder(place: Path) -> Iterator[None]:
    """Something stands where the folder should be, so that nothing can be written there."""
    if place.exists():
        place.rmdir()
    place.parent.mkdir(exist_ok=True)
    place.touch()
    yield
    place.unlink()


class Case:
    """A job of an owner with one volunteer."""

    def __init__(self, world: World, owner: Node, peer: Node, source: str, **wish: Any) -> None:
        self._owner = owner
        self._path = write_job(world, source)
        self._peer = peer
        self._wish = wish
        self.progress = Progress()
        self._ended = trio.Event()
        self._told = ""

    async def run(self) -> None:
        """To its end, which must be that of a disk that fails."""
        with pytest.raises((StorageError, NotFound)) as raised:
            await run_job(self._owner, self._path, [hint_of(self._peer)], progress=self.progress, **self._wish)
        self._told = str(raised.value)
        self._ended.set()

    async def until_done(self, units: int) -> str:
        """Waits until so many units are done; the job's id."""
        await until(lambda: self.progress.view is not None and self.progress.view.units_done >= units)
        assert self.progress.view is not None
        return str(self.progress.view.job)

    async def ended(self, hurt: AbstractContextManager[None]) -> str:
        """Waits for the end while something hurts; what its user was told."""
        with hurt:
            await self._ended.wait()
        (listed,) = await self._owner.jobs.listed()
        assert listed.state == "stopped"
        return self._told

    async def resume(self) -> JobAnswer:
        (listed,) = await self._owner.jobs.listed()
        with trio.fail_after(PATIENCE_S):
            return await self._owner.jobs.resume(listed.job, Progress())


async def test_the_owners_journal_cannot_be_written(world: World, nursery: trio.Nursery) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    case = Case(world, owner, local, SLOW, partitions=60)
    nursery.start_soon(case.run)
    job = from_text(await case.until_done(5))
    await until(lambda: list(owner.journal.replay(job)))
    assert "locked" in await case.ended(unwritable(owner))
    answer = await case.resume()
    assert answer.result == sum(range(60))
    assert isinstance(answer.units, int)
    assert answer.units < 60


@pytest.mark.parametrize("name", ["arriving", "outputs", "saved"])
async def test_a_folder_of_the_owners_job_cannot_be_written(world: World, nursery: trio.Nursery, name: str) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    case = Case(world, owner, local, LARGE, partitions=4, out=str(world.folder / "out"))
    nursery.start_soon(case.run)
    folder = owner.home / "jobs" / await case.until_done(0) / name
    assert str(folder) in await case.ended(no_folder(folder))
    answer = await case.resume()
    saved = [Path(path).read_text() for path in answer.saved]  # noqa: ASYNC240 - small
    assert "".join(saved) == "".join(str(n) * 200_000 + "\n" for n in range(8))


@pytest.mark.parametrize("name", ["jobs", "inputs"])
async def test_a_folder_of_the_volunteer_cannot_be_written(world: World, nursery: trio.Nursery, name: str) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    (world.folder / "text").write_text("word\n" * 1000)
    folder = local.home / "volunteer" / name
    case = Case(world, owner, local, LINES, inputs=(str(world.folder / "text"),), wait_s=1.0)
    nursery.start_soon(case.run)
    assert "Not a directory" in await case.ended(no_folder(folder))
    assert (await case.resume()).result == 1000

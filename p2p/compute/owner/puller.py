"""Fetches outputs that volunteers keep, so that the owner of the job can pass them on.

This is for volunteers that cannot read the outputs from the volunteer that keeps them.
"""

import logging

import trio

from p2p.compute.execution.output_reader import OutputLocation, OutputReader
from p2p.compute.owner.driver import Driver
from p2p.compute.owner.outputs import Outputs, Remote
from p2p.compute.owner.shuffle import OutputShuffle
from p2p.core.compute.attempts import Work
from p2p.core.compute.known import Known
from p2p.errors import PeerError, PeerGone, StorageError
from p2p.ids import PeerId

logger = logging.getLogger(__name__)


class Puller:
    """Fetches outputs of one job from the volunteers that keep them.

    Fetches the outputs of only one unit at a time from each volunteer, because outputs are in memory until stored.
    """

    def __init__(self, driver: Driver, outputs: Outputs, shuffle: OutputShuffle, reader: OutputReader) -> None:
        self._driver = driver
        self._outputs = outputs
        self._shuffle = shuffle
        self._reader = reader
        self._turns: dict[PeerId, trio.Lock] = {}

    async def pull_what_it_reads(self, one: Work) -> None:
        """Brings here all outputs that a unit reads and that are kept elsewhere, including any that are made again in
        the meantime.
        """
        before: list[Remote] = []
        while (remotes := self._shuffle.elsewhere(one)) != before:
            for remote in remotes:
                place = self._outputs.place_of(remote.unit)
                await self.pull(remote.unit)
                if place is not None:
                    await self._shuffle.pulled(*place)
            before = remotes

    async def pull(self, unit: bytes) -> None:
        """Brings here the outputs of a unit that are kept elsewhere. If they are lost, has them made again."""
        place = self._outputs.place_of(unit)
        remote = None if place is None else self._outputs.remote(*place)
        if place is None or remote is None:
            return
        with self._shuffle.pulling(*place) as mine:
            if not mine:
                return
            async with self._turns.setdefault(remote.holder, trio.Lock()):
                if self._outputs.remote(*place) == remote:
                    await self._pull(unit, place, remote)

    async def _pull(self, unit: bytes, place: tuple[int, int], remote: Remote) -> None:
        address, job = self._driver.address_of(remote.holder), self._driver.job
        try:
            if address is None:
                raise PeerGone("the peer that keeps it is gone")
            outputs = []
            for number, size in enumerate(remote.sizes):
                where = OutputLocation(unit, remote.digest, number, remote.holder, address)
                outputs.append(await self._reader.get(where, size))
            made = await self._outputs.store(unit, outputs)
        except PeerError as error:
            logger.debug("outputs of partition %d of stage %d are lost: %s", *reversed(place), error)
            self._outputs.lost_unit(unit)
            self._driver.do(job.missing(*place, remote.holder, trio.current_time()))
        except StorageError as error:
            self._driver.stop(error)
        else:
            if self._outputs.remote(*place) == remote:
                self._outputs.keep(Known(unit, *place, remote.digest, None), made)
                job.kept(*place)

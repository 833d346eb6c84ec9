"""Outputs that volunteers keep, brought to their job's owner: where others cannot read them, it hands them on."""

import logging

import trio

from p2p.core.attempts import Known, Work
from p2p.errors import PeerError, PeerGone, StorageError
from p2p.services.dispatch import Dispatch
from p2p.services.driving import Driver
from p2p.services.kept import Place, Reader
from p2p.services.outputs import Outputs

logger = logging.getLogger(__name__)


class Puller:
    """Pulls outputs of one job."""

    def __init__(self, driver: Driver, outputs: Outputs, dispatch: Dispatch, reader: Reader) -> None:
        self._driver = driver
        self._outputs = outputs
        self._dispatch = dispatch
        self._reader = reader

    async def pull_what_it_reads(self, one: Work) -> None:
        """Brings here all that a unit reads and that is kept elsewhere."""
        for unit in self._dispatch.elsewhere(one):
            await self.pull(unit)

    async def pull(self, unit: bytes) -> None:
        """Brings here what is kept of a unit elsewhere, or has it made again where it is lost."""
        place = self._outputs.place_of(unit)
        remote = None if place is None else self._outputs.remote(*place)
        if place is None or remote is None:
            return
        address, job = self._driver.address_of(remote.holder), self._driver.job
        with self._dispatch.pulling(*place) as mine:
            if not mine:
                return
            try:
                if address is None:
                    raise PeerGone("who keeps it is gone")
                outputs = []
                for number, size in enumerate(remote.sizes):
                    where = Place(unit, remote.digest, number, remote.holder, address)
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

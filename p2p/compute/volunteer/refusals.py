"""Refuses, at a peer that is no volunteer, everything that others may request of volunteers."""

from p2p.net.connection import Connection
from p2p.net.router import Opening
from p2p.wire import work


def openings() -> dict[type, Opening]:
    """Handlers that refuse what others may request of a volunteer."""
    return {work.JobOffer: _job_offer, work.GetOutput: _get_output, work.GetCapacity: _get_capacity}


async def _job_offer(connection: Connection, offer: work.JobOffer) -> bool:
    await connection.send(work.JobRefused("not a volunteer"))
    return False


async def _get_output(connection: Connection, wanted: work.GetOutput) -> bool:
    await connection.send(work.OutputGone())
    return False


async def _get_capacity(connection: Connection, asked: work.GetCapacity) -> bool:
    await connection.send(work.CapacityIs(None))
    return False

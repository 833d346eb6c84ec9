"""Serving: what a proven connection may ask of this peer, until one of its requests opens an exchange.

A connection that offers a share goes to the fetch that wants it, if one does: it is the source then.
"""

import logging
from functools import partial

import trio

from p2p.compute.owner import hiring
from p2p.errors import NotFound, PeerGone, ProtocolViolation, Refused, StorageError
from p2p.ids import PeerId, ShareId, short
from p2p.net.connection import Connection
from p2p.net.pace import Pace
from p2p.peer_context import Local
from p2p.sharing.exchange import Exchange
from p2p.sharing.swarm import Swarm
from p2p.store.library import SharedFiles
from p2p.wire import messages, work
from p2p.wire.frames import DataHeader
from p2p.wire.messages import AnyMessage, Failed, Unknown

logger = logging.getLogger(__name__)

FIRST_WORD_S = 60.0
LISTED_AT_ONCE = 100


async def welcome(local: Local, connection: Connection) -> None:
    """One connection that another peer dialled, to its end. Raises PeerError."""
    local.reachability.dialled_from(connection.ends.remote_host)
    await converse(local, connection)


async def converse(local: Local, connection: Connection) -> None:
    """Serves the peer at the other end, whoever dialled, until the connection's end. Raises PeerError."""
    try:
        await _converse(local, connection)
    except StorageError as error:
        logger.warning("%s", error)
        raise PeerGone("this side's disk failed") from error


async def _converse(local: Local, connection: Connection) -> None:
    pace = Pace()
    while True:
        with trio.move_on_after(FIRST_WORD_S) as patience:
            message = await connection.receive()
        if patience.cancelled_caught:
            raise PeerGone("it had nothing to ask")
        if isinstance(message, DataHeader):
            raise ProtocolViolation("chunks that nobody asked for")
        await pace.spend(message)
        match message:
            case messages.Open(share):
                swarm = await find_swarm(local, ShareId(share))
                if swarm is None:
                    await connection.send(Failed(reason=messages.NOT_FOUND, share=share))
                    continue
                try:
                    await Exchange(connection, swarm, local, partial(answer, local)).run()
                finally:
                    _forget_idle(local, swarm)
                return
            case messages.Offer(share) if not connection.ends.dialed:
                take = local.wanted.get(ShareId(share))
                if take is None:
                    await connection.send(Failed(reason=messages.NOT_FOUND, share=share))
                    continue
                try:
                    await take(connection)
                finally:
                    if (swarm := local.swarms.get(ShareId(share))) is not None:
                        _forget_idle(local, swarm)
                return
            case work.Volunteering() if not connection.ends.dialed:
                if await hiring.offer_job(local, connection, message):
                    return
            case work.JobOffer() if local.volunteering is not None:
                await local.volunteering.converse(connection, message)
                return
            case work.JobOffer():
                await connection.send(work.JobRefused("not a volunteer"))
            case work.GetOutput() if local.volunteering is not None:
                await local.volunteering.output(connection, message)
            case work.GetOutput():
                await connection.send(work.OutputGone())
            case work.GetCapacity():
                offered = None if local.volunteering is None else local.volunteering.capacity()
                await connection.send(work.CapacityIs(offered))
            case Failed(reason) if connection.ends.dialed:
                raise Refused(f"it does not take the offer: {reason}")
            case _:
                await answer(local, connection, message)


async def find_swarm(local: Local, share: ShareId) -> Swarm | None:
    """The swarm of a share that this peer holds or is fetching; None where it does neither."""
    swarm = local.swarms.get(share)
    if swarm is None:
        try:
            holding = await trio.to_thread.run_sync(SharedFiles, local.library, share, limiter=local.disk)
        except NotFound:
            return None
        # Another connection may have been first while the thread ran.
        swarm = local.swarms.setdefault(share, Swarm(share, holding))
    return swarm


def _forget_idle(local: Local, swarm: Swarm) -> None:
    """A share that nobody exchanges takes no memory."""
    if not swarm.members and swarm.sink is None and local.swarms.get(swarm.share_id) is swarm:
        del local.swarms[swarm.share_id]


async def answer(local: Local, connection: Connection, message: AnyMessage | Unknown) -> None:
    """Answers a request that belongs to no exchange: manifests, browsing, `DialMe`. Raises PeerGone."""
    library = local.library
    match message:
        case messages.DialMe(share):
            local.calls.asked_by(connection.ends.peer_id, ShareId(share))
            return
        case messages.GetRoot(share):
            body = await trio.to_thread.run_sync(library.root, ShareId(share), limiter=local.disk)
            reply: AnyMessage = Failed(reason=messages.NOT_FOUND, share=share) if body is None else messages.Root(body)
        case messages.GetPart(share, index):
            body = await trio.to_thread.run_sync(library.part, ShareId(share), index, limiter=local.disk)
            reply = Failed(reason=messages.NOT_FOUND, share=share) if body is None else messages.Part(index, body)
        case messages.Browse(cursor):
            reply = await trio.to_thread.run_sync(_listed, local, cursor, limiter=local.disk)
        case messages.GetPointer(publisher, name):
            pointer = await trio.to_thread.run_sync(local.pointers.newest, PeerId(publisher), name)
            reply = Failed(reason=messages.NOT_FOUND) if pointer is None else messages.PointerIs(pointer.raw)
        case _:
            kind = message.type if isinstance(message, Unknown) else type(message).__name__
            logger.debug("peer %s says %.40r, which means nothing here", short(connection.ends.peer_id), kind)
            reply = Failed(reason=messages.UNSUPPORTED)
    if not (isinstance(message, Failed) and isinstance(reply, Failed)):
        await connection.send(reply)


def _listed(local: Local, cursor: str) -> messages.Listed:
    rows = [row for row in local.library.shares() if not row.unlisted]
    start = int(cursor) if cursor.isascii() and cursor.isdigit() and len(cursor) < 10 else 0
    page = rows[start : start + LISTED_AT_ONCE]
    following = start + len(page)
    return messages.Listed(
        shares=tuple(messages.Listing(row.id, row.name, row.size, row.files) for row in page),
        cursor=str(following) if following < len(rows) else "",
    )

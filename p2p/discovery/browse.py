"""Browse: asks a peer itself which shares it lists, or asks a tracker if the peer cannot be reached."""

from collections.abc import Callable

import msgspec
import trio

from p2p import ids
from p2p.discovery.finders import Finders
from p2p.discovery.questions import QUESTION
from p2p.discovery.trackers import Trackers
from p2p.errors import ConfigError, NotFound, PeerError, ProtocolViolation, Refused
from p2p.formats import quoted
from p2p.ids import PeerId, ShareId
from p2p.log import printable
from p2p.net.connection import Connection
from p2p.net.dialer import Dialer
from p2p.wire import messages
from p2p.wire.link import Link, PeerHint, PointerLink, is_link, parse_any_link, parse_peer, parse_peer_id

BROWSE_TIMEOUT_S = 20.0
MAX_SHARES = 10_000


class ListedShare(msgspec.Struct, frozen=True):
    """One listed share; its size is in bytes."""

    share: ShareId
    name: str
    size: int
    files: int
    link: str


async def browse(
    dialer: Dialer, trackers: Trackers, finders: Finders, who: str, note: Callable[[str], None]
) -> list[ListedShare]:
    """Gets a peer's listed shares. `who` is a peer id, HOST:PORT, PEER@HOST:PORT, or a mutable link.

    Raises ConfigError, NotFound.
    """
    peer, hint = _parse(who)
    if peer == dialer.identity.peer_id:
        raise ConfigError(f"{who} is this peer itself. `shoal shares` lists what it shares.")
    found: list[ListedShare] | None = None
    troubles: list[str] = []

    async with trio.open_nursery() as nursery:

        async def ask(hint: PeerHint) -> None:
            nonlocal found
            try:
                found = await shares_at(dialer, hint)
                nursery.cancel_scope.cancel()
            except PeerError as error:
                troubles.append(str(error))

        with trio.move_on_after(BROWSE_TIMEOUT_S):
            if hint is not None:
                await ask(hint)
            elif peer is not None:
                async with trio.open_nursery() as asking:
                    known: set[PeerHint] = set()

                    def heard(hint: PeerHint) -> None:
                        if hint not in known:
                            known.add(hint)
                            asking.start_soon(QUESTION.absorb, ask, hint)

                    await finders.find_peer(peer, heard)
        nursery.cancel_scope.cancel()
    if found is None and peer is not None:
        with trio.move_on_after(BROWSE_TIMEOUT_S):
            found = await _of_trackers(trackers, peer, note, troubles[-1] if troubles else "nobody knows where it is")
    if found is None:
        raise NotFound(troubles[-1] + "." if troubles else f"Nobody knows where {who} is. Give its HOST:PORT.")
    return found


def _parse(who: str) -> tuple[PeerId | None, PeerHint | None]:
    if is_link(who):
        link = parse_any_link(who)
        if not isinstance(link, PointerLink):
            raise ConfigError("This is a link to a share, not a peer. `shoal get` fetches it.")
        known = next((hint for hint in link.peers if hint.peer_id == link.publisher), None)
        return link.publisher, known
    try:
        return parse_peer_id(who), None
    except ValueError:
        if ":" not in who:
            raise ConfigError(f"{quoted(who)} is neither a peer id (52 letters and digits) nor HOST:PORT.") from None
    hint = parse_peer(who)
    return hint.peer_id, hint


async def shares_at(dialer: Dialer, hint: PeerHint, most: int = MAX_SHARES) -> list[ListedShare]:
    """Asks the peer itself for its list, up to about `most` shares. Raises PeerError."""
    connection = await dialer.dial(hint.address, hint.peer_id)
    known = (PeerHint(hint.address, connection.ends.peer_id),)
    found: list[ListedShare] = []
    cursor = ""
    try:
        while True:
            reply = await _page(connection, cursor)
            for one in reply.shares:
                name = printable(one.name)
                share = ShareId(one.share)
                found.append(ListedShare(share, name, one.size, one.files, str(Link(share, name, one.size, known))))
            cursor = reply.cursor
            if not cursor or not reply.shares or len(found) >= most:
                return found
    finally:
        connection.close()


async def _page(connection: Connection, cursor: str) -> messages.Listed:
    await connection.send(messages.Browse(cursor=cursor))
    reply = await connection.receive()
    if isinstance(reply, messages.Failed):
        raise Refused(reply.reason)
    if not isinstance(reply, messages.Listed):
        raise ProtocolViolation("something else where its list belongs")
    return reply


async def _of_trackers(
    trackers: Trackers, peer: PeerId, note: Callable[[str], None], trouble: str
) -> list[ListedShare] | None:
    """Gets the peer's list from the first tracker that knows the peer; None if no tracker does."""
    for url in trackers.urls:
        found: list[ListedShare] = []
        cursor = ""
        try:
            while True:
                view = await trackers.peer(url, peer, cursor)
                for one in view.shares:
                    share, name = ShareId(ids.from_text(one.share)), printable(one.name)
                    link = str(Link(share, name, one.size, trackers=(url,)))
                    found.append(ListedShare(share, name, one.size, one.files, link))
                cursor = view.cursor
                if not cursor or not view.shares or len(found) >= MAX_SHARES:
                    break
        except (PeerError, NotFound, ValueError):
            continue
        note(f"the peer itself cannot be reached ({trouble}); this is what the tracker {url} knows of it")
        return found
    return None

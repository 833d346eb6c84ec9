"""A swarm: the peers with which this one is exchanging a share, and the chunks that this one holds.

A swarm serves from its `Holding`; while the share is being fetched, it also has a `Sink` for what arrives. There is
one exchange per peer: if two peers dial each other at once, the connection dialled by the smaller id is kept.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Protocol

import trio

from p2p.core.shares.layout import Layout
from p2p.errors import PeerError
from p2p.ids import PeerId, ShareId
from p2p.net.connection import Connection, Ends
from p2p.store.stamps import Stamp
from p2p.wire.frames import DataHeader
from p2p.wire.messages import AnyMessage


class Party(Protocol):
    """An exchange with one peer, as seen by its swarm and by a fetch in that swarm."""

    downloaded: int
    """How many bytes of chunks came from the peer, as the sink counts them."""

    @property
    def connection(self) -> Connection: ...

    @property
    def ends(self) -> Ends: ...

    @property
    def theirs(self) -> int:
        """The chunks that the peer says it has, as a bitmap."""

    @property
    def uploaded(self) -> int:
        """How many bytes of chunks went to the peer."""

    def __hash__(self) -> int: ...

    def say(self, message: AnyMessage) -> None:
        """Sends the message soon."""

    def end(self, why: str | PeerError) -> None:
        """Ends the exchange."""

    def end_after(self, last: AnyMessage, error: PeerError) -> None:
        """Ends the exchange once the message is sent."""

    def tell_have(self, chunks: int) -> None:
        """Tells the peer that this side now holds these chunks."""

    def tell_gone(self, chunks: int) -> None:
        """Tells the peer that this side no longer holds these chunks."""

    def tell_peers(self) -> None:
        """Tells the peer about the swarm's members, which may have changed."""


class Holding(Protocol):
    """The chunks that can be served: those of a share in the library, or of a fetch that is running."""

    @property
    def layout(self) -> Layout: ...

    @property
    def held(self) -> int:
        """The chunks held now, as a bitmap."""

    def reading(self, entry: int) -> AbstractContextManager[tuple[int, Stamp | None]]:
        """Opens the entry's file for the body. Gives a descriptor, and the stamp to check, if any. Raises OSError."""

    def changed(self, entry: int, seen: Stamp | None, check: Callable[[], None]) -> int:
        """Looks at an entry whose file does not have the stamp `seen`. Returns the chunks that are no longer held.

        If the file was only touched and has the same content, it gets a new stamp, and nothing is lost. Blocking.
        """

    def spoiled(self, entry: int, why: str, *, for_good: bool = False) -> int:
        """Stops holding an entry, if `for_good` until it is shared again. Returns its chunks. Blocking."""


class Sink(Protocol):
    """A fetch, as seen by the exchanges of its swarm, which report to it what arrives. Methods may raise PeerError."""

    def joined(self, party: Party) -> None: ...

    def left(self, party: Party) -> None: ...

    def offered(self, party: Party, chunks: int) -> None: ...

    def lost(self, party: Party, chunks: int) -> None: ...

    def choked(self, party: Party, position: int) -> None: ...

    def heard_of(self, peers: tuple[tuple[bytes, str, int], ...], from_host: str) -> None: ...

    def data(self, party: Party, header: DataHeader) -> Awaitable[None]: ...

    def awaits(self, party: Party) -> bool:
        """Whether chunks were asked of the peer that have not come yet."""

    def holds_back(self, party: Party) -> bool:
        """Whether this side, because of a limit or its disk, does not read what the peer sends now."""


class Swarm:
    """All exchanges of one share, at most one per peer, with the `Holding` they serve and the `Sink` they fill."""

    def __init__(self, share_id: ShareId, holding: Holding, sink: Sink | None = None) -> None:
        self.share_id = share_id
        self.holding = holding
        self.sink = sink
        self.members: dict[PeerId, Party] = {}
        self.looking = trio.Lock()
        """Held while a file is hashed that may have changed, so that it is not hashed for each member."""
        self.useful_at = trio.current_time()
        """When the last chunk was sent to a member, or when the swarm was made."""

    def admit(self, party: Party) -> bool:
        """Admits the exchange, and ends another with the same peer. Returns False if the other is kept instead."""
        peer = party.ends.peer_id
        other = self.members.get(peer)
        if other is not None:
            if other.ends.dialer != party.ends.dialer and other.ends.dialer < party.ends.dialer:
                return False
            self.leave(other)
            other.end("another connection with the same peer took its place")
        self.members[peer] = party
        if self.sink is not None:
            self.sink.joined(party)
        return True

    def leave(self, party: Party) -> None:
        """Removes an exchange that has ended. Idempotent."""
        peer = party.ends.peer_id
        if self.members.get(peer) is party:
            del self.members[peer]
            if self.sink is not None:
                self.sink.left(party)

    def disband(self, why: str) -> None:
        """Ends all exchanges."""
        for member in list(self.members.values()):
            member.end(why)

    def gained(self, chunks: int) -> None:
        """Tells all members that this peer now holds these chunks."""
        for member in self.members.values():
            member.tell_have(chunks)

    def lost(self, chunks: int) -> None:
        """Tells all members that this peer no longer holds these chunks."""
        for member in self.members.values():
            member.tell_gone(chunks)

    def met(self) -> None:
        """Tells the members about each other, after a member's address was proven."""
        for member in self.members.values():
            member.tell_peers()

    def proven_members(self, address_of: Callable[[PeerId], object]) -> list[PeerId]:
        """The members that have a proven address."""
        return [peer for peer in self.members if address_of(peer) is not None]

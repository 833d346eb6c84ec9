"""A swarm: the peers with which this one is exchanging a share, and what this one holds of it.

A swarm serves from its `Holding`; while the share is being fetched it also has a `Sink` for what arrives. One
exchange per peer: where two peers dial each other at once, the connection dialled by the smaller id is kept.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Protocol

from p2p.core.shares.layout import Layout
from p2p.errors import PeerError
from p2p.ids import PeerId, ShareId
from p2p.net.connection import Connection, Ends
from p2p.store.library import Stamp
from p2p.wire.frames import DataHeader
from p2p.wire.messages import AnyMessage


class Party(Protocol):
    """An exchange with one peer of a swarm: what is asked of it by the swarm, and by a fetch that takes part."""

    @property
    def connection(self) -> Connection: ...

    @property
    def ends(self) -> Ends: ...

    @property
    def theirs(self) -> int:
        """The chunks that the peer says it has, as a bitmap."""

    @property
    def uploaded(self) -> int:
        """Bytes of chunks that went to the peer."""

    @property
    def downloaded(self) -> int:
        """Bytes of chunks that came from the peer."""

    def __hash__(self) -> int: ...

    def say(self, message: AnyMessage) -> None:
        """Sends the message soon."""

    def end(self, why: str | PeerError) -> None:
        """Ends the exchange."""

    def end_after(self, last: AnyMessage, error: PeerError) -> None:
        """Ends the exchange once the message is sent."""

    def tell_have(self, chunks: int) -> None:
        """This side now holds these chunks."""

    def tell_gone(self, chunks: int) -> None:
        """This side no longer holds these chunks."""

    def tell_peers(self) -> None:
        """The swarm may have other members by now."""


class Holding(Protocol):
    """Chunks that can be served: a share of the library, or a fetch under way."""

    @property
    def layout(self) -> Layout: ...

    @property
    def held(self) -> int:
        """The chunks held now, as a bitmap."""

    def reading(self, entry: int) -> AbstractContextManager[tuple[int, Stamp | None]]:
        """A descriptor of the entry's file, and the stamp it must have, if any. Raises OSError."""

    def changed(self, entry: int) -> int:
        """The entry's file has changed; returns the chunks no longer held. Blocking."""


class Sink(Protocol):
    """The part of a fetch that its swarm's exchanges talk to. Its methods may raise PeerError."""

    def joined(self, party: Party) -> None: ...

    def left(self, party: Party) -> None: ...

    def offered(self, party: Party, chunks: int) -> None: ...

    def lost(self, party: Party, chunks: int) -> None: ...

    def choked(self, party: Party, position: int) -> None: ...

    def heard_of(self, peers: tuple[tuple[bytes, str, int], ...], from_host: str) -> None: ...

    def data(self, party: Party, header: DataHeader) -> Awaitable[None]: ...


class Swarm:
    """The exchanges of one share."""

    def __init__(self, share_id: ShareId, holding: Holding, sink: Sink | None = None) -> None:
        self.share_id = share_id
        self.holding = holding
        self.sink = sink
        self.members: dict[PeerId, Party] = {}

    def admit(self, party: Party) -> bool:
        """Admits the exchange, unless another one with that peer is kept; ends the other one if it must give way."""
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
        """The exchange has ended. Idempotent."""
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
        """This peer holds these chunks from now on."""
        for member in self.members.values():
            member.tell_have(chunks)

    def lost(self, chunks: int) -> None:
        """This peer no longer holds these chunks."""
        for member in self.members.values():
            member.tell_gone(chunks)

    def met(self) -> None:
        """A member's address was proven: the others may hear of it."""
        for member in self.members.values():
            member.tell_peers()

    def proven_members(self, address_of: Callable[[PeerId], object]) -> list[PeerId]:
        """The members whose address is known for sure."""
        return [peer for peer in self.members if address_of(peer) is not None]

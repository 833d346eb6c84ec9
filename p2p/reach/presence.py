"""Presence: where this peer is, and at which of its addresses others can dial it."""

from p2p.ids import PeerId
from p2p.net.connection import Connection
from p2p.net.dialer import Dialer
from p2p.reach.contacts import Contacts
from p2p.reach.reachability import Reach, Reachability
from p2p.wire.address import Address, is_host
from p2p.wire.link import PeerHint


class Presence:
    """This peer's id, port and addresses. `addresses` are those of its machine; others may not reach all of them."""

    def __init__(
        self, dialer: Dialer, contacts: Contacts, reachability: Reachability, addresses: tuple[Address, ...]
    ) -> None:
        self._dialer = dialer
        self.contacts = contacts
        self.reachability = reachability
        self.addresses = addresses

    @property
    def peer_id(self) -> PeerId:
        return self._dialer.identity.peer_id

    @property
    def port(self) -> int:
        """The port at which this peer accepts connections; 0 if it accepts none."""
        return self._dialer.port

    @property
    def is_out_of_reach(self) -> bool:
        """Whether this peer knows that others cannot dial it."""
        return self.reachability.state is Reach.NOT_DIALABLE

    def advertised(self) -> tuple[Address, ...]:
        """The addresses of this peer that it may give to others: not those at which it cannot be dialled."""
        return self.reachability.advertised(self.addresses)

    def advertised_as(self, host: str) -> tuple[Address, ...]:
        """The address to give to a node that sees this peer at the host; none if this peer cannot be dialled there."""
        return self.reachability.advertised((Address(host, self.port),)) if self.port else ()

    def hints(self) -> tuple[PeerHint, ...]:
        """The advertised addresses as hints for links."""
        return tuple(PeerHint(address, self.peer_id) for address in self.advertised())

    def serving_port(self, connection: Connection) -> int:
        """The port at which the peer at the other end can dial this one, as far as this is known; 0 if it cannot."""
        port, seen_host = self.port, connection.ends.hello.seen_host
        told = not is_host(seen_host) or self.reachability.advertised([Address(seen_host, port)])
        return port if told else 0

    def moved(self, addresses: tuple[Address, ...]) -> None:
        """Sets this machine's addresses in another network, and forgets what was known about its reachability."""
        self.addresses = addresses
        self.reachability.forget()

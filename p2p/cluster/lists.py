"""The two lists of a peer's user: the owners to whom it lends, and the peers that it takes as members.

Trust is mutual: the owner's code runs on the member's machine, and what the member's engine answers is loaded by the
owner's programs without a wall. So both sides list each other by id, and nobody is listed at first.
"""

from collections.abc import Iterable
from typing import Literal

from p2p.errors import ConfigError
from p2p.formats import quoted
from p2p.ids import PeerId, to_text
from p2p.wire.link import parse_peer_id

Which = Literal["allow", "trust"]
MAX_LISTED = 1024
NOBODY = "it lends to nobody"
"""The answer to whoever is not listed, whether others are or not."""


class Lists:
    """The lists as they are now; ids are those that `shoal status` shows."""

    def __init__(self, allow: Iterable[str] = (), trust: Iterable[str] = ()) -> None:
        """Raises ConfigError for what is no id."""
        self._peers: dict[Which, dict[PeerId, None]] = {
            "allow": dict.fromkeys(map(listed, allow)),
            "trust": dict.fromkeys(map(listed, trust)),
        }

    def lends_to(self, owner: PeerId) -> bool:
        return owner in self._peers["allow"]

    def takes(self, member: PeerId) -> bool:
        return member in self._peers["trust"]

    @property
    def lends(self) -> bool:
        """Whether there is anybody to lend to."""
        return bool(self._peers["allow"])

    def names(self, which: Which) -> tuple[str, ...]:
        """The ids of a list, as text, in the order in which they were listed."""
        return tuple(map(to_text, self._peers[which]))

    def peers(self, which: Which) -> tuple[PeerId, ...]:
        return tuple(self._peers[which])

    def changed(self, which: Which, peer: PeerId, *, removed: bool) -> tuple[str, ...]:
        """The ids that a list would have with this peer, or without it. Raises ConfigError if it is too long."""
        peers = {**self._peers[which], peer: None}
        if removed:
            del peers[peer]
        if len(peers) > MAX_LISTED:
            raise ConfigError(f"{MAX_LISTED} peers are listed; that is the most.")
        return tuple(map(to_text, peers))

    def change(self, which: Which, peer: PeerId, *, removed: bool) -> None:
        """Lists a peer, or takes it off the list."""
        if removed:
            self._peers[which].pop(peer, None)
        else:
            self._peers[which][peer] = None


def listed(text: str) -> PeerId:
    """The id that is named. Raises ConfigError."""
    try:
        return parse_peer_id(text)
    except ValueError:
        raise ConfigError(
            f"{quoted(text)} is not the id of a peer, which has 52 letters and digits. "
            "`shoal status` shows it on the other machine: copy it from there."
        ) from None

"""Who may read which share. All peers may read most shares; a restricted one only those that a predicate says.

Whatever serves a share, tells of one or asks for one goes by this. To all others a restricted share is one that this
peer does not have. It is never announced, nor looked for in public: see `advertising.inventory` and `fetching.sources`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from p2p.ids import PeerId, ShareId
from p2p.sharing.swarms import Swarms
from p2p.store.library import Library


class Readers:
    """Decides for one peer. `allows` is set by whoever knows: at first, nobody may read a restricted share."""

    def __init__(self, library: Library, swarms: Swarms) -> None:
        self._library = library
        self._swarms = swarms
        self._granted: list[tuple[ShareId, PeerId]] = []
        self.allows: Callable[[ShareId, PeerId], bool] = _nobody

    def is_restricted(self, share: ShareId) -> bool:
        return self._library.is_restricted(share)

    def may_read(self, share: ShareId, peer: PeerId) -> bool:
        """Whether that peer may have, give or know of the share. For any thread."""
        if not self._library.is_restricted(share):
            return True
        return (share, peer) in self._granted or self.allows(share, peer)

    @contextmanager
    def granted(self, share: ShareId, peer: PeerId) -> Iterator[None]:
        """Lets one more peer read the share while the body runs: the one that this peer fetches it from."""
        self._granted.append((share, peer))
        try:
            yield
        finally:
            self._granted.remove((share, peer))
            self.review()

    def review(self) -> None:
        """Ends the exchanges with peers that may no longer read the share. To be called when `allows` says less."""
        for swarm in self._swarms:
            for peer, party in list(swarm.members.items()):
                if not self.may_read(swarm.share_id, peer):
                    party.end("the peer may no longer read the share")


def _nobody(share: ShareId, peer: PeerId) -> bool:
    return False

"""What announcers send: identities, shares and announces, the same in every run."""

import random
from typing import Any

from p2p.identity import Identity
from p2p.ids import PeerId, ShareId, to_text
from p2p.wire.tracker import (
    Announce,
    Announced,
    Content,
    Listing,
    Provided,
    key_text,
    provider_key,
    sign_announce,
)
from tracker.changes import Conflict
from tracker.service import Service

NETWORK = "test-tracker"
URL = "http://tracker.test:8750"
HOST = "tracker.test:8750"


def share(number: int) -> ShareId:
    return ShareId(random.Random(number).randbytes(32))


def peer_id(number: int) -> PeerId:
    return PeerId(random.Random(-number - 1).randbytes(32))


def key(number: int) -> str:
    return key_text(provider_key(share(number)))


def listing(number: int, name: str = "A name", *contents: str, size: int = 1000, whole: bool = True) -> Listing:
    files = tuple(Content(path, size) for path in contents)
    return Listing(to_text(share(number)), name, size, max(1, len(files)), files, whole)


def provided(number: int, *, whole: bool = True) -> Provided:
    return Provided(key(number), whole)


class Announcer:
    """A peer that announces to a service without a network: signed, in sequence, from its own address."""

    def __init__(self, service: Service, host: str = "203.0.113.7") -> None:
        self.identity = Identity.generate()
        self.host = host
        self.sequence = 0
        self._service = service

    @property
    def text(self) -> str:
        return to_text(self.identity.peer_id)

    def announce(self, **said: Any) -> Announce:
        """Makes the next announce, without sending it."""
        usual: dict[str, Any] = {
            "tracker": URL,
            "network": NETWORK,
            "sequence": self.sequence + 1,
            "previous": self.sequence,
            "reset": self.sequence == 0,
        }
        return Announce(**usual | said)

    async def say(self, *, reached_by: str = HOST, **said: Any) -> Announced | Conflict:
        """Announces; returns the service's answer."""
        announce = self.announce(**said)
        body, headers = sign_announce(announce, self.identity)
        peer, signature = headers["shoal-peer"], headers["shoal-signature"]
        answer = await self._service.announce(body, peer, signature, host=self.host, reached_by=reached_by)
        if isinstance(answer, Announced):
            self.sequence = announce.sequence
        return answer

    async def tell(self, **said: Any) -> Announced:
        """Announces; fails unless the service accepts it."""
        answer = await self.say(**said)
        assert isinstance(answer, Announced), answer
        return answer

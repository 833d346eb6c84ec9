"""Callers: sources that cannot be dialled, so this peer asks them to call, then uses them like any other source.

Any peer may call, so the number of callers is bounded; they keep their places by what they give (`p2p.places`). How far
a fetch relies on a caller is not decided here: the conversation is the same as with a source that was dialled.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from p2p.errors import PeerError, PeerGone, Refused
from p2p.ids import PeerId, ShareId
from p2p.net.connection import Connection
from p2p.places import Places
from p2p.progress import Progress
from p2p.sharing.fetching.deps import Deps
from p2p.sharing.fetching.source_places import worth
from p2p.sharing.swarms import Take
from p2p.wire import messages

ASK_INTERVAL_S = 60.0
MAX_ASKED = 64
PERIOD_S = 60.0
"""What a caller has given counts for its place for so long, and up to twice as long."""
_TRIED_SHARE = 4
"""One place in so many is for callers on trial."""

Given = Callable[[PeerId], tuple[int, int]]


@dataclass(eq=False)
class _Taken:
    """A caller's connection, while it is used; `counted` is what it has given, as far as that counts for its place."""

    counted: float
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class IncomingSources:
    """The sources that call this peer during one fetch. `talk` conducts the fetch's conversation with a source.

    `given` returns how many correct bytes a peer has sent, and how many it has sent in all.
    The method `take` is to be passed to `Swarms.wanted`.
    """

    def __init__(
        self,
        deps: Deps,
        share: ShareId,
        talk: Take,
        connected: Callable[[PeerId], bool],
        given: Given,
        progress: Progress,
    ) -> None:
        self._deps = deps
        self._share = share
        self._talk = talk
        self._connected = connected
        self._progress = progress
        self._given = given
        tried = max(1, deps.max_sources // _TRIED_SHARE)
        self._places: Places[_Taken] = Places("callers of a fetch", deps.max_sources, tried, PERIOD_S)
        self._taken: dict[PeerId, _Taken] = {}
        self._asked: dict[PeerId, float] = {}

    @property
    def known(self) -> int:
        """How many peers are known to have the share, but cannot be dialled."""
        return len(self._asked)

    def ask(self, peer: PeerId) -> None:
        """Asks a peer that has the share, but cannot be dialled, to call, if there is a connection to that peer.

        The tracker or node that named the peer knows of this one too, and has told the peer or will.
        """
        now = trio.current_time()
        if self._connected(peer) or self._asked.get(peer, float("-inf")) + ASK_INTERVAL_S > now:
            return
        if peer not in self._asked and len(self._asked) >= MAX_ASKED:
            return
        self._asked[peer] = now
        if (party := self._deps.swarms.party(peer)) is not None:
            party.say(messages.DialMe(share=self._share))
        presence = self._deps.presence
        if presence.is_out_of_reach:
            port = presence.addresses[0].port if presence.addresses else 0
            self._progress.trouble = (
                f"one who has it cannot be dialled, nor can this peer: forward TCP port {port} to this machine"
            )
        else:
            self._progress.trouble = "one who has it cannot be dialled; it was asked to call"

    async def take(self, connection: Connection) -> None:
        """Uses a connection whose dialer offers the share, until the connection ends. Raises PeerError."""
        ends = connection.ends
        peer, taken = ends.peer_id, _Taken(worth(self._given(ends.peer_id)))
        if self._deps.bans.banned_until(peer) > trio.current_time():
            raise Refused("it sent wrong bytes before and is banned for a while")
        if (before := self._taken.pop(peer, None)) is not None:
            # The peer starts again: its earlier connection may be dead, although this side has not noticed.
            self._places.leave(before)
            before.scope.cancel()
        if not self._enter(taken, ends.remote_host):
            await connection.send(messages.Failed(reason=messages.BUSY, share=self._share))
            raise Refused("there are enough callers")
        self._taken[peer] = taken
        with taken.scope:
            try:
                await self._talk(connection)
            except PeerError as error:
                self._progress.trouble = f"{ends}: {error}"
                raise
            finally:
                self._places.leave(taken)
                if self._taken.get(peer) is taken:
                    del self._taken[peer]
        if taken.scope.cancelled_caught:
            raise PeerGone("this peer no longer uses the connection")

    def _enter(self, taken: _Taken, host: str) -> bool:
        now = trio.current_time()
        if self._places.is_full:
            for peer, other in self._taken.items():
                came = worth(self._given(peer))
                self._places.useful(other, max(0.0, came - other.counted), now)
                other.counted = came
        entry = self._places.enter(taken, host, now)
        if entry.displaced is not None:
            entry.displaced.scope.cancel()
        return entry.admitted

    def close(self) -> None:
        """Ends the connections when the fetch has ended, except those of exchanges, which the swarm ends."""
        for peer, taken in self._taken.items():
            if not self._connected(peer):
                taken.scope.cancel()

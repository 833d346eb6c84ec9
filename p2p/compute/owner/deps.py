"""The dependencies that the parts of `owner` share."""

from functools import cached_property

import msgspec

from p2p.concurrency.bell import Bell
from p2p.discovery.discovery import Discovery
from p2p.net.dialer import Dialer
from p2p.reach.calls import Calls
from p2p.reach.presence import Presence
from p2p.sandbox.room import Room
from p2p.sandbox.sandbox import Sandbox
from p2p.sharing.fetching.fetch import Fetching
from p2p.sharing.reading.open_shares import OpenShares
from p2p.sharing.share import Sharing
from p2p.store.disk import Disk
from p2p.store.journal import Journal
from p2p.store.library import Library
from p2p.store.posix import machine_memory_bytes

OWN_MEMORY_SHARE = 4
"""Unless it is set, guests for own jobs may have this fraction of the machine's memory."""


class OwnGuests:
    """Sandboxes for an owner's own guests, beside `sandbox`: those that plan its jobs, and those that repeat units.

    Each has room of its own: a job that waits for units keeps its planner, and never the room for a repeated unit.
    """

    def __init__(self, sandbox: Sandbox, memory_bytes: int | None) -> None:
        self._sandbox = sandbox
        self._memory_bytes = memory_bytes

    @cached_property
    def planning(self) -> Sandbox:
        return self._beside()

    @cached_property
    def repeating(self) -> Sandbox:
        return self._beside()

    def _beside(self) -> Sandbox:
        most = self._memory_bytes or machine_memory_bytes() // OWN_MEMORY_SHARE
        return self._sandbox.beside(Room(most, by_memory=True))


class Deps(msgspec.Struct, frozen=True):
    """What `owner` uses, made by `p2p.node`. The bell `changes` is rung when a job begins or ends."""

    dialer: Dialer
    presence: Presence
    discovery: Discovery
    calls: Calls
    library: Library
    journal: Journal
    disk: Disk
    guests: OwnGuests
    sharing: Sharing
    fetching: Fetching
    open_shares: OpenShares
    changes: Bell

"""The dependencies that the parts of `owner` share."""

from dataclasses import dataclass
from typing import NamedTuple

from p2p.concurrency.bell import Bell
from p2p.discovery.discovery import Discovery
from p2p.net.dialer import Dialer
from p2p.reach.calls import Calls
from p2p.reach.presence import Presence
from p2p.sandbox.sandbox import Sandbox
from p2p.sharing.fetching.fetch import Fetching
from p2p.sharing.reading.open_shares import OpenShares
from p2p.sharing.share import Sharing
from p2p.store.disk import Disk
from p2p.store.journal import Journal
from p2p.store.library import Library


class OwnGuests(NamedTuple):
    """Sandboxes for an owner's own guests: those that plan its jobs, and those that repeat units.

    Each has room of its own: a job that waits for units keeps its planner, and never the room for a repeated unit.
    """

    planning: Sandbox
    repeating: Sandbox


@dataclass(frozen=True)
class Deps:
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

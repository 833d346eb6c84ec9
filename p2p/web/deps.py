"""What the parts of a peer's HTTP share."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from p2p.compute.owner.jobs import Jobs
from p2p.concurrency.activity import Activity
from p2p.concurrency.bell import Bell
from p2p.control.protocol import AnyRequest, Emit, Event
from p2p.control.shares import SharesView
from p2p.discovery.discovery import Discovery
from p2p.ids import PeerId
from p2p.sharing.reading.open_shares import OpenShares
from p2p.sharing.swarms import Swarms
from p2p.sharing.traffic import Traffic

if TYPE_CHECKING:
    from p2p.control.access.web_access import WebAccess

MAX_CONNECTIONS = 256
"""Over TCP."""

Perform = Callable[[AnyRequest, Emit], Awaitable[Any]]
"""Carries out a request and returns the answer. Raises ShoalError."""


class Deps(msgspec.Struct, frozen=True):
    """What is served over HTTP. Made by `p2p.node`."""

    peer_id: PeerId
    perform: Perform
    open_shares: OpenShares
    discovery: Discovery
    shares: SharesView
    jobs: Jobs
    swarms: Swarms
    traffic: Traffic
    changes: Bell
    activity: Activity
    access: "WebAccess | None"
    """The way in over TCP; None if there is none."""


async def ignore(_: Event) -> None:
    """What comes before the answer of a request is not wanted."""

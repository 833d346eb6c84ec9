"""The dependencies that the parts of `volunteer` share."""

import msgspec

from p2p.concurrency.bell import Bell
from p2p.net.dialer import Dialer
from p2p.reach.presence import Presence
from p2p.sandbox.sandbox import Sandbox
from p2p.sharing.reading.open_shares import OpenShares
from p2p.sharing.swarms import Swarms
from p2p.store.disk import Disk
from p2p.store.fetches import Fetches


class Deps(msgspec.Struct, frozen=True):
    """What `volunteer` uses, made by `p2p.node`. The bell `changes` is rung when its offer changes."""

    dialer: Dialer
    presence: Presence
    records: Fetches
    disk: Disk
    swarms: Swarms
    open_shares: OpenShares
    sandbox: Sandbox
    changes: Bell

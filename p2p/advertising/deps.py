"""The dependencies that the parts of `advertising` share."""

from random import Random

import msgspec

from p2p.advertising.adverts import Adverts
from p2p.concurrency.bell import Bell
from p2p.discovery.dht import Overlays
from p2p.net.dialer import Dialer
from p2p.reach.calls import Calls
from p2p.reach.presence import Presence
from p2p.sharing.swarms import Swarms
from p2p.store.disk import Disk
from p2p.store.library import Library


class Deps(msgspec.Struct, frozen=True):
    """What `advertising` uses, made by `p2p.node`. The bell `changes` is rung when there is news to tell."""

    dialer: Dialer
    presence: Presence
    overlays: Overlays
    library: Library
    disk: Disk
    swarms: Swarms
    calls: Calls
    random: Random
    changes: Bell
    adverts: Adverts

"""The dependencies that the parts of `fetching` share."""

from random import Random

import msgspec

from p2p.core.bans import Bans
from p2p.discovery.finders import Finders
from p2p.ids import PeerId
from p2p.net.router import Router
from p2p.reach.presence import Presence
from p2p.sharing.readers import Readers
from p2p.sharing.swarms import Swarms
from p2p.sharing.traffic import Traffic
from p2p.store.disk import Disk
from p2p.store.fetches import Fetches
from p2p.store.library import Library


class Deps(msgspec.Struct, frozen=True):
    """The dependencies, made by `p2p.node`. `max_sources` is how many sources one fetch may use at a time."""

    library: Library
    records: Fetches
    disk: Disk
    presence: Presence
    finders: Finders
    router: Router
    swarms: Swarms
    readers: Readers
    traffic: Traffic
    bans: Bans[PeerId]
    random: Random
    max_sources: int

"""The dependencies that the parts of `reading` share."""

import msgspec

from p2p.sharing.fetching.fetch import Fetching
from p2p.sharing.share import Sharing
from p2p.sharing.swarms import Swarms
from p2p.store.disk import Disk
from p2p.store.fetches import Fetches
from p2p.store.library import Library


class Deps(msgspec.Struct, frozen=True):
    """The dependencies, made by `p2p.node`."""

    library: Library
    records: Fetches
    disk: Disk
    swarms: Swarms
    sharing: Sharing
    fetching: Fetching

"""What the parts of this package share: the interfaces of lower packages, and the user's lists. Made by `clusters`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from p2p.cluster.lists import Lists
from p2p.config import ClusterConfig
from p2p.discovery.discovery import Discovery
from p2p.reach.presence import Presence
from p2p.sharing.traffic import Traffic
from p2p.store.disk import Disk

if TYPE_CHECKING:
    from p2p.environments.environments import Environments


class Deps(msgspec.Struct, frozen=True):
    """See above. `changed` is called when what users see of clusters has changed, `left` when a member has left."""

    home: Path
    config: ClusterConfig
    presence: Presence
    discovery: Discovery
    disk: Disk
    traffic: Traffic
    environments: "Callable[[], Environments]"
    lists: Lists
    changed: Callable[[], None]
    left: Callable[[], None]
    idle: bool
    """Whether programs of others get only the processor time that nothing else wants."""

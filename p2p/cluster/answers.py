"""What a peer answers its user about clusters. Ids are text, sizes are in bytes, times in seconds."""

from p2p.site.shown import Shown


class ListsAnswer(Shown, frozen=True):
    """The owners to whom this peer lends, and the peers that it takes as members of its own clusters."""

    allow: tuple[str, ...]
    trust: tuple[str, ...]
    trouble: str = ""
    """After a peer was listed: why this machine can have no members, in words."""


class MemberRow(Shown, frozen=True):
    """A member of a cluster: its state is that of its allocation, or `here` for the owner's own."""

    index: int
    peer: str
    label: str
    """What the engine calls it."""
    state: str
    cores: int
    memory: int


class AddressRow(Shown, frozen=True):
    """A port of the cluster, as programs on this machine reach it: what speaks there, and its URL."""

    what: str
    url: str


class ClusterRow(Shown, frozen=True):
    """A cluster of this peer's user. `missing` says why there are fewer members than were asked for."""

    name: str
    engine: str
    state: str
    age_s: float
    addresses: tuple[AddressRow, ...]
    members: tuple[MemberRow, ...]
    missing: str = ""
    keys: str = ""
    """The folder with the cluster's certificate and key, for programs that connect to it."""


class LentRow(Shown, frozen=True):
    """Room that this peer lends to a cluster of another."""

    owner: str
    state: str
    cores: int
    memory: int
    disk: int
    age_s: float


class ClustersAnswer(Shown, frozen=True):
    """The clusters of this peer's user, and what it lends to others; `trouble` says why it cannot have members."""

    clusters: tuple[ClusterRow, ...]
    lent: tuple[LentRow, ...]
    trouble: str = ""


class RanAnswer(Shown, frozen=True):
    """How a command in a cluster ended: its exit code; negative for a signal."""

    code: int

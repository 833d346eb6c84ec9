"""The answers of a peer to its user: a type for each request in `protocol`.

An answer is sent as a JSON object with the same fields as its type. Ids of peers and shares are text, sizes are in
bytes, times are in seconds. Answers about jobs are in `p2p.compute.answers`.
"""

from typing import Literal

from msgspec import UNSET, UnsetType

from p2p.cluster.answers import LentRow
from p2p.compute.answers import JobAnswer
from p2p.progress import JobView, Progress
from p2p.site.shown import Shown

MAX_FILES_NAMED = 1000
"""The most files that an answer lists as skipped or mapped; it counts them all."""


class CatAnswer(Shown, frozen=True):
    """A file that was read whole."""

    bytes: int


class SkippedFile(Shown, frozen=True):
    """A file or folder that was left out, and why, without the user having asked for that.

    `path` is the path on this machine if it was to be shared, and the path in the share if it was to be fetched.
    """

    path: str
    why: str


class MappedFile(Shown, frozen=True):
    """A fetched file whose path on the disk, `local`, is not the one that it has in the share, `path`."""

    path: str
    local: str


class ShareAnswer(Shown, frozen=True):
    """A newly made share; `reused` is the number of bytes that did not have to be read again.

    `left_out` counts the files and folders that are not in it because a pattern says so, `skipped_count` those that
    cannot be shared; `skipped` has the first of them.
    With `--as`, `pointer` is the mutable link, and `version` is the version of that link.
    """

    link: str
    id: str
    name: str
    bytes: int
    files: int
    reused: int
    seconds: float
    pointer: str | UnsetType = UNSET
    version: int | UnsetType = UNSET
    left_out: int = 0
    skipped: tuple[SkippedFile, ...] = ()
    skipped_count: int = 0


class PackAnswer(Shown, frozen=True):
    """A packed environment, and the share that only members of its user's clusters can get.

    `packed` is false if nothing has changed since it was packed before. `left_out` has the first of the files and
    folders that stayed at home.
    """

    link: str
    id: str
    name: str
    folder: str
    python: str
    bytes: int
    files: int
    packed: bool
    seconds: float
    left_out: tuple[SkippedFile, ...] = ()
    left_out_count: int = 0


class GetAnswer(Shown, frozen=True):
    """A share that was fetched.

    `sources` is the number of bytes from each peer; it is empty if a job was fetching the same share. `mapped_count` is
    how many files have other names on the disk, `skipped_count` how many it cannot hold; both lists have only the
    first of these.
    """

    paths: tuple[str, ...]
    bytes: int
    received: int
    seconds: float
    sources: dict[str, int]
    mapped: tuple[MappedFile, ...] = ()
    mapped_count: int = 0
    skipped: tuple[SkippedFile, ...] = ()
    skipped_count: int = 0


class FetchRow(Shown, frozen=True):
    """A fetch of the user. `state` is waiting, running, paused, failed or done; `doing` says more of a running one.

    `background`: whether it goes on though no command waits for it. `created` is in seconds since 1970; `ending` is why
    it failed; `paths` is what it wrote, if it is done.
    """

    id: str
    name: str
    link: str
    out: str
    state: str
    doing: str
    background: bool
    size: int
    done: int
    received: int
    sources: int
    rate: float
    trouble: str
    created: float
    ending: str | None
    paths: tuple[str, ...]


class Errand(Shown, frozen=True):
    """A fetch or a job, as `kind` says, and its state now."""

    kind: Literal["fetch", "job"]
    id: str
    name: str
    state: str


class WentOn(Shown, frozen=True):
    """What was resumed, and its answer, if it was waited for."""

    errand: Errand
    fetch: GetAnswer | None = None
    job: JobAnswer | None = None


class RemovedErrand(Shown, frozen=True):
    """A fetch or job that was forgotten. How many `.part` files and finished files were deleted; and how many finished
    files were not, since they have changed."""

    errand: Errand
    part_files: int = 0
    files: int = 0
    changed: int = 0


class HitRow(Shown, frozen=True):
    """A share that a search found, with the name that the peer `signer` gave it.

    `matched` is the file in the share that matched the search, if the name of the share did not.
    """

    id: str
    name: str
    bytes: int
    files: int | None
    peers: int
    age_s: int | None
    signer: str
    matched: str | None
    link: str


class ListedRow(Shown, frozen=True):
    """One share in another peer's list of its shares."""

    id: str
    name: str
    bytes: int
    files: int
    link: str


class ShareRow(Shown, frozen=True):
    """A share of this peer. If it is not served, `stale` is the reason; `pointers` are the mutable links to it.

    `dht_full`: the nodes of the DHT that would keep its record have no room, so others have to find it in another way.
    """

    id: str
    name: str
    bytes: int
    files: int
    paths: tuple[str, ...]
    unlisted: bool
    fetched: bool
    age_s: int
    stale: str | None
    peers: int
    link: str
    pointers: tuple[str, ...]
    dht_full: bool = False


class UnshareAnswer(Shown, frozen=True):
    """A share that this peer has stopped sharing."""

    id: str
    name: str


class PeerRow(Shown, frozen=True, kw_only=True):
    """A connection to another peer, and what it is for.

    `role` is "share" if the two exchange a share, "volunteer" if the other peer works for a job of this one, and
    "owner" if it owns a job that this one works for.
    """

    peer: str
    address: str
    dialable: bool | None
    dialed: bool
    """Whether this peer dialled the other."""
    software: str
    role: str
    share: str = ""
    job: str = ""
    name: str = ""
    cores: int = 0
    uploaded: int
    downloaded: int
    complete: bool | None = None
    """Whether the other peer has the whole share."""


class DhtStatus(Shown, frozen=True):
    """This peer's state in the DHT: how many nodes it knows, and how many records it keeps for others.

    `without_room`: for how many records of its own too few nodes have room.
    """

    nodes: int
    joined: bool
    records: int
    addresses: tuple[str, ...]
    without_room: int = 0


class TrackerStatus(Shown, frozen=True):
    """One of this peer's trackers. If it does not work, `trouble` is the reason; `refused` lists what it rejected."""

    url: str
    trouble: str
    announced_s: int | None
    shares: int
    dialable: bool | None
    refused: tuple[str, ...]


class StatusAnswer(Shown, frozen=True):
    """The state of this peer and what it is doing."""

    peer: str
    home: str
    network: str
    addresses: tuple[str, ...]
    reachability: str
    reachability_set: bool
    """Whether the user has configured the reachability."""
    reachable_from: str | None
    seen_as: tuple[str, ...]
    uptime_s: int
    memory_bytes: int | None
    """None if the system does not say."""
    shares: int
    shared_bytes: int
    stale: tuple[str, ...]
    dht: DhtStatus | None
    neighbours: int
    trackers: tuple[TrackerStatus, ...]
    connections: int
    uploaded: int
    downloaded: int
    fetches: tuple[Progress, ...]
    jobs: tuple[JobView, ...]
    bugs: int = 0
    """How many errors of Shoal's own there were since the peer started; the log has them."""


class CancelAnswer(Shown, frozen=True):
    """A job that was cancelled."""

    job: str


class LimitAnswer(Shown, frozen=True):
    """The limits of the peer, or of one fetch, in bytes per second; 0 is none. `saved` is the file that has them."""

    upload: int | None
    """None for a fetch, which only downloads."""
    download: int
    saved: str | None


class VolunteerAnswer(Shown, frozen=True):
    """What this peer offers and does as a volunteer. `waiting` is the number of jobs in its queue."""

    cores: int = 0
    memory_bytes: int = 0
    paused: bool = False
    runtimes: tuple[str, ...] = ()
    busy: int = 0
    jobs: tuple[str, ...] = ()
    waiting: int = 0
    units_done: int = 0
    inputs_bytes: int = 0
    inputs_most_bytes: int = 0
    walls: str = ""
    unit_time_s: float = 0.0
    """For how long a unit may run at most."""
    compiling: str = ""
    """The runtime that is being compiled, if any."""
    lent: tuple[LentRow, ...] = ()
    """What is lent to clusters of other peers."""


class WebAnswer(Shown, frozen=True):
    """Where this peer is on the web, and the file with the token of scripts. `login` lets one browser in, once."""

    url: str
    token_file: str
    login: str | UnsetType = UNSET


class OpenAnswer(Shown, frozen=True):
    """The address at which a share is shown."""

    url: str

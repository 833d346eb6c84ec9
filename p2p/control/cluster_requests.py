"""What a user may ask about clusters; the answers are in `p2p.cluster.answers`."""

from typing import Any, ClassVar

import msgspec

from p2p.cluster import answers
from p2p.cluster.lists import Which
from p2p.cluster.spec import ClusterSpec
from p2p.control.request import ControlRequest


class ClusterListsRequest(ControlRequest, frozen=True, kw_only=True, tag="cluster_lists"):
    """Show whom this peer lends to, and whom it takes as members; or list one peer more, or one less.

    `change` says which list: `allow` for owners, `trust` for members. `peer` is the peer's id.
    """

    answer: ClassVar[Any] = answers.ListsAnswer
    change: Which | None = None
    peer: str = ""
    remove: bool = False


class ClusterStartRequest(ControlRequest, frozen=True, kw_only=True, tag="cluster_start"):
    """Start a cluster, which goes on until it is stopped. Only a node does that. Hanging up stops what is half done."""

    answer: ClassVar[Any] = answers.ClusterRow
    spec: ClusterSpec


class ClustersRequest(ControlRequest, frozen=True, kw_only=True, tag="clusters"):
    """List the clusters of this peer's user, and what this peer lends to others."""

    answer: ClassVar[Any] = answers.ClustersAnswer
    is_question = True


class ClusterRunRequest(ControlRequest, frozen=True, kw_only=True, tag="cluster_run"):
    """Run a command in the owner's own member of a cluster: its output comes as `Piece` lines. Hanging up ends it.

    `files` are put beside it first, by their names: its own program, for example.
    """

    answer: ClassVar[Any] = answers.RanAnswer
    is_stream = True
    name: str
    argv: tuple[str, ...]
    variables: dict[str, str] = msgspec.field(default_factory=dict)
    files: dict[str, bytes] = msgspec.field(default_factory=dict)


class ClusterLogsRequest(ControlRequest, frozen=True, kw_only=True, tag="cluster_logs"):
    """Show the end of what the engine printed, as `Piece` lines: at all members, or at one."""

    answer: ClassVar[Any] = answers.RanAnswer
    is_question = True
    is_stream = True
    name: str
    member: int | None = None


class ClusterScaleRequest(ControlRequest, frozen=True, kw_only=True, tag="cluster_scale"):
    """Change how many members a cluster has."""

    answer: ClassVar[Any] = answers.ClusterRow
    name: str
    members: int


class ClusterAddRequest(ControlRequest, frozen=True, kw_only=True, tag="cluster_add"):
    """Add a member to a cluster, and wait until the engine runs there; `label` is what the engine calls it."""

    answer: ClassVar[Any] = answers.MemberRow
    name: str
    label: str = ""


class ClusterReleaseRequest(ControlRequest, frozen=True, kw_only=True, tag="cluster_release"):
    """Give a member of a cluster back, by its index."""

    answer: ClassVar[Any] = answers.ClusterRow
    name: str
    member: int


class ClusterStopRequest(ControlRequest, frozen=True, kw_only=True, tag="cluster_stop"):
    """Stop a cluster: what its members have not handed in is lost."""

    answer: ClassVar[Any] = answers.ClusterRow
    name: str


AnyClusterRequest = (
    ClusterListsRequest
    | ClusterStartRequest
    | ClustersRequest
    | ClusterRunRequest
    | ClusterLogsRequest
    | ClusterScaleRequest
    | ClusterAddRequest
    | ClusterReleaseRequest
    | ClusterStopRequest
)

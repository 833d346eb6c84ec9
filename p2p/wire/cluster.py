"""The conversations of a cluster: of its owner with each member, and of each two members.

A member lends cores, memory and disk to an owner that its user has listed, for an allocation. The owner dials:

    owner  -> AskAllocation(cluster, room, ...)             member -> OfferAllocation(room) | RefuseAllocation(reason)
    owner  -> GrantAllocation(index, members, ...)          member -> Preparing(what)..., AllocationReady
    owner  -> StartProcess, SignalProcess                   member -> ProcessOutput..., ProcessEnded
    owner  -> ClusterMembers(members)                       others have joined, left, or come back
    both   -> StillThere                                    every two seconds while nothing else is sent
    either -> EndAllocation(reason, notice)                 with notice, it ends only after so many seconds

Who is not listed by the other gets the answer of a peer that lends to nobody. A side that is silent for longer than
`core.cluster.allocations` allows has left: the member ends all that ran in the allocation.

Packets of the cluster's network go over a connection of their own for each two members. The one with the higher index
dials the other:

    higher -> Packets(cluster, index, epoch)                lower -> Packets(cluster, index, epoch) | Failed(reason)
    both   -> data frames: packets, one after the other; chunk and offset are 0
    both   -> StillThere                                    every two seconds while nothing else is sent

A packet begins with a vnet header (`core.cluster.packets`), then it is IPv4. A member's epoch counts its sandboxes: one
that comes back after it was given up has a new one, of which the owner tells the others. A connection in an epoch that
was given up is answered with Failed(gone), one in an epoch of which the owner has not told with Failed(not_found).
"""

from typing import Annotated

import msgspec

from p2p.wire.address import Host, Port

MAX_MEMBERS = 254
GONE = "gone"
"""Why a packet connection is refused: its member was given up in this epoch."""
MAX_OUTPUT_BYTES = 64 * 1024
MAX_ARGUMENTS = 256
MAX_VARIABLES = 256
MAX_FILES = 32
MAX_FILE_BYTES = 64 * 1024
MAX_MOUNTS = 16
MAX_REASON_CHARS = 255
"""How much of a reason, or of what a member does, is told."""

ClusterId = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
_Id = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Short = Annotated[str, msgspec.Meta(max_length=MAX_REASON_CHARS)]
_Text = Annotated[str, msgspec.Meta(max_length=4096)]
_Number = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
_Size = Annotated[int, msgspec.Meta(ge=1, lt=2**53)]
_Index = Annotated[int, msgspec.Meta(ge=0, lt=MAX_MEMBERS)]
_Process = Annotated[int, msgspec.Meta(ge=1, lt=2**31)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
"""The name of a file, a program or a variable: whoever takes the message checks which characters it has."""


class _Message(msgspec.Struct, frozen=True, gc=False, tag_field="type"):
    pass


class _Part(msgspec.Struct, frozen=True, gc=False, array_like=True):
    pass


class AllocationRoom(_Part, frozen=True, gc=False):
    """What an allocation is of: cores, and bytes of memory and of disk."""

    cores: Annotated[int, msgspec.Meta(ge=1, le=4096)]
    memory: _Size
    disk: _Size


class AskAllocation(_Message, frozen=True, gc=False, tag="ask_allocation"):
    """From an owner: asks for this room, for a cluster that is to last for about so many seconds; 0: nobody knows."""

    cluster: ClusterId
    room: AllocationRoom
    seconds: _Number = 0
    machine: _Short = ""
    """The architecture that the owner's environment is for, as `uname -m` says it."""


class OfferAllocation(_Message, frozen=True, gc=False, tag="offer_allocation"):
    """The member keeps this room for the owner for a while: at most what was asked for."""

    room: AllocationRoom


class RefuseAllocation(_Message, frozen=True, gc=False, tag="refuse_allocation"):
    """The member lends nothing to this owner now, for this reason, which the owner's user sees."""

    reason: _Short


class ClusterMember(_Part, frozen=True, gc=False):
    """One member: its index, who it is, how often it has begun, and where it may be dialled."""

    index: _Index
    peer: _Id
    epoch: _Number
    addresses: Annotated[tuple[tuple[Host, Port], ...], msgspec.Meta(max_length=8)] = ()


class BoundShare(_Part, frozen=True, gc=False):
    """A share that all members see, read-only, at one path. Where the path is empty, it says itself what goes where."""

    share: _Id
    path: _Text


class GrantAllocation(_Message, frozen=True, gc=False, tag="grant_allocation"):
    """From an owner: takes the offer. The member fetches the environment, opens its sandbox, and joins the others."""

    index: _Index
    epoch: _Number
    environment: BoundShare
    members: Annotated[tuple[ClusterMember, ...], msgspec.Meta(max_length=MAX_MEMBERS)]
    mounts: Annotated[tuple[BoundShare, ...], msgspec.Meta(max_length=MAX_MOUNTS)] = ()
    files: Annotated[
        tuple[tuple[_Name, Annotated[bytes, msgspec.Meta(max_length=MAX_FILE_BYTES)]], ...],
        msgspec.Meta(max_length=MAX_FILES),
    ] = ()
    """Small files, such as the cluster's keys: they are in /etc/cluster, and only the engine can read them."""


class ClusterMembers(_Message, frozen=True, gc=False, tag="cluster_members"):
    """From an owner: who the members are now."""

    members: Annotated[tuple[ClusterMember, ...], msgspec.Meta(max_length=MAX_MEMBERS)]


class Preparing(_Message, frozen=True, gc=False, tag="preparing"):
    """What the member is doing until it is ready, and how much of it: for people to see."""

    what: _Short
    done: _Number = 0
    total: _Number = 0


class AllocationReady(_Message, frozen=True, gc=False, tag="allocation_ready"):
    """The member's sandbox is there, and it is connected with all members that were named."""


class StartProcess(_Message, frozen=True, gc=False, tag="start_process"):
    """From an owner: starts a program in the sandbox, under a number that is higher than all before it."""

    number: _Process
    name: _Name
    """What it is, for logs."""
    argv: Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1, max_length=MAX_ARGUMENTS)]
    variables: Annotated[tuple[tuple[_Name, _Text], ...], msgspec.Meta(max_length=MAX_VARIABLES)] = ()


class SignalProcess(_Message, frozen=True, gc=False, tag="signal_process"):
    """From an owner: sends a signal to a process and its children."""

    number: _Process
    signal: Annotated[int, msgspec.Meta(ge=1, le=31)]


class ProcessOutput(_Message, frozen=True, gc=False, tag="process_output"):
    """What a process has printed; `lost` bytes before it were left out, as there were too many."""

    number: _Process
    body: Annotated[bytes, msgspec.Meta(max_length=MAX_OUTPUT_BYTES)]
    lost: _Number = 0


class ProcessEnded(_Message, frozen=True, gc=False, tag="process_ended"):
    """How a process ended: its exit code, negative for a signal; or why it could not be started."""

    number: _Process
    code: Annotated[int, msgspec.Meta(ge=-64, le=255)]
    reason: _Short = ""


class StillThere(_Message, frozen=True, gc=False, tag="still_there"):
    """The sender is there."""


class EndAllocation(_Message, frozen=True, gc=False, tag="end_allocation"):
    """Ends the allocation, for a reason that people read; a member's may say that it ends only in `notice_s`."""

    reason: _Short = ""
    notice_s: Annotated[int, msgspec.Meta(ge=0, le=3600)] = 0


class Packets(_Message, frozen=True, gc=False, tag="packets"):
    """Begins the packets of two members, of which the sender has this index and epoch; the other answers the same."""

    cluster: ClusterId
    index: _Index
    epoch: _Number


AnyCluster = (
    AskAllocation
    | OfferAllocation
    | RefuseAllocation
    | GrantAllocation
    | ClusterMembers
    | Preparing
    | AllocationReady
    | StartProcess
    | SignalProcess
    | ProcessOutput
    | ProcessEnded
    | StillThere
    | EndAllocation
    | Packets
)

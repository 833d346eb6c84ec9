"""The conversation of an owner and a volunteer about one job, over a connection of its own.

    owner     -> JobOffer(job, bundle, runtime, limits)     volunteer -> JobAccepted(slots) | JobRefused(reason)
                                                            | JobQueued(place, reason): see below
    owner     -> Bytes...                                   results of earlier actions, each once; inputs of units
    owner     -> Units(...)                                 at most `window` under way
    volunteer -> Bytes..., Results(...)                     in any order; each unit once
    volunteer -> Replaced(unit, count, piece)               once at most: what was read is not UTF-8
    owner     -> Slots(n)                                   use at most n: others need slots, or no longer do
    volunteer -> Slots(n)                                   the answer; or its user has paused it (0), or resumed it
    owner     -> CancelUnits(...)                           the results are not wanted; one may still come
    both      -> Heartbeat                                  every second while nothing else is sent
    owner     -> JobEnd                                     the volunteer forgets the job

A volunteer lets a unit run for `unit_s` at most (`JobAccepted`), and its user may end all units at once: it then sends
Slots(0), and for each unit a result of the kind `paused`.

A side that sends nothing for some seconds is considered gone. The bytes of a message that is still arriving are a sign
of life too, since over a slow connection one message can take longer than that.

A volunteer whose cores are busy, or whose user has paused it, may let the owner wait in its queue, if the offer has
`waits` set; it refuses if its queue is full, or if it has no queue.

    volunteer -> JobQueued(place, reason)                   place 1 is next; sent every second, and at a change
    owner     -> Heartbeat                                  every second
    volunteer -> JobQueued(0)                               the owner's turn has come: offer again
    owner     -> JobOffer(...)                              the same job; answered like the first

An owner that is silent, or does not take its turn, for ten seconds loses its place; so does an owner that sends
anything else. An owner that no longer needs the volunteer sends JobEnd, or hangs up. The volunteer decides in which
order turns come, and may change its mind: an owner that offers again may find itself in the queue again.

Before its offer, an owner may ask a peer for its capacity: GetCapacity, CapacityIs. A volunteer that cannot be dialled
dials an owner that trackers, the DHT or the local network have told it about, and sends `VolunteerCall`; the owner
answers with the offer of a job that needs volunteers, as if it had dialled, or with `JobRefused`. An owner that cannot
be dialled names no port: the volunteer sends `DialMe(share)` for the bundle and each input when it starts to fetch
them, and the owner calls it with an `Offer` of the share.

Unit ids are those of `core.compute.plan`: a result under another unit's id is ignored. Bundle and inputs are
shares, fetched like any other, from whoever has them. Small data goes in a unit or its result, larger data in `Bytes`
before it.

Large outputs that later units read stay with the volunteer that made them, if the owner says so (`keep`). A volunteer
that is to read them is told where they are (`Reads`, before the unit) and asks for them there, over a connection of its
own:

    reader    -> GetOutput(job, token, unit, number)        holder -> OutputIs(digests, size), data... | OutputGone

The answer lists the digests of all outputs of the unit. The reader checks that the digest of this list is the one that
its owner sent, and that the digest of the output is the one in the list.
"""

from typing import Annotated

import msgspec

from p2p.wire.address import Host, Port
from p2p.wire.tracker import Capacity

MAX_UNITS = 1024
MAX_INLINE_BYTES = 64 * 1024
MAX_PIECE_BYTES = 512 * 1024
MAX_OUTPUTS = 4096
MAX_READS = 100_000
MAX_PIECES = 256
MAX_HOLDERS = 256
MAX_MISSING = 64
MAX_LOG = 16 * 1024
MAX_RECORDS = 2**40
"""The most records that one unit can say it has read or written: all units together stay below 2**63."""
MAX_TEXT = 32 * 1024

_Token = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
_Id = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Short = Annotated[str, msgspec.Meta(max_length=255)]
_Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
_Number = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
_Records = Annotated[int, msgspec.Meta(ge=0, le=MAX_RECORDS)]
_Path = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


class _Message(msgspec.Struct, frozen=True, gc=False, tag_field="type"):
    pass


class _Part(msgspec.Struct, frozen=True, gc=False, array_like=True):
    pass


class InputShare(_Part, frozen=True, gc=False):
    """A share that is an input of the job, and peers that may have it."""

    share: _Id
    peers: Annotated[tuple[tuple[Host, Port], ...], msgspec.Meta(max_length=8)] = ()


class GetCapacity(_Message, frozen=True, gc=False, tag="get_capacity"):
    """From an owner: asks what the peer offers. Answered by `CapacityIs`."""


class CapacityIs(_Message, frozen=True, gc=False, tag="capacity_is"):
    """What the sender offers: nothing if it is not a volunteer, or is paused."""

    capacity: Capacity | None = None


class JobOffer(_Message, frozen=True, gc=False, tag="job_offer"):
    """From an owner: asks the volunteer to work on this job. The limits are per unit; sizes are in bytes."""

    job: _Id
    bundle: _Id
    runtime: _Short
    digest: _Id
    """The runtime's digest: results of different builds are never compared."""
    memory: _Number
    wall_s: Annotated[float, msgspec.Meta(gt=0, le=86400)]
    output_bytes: _Number
    log_bytes: _Number
    token: _Token = bytes(16)
    """A secret of those who work for the job: it gives access to outputs that volunteers keep."""
    inputs: Annotated[tuple[InputShare, ...], msgspec.Meta(max_length=64)] = ()
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    """The port where the owner serves bundle and inputs, at this connection's host; 0: it calls to offer them."""
    waits: bool = False
    """If no core is free, the answer may be `JobQueued` instead of `JobRefused`."""


class JobAccepted(_Message, frozen=True, gc=False, tag="job_accepted"):
    """The volunteer takes the job: it runs `slots` units at once; at most `window` may be sent but unfinished.

    `held` lists the numbers of the inputs that the volunteer already has completely. `unit_s` is for how many seconds
    it lets a unit run at most, whatever the offer says; 0 if that is not said.
    """

    slots: Annotated[int, msgspec.Meta(ge=1, le=4096)]
    window: Annotated[int, msgspec.Meta(ge=1, le=65536)]
    held: Annotated[tuple[Annotated[int, msgspec.Meta(ge=0, lt=64)], ...], msgspec.Meta(max_length=64)] = ()
    unit_s: Annotated[float, msgspec.Meta(ge=0, le=86400)] = 0.0


class JobRefused(_Message, frozen=True, gc=False, tag="job_refused"):
    """The volunteer refuses the job, for this reason, which the owner's user sees."""

    reason: _Short


class JobQueued(_Message, frozen=True, gc=False, tag="job_queued"):
    """The volunteer cannot take the job yet, for this reason.

    `place` is the offer's place in its queue: 1 is next; 0 means that its turn has come: offer again now."""

    place: Annotated[int, msgspec.Meta(ge=0, le=65535)]
    reason: _Short = ""


class VolunteerCall(_Message, frozen=True, gc=False, tag="volunteering"):
    """From a volunteer that cannot be dialled: offers `capacity`; asks for work on `job` (if empty: on any job)."""

    job: Annotated[bytes, msgspec.Meta(max_length=32)] = b""
    capacity: Capacity | None = None


class Piece(_Part, frozen=True, gc=False):
    """A range of bytes in an input file: all or part of a partition. The volunteer moves both ends to line ends."""

    input: Annotated[int, msgspec.Meta(ge=0, lt=64)]
    path: _Path
    offset: _Number
    length: _Number


class Unit(_Part, frozen=True, gc=False):
    """One unit of work. It reads either bytes of inputs (`pieces`), a range of numbers, or outputs of earlier units."""

    id: _Id
    action: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
    stage: Annotated[int, msgspec.Meta(ge=0, lt=64)]
    partition: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
    plan: _Id
    """The plan's digest: a guest that arrives at another plan does not compute."""
    kind: Annotated[str, msgspec.Meta(max_length=16)] = ""
    """The kind of source: lines, records, chunks, files, range, params; empty for a stage that reads other stages."""
    pieces: Annotated[tuple[Piece, ...], msgspec.Meta(max_length=MAX_PIECES)] = ()
    first: _Number = 0
    count: _Number = 0
    reads: Annotated[tuple[_Number, ...], msgspec.Meta(max_length=64)] = ()
    """For a stage that reads other stages: how many outputs of each of them it reads."""
    sizes: Annotated[tuple[_Number, ...], msgspec.Meta(max_length=MAX_READS)] = ()
    """The sizes of those outputs in bytes, one stage after the other."""
    inline: Annotated[bytes, msgspec.Meta(max_length=MAX_INLINE_BYTES)] = b""
    """The outputs joined, if they are small together; else they came before, as `Bytes`."""
    results: _Number = 0
    """How many actions' results it may read: those of the actions before its own."""
    keep: bool = False
    """Whether outputs too large for the result are kept for other units, if there is space."""


class KeptOutput(_Part, frozen=True, gc=False):
    """A kept output that a unit reads: its position among all that the unit reads, which unit made it, who keeps it."""

    place: Annotated[int, msgspec.Meta(ge=0, lt=MAX_READS)]
    unit: _Id
    digest: _Id
    """The digest of the result of the unit that made it."""
    number: Annotated[int, msgspec.Meta(ge=0, lt=MAX_OUTPUTS)]
    holder: Annotated[int, msgspec.Meta(ge=0, lt=MAX_HOLDERS)]
    """The holder's index in the message."""


class Holder(_Part, frozen=True, gc=False):
    """A volunteer that keeps outputs for other units, and where it listens."""

    peer: _Id
    host: Host
    port: Port


class Reads(_Message, frozen=True, gc=False, tag="reads"):
    """Says where the kept outputs are that a unit, sent later, reads.

    The rest of what the unit reads is in its `inline` or in `Bytes`.
    """

    unit: _Id
    kept: Annotated[tuple[KeptOutput, ...], msgspec.Meta(max_length=MAX_UNITS)]
    holders: Annotated[tuple[Holder, ...], msgspec.Meta(max_length=MAX_HOLDERS)]


class GetOutput(_Message, frozen=True, gc=False, tag="get_output"):
    """Asks for output number `number` of a unit. Answered by `OutputIs` or `OutputGone`."""

    job: _Id
    token: _Token
    unit: _Id
    number: Annotated[int, msgspec.Meta(ge=0, lt=MAX_OUTPUTS)]


class OutputIs(_Message, frozen=True, gc=False, tag="output_is"):
    """Announces the output, which follows in data frames: their chunk is the output's number. `digests` are the digests
    of all outputs of its unit.
    """

    digests: Annotated[tuple[_Id, ...], msgspec.Meta(max_length=MAX_OUTPUTS)]
    size: _Number


class OutputGone(_Message, frozen=True, gc=False, tag="output_gone"):
    """Answers `GetOutput`: the sender does not have the output, or refuses to give it to this receiver."""


class Units(_Message, frozen=True, gc=False, tag="units"):
    """From an owner: asks the volunteer to run these units."""

    units: Annotated[tuple[Unit, ...], msgspec.Meta(max_length=MAX_UNITS)]


class Result(_Part, frozen=True, gc=False):
    """How a unit ended. If `kind` is empty, the unit succeeded, and `digest` covers its outputs."""

    id: _Id
    digest: Annotated[bytes, msgspec.Meta(max_length=32)] = b""
    sizes: Annotated[tuple[_Number, ...], msgspec.Meta(max_length=MAX_OUTPUTS)] = ()
    """The sizes of its outputs in bytes."""
    inline: Annotated[bytes, msgspec.Meta(max_length=MAX_INLINE_BYTES)] = b""
    """The outputs joined, if they are small together; else they came before, as `Bytes`."""
    seconds: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = 0.0
    records: tuple[_Records, _Records] = (0, 0)
    kind: Annotated[str, msgspec.Meta(max_length=16)] = ""
    """Why the unit is not done: `job` (the job's own fault), `limit`, `plan`, `input` or `broken`; or nobody's fault:
    `cap` (it ran for as long as the volunteer lets a unit run) or `paused` (the volunteer's user wants the cores now).
    """
    text: _Text = ""
    """For `job`, the guest's report in JSON; for another `kind`, an explanation in words. If the unit succeeded, the
    guest's reports of the first of the records that it skipped, in JSON.
    """
    kept: bool = False
    """Whether the outputs are kept by the volunteer that made them."""
    missing: Annotated[tuple[_Id, ...], msgspec.Meta(max_length=MAX_MISSING)] = ()
    """For `input`: the units whose kept outputs were unavailable."""
    log: Annotated[bytes, msgspec.Meta(max_length=MAX_LOG)] = b""
    """The end of what the unit printed."""
    skipped: _Records = 0
    """How many records the unit left out because of errors, as its job wants."""


class Results(_Message, frozen=True, gc=False, tag="results"):
    """How some units ended. `fetched` is as in `Heartbeat`."""

    results: Annotated[tuple[Result, ...], msgspec.Meta(max_length=MAX_UNITS)]
    fetched: _Number = 0


class Replaced(_Message, frozen=True, gc=False, tag="replaced"):
    """Of the text that this unit read, `count` characters were not UTF-8, and the first of them was in this piece.

    Sent at most once in a conversation, before the unit's result.
    """

    unit: _Id
    count: _Number
    piece: Annotated[int, msgspec.Meta(ge=0, lt=MAX_PIECES)]


class Bytes(_Message, frozen=True, gc=False, tag="bytes"):
    """A piece of a longer body: of an action's result, or of all outputs that a unit reads or has made, joined.

    `of` is the unit's id, or H(job, action) for a result.
    """

    of: _Id
    offset: _Number
    total: _Number
    body: Annotated[bytes, msgspec.Meta(max_length=MAX_PIECE_BYTES)]


class Slots(_Message, frozen=True, gc=False, tag="slots"):
    """How many slots may be used from now on: from an owner, its maximum; from a volunteer, what it gives.

    Units that have begun are finished.
    """

    count: Annotated[int, msgspec.Meta(ge=0, le=4096)]


class CancelUnits(_Message, frozen=True, gc=False, tag="cancel_units"):
    """From an owner: the results of these units are no longer wanted."""

    ids: Annotated[tuple[_Id, ...], msgspec.Meta(max_length=MAX_UNITS)]


class Heartbeat(_Message, frozen=True, gc=False, tag="heartbeat"):
    """The sender is alive, and working on these units (none if it is an owner)."""

    ids: Annotated[tuple[_Id, ...], msgspec.Meta(max_length=MAX_UNITS)] = ()
    fetched: _Number = 0
    """Bytes that this volunteer has fetched for the job so far, outside this conversation; shown to people."""
    starved: bool = False
    """Whether all that runs waits for inputs, of which nothing has come for a while."""


class JobEnd(_Message, frozen=True, gc=False, tag="job_end"):
    """From an owner: the job is over for this volunteer."""

    job: _Id


AnyWork = (
    GetCapacity
    | CapacityIs
    | JobOffer
    | JobAccepted
    | JobRefused
    | JobQueued
    | VolunteerCall
    | Units
    | Reads
    | GetOutput
    | OutputIs
    | OutputGone
    | Replaced
    | Results
    | Bytes
    | Slots
    | CancelUnits
    | Heartbeat
    | JobEnd
)

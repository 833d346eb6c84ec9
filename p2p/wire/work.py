"""What an owner and a volunteer say to each other about one job, over a connection of its own.

    owner     -> JobOffer(job, bundle, runtime, limits)     volunteer -> JobAccepted(slots) | JobRefused(reason)
                                                            | JobQueued(place, reason): see below
    owner     -> Bytes...                                   results of earlier actions, each once; inputs of units
    owner     -> Units(...)                                 at most `window` under way
    volunteer -> Bytes..., Results(...)                     in any order; each unit once
    owner     -> Slots(n)                                   at most so many: others need them, or no longer
    volunteer -> Slots(n)                                   the answer; or its user paused it (0), and resumed
    owner     -> CancelUnits(...)                           no result is wanted; one may still come
    both      -> Heartbeat                                  every second while nothing else is said
    owner     -> JobEnd                                     the volunteer forgets the job

Whoever says nothing for some seconds is gone. The bytes of a message that is still on its way are a sign of life too:
over a slow line one takes longer than that.

A volunteer whose cores are busy, or whose user has paused it, may have the owner wait in line, if the offer says that
it `waits`; one that has no place left, or knows no lines, refuses.

    volunteer -> JobQueued(place, reason)                   1: next; said again when it changes, and every second
    owner     -> Heartbeat                                  every second
    volunteer -> JobQueued(0)                               its turn has come: offer again
    owner     -> JobOffer(...)                              the same job; answered like the first

An owner that is silent, or does not take its turn, for ten seconds loses its place; so does one that says something
else. One that needs the volunteer no longer says JobEnd, or hangs up. In what order turns come is the volunteer's to
decide, and may change: who offers again can find itself in line again.

Before its offer an owner may ask for a peer's capacity: GetCapacity, CapacityIs. A volunteer that cannot be dialled
dials an owner, of whom trackers, the DHT or the local network have told it, and says `VolunteerCall`; the owner answers
with the offer of a job that wants it, as if it had dialled, or with `JobRefused`. An owner that cannot be dialled names
no port: the volunteer says `DialMe(share)` for the bundle and each input, once it fetches them, and the owner calls it
with an `Offer` of the share.

Ids of units are those of `core.plan`: whoever answers under another's id answers nothing. Bundle and inputs are shares,
fetched like any other, from whoever has them. What is small goes within a unit or its result, what is larger in
`Bytes` before it.

Large outputs that later units read stay with the volunteer that made them, where its owner says so (`keep`). Who is to
read them hears where they are (`Reads`, before the unit) and asks there, over a connection of its own:

    reader    -> GetOutput(job, token, unit, number)        holder -> OutputIs(digests, size), Bytes... | OutputGone

The digests lead from the result's digest to that of the one output.
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
MAX_TEXT = 32 * 1024

_Token = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
_Id = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Short = Annotated[str, msgspec.Meta(max_length=255)]
_Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
_Number = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
_Path = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


class _Message(msgspec.Struct, frozen=True, gc=False, tag_field="type"):
    pass


class _Part(msgspec.Struct, frozen=True, gc=False, array_like=True):
    pass


class InputShare(_Part, frozen=True, gc=False):
    """A share that is input, and who may have it."""

    share: _Id
    peers: Annotated[tuple[tuple[Host, Port], ...], msgspec.Meta(max_length=8)] = ()


class GetCapacity(_Message, frozen=True, gc=False, tag="get_capacity"):
    """What do you offer?"""


class CapacityIs(_Message, frozen=True, gc=False, tag="capacity_is"):
    """This; nothing, if it is no volunteer or paused."""

    capacity: Capacity | None = None


class JobOffer(_Message, frozen=True, gc=False, tag="job_offer"):
    """Will you work on this? The limits are for each unit; sizes in bytes."""

    job: _Id
    bundle: _Id
    runtime: _Short
    digest: _Id
    """Of the runtime: results of different builds are never compared."""
    memory: _Number
    wall_s: Annotated[float, msgspec.Meta(gt=0, le=86400)]
    output_bytes: _Number
    log_bytes: _Number
    token: _Token = bytes(16)
    """Known to those who work for the job, and to nobody else: it opens outputs that are kept."""
    inputs: Annotated[tuple[InputShare, ...], msgspec.Meta(max_length=64)] = ()
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    """At which the owner serves bundle and inputs, at the host of this connection; 0: over calls of its own."""
    waits: bool = False
    """Where no core is free, the answer may be `JobQueued` instead of `JobRefused`."""


class JobAccepted(_Message, frozen=True, gc=False, tag="job_accepted"):
    """Yes, so many units at once and so many on their way. `held`: which inputs are here whole, by index."""

    slots: Annotated[int, msgspec.Meta(ge=1, le=4096)]
    window: Annotated[int, msgspec.Meta(ge=1, le=65536)]
    held: Annotated[tuple[Annotated[int, msgspec.Meta(ge=0, lt=64)], ...], msgspec.Meta(max_length=64)] = ()


class JobRefused(_Message, frozen=True, gc=False, tag="job_refused"):
    """No, for a reason that the owner's user sees."""

    reason: _Short


class JobQueued(_Message, frozen=True, gc=False, tag="job_queued"):
    """Not yet, for this reason; the offer stands in line at this place, 1 for the next. 0: offer again, now."""

    place: Annotated[int, msgspec.Meta(ge=0, le=65535)]
    reason: _Short = ""


class VolunteerCall(_Message, frozen=True, gc=False, tag="volunteering"):
    """From a volunteer that cannot be dialled, and has this: offer me work, of this job or (no id) of any."""

    job: Annotated[bytes, msgspec.Meta(max_length=32)] = b""
    capacity: Capacity | None = None


class Piece(_Part, frozen=True, gc=False):
    """Bytes of a file of an input share: a partition, or a part of one, cut at line ends by the volunteer."""

    input: Annotated[int, msgspec.Meta(ge=0, lt=64)]
    path: _Path
    offset: _Number
    length: _Number


class Unit(_Part, frozen=True, gc=False):
    """One unit of work. Either bytes of inputs (`pieces`), a range of numbers, or outputs of earlier units."""

    id: _Id
    action: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
    stage: Annotated[int, msgspec.Meta(ge=0, lt=64)]
    partition: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
    plan: _Id
    """The plan's digest: a guest that plans otherwise does not compute."""
    kind: Annotated[str, msgspec.Meta(max_length=16)] = ""
    """Of the source: lines, records, chunks, files, range, params; empty for a stage that reads others."""
    pieces: Annotated[tuple[Piece, ...], msgspec.Meta(max_length=MAX_PIECES)] = ()
    first: _Number = 0
    count: _Number = 0
    reads: Annotated[tuple[_Number, ...], msgspec.Meta(max_length=64)] = ()
    """For a stage that reads others: how many outputs of each of these there are."""
    sizes: Annotated[tuple[_Number, ...], msgspec.Meta(max_length=MAX_READS)] = ()
    """Of those outputs, one stage after the other."""
    inline: Annotated[bytes, msgspec.Meta(max_length=MAX_INLINE_BYTES)] = b""
    """The outputs joined, where all are small; else they came before as `Bytes`."""
    results: _Number = 0
    """How many actions' results it may read: those before its own."""
    keep: bool = False
    """Outputs that are too large for the result are kept for other units, where there is room."""


class KeptOutput(_Part, frozen=True, gc=False):
    """One output that a unit reads and somebody keeps: which of all that it reads, of which unit, and who has it."""

    place: Annotated[int, msgspec.Meta(ge=0, lt=MAX_READS)]
    unit: _Id
    digest: _Id
    """Of the unit's result."""
    number: Annotated[int, msgspec.Meta(ge=0, lt=MAX_OUTPUTS)]
    holder: Annotated[int, msgspec.Meta(ge=0, lt=MAX_HOLDERS)]
    """By its number in the message."""


class Holder(_Part, frozen=True, gc=False):
    """A volunteer that keeps outputs."""

    peer: _Id
    host: Host
    port: Port


class Reads(_Message, frozen=True, gc=False, tag="reads"):
    """Where a unit that follows finds some of what it reads; `inline` or `Bytes` have the rest."""

    unit: _Id
    kept: Annotated[tuple[KeptOutput, ...], msgspec.Meta(max_length=MAX_UNITS)]
    holders: Annotated[tuple[Holder, ...], msgspec.Meta(max_length=MAX_HOLDERS)]


class GetOutput(_Message, frozen=True, gc=False, tag="get_output"):
    """The output of this number, please."""

    job: _Id
    token: _Token
    unit: _Id
    number: Annotated[int, msgspec.Meta(ge=0, lt=MAX_OUTPUTS)]


class OutputIs(_Message, frozen=True, gc=False, tag="output_is"):
    """It follows as `Bytes`; `digests` are those of all outputs of its unit."""

    digests: Annotated[tuple[_Id, ...], msgspec.Meta(max_length=MAX_OUTPUTS)]
    size: _Number


class OutputGone(_Message, frozen=True, gc=False, tag="output_gone"):
    """It is not here, or not for you."""


class Units(_Message, frozen=True, gc=False, tag="units"):
    """Work."""

    units: Annotated[tuple[Unit, ...], msgspec.Meta(max_length=MAX_UNITS)]


class Result(_Part, frozen=True, gc=False):
    """What came of a unit. `kind` empty: it is done, and `digest` covers its outputs."""

    id: _Id
    digest: Annotated[bytes, msgspec.Meta(max_length=32)] = b""
    sizes: Annotated[tuple[_Number, ...], msgspec.Meta(max_length=MAX_OUTPUTS)] = ()
    """Of its outputs."""
    inline: Annotated[bytes, msgspec.Meta(max_length=MAX_INLINE_BYTES)] = b""
    """The outputs joined, where they are small together; else they came before as `Bytes`."""
    seconds: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = 0.0
    records: tuple[_Number, _Number] = (0, 0)
    kind: Annotated[str, msgspec.Meta(max_length=16)] = ""
    """Why it is not done: `job` (its own fault), `limit`, `plan`, `input`, `broken`."""
    text: _Text = ""
    """For `job` the guest's report, JSON; else words."""
    kept: bool = False
    """The outputs are kept where they were made."""
    missing: Annotated[tuple[_Id, ...], msgspec.Meta(max_length=MAX_MISSING)] = ()
    """For `input`: the units whose kept outputs were not to be had."""
    log: Annotated[bytes, msgspec.Meta(max_length=MAX_LOG)] = b""
    """The end of what it printed."""


class Results(_Message, frozen=True, gc=False, tag="results"):
    """What came of units. `fetched` as in `Heartbeat`."""

    results: Annotated[tuple[Result, ...], msgspec.Meta(max_length=MAX_UNITS)]
    fetched: _Number = 0


class Bytes(_Message, frozen=True, gc=False, tag="bytes"):
    """A piece of the joined outputs that a unit reads or has made, or of an action's result (of H(job, action))."""

    of: _Id
    offset: _Number
    total: _Number
    body: Annotated[bytes, msgspec.Meta(max_length=MAX_PIECE_BYTES)]


class Slots(_Message, frozen=True, gc=False, tag="slots"):
    """How many slots may be used from now on: what the owner wants at most, what the volunteer gives.

    What is begun is finished.
    """

    count: Annotated[int, msgspec.Meta(ge=0, le=4096)]


class CancelUnits(_Message, frozen=True, gc=False, tag="cancel_units"):
    """These are not wanted any more."""

    ids: Annotated[tuple[_Id, ...], msgspec.Meta(max_length=MAX_UNITS)]


class Heartbeat(_Message, frozen=True, gc=False, tag="heartbeat"):
    """I am here, and at these units (none from an owner)."""

    ids: Annotated[tuple[_Id, ...], msgspec.Meta(max_length=MAX_UNITS)] = ()
    fetched: _Number = 0
    """Bytes that this volunteer has fetched for the job until now, besides this conversation: for people to see."""


class JobEnd(_Message, frozen=True, gc=False, tag="job_end"):
    """The job is over, here."""

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
    | Results
    | Bytes
    | Slots
    | CancelUnits
    | Heartbeat
    | JobEnd
)

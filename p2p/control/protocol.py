"""Requests to a running peer over its control socket, and its answers: versioned JSON lines.

A request is one line. The reply is any number of `Update` and `Note` lines, then one `Answer` or `Failure`. Paths are
absolute, because the peer does not know the folder in which a command runs. Closing the connection cancels the request.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Literal

import msgspec

from p2p import errors
from p2p.compute.answers import JobAnswer, JobRow, LogRow
from p2p.compute.spec import JobSpec
from p2p.control import answers
from p2p.control.cluster_requests import AnyClusterRequest
from p2p.control.request import VERSION, ControlRequest
from p2p.progress import Progress
from p2p.sharing.listing import Listing

READ_WAIT_S = 600.0
MAX_LINE_BYTES = 4 * 1024 * 1024


class ShareRequest(ControlRequest, frozen=True, kw_only=True, tag="share"):
    """Index files or a folder, and share them."""

    answer: ClassVar[Any] = answers.ShareAnswer
    paths: tuple[str, ...]
    name: str | None = None
    unlisted: bool = False
    pointer: str | None = None
    """If given, the name under which the share is published as the newest version."""
    exclude: tuple[str, ...] | None = None
    """Patterns of what to leave out; None: those of an earlier share of the same paths."""
    rehash: bool = False
    """Whether files that seem unchanged are hashed again."""
    times: bool | None = None
    """Whether modification times are kept; None: as in an earlier share of the same paths, or else as configured."""
    links: bool | None = None
    """Whether symbolic links within a folder are kept; None: as in an earlier share of the same paths, or else not."""
    sure: bool = False
    """Whether paths that probably hold secrets, such as the user's home directory, are meant."""


class PackRequest(ControlRequest, frozen=True, kw_only=True, tag="pack"):
    """Pack a Python environment, and share it with the members of the user's clusters alone."""

    answer: ClassVar[Any] = answers.PackAnswer
    source: str
    """The absolute path of a venv, a conda environment or an interpreter."""
    name: str | None = None
    include: tuple[str, ...] = ()
    """Files that go along though they look like secrets: paths, names, or patterns for either."""
    more: tuple[str, ...] = ()
    """Absolute paths of folders that go along."""


class GetRequest(ControlRequest, frozen=True, kw_only=True, tag="get"):
    """Fetch a share."""

    answer: ClassVar[Any] = answers.GetAnswer
    link: str
    out: str
    peers: tuple[str, ...] = ()
    select: tuple[str, ...] = ()
    sequential: bool = False
    overwrite: bool = False
    wait_s: float | None = None
    limit_bytes_per_s: int = 0
    exclude: tuple[str, ...] = ()
    names: Literal["map", "skip", "fail"] = "map"
    """What to do with names that the disk cannot hold, or that make programs run what they hold."""
    trust_names: bool = False
    """Whether names stay that make programs run what they hold."""
    into_existing: bool = False
    """Whether the share may go into a folder that is there already and was not made for it."""


class FetchesRequest(ControlRequest, frozen=True, kw_only=True, tag="fetches"):
    """List the fetches: those under way, paused and failed, and the last that are done."""

    answer: ClassVar[Any] = list[answers.FetchRow]
    is_question = True


class FollowRequest(ControlRequest, frozen=True, kw_only=True, tag="follow"):
    """Wait for the end of a fetch. Closing the connection does not stop the fetch. `id` may be shortened."""

    answer: ClassVar[Any] = answers.GetAnswer
    is_question = True
    id: str


class PauseRequest(ControlRequest, frozen=True, kw_only=True, tag="pause"):
    """Stop a fetch or a job until it is resumed. `id` may be shortened."""

    answer: ClassVar[Any] = answers.Errand
    id: str


class GoOnRequest(ControlRequest, frozen=True, kw_only=True, tag="go_on"):
    """Resume a fetch or a job that was stopped, or a fetch that has failed. `id` may be shortened.

    `peers` are more peers to ask: for the share, or to work. In the background, it is not waited for; otherwise,
    closing the connection pauses it again.
    """

    answer: ClassVar[Any] = answers.WentOn
    id: str
    background: bool = False
    peers: tuple[str, ...] = ()


class RemoveRequest(ControlRequest, frozen=True, kw_only=True, tag="remove"):
    """Forget a fetch, with its `.part` files, or a job, with its result. `id` may be shortened."""

    answer: ClassVar[Any] = answers.RemovedErrand
    id: str
    delete_files: bool = False
    """Whether to delete finished files too, as far as they are unchanged."""


class ListRequest(ControlRequest, frozen=True, kw_only=True, tag="ls"):
    """List a folder of a share, or a file of it, from the first name after `after` on; no file is fetched."""

    answer: ClassVar[Any] = Listing
    is_question = True
    link: str
    path: str = ""
    after: str = ""
    peers: tuple[str, ...] = ()
    wait_s: float = READ_WAIT_S
    """How long to wait while nothing comes."""


class CatRequest(ControlRequest, frozen=True, kw_only=True, tag="cat"):
    """Read a file of a share, which comes as `Piece` lines."""

    answer: ClassVar[Any] = answers.CatAnswer
    is_question = True
    is_stream = True
    link: str
    path: str
    peers: tuple[str, ...] = ()
    wait_s: float = READ_WAIT_S


class SearchRequest(ControlRequest, frozen=True, kw_only=True, tag="search"):
    """Find shares by words."""

    answer: ClassVar[Any] = list[answers.HitRow]
    is_question = True
    query: str


class BrowseRequest(ControlRequest, frozen=True, kw_only=True, tag="browse"):
    """List what another peer shares. `peer` is the other peer's id, its HOST:PORT, or both joined by an @."""

    answer: ClassVar[Any] = list[answers.ListedRow]
    is_question = True
    peer: str


class RunRequest(ControlRequest, frozen=True, kw_only=True, tag="run"):
    """Run a job to its end."""

    answer: ClassVar[Any] = JobAnswer
    wish: JobSpec
    keep: bool = True
    """Whether a job that is interrupted, or for which there is nobody to work, is kept to be resumed."""


class BackgroundRequest(ControlRequest, frozen=True, kw_only=True, tag="background"):
    """Begin a fetch or a job that goes on though nobody waits for it. Only a node does that."""

    answer: ClassVar[Any] = answers.Errand
    request: GetRequest | RunRequest


class ResumeRequest(ControlRequest, frozen=True, kw_only=True, tag="resume"):
    """Resume a stopped job. `id` is the job's id or the beginning of it; `peers` are additional volunteers."""

    answer: ClassVar[Any] = JobAnswer
    id: str
    peers: tuple[str, ...] = ()


class LogsRequest(ControlRequest, frozen=True, kw_only=True, tag="logs"):
    """Show what a job printed.

    `id` is the job's id or the beginning of it; `unit`, if given, is the action, stage and partition of one unit.
    """

    answer: ClassVar[Any] = list[LogRow]
    is_question = True
    id: str
    unit: tuple[int, int, int] | None = None


class ResultRequest(ControlRequest, frozen=True, kw_only=True, tag="result"):
    """Show once more what a job that is done answered. `id` is the job's id or the beginning of it."""

    answer: ClassVar[Any] = JobAnswer
    is_question = True
    id: str
    wait: bool = False
    """Whether to wait for the end of a job that is under way. Closing the connection does not stop the job."""


class CancelRequest(ControlRequest, frozen=True, kw_only=True, tag="cancel"):
    """End a job for good. `id` is the job's id or the beginning of it."""

    answer: ClassVar[Any] = answers.CancelAnswer
    id: str


class LimitRequest(ControlRequest, frozen=True, kw_only=True, tag="limit"):
    """Change the most bytes per second of the peer until it ends, or of one fetch; 0 is no limit.

    What is None stays as it is; so this also shows the limits. `fetch` is the id of a fetch, or the beginning of it.
    """

    answer: ClassVar[Any] = answers.LimitAnswer
    upload: int | None = None
    download: int | None = None
    fetch: str | None = None
    save: bool = False
    """Whether to write the limits of the peer into its config.toml too."""


class VolunteerRequest(ControlRequest, frozen=True, kw_only=True, tag="volunteer_status"):
    """Show what this peer offers and does as a volunteer.

    If `pause` is True, the peer first stops taking work, and if `now` is True ends the units that are running; if
    `pause` is False, it first begins to take work again.
    """

    answer: ClassVar[Any] = answers.VolunteerAnswer
    pause: bool | None = None
    now: bool = False


class JobsRequest(ControlRequest, frozen=True, kw_only=True, tag="jobs"):
    """List the running jobs, the stopped jobs, and the jobs that ended most recently."""

    answer: ClassVar[Any] = list[JobRow]
    is_question = True


class SharesRequest(ControlRequest, frozen=True, kw_only=True, tag="shares"):
    """List what this peer shares."""

    answer: ClassVar[Any] = list[answers.ShareRow]
    is_question = True


class UnshareRequest(ControlRequest, frozen=True, kw_only=True, tag="unshare"):
    """Stop sharing a share. `id` is the share's id, the beginning of that id, or a link to the share."""

    answer: ClassVar[Any] = answers.UnshareAnswer
    id: str


class PeersRequest(ControlRequest, frozen=True, kw_only=True, tag="peers"):
    """List the connections to other peers."""

    answer: ClassVar[Any] = list[answers.PeerRow]
    is_question = True


class StatusRequest(ControlRequest, frozen=True, kw_only=True, tag="status"):
    """Show the state of this peer and what it is doing."""

    answer: ClassVar[Any] = answers.StatusAnswer
    is_question = True


class WebRequest(ControlRequest, frozen=True, kw_only=True, tag="web"):
    """Tell where this peer is on the web, and let a browser in, or have all that were let in leave."""

    answer: ClassVar[Any] = answers.WebAnswer
    code: bool = False
    """Whether to make a code with which one browser can log in."""
    new_token: bool = False
    """Whether to replace the token of scripts, and end all sessions of browsers."""


class OpenRequest(ControlRequest, frozen=True, kw_only=True, tag="open"):
    """Have a share shown on the web until the peer stops."""

    answer: ClassVar[Any] = answers.OpenAnswer
    link: str
    peers: tuple[str, ...] = ()


class HoldRequest(ControlRequest, frozen=True, kw_only=True, tag="hold"):
    """Keep the peer running as long as the connection lasts, if it was started for its users.

    It is told by a `Note` that it does, and never answered.
    """

    answer: ClassVar[Any] = None
    is_question = True
    is_stream = True


AnyRequest = (
    ShareRequest
    | PackRequest
    | GetRequest
    | BackgroundRequest
    | FetchesRequest
    | FollowRequest
    | PauseRequest
    | GoOnRequest
    | RemoveRequest
    | ListRequest
    | CatRequest
    | RunRequest
    | ResumeRequest
    | JobsRequest
    | LogsRequest
    | ResultRequest
    | CancelRequest
    | LimitRequest
    | VolunteerRequest
    | SearchRequest
    | BrowseRequest
    | SharesRequest
    | UnshareRequest
    | PeersRequest
    | StatusRequest
    | WebRequest
    | OpenRequest
    | HoldRequest
    | AnyClusterRequest
)


class Update(msgspec.Struct, frozen=True, tag_field="event", tag="update"):
    """A line that tells how far the peer has got with the request."""

    progress: Progress


class Note(msgspec.Struct, frozen=True, tag_field="event", tag="note"):
    """A line with something that the user should know but that is not part of the answer."""

    text: str


class Piece(msgspec.Struct, frozen=True, tag_field="event", tag="piece"):
    """A line with the next bytes of a file that is read."""

    data: bytes


class Answer(msgspec.Struct, frozen=True, tag_field="event", tag="answer"):
    """The last line of the reply, if the request succeeded."""

    value: Any


class Failure(msgspec.Struct, frozen=True, tag_field="event", tag="failure"):
    """The last line of the reply, if the request failed: the class name of a ShoalError, and its text."""

    kind: str
    text: str

    def error(self) -> errors.ShoalError:
        """Returns the error as it was raised in the peer."""
        kind = getattr(errors, self.kind, errors.ShoalError)
        error: errors.ShoalError = kind(self.text)
        return error


Event = Update | Note | Piece | Answer | Failure

Emit = Callable[[Event], Awaitable[None]]
"""Receives the events that come before the last one."""

_request_decoder = msgspec.json.Decoder(AnyRequest)
_event_decoder = msgspec.json.Decoder(Event)


def encode(line: AnyRequest | Event) -> bytes:
    """Encodes one JSON line. Text that JSON cannot hold raises ConfigError in a request; in an event it becomes `?`.

    A request that is too long raises ConfigError too.
    """
    if isinstance(line, Event):
        return encode_answer(line) + b"\n"
    try:
        encoded = msgspec.json.encode(line) + b"\n"
    except UnicodeEncodeError:  # a path that is not valid UTF-8
        raise errors.ConfigError(
            "The running peer cannot be told of names that are not UTF-8. Rename them, or stop it meanwhile."
        ) from None
    if len(encoded) > MAX_LINE_BYTES:
        raise errors.ConfigError(
            f"The request has {len(encoded)} bytes; {MAX_LINE_BYTES} are allowed. Name less in it."
        )
    return encoded


def encode_answer(value: Any) -> bytes:
    """Encodes a value as JSON. Text that JSON cannot hold becomes `?`."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # a path that is not valid UTF-8
        return json.dumps(msgspec.to_builtins(value), ensure_ascii=False).encode(errors="replace")


def decode_request(line: bytes) -> AnyRequest:
    """Decodes the request in a line. Raises ConfigError if it is not a request of this version."""
    try:
        request: AnyRequest = _request_decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise errors.ConfigError(
            f"The running peer does not understand this request ({error}). Restart it with this version of Shoal."
        ) from error
    if request.version != VERSION:
        raise errors.ConfigError("The running peer is of another version of Shoal. Restart it.")
    return request


def decode_event(line: bytes) -> Event:
    """Decodes the event in a line. Raises ConfigError if it is not an event of this version."""
    try:
        event: Event = _event_decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise errors.ConfigError("The running peer is of another version of Shoal. Restart it.") from error
    return event


def read_answer(request: AnyRequest, value: Any) -> Any:
    """Converts the JSON values of an answer to the answer type of the request.

    Raises ConfigError if they do not fit.
    """
    try:
        return msgspec.convert(value, request.answer)
    except msgspec.ValidationError as error:
        raise errors.ConfigError("The running peer is of another version of Shoal. Restart it.") from error

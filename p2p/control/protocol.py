"""What is asked of a running peer over its control socket, and what it answers: versioned JSON lines.

A request is one line; the answer is any number of `Update` and `Note` lines, then one `Answer` or `Failure`. Paths are
absolute: the peer does not know the folder in which a command runs. Closing the connection cancels the request.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from p2p import errors
from p2p.compute.spec import JobSpec

VERSION = 2
MAX_LINE_BYTES = 4 * 1024 * 1024


class ControlRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", forbid_unknown_fields=True):
    """Any request."""

    version: int = VERSION


class ShareRequest(ControlRequest, frozen=True, kw_only=True, tag="share"):
    """Answered by {"link", "id", "name", "bytes", "files", "reused", "seconds"}, with a pointer "pointer" too."""

    paths: tuple[str, ...]
    name: str | None = None
    unlisted: bool = False
    pointer: str | None = None
    """Publish the share as the newest of this name."""


class GetRequest(ControlRequest, frozen=True, kw_only=True, tag="get"):
    """Answered by {"paths", "bytes", "received", "seconds", "sources"}; sources maps peer ids to bytes."""

    link: str
    out: str
    peers: tuple[str, ...] = ()
    select: tuple[str, ...] = ()
    sequential: bool = False
    overwrite: bool = False
    wait_s: float | None = None
    limit_bytes_per_s: int = 0


class SearchRequest(ControlRequest, frozen=True, kw_only=True, tag="search"):
    """Answered by a list of shares that were found."""

    query: str


class BrowseRequest(ControlRequest, frozen=True, kw_only=True, tag="browse"):
    """`peer`: a peer id, HOST:PORT, or both with an @ between. Answered by a list of shares."""

    peer: str


class RunRequest(ControlRequest, frozen=True, kw_only=True, tag="run"):
    """Answered by {"job", "state", "result", "seconds", "units"}; if it saved, "paths" or "link", "folder"."""

    wish: JobSpec


class ResumeRequest(ControlRequest, frozen=True, kw_only=True, tag="resume"):
    """`id`: of a job that was stopped, or its beginning; `peers`: more volunteers. Answered as `RunRequest`."""

    id: str
    peers: tuple[str, ...] = ()


class LogsRequest(ControlRequest, frozen=True, kw_only=True, tag="logs"):
    """`id`: a job's, or its beginning; `unit`: action, stage and partition of one. Answered by what was printed."""

    id: str
    unit: tuple[int, int, int] | None = None


class CancelRequest(ControlRequest, frozen=True, kw_only=True, tag="cancel"):
    """`id`: a job's id, or the beginning of one. Answered by {"job"}."""

    id: str


class VolunteerRequest(ControlRequest, frozen=True, kw_only=True, tag="volunteer_status"):
    """`pause`: True to take no more work, False to take it again. Answered by what this peer offers and does."""

    pause: bool | None = None


class JobsRequest(ControlRequest, frozen=True, kw_only=True, tag="jobs"):
    """Answered by a list of jobs: those under way, those that were stopped, the last that ended."""


class SharesRequest(ControlRequest, frozen=True, kw_only=True, tag="shares"):
    """Answered by a list of shares."""


class UnshareRequest(ControlRequest, frozen=True, kw_only=True, tag="unshare"):
    """`id`: a share's id, the beginning of one, or a link. Answered by {"id", "name"}."""

    id: str


class PeersRequest(ControlRequest, frozen=True, kw_only=True, tag="peers"):
    """Answered by a list of connections."""


class StatusRequest(ControlRequest, frozen=True, kw_only=True, tag="status"):
    """Answered by what this peer is and does."""


AnyRequest = (
    ShareRequest
    | GetRequest
    | RunRequest
    | ResumeRequest
    | JobsRequest
    | LogsRequest
    | CancelRequest
    | VolunteerRequest
    | SearchRequest
    | BrowseRequest
    | SharesRequest
    | UnshareRequest
    | PeersRequest
    | StatusRequest
)


class Update(msgspec.Struct, frozen=True, tag_field="event", tag="update"):
    """How it stands; the fields of `Progress`."""

    progress: dict[str, Any]


class Note(msgspec.Struct, frozen=True, tag_field="event", tag="note"):
    """Something worth saying that is no answer."""

    text: str


class Answer(msgspec.Struct, frozen=True, tag_field="event", tag="answer"):
    """The end, when all went well."""

    value: Any


class Failure(msgspec.Struct, frozen=True, tag_field="event", tag="failure"):
    """The end, when it did not: the name of a ShoalError and its text."""

    kind: str
    text: str

    def error(self) -> errors.ShoalError:
        """The error as it was raised in the peer."""
        kind = getattr(errors, self.kind, errors.ShoalError)
        error: errors.ShoalError = kind(self.text)
        return error


Event = Update | Note | Answer | Failure

Emit = Callable[[Event], Awaitable[None]]
"""Where events go that come before the end."""

_request_decoder = msgspec.json.Decoder(AnyRequest)
_event_decoder = msgspec.json.Decoder(Event)


def encode(line: AnyRequest | Event) -> bytes:
    """One JSON line. Raises ConfigError for a request with text that JSON cannot hold; in an event it becomes `?`."""
    try:
        return msgspec.json.encode(line) + b"\n"
    except UnicodeEncodeError:  # a path that is not UTF-8
        if not isinstance(line, Event):
            raise errors.ConfigError(
                "The running peer cannot be told of names that are not UTF-8. Rename them, or stop it meanwhile."
            ) from None
        return json.dumps(msgspec.to_builtins(line), ensure_ascii=False).encode(errors="replace") + b"\n"


def decode_request(line: bytes) -> AnyRequest:
    """Raises ConfigError for what is no request of this version."""
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
    """Raises ConfigError for what is no event of this version."""
    try:
        event: Event = _event_decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise errors.ConfigError("The running peer is of another version of Shoal. Restart it.") from error
    return event

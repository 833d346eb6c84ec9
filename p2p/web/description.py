"""The description of the API, made from the types of requests and answers."""

import inspect
import json
from functools import cache

import msgspec

from p2p import __version__
from p2p.control.protocol import Failure
from p2p.site.openapi import ApiOperation, describe
from p2p.web.api import API, LINES, REQUESTS
from p2p.web.events import AnyChange

EVENTS = f"{API}events"
PROBLEMS = (400, 404, 500, 503)
_TEXT = (
    f"What the commands of `shoal` ask of a peer. Ids are base32, sizes bytes, times seconds, paths absolute. Whoever "
    f"accepts {LINES} gets progress and notes too, then the answer, as lines of JSON."
)


class EventsQuery(msgspec.Struct, frozen=True):
    """What to listen to; all, if nothing is named."""

    topic: list[str] = []


@cache
def description() -> bytes:
    """The OpenAPI document."""
    events = ApiOperation(
        EVENTS, "What changes at this peer, as server-sent events.", AnyChange, EventsQuery, (400, 503)
    )
    operations = [*map(_operation, REQUESTS), msgspec.structs.replace(events, media_type="text/event-stream")]
    return json.dumps(describe(operations, Failure, title="Shoal peer", version=__version__, text=_TEXT)).encode()


def _operation(name: str) -> ApiOperation:
    kind = REQUESTS[name]
    return ApiOperation(
        API + name,
        summary=(inspect.getdoc(kind) or "").partition("\n\n")[0],
        answer=kind.answer,
        query=kind if kind.is_question else None,
        problems=PROBLEMS,
        body=None if kind.is_question else kind,
        media_type=LINES if kind.is_stream else "application/json",
    )

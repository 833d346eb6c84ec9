"""What changes at a peer, as server-sent events: transfers, fetches of the user, shares, jobs and peers.

Whoever begins to listen is told everything first, and then what changes: the rows that are new or other than before,
and the keys of those that are gone. What waits for a listener is bounded. One that reads too slowly is told that it
missed some, and then everything again. While nobody listens, nothing is looked at.
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import trio
from msgspec.structs import replace

from p2p.compute.answers import JobRow
from p2p.concurrency.bell import Bell
from p2p.control import protocol
from p2p.control.answers import FetchRow, PeerRow, ShareRow
from p2p.control.protocol import AnyRequest
from p2p.errors import MalformedMessage, Refused, ShoalError
from p2p.ids import to_text
from p2p.net.http_server.events import event
from p2p.net.http_server.guard import REQUEST
from p2p.progress import Progress
from p2p.sharing.swarms import Swarms
from p2p.sharing.traffic import Traffic
from p2p.web.deps import Perform, ignore

INTERVAL_S = 1.0
STILL_INTERVALS = 15
"""After so many intervals shares are looked at even if nothing has told of a change."""
MAX_LISTENERS = 64
MAX_WAITING = 64
"""Events that wait for one listener."""
MAX_ROWS = 500
"""The most rows in one event."""


class TransferRow(Progress, kw_only=True):
    """A share that is being fetched, or under the id "all" what this peer has sent and received since it started."""

    id: str
    uploaded: int = 0
    downloaded: int = 0


class Change(msgspec.Struct, frozen=True, tag_field="event", kw_only=True):
    """Base class of events; `gone` are the keys of rows that are no more."""

    gone: list[str] = []


class Transfers(Change, frozen=True, tag="transfers"):
    """Transfers that are new or other than before; the key is `id`."""

    rows: list[TransferRow]


class Fetches(Change, frozen=True, tag="fetches"):
    """Fetches of the user that are new or other than before, whatever their state; the key is `id`."""

    rows: list[FetchRow]


class Shares(Change, frozen=True, tag="shares"):
    """Shares that are new or other than before; the key is `id`."""

    rows: list[ShareRow]


class Jobs(Change, frozen=True, tag="jobs"):
    """Jobs that are new or other than before; the key is `job`."""

    rows: list[JobRow]


class Peers(Change, frozen=True, tag="peers"):
    """Connections that are new or other than before; the key is "ROLE PEER SHARE JOB"."""

    rows: list[PeerRow]


class Missed(msgspec.Struct, frozen=True, tag_field="event", tag="missed"):
    """Events that were dropped, since the client read too slowly. What it knows is void; everything follows again."""

    events: int


AnyChange = Transfers | Fetches | Shares | Jobs | Peers | Missed


class _Row(NamedTuple):
    """A row as it is sent, and without what changes all the time."""

    sent: msgspec.Raw
    compared: bytes


class _Topic(NamedTuple):
    """What can be listened to: the key of a row, and the row without what changes all the time."""

    name: str
    request: AnyRequest | None
    key: Callable[[Any], str]
    still: Callable[[Any], Any] = lambda row: row


TOPICS = (
    _Topic("transfers", None, lambda row: str(row.id)),
    _Topic("fetches", protocol.FetchesRequest(), lambda row: str(row.id)),
    _Topic("shares", protocol.SharesRequest(), lambda row: str(row.id), lambda row: replace(row, age_s=0)),
    _Topic("jobs", protocol.JobsRequest(), lambda row: str(row.job)),
    _Topic("peers", protocol.PeersRequest(), lambda row: f"{row.role} {row.peer} {row.share} {row.job}".strip()),
)
NAMES = tuple(topic.name for topic in TOPICS)


class _Listener:
    """One client: what waits for it, and how much of that was dropped."""

    def __init__(self, topics: Collection[str]) -> None:
        self.topics = topics
        self.waiting: deque[bytes] = deque()
        self.missed = 0
        self.is_behind = True
        self.stirred = trio.Event()

    def tell(self, said: bytes) -> None:
        if self.is_behind:
            self.missed += bool(self.missed)
        elif len(self.waiting) < MAX_WAITING:
            self.waiting.append(said)
        else:
            self.missed = len(self.waiting) + 1
            self.waiting.clear()
            self.is_behind = True
        self.stirred.set()


class Feed:
    """Looks at the peer while somebody listens, and tells what has changed."""

    def __init__(self, perform: Perform, changes: Bell, swarms: Swarms, traffic: Traffic) -> None:
        self._perform = perform
        self._changes = changes
        self._swarms = swarms
        self._traffic = traffic
        self._rows: dict[str, dict[str, _Row]] = {}
        """The rows of each topic as they were told last."""
        self._listeners: set[_Listener] = set()
        self._somebody = trio.Event()
        self._shares_seen = (-1, 0)
        """How often the bell had rung when shares were looked at last, and how many looks ago that was."""

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            await self._somebody.wait()
            while self._listeners:
                await REQUEST.contain(self._look)
                await trio.sleep(INTERVAL_S)
            self._rows.clear()
            self._somebody = trio.Event()

    def listen(self, topics: Collection[str]) -> AsyncGenerator[bytes, None]:
        """Makes what yields events on these topics, or on all if none is named. Raises MalformedMessage, Refused."""
        if unknown := set(topics) - set(NAMES):
            raise MalformedMessage(f"There is no topic {min(unknown)[:40]!r}. The topics are {', '.join(NAMES)}.")
        if len(self._listeners) >= MAX_LISTENERS:
            raise Refused(f"{MAX_LISTENERS} are listening already. Try again later.")
        return self._told(_Listener(topics or NAMES))

    async def _told(self, listener: _Listener) -> AsyncGenerator[bytes, None]:
        self._listeners.add(listener)
        self._somebody.set()
        try:
            while True:
                is_known = all(name in self._rows for name in listener.topics)
                if listener.is_behind and is_known:
                    missed, listener.missed, listener.is_behind = listener.missed, 0, False
                    now = [(name, list(self._rows[name].values())) for name in NAMES if name in listener.topics]
                    if missed:
                        yield event("missed", msgspec.json.encode(Missed(missed)))
                    for name, rows in now:
                        for said in _events(name, rows, ()):
                            yield said
                while listener.waiting:
                    yield listener.waiting.popleft()
                if not (listener.is_behind and is_known):
                    await listener.stirred.wait()
                    listener.stirred = trio.Event()
        finally:
            self._listeners.discard(listener)

    async def _look(self) -> None:
        wanted = {name for listener in self._listeners for name in listener.topics}
        for name in self._rows.keys() - wanted:
            del self._rows[name]
        for topic in TOPICS:
            if topic.name not in wanted:
                continue
            try:
                found = await self._found(topic)
            except ShoalError:  # told in the log, if it is an error of our own
                found = [] if topic.name not in self._rows else None
            if found is None:
                continue
            rows = {topic.key(row): _row(topic, row) for row in found}
            before = self._rows.get(topic.name, {})
            self._rows[topic.name] = rows
            news = [row for key, row in rows.items() if key not in before or before[key].compared != row.compared]
            gone = [key for key in before if key not in rows]
            for said in _events(topic.name, news, gone) if news or gone else ():
                for listener in self._listeners:
                    if topic.name in listener.topics:
                        listener.tell(said)
        for listener in self._listeners:
            listener.stirred.set()

    async def _found(self, topic: _Topic) -> Sequence[Any] | None:
        """The rows of a topic now; None if they are not looked at this time."""
        if topic.request is None:
            return self._transfers()
        if topic.name == "shares" and topic.name in self._rows:
            count, ago = self._shares_seen
            self._shares_seen = self._changes.count, ago + 1
            if self._changes.count == count and ago < STILL_INTERVALS:
                return None
        if topic.name == "shares":
            self._shares_seen = self._changes.count, 0
        answer: Sequence[Any] = await self._perform(topic.request, ignore)
        return answer

    def _transfers(self) -> list[TransferRow]:
        total = TransferRow(
            id="all", state="", uploaded=self._traffic.bytes_uploaded, downloaded=self._traffic.bytes_downloaded
        )
        fetches = self._swarms.fetches
        return [total, *(TransferRow(id=to_text(share), **msgspec.structs.asdict(one)) for share, one in fetches)]


def _row(topic: _Topic, row: Any) -> _Row:
    sent = protocol.encode_answer(row)
    still = topic.still(row)
    return _Row(msgspec.Raw(sent), sent if still is row else protocol.encode_answer(still))


def _events(name: str, rows: Sequence[_Row], gone: Sequence[str]) -> Iterator[bytes]:
    """The events that tell of these rows, of which the first tells what is gone."""
    for begin in range(0, max(1, len(rows)), MAX_ROWS):
        part = [row.sent for row in rows[begin : begin + MAX_ROWS]]
        yield event(name, msgspec.json.encode({"event": name, "gone": () if begin else gone, "rows": part}))
